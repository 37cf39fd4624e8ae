/* SPDX-License-Identifier: MIT */
/*
 * futures.million: memory of a future that is held, submitted and waited for among n, all in all;
 *     then all are closed, and everything has to be given back.
 * cancel.running: from cancelling a running task until another one runs in its place; of n, the
 * 99th percentile. imap.chunk1: n tasks, each a message with one integer there and its square back,
 *     from a source, taken as they come. Counted is everything, packing to unpacking.
 */
#include "bench/stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES_MAX     1024 /* of a future */
#define CANCEL_MAX_MS 5

/* ---- futures.million ------------------------------------------------------------------------- */

/* Of this process; what its workers share with it in the family heap is in there. */
static int resident_bytes(double *bytes)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long total, resident;
    int got;

    if (file == NULL)
        return -errno;
    got = fscanf(file, "%llu %llu", &total, &resident);
    fclose(file);
    *bytes = (double)resident * (double)sysconf(_SC_PAGESIZE);
    return got == 2 ? 0 : -EIO;
}

static int submit_all(tine_pool *pool, tine_future **futures, size_t n)
{
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tine_pool_submit(&futures[i], pool, stream_square, NULL, "q", (int64_t)i);
    return rc;
}

static int check_all(tine_future **futures, size_t n)
{
    int64_t result = -1;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = tine_future_result(futures[i], 0, "q", &result);
        if (rc == 0 && result != (int64_t)(i * i))
            rc = BENCH_WRONG;
    }
    return rc;
}

static int hold_all(tine_pool *pool, tine_future **futures, size_t n, double *bytes)
{
    double before = 0, after = 0;
    int rc = resident_bytes(&before);

    if (rc == 0)
        rc = submit_all(pool, futures, n);
    if (rc == 0)
        rc = tine_wait_futures(futures, n, TINE_ALL_COMPLETED, TINE_FOREVER) == (int)n ? 0 : -EIO;
    if (rc == 0)
        rc = check_all(futures, n);
    if (rc == 0)
        rc = resident_bytes(&after);
    *bytes = (after - before) / (double)n;
    return rc;
}

static int hold_and_release(size_t n, double *bytes)
{
    tine_future **futures = calloc(n, sizeof *futures);
    tine_pool *pool;
    int rc = futures == NULL
                 ? -ENOMEM
                 : tine_pool_open(&pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc == 0) {
        rc = hold_all(pool, futures, n, bytes);
        for (size_t i = 0; i < n; i++)
            tine_future_close(futures[i]);
        tine_pool_close(pool);
    }
    free(futures);
    return rc;
}

static int million(const struct bench_pass *pass, double *value)
{
    tine_heap_counts before, after;
    int rc;

    tine_free(tine_alloc(1));
    rc = tine_heap_stats(&before);
    if (rc == 0)
        rc = hold_and_release(pass->n, value);
    if (rc == 0)
        rc = tine_heap_stats(&after);
    return rc == 0 && after.used_blocks != before.used_blocks ? BENCH_WRONG : rc;
}

static int million_goal(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = BYTES_MAX;
    return 0;
}

/* ---- cancel.running -------------------------------------------------------------------------- */

static int begin_and_stay(tine_call *call)
{
    atomic_store(*(_Atomic int **)tine_call_context(call), 1);
    for (;;)
        pause();
    return 0;
}

static int await_begin(const _Atomic int *begun)
{
    double until = bench_now() + 10;

    while (atomic_load(begun) == 0)
        if (bench_now() > until)
            return -ETIMEDOUT;
    return 0;
}

/* One worker: the next task runs when the killed one has been replaced. */
static int cancel_once(tine_pool *pool, _Atomic int *begun, double *seconds)
{
    tine_job_options options = {.context = &begun, .context_size = sizeof begun};
    tine_future *running = NULL, *next = NULL;
    double start = 0;
    int rc;

    atomic_store(begun, 0);
    rc = tine_pool_submit(&running, pool, begin_and_stay, &options, "");
    if (rc == 0)
        rc = tine_pool_submit(&next, pool, stream_square, NULL, "q", INT64_C(3));
    if (rc == 0)
        rc = await_begin(begun);
    if (rc == 0) {
        start = bench_now();
        rc = tine_future_cancel(running, TINE_CANCEL_RUNNING) == 1 ? 0 : BENCH_WRONG;
    }
    if (rc == 0)
        rc = tine_future_result(next, TINE_FOREVER, NULL);
    *seconds = bench_now() - start;
    tine_future_close(running);
    tine_future_close(next);
    return rc;
}

static int cancel_all(const struct bench_pass *pass, _Atomic int *begun, double *value)
{
    double *seconds = calloc(pass->n, sizeof *seconds);
    tine_pool *pool;
    int rc = seconds == NULL ? -ENOMEM : tine_pool_open(&pool, &(tine_pool_options){.workers = 1});

    if (rc == 0) {
        for (size_t i = 0; i < pass->n && rc == 0; i++)
            rc = cancel_once(pool, begun, &seconds[i]);
        tine_pool_close(pool);
        *value = bench_percentile(seconds, pass->n, 99) * 1e3;
    }
    free(seconds);
    return rc;
}

static int cancel_running(const struct bench_pass *pass, double *value)
{
    _Atomic int *begun = tine_calloc(1, sizeof *begun);
    int rc = begun == NULL ? -ENOMEM : cancel_all(pass, begun, value);

    tine_free((void *)begun);
    return rc;
}

static int cancel_goal(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = CANCEL_MAX_MS;
    return 0;
}

/* ---- imap.chunk1 ----------------------------------------------------------------------------- */

static int next_number(tine_buffer *args, void *user)
{
    struct stream *stream = user;
    int rc;

    if (stream->next == stream->n)
        return 0;
    rc = tine_pack(args, "[q]", stream->next++);
    return rc < 0 ? rc : 1;
}

static int run(void *arg)
{
    struct stream *stream = arg;
    int64_t result = -1, count = 0;
    tine_imap *imap;
    int rc;

    stream->next = 0;
    rc = tine_pool_imap_unordered(&imap, stream->pool, stream_square,
                                  &(tine_source){.next = next_number, .user = stream}, NULL);
    if (rc < 0)
        return rc;
    while ((rc = tine_imap_next(imap, TINE_FOREVER, "q", &result)) == 1) {
        int64_t index = (int64_t)tine_imap_index(imap);

        count += result == index * index;
    }
    tine_imap_close(imap);
    return rc == 0 && count != stream->n ? BENCH_WRONG : rc;
}

static int imap_chunk1(const struct bench_pass *pass, double *value)
{
    return stream_measure(pass, run, value);
}

static const struct bench_case cases[] = {
    {
        .name = "futures.million",
        .unit = "B/future",
        .peer = "goal 1 KiB",
        .tine_side = million,
        .peer_side = million_goal,
        .n = 1000000,
        .n_quick = 1000,
        .repetitions = 1,
    },
    {
        .name = "cancel.running",
        .unit = "ms (p99)",
        .peer = "goal 5 ms",
        .tine_side = cancel_running,
        .peer_side = cancel_goal,
        .n = 300,
        .n_quick = 3,
        .repetitions = 1,
    },
    {
        .name = "imap.chunk1",
        .unit = "us/task",
        .peer = "Python imap_unordered",
        .tine_side = imap_chunk1,
        .peer_side = bench_python,
        .n = 10000,
        .n_quick = 100,
        .repetitions = 5,
    },
};

const struct bench_group bench_futures = BENCH_GROUP(cases);
