/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_STICKY_H
#define TINE_POOL_STICKY_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

struct tine_pool;
struct tine_future;
struct tine__found;

/* ---- the program's side: under the pool's mutex, but for waking ------------------------------ */

/* Finds the track of the future's key, and room for it there. -ENOMEM. */
int tine__sticky_reserve(struct tine_pool *pool, struct tine_future *future);
void tine__sticky_publish(struct tine_pool *pool, struct tine_future *future);
/* Whom the track belongs to is told; where that is nobody, the nursery finds somebody. */
void tine__sticky_wake(struct tine_pool *pool, const struct tine_future *future);
/* After this, and a full fence, nobody finds the job here. */
void tine__sticky_retire(struct tine_pool *pool, const struct tine_future *future);
/*
 * Asks the nursery again for whom nobody works. True: calls wait for somebody who may have to be
 * woken.
 */
bool tine__sticky_look_after(struct tine_pool *pool);
void tine__sticky_fini(struct tine_pool *pool);
/* What of it is shared. */
void tine__sticky_free(const struct tine__pool_shm *pool);
/* Adds all calls that are there. */
void tine__sticky_find(const struct tine__pool_shm *pool, struct tine__found *found);

/* ---- a worker's side ------------------------------------------------------------------------- */

/* Has it tracks at all? */
static inline bool tine__sticky_is_used(const struct tine__worker_shm *self)
{
    /* seq_cst: not before its sleeping bit was set */
    return atomic_load_explicit(&self->tracks, memory_order_seq_cst) != 0;
}
/* Is there a call that it can begin? */
bool tine__sticky_has_work(const struct tine__pool_shm *pool, const struct tine__worker_shm *self);
/* The first call of a track, announced in self->job, or NULL. Its tracks take turns. */
struct tine__job_shm *tine__sticky_take(const struct tine__pool_shm *pool,
                                        struct tine__worker_shm *self);
/* It is through with that, and has taken the announcement back. */
void tine__sticky_pass(const struct tine__pool_shm *pool, struct tine__worker_shm *self);
/* How long until a call that waits to run again can be begun, ns; -1: there is none. */
int64_t tine__sticky_delay(const struct tine__pool_shm *pool, const struct tine__worker_shm *self);

/* ---- the nursery's side ---------------------------------------------------------------------- */

/* The track that the dead worker had in hand, or NULL. */
struct tine__track_shm *tine__sticky_held(const struct tine__pool_shm *pool,
                                          const struct tine__worker_shm *dead);
/* Its first call, announced, or NULL: that is over and retired, or there is none. */
struct tine__job_shm *tine__sticky_enter(const struct tine__track_shm *track,
                                         struct tine__worker_shm *nursery);
/* How often the first call has been tried in vain. */
uint64_t tine__sticky_attempts(const struct tine__track_shm *track);
/* It is tried again, after wait_ns. */
void tine__sticky_again(struct tine__track_shm *track, uint64_t attempts, int64_t wait_ns);
/* It is over. */
void tine__sticky_drop(struct tine__track_shm *track);
/* All tracks of a dead worker, whose account is settled, belong to nobody. */
void tine__sticky_disown(const struct tine__pool_shm *pool, struct tine__worker_shm *dead);
/* They stay with the place, where another thread goes on, and none has a call in hand. */
void tine__sticky_put_down(struct tine__worker_shm *dead);
/* How many tracks have calls and no worker. */
uint32_t tine__sticky_waiting(const struct tine__pool_shm *pool);
/*
 * Gives them to workers, those with the fewest first; one that is about to be started is waited
 * for, unless the last start has failed.
 */
void tine__sticky_assign(const struct tine__pool_shm *pool, bool can_start);

#endif
