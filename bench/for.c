/* SPDX-License-Identifier: MIT */
/*
 * for.*: what a parallel loop costs per index when its body is empty. Both sides run through every
 * index (work_nothing), in chunks of 64 or of the default size, and wait for the end. n is the
 * number of indices; counted is the whole call. threads.for.*: the same with workers that are
 * threads.
 */
#include "bench/bench.h"
#include "bench/work.h"

struct loop {
    tine_pool *pool;
    size_t n, chunk;
};

static int body(size_t begin, size_t end, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        work_nothing(i);
    return 0;
}

static int run(void *arg)
{
    const struct loop *loop = arg;

    return tine_pool_for(loop->pool, loop->n, body, &(tine_job_options){.chunk = loop->chunk});
}

static int ns_per_index(const struct bench_pass *pass, size_t chunk, int32_t kind, double *value)
{
    struct loop loop = {.n = pass->n, .chunk = chunk};
    double seconds = 0;
    int rc =
        tine_pool_open(&loop.pool, &(tine_pool_options){.workers = BENCH_WORKERS, .kind = kind});

    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &loop}, &seconds);
    *value = seconds / (double)pass->n * 1e9;
    tine_pool_close(loop.pool);
    return rc;
}

static int chunk64(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, 64, TINE_PROCESSES, value);
}

static int threads_chunk64(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, 64, TINE_THREADS, value);
}

static int by_default(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, 0, TINE_PROCESSES, value);
}

static const struct bench_case cases[] = {
    {
        .name = "for.chunk64",
        .unit = "ns/index",
        .peer = "OpenMP dynamic,64",
        .tine_side = chunk64,
        .peer_side = bench_openmp_chunk64,
        .n = 10000000,
        .n_quick = 1000,
        .repetitions = 7,
    },
    {
        .name = "threads.for.chunk64",
        .unit = "ns/index",
        .peer = "OpenMP dynamic,64",
        .tine_side = threads_chunk64,
        .peer_side = bench_openmp_chunk64,
        .n = 10000000,
        .n_quick = 1000,
        .repetitions = 7,
    },
    {
        .name = "for.default",
        .unit = "ns/index",
        .peer = "OpenMP guided",
        .tine_side = by_default,
        .peer_side = bench_openmp_guided,
        .n = 50000000,
        .n_quick = 1000,
        .repetitions = 7,
    },
};

const struct bench_group bench_for = BENCH_GROUP(cases);
