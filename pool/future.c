/* SPDX-License-Identifier: MIT */
/*
 * Futures: waiting for jobs and taking in what they left.
 *
 *     PENDING ──(job done, or pool ended; one thread wins)──► COLLECTING ──► COLLECTED
 *
 * The winner copies results back, combines partial results, calls the last progress callback, and
 * takes the job out of the pool's list; others wait for it. From COLLECTED on the code is final.
 *
 * Whoever waits for one job sleeps on its state. A pool with callbacks may have one due while a
 * thread waits for another job; then that thread sleeps at pool.told, of which the ends of both
 * tell it.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/error.h>

#include "lib/fork.h"
#include "lib/sys.h"
#include "lib/waitable.h"
#include "pool/failure.h"
#include "pool/resize.h"
#include "pool/sticky.h"
#include "shm/pollable.h"
#include "shm/watch.h"

#define LOOKS_A_CLOCK  32
#define SECOND_WAKE_NS TINE_US(2) /* after the first: less than it takes the first worker to come */

/* ---- waiting --------------------------------------------------------------------------------- */

static bool job_is_over(const struct tine_future *future)
{
    return tine__job_over(future->job);
}

static bool spin(const struct tine_future *future, int64_t budget)
{
    int64_t end;

    if (budget == 0)
        return job_is_over(future);
    end = tine__now_ns() + budget;
    do
        for (int i = 0; i < LOOKS_A_CLOCK; i++) {
            if (job_is_over(future))
                return true;
            tine__cpu_relax();
        }
    while (tine__now_ns() < end);
    return false;
}

/* Sets a bit of the state that says who is to be woken; what it then is. */
static uint32_t mark(struct tine_future *future, uint32_t bit)
{
    uint32_t state = atomic_load_explicit(&future->job->state, memory_order_seq_cst);

    if ((state & bit) != 0)
        return state;
    return atomic_fetch_or_explicit(&future->job->state, bit, memory_order_seq_cst) | bit;
}

void tine__future_sleep(struct tine_future *future, int64_t ns)
{
    uint32_t state = mark(future, TINE__JOB_WAITED);

    if (!job_is_over(future))
        tine__sys_futex_wait(&future->job->state, state, ns);
}

bool tine__future_tell(struct tine_future *future)
{
    (void)mark(future, TINE__JOB_TOLD);
    return !tine__future_over(future);
}

/* Until the job is over, or a callback may be due. */
static void sleep_at_pool(struct tine_future *future, int64_t ns)
{
    struct tine_pool *pool = future->pool;
    uint32_t turn = tine__waiters_join(&pool->shared->told);

    if (tine__future_tell(future) && !tine__callbacks_due(pool))
        (void)tine__waiters_sleep(&pool->shared->told, turn, tine__deadline_after(ns));
}

void tine__pool_listen(tine_pool *pool)
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
    if (atomic_load_explicit(&pool->status, memory_order_relaxed) <= TINE__SHUT) {
        bool calls = tine__sticky_look_after(pool); /* in any case: it sees to what waits */

        if (calls || tine__stream_has_unclaimed(pool->shared)) {
            if (tine__resize_has_room(pool->shared))
                tine__resize_demand(pool);
            tine__stream_wake_all(pool->shared);
        }
    }
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

    if (now < due || !atomic_compare_exchange_strong_explicit(
                         &pool->next_look, &due, now + TINE__POOL_LOOK_NS / 2, memory_order_relaxed,
                         memory_order_relaxed))
        return;
    if (!tine__pool_is_broken(pool))
        wake_for_rest(pool);
}

/* A wake-up costs the caller more than a tiny job, so the second one comes when it is known to
   pay. */
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

static bool is_over(const struct tine_future *future)
{
    return job_is_over(future) || tine__future_status(future) >= TINE__ENDED;
}

