/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_RUNNER_H
#define TINE_POOL_RUNNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/job.h"
#include "pool/layout.h"
#include "pool/recycle.h"
#include "pool/redo.h"
#include "pool/task.h"

/* What a worker needs to run what it has claimed. Its own thread's. */
struct tine__runner {
    struct tine__pool_shm *pool;
    struct tine__worker_shm *shared;
    uint32_t index;
    struct tine__tasks_seen tasks;
    uint64_t generation;               /* of this process, and */
    const _Atomic uint64_t *fork_word; /* where it stands, unless this is valgrind */
    uint64_t items;                    /* indices done of the present loop, as in its slot */
    struct tine__wear wear;
    struct tine_call call;
};

/* control: to the nursery, or -1. The call is the caller's to end, by tine__call_fini(). */
void tine__runner_init(struct tine__runner *runner, struct tine__pool_shm *pool,
                       struct tine__worker_shm *shared, uint32_t index, int control);

/*
 * Runs a unit or a rest of one. `at` stays valid: the caller marks the range done, then calls
 * tine__runner_at_nothing(). False: this worker leaves, and something of the range is left.
 */
bool tine__runner_unit(struct tine__runner *runner, struct tine__job_shm *job,
                       const struct tine__rest *range);
/* Likewise, the one unit of a call. */
void tine__runner_call(struct tine__runner *runner, struct tine__job_shm *job);

/* Goes on counting where this worker, or a dead one in its place, has left off. Read once a job:
   the slot's line moves from worker to worker with every claim. */
void tine__runner_count_on(struct tine__runner *runner, const struct tine__job_shm *job);

static inline void tine__runner_at_nothing(struct tine__runner *runner)
{
    atomic_store_explicit(&runner->shared->at, 0, memory_order_release);
}

#endif
