/* SPDX-License-Identifier: MIT */
/*
 * Jobs as workers and the nursery see them: boundaries of units, failures, the end.
 *
 * A loop is complete when its claims are exhausted, no worker holds a unit, and the redo table has
 * nothing of it. Each of the three only ever changes towards complete, once the one before holds:
 * no new claims after exhaustion, no new rests but from held units (and a rest is put into the
 * table before its unit is marked done). So whoever finishes a part and then finds all three true
 * is right, and of several who finish at once at least one does (fence in tine__claims_settled).
 */
#include "pool/job.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <tine/error.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/sys.h"
#include "pool/backoff.h"
#include "pool/claim.h"
#include "pool/outcome.h"
#include "pool/redo.h"
#include "shm/watch.h"

uint64_t tine__unit_begin(const struct tine__job_shm *job, uint64_t unit)
{
    if (job->chunk == 0)
        return TINE__AT(const uint64_t, job->bounds)[unit];
    return unit * job->chunk;
}

uint64_t tine__unit_end(const struct tine__job_shm *job, uint64_t unit)
{
    if (job->chunk == 0)
        return TINE__AT(const uint64_t, job->bounds)[unit + 1];
    return job->n - unit * job->chunk < job->chunk ? job->n : (unit + 1) * job->chunk;
}

void tine__job_wake(struct tine__pool_shm *pool, _Atomic uint32_t *state, uint32_t before)
{
    if ((before & TINE__JOB_WAITED) != 0)
        tine__sys_futex_wake(state, INT_MAX);
    if ((before & TINE__JOB_WATCHED) != 0)
        tine__watch_ring(state);
    if ((before & TINE__JOB_TOLD) != 0)
        tine__waiters_wake_all(&pool->told);
}

void tine__job_complete(struct tine__pool_shm *pool, struct tine__job_shm *job)
{
    /* All parts of the job happen before the program reads its results; seq_cst for the watchers
       and for tine__waiters_wake. */
    uint32_t before = atomic_fetch_or_explicit(&job->state, TINE__JOB_DONE, memory_order_seq_cst);

    if ((before & TINE__JOB_DONE) == 0)
        tine__job_wake(pool, &job->state, before);
}

void tine__job_check(struct tine__pool_shm *pool, struct tine__job_shm *job)
{
    if (!tine__claims_settled(tine__job_claims(job), &pool->born, job->units))
        return;
    if (atomic_load_explicit(&job->had_death, memory_order_acquire) != 0 &&
        (tine__backoff_has(job) || tine__redo_has(pool, job)))
        return;
    tine__job_complete(pool, job);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

bool tine__job_begin(struct tine__job_shm *job)
{
    uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);

    do
        if ((state & TINE__JOB_CANCELLED) != 0)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&job->state, &state, state | TINE__JOB_RUNNING,
                                                  memory_order_seq_cst, memory_order_relaxed));
    /* seq_cst, both: who stops the job writes that, then looks whether it has begun */
    return atomic_load_explicit(&job->stop, memory_order_seq_cst) == 0;
}

