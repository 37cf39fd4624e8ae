/* SPDX-License-Identifier: MIT */
/*
 * Handles of closed pools, kept for the next ones: a call on a closed one then reads a magic number that
 * is not there, instead of foreign memory. The oldest is used first, and some always stay unused.
 *
 * Each process has a list of its own, known by its fork generation. A forked child leaves its parent's
 * alone: another thread may have had it in hand, lock and all, at the fork. So workers, which are
 * forked from threaded programs, can have pools too.
 */
#include "pool/spares.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "pool/pool_impl.h"

#define UNUSED_MIN 16 /* so that a stale handle stays recognizable */

static struct spares {
    struct spares *of_parent; /* never touched, but still reachable */
    uint64_t generation;
    struct tine__futex_lock lock;
    struct tine_pool *first, *last; /* oldest first */
    unsigned count;
} * _Atomic spares;

/* This process's; NULL: no memory for them. */
static struct spares *own_spares(void)
{
    uint64_t generation = tine__fork_generation();
    /* acquire: pairs with the CAS below */
    struct spares *there = atomic_load_explicit(&spares, memory_order_acquire), *made;

    if (there != NULL && there->generation == generation)
        return there;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    made->generation = generation;
    made->of_parent = there;
    if (atomic_compare_exchange_strong_explicit(&spares, &there, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    free(made); /* another thread was first */
    return there;
}

tine_pool *tine__spares_take(void)
{
    struct spares *own = own_spares();
    struct tine_pool *pool = NULL;

    if (own == NULL)
        return NULL;
    tine__futex_lock(&own->lock);
    if (own->count > UNUSED_MIN) {
        pool = own->first;
        own->first = pool->next;
        own->count--;
    }
    tine__futex_unlock(&own->lock);
    if (pool == NULL)
        return calloc(1, sizeof *pool);
    memset(pool, 0, sizeof *pool);
    return pool;
}

void tine__spares_put(tine_pool *pool)
{
    struct spares *own = own_spares();

    atomic_store_explicit(&pool->magic, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->id, 0, memory_order_relaxed);
    if (own == NULL) /* lost rather than given to malloc */
        return;
    tine__futex_lock(&own->lock);
    pool->next = NULL;
    if (own->count++ == 0)
        own->first = pool;
    else
        own->last->next = pool;
    own->last = pool;
    tine__futex_unlock(&own->lock);
}
