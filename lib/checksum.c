/* SPDX-License-Identifier: MIT */
/*
 * Checksums by libsodium.
 *
 * The digest has no key: it finds damage, in whatever the bytes went through, and says nothing
 * about who made them. sodium_init picks the fastest code for this CPU; it may be called any number
 * of times, and the digest is the same without it.
 */
#include "lib/checksum.h"

#include <sodium.h>
#include <stdatomic.h>

static void choose_code(void)
{
    static atomic_bool chosen;

    /* relaxed: sodium_init has a lock of its own, and a second call changes nothing */
    if (atomic_load_explicit(&chosen, memory_order_relaxed))
        return;
    if (sodium_init() >= 0)
        atomic_store_explicit(&chosen, true, memory_order_relaxed);
}

void tine__digest(const void *head, size_t head_size, const void *body, size_t body_size,
                  uint8_t digest[TINE__DIGEST_BYTES])
{
    crypto_generichash_state state;

    choose_code();
    crypto_generichash_init(&state, NULL, 0, TINE__DIGEST_BYTES);
    crypto_generichash_update(&state, head, head_size);
    crypto_generichash_update(&state, body, body_size);
    crypto_generichash_final(&state, digest, TINE__DIGEST_BYTES);
}

bool tine__digest_equal(const uint8_t a[TINE__DIGEST_BYTES], const uint8_t b[TINE__DIGEST_BYTES])
{
    return sodium_memcmp(a, b, TINE__DIGEST_BYTES) == 0;
}