/* Until the job is over or the pool has ended. */
static int await_job(struct tine_future *future, tine__deadline deadline)
{
    if (is_over(future))
        return 0;
    if (!tine__deadline_passed(deadline) && spin_on_job(future))
        return 0;
    while (!is_over(future)) {
        int64_t left = tine__deadline_left(deadline);
        int64_t slice =
            least(least(left, TINE__POOL_LOOK_NS), tine__progress_report(future, false));

        tine__pool_look_after(future->pool);
        (void)tine__callbacks_run(future->pool);
        if (is_over(future)) /* seen just now, or a callback's doing */
            break;
        if (left == 0)
            return -ETIMEDOUT;
        tine__pool_listen(future->pool);
        if (tine__callbacks_pending(future->pool))
            sleep_at_pool(future, slice);
        else
            tine__future_sleep(future, slice);
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

static int code_of_cancelled(struct tine_future *future, tine_failure *failure)
{
    *failure = whole_failure(future, -ECANCELED, "the job was cancelled");
    return failure->code;
}

/* The pool ended under the job. */
static int code_of_lost(struct tine_future *future, tine_failure *failure)
{
    bool broken = tine__future_status(future) == TINE__BROKEN;

    if (broken && tine__pool_says_why(future->pool->shared)) {
        *failure = future->pool->shared->failure;
        return failure->code;
    }
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
    else if (job->kind == TINE__JOB_MAP)
        memcpy(future->out, TINE__AT(const void, job->out), future->out_bytes);
}

static int code_of_ended(struct tine_future *future, tine_failure *failure)
{
    if (tine__job_cancelled(future->job))
        return code_of_cancelled(future, failure);
    return tine__job_done(future->job) ? code_of_done(future->job, failure)
                                       : code_of_lost(future, failure);
}

/* What of an ended pool nobody looks at any more: threads cannot be killed. */
static bool has_quiet_pool(const struct tine_future *future)
{
    return tine__future_status(future) >= TINE__ENDED &&
           (future->pool->kind == TINE_PROCESSES || future->pool->quiet_end);
}

/* What is over but not done is a cancelled call, to which its ticket still leads, or what a thread
   goes on with: it stays in the list. */
static void leave_list(struct tine_future *future)
{
    struct tine_pool *pool = future->pool;

    pthread_mutex_lock(&pool->mutex);
    tine__account_collect(future);
    if (tine__job_done(future->job) || has_quiet_pool(future)) {
        tine__future_unlink(future);
    } else {
        future->counted = true;
        pool->done++;
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void collect(struct tine_future *future)
{
    tine_failure failure = {0};
    int code = future->code;

    if (code == 0)
        code = code_of_ended(future, &failure);
    if (tine__job_done(future->job) && future->out != NULL)
        take_results(future, code);
    if (code < 0 && future->failure != NULL)
        *future->failure =
            failure.code == code ? failure : whole_failure(future, code, tine_strerror(code));
    if (code == 0)
        (void)tine__progress_report(future, true);
    future->code = code;
    future->results.count = future->job->n;
    leave_list(future);
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

/* That of this future, and those of others that are due. */
static void run_callbacks(struct tine_future *future)
{
    if (future->job != NULL && !tine__future_is_orphan(future))
        (void)tine__callbacks_run(future->pool);
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
        tine__future_stop(future);
        (void)tine__future_await(future, 0);
    } else {
        rc = future->code;
    }
    run_callbacks(future);
    if (results != NULL && has_results(future, rc))
        *results = &future->results;
    else
        tine_future_close(future);
    return rc;
}

/* ---- public ---------------------------------------------------------------------------------- */

int tine__future_check(const struct tine_future *future)
{
    if (future == NULL)
        return -EINVAL;
    return future->generation == tine__fork_generation() ? 0 : TINE_EFORKED;
}

/* From now on the end of the job rings those who have entered their bells for its state. */
static void watch_job(struct tine_future *future)
{
    (void)mark(future, TINE__JOB_WATCHED);
}

/* After a look in vain: the descriptor that this process may have for the future is made quiet. */
static bool has_ended_since(struct tine_future *future)
{
    if (atomic_load_explicit(&tine__pollables, memory_order_relaxed) == 0 ||
        !tine__pollable_quiet(&future->job->state))
        return false;
    watch_job(future);
    if (!tine__future_over(future))
        return false;
    tine__watch_ring(&future->job->state);
    return true;
}

bool tine_future_done(tine_future *future)
{
    if (tine__future_check(future) < 0)
        return false;
    if (tine__future_over(future))
        return true;
    tine__pool_look_after(future->pool);
    return has_ended_since(future);
}

int tine_future_wait(tine_future *future, int64_t timeout_ns)
{
    int rc = tine__future_check(future);

    if (rc < 0)
        return rc;
    rc = tine__future_await(future, tine__deadline_after(timeout_ns));
    if (rc == -ETIMEDOUT && timeout_ns == 0)
        rc = has_ended_since(future) ? tine__future_await(future, 0) : -EAGAIN;
    run_callbacks(future);
    return rc;
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

int tine_future_exception(tine_future *future, int64_t timeout_ns, tine_failure *failure)
{
    const tine_failure *lowest;
    int rc = failure == NULL ? -EINVAL : tine_future_wait(future, timeout_ns);

    if (rc < 0 || future->code == 0 || future->code == -ECANCELED)
        return rc < 0 ? rc : future->code;
    if (future->code == TINE_EBROKEN && !tine__future_is_orphan(future)) {
        tine__pool_failure(future->pool->shared, failure);
        return 1;
    }
    lowest = tine__job_done(future->job) ? lowest_failure(future->job) : NULL;
    *failure = lowest != NULL && lowest->code == future->code
                   ? *lowest
                   : whole_failure(future, future->code, tine_strerror(future->code));
    return 1;
}

/* ---- waiting for many things ----------------------------------------------------------------- */

static int ready(const tine_waitable *waitable, bool look)
{
    struct tine_future *future = waitable->object;
    int rc = tine__future_check(future);

    if (rc < 0)
        return rc;
    if (waitable->events != TINE_READABLE)
        return -EINVAL;
    run_callbacks(future);
    if (look && !tine__future_over(future)) {
        (void)tine__progress_report(future, false);
        tine__pool_look_after(future->pool);
        tine__pool_listen(future->pool);
    }
    return tine__future_over(future) ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    struct tine_future *future = waitable->object;

    if (tine__future_check(future) < 0 || future->job == NULL)
        return 0;
    points_out[0] = &future->job->state;
    if (tine__future_is_orphan(future) || !tine__callbacks_pending(future->pool))
        return 1;
    points_out[1] = &future->pool->shared->told;
    return 2;
}

static void arm(const tine_waitable *waitable)
{
    struct tine_future *future = waitable->object;

    watch_job(future);
    if (!tine__future_is_orphan(future) && tine__callbacks_pending(future->pool))
        tine__waiters_watch(&future->pool->shared->told);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_future_waitable(tine_future *future)
{
    return (tine_waitable){.kind = &waitable_kind, .object = future, .events = TINE_READABLE};
}
