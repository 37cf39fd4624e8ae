/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_REDO_H
#define TINE_POOL_REDO_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

/* What a dead worker left of a unit. */
struct tine__rest {
    uint64_t begin, end, unit, attempts;
    int64_t wait_ns; /* before it is put up; 0: at once */
};

/* By the nursery only. -ENOSPC cannot happen while the bound of pool/redo.c holds. */
int tine__redo_put(struct tine__pool_shm *pool, struct tine__job_shm *job,
                   const struct tine__rest *rest);
/* The entry that a dead worker held, or NULL. */
struct tine__redo_shm *tine__redo_held(const struct tine__pool_shm *pool, uint32_t worker);
/* The same entry again, for another taker. By the nursery, once its taker is dead. */
void tine__redo_again(struct tine__pool_shm *pool, struct tine__redo_shm *redo,
                      const struct tine__rest *rest);

/* The job of an entry that is taken by the caller, or by a dead worker. */
static inline struct tine__job_shm *tine__redo_job(const struct tine__redo_shm *redo)
{
    return TINE__AT(struct tine__job_shm, atomic_load_explicit(&redo->job, memory_order_relaxed));
}

/* By a worker: *seen is its own note of the last sequence at which it found nothing. */
struct tine__redo_shm *tine__redo_take(struct tine__pool_shm *pool, uint32_t worker,
                                       uint32_t *seen);
/* By the taker, or for it once it is dead. */
void tine__redo_free(struct tine__redo_shm *redo);

/* Is there room for others than those that the bound speaks of? By the nursery. */
bool tine__redo_is_half_empty(const struct tine__pool_shm *pool);
/* Are parts of the job waiting or taken? */
bool tine__redo_has(const struct tine__pool_shm *pool, const struct tine__job_shm *job);
/* Frees what waits (not what is taken) of a job that was stopped. Was there any? */
bool tine__redo_drop(struct tine__pool_shm *pool, const struct tine__job_shm *job);

#endif
