/* SPDX-License-Identifier: MIT */
/*
 * Making jobs: options, memory, publication. The kinds of job are made by pool/loop.c and
 * pool/starmap.c from what stands here.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/checked.h"
#include "lib/fork.h"
#include "lib/reserved.h"
#include "pool/account.h"
#include "pool/failure.h"
#include "pool/limit.h"
#include "pool/resize.h"
#include "pool/sticky.h"
#include "pool/worker.h"

#define RESULT_BYTES_MAX (UINT64_C(1) << 30)
#define WAKES            2  /* by the program; woken workers wake the others */
#define SWEEP_EVERY      64 /* submissions, at least */

const tine_job_options *tine__job_options(const tine_job_options *options)
{
    static const tine_job_options defaults;

    return options != NULL ? options : &defaults;
}

int tine__job_options_check(const tine_job_options *options, bool async)
{
    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (options->priority < TINE_PRIORITY_MIN || options->priority > TINE_PRIORITY_MAX)
        return -EINVAL;
    if (options->retries < TINE_UNLIMITED || options->fail_fast < 0 || options->fail_fast > 1 ||
        options->timeout_ns < 0 || (async && options->timeout_ns != 0))
        return -EINVAL;
    if ((options->context == NULL) != (options->context_size == 0))
        return -EINVAL;
    return tine__limit_check_job(options);
}

void *tine__future_alloc(struct tine_future *future, uint64_t size)
{
    void *block = tine_aligned_alloc(TINE__LINE, size);
    uint64_t *owned = future->job == NULL ? NULL : future->job->owned;

    if (block == NULL || owned == NULL) /* it is the job itself */
        return block;
    while (*owned != 0)
        owned++;
    *owned = TINE__ADDRESS(block);
    return block;
}

static void fill_future(struct tine_future *future, const tine_job_options *options)
{
    future->failure = options->failure;
    future->key = options->key;
    future->progress = options->progress;
    future->progress_user = options->progress_user;
    if (options->progress != NULL)
        future->submitted_ns = future->next_progress_ns = tine__now_ns();
}

/* Behind all else that the job has. */
static void set_limits(struct tine__job_shm *job, uint64_t place,
                       const struct tine__limits_shm *limits)
{
    job->limits = place;
    *TINE__AT(struct tine__limits_shm, place) = *limits;
}

/* The job, then `extra` bytes, its limits and its account where it has any, the context, in one
   block. */
static int make_job(struct tine_future *future, const struct tine__plan *plan)
{
    const tine_job_options *options = plan->options;
    struct tine__limits_shm limits;
    uint8_t limited = tine__limit_choose(future->pool->shared, options, &limits);
    bool accounted = future->pool->shared->accounts != 0;
    struct tine__job_shm *job;
    size_t extra, size;

    if (limited && limits.task_kill_ns != 0 && future->pool->kind != TINE_PROCESSES)
        return -ENOTSUP;
    if (!tine__round_up(plan->extra, TINE__LINE, &extra) ||
        !tine__add_size(sizeof *job + extra, TINE__LINE * (size_t)((limited != 0) + accounted),
                        &size) ||
        !tine__add_size(size, options->context_size, &size))
        return -EOVERFLOW;
    job = tine__future_alloc(future, size);
    if (job == NULL)
        return -ENOMEM;
    memset(job, 0, sizeof *job);
    job->kind = (uint8_t)plan->kind;
    job->lane = (uint8_t)(options->priority - TINE_PRIORITY_MIN);
    job->retries = options->retries;
    job->fail_fast = options->fail_fast;
    job->result_bytes_max =
        options->result_bytes_max != 0 ? options->result_bytes_max : RESULT_BYTES_MAX;
    job->workers = future->pool->shared->workers;
    job->limited = limited;
    if (limited != 0) {
        set_limits(job, TINE__ADDRESS(job + 1) + extra, &limits);
        extra += TINE__LINE;
    }
    if (accounted) {
        tine__account_open(job, TINE__ADDRESS(job + 1) + extra);
        extra += TINE__LINE;
    }
    if (options->context_size > 0) {
        job->context = TINE__ADDRESS(job + 1) + extra;
        job->context_size = options->context_size;
        memcpy(TINE__AT(void, job->context), options->context, options->context_size);
    }
    future->job = job;
    return 0;
}

static int describe_task(struct tine_future *future, const void *function)
{
    struct tine__task_shm *task;
    int rc;

    pthread_mutex_lock(&future->pool->mutex);
    rc = tine__task_describe(&future->pool->tasks, function, &task);
    pthread_mutex_unlock(&future->pool->mutex);
    if (rc == 0)
        future->job->task = TINE__ADDRESS(task);
    return rc;
}

int tine__pool_admits(tine_pool *pool, const tine_job_options *options)
{
    int rc = tine__pool_check(pool);

    if (rc == TINE_EBROKEN && options->failure != NULL)
        tine__pool_failure(pool->shared, options->failure);
    return rc;
}

