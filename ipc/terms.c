/* SPDX-License-Identifier: MIT */
/*
 * The terms of a connection: what of a listener's and of a dialler's options is the same, from the
 * check of the options to the connection that a finished handshake becomes. Who may connect and
 * whether it is encrypted depends on the socket, too, so it is decided once that is there.
 *
 * Private to the process; a forked child lacks the key (ipc/auth_secret.c).
 */
#include "ipc/terms.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/listener.h>

#include "ipc/connection.h"
#include "ipc/transport_stream.h"

#define MESSAGE_DEFAULT ((uint64_t)64 << 20)

int tine__terms_check(const struct tine__terms *terms, const void *key, size_t key_size,
                      const struct tine__address *address)
{
    bool exposed = address->family != AF_UNIX || terms->any_user;

    if (terms->protocol < TINE_PROTOCOL_NATIVE || terms->protocol > TINE_PROTOCOL_PYTHON ||
        terms->encryption < TINE_ENCRYPT_AUTO || terms->encryption > TINE_ENCRYPT_NEVER ||
        terms->check < TINE_CHECK_DEFAULT || terms->check > TINE_CHECK_FULL)
        return -EINVAL;
    if (key == NULL && (key_size > 0 || exposed))
        return -EINVAL;
    if (terms->protocol == TINE_PROTOCOL_PYTHON && terms->encryption == TINE_ENCRYPT_ALWAYS)
        return -EINVAL;
    return 0;
}

int tine__terms_take_key(struct tine__terms *terms, const void *key, size_t key_size)
{
    if (terms->message_bytes_max == 0)
        terms->message_bytes_max = MESSAGE_DEFAULT;
    return key == NULL ? 0 : tine__secret_open(&terms->key, key, key_size);
}

static bool wants_encryption(const struct tine__terms *terms, int fd)
{
    if (terms->protocol == TINE_PROTOCOL_PYTHON || terms->encryption == TINE_ENCRYPT_NEVER)
        return false;
    return terms->encryption == TINE_ENCRYPT_ALWAYS || !tine__address_is_local(fd);
}

/* What leaves the machine in clear has nothing else that finds damage. */
static int32_t wanted_check(const struct tine__terms *terms, int fd)
{
    if (terms->check == TINE_CHECK_DEFAULT && !tine__address_is_local(fd))
        return TINE_CHECK_FULL;
    return terms->check;
}

int tine__terms_check_user(const struct tine__terms *terms, int fd)
{
    uid_t user;
    int rc = tine__address_peer_user(fd, &user);

    if (rc == -ENOTSUP || terms->any_user)
        return 0;
    if (rc < 0)
        return rc;
    return user == geteuid() ? 0 : -EACCES;
}

int tine__terms_begin(struct tine__auth *auth, const struct tine__terms *terms, int fd,
                      bool listener)
{
    struct tine__auth_terms wish = {.key = terms->key,
                                    .limit = terms->message_bytes_max,
                                    .listener = listener,
                                    .python = terms->protocol == TINE_PROTOCOL_PYTHON,
                                    .encrypt = wants_encryption(terms, fd),
                                    .check = wanted_check(terms, fd)};

    tine__address_tune(fd);
    return tine__auth_begin(auth, &wish);
}

int tine__terms_connect(tine_connection **connection, const struct tine__terms *terms, int fd,
                        struct tine__auth *auth)
{
    struct tine__transport *transport;
    int rc =
        tine__transport_stream(&transport, fd, &auth->session,
                               terms->protocol == TINE_PROTOCOL_PYTHON, terms->message_bytes_max);

    tine__auth_end(auth);
    return rc < 0 ? rc : tine__connection_open(connection, transport, true, true);
}
