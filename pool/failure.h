/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_FAILURE_H
#define TINE_POOL_FAILURE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "pool/layout.h"

/*
 * By the nursery, which then kills the workers and ends: the pool is broken, and this says why.
 * failure->code is set to TINE_EBROKEN; the first one stands.
 */
void tine__pool_break(struct tine__pool_shm *pool, const tine_failure *failure);

/* Has the nursery said why? Then pool->failure may be read. */
static inline bool tine__pool_says_why(const struct tine__pool_shm *pool)
{
    /* acquire: pairs with tine__pool_break */
    return atomic_load_explicit(&pool->broken, memory_order_acquire) != 0;
}

/* What a broken pool tells of itself. */
void tine__pool_failure(const struct tine__pool_shm *pool, tine_failure *failure);

#endif
