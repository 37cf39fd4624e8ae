/* SPDX-License-Identifier: MIT */
/*
 * submit.window64: n tasks, each a message with one integer there and its square back; the caller
 * keeps 64 of them in flight and takes the results in order. Counted is everything, packing to
 * unpacking.
 *
 * submit.accounted, submit.sandbox, submit.untrusted: the same in a pool that keeps accounts, in
 * one whose workers are in a sandbox (computing only), and in one of untrusted workers, beside a
 * plain pool. Ratios below 1 are what these cost.
 */
#include "bench/stream.h"

#define WINDOW 64

/* Takes the result of task i out of its place in the window. */
static int take(tine_future **place, int64_t i)
{
    int64_t result = -1;
    int rc = tine_future_result(*place, TINE_FOREVER, "q", &result);

    tine_future_close(*place);
    *place = NULL;
    return rc == 0 && result != i * i ? BENCH_WRONG : rc;
}

static int run(void *arg)
{
    const struct stream *stream = arg;
    tine_future *window[WINDOW] = {NULL};
    int rc = 0;

    for (int64_t i = 0; i < stream->n + WINDOW && rc == 0; i++) {
        if (window[i % WINDOW])
            rc = take(&window[i % WINDOW], i - WINDOW);
        if (rc == 0 && i < stream->n)
            rc = tine_pool_submit(&window[i % WINDOW], stream->pool, stream_square, NULL, "q", i);
    }
    for (int i = 0; i < WINDOW; i++)
        tine_future_close(window[i]);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    return stream_measure(pass, run, value);
}

static int accounted(const struct bench_pass *pass, double *value)
{
    tine_pool_options options = {.workers = BENCH_WORKERS, .flags = TINE_POOL_ACCOUNTING};

    return stream_measure_in(pass, &options, run, value);
}

static int boxed(const struct bench_pass *pass, double *value)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY};
    tine_pool_options options = {.workers = BENCH_WORKERS, .sandbox = &sandbox};

    return stream_measure_in(pass, &options, run, value);
}

static int untrusted(const struct bench_pass *pass, double *value)
{
    tine_pool_options options = {.workers = BENCH_WORKERS, .flags = TINE_POOL_UNTRUSTED};

    return stream_measure_in(pass, &options, run, value);
}

#define PLAIN(name_, side)                                                                         \
    {                                                                                              \
        .name = name_, .unit = "us/task", .peer = "plain pool", .tine_side = side,                 \
        .peer_side = tine_side, .n = 10000, .n_quick = 100, .repetitions = 5,                      \
    }

static const struct bench_case cases[] = {
    {
        .name = "submit.window64",
        .unit = "us/task",
        .peer = "Python apply_async",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 10000,
        .n_quick = 100,
        .repetitions = 5,
    },
    PLAIN("submit.accounted", accounted),
    PLAIN("submit.sandbox", boxed),
    PLAIN("submit.untrusted", untrusted),
};

const struct bench_group bench_submit = BENCH_GROUP(cases);
