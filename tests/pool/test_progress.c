/* SPDX-License-Identifier: MIT */
/* Progress: what callbacks are told, and what they may do. */
#include <tine/pool.h>

#include <errno.h>
#include <stdatomic.h>

#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

struct reports {
    uint64_t count, last_done, total;
    int64_t elapsed_ns;
};

static void note_progress(const tine_progress *progress, void *user)
{
    struct reports *reports = user;

    ck_assert_uint_le(progress->done, progress->total);
    ck_assert_uint_eq(progress->deaths, 0);
    ck_assert_int_ge(progress->elapsed_ns, reports->elapsed_ns);
    reports->count++;
    reports->last_done = progress->done;
    reports->total = progress->total;
    reports->elapsed_ns = progress->elapsed_ns;
}

TEST(progress_ends_with_all_done)
{
    tine_pool *pool = pool_of(2);
    struct tally *tally = tally_new(1000);
    struct reports reports = {0};
    tine_job_options options = {.context = &tally,
                                .context_size = sizeof tally,
                                .progress = note_progress,
                                .progress_user = &reports};

    ck_assert_rc(tine_pool_for(pool, 1000, tally_count, &options), 0);
    ck_assert_uint_ge(reports.count, 1);
    ck_assert_uint_eq(reports.last_done, 1000);
    ck_assert_uint_eq(reports.total, 1000);
    tine_pool_close(pool);
    tine_free(tally);
}

/* The first half waits for the gate, which the callback opens when it has seen the other half. */
struct halves {
    struct gate *gate;
    uint64_t seen;
};

static int wait_in_the_first(size_t begin, size_t end, void *context)
{
    (void)end;
    if (begin == 0)
        gate_await(*(struct gate **)context, 1);
    return 0;
}

static void open_at_half(const tine_progress *progress, void *user)
{
    struct halves *halves = user;

    ck_assert_uint_ge(progress->done, halves->seen);
    halves->seen = progress->done;
    if (progress->done == progress->total - 10)
        gate_raise(halves->gate);
}

TEST(progress_is_reported_while_the_job_runs)
{
    struct halves halves = {.gate = gate_new()};
    tine_pool *pool = pool_of(2);
    tine_job_options options = {.context = &halves.gate,
                                .context_size = sizeof halves.gate,
                                .chunk = 10,
                                .progress = open_at_half,
                                .progress_user = &halves};

    ck_assert_rc(tine_pool_for(pool, 100, wait_in_the_first, &options), 0);
    ck_assert_uint_eq(halves.seen, 100);
    tine_pool_close(pool);
}

/* A callback may use the pool: no lock is held meanwhile. */
static void run_another_job(const tine_progress *progress, void *user)
{
    (void)progress;
    ck_assert_rc(tine_pool_for(user, 10, do_nothing, NULL), 0);
}

TEST(a_callback_may_run_jobs)
{
    tine_pool *pool = pool_of(2);
    tine_job_options options = {.progress = run_another_job, .progress_user = pool};

    ck_assert_rc(tine_pool_for(pool, 10, do_nothing, &options), 0);
    tine_pool_close(pool);
}

TEST(the_bar_takes_anything)
{
    tine_progress_bar(NULL, NULL);
    tine_progress_bar(&(tine_progress){.done = 0, .total = 0}, NULL);
    tine_progress_bar(&(tine_progress){.done = 3, .total = 2}, "label");
}

SUITE_OF_POOLS("pool/progress")
