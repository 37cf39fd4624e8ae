/* SPDX-License-Identifier: MIT */
/*
 * The life of a pool: open, shut, joined, broken, terminated, closed.
 *
 * The status only moves down enum tine__pool_status, under the pool's mutex. The mutex guards the
 * program's private lists; it is never held while waiting or in a callback, so any thread and any
 * callback may end the pool at any time. Threads that wait for a job look at the status at least
 * every 50 ms, and are woken when it changes.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <tine/cpu.h>
#include <tine/error.h>
#include <tine/heap.h>
#include <tine/process.h>

#include "lib/fork.h"
#include "lib/log.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "pool/budget.h"
#include "pool/caller.h"
#include "pool/claim.h"
#include "pool/failure.h"
#include "pool/init.h"
#include "pool/initialize.h"
#include "pool/limit.h"
#include "pool/recycle.h"
#include "pool/spares.h"
#include "pool/sticky.h"
#include "shm/heap.h"
#include "shm/owner.h"
#include "shm/watch.h"

#define MAGIC           UINT64_C(0x74696e652d706f6f)
#define SPIN_NS         5000 /* about what one wake-up across cores costs */
#define SPIN_CROWDED_NS 2000 /* program and workers outnumber the CPUs */
#define TERMINATE_NS    TINE_MS(400)
#define LEAVE_NS        TINE_SEC(1) /* idle workers take well under a millisecond */
#define PLACES_MIN      8

static _Atomic uint64_t last_id;

/* ---- handles --------------------------------------------------------------------------------- */

int tine__pool_check_handle(tine_pool *pool)
{
    if (pool == NULL)
        return -EINVAL;
    if (atomic_load_explicit(&pool->magic, memory_order_relaxed) != MAGIC)
        return -EBADF;
    return pool->generation == tine__fork_generation() ? 0 : TINE_EFORKED;
}

