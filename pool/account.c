/* SPDX-License-Identifier: MIT */
/*
 * Accounts: when a job began and ended, what it moved, and what it cost.
 *
 * Bytes and retries stand in the job and its results anyway. Times and costs are written only in
 * pools that were opened with TINE_POOL_ACCOUNTING: into a block behind the job, by the workers,
 * around each part that they run (a call, a chunk), and before the part is marked done. So an
 * account is complete when its job is. A worker that is killed leaves no cost of that part in the
 * job's account; it is in the pool's, which the nursery keeps from what the kernel says of each
 * worker that it reaps.
 *
 * All fields only grow, each by atomic steps of its own; nothing is read by them.
 */
#include "pool/account.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <tine/future.h>

#include "lib/clock.h"
#include "pool/pool_impl.h"

static struct tine__account_shm *account_of(const struct tine__job_shm *job)
{
    return TINE__AT(struct tine__account_shm, job->account);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec time;

    return clock_gettime(clock, &time) < 0 ? 0 : TINE_SEC((int64_t)time.tv_sec) + time.tv_nsec;
}

static void raise_to(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               word, &seen, value, memory_order_relaxed, memory_order_relaxed))
        continue;
}

void tine__account_open(struct tine__job_shm *job, uint64_t place)
{
    struct tine__account_shm *account = TINE__AT(struct tine__account_shm, place);

    memset(account, 0, sizeof *account);
    account->queued_ns = tine__now_ns();
    job->account = place;
    job->accounted = 1;
}

/* ---- workers --------------------------------------------------------------------------------- */

/* Of a worker that is a thread it is the thread's own time that counts. */
static clockid_t clock_of(bool thread)
{
    return thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
}

void tine__account_begin(struct tine__job_shm *job, bool thread, int64_t *cpu_ns)
{
    _Atomic uint64_t *started = &account_of(job)->started_ns;
    uint64_t none = 0;

    if (atomic_load_explicit(started, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong_explicit(started, &none, (uint64_t)tine__now_ns(),
                                                memory_order_relaxed, memory_order_relaxed);
    *cpu_ns = clock_ns(clock_of(thread));
}

void tine__account_end(struct tine__job_shm *job, bool thread, int64_t cpu_ns)
{
    struct tine__account_shm *account = account_of(job);
    int64_t used = clock_ns(clock_of(thread)) - cpu_ns;
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        raise_to(&account->peak_rss_bytes, (uint64_t)usage.ru_maxrss * 1024);
    atomic_fetch_add_explicit(&account->cpu_ns, (uint64_t)used, memory_order_relaxed);
    raise_to(&account->ended_ns, (uint64_t)tine__now_ns());
}

/* ---- the nursery ----------------------------------------------------------------------------- */

static int64_t time_ns(const struct timeval *time)
{
    return TINE_SEC((int64_t)time->tv_sec) + TINE_US((int64_t)time->tv_usec);
}

int64_t tine__account_cpu_ns(const struct rusage *usage)
{
    return time_ns(&usage->ru_utime) + time_ns(&usage->ru_stime);
}

void tine__account_worker(struct tine__pool_shm *pool, const struct rusage *usage)
{
    atomic_fetch_add_explicit(&pool->cpu_ns, (uint64_t)tine__account_cpu_ns(usage),
                              memory_order_release); /* after its pid was taken back */
    raise_to(&pool->peak_rss_bytes, (uint64_t)usage->ru_maxrss * 1024);
}

void tine__account_settle(struct tine__job_shm *job)
{
    if (job->accounted)
        raise_to(&account_of(job)->ended_ns, (uint64_t)tine__now_ns());
}

/* ---- the program ----------------------------------------------------------------------------- */

static uint64_t bytes_in(const struct tine__job_shm *job)
{
    uint64_t context = job->context_size;

    switch ((enum tine__job_kind)job->kind) {
    case TINE__JOB_CALL:
        return context + job->args_size;
    case TINE__JOB_MAP:
        return context + job->n * job->in_size;
    case TINE__JOB_STARMAP:
        return context + job->in_size;
    case TINE__JOB_FOR:
    case TINE__JOB_REDUCE:
    default:
        return context;
    }
}

static uint64_t bytes_of_results(const struct tine_results *results)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < results->count; i++) {
        const void *bytes;
        size_t size;

        if (tine__results_find(results, i, &bytes, &size) == 0)
            sum += size;
    }
    return sum;
}

