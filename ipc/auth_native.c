/* SPDX-License-Identifier: MIT */
/*
 * tine's own handshake. Bytes, and what each MAC covers, stand in doc/wire.md.
 *
 *     dialler → listener   hello {magic, 'C', wishes, version, limit, nonce, X}
 *     listener → dialler   hello {magic, 'S', …, Y}, HMAC(key, "tine2 S", both hellos)
 *     dialler → listener   HMAC(key, "tine2 C", all before)
 *
 * The listener proves first, so whoever lures a dialler to a socket of its own learns nothing that
 * opens another. Both nonces and the role are under every MAC: nothing can be replayed or sent
 * back. Wishes and limits are, too: nobody between the two can talk them out of encryption.
 *
 * X and Y are public keys of X25519 that both make for this connection and forget with it. The keys
 * of an encrypted stream are made of their product as well as of the key, so who learns the key
 * later cannot read what was said before (forward secrecy); and X and Y are under the MACs, so who
 * lacks the key cannot put his own in their place. The dialler sends X always, for the listener may
 * wish for encryption; a Y, and the product, which is the dearest part of it all, are made for
 * encrypted streams only, the product for those that have proven the key.
 */
#include "ipc/auth.h"

#include <tine/error.h>
#include <tine/pipe.h>

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "ipc/auth_native.h"
#include "lib/random.h"

#define HELLO_BYTES sizeof(struct tine__hello_wire)
/* hello's wishes; of the last two at most one */
#define ENCRYPT      0x01
#define CHECK_FULL   0x02
#define CHECK_HEADER 0x04
#define WISHES       (ENCRYPT | CHECK_FULL | CHECK_HEADER)

_Static_assert(HELLO_BYTES == 64, "no padding");
_Static_assert(2 * HELLO_BYTES + 2 * TINE__MAC_BYTES + TINE__AUTH_EXCHANGE_BYTES ==
                   TINE__AUTH_TRANSCRIPT_BYTES,
               "all of it");

static void remember(struct tine__auth *auth, const void *bytes, size_t size)
{
    memcpy(auth->transcript + auth->transcript_size, bytes, size);
    auth->transcript_size += (uint32_t)size;
}

static void say_and_remember(struct tine__auth *auth, const void *bytes, size_t size)
{
    tine__auth_say(auth, bytes, size);
    remember(auth, bytes, size);
}

static void mac_all(const struct tine__auth *auth, const char *label, uint8_t mac[TINE__MAC_BYTES])
{
    tine__auth_mac(auth, label, auth->transcript, auth->transcript_size, mac);
}

static uint8_t wishes_of(const struct tine__auth_terms *terms)
{
    int wishes = terms->encrypt ? ENCRYPT : 0;

    if (terms->check == TINE_CHECK_FULL)
        wishes |= CHECK_FULL;
    if (terms->check == TINE_CHECK_HEADER)
        wishes |= CHECK_HEADER;
    return (uint8_t)wishes;
}

/* Encrypted or checked in full if one of the two says so; the header alone if both do. */
static void agree(struct tine__auth *auth, uint8_t theirs)
{
    uint8_t ours = wishes_of(&auth->terms);

    auth->session.encrypted = ((ours | theirs) & ENCRYPT) != 0;
    auth->session.check = ((ours | theirs) & CHECK_FULL) != 0     ? TINE_CHECK_FULL
                          : ((ours & theirs) & CHECK_HEADER) != 0 ? TINE_CHECK_HEADER
                                                                  : TINE_CHECK_DEFAULT;
}

static void say_hello(struct tine__auth *auth)
{
    struct tine__hello_wire hello = {
        .role = auth->terms.listener ? 'S' : 'C',
        .wishes = wishes_of(&auth->terms),
        .version = htole16(TINE__HELLO_VERSION),
        .limit = htole64(auth->terms.limit),
    };

    memcpy(hello.magic, TINE__HELLO_MAGIC, sizeof hello.magic);
    tine__random_bytes(hello.nonce, sizeof hello.nonce);
    if (!auth->terms.listener || auth->session.encrypted)
        tine__auth_exchange_begin(auth, hello.exchange);
    say_and_remember(auth, &hello, sizeof hello);
}

/* Proves the key over all that was said so far. */
static void say_proof(struct tine__auth *auth)
{
    uint8_t mac[TINE__MAC_BYTES];

    mac_all(auth, auth->terms.listener ? "tine2 S" : "tine2 C", mac);
    say_and_remember(auth, mac, sizeof mac);
}

static int hear_proof(struct tine__auth *auth, const uint8_t *said)
{
    uint8_t mac[TINE__MAC_BYTES];

    mac_all(auth, auth->terms.listener ? "tine2 C" : "tine2 S", mac);
    if (!tine__auth_mac_equal(mac, said))
        return tine__auth_fail(auth, -EACCES, "it has another key");
    remember(auth, said, TINE__MAC_BYTES);
    return 0;
}

