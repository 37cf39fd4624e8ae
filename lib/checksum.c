/* SPDX-License-Identifier: MIT */
/*
 * Checksums by libsodium.
 *
 * The digest has no key: it finds damage, in whatever the bytes went through, and says nothing
 * about who made them. The two keyed checks are for messages inside a family, where they find what
 * came to the wrong place as well; neither is an authentication towards strangers, for 64 bits.
 */
#include "lib/checksum.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>
#include <sys/uio.h>

#include "lib/random.h"
#include "lib/sodium.h"

void tine__digest(const void *head, size_t head_size, const void *body, size_t body_size,
                  uint8_t digest[TINE__DIGEST_BYTES])
{
    crypto_generichash_state state;

    tine__sodium_start();
    crypto_generichash_init(&state, NULL, 0, TINE__DIGEST_BYTES);
    crypto_generichash_update(&state, head, head_size);
    crypto_generichash_update(&state, body, body_size);
    crypto_generichash_final(&state, digest, TINE__DIGEST_BYTES);
}

bool tine__digest_equal(const uint8_t a[TINE__DIGEST_BYTES], const uint8_t b[TINE__DIGEST_BYTES])
{
    return sodium_memcmp(a, b, TINE__DIGEST_BYTES) == 0;
}

/* ---- keyed ----------------------------------------------------------------------------------- */

_Static_assert(sizeof((struct tine__mac_key *)0)->small == crypto_shorthash_KEYBYTES, "libsodium");
_Static_assert(sizeof((struct tine__mac_key *)0)->large == crypto_stream_chacha20_KEYBYTES,
               "libsodium");

void tine__mac_key_make(struct tine__mac_key *key)
{
    tine__random_bytes(key, sizeof *key);
}

static uint64_t first_8(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return le64toh(word);
}

uint64_t tine__mac_small(const struct tine__mac_key *key, const void *bytes, size_t size)
{
    uint8_t tag[crypto_shorthash_BYTES];

    crypto_shorthash(tag, bytes, size, key->small);
    return first_8(tag);
}

uint64_t tine__mac_large(const struct tine__mac_key *key, uint64_t number,
                         const struct iovec *parts, int count)
{
    crypto_onetimeauth_state state;
    uint8_t once[crypto_onetimeauth_KEYBYTES], tag[crypto_onetimeauth_BYTES];
    uint64_t nonce = htole64(number);

    tine__sodium_start();
    crypto_stream_chacha20(once, sizeof once, (const uint8_t *)&nonce, key->large);
    crypto_onetimeauth_init(&state, once);
    for (int i = 0; i < count; i++)
        crypto_onetimeauth_update(&state, parts[i].iov_base, parts[i].iov_len);
    crypto_onetimeauth_final(&state, tag);
    return first_8(tag);
}
