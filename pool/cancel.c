/* SPDX-License-Identifier: MIT */
/*
 * Cancelling: of one job, or of all that wait when a pool is shut down.
 *
 * One word decides (job.state; of a loop the cursor of its claims): either the cancellation comes
 * first, and no worker begins with the job, or the worker does, and the job runs, or is killed
 * where that was asked for. A call that was cancelled in time is over at once, wherever its ticket
 * lies. Running work is stopped as a timeout stops it: what a worker has in hand dies with the
 * worker, which the nursery replaces; nothing of it is run again, whatever .retries says.
 */
#include "pool/pool_impl.h"

#include <errno.h>

#include <tine/error.h>

#include "shm/waiters.h"

#define STOP_LOOK_NS TINE_MS(1)
#define STOP_NS      TINE_SEC(1) /* a killed worker is settled in well under a millisecond */

/* ---- stopping -------------------------------------------------------------------------------- */

/* Has a worker taken the call's ticket, or is this a loop? If not, nobody will end the job soon. */
static bool is_begun(const struct tine_future *future)
{
    if (future->job->kind != TINE__JOB_CALL || tine__job_begun(future->job))
        return true;
    return future->track == 0 && tine__claims_exhausted(tine__stream_claims(future->stream->lane),
                                                        future->first_ticket + 1);
}

/* Where nothing can be killed: what runs goes on, and the job's memory stays until that has
   ended. */
static void abandon(struct tine_future *future)
{
    struct tine__pool_shm *shared = future->pool->shared;

    tine__job_stop(shared, future->job);
    if (future->job->kind != TINE__JOB_CALL)
        tine__job_check(shared, future->job);
    tine__job_abandon(shared, future->job);
}

/* Starts nothing more of the job and kills what runs of it. Returns when it has ended, or cannot
 * soon. */
void tine__future_stop(struct tine_future *future)
{
    tine__deadline deadline = tine__deadline_after(STOP_NS);
    struct tine__job_shm *job = future->job;

    if (future->pool->kind != TINE_PROCESSES) {
        abandon(future);
        return;
    }
    while (tine__future_status(future) < TINE__ENDED && !tine__deadline_passed(deadline)) {
        /* every time: a rest may have been put up by a settlement that began before the first */
        tine__job_stop(future->pool->shared, job);
        if (job->kind != TINE__JOB_CALL)
            tine__job_check(future->pool->shared, job);
        if (tine__job_done(job) || !is_begun(future))
            break;
        tine__pool_kill_job(future->pool, job);
        tine__future_sleep(future, STOP_LOOK_NS);
        (void)tine__pool_is_broken(future->pool);
    }
}

/* ---- one future ------------------------------------------------------------------------------ */

/* Under the mutex, for it may stand in the list of those with callbacks. */
static bool cancel(struct tine_future *future, bool running, bool *begun)
{
    bool cancelled = tine__job_cancel(future->pool->shared, future->job, running, begun);

    if (cancelled && *begun && future->pool->kind != TINE_PROCESSES)
        tine__job_abandon(future->pool->shared, future->job);
    if (cancelled) {
        tine__callbacks_prefer(future);
        atomic_fetch_add_explicit(&future->pool->cancels, 1, memory_order_seq_cst);
        /* Who was woken by the job itself may have looked before that, and not so far. */
        tine__waiters_wake_all(&future->pool->shared->told);
    }
    return cancelled;
}

/* Was it the cancelling that ended, or ends, the job? */
static bool was_cancelled(struct tine_future *future)
{
    if (atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__COLLECTED)
        return future->code == -ECANCELED;
    return tine__job_cancelled(future->job) ||
           (!tine__job_done(future->job) && tine__future_status(future) == TINE__TERMINATED);
}

bool tine_future_cancelled(tine_future *future)
{
    return tine__future_check(future) == 0 && was_cancelled(future);
}

int tine_future_cancel(tine_future *future, uint32_t flags)
{
    bool cancelled, begun = false;
    int rc = tine__future_check(future);

    if (rc == 0 && (flags & ~(uint32_t)TINE_CANCEL_RUNNING) != 0)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    if (tine__future_over(future))
        return was_cancelled(future);
    pthread_mutex_lock(&future->pool->mutex);
    cancelled = cancel(future, (flags & TINE_CANCEL_RUNNING) != 0, &begun);
    pthread_mutex_unlock(&future->pool->mutex);
    if (begun)
        tine__future_stop(future);
    return cancelled;
}

bool tine_future_running(tine_future *future)
{
    return tine__future_check(future) == 0 && !tine__future_over(future) &&
           tine__job_begun(future->job);
}

/* ---- all of a pool --------------------------------------------------------------------------- */

void tine__pool_abandon(tine_pool *pool, bool cancelled)
{
    bool begun = false;

    for (struct tine_future *future = pool->jobs; future != NULL; future = future->older) {
        if (cancelled)
            (void)cancel(future, true, &begun);
        if (!tine__job_over(future->job))
            abandon(future);
    }
}

int tine_pool_shutdown(tine_pool *pool, uint32_t flags)
{
    bool begun;
    int rc = tine__pool_check_handle(pool);

    if (rc == 0 && (flags & ~(uint32_t)TINE_SHUTDOWN_CANCEL) != 0)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    tine__pool_shut(pool);
    if ((flags & TINE_SHUTDOWN_CANCEL) == 0)
        return 0;
    pthread_mutex_lock(&pool->mutex);
    for (struct tine_future *future = pool->jobs; future != NULL; future = future->older)
        (void)cancel(future, false, &begun);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}
