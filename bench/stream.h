/* SPDX-License-Identifier: MIT */
/* n tasks of a pool, each a message with one integer there and its square back. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include "bench/bench.h"

#include <errno.h>

struct stream {
    tine_pool *pool;
    int64_t n, next;
};

static inline int stream_square(tine_call *call)
{
    int64_t x;
    int rc = tine_args(call, "q", &x);

    return rc < 0 ? rc : tine_return(call, "q", x * x);
}

/* run(stream) takes all of them through a pool; *value: microseconds for each. */
static inline int stream_measure_in(const struct bench_pass *pass, const tine_pool_options *options,
                                    int (*run)(void *stream), double *value)
{
    struct stream stream = {.n = (int64_t)pass->n};
    double seconds = 0;
    int rc = tine_pool_open(&stream.pool, options);

    if (rc == -ENOTSUP)
        return BENCH_MISSING;
    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &stream}, &seconds);
    *value = seconds / (double)pass->n * 1e6;
    tine_pool_close(stream.pool);
    return rc;
}

static inline int stream_measure(const struct bench_pass *pass, int (*run)(void *stream),
                                 double *value)
{
    return stream_measure_in(pass, &(tine_pool_options){.workers = BENCH_WORKERS}, run, value);
}

#endif