bool tine__job_unbegin(struct tine__job_shm *job)
{
    uint32_t state = atomic_load_explicit(&job->state, memory_order_relaxed);

    do
        if ((state & TINE__JOB_CANCELLED) != 0)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&job->state, &state,
                                                  state & ~(uint32_t)TINE__JOB_RUNNING,
                                                  memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool tine__job_begun(const struct tine__job_shm *job)
{
    if (job->kind != TINE__JOB_CALL)
        return tine__claims_count(tine__job_claims(job)) > 0;
    /* seq_cst: after the stop (tine__job_begin) */
    return (atomic_load_explicit(&job->state, memory_order_seq_cst) & TINE__JOB_RUNNING) != 0;
}

/* Of a loop the cursor decides, closed before its first unit: then the mark may still be
   missing. */
bool tine__job_cancelled(const struct tine__job_shm *job)
{
    if ((atomic_load_explicit(&job->state, memory_order_acquire) & TINE__JOB_CANCELLED) != 0)
        return true;
    return job->kind != TINE__JOB_CALL && tine__claims_exhausted(tine__job_claims(job), 1) &&
           tine__claims_count(tine__job_claims(job)) == 0;
}

static bool may_cancel(const struct tine__job_shm *job, uint32_t state, bool running)
{
    if ((state & TINE__JOB_DONE) != 0)
        return false;
    return running || job->kind != TINE__JOB_CALL || (state & TINE__JOB_RUNNING) == 0;
}

bool tine__job_cancel(struct tine__pool_shm *pool, struct tine__job_shm *job, bool running,
                      bool *begun)
{
    uint32_t state = atomic_load_explicit(&job->state, memory_order_acquire);
    /* From here on a loop is cancelled, although those who find it closed may call it done
       first. */
    bool closed =
        job->kind != TINE__JOB_CALL && tine__claims_close_unclaimed(tine__job_claims(job));

    if (job->kind != TINE__JOB_CALL && !closed && !running)
        return tine__job_cancelled(job);
    /* seq_cst: for the watchers, as in tine__job_complete */
    while ((state & TINE__JOB_CANCELLED) == 0 && (closed || may_cancel(job, state, running)))
        if (atomic_compare_exchange_weak_explicit(&job->state, &state, state | TINE__JOB_CANCELLED,
                                                  memory_order_seq_cst, memory_order_acquire)) {
            *begun = job->kind != TINE__JOB_CALL ? !closed : (state & TINE__JOB_RUNNING) != 0;
            tine__job_stop(pool, job);
            if (job->kind != TINE__JOB_CALL)
                tine__job_check(pool, job);
            else if (!*begun)
                tine__job_wake(pool, &job->state, state);
            return true;
        }
    return (state & TINE__JOB_CANCELLED) != 0;
}

void tine__job_stop(struct tine__pool_shm *pool, struct tine__job_shm *job)
{
    /* seq_cst: before it is looked who has begun with it (tine__job_begin) */
    atomic_store_explicit(&job->stop, 1, memory_order_seq_cst);
    if (job->kind != TINE__JOB_CALL)
        tine__claims_close(tine__job_claims(job));
    if (tine__redo_drop(pool, job) && job->kind == TINE__JOB_CALL)
        tine__job_complete(pool,
                           job); /* a call that waited to run again: nobody else will end it */
}

void tine__job_abandon(struct tine__pool_shm *pool, struct tine__job_shm *job)
{
    /* seq_cst: for the watchers, as in tine__job_complete */
    uint32_t before =
        atomic_fetch_or_explicit(&job->state, TINE__JOB_ABANDONED, memory_order_seq_cst);

    if ((before & (TINE__JOB_DONE | TINE__JOB_ABANDONED)) == 0)
        tine__job_wake(pool, &job->state, before);
}

int tine__job_run_range(const struct tine__job_shm *job, uint64_t function,
                        const struct tine__rest *range)
{
    void *partial;

    if (job->kind == TINE__JOB_FOR)
        return TINE__AT(tine_body, function)(range->begin, range->end,
                                             TINE__AT(void, job->context));
    partial = TINE__AT(char, job->out) + range->unit * job->out_size;
    memcpy(partial, TINE__AT(const void, job->in), job->in_size);
    return TINE__AT(tine_reduce_body, function)(range->begin, range->end, partial,
                                                TINE__AT(void, job->context));
}

int tine__job_keep_result(struct tine__job_shm *job, const tine_buffer *result)
{
    void *copy = job->small, *dropped = TINE__AT(void, job->result);

    /* That of a worker which died before the job was complete. Forgotten first: a death in between
       loses the block, and does not free it twice. */
    job->result = 0;
    tine_free(dropped);
    if (result->size > sizeof job->small) {
        copy = tine_alloc(result->size);
        if (copy == NULL)
            return -ENOMEM;
        job->result = TINE__ADDRESS(copy);
    }
    memcpy(copy, result->data, result->size);
    job->result_size = result->size;
    return 0;
}

tine_failure tine__job_failure(const struct tine__job_shm *job, int code, uint64_t index,
                               uint64_t count)
{
    tine_failure failure = {
        .code = code, .worker = -1, .exit_status = -1, .index = index, .count = count};

    if (job->task != 0)
        memcpy(failure.task, TINE__AT(struct tine__task_shm, job->task)->name, sizeof failure.task);
    return failure;
}

/* Pushes `record` if its index is the lowest so far. */
static bool push_failure(struct tine__job_shm *job, struct tine__failure_shm *record)
{
    uint64_t newest = atomic_load_explicit(&job->failure, memory_order_acquire);

    do {
        if (newest != 0 &&
            TINE__AT(struct tine__failure_shm, newest)->failure.index <= record->failure.index)
            return false;
        record->older = newest; /* kept until the job is freed: others may be reading it */
    } while (!atomic_compare_exchange_weak_explicit(&job->failure, &newest, TINE__ADDRESS(record),
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

void tine__job_fail(struct tine__pool_shm *pool, struct tine__job_shm *job,
                    const tine_failure *failure)
{
    struct tine__failure_shm *record = tine_alloc(sizeof *record);

    if (record == NULL) {
        atomic_store_explicit(&job->bare_code, failure->code, memory_order_relaxed);
    } else {
        record->failure = *failure;
        if (!push_failure(job, record))
            tine_free(record);
    }
    if (job->fail_fast)
        tine__job_stop(pool, job);
}

/* ---- its end --------------------------------------------------------------------------------- */

void tine__job_free(struct tine__job_shm *job)
{
    uint64_t older;

    for (uint64_t at = atomic_load(&job->failure); at != 0; at = older) {
        older = TINE__AT(struct tine__failure_shm, at)->older;
        tine_free(TINE__AT(void, at));
    }
    if (job->blocks != 0)
        tine__outcomes_free(job);
    tine_free(TINE__AT(void, job->result));
    for (int i = 0; i < TINE__JOB_BLOCKS && job->owned[i] != 0; i++)
        tine_free(TINE__AT(void, job->owned[i]));
    tine_free(job);
}