int tine__pool_check(tine_pool *pool)
{
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    switch (atomic_load_explicit(&pool->status, memory_order_acquire)) {
    case TINE__OPEN:
        return 0;
    case TINE__BROKEN:
        return TINE_EBROKEN;
    default:
        return -ESHUTDOWN;
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool sizes_are_right(const tine_pool_options *options)
{
    int32_t most = options->workers_max != 0 ? options->workers_max : TINE_WORKERS_MAX;

    if (options->workers < 0 || options->workers_min < 0 || options->idle_timeout_ns < 0)
        return false;
    return most > 0 && most <= TINE_WORKERS_MAX && options->workers <= most &&
           options->workers_min <= (options->workers != 0 ? options->workers : most);
}

/* What threads, which nobody can kill or replace, cannot have. */
static bool wants_processes(const tine_pool_options *options)
{
    return options->idle_timeout_ns != 0 || options->sandbox != NULL ||
           options->max_tasks_per_worker != 0 || options->max_memory_per_worker != 0 ||
           options->max_growth_per_worker != 0 || (options->flags & TINE_POOL_UNTRUSTED) != 0;
}

/* What is seen to in the worker, and so not in its guest. */
static bool wants_trust(const tine_pool_options *options)
{
    return options->task_timeout_ns != 0 || options->stop_signal != 0 ||
           options->max_memory_per_worker != 0 || options->max_growth_per_worker != 0;
}

static int check_options(const tine_pool_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || options->reserved0 != 0)
        return -E2BIG;
    if ((options->flags &
         ~(uint32_t)(TINE_POOL_NO_SPIN | TINE_POOL_ACCOUNTING | TINE_POOL_NO_BUDGET |
                     TINE_POOL_CALLBACK_THREAD | TINE_POOL_UNTRUSTED)) != 0 ||
        options->kind < TINE_PROCESSES || options->kind > TINE_INLINE ||
        options->start < TINE_START_DEFAULT || options->start > TINE_FORKSERVER ||
        !sizes_are_right(options))
        return -EINVAL;
    if ((options->kind != TINE_PROCESSES && wants_processes(options)) ||
        ((options->flags & TINE_POOL_UNTRUSTED) != 0 && wants_trust(options)))
        return -ENOTSUP;
    return tine__limit_check_pool(options);
}

/* How the nursery is started, TINE_FORK …; -ENOTSUP. */
static int32_t method_of(const tine_pool_options *options)
{
    int32_t method = options->start;

    if (options->kind != TINE_PROCESSES)
        return TINE_FORK; /* as the program is */
    if (method == TINE_START_DEFAULT)
        method = tine__start_method();
    if (method == TINE_FORK || tine__program_name() != NULL)
        return method;
    tine__log_warning("pool: only a program that calls tine_init() first can be executed again");
    return -ENOTSUP;
}

/* Counting CPUs reads a dozen files, so it is done while the nursery comes up. */
void tine__pool_tune(tine_pool *pool)
{
    struct tine__pool_shm *shared = pool->shared;
    uint32_t spin_ns = SPIN_CROWDED_NS;

    if (pool->no_spin)
        return;
    if (pool->cpus == 0)
        pool->cpus = tine_cpu_count();
    if ((int32_t)atomic_load_explicit(&shared->size, memory_order_relaxed) < pool->cpus)
        spin_ns = SPIN_NS;
    atomic_store_explicit(&shared->spin_ns, spin_ns, memory_order_relaxed);
}

static void join_budget(tine_pool *pool)
{
    if (pool->shared->unbudgeted != 0)
        return;
    if (pool->cpus == 0)
        pool->cpus = tine_cpu_count();
    atomic_store_explicit(&pool->shared->cpus, (uint32_t)pool->cpus, memory_order_relaxed);
    pool->budgeted =
        pool->kind == TINE_PROCESSES ? tine__owner_word_of(pool->nursery.pid) : tine__owner_word();
    if (pool->budgeted != 0)
        tine__budget_enter(pool->budgeted, pool->cpus);
}

/* Under the mutex. */
static void leave_budget(tine_pool *pool)
{
    if (pool->budgeted != 0)
        tine__budget_leave(pool->budgeted);
    pool->budgeted = 0;
}

static void *zeroed(size_t size)
{
    void *memory;

    size = (size + TINE__LINE - 1) & ~(size_t)(TINE__LINE - 1);
    memory = tine_aligned_alloc(TINE__LINE, size);
    return memory == NULL ? NULL : memset(memory, 0, size);
}

/* How many workers the pool has, and places for how many: twice as many, and a few at least. */
struct sizes {
    uint32_t workers, places;
};

static struct sizes choose_sizes(struct tine_pool *pool, const tine_pool_options *options)
{
    int32_t workers = options->workers, places = options->workers_max;

    if (pool->kind == TINE_INLINE)
        return (struct sizes){.workers = 1, .places = 1};
    if (workers == 0) {
        workers = pool->cpus = tine_cpu_count();
        if (workers < options->workers_min)
            workers = options->workers_min;
    }
    if (pool->kind == TINE_THREADS)
        places = workers;
    if (places == 0)
        places = workers * 2 > PLACES_MIN ? workers * 2 : PLACES_MIN;
    if (places > TINE_WORKERS_MAX)
        places = TINE_WORKERS_MAX;
    return (struct sizes){.workers = (uint32_t)(workers < places ? workers : places),
                          .places = (uint32_t)places};
}

static void set_sizes(struct tine__pool_shm *shared, const struct sizes *sizes,
                      const tine_pool_options *options)
{
    bool grows = options->idle_timeout_ns > 0 && options->workers_max > 0;

    shared->workers = sizes->places;
    shared->idle_ns = options->idle_timeout_ns;
    shared->least = options->workers_min > 0 ? (uint32_t)options->workers_min : 1;
    atomic_init(&shared->wanted, sizes->workers);
    atomic_init(&shared->size, grows ? sizes->places : sizes->workers);
}

static int make_shared(struct tine_pool *pool, const tine_pool_options *options)
{
    struct tine__pool_shm *shared = zeroed(sizeof *shared);
    struct sizes sizes = choose_sizes(pool, options);

    if (shared == NULL)
        return -ENOMEM;
    pool->shared = shared;
    set_sizes(shared, &sizes, options);
    atomic_init(&shared->spin_ns, pool->no_spin ? 0 : SPIN_CROWDED_NS);
    shared->redo_count = (uint64_t)sizes.places * TINE__REDOS_A_WORKER;
    shared->redos = TINE__ADDRESS(zeroed(shared->redo_count * sizeof(struct tine__redo_shm)));
    shared->slots = TINE__ADDRESS(zeroed((sizes.places + 1) * sizeof(struct tine__worker_shm)));
    if (shared->redos == 0 || shared->slots == 0)
        return -ENOMEM;
    return tine__priority_open(pool, TINE__LANE_USUAL);
}

static void free_shared(struct tine_pool *pool)
{
    struct tine__pool_shm *shared = pool->shared;

    if (shared == NULL)
        return;
    tine__priority_fini(pool);
    tine__sticky_fini(pool);
    tine__exits_free(shared);
    tine__initialize_free(shared);
    tine_free(TINE__AT(void, shared->redos));
    tine_free(TINE__AT(void, shared->slots));
    tine_free(shared);
    pool->shared = NULL;
}

/* Such a pool has a callback that may be due at any time. */
static void want_exits(struct tine_pool *pool, const tine_pool_options *options)
{
    pool->on_exit = options->on_worker_exit;
    pool->on_exit_user = options->on_worker_exit_user;
    pool->shared->tells_exits = options->on_worker_exit != NULL;
    atomic_init(&pool->called, pool->shared->tells_exits);
}

static int start_workers(struct tine_pool *pool, int32_t method)
{
    if (pool->kind == TINE_PROCESSES)
        return tine__nursery_start(&pool->nursery, pool->shared, method);
    return tine__nursery_start_threads(&pool->nursery, pool->shared,
                                       pool->kind == TINE_INLINE ? 0 : pool->shared->workers);
}

static int open_pool(struct tine_pool *pool, const tine_pool_options *options)
{
    int32_t method = method_of(options);
    int rc;

    if (method < 0)
        return method;
    pool->kind = options->kind;
    pool->no_spin = (options->flags & TINE_POOL_NO_SPIN) != 0;
    pool->generation = tine__fork_generation();
    if (pool->generation == 0)
        return -ENOMEM;
    tine__tasks_init(&pool->tasks, method != TINE_FORK);
    rc = make_shared(pool, options);
    if (rc == 0) {
        pool->shared->unbudgeted =
            pool->kind == TINE_INLINE || (options->flags & TINE_POOL_NO_BUDGET) != 0;
        pool->shared->opener = tine__owner_word();
        pool->tasks.newest = &pool->shared->described;
        pool->shared->untrusted = (options->flags & TINE_POOL_UNTRUSTED) != 0;
        pool->shared->accounts = (options->flags & TINE_POOL_ACCOUNTING) != 0;
        want_exits(pool, options);
        rc = tine__initialize_make(pool->shared, &pool->tasks, options);
    }
    if (rc == 0) {
        tine__limit_set_pool(pool->shared, options);
        rc = tine__recycle_set_pool(pool->shared, options, method == TINE_FORK);
    }
    if (rc == 0)
        rc = start_workers(pool, method);
    if (rc < 0) {
        free_shared(pool);
        tine__tasks_fini(&pool->tasks);
    } else {
        tine__pool_tune(pool);
        join_budget(pool);
    }
    return rc;
}

int tine_pool_open(tine_pool **pool, const tine_pool_options *options)
{
    static const tine_pool_options defaults;
    struct tine_pool *made;
    int rc;

    if (pool == NULL)
        return -EINVAL;
    rc = check_options(options != NULL ? options : &defaults);
    if (rc == 0)
        rc = tine__heap_open();
    if (rc < 0)
        return rc;
    made = tine__spares_take();
    if (made == NULL)
        return -ENOMEM;
    pthread_mutex_init(&made->mutex, NULL);
    rc = open_pool(made, options != NULL ? options : &defaults);
    if (rc < 0) {
        pthread_mutex_destroy(&made->mutex);
        tine__spares_put(made);
        return rc;
    }
    atomic_store_explicit(&made->id, atomic_fetch_add(&last_id, 1) + 1, memory_order_relaxed);
    atomic_store_explicit(&made->magic, MAGIC, memory_order_release);
    if (options != NULL && (options->flags & TINE_POOL_CALLBACK_THREAD) != 0)
        rc = tine__caller_start(made);
    if (rc < 0)
        tine_pool_close(made);
    else
        *pool = made;
    return rc;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static int status_of(tine_pool *pool)
{
    return atomic_load_explicit(&pool->status, memory_order_acquire);
}

/* Under the mutex. Threads that wait for a job see it at once. */
static void set_status(struct tine_pool *pool, int status)
{
    atomic_store_explicit(&pool->status, status, memory_order_seq_cst); /* for the wakers below */
    if (status >= TINE__ENDED)
        leave_budget(pool);
    for (struct tine_future *future = pool->jobs; future != NULL; future = future->older) {
        tine__sys_futex_wake(&future->job->state, INT_MAX);
        tine__watch_ring(&future->job->state);
    }
    tine__waiters_wake_all(&pool->shared->told);
}

/* Under the mutex. Threads go on with what they have in hand, and leave then; close waits for
   that. */
static void drop_threads(struct tine_pool *pool, int status)
{
    atomic_store_explicit(&pool->shared->state, TINE__POOL_ENDING, memory_order_seq_cst);
    tine__pool_abandon(pool, status == TINE__TERMINATED);
    tine__stream_wake_all(pool->shared);
    tine__budget_nudge();
    tine__threads_leave(pool->nursery.threads);
    set_status(pool, status);
}

/* Under the mutex. */
static void kill_processes(struct tine_pool *pool, int status)
{
    pool->quiet_end = tine__nursery_kill(&pool->nursery, pool->shared, TERMINATE_NS);
    if (!pool->quiet_end)
        tine__log_warning("pool: killed processes are still exiting");
    set_status(pool, status);
}

/* Under the mutex. */
static void end_workers(struct tine_pool *pool, int status)
{
    (pool->kind == TINE_PROCESSES ? kill_processes : drop_threads)(pool, status);
}

/* Under the mutex: the nursery has ended although nobody has asked it to. */
static void break_pool(struct tine_pool *pool)
{
    tine_failure failure;

    tine__pool_failure(pool->shared, &failure);
    tine__log_error("pool: %s", failure.message);
    end_workers(pool, TINE__BROKEN);
}

bool tine__pool_has_fallen(tine_pool *pool)
{
    return pool->kind == TINE_PROCESSES ? tine__nursery_ended(&pool->nursery, 0)
                                        : tine__pool_says_why(pool->shared);
}

/* Under the mutex: nursery and workers have ended. Whoever finds it may be faster than who has
   asked them to leave. */
static void end_pool(struct tine_pool *pool)
{
    bool left =
        atomic_load_explicit(&pool->shared->state, memory_order_relaxed) == TINE__POOL_LEAVING &&
        !tine__pool_says_why(pool->shared);

    if (status_of(pool) > TINE__SHUT)
        return;
    if (!left) {
        break_pool(pool);
        return;
    }
    pool->quiet_end = true;
    set_status(pool, TINE__ENDED);
}

bool tine__pool_is_broken(tine_pool *pool)
{
    if (status_of(pool) <= TINE__SHUT && tine__pool_has_fallen(pool)) {
        pthread_mutex_lock(&pool->mutex);
        end_pool(pool);
        pthread_mutex_unlock(&pool->mutex);
    }
    return status_of(pool) == TINE__BROKEN;
}

int tine_pool_terminate(tine_pool *pool)
{
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&pool->mutex);
    if (status_of(pool) <= TINE__SHUT)
        end_workers(pool, TINE__TERMINATED);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}

static bool has_unfinished(struct tine_pool *pool)
{
    bool unfinished = false;

    pthread_mutex_lock(&pool->mutex);
    for (struct tine_future *future = pool->jobs; future != NULL && !unfinished;
         future = future->older)
        unfinished = !tine__job_over(future->job);
    pthread_mutex_unlock(&pool->mutex);
    return unfinished;
}

/* Waits for all jobs. They are looked at every few milliseconds: the end of a pool is no fast path.
 */
static int await_jobs(struct tine_pool *pool, tine__deadline deadline)
{
    while (has_unfinished(pool)) {
        int64_t left = tine__deadline_left(deadline);

        if (tine__pool_is_broken(pool))
            return TINE_EBROKEN;
        if (status_of(pool) == TINE__TERMINATED)
            return 0;
        if (left == 0)
            return -ETIMEDOUT;
        tine__pool_look_after(pool);
        (void)tine__callbacks_run(pool);
        if (tine__nursery_ended(&pool->nursery, left < TINE_MS(2) ? left : TINE_MS(2)))
            continue;
    }
    return 0;
}

static void ask_to_leave(struct tine_pool *pool)
{
    atomic_store_explicit(&pool->shared->state, TINE__POOL_LEAVING, memory_order_seq_cst);
    tine__stream_wake_all(pool->shared);
    tine__budget_nudge();
    tine__nursery_nudge(&pool->nursery);
    if (pool->kind != TINE_PROCESSES)
        tine__threads_leave(pool->nursery.threads);
}

static int leave(struct tine_pool *pool, tine__deadline deadline)
{
    ask_to_leave(pool);
    if (!tine__nursery_ended(&pool->nursery,
                             deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline)))
        return -ETIMEDOUT;
    pthread_mutex_lock(&pool->mutex);
    end_pool(pool);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}

