/* SPDX-License-Identifier: MIT */
/*
 * map.default: n squares, one function call an element, default chunks. tine's arrays lie in the
 * family heap; Python maps a list to a list. Counted is the call.
 */
#include "bench/bench.h"

#include <errno.h>

struct squares {
    tine_pool *pool;
    tine_map map;
};

static int square(const void *in, void *out, void *context)
{
    int64_t x = *(const int64_t *)in;

    (void)context;
    *(int64_t *)out = x * x;
    return 0;
}

static int run(void *arg)
{
    const struct squares *squares = arg;

    return tine_pool_map(squares->pool, &squares->map, NULL);
}

static int check_all(const int64_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (out[i] != (int64_t)(i * i))
            return BENCH_WRONG;
    return 0;
}

static int measure(const struct bench_pass *pass, int64_t *in, int64_t *out, double *value)
{
    struct squares squares = {.map = {square, in, sizeof *in, out, sizeof *out, pass->n}};
    double seconds = 0;
    int rc = tine_pool_open(&squares.pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < pass->n; i++)
        in[i] = (int64_t)i;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &squares}, &seconds);
    *value = seconds / (double)pass->n * 1e9;
    tine_pool_close(squares.pool);
    return rc == 0 ? check_all(out, pass->n) : rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    int64_t *in = tine_calloc(pass->n, sizeof *in), *out = tine_calloc(pass->n, sizeof *out);
    int rc = in && out ? measure(pass, in, out, value) : -ENOMEM;

    tine_free(in);
    tine_free(out);
    return rc;
}

static const struct bench_case cases[] = {{
    .name = "map.default",
    .unit = "ns/item",
    .peer = "Python map",
    .tine_side = tine_side,
    .peer_side = bench_python,
    .n = 1000000,
    .n_quick = 100,
    .repetitions = 5,
}};

const struct bench_group bench_map = BENCH_GROUP(cases);
