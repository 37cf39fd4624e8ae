/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_CHECKSUM_H
#define TINE_LIB_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TINE__DIGEST_BYTES 32

/* BLAKE2b-256 of head followed by body: what protects bytes that are stored or leave the family. */
void tine__digest(const void *head, size_t head_size, const void *body, size_t body_size,
                  uint8_t digest[TINE__DIGEST_BYTES]);
bool tine__digest_equal(const uint8_t a[TINE__DIGEST_BYTES], const uint8_t b[TINE__DIGEST_BYTES]);

/* Random, and secret from who might send damaged messages on purpose. No padding. */
struct tine__mac_key {
    uint8_t small[16];
    uint8_t large[32];
};

void tine__mac_key_make(struct tine__mac_key *key);
/* SipHash-2-4: the faster one up to some 256 bytes. */
uint64_t tine__mac_small(const struct tine__mac_key *key, const void *bytes, size_t size);
/*
 * 64 bits of Poly1305 over all parts, one behind the other, with a key of its own for each number:
 * no number twice with the same key.
 */
struct iovec;
uint64_t tine__mac_large(const struct tine__mac_key *key, uint64_t number,
                         const struct iovec *parts, int count);

#endif
