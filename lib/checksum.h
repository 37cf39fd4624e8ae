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

#endif
