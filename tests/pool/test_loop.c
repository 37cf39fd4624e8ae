/* SPDX-License-Identifier: MIT */
/* Loops over indices: each index once, contexts by value, failures as data. */
#include <tine/pool.h>

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

#include <tine/heap.h>

#include "lib/sys.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define WORKERS 3

/* ---- for ------------------------------------------------------------------------------------- */

static const struct shape {
    int32_t workers;
    size_t n;
    uint64_t chunk;
} shapes[] = {
    {1, 1, 0},       {1, 1000, 0},          {2, 1, 0},      {2, 2, 1},       {3, 2, 0},
    {3, 7, 1},       {3, 1000, 1},          {3, 1000, 7},   {3, 1000, 999},  {3, 1000, 1000},
    {3, 1000, 5000}, {3, 1000, UINT64_MAX}, {5, 100003, 0}, {2, 100003, 64}, {16, 5, 0},
};

TEST(for_runs_each_index_once, .loop_end = sizeof shapes / sizeof shapes[0])
{
    const struct shape *shape = &shapes[loop_index];
    tine_pool *pool = pool_of(shape->workers);
    struct tally *tally = tally_new(shape->n);
    tine_job_options options = {
        .context = &tally, .context_size = sizeof tally, .chunk = shape->chunk};

    ck_assert_rc(tine_pool_for(pool, shape->n, tally_count, &options), 0);
    tally_assert_once(tally);
    if (shape->chunk != 0)
        ck_assert_uint_le(tally->longest, shape->chunk);
    if (shape->chunk > 0 && shape->chunk < UINT64_MAX - shape->n)
        ck_assert_uint_eq(tally->calls, (shape->n + shape->chunk - 1) / shape->chunk);
    tine_pool_close(pool);
    tine_free(tally);
}

static int never(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    ck_abort_msg("was run");
    return 0;
}

TEST(for_of_nothing_runs_nothing)
{
    tine_pool *pool = pool_of(WORKERS);

    ck_assert_rc(tine_pool_for(pool, 0, never, NULL), 0);
    tine_pool_close(pool);
}

/* Adds up the lengths only, so that a billion indices take no time. */
static int add_length(size_t begin, size_t end, void *context)
{
    struct tally *tally = *(struct tally **)context;

    atomic_fetch_add(&tally->indices, end - begin);
    atomic_fetch_add(&tally->calls, 1);
    return 0;
}

static void for_many(size_t n, uint64_t chunk)
{
    tine_pool *pool = pool_of(2);
    struct tally *tally = tally_new(0);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally, .chunk = chunk};

    ck_assert_rc(tine_pool_for(pool, n, add_length, &options), 0);
    ck_assert_uint_eq(tally->indices, n);
    tine_pool_close(pool);
    tine_free(tally);
}

TEST(for_of_a_billion_indices, .timeout_s = 60)
{
    for_many(1000000000, 0);
    for_many(1000000000, 100000);
    for_many(1000000007, 9999);
}

TEST(for_of_the_largest_number_of_indices)
{
    for_many((size_t)1 << 60, 0);
    for_many((size_t)1 << 60, (uint64_t)1 << 48);
}

TEST(for_of_too_many_indices_or_chunks_overflows)
{
    tine_pool *pool = pool_of(2);
    tine_job_options ones = {.chunk = 1};

    ck_assert_rc(tine_pool_for(pool, ((size_t)1 << 60) + 1, never, NULL), -EOVERFLOW);
    ck_assert_rc(tine_pool_for(pool, SIZE_MAX, never, NULL), -EOVERFLOW);
    ck_assert_rc(tine_pool_for(pool, (size_t)1 << 51, never, &ones), -EOVERFLOW);
    tine_pool_close(pool);
}

/* ---- contexts -------------------------------------------------------------------------------- */

struct big_context {
    struct tally *tally;
    char text[5000];
};

static int check_context(size_t begin, size_t end, void *context)
{
    struct big_context *big = context;

    (void)begin, (void)end;
    ck_assert_uint_eq((uintptr_t)context % 64, 0);
    for (size_t i = 0; i < sizeof big->text; i++)
        ck_assert_int_eq(big->text[i], (char)i);
    atomic_fetch_add(&big->tally->calls, 1);
    return 0;
}

TEST(a_context_is_copied_when_the_job_is_submitted)
{
    tine_pool *pool = pool_of(WORKERS);
    static struct big_context big;
    tine_job_options options = {.context = &big, .context_size = sizeof big, .chunk = 1};
    tine_future *future;

    big.tally = tally_new(0);
    for (size_t i = 0; i < sizeof big.text; i++)
        big.text[i] = (char)i;
    ck_assert_rc(tine_pool_for_async(&future, pool, 100, check_context, &options), 0);
    memset(big.text, 0, sizeof big.text);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    ck_assert_uint_eq(big.tally->calls, 100);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free(big.tally);
}

static int no_context(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end;
    return context == NULL ? 0 : -EINVAL;
}

TEST(without_a_context_the_body_gets_null)
{
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_for(pool, 1, no_context, NULL), 0);
    tine_pool_close(pool);
}

static int check_worker(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return tine_worker_index() >= 0 && tine_worker_index() < WORKERS &&
                   tine_worker_count() == WORKERS
               ? 0
               : -ERANGE;
}

TEST(workers_know_their_index_and_count)
{
    tine_pool *pool = pool_of(WORKERS);

    ck_assert_int_eq(tine_worker_index(), -1);
    ck_assert_int_eq(tine_worker_count(), 0);
    ck_assert_rc(tine_pool_for(pool, 100, check_worker, NULL), 0);
    tine_pool_close(pool);
}

