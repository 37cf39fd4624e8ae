/* SPDX-License-Identifier: MIT */
/*
 * Futures: waiting for jobs and taking in what they left.
 *
 *     PENDING ──(job done, or pool ended; one thread wins)──► COLLECTING ──► COLLECTED
 *
 * The winner copies results back, combines partial results, calls the last progress callback, and
 * takes the job out of the pool's list; others wait for it. From COLLECTED on the code is final.
 *
 * Freeing a job's memory waits until no process looks at it any more: workers and the nursery
 * announce what they look at (pool/stream.c), and a job that saw a death may stand in the redo
 * table. What cannot be freed yet is kept in pool->deferred and looked at again by later closes and
 * submissions.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/error.h>
#include <tine/heap.h>

#include "lib/fork.h"
#include "lib/sys.h"
#include "lib/waitable.h"
#include "pool/claim.h"
#include "pool/descriptor.h"
#include "pool/job.h"
#include "pool/outcome.h"
#include "pool/redo.h"
#include "shm/pollable.h"
#include "shm/watch.h"

#define LOOK_NS        TINE_MS(50) /* how often a waiting thread looks whether the nursery lives */
#define STOP_LOOK_NS   TINE_MS(1)
#define STOP_NS        TINE_SEC(1) /* a killed worker is settled in well under a millisecond */
#define LOOKS_A_CLOCK  32
#define SECOND_WAKE_NS TINE_US(2) /* after the first: less than it takes the first worker to come */

/* Futures may outlive their pool. */
static bool pool_is_closed(const struct tine_future *future)
{
    return atomic_load_explicit(&future->pool->id, memory_order_relaxed) != future->pool_id;
}

static int status_of(const struct tine_future *future)
{
    if (pool_is_closed(future))
        return TINE__TERMINATED;
    return atomic_load_explicit(&future->pool->status, memory_order_acquire);
}