/* Terminated, they leave when what each has in hand is done. */
static int await_threads(struct tine_pool *pool, tine__deadline deadline)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);

    return tine__nursery_ended(&pool->nursery, left) && tine__threads_left(pool->nursery.threads)
               ? 0
               : -ETIMEDOUT;
}

void tine__pool_shut(tine_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    if (status_of(pool) == TINE__OPEN)
        set_status(pool, TINE__SHUT);
    pthread_mutex_unlock(&pool->mutex);
}

int tine_pool_join(tine_pool *pool, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    tine__pool_shut(pool);
    if (status_of(pool) == TINE__SHUT)
        rc = await_jobs(pool, deadline);
    if (rc == 0 && status_of(pool) == TINE__SHUT)
        rc = leave(pool, deadline);
    if (rc == 0 && pool->kind != TINE_PROCESSES && status_of(pool) == TINE__TERMINATED)
        rc = await_threads(pool, deadline);
    (void)tine__callbacks_run(pool);
    if (rc == 0)
        rc = tine__caller_await(pool, deadline);
    if (rc == -ETIMEDOUT && timeout_ns == 0)
        return -EAGAIN;
    return status_of(pool) == TINE__BROKEN ? TINE_EBROKEN : rc;
}

static void drop_first_job(struct tine_pool *pool)
{
    struct tine_future *first = pool->jobs;

    pool->jobs = first->older;
    if (pool->jobs != NULL)
        pool->jobs->newer = NULL;
    tine__future_free(first, pool->quiet_end);
}