/* ---- all workers at once --------------------------------------------------------------------- */

/* Chunks of one index that end only when so many have begun: a context is the address of one. */
struct meeting {
    _Atomic uint32_t come; /* futex */
    uint32_t expected;
};

static int meet(size_t begin, size_t end, void *context)
{
    struct meeting *meeting = *(struct meeting **)context;

    (void)begin, (void)end;
    if (atomic_fetch_add(&meeting->come, 1) + 1 == meeting->expected)
        tine__sys_futex_wake(&meeting->come, INT_MAX);
    for (uint32_t come; (come = atomic_load(&meeting->come)) < meeting->expected;)
        tine__sys_futex_wait(&meeting->come, come, -1);
    return 0;
}

static int meet_in_call(tine_call *call)
{
    return meet(0, 1, tine_call_context(call));
}

/* Back to back, so that workers sleep, wake up or spin in every mixture when the next job comes. */
TEST(every_worker_comes_to_a_job_that_needs_all, .loop_end = 3)
{
    static const int32_t sizes[] = {2, 3, 16};
    tine_pool *pool = pool_of(sizes[loop_index]);
    struct meeting *meeting = tine_calloc(1, sizeof *meeting);
    tine_job_options options = {.context = &meeting, .context_size = sizeof meeting, .chunk = 1};

    meeting->expected = (uint32_t)sizes[loop_index];
    for (int i = 0; i < 200; i++) {
        meeting->come = 0;
        ck_assert_rc(tine_pool_for(pool, meeting->expected, meet, &options), 0);
    }
    tine_pool_close(pool);
    tine_free(meeting);
}

TEST(a_task_submitted_behind_a_loop_gets_a_worker)
{
    tine_pool *pool = pool_of(3);
    struct meeting *meeting = tine_calloc(1, sizeof *meeting);
    tine_job_options options = {.context = &meeting, .context_size = sizeof meeting, .chunk = 1};
    tine_future *loop, *task;

    meeting->expected = 3;
    for (int i = 0; i < 200; i++) {
        meeting->come = 0;
        ck_assert_rc(tine_pool_for_async(&loop, pool, 2, meet, &options), 0);
        ck_assert_rc(tine_pool_submit(
                         &task, pool, meet_in_call,
                         &(tine_job_options){.context = &meeting, .context_size = sizeof meeting},
                         ""),
                     0);
        ck_assert_rc(tine_future_wait(task, TINE_FOREVER), 0);
        ck_assert_rc(tine_future_wait(loop, TINE_FOREVER), 0);
        tine_future_close(task);
        tine_future_close(loop);
    }
    tine_pool_close(pool);
    tine_free(meeting);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Fails in each chunk that has an index divisible by 100, except 0. */
static int fail_at_hundreds(size_t begin, size_t end, void *context)
{
    (void)tally_count(begin, end, context);
    for (size_t i = begin; i < end; i++)
        if (i % 100 == 0 && i > 0)
            return -EDOM;
    return 1; /* any positive value is no failure */
}

TEST(of_several_failures_the_lowest_is_told_and_all_others_still_run)
{
    tine_pool *pool = pool_of(WORKERS);
    struct tally *tally = tally_new(1000);
    tine_failure failure;
    tine_job_options options = {
        .context = &tally, .context_size = sizeof tally, .chunk = 10, .failure = &failure};

    for (int i = 0; i < 20; i++) {
        memset(&failure, 0xee, sizeof failure);
        ck_assert_rc(tine_pool_for(pool, 1000, fail_at_hundreds, &options), TINE_EREMOTE);
        ck_assert_int_eq(failure.code, TINE_EREMOTE);
        ck_assert_int_eq(failure.error, -EDOM);
        ck_assert_uint_eq(failure.index, 100);
        ck_assert_uint_eq(failure.count, 10);
        ck_assert_int_gt(failure.pid, 0);
        ck_assert(failure.worker >= 0 && failure.worker < WORKERS);
        ck_assert_int_eq(failure.signal, 0);
        ck_assert_int_eq(failure.exit_status, -1);
        ck_assert_str_eq(failure.message, "the task returned -33 (EDOM)");
    }
    for (size_t i = 0; i < tally->n; i++)
        ck_assert_int_eq(tally->times[i], 20);
    tine_pool_close(pool);
    tine_free(tally);
}

TEST(a_failure_is_left_alone_when_there_is_none)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure = {.code = 42};

    ck_assert_rc(tine_pool_for(pool, 1, no_context, &(tine_job_options){.failure = &failure}), 0);
    ck_assert_int_eq(failure.code, 42);
    tine_pool_close(pool);
}

static int fail_at_five(size_t begin, size_t end, void *context)
{
    (void)tally_count(begin, end, context);
    return begin == 5 ? -EIO : 0;
}

TEST(fail_fast_claims_nothing_after_the_first_failure)
{
    tine_pool *pool = pool_of(1);
    struct tally *tally = tally_new(100000);
    tine_failure failure;
    tine_job_options options = {.context = &tally,
                                .context_size = sizeof tally,
                                .chunk = 1,
                                .fail_fast = 1,
                                .failure = &failure};

    ck_assert_rc(tine_pool_for(pool, tally->n, fail_at_five, &options), TINE_EREMOTE);
    ck_assert_uint_eq(tally->calls, 6); /* one worker claims in order */
    ck_assert_uint_eq(failure.index, 5);
    ck_assert_rc(tine_pool_for(pool, 1, no_context, NULL), 0);
    tine_pool_close(pool);
    tine_free(tally);
}

SUITE_OF_POOLS("pool/loop")