int tine__future_open_empty(struct tine_future **future, tine_pool *pool,
                            const struct tine__plan *plan)
{
    struct tine_future *made;
    int rc = tine__pool_admits(pool, plan->options);

    if (rc == 0)
        rc = plan->function == NULL ? -EINVAL : tine__job_options_check(plan->options, plan->async);
    if (rc == 0 && plan->options->key != 0 && plan->kind != TINE__JOB_CALL)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->pool = pool;
    made->blocking = !plan->async;
    made->pool_id = atomic_load_explicit(&pool->id, memory_order_relaxed);
    made->generation = tine__fork_generation();
    pthread_mutex_init(&made->results.mutex, NULL);
    made->results.future = made;
    fill_future(made, plan->options);
    atomic_init(&made->phase, TINE__COLLECTED);
    *future = made;
    return 0;
}

/* What a process that is not trusted has no part in: memory that is shared, and soft limits, which
   stand there. */
static int check_untrusted(const struct tine__pool_shm *pool, const struct tine__plan *plan)
{
    bool packed = plan->kind == TINE__JOB_CALL || plan->kind == TINE__JOB_STARMAP;

    return pool->untrusted && (!packed || plan->options->task_timeout_ns > 0) ? -ENOTSUP : 0;
}

int tine__future_open(struct tine_future **future, tine_pool *pool, const struct tine__plan *plan)
{
    int rc = tine__future_open_empty(future, pool, plan);

    if (rc < 0)
        return rc;
    atomic_init(&(*future)->phase, TINE__PENDING);
    rc = check_untrusted(pool->shared, plan);
    if (rc == 0)
        rc = make_job(*future, plan);
    if (rc == 0)
        rc = describe_task(*future, plan->function);
    if (rc < 0)
        tine__future_free(*future, true);
    return rc;
}

static void link_future(struct tine_pool *pool, struct tine_future *future)
{
    future->older = pool->jobs;
    if (pool->jobs != NULL)
        pool->jobs->newer = future;
    pool->jobs = future;
    future->linked = true;
}

static void sweep_now_and_then(struct tine_pool *pool)
{
    if (pool->submitted < pool->next_sweep)
        return;
    tine__pool_sweep(pool);
    /* as many submissions again as there was to look at: the walk costs each a constant */
    pool->next_sweep = pool->submitted + SWEEP_EVERY + pool->closed_jobs;
}

static int reserve_tickets(struct tine_future *future, uint32_t tickets)
{
    struct tine_pool *pool = future->pool;
    int rc = tine__priority_open(pool, future->job->lane);

    return rc < 0 ? rc : tine__stream_reserve(pool->streams[future->job->lane], tickets);
}

/* Under the mutex. */
static int publish(struct tine_future *future, uint32_t tickets)
{
    struct tine_pool *pool = future->pool;
    int rc = tine__pool_check(pool);

    /* Nobody waits in an idle pool, so nobody else has looked. */
    if (rc == 0 && pool->jobs == NULL && tine__pool_has_fallen(pool))
        rc = TINE_EBROKEN;
    if (rc == 0)
        rc = tickets > 0 && future->key != 0 ? tine__sticky_reserve(pool, future)
                                             : reserve_tickets(future, tickets);
    if (rc < 0)
        return rc;
    sweep_now_and_then(pool);
    future->job->serial = ++pool->serial;
    link_future(pool, future);
    pool->submitted++;
    if (future->track != 0) {
        tine__sticky_publish(pool, future);
        return 0;
    }
    future->tickets = tickets;
    future->stream = pool->streams[future->job->lane];
    future->first_ticket = tine__stream_publish(future->stream, future->job, tickets);
    return 0;
}

int tine__future_publish(struct tine_future *future, uint32_t tickets, struct tine_future **made)
{
    struct tine_pool *pool = future->pool;
    bool here = pool->kind == TINE_INLINE;
    int rc;

    pthread_mutex_lock(&pool->mutex);
    rc = publish(future, here ? 0 : tickets);
    pthread_mutex_unlock(&pool->mutex);
    if (rc < 0) {
        (void)tine__pool_is_broken(pool);
        if (rc == TINE_EBROKEN && future->failure != NULL)
            tine__pool_failure(pool->shared, future->failure);
        tine__future_free(future, true);
        return rc;
    }
    *made = future;
    if (here) {
        tine__worker_run_here(pool->shared, pool->nursery.threads, future->job);
        return 0;
    }
    if (future->track != 0) {
        tine__sticky_wake(pool, future);
        return 0;
    }
    future->wake_later = future->blocking && tickets > 1 &&
                         atomic_load_explicit(&pool->shared->spin_ns, memory_order_relaxed) > 0;
    if (tine__resize_has_room(pool->shared))
        tine__resize_demand(pool);
    tine__stream_wake(pool->shared, tickets == 1 || future->wake_later ? 1 : WAKES);
    return 0;
}
