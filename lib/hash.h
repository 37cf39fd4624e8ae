/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_HASH_H
#define TINE_LIB_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Both words random and secret: who chooses the keys cannot choose the collisions. */
struct tine__hash_seed {
    uint64_t start;
    uint64_t factor;
};

uint64_t tine__hash(const void *bytes, size_t size, const struct tine__hash_seed *seed);

#endif
