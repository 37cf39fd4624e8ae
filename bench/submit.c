/* SPDX-License-Identifier: MIT */
/*
 * submit.window64: n tasks, each a message with one integer there and its square back; the caller
 * keeps 64 of them in flight and takes the results in order. Counted is everything, packing to
 * unpacking.
 */
#include "bench/bench.h"

#define WINDOW 64

struct stream {
    tine_pool *pool;
    int64_t n;
};

static int square(tine_call *call)
{
    int64_t x;
    int rc = tine_args(call, "q", &x);

    return rc < 0 ? rc : tine_return(call, "q", x * x);
}

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
            rc = tine_pool_submit(&window[i % WINDOW], stream->pool, square, NULL, "q", i);
    }
    for (int i = 0; i < WINDOW; i++)
        tine_future_close(window[i]);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct stream stream = {.n = (int64_t)pass->n};
    double seconds = 0;
    int rc = tine_pool_open(&stream.pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &stream}, &seconds);
    *value = seconds / (double)pass->n * 1e6;
    tine_pool_close(stream.pool);
    return rc;
}

static const struct bench_case cases[] = {{
    .name = "submit.window64",
    .unit = "us/task",
    .peer = "Python apply_async",
    .tine_side = tine_side,
    .peer_side = bench_python,
    .n = 10000,
    .n_quick = 100,
    .repetitions = 5,
}};

const struct bench_group bench_submit = BENCH_GROUP(cases);
