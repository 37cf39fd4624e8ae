/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_REMAINS_H
#define TINE_POOL_REMAINS_H

#include <stdbool.h>
#include <stddef.h>

#include "pool/layout.h"

/* Addresses of blocks, each perhaps more than once. */
struct tine__found {
    uint64_t *blocks;
    size_t count, room;
};

/* Unless it is 0; for want of memory it stays where it is. */
void tine__found_add(struct tine__found *found, uint64_t block);

/*
 * Is the program dead, of which this is a pidfd? It may have closed its descriptors, and be about
 * to die: then this waits for it. The pool no longer counts in the CPU budget then.
 */
bool tine__remains_begin(const struct tine__pool_shm *pool, int program);
/*
 * Frees what a pool has in the family heap, itself last. By its nursery, when the program and all
 * workers are known to be dead.
 */
void tine__remains_free(struct tine__pool_shm *pool);

#endif
