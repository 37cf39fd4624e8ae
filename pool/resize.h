/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_RESIZE_H
#define TINE_POOL_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"
#include "pool/layout.h"

struct tine_pool;
struct tine_future;

/* ---- a worker's side ------------------------------------------------------------------------- */

/* From one state to another, unless it has been changed by another. */
bool tine__resize_change(struct tine__worker_shm *worker, uint32_t from, uint32_t to);
/* Dismissed, with no unit in hand: from here on it leaves, whatever happens. */
bool tine__resize_quit(struct tine__worker_shm *self);
static inline bool tine__resize_leaves(struct tine__worker_shm *self)
{
    return atomic_load_explicit(&self->leave, memory_order_relaxed) >= TINE__DISMISSED &&
           tine__resize_quit(self);
}
/*
 * What a worker that leaves has in hand is the nursery's from here on, before the worker has
 * exited: it touches nothing shared with its pool any more. If it does not leave, nothing happens.
 */
void tine__resize_hand_over(struct tine__worker_shm *self, int control);

/* ---- the nursery's side ---------------------------------------------------------------------- */

/* Finds how many workers there are to be, and dismisses those too many, or takes that back. */
void tine__resize_settle(struct tine__pool_shm *pool);
/*
 * Workers are started in places below this, so that the index of each is below the pool's size. One
 * that leaves has its place until it has exited.
 */
uint32_t tine__resize_places(const struct tine__pool_shm *pool);
/* How many are to be started, where there are places. */
uint32_t tine__resize_missing(const struct tine__pool_shm *pool);
/* Is one about to be started? */
bool tine__resize_has_coming(const struct tine__pool_shm *pool);
/* Will there be one, once it is seen what there is to do? */
bool tine__resize_may_grow(const struct tine__pool_shm *pool);
/* When to see to that again, unless something happens: some may be started from next_start on. */
tine__deadline tine__resize_due(const struct tine__pool_shm *pool, tine__deadline next_start);
/* Before a worker is started in that place. */
void tine__resize_birth(struct tine__pool_shm *pool, uint32_t index);
/* Did a worker that has exited leave because it was dismissed? */
bool tine__resize_left(const struct tine__pool_shm *pool, uint32_t index);

/* Has a worker handed over, and perhaps not yet exited? */
bool tine__resize_has_left(const struct tine__pool_shm *pool, uint32_t index);

/* ---- the program's side ---------------------------------------------------------------------- */

/* Asks for more workers if jobs wait that none is free for. To be called before sleepers are
   woken. */
void tine__resize_demand(struct tine_pool *pool);
static inline bool tine__resize_has_room(const struct tine__pool_shm *pool)
{
    return atomic_load_explicit(&pool->wanted, memory_order_relaxed) <
           atomic_load_explicit(&pool->size, memory_order_relaxed);
}
/* Under the mutex: retires the tickets that were added to a job, and forgets them. */
void tine__resize_retire(struct tine_future *future);
void tine__resize_forget(struct tine_future *future);

#endif
