/* SPDX-License-Identifier: MIT */
/*
 * reduce.sum: the sum of n doubles, bound by memory. tine's lie in the family heap, OpenMP's in
 * malloc's; both in pages of 4 KiB unless the system is set to give more, all touched before.
 * Both sides add in the plain order of the language, so no compiler may vectorise the sum. Counted
 * is the call, not the filling.
 */
#include "bench/bench.h"

#include <errno.h>

struct sum {
    tine_pool *pool;
    double *values;
    size_t n;
    double total;
};

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    const double *values = *(double *const *)context;
    double total = 0;

    for (size_t i = begin; i < end; i++)
        total += values[i];
    *(double *)accumulator += total;
    return 0;
}

static void add(void *into, const void *from, void *context)
{
    (void)context;
    *(double *)into += *(const double *)from;
}

static int run(void *arg)
{
    struct sum *sum = arg;
    const tine_job_options options = {
        .context = &sum->values,
        .context_size = sizeof sum->values,
    };

    sum->total = 0;
    return tine_pool_reduce(sum->pool, sum->n, add_range, add, &sum->total, sizeof sum->total,
                            &options);
}

static int measure(const struct bench_pass *pass, struct sum *sum, double *value)
{
    double seconds = 0;
    int rc = tine_pool_open(&sum->pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = sum}, &seconds);
    *value = seconds * 1e3;
    tine_pool_close(sum->pool);
    return rc == 0 && sum->total != (double)sum->n ? BENCH_WRONG : rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct sum sum = {.n = pass->n, .values = tine_alloc(pass->n * sizeof *sum.values)};
    int rc;

    if (!sum.values)
        return -ENOMEM;
    for (size_t i = 0; i < sum.n; i++)
        sum.values[i] = 1;
    rc = measure(pass, &sum, value);
    tine_free(sum.values);
    return rc;
}

static const struct bench_case cases[] = {{
    .name = "reduce.sum",
    .unit = "ms",
    .peer = "OpenMP reduction(+)",
    .tine_side = tine_side,
    .peer_side = bench_openmp_sum,
    .n = 100000000,
    .n_quick = 1000,
    .repetitions = 5,
}};

const struct bench_group bench_reduce = BENCH_GROUP(cases);