static bool job_is_done(const struct tine_future *future)
{
    /* acquire: pairs with tine__job_complete */
    return atomic_load_explicit(&future->job->state, memory_order_acquire) == TINE__JOB_DONE;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool spin(const struct tine_future *future, int64_t budget)
{
    int64_t end;

    if (budget == 0)
        return job_is_done(future);
    end = tine__now_ns() + budget;
    do
        for (int i = 0; i < LOOKS_A_CLOCK; i++) {
            if (job_is_done(future))
                return true;
            tine__cpu_relax();
        }
    while (tine__now_ns() < end);
    return false;
}

static void sleep_on_job(struct tine_future *future, int64_t ns)
{
    uint32_t state = TINE__JOB_PENDING;

    if (atomic_compare_exchange_strong_explicit(&future->job->state, &state, TINE__JOB_WAITED,
                                                memory_order_relaxed, memory_order_relaxed))
        state = TINE__JOB_WAITED;
    if (state == TINE__JOB_WAITED || state == TINE__JOB_WATCHED)
        tine__sys_futex_wait(&future->job->state, state, ns);
}

/* Keeps the pidfds of the workers at hand, so that ending the pool does not depend on the nursery.
 */
static void listen(struct tine_pool *pool)
{
    uint64_t started = atomic_load_explicit(&pool->shared->started, memory_order_relaxed);

    pthread_mutex_lock(&pool->mutex);
    if (started != pool->heard) {
        pool->heard = started;
        tine__nursery_listen(&pool->nursery);
    }
    pthread_mutex_unlock(&pool->mutex);
}

/* Tickets lie about although workers sleep: all are woken, for among those that seem to sleep or to
   spin some may be stopped themselves. */
static void wake_for_rest(struct tine_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    if (atomic_load_explicit(&pool->status, memory_order_relaxed) <= TINE__SHUT &&
        tine__stream_has_unclaimed(pool->shared))
        tine__stream_wake_all(pool->shared);
    pthread_mutex_unlock(&pool->mutex);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void tine__pool_look_after(tine_pool *pool)
{
    int64_t now = tine__now_ns(),
            due = atomic_load_explicit(&pool->next_look, memory_order_relaxed);

    if (now < due ||
        !atomic_compare_exchange_strong_explicit(&pool->next_look, &due, now + LOOK_NS / 2,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    if (!tine__pool_is_broken(pool))
        wake_for_rest(pool);
}

/* A wake-up costs the caller more than a tiny job, so the second one comes when it is known to pay. */
static bool spin_on_job(struct tine_future *future)
{
    int64_t budget = atomic_load_explicit(&future->pool->shared->spin_ns, memory_order_relaxed);

    if (future->wake_later) {
        if (spin(future, SECOND_WAKE_NS))
            return true;
        future->wake_later = false;
        tine__stream_wake(future->pool->shared, 1);
    }
    return spin(future, budget);
}

/* Until the job is done or the pool has ended. */
static int await_job(struct tine_future *future, tine__deadline deadline)
{
    if (job_is_done(future) || status_of(future) >= TINE__ENDED)
        return 0;
    if (!tine__deadline_passed(deadline) && spin_on_job(future))
        return 0;
    while (!job_is_done(future) && status_of(future) < TINE__ENDED) {
        int64_t left = tine__deadline_left(deadline);
        int64_t slice = least(least(left, LOOK_NS), tine__progress_report(future, false));

        tine__pool_look_after(future->pool);
        if (status_of(future) >= TINE__ENDED) /* seen just now, or the callback's doing */
            break;
        if (left == 0)
            return -ETIMEDOUT;
        listen(future->pool);
        sleep_on_job(future, slice);
    }
    return 0;
}

/* ---- the end of a job ------------------------------------------------------------------------ */

static const tine_failure *lowest_failure(const struct tine__job_shm *job)
{
    uint64_t newest = atomic_load_explicit(&job->failure, memory_order_acquire);

    return newest == 0 ? NULL : &TINE__AT(struct tine__failure_shm, newest)->failure;
}

/* A failure of the job as a whole. */
static tine_failure whole_failure(const struct tine_future *future, int code, const char *message)
{
    tine_failure failure = tine__job_failure(future->job, code, 0, future->job->n);

    snprintf(failure.message, sizeof failure.message, "%s", message);
    return failure;
}

/* The pool ended under the job. */
static int code_of_lost(struct tine_future *future, tine_failure *failure)
{
    bool broken = status_of(future) == TINE__BROKEN;

    *failure = whole_failure(future, broken ? TINE_EWORKER : -ECANCELED,
                             broken ? "the pool's nursery died, and all workers with it"
                                    : "the pool was terminated");
    return failure->code;
}

static int code_of_done(const struct tine__job_shm *job, tine_failure *failure)
{
    const tine_failure *lowest = lowest_failure(job);
    int bare = atomic_load_explicit(&job->bare_code, memory_order_relaxed);

    if (lowest == NULL && bare != 0)
        *failure = tine__job_failure(job, bare, 0, job->n);
    else if (lowest != NULL)
        *failure = *lowest;
    else
        return tine__job_stopped(job) ? -ECANCELED : 0;
    return failure->code;
}

static void combine_partials(struct tine_future *future)
{
    const struct tine__job_shm *job = future->job;
    char *total = TINE__AT(char, job->out);

    for (uint64_t unit = 1; unit < job->units; unit++)
        future->combine(total, total + unit * job->out_size, TINE__AT(void, job->context));
    memcpy(future->out, total, future->out_bytes);
}

/* Brings the results of a done job to where the caller wants them. */
static void take_results(struct tine_future *future, int code)
{
    const struct tine__job_shm *job = future->job;

    if (job->kind == TINE__JOB_REDUCE && code == 0)
        combine_partials(future);
    else if (job->kind == TINE__JOB_MAP && future->out != NULL)
        memcpy(future->out, TINE__AT(const void, job->out), future->out_bytes);
}

/* Whoever completed the job has done so already, unless it died just then. */
static void release_descriptors(const struct tine_future *future)
{
    struct tine__numbers numbers;

    tine__numbers_of(future->job, &numbers);
    if (numbers.count > 0 && tine__numbers_release(future->pool->shared, &numbers))
        tine__nursery_nudge(&future->pool->nursery);
}

/* Under the mutex. */
static void unlink_job(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;

    release_descriptors(future);
    tine__stream_retire(&pool->stream, future->first_ticket, future->tickets);
    if (future->newer != NULL)
        future->newer->older = future->older;
    else
        pool->jobs = future->older;
    if (future->older != NULL)
        future->older->newer = future->newer;
    pool->done++;
}

static void collect(struct tine_future *future)
{
    tine_failure failure = {0};
    int code = future->code;

    if (!job_is_done(future)) {
        code = code != 0 ? code : code_of_lost(future, &failure);
    } else {
        code = code != 0 ? code : code_of_done(future->job, &failure);
        take_results(future, code);
    }
    if (code < 0 && future->failure != NULL)
        *future->failure =
            failure.code == code ? failure : whole_failure(future, code, tine_strerror(code));
    if (job_is_done(future) && code == 0)
        (void)tine__progress_report(future, true);
    future->code = code;
    future->results.count = future->job->n;
    pthread_mutex_lock(&future->pool->mutex);
    unlink_job(future);
    pthread_mutex_unlock(&future->pool->mutex);
}

/* Another thread is taking in the results. */
static int await_collector(struct tine_future *future, tine__deadline deadline)
{
    uint32_t phase = TINE__COLLECTING;

    atomic_compare_exchange_strong_explicit(&future->phase, &phase, TINE__COLLECTING_WAITED,
                                            memory_order_relaxed, memory_order_relaxed);
    while (atomic_load_explicit(&future->phase, memory_order_acquire) != TINE__COLLECTED) {
        int64_t left = tine__deadline_left(deadline);

        if (left == 0)
            return -ETIMEDOUT;
        tine__sys_futex_wait(&future->phase, TINE__COLLECTING_WAITED,
                             left == INT64_MAX ? -1 : left);
    }
    return 0;
}

int tine__future_await(struct tine_future *future, tine__deadline deadline)
{
    uint32_t phase = atomic_load_explicit(&future->phase, memory_order_acquire);
    int rc = phase == TINE__PENDING ? await_job(future, deadline) : 0;

    if (rc < 0 || phase == TINE__COLLECTED)
        return rc;
    phase = TINE__PENDING;
    if (!atomic_compare_exchange_strong_explicit(&future->phase, &phase, TINE__COLLECTING,
                                                 memory_order_acquire, memory_order_acquire))
        return await_collector(future, deadline);
    collect(future);
    /* release: code and results are seen by whoever reads COLLECTED */
    if (atomic_exchange_explicit(&future->phase, TINE__COLLECTED, memory_order_acq_rel) ==
        TINE__COLLECTING_WAITED)
        tine__sys_futex_wake(&future->phase, INT_MAX);
    return 0;
}

/* ---- freeing --------------------------------------------------------------------------------- */

/*
 * Under the mutex, after the job's tickets were retired. May some process still look at the job?
 * Only a settlement can hand it from a worker, over the nursery and the redo table, to a worker that
 * was looked at before; without one a rest is taken first and announced then, so it is looked for in
 * that order.
 */
static bool in_use(const struct tine_pool *pool, const struct tine__job_shm *job)
{
    const struct tine__pool_shm *shared = pool->shared;
    /* acquire: pairs with the ends of tine__settle; odd: one is going on */
    uint32_t settled = atomic_load_explicit(&shared->settlements, memory_order_acquire);
    bool had_death = atomic_load_explicit(&job->had_death, memory_order_acquire) != 0;
    uint32_t first = job->kind == TINE__JOB_CALL && !had_death ? shared->workers : 0;

    if ((settled & 1) != 0 || (had_death && tine__redo_has(shared, job)))
        return true;
    /* A call's one worker is through with it once it is done. */
    for (uint32_t i = first; i < shared->workers; i++)
        if ((atomic_load_explicit(&tine__worker_at(shared, i)->job, memory_order_acquire) &
             ~UINT64_C(1)) == TINE__ADDRESS(job))
            return true;
    return atomic_load_explicit(&shared->settlements, memory_order_relaxed) != settled;
}

static void free_blocks(struct tine_future *future)
{
    struct tine__job_shm *job = future->job;
    uint64_t older;

    for (uint64_t at = atomic_load(&job->failure); at != 0; at = older) {
        older = TINE__AT(struct tine__failure_shm, at)->older;
        tine_free(TINE__AT(void, at));
    }
    if (job->blocks != 0)
        tine__outcomes_free(job);
    tine_free(TINE__AT(void, job->result));
    while (future->block_count > 0) /* the job itself is the first */
        tine_free(future->blocks[--future->block_count]);
}

void tine__future_free(struct tine_future *future, bool with_blocks)
{
    if (future->job != NULL && with_blocks)
        free_blocks(future);
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
        if (!future->closed || !job_is_done(future))
            continue;
        unlink_job(future);
        pool->closed_jobs--;
        defer(pool, future);
    }
    free_deferred(pool);
}

/* ---- stopping -------------------------------------------------------------------------------- */

/* Has a worker taken the call's ticket, or is this a loop? If not, nobody will end the job soon. */
static bool is_begun(const struct tine_future *future)
{
    return future->job->kind != TINE__JOB_CALL ||
           tine__claims_exhausted(tine__stream_claims(future->pool->shared),
                                  future->first_ticket + 1);
}

/* Starts nothing more of the job and kills what runs of it. Returns when it has ended, or cannot
 * soon. */
static void stop_job(struct tine_future *future)
{
    tine__deadline deadline = tine__deadline_after(STOP_NS);
    struct tine__job_shm *job = future->job;

    while (status_of(future) < TINE__ENDED && !tine__deadline_passed(deadline)) {
        /* every time: a rest may have been put up by a settlement that began before the first */
        tine__job_stop(future->pool->shared, job);
        if (job->kind != TINE__JOB_CALL)
            tine__job_check(future->pool->shared, job);
        if (job_is_done(future) || !is_begun(future))
            break;
        tine__pool_kill_job(future->pool, job);
        sleep_on_job(future, STOP_LOOK_NS);
        (void)tine__pool_is_broken(future->pool);
    }
}

/* Some items of a starmap may have failed; the others' results are there all the same. */
static bool has_results(const struct tine_future *future, int rc)
{
    bool of_items =
        rc == TINE_EREMOTE || rc == TINE_EWORKER || rc == TINE_ELIMIT || rc == TINE_EFORMAT;

    return rc == 0 || (of_items && future->job->kind == TINE__JOB_STARMAP);
}

int tine__future_finish(struct tine_future *future, const tine_job_options *options,
                        tine_results **results)
{
    tine__deadline deadline =
        options->timeout_ns > 0 ? tine__deadline_after(options->timeout_ns) : TINE__NEVER;
    int rc = tine__future_await(future, deadline);

    if (rc == -ETIMEDOUT) {
        future->code = rc;
        if (future->failure != NULL)
            *future->failure = whole_failure(future, rc, tine_strerror(rc));
        future->failure = NULL; /* the caller's, and the caller may be gone when the job ends */
        stop_job(future);
        (void)tine__future_await(future, 0);
    } else {
        rc = future->code;
    }
    if (results != NULL && has_results(future, rc))
        *results = &future->results;
    else
        tine_future_close(future);
    return rc;
}

/* ---- public ---------------------------------------------------------------------------------- */

static int check_future(const struct tine_future *future)
{
    if (future == NULL)
        return -EINVAL;
    return future->generation == tine__fork_generation() ? 0 : TINE_EFORKED;
}

static bool has_ended(struct tine_future *future)
{
    return atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__COLLECTED ||
           job_is_done(future) || status_of(future) >= TINE__ENDED;
}

/* From now on the end of the job rings those who have entered their bells for its state. */
static void watch_job(struct tine_future *future)
{
    uint32_t state = atomic_load_explicit(&future->job->state, memory_order_seq_cst);

    while (state != TINE__JOB_WATCHED && state != TINE__JOB_DONE &&
           !atomic_compare_exchange_weak_explicit(&future->job->state, &state, TINE__JOB_WATCHED,
                                                  memory_order_seq_cst, memory_order_seq_cst))
        ;
}

/* After a look in vain: the descriptor that this process may have for the future is made quiet. */
static bool has_ended_since(struct tine_future *future)
{
    if (atomic_load_explicit(&tine__pollables, memory_order_relaxed) == 0 ||
        !tine__pollable_quiet(&future->job->state))
        return false;
    watch_job(future);
    if (!has_ended(future))
        return false;
    tine__watch_ring(&future->job->state);
    return true;
}

bool tine_future_done(tine_future *future)
{
    if (check_future(future) < 0)
        return false;
    if (has_ended(future))
        return true;
    tine__pool_look_after(future->pool);
    return has_ended_since(future);
}

int tine_future_wait(tine_future *future, int64_t timeout_ns)
{
    int rc = check_future(future);

    if (rc == 0)
        rc = tine__future_await(future, tine__deadline_after(timeout_ns));
    if (rc != -ETIMEDOUT || timeout_ns != 0)
        return rc;
    return has_ended_since(future) ? tine__future_await(future, 0) : -EAGAIN;
}

int tine_future_result(tine_future *future, int64_t timeout_ns, const char *format, ...)
{
    const void *bytes;
    size_t size;
    va_list args;
    int rc = tine_future_wait(future, timeout_ns);

    if (rc == 0)
        rc = future->code;
    if (rc < 0 || format == NULL)
        return rc;
    if (future->job == NULL || future->job->kind != TINE__JOB_CALL)
        return -EINVAL;
    rc = tine__results_find(&future->results, 0, &bytes, &size);
    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = tine__results_unpack(&future->results, bytes, size, format, args);
    va_end(args);
    return rc;
}

int tine_future_results(tine_future *future, int64_t timeout_ns, const tine_results **results)
{
    int rc = results == NULL ? -EINVAL : tine_future_wait(future, timeout_ns);

    if (rc < 0)
        return rc;
    if (future->job != NULL && future->job->kind != TINE__JOB_CALL &&
        future->job->kind != TINE__JOB_STARMAP)
        return -EINVAL;
    rc = future->code;
    if (has_results(future, rc))
        *results = &future->results;
    return rc;
}

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

void tine_future_close(tine_future *future)
{
    struct tine_pool *pool;

    if (future == NULL)
        return;
    if (check_future(future) < 0) {
        tine__future_free(future, false);
        return;
    }
    if (atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__PENDING) {
        if (future->in_place)
            stop_job(future);
        if (!job_is_done(future) && status_of(future) < TINE__ENDED) {
            abandon(future);
            return;
        }
        future->failure = NULL;
        future->progress = NULL;
        future->code = -ECANCELED; /* nothing is to be brought anywhere */
        (void)tine__future_await(future, 0);
    }
    if (future->job == NULL || pool_is_closed(future)) {
        tine__future_free(future, true);
        return;
    }
    pool = future->pool;
    pthread_mutex_lock(&pool->mutex);
    defer(pool, future);
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- waiting for many things ----------------------------------------------------------------- */

static int ready(const tine_waitable *waitable, bool look)
{
    struct tine_future *future = waitable->object;
    int rc = check_future(future);

    if (rc < 0)
        return rc;
    if (waitable->events != TINE_READABLE)
        return -EINVAL;
    if (look && !has_ended(future)) {
        (void)tine__progress_report(future, false);
        tine__pool_look_after(future->pool);
        listen(future->pool);
    }
    return has_ended(future) ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    struct tine_future *future = waitable->object;

    if (check_future(future) < 0 || future->job == NULL)
        return 0;
    points_out[0] = &future->job->state;
    return 1;
}

static void arm(const tine_waitable *waitable)
{
    watch_job(waitable->object);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_future_waitable(tine_future *future)
{
    return (tine_waitable){.kind = &waitable_kind, .object = future, .events = TINE_READABLE};
}
