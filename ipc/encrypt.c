/* SPDX-License-Identifier: MIT */
/*
 * Encrypted streams: libsodium's crypto_secretstream (XChaCha20-Poly1305) in each direction, under
 * the session keys of the native handshake, which differ for every connection and direction. Its
 * nonce counts, so boxes that are changed, dropped, repeated or reordered are refused; the tag of a
 * box says whether it is the last of its message. A line that is cut looks like a peer that has
 * left.
 *
 * Who learns the caller's key later cannot read a stream that was recorded (ipc/auth_native.c); who
 * reads this process's memory can read all of the stream that is under way.
 *
 * Private to the process, and not to be used in two: the same nonce twice would give both texts
 * away. transport_stream.c sees to that after a fork.
 */
#include "ipc/encrypt.h"

#include <sodium.h>

#include <tine/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sodium.h"

#define TAG_MORE 0
#define TAG_LAST crypto_secretstream_xchacha20poly1305_TAG_PUSH

_Static_assert(TINE__BOX_START == crypto_secretstream_xchacha20poly1305_HEADERBYTES, "in wire.md");
_Static_assert(TINE__BOX_EXTRA == crypto_secretstream_xchacha20poly1305_ABYTES, "in wire.md");
_Static_assert(TINE__SESSION_KEY_BYTES == crypto_secretstream_xchacha20poly1305_KEYBYTES, "as is");

struct tine__encryption {
    crypto_secretstream_xchacha20poly1305_state send, receive;
    uint8_t send_key[TINE__SESSION_KEY_BYTES], receive_key[TINE__SESSION_KEY_BYTES];
};

int tine__encryption_open(struct tine__encryption **encryption, const struct tine__session *session)
{
    struct tine__encryption *made = calloc(1, sizeof *made);

    if (made == NULL)
        return -ENOMEM;
    tine__sodium_start();
    memcpy(made->send_key, session->send_key, sizeof made->send_key);
    memcpy(made->receive_key, session->receive_key, sizeof made->receive_key);
    *encryption = made;
    return 0;
}

void tine__encryption_close(struct tine__encryption *encryption)
{
    if (encryption == NULL)
        return;
    sodium_memzero(encryption, sizeof *encryption);
    free(encryption);
}

_Static_assert(sizeof(struct tine__encryption) <= TINE__ENCRYPTION_BYTES, "all of it");

void tine__encryption_save(const struct tine__encryption *encryption,
                           uint8_t bytes[TINE__ENCRYPTION_BYTES])
{
    memset(bytes, 0, TINE__ENCRYPTION_BYTES);
    memcpy(bytes, encryption, sizeof *encryption);
}

int tine__encryption_restore(struct tine__encryption **encryption,
                             const uint8_t bytes[TINE__ENCRYPTION_BYTES])
{
    static const struct tine__session none;
    int rc = tine__encryption_open(encryption, &none);

    if (rc == 0)
        memcpy(*encryption, bytes, sizeof **encryption);
    return rc;
}

void tine__encrypt_start(struct tine__encryption *encryption, uint8_t start[TINE__BOX_START])
{
    crypto_secretstream_xchacha20poly1305_init_push(&encryption->send, start, encryption->send_key);
    sodium_memzero(encryption->send_key, sizeof encryption->send_key);
}

void tine__encrypt(struct tine__encryption *encryption, uint8_t *box, const void *bytes,
                   size_t size, bool last)
{
    crypto_secretstream_xchacha20poly1305_push(&encryption->send, box, NULL, bytes, size, NULL, 0,
                                               last ? TAG_LAST : TAG_MORE);
}

int tine__decrypt_start(struct tine__encryption *encryption, const uint8_t start[TINE__BOX_START])
{
    int rc = crypto_secretstream_xchacha20poly1305_init_pull(&encryption->receive, start,
                                                             encryption->receive_key);

    sodium_memzero(encryption->receive_key, sizeof encryption->receive_key);
    return rc == 0 ? 0 : TINE_ECHECKSUM;
}

int tine__decrypt(struct tine__encryption *encryption, void *bytes, const uint8_t *box, size_t size,
                  bool *last)
{
    unsigned char tag;

    if (crypto_secretstream_xchacha20poly1305_pull(&encryption->receive, bytes, NULL, &tag, box,
                                                   size, NULL, 0) != 0 ||
        (tag != TAG_MORE && tag != TAG_LAST))
        return TINE_ECHECKSUM;
    *last = tag == TAG_LAST;
    return 0;
}
