/* SPDX-License-Identifier: MIT */
/*
 * pool.replace.*: from the crash of a worker until the pool has its full strength again, while this
 * process has n bytes of private memory, all touched. Against a goal: 5 ms where the start method
 * is the forkserver, whatever the size, and 30 ms where it is fork.
 */
#include "bench/bench.h"

#include <signal.h>
#include <sys/mman.h>

#define GB ((size_t)1 << 30)
#define MB ((size_t)1 << 20)

static int crash(tine_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

/* The job's failure is known a moment before the worker's place is filled again. */
static int crash_and_recover(void *arg)
{
    tine_pool *pool = arg;
    tine_pool_counts before, now;
    tine_results *results;
    int rc = tine_pool_stats(pool, &before);

    if (rc == 0)
        rc = tine_pool_apply(&results, pool, crash, NULL, "");
    if (rc != TINE_EWORKER)
        return rc < 0 ? rc : BENCH_WRONG;
    do
        rc = tine_pool_stats(pool, &now);
    while (rc == 0 && (now.started == before.started || now.alive < now.workers));
    return rc;
}

static int await_strength(tine_pool *pool)
{
    tine_pool_counts counts;
    int rc;

    do
        rc = tine_pool_stats(pool, &counts);
    while (rc == 0 && counts.alive < counts.workers);
    return rc;
}

static int milliseconds(const struct bench_pass *pass, int32_t start, double *value)
{
    void *ballast = bench_ballast(pass->n);
    double seconds = 0;
    tine_pool *pool;
    int rc;

    if (ballast == NULL)
        return BENCH_MISSING;
    rc = tine_pool_open(&pool, &(tine_pool_options){.workers = BENCH_WORKERS, .start = start});
    if (rc == 0) {
        rc = await_strength(pool);
        if (rc == 0)
            rc = bench_seconds(pass, &(struct bench_work){.run = crash_and_recover, .arg = pool},
                               &seconds);
        tine_pool_close(pool);
    }
    *value = seconds * 1e3;
    munmap(ballast, pass->n);
    return rc;
}

static int by_forkserver(const struct bench_pass *pass, double *value)
{
    return milliseconds(pass, TINE_FORKSERVER, value);
}

static int by_spawn(const struct bench_pass *pass, double *value)
{
    return milliseconds(pass, TINE_SPAWN, value);
}

static int by_fork(const struct bench_pass *pass, double *value)
{
    return milliseconds(pass, TINE_FORK, value);
}

static int goal(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = 5;
    return 0;
}

static int goal_of_fork(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = 30;
    return 0;
}

#define CASE(title, by, by_goal)                                                                   \
    {                                                                                              \
        .name = title, .unit = "ms", .peer = "goal", .tine_side = by, .peer_side = by_goal,        \
        .n = GB, .n_quick = MB, .repetitions = 20                                                  \
    }

static const struct bench_case cases[] = {
    CASE("pool.replace.1GB", by_forkserver, goal),
    CASE("pool.replace.spawn.1GB", by_spawn, goal),
    CASE("pool.replace.fork.1GB", by_fork, goal_of_fork),
};

const struct bench_group bench_replace = BENCH_GROUP(cases);
