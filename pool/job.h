/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_JOB_H
#define TINE_POOL_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include <tine/codec.h>

#include "pool/layout.h"

struct tine__rest;

static inline struct tine__claims_shm *tine__job_claims(const struct tine__job_shm *job)
{
    return TINE__AT(struct tine__claims_shm, job->claims);
}

uint64_t tine__unit_begin(const struct tine__job_shm *job, uint64_t unit);
uint64_t tine__unit_end(const struct tine__job_shm *job, uint64_t unit);

/* Marks the job done, once, and wakes who waits. The job may be freed as soon as this has returned.
 */
void tine__job_complete(struct tine__pool_shm *pool, struct tine__job_shm *job);
/* Wakes who waits for the state that was `before`. Only the address counts: the job may be gone. */
void tine__job_wake(struct tine__pool_shm *pool, _Atomic uint32_t *state, uint32_t before);
/* Completes a loop if nothing of it is left: to be called by whoever finished a part last. */
void tine__job_check(struct tine__pool_shm *pool, struct tine__job_shm *job);
/* Nothing more of the job is started: units, rests, items. */
void tine__job_stop(struct tine__pool_shm *pool, struct tine__job_shm *job);
/* What of it runs in threads goes on, but nobody waits for that any more. After
   tine__job_stop(). */
void tine__job_abandon(struct tine__pool_shm *pool, struct tine__job_shm *job);
/*
 * A worker begins with a call; false: it was cancelled or stopped, and is not to be run. Who stops
 * it just then sees that it has begun.
 */
bool tine__job_begin(struct tine__job_shm *job);
/* A call whose worker has died waits again; false: it was cancelled meanwhile. By the nursery. */
bool tine__job_unbegin(struct tine__job_shm *job);
/*
 * Marks the job cancelled, unless it is done or, where running work shall go on, begun. False: too
 * late. What was begun has to be stopped after that.
 */
bool tine__job_cancel(struct tine__pool_shm *pool, struct tine__job_shm *job, bool running,
                      bool *begun);
static inline bool tine__job_done(const struct tine__job_shm *job)
{
    /* acquire: pairs with tine__job_complete */
    return (atomic_load_explicit(&job->state, memory_order_acquire) & TINE__JOB_DONE) != 0;
}
/* Done, or abandoned, or a call that was cancelled before a worker had it. */
static inline bool tine__job_over(const struct tine__job_shm *job)
{
    uint32_t state = atomic_load_explicit(&job->state, memory_order_acquire);

    return (state & (TINE__JOB_DONE | TINE__JOB_ABANDONED)) != 0 ||
           (job->kind == TINE__JOB_CALL && (state & TINE__JOB_CANCELLED) != 0 &&
            (state & TINE__JOB_RUNNING) == 0);
}
/* Does, or did, a worker have a part of it in hand? */
bool tine__job_begun(const struct tine__job_shm *job);
/* Has it been, or will it be, ended by cancelling? */
bool tine__job_cancelled(const struct tine__job_shm *job);
static inline bool tine__job_stopped(const struct tine__job_shm *job)
{
    return atomic_load_explicit(&job->stop, memory_order_relaxed) != 0;
}

/* Calls the body of a for or reduce. */
int tine__job_run_range(const struct tine__job_shm *job, uint64_t function,
                        const struct tine__rest *range);
/* The result of a call, before it is complete. 0, -ENOMEM. */
int tine__job_keep_result(struct tine__job_shm *job, const tine_buffer *result);
/* Records a failure unless one with a lower index stands; stops the job where it fails fast. */
void tine__job_fail(struct tine__pool_shm *pool, struct tine__job_shm *job,
                    const tine_failure *failure);
/* A failure of this job with what everyone knows filled in. */
tine_failure tine__job_failure(const struct tine__job_shm *job, int code, uint64_t index,
                               uint64_t count);
/* With all that belongs to it. */
void tine__job_free(struct tine__job_shm *job);

#endif
