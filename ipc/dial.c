/* SPDX-License-Identifier: MIT */
/*
 * Dialling: a socket that connects, and the handshake on it, within one deadline. Nothing is left
 * of a dial that fails.
 */
#include <tine/listener.h>

#include <errno.h>

#include <tine/error.h>

#include "ipc/address.h"
#include "ipc/auth_handshake.h"
#include "ipc/terms.h"
#include "lib/auto.h"
#include "lib/log.h"
#include "lib/reserved.h"

_Static_assert(sizeof(tine_dial_options) == 112, "its size never changes");

static int greet(int fd, const struct tine__terms *terms, struct tine__auth *auth,
                 tine__deadline deadline)
{
    int rc = tine__terms_check_user(terms, fd);

    if (rc == 0)
        rc = tine__terms_begin(auth, terms, fd, false);
    if (rc == 0)
        rc = tine__handshake_run(fd, auth, deadline);
    return rc;
}

static int dial(tine_connection **connection, const char *text, const struct tine__terms *terms,
                const struct tine__address *address, tine__deadline deadline)
{
    TINE__AUTO_FD fd = tine__address_connect(address, deadline);
    struct tine__auth auth = {.reason = NULL};
    int rc;

    if (fd < 0)
        return fd;
    rc = greet(fd, terms, &auth, deadline);
    if (rc < 0) {
        tine__log_warning("dial %s: the listener is not taken: %s", text,
                          auth.reason == NULL ? tine_strerror(rc) : auth.reason);
        tine__auth_end(&auth);
        return rc;
    }
    return tine__terms_connect(connection, terms, tine__take_fd(&fd), &auth);
}

int tine_dial(tine_connection **connection, const char *address, const tine_dial_options *options)
{
    static const tine_dial_options defaults;
    struct tine__address parsed;
    struct tine__terms terms;
    tine__deadline deadline;
    int rc;

    if (options == NULL)
        options = &defaults;
    deadline = tine__deadline_after(options->timeout_ns == 0 ? -1 : options->timeout_ns);
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (connection == NULL)
        return -EINVAL;
    terms = (struct tine__terms){.message_bytes_max = options->message_bytes_max,
                                 .protocol = options->protocol,
                                 .encryption = options->encryption,
                                 .check = options->check,
                                 .any_user = options->any_user};
    rc = tine__address_parse(address, &parsed);
    if (rc == 0)
        rc = tine__terms_check(&terms, options->key, options->key_size, &parsed);
    if (rc == 0)
        rc = tine__terms_take_key(&terms, options->key, options->key_size);
    if (rc == 0)
        rc = dial(connection, address, &terms, &parsed, deadline);
    tine__secret_close(terms.key);
    return rc;
}
