/* SPDX-License-Identifier: MIT */
/*
 * nested.for: a loop whose chunks are loops of pools of their own, three levels deep, beside the
 * same loop in one pool. Each level has a worker for each CPU, so without the CPU budget eight
 * would share two. Opening the six inner pools counts.
 */
#include "bench/bench.h"

#define TURNS 2000 /* an index is about a microsecond */

struct loop {
    tine_pool *pool;
    size_t n;
    int level;
};

static int run_leaves(size_t begin, size_t end, void *context)
{
    volatile unsigned sum = 0;

    (void)context;
    for (size_t i = begin; i < end; i++)
        for (unsigned turn = 0; turn < TURNS; turn++)
            sum += turn;
    (void)sum;
    return 0;
}

static int run_level(size_t begin, size_t end, void *context);

static int run_in(tine_pool *pool, size_t n, int level)
{
    tine_job_options options = {.context = &level, .context_size = sizeof level};

    if (level <= 1)
        return tine_pool_for(pool, n, run_leaves, NULL);
    level--;
    options.chunk = (n + BENCH_WORKERS - 1) / BENCH_WORKERS;
    return tine_pool_for(pool, n, run_level, &options);
}

static int run_level(size_t begin, size_t end, void *context)
{
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = run_in(pool, end - begin, *(const int *)context);
    tine_pool_close(pool);
    return rc;
}

static int run(void *arg)
{
    const struct loop *loop = arg;

    return run_in(loop->pool, loop->n, loop->level);
}

static int ns_per_index(const struct bench_pass *pass, int levels, double *value)
{
    struct loop loop = {.n = pass->n, .level = levels};
    double seconds = 0;
    int rc = tine_pool_open(&loop.pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &loop}, &seconds);
    *value = seconds / (double)pass->n * 1e9;
    tine_pool_close(loop.pool);
    return rc;
}

static int nested(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, 3, value);
}

static int flat(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, 1, value);
}

static const struct bench_case cases[] = {
    {
        .name = "nested.for",
        .unit = "ns/index",
        .peer = "one pool",
        .tine_side = nested,
        .peer_side = flat,
        .n = 200000,
        .n_quick = 1000,
        .repetitions = 3,
    },
};

const struct bench_group bench_nested = BENCH_GROUP(cases);
