/* SPDX-License-Identifier: MIT */
/*
 * starmap.default: n products of two integers as messages, default chunks. Counted is what Python's
 * starmap does as well: packing the tuples, running, and unpacking every result.
 */
#include "bench/bench.h"

struct products {
    tine_pool *pool;
    tine_buffer args;
    int64_t n;
};

static int multiply(tine_call *call)
{
    int64_t x, y;
    int rc = tine_args(call, "qq", &x, &y);

    return rc < 0 ? rc : tine_return(call, "q", x * y);
}

static int pack_all(struct products *products)
{
    int rc = 0;

    tine_buffer_clear(&products->args);
    for (int64_t i = 0; i < products->n && rc == 0; i++)
        rc = tine_pack(&products->args, "[qq]", i, i);
    return rc;
}

static int check_all(const tine_results *results, int64_t n)
{
    int64_t product = -1;
    int rc = 0;

    for (int64_t i = 0; i < n && rc == 0; i++) {
        rc = tine_results_get(results, (size_t)i, "q", &product);
        if (rc == 0 && product != i * i)
            rc = BENCH_WRONG;
    }
    return rc;
}

static int run(void *arg)
{
    struct products *products = arg;
    tine_results *results = NULL;
    int rc = pack_all(products);

    if (rc == 0)
        rc = tine_pool_starmap(&results, products->pool, multiply, &products->args, NULL);
    if (rc == 0)
        rc = check_all(results, products->n);
    tine_results_close(results);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct products products = {.n = (int64_t)pass->n};
    double seconds = 0;
    int rc = tine_pool_open(&products.pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &products}, &seconds);
    *value = seconds / (double)pass->n * 1e9;
    tine_pool_close(products.pool);
    tine_buffer_free(&products.args);
    return rc;
}

static const struct bench_case cases[] = {{
    .name = "starmap.default",
    .unit = "ns/task",
    .peer = "Python starmap",
    .tine_side = tine_side,
    .peer_side = bench_python,
    .n = 1000000,
    .n_quick = 100,
    .repetitions = 5,
}};

const struct bench_group bench_starmap = BENCH_GROUP(cases);