/* Futures that the program still holds go on without the pool; the others are freed. */
static void release_jobs(struct tine_pool *pool)
{
    struct tine_future *older;

    while (pool->jobs != NULL)
        if (pool->jobs->closed)
            drop_first_job(pool);
        else if (atomic_load_explicit(&pool->jobs->phase, memory_order_relaxed) == TINE__COLLECTED)
            tine__future_unlink(pool->jobs); /* cancelled, and no worker has passed over it */
        else /* the pool has ended: takes in results, or -ECANCELED, and leaves the list */
            (void)tine__future_await(pool->jobs, 0);
    for (struct tine_future *future = pool->deferred; future != NULL; future = older) {
        older = future->older;
        tine__future_free(future, pool->quiet_end);
    }
}

/* In a forked child: frees the copy of what the parent holds, and touches nothing shared. */
static void close_copy(struct tine_pool *pool)
{
    tine__nursery_forget(&pool->nursery);
    tine__nursery_fini(&pool->nursery);
    free(pool->tasks.known);
    free(pool->sticky);
    for (uint32_t i = 0; i < TINE__LANES; i++)
        free(pool->streams[i]);
    tine__spares_put(pool);
}

void tine_pool_close(tine_pool *pool)
{
    int rc = tine__pool_check_handle(pool);

    if (rc == TINE_EFORKED)
        close_copy(pool);
    if (rc < 0)
        return;
    if (status_of(pool) <= TINE__SHUT && !has_unfinished(pool))
        (void)leave(pool, tine__deadline_after(LEAVE_NS));
    (void)tine_pool_terminate(pool);
    tine__caller_join(pool);
    (void)tine__callbacks_run(pool);
    if (pool->kind != TINE_PROCESSES)
        pool->quiet_end = await_threads(pool, TINE__NEVER) == 0;
    release_jobs(pool);
    tine__nursery_fini(&pool->nursery);
    tine__tasks_fini(&pool->tasks);
    free_shared(pool);
    pthread_mutex_destroy(&pool->mutex);
    tine__spares_put(pool);
}

