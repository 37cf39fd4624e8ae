/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_JOB_H
#define TINE_POOL_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

static inline struct tine__claims_shm *tine__job_claims(const struct tine__job_shm *job)
{
    return TINE__AT(struct tine__claims_shm, job->claims);
}

uint64_t tine__unit_begin(const struct tine__job_shm *job, uint64_t unit);
uint64_t tine__unit_end(const struct tine__job_shm *job, uint64_t unit);

/* Marks the job done, once, and wakes who waits. The job may be freed as soon as this has returned.
 */
void tine__job_complete(struct tine__job_shm *job);
/* Completes a loop if nothing of it is left: to be called by whoever finished a part last. */
void tine__job_check(const struct tine__pool_shm *pool, struct tine__job_shm *job);
/* Nothing more of the job is started: units, rests, items. */
void tine__job_stop(struct tine__pool_shm *pool, struct tine__job_shm *job);
static inline bool tine__job_stopped(const struct tine__job_shm *job)
{
    return atomic_load_explicit(&job->stop, memory_order_relaxed) != 0;
}

/* Records a failure unless one with a lower index stands; stops the job where it fails fast. */
void tine__job_fail(struct tine__pool_shm *pool, struct tine__job_shm *job,
                    const tine_failure *failure);
/* A failure of this job with what everyone knows filled in. */
tine_failure tine__job_failure(const struct tine__job_shm *job, int code, uint64_t index,
                               uint64_t count);

#endif
