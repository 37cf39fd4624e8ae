/* SPDX-License-Identifier: MIT */
/*
 * Why a pool is broken: the nursery ended it and left its reasons in the shared part of the pool,
 * or it was killed itself, and there are none.
 *
 * The nursery writes the record once, then publishes it, then kills the workers and exits; the
 * program finds it gone, as it would after its death, and looks here. A nursery that dies before
 * the record is published has left none: what is half-written is never read.
 */
#include "pool/failure.h"

#include <errno.h>
#include <stdio.h>

#include <tine/error.h>

#include "pool/pool_impl.h"

void tine__pool_break(struct tine__pool_shm *pool, const tine_failure *failure)
{
    if (tine__pool_says_why(pool))
        return;
    pool->failure = *failure;
    pool->failure.code = TINE_EBROKEN;
    /* release: the record is seen by who reads this (tine__pool_says_why) */
    atomic_store_explicit(&pool->broken, 1, memory_order_release);
    atomic_store_explicit(&pool->state, TINE__POOL_ENDING, memory_order_seq_cst);
}

void tine__pool_failure(const struct tine__pool_shm *pool, tine_failure *failure)
{
    if (tine__pool_says_why(pool)) {
        *failure = pool->failure;
        return;
    }
    *failure = (tine_failure){.code = TINE_EBROKEN, .worker = -1, .exit_status = -1};
    snprintf(failure->message, sizeof failure->message, "the pool's nursery died");
}

int tine_pool_failure(tine_pool *pool, tine_failure *failure)
{
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    if (failure == NULL)
        return -EINVAL;
    if (!tine__pool_is_broken(pool))
        return 0;
    tine__pool_failure(pool->shared, failure);
    return 1;
}
