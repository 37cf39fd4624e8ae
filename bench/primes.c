/* SPDX-License-Identifier: MIT */
/*
 * primes.speedup: primes below n by trial division; how many times faster two workers are than one.
 * OpenMP: two threads against one, in chunks of 1000 numbers.
 */
#include "bench/bench.h"
#include "bench/work.h"

struct primes {
    tine_pool *pool;
    size_t n;
};

static int count_range(size_t begin, size_t end, void *accumulator, void *context)
{
    size_t count = 0;

    (void)context;
    for (size_t i = begin; i < end; i++)
        count += work_is_prime(i);
    *(size_t *)accumulator += count;
    return 0;
}

static void add(void *into, const void *from, void *context)
{
    (void)context;
    *(size_t *)into += *(const size_t *)from;
}

static int run(void *arg)
{
    const struct primes *primes = arg;
    size_t count = 0;
    int rc =
        tine_pool_reduce(primes->pool, primes->n, count_range, add, &count, sizeof count, NULL);

    return rc == 0 && !work_primes_right(primes->n, count) ? BENCH_WRONG : rc;
}

/* Opens a pool and waits until it works. */
static int open_pool(struct primes *primes, int workers)
{
    size_t count = 0;
    int rc = tine_pool_open(&primes->pool, &(tine_pool_options){.workers = workers});

    return rc < 0 ? rc
                  : tine_pool_reduce(primes->pool, 1, count_range, add, &count, sizeof count, NULL);
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct primes alone = {.n = pass->n}, together = {.n = pass->n};
    int rc = open_pool(&alone, 1);

    if (rc == 0)
        rc = open_pool(&together, BENCH_WORKERS);
    if (rc == 0)
        rc = bench_speedup(pass, &(struct bench_work){.run = run, .arg = &alone},
                           &(struct bench_work){.run = run, .arg = &together}, value);
    tine_pool_close(alone.pool);
    tine_pool_close(together.pool);
    return rc;
}

static const struct bench_case cases[] = {{
    .name = "primes.speedup",
    .unit = "x",
    .peer = "OpenMP dynamic,1000",
    .tine_side = tine_side,
    .peer_side = bench_openmp_primes,
    .n = WORK_PRIMES_N,
    .n_quick = WORK_PRIMES_QUICK_N,
    .repetitions = 3,
    .more_is_better = true,
}};

const struct bench_group bench_primes = BENCH_GROUP(cases);