/* Of a job whose results have been taken in. */
static uint64_t bytes_out(const struct tine_future *future)
{
    const struct tine__job_shm *job = future->job;

    if (!tine__job_done(job))
        return 0;
    switch ((enum tine__job_kind)job->kind) {
    case TINE__JOB_MAP:
        return job->n * job->out_size;
    case TINE__JOB_REDUCE:
        return job->units * job->in_size;
    case TINE__JOB_CALL:
        return job->result_size;
    case TINE__JOB_STARMAP:
        return bytes_of_results(&future->results);
    case TINE__JOB_FOR:
    default:
        return 0;
    }
}

static void read_times(const struct tine__job_shm *job, tine_accounting *accounting)
{
    struct tine__account_shm *account = account_of(job);

    if (account == NULL)
        return;
    accounting->queued_ns = account->queued_ns;
    accounting->started_ns =
        (int64_t)atomic_load_explicit(&account->started_ns, memory_order_relaxed);
    if (tine__job_done(job))
        accounting->ended_ns =
            (int64_t)atomic_load_explicit(&account->ended_ns, memory_order_relaxed);
    accounting->cpu_ns = (int64_t)atomic_load_explicit(&account->cpu_ns, memory_order_relaxed);
    accounting->peak_rss_bytes =
        atomic_load_explicit(&account->peak_rss_bytes, memory_order_relaxed);
}

int tine_future_accounting(tine_future *future, tine_accounting *accounting)
{
    int rc = accounting == NULL ? -EINVAL : tine__future_check(future);

    if (rc < 0)
        return rc;
    *accounting = (tine_accounting){0};
    if (future->job == NULL)
        return 0;
    accounting->bytes_in = bytes_in(future->job);
    if (atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__COLLECTED)
        accounting->bytes_out = bytes_out(future);
    accounting->deaths = atomic_load_explicit(&future->job->deaths, memory_order_relaxed);
    accounting->retries = atomic_load_explicit(&future->job->retried, memory_order_relaxed);
    read_times(future->job, accounting);
    return 0;
}

void tine__account_collect(struct tine_future *future)
{
    struct tine__totals *totals = &future->pool->totals;
    tine_accounting accounting = {0};

    if (!future->job->accounted)
        return;
    read_times(future->job, &accounting);
    totals->bytes_in += bytes_in(future->job);
    totals->bytes_out += bytes_out(future);
    if (accounting.started_ns == 0)
        return;
    totals->waited_ns += accounting.started_ns - accounting.queued_ns;
    if (accounting.ended_ns != 0)
        totals->ran_ns += accounting.ended_ns - accounting.started_ns;
}

/* What a process that runs has used so far; 0 when it has just ended. */
static uint64_t cpu_of_running(pid_t pid)
{
    clockid_t clock;

    return clock_getcpuclockid(pid, &clock) != 0 ? 0 : (uint64_t)clock_ns(clock);
}

static uint64_t cpu_of_worker(const struct tine_pool *pool, uint32_t index)
{
    uint32_t pid =
        atomic_load_explicit(&tine__worker_at(pool->shared, index)->pid, memory_order_relaxed);

    if (pid == 0)
        return 0;
    return pool->kind == TINE_PROCESSES ? cpu_of_running((pid_t)pid)
                                        : tine__threads_cpu_ns(pool->nursery.threads, index);
}

/* Never less than before: a worker counts for nothing between its end and its being counted. */
static uint64_t count_cpu(struct tine_pool *pool, bool any_alive)
{
    struct tine__pool_shm *shared = pool->shared;
    /* acquire: of whom the sum has, the pid is no longer there */
    uint64_t cpu = atomic_load_explicit(&shared->cpu_ns, memory_order_acquire);

    for (uint32_t i = 0; any_alive && i < shared->workers; i++)
        cpu += cpu_of_worker(pool, i);
    if (pool->cpu_told < cpu)
        pool->cpu_told = cpu;
    return pool->cpu_told;
}

void tine__account_count(struct tine_pool *pool, tine_pool_counts *counts)
{
    struct tine__pool_shm *shared = pool->shared;

    counts->cpu_ns = (int64_t)count_cpu(pool, counts->alive > 0);
    counts->peak_rss_bytes = atomic_load_explicit(&shared->peak_rss_bytes, memory_order_relaxed);
    counts->retries = atomic_load_explicit(&shared->retried, memory_order_relaxed);
    counts->bytes_in = pool->totals.bytes_in;
    counts->bytes_out = pool->totals.bytes_out;
    counts->waited_ns = pool->totals.waited_ns;
    counts->ran_ns = pool->totals.ran_ns;
}