/* The peer has proven its key: what only the two of us know, if it is wanted. */
static int exchange(struct tine__auth *auth)
{
    struct tine__hello_wire hello;

    if (!auth->session.encrypted)
        return 0;
    memcpy(&hello, auth->transcript + (auth->terms.listener ? 0 : HELLO_BYTES), sizeof hello);
    if (!tine__auth_exchange_end(auth, hello.exchange))
        return tine__auth_fail(auth, TINE_EFORMAT, "its part of the session's key is none");
    return 0;
}

static void make_check_key(const struct tine__auth *auth, const char *label, uint8_t *key)
{
    uint8_t mac[TINE__MAC_BYTES];

    mac_all(auth, label, mac);
    memcpy(key, mac, TINE__SESSION_CHECK_BYTES);
}

static void finish(struct tine__auth *auth)
{
    struct tine__session *session = &auth->session;
    bool listener = auth->terms.listener;

    if (session->encrypted)
        remember(auth, auth->exchange, sizeof auth->exchange);
    mac_all(auth, "tine2 key C", listener ? session->receive_key : session->send_key);
    mac_all(auth, "tine2 key S", listener ? session->send_key : session->receive_key);
    make_check_key(auth, "tine2 sum C", listener ? session->receive_check : session->send_check);
    make_check_key(auth, "tine2 sum S", listener ? session->send_check : session->receive_check);
    tine__auth_go(auth, TINE__AUTH_DONE, 0);
}

static int other_version(struct tine__auth *auth)
{
    return tine__auth_fail(auth, -EPROTO, "it speaks another version of tine's handshake");
}

/* The hello is whole; -EPROTO: of another version, whose other fields mean we know not what. */
static int read_hello(struct tine__auth *auth, struct tine__hello_wire *hello)
{
    memcpy(hello, auth->in, sizeof *hello);
    if (memcmp(hello->magic, TINE__HELLO_MAGIC, sizeof hello->magic) != 0 ||
        hello->role != (auth->terms.listener ? 'C' : 'S'))
        return tine__auth_fail(auth, TINE_EFORMAT, "it does not speak tine's handshake");
    if (le16toh(hello->version) != TINE__HELLO_VERSION)
        return -EPROTO;
    if ((hello->wishes & ~WISHES) != 0)
        return tine__auth_fail(auth, -EPROTO, "it has wishes that are not known here");
    agree(auth, hello->wishes);
    auth->session.peer_limit = le64toh(hello->limit);
    return 0;
}

/* Another version is told ours, so that the dialler can say what is wrong. */
static int hear_dialler(struct tine__auth *auth)
{
    struct tine__hello_wire hello;
    int rc = read_hello(auth, &hello);

    if (rc < 0 && auth->state == TINE__AUTH_FAILED)
        return rc;
    remember(auth, auth->in, HELLO_BYTES);
    say_hello(auth);
    say_proof(auth);
    if (rc < 0)
        return other_version(auth);
    tine__auth_go(auth, TINE__AUTH_PROOF, TINE__MAC_BYTES);
    return 0;
}

static int hear_listener(struct tine__auth *auth)
{
    struct tine__hello_wire hello;
    int rc = read_hello(auth, &hello);

    if (rc < 0)
        return auth->state == TINE__AUTH_FAILED ? rc : other_version(auth);
    remember(auth, auth->in, HELLO_BYTES);
    rc = hear_proof(auth, auth->in + HELLO_BYTES);
    if (rc == 0)
        rc = exchange(auth);
    if (rc < 0)
        return rc;
    say_proof(auth);
    finish(auth);
    return 0;
}

void tine__auth_native_begin(struct tine__auth *auth)
{
    uint32_t wanted = HELLO_BYTES;

    if (!auth->terms.listener) {
        say_hello(auth);
        wanted += TINE__MAC_BYTES;
    }
    tine__auth_go(auth, TINE__AUTH_HELLO, wanted);
}

int tine__auth_native_step(struct tine__auth *auth)
{
    int rc;

    switch (auth->state) {
    case TINE__AUTH_HELLO:
        return auth->terms.listener ? hear_dialler(auth) : hear_listener(auth);
    case TINE__AUTH_PROOF:
        rc = hear_proof(auth, auth->in);
        if (rc == 0)
            rc = exchange(auth);
        if (rc == 0)
            finish(auth);
        return rc;
    case TINE__AUTH_CHALLENGE:
    case TINE__AUTH_ANSWER:
    case TINE__AUTH_WELCOME:
    case TINE__AUTH_DONE:
    case TINE__AUTH_FAILED:
    default:
        return tine__auth_fail(auth, -EPROTO, "bytes that nobody asked for");
    }
}
