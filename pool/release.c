/* SPDX-License-Identifier: MIT */
/*
 * Letting go of futures, and freeing their jobs.
 *
 * A job's memory is freed when no process looks at it any more: workers and the nursery announce
 * what they look at (pool/stream.c), and a job that saw a death may stand in the redo table. What
 * cannot be freed yet is kept in pool->deferred and looked at again by later closes and
 * submissions.
 *
 * A call that was cancelled before a worker had it is over for the program, but its ticket leads to
 * it until a worker has passed over it. So it stays in the list of jobs until it is done, as one
 * whose handle was closed early does. A future with callbacks that have not run is closed after the
 * last of them.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdlib.h>

#include <tine/heap.h>

#include "lib/fork.h"
#include "pool/backoff.h"
#include "pool/descriptor.h"
#include "pool/redo.h"
#include "pool/resize.h"
#include "pool/sticky.h"

/* Whoever completed the job has done so already, unless it died just then. */
static void release_descriptors(const struct tine_future *future)
{
    struct tine__numbers numbers;

    tine__numbers_of(future->job, &numbers);
    if (numbers.count > 0 && tine__numbers_release(future->pool->shared, &numbers))
        tine__nursery_nudge(&future->pool->nursery);
}

/* Under the mutex. */
void tine__future_unlink(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;

    release_descriptors(future);
    tine__sticky_retire(pool, future);
    tine__stream_retire(future->stream, future->first_ticket, future->tickets);
    tine__resize_retire(future);
    if (future->newer != NULL)
        future->newer->older = future->older;
    else
        pool->jobs = future->older;
    if (future->older != NULL)
        future->older->newer = future->newer;
    future->linked = false;
    pool->done += !future->counted;
}

/* ---- freeing --------------------------------------------------------------------------------- */

/*
 * Under the mutex, after the job's tickets were retired. May some process still look at the job?
 * Only a settlement can hand it from a worker, over the nursery and the redo table, to a worker
 * that was looked at before; without one a rest is taken first and announced then, so it is looked
 * for in that order.
 */
static bool in_use(const struct tine_pool *pool, const struct tine__job_shm *job)
{
    const struct tine__pool_shm *shared = pool->shared;
    /* acquire: pairs with the ends of tine__settle; odd: one is going on */
    uint32_t settled = atomic_load_explicit(&shared->settlements, memory_order_acquire);
    bool had_death = atomic_load_explicit(&job->had_death, memory_order_acquire) != 0;
    uint32_t looked_at;

    if ((settled & 1) != 0 ||
        (had_death && (tine__backoff_has(job) || tine__redo_has(shared, job))))
        return true;
    /* A call's one worker is through with it once it is done. */
    looked_at = job->kind == TINE__JOB_CALL && !had_death ? 0 : tine__born(shared);
    for (uint32_t i = 0; i < looked_at; i++)
        if ((atomic_load_explicit(&tine__worker_at(shared, i)->job, memory_order_acquire) &
             ~UINT64_C(1)) == TINE__ADDRESS(job))
            return true;
    return atomic_load_explicit(&shared->settlements, memory_order_relaxed) != settled;
}

void tine__future_free(struct tine_future *future, bool with_blocks)
{
    if (future->job != NULL && with_blocks)
        tine__job_free(future->job);
    tine__resize_forget(future);
    tine__results_fini(&future->results);
    free(future);
}

static void free_deferred(struct tine_pool *pool)
{
    struct tine_future **link = &pool->deferred;

    while (*link != NULL) {
        struct tine_future *future = *link;

        if (in_use(pool, future->job)) {
            link = &future->older;
            continue;
        }
        *link = future->older;
        tine__future_free(future, true);
    }
}

/* Under the mutex: a future that is in no list any more. */
static void defer(struct tine_pool *pool, struct tine_future *future)
{
    future->older = pool->deferred;
    pool->deferred = future;
    free_deferred(pool);
}

void tine__pool_sweep(tine_pool *pool)
{
    struct tine_future *older;

    for (struct tine_future *future = pool->jobs; future != NULL && pool->closed_jobs > 0;
         future = older) {
        older = future->older;
        if (!future->closed || !tine__job_done(future->job))
            continue;
        tine__future_unlink(future);
        pool->closed_jobs--;
        defer(pool, future);
    }
    free_deferred(pool);
}

/* ---- closing --------------------------------------------------------------------------------- */

/* The job goes on without its handle; tine__pool_sweep() frees it later. */
static void abandon(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;

    future->failure = NULL;
    future->progress = NULL;
    pthread_mutex_lock(&pool->mutex);
    future->closed = true;
    pool->closed_jobs++;
    pthread_mutex_unlock(&pool->mutex);
}

void tine__future_let_go(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;

    if (atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__PENDING) {
        if (!tine__future_over(future)) {
            abandon(future);
            return;
        }
        future->failure = NULL;
        future->progress = NULL;
        future->code = -ECANCELED; /* nothing is to be brought anywhere */
        (void)tine__future_await(future, 0);
    }
    pthread_mutex_lock(&pool->mutex);
    if (future->linked) {
        future->closed = true;
        pool->closed_jobs++;
    } else {
        defer(pool, future);
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* Callbacks are still to be run: true, and who runs the last one lets go of the future. */
static bool leave_to_callbacks(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;
    bool left;

    pthread_mutex_lock(&pool->mutex);
    if (future->calling) { /* it may be about to bring results to where the caller wants them */
        pthread_mutex_unlock(&pool->mutex);
        (void)tine__future_await(future, TINE__NEVER);
        pthread_mutex_lock(&pool->mutex);
    }
    left = future->calling || future->notices != NULL;
    if (left && !future->calling) { /* the caller may be gone when the job ends */
        future->failure = NULL;
        future->progress = NULL;
        future->out = NULL;
    }
    future->dropped = left;
    pthread_mutex_unlock(&pool->mutex);
    return left;
}

void tine_future_close(tine_future *future)
{
    int rc = tine__future_check(future);

    if (rc == -EINVAL)
        return;
    if (rc < 0 || future->job == NULL || tine__future_is_orphan(future)) {
        tine__future_free(future, rc == 0);
        return;
    }
    if (future->in_place &&
        atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__PENDING)
        tine__future_stop(future);
    if (!leave_to_callbacks(future))
        tine__future_let_go(future);
}
