/* SPDX-License-Identifier: MIT */
/*
 * Handles of closed pools, kept for the next ones: a call on a closed one then reads a magic number
 * that is not there, instead of foreign memory. The oldest is used first, and some always stay
 * unused.
 *
 * The list is the process's own, and so is its lock: a forked process begins with new ones. So
 * workers, which are forked from threaded programs, can have pools too.
 */
#include "pool/spares.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "pool/pool_impl.h"

#define UNUSED_MIN 16 /* so that a stale handle stays recognizable */

struct spares {
    struct tine__fork_own made;
    struct tine__futex_lock lock;
    struct tine_pool *first, *last; /* oldest first */
    unsigned count;
};

static struct tine__fork_own *_Atomic spares;

/* This process's; NULL: no memory for them. */
static struct spares *own_spares(void)
{
    return tine__fork_own(&spares, sizeof(struct spares), NULL);
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