/* ---- the rest -------------------------------------------------------------------------------- */

/* Condemned, a worker cannot go on to another job before the signal arrives (tine__stream_leave).
 */
static bool condemn(struct tine__worker_shm *worker, const struct tine__job_shm *job)
{
    uint64_t expected = TINE__ADDRESS(job), condemned = expected | 1;

    return atomic_compare_exchange_strong(&worker->job, &expected, condemned) ||
           expected == condemned;
}

void tine__pool_kill_job(tine_pool *pool, struct tine__job_shm *job)
{
    pthread_mutex_lock(&pool->mutex);
    for (uint32_t i = 0; i < pool->shared->workers; i++) {
        struct tine__worker_shm *worker = tine__worker_at(pool->shared, i);

        if (!condemn(worker, job))
            continue;
        /* Read after the mark was set: whoever carries the mark has this pid, or is dead. */
        tine__nursery_kill_worker(&pool->nursery, i,
                                  (pid_t)atomic_load_explicit(&worker->pid, memory_order_acquire));
    }
    pthread_mutex_unlock(&pool->mutex);
}

int tine_pool_stats(tine_pool *pool, tine_pool_counts *counts)
{
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    if (counts == NULL)
        return -EINVAL;
    *counts = (tine_pool_counts){
        .workers = (int32_t)atomic_load_explicit(&pool->shared->wanted, memory_order_relaxed),
        .started = atomic_load_explicit(&pool->shared->started, memory_order_relaxed),
        .recycled = atomic_load_explicit(&pool->shared->recycled, memory_order_relaxed),
        .deaths = atomic_load_explicit(&pool->shared->died, memory_order_acquire)};
    for (uint32_t i = 0; i < pool->shared->workers && status_of(pool) <= TINE__SHUT; i++)
        counts->alive +=
            atomic_load_explicit(&tine__worker_at(pool->shared, i)->pid, memory_order_relaxed) != 0;
    pthread_mutex_lock(&pool->mutex);
    counts->submitted = pool->submitted;
    counts->done = pool->done;
    tine__account_count(pool, counts);
    pthread_mutex_unlock(&pool->mutex);
    return 0;
}
