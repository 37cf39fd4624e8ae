/* SPDX-License-Identifier: MIT */
/* Workers that leave their place to others: when, and that nobody notices but by the counts. */
#include <tine/pool.h>
#include <tine/process.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "pool/recycle.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define MIB ((uint64_t)1 << 20)

static tine_pool *pool_with(tine_pool_options options)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    return pool;
}

static int write_pid(const void *in, void *out, void *context)
{
    (void)in, (void)context;
    *(int32_t *)out = (int32_t)getpid();
    return 0;
}

/* Each pid stands there `times` times; how many there are. */
static size_t count_pids(const int32_t *pids, size_t n, size_t times)
{
    size_t different = 0;

    for (size_t i = 0; i < n; i++) {
        size_t same = 0, earlier = 0;

        for (size_t k = 0; k < n; k++) {
            same += pids[k] == pids[i];
            earlier += k < i && pids[k] == pids[i];
        }
        ck_assert_uint_eq(same, times);
        different += earlier == 0;
    }
    return different;
}

/* ---- so many items --------------------------------------------------------------------------- */

TEST(a_worker_runs_so_many_items_and_no_more)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .max_tasks_per_worker = 7});
    int32_t pids[70];
    tine_map map = {.item = write_pid, .out = pids, .out_size = sizeof *pids, .n = 70};
    tine_job_options options = {.chunk = 30};

    ck_assert_rc(tine_pool_map(pool, &map, &options), 0);
    ck_assert_uint_eq(count_pids(pids, 70, 7), 10);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    ck_assert_uint_ge(pool_counts(pool).recycled,
                      9); /* the last one may have been asked to leave */
    tine_pool_close(pool);
}

static int return_pid(tine_call *call)
{
    return tine_return(call, "i", (int)getpid());
}

TEST(calls_are_counted_too)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .max_tasks_per_worker = 3});
    tine_future *futures[12];
    int32_t pids[12];

    for (int i = 0; i < 12; i++)
        ck_assert_rc(tine_pool_submit(&futures[i], pool, return_pid, NULL, ""), 0);
    for (int i = 0; i < 12; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, "i", &pids[i]), 0);
        tine_future_close(futures[i]);
    }
    ck_assert_uint_eq(count_pids(pids, 12, 3), 4);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

TEST(tuples_are_counted_too)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .max_tasks_per_worker = 5});
    tine_job_options options = {.chunk = 12};
    tine_results *results;
    tine_buffer args = {0};
    int32_t pids[40];

    for (int i = 0; i < 40; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, return_pid, &args, &options), 0);
    for (size_t i = 0; i < 40; i++)
        ck_assert_rc(tine_results_get(results, i, "i", &pids[i]), 0);
    ck_assert_uint_eq(count_pids(pids, 40, 5), 8);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(of_loops_the_chunks_are_counted)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .max_tasks_per_worker = 4});
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally, .chunk = 25};

    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    ck_assert_uint_eq(tally->calls, 40);
    ck_assert_uint_ge(pool_counts(pool).recycled, 8);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    tine_free(tally);
}

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        *(uint64_t *)accumulator += i;
    return 0;
}

static void add_sums(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

TEST(a_sum_over_recycled_workers_is_right)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .max_tasks_per_worker = 1});
    uint64_t sum = 0;

    ck_assert_rc(tine_pool_reduce(pool, 1000, add_range, add_sums, &sum, sizeof sum, NULL), 0);
    ck_assert_uint_eq(sum, 499500);
    tine_pool_close(pool);
}

static int fail_then_exit(tine_call *call)
{
    if (tine_call_index(call) % 3 == 0)
        exit(0);
    return tine_fail(call, -EDOM, "as asked");
}

/* What is left of a unit keeps the tries of its item, and who exits in an item has died. */
TEST(deaths_and_recycling_are_told_apart)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .max_tasks_per_worker = 2});
    tine_job_options options = {.chunk = 12};
    tine_results *results;
    tine_buffer args = {0};

    for (int i = 0; i < 12; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, fail_then_exit, &args, &options), TINE_EWORKER);
    for (size_t i = 0; i < 12; i++)
        ck_assert_rc(tine_results_get(results, i, "n"), i % 3 == 0 ? TINE_EWORKER : TINE_EREMOTE);
    ck_assert_uint_eq(pool_counts(pool).deaths, 4);
    ck_assert_uint_ge(pool_counts(pool).recycled, 3);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

static int end_of(const tine_worker_exit *exit)
{
    return exit->asked == 1 && exit->signal == 0 && exit->exit_status == 0;
}

static void count_end(tine_pool *pool, const tine_worker_exit *exit, void *user)
{
    (void)pool;
    *(int *)user += end_of(exit);
}

static void raise_at_end(void *context, void *state)
{
    (void)state;
    gate_raise(*(struct gate **)context);
}

TEST(a_recycled_worker_leaves_in_order)
{
    struct gate *gate = gate_new();
    int ends = 0;
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1,
                                                    .max_tasks_per_worker = 1,
                                                    .finalizer = raise_at_end,
                                                    .context = &gate,
                                                    .context_size = sizeof gate,
                                                    .on_worker_exit = count_end,
                                                    .on_worker_exit_user = &ends});
    int32_t pids[3];
    tine_map map = {.item = write_pid, .out = pids, .out_size = sizeof *pids, .n = 3};

    ck_assert_rc(tine_pool_map(pool, &map, NULL), 0);
    gate_await(gate, 3);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_ge(ends, 3);
    tine_pool_close(pool);
}

/* A long finalizer: the gate is opened when the loop has been done. It may be killed besides. */
struct slow_end {
    struct gate *gate;
    int32_t killed;
};

static void end_when_told(void *context, void *state)
{
    const struct slow_end *end = context;

    (void)state;
    gate_raise(end->gate);
    gate_await(end->gate, 3);
    if (end->killed)
        raise(SIGKILL);
}

/* One chunk, of which the first that leaves has done five items. */
TEST(what_it_leaves_is_done_before_its_finalizer_ends, .loop_end = 2)
{
    struct slow_end end = {.gate = gate_new(), .killed = loop_index};
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2,
                                                    .max_tasks_per_worker = 5,
                                                    .finalizer = end_when_told,
                                                    .context = &end,
                                                    .context_size = sizeof end});
    int32_t pids[10];
    tine_map map = {.item = write_pid, .out = pids, .out_size = sizeof *pids, .n = 10};
    tine_job_options options = {.chunk = 10};

    ck_assert_rc(tine_pool_map(pool, &map, &options), 0);
    ck_assert_uint_eq(count_pids(pids, 10, 5), 2);
    gate_await(end.gate, 2);
    gate_raise(end.gate);
    ck_assert_eventually(pool_counts(pool).started >= 4);
    ck_assert_uint_eq(pool_counts(pool).deaths, loop_index == 1 ? 2 : 0);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    tine_pool_close(pool);
}

static int note_index(const void *in, void *out, void *context)
{
    (void)in, (void)context;
    *(int32_t *)out = tine_worker_index();
    return 0;
}

/* Long enough for the others to come and go. */
static void end_slowly(void *context, void *state)
{
    int64_t end = tine__now_ns() + TINE_MS(2);

    (void)context, (void)state;
    while (tine__now_ns() < end)
        tine__cpu_relax();
}

/* Whoever has an array with a place for each worker counts on it. */
TEST(the_index_of_each_is_below_the_pools_size)
{
    tine_pool *pool = pool_with(
        (tine_pool_options){.workers = 2, .max_tasks_per_worker = 1, .finalizer = end_slowly});
    int32_t indices[100];
    tine_map map = {.item = note_index, .out = indices, .out_size = sizeof *indices, .n = 100};
    tine_job_options options = {.chunk = 3};

    ck_assert_rc(tine_pool_map(pool, &map, &options), 0);
    for (size_t i = 0; i < 100; i++)
        ck_assert(indices[i] == 0 || indices[i] == 1);
    tine_pool_close(pool);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *touch(size_t size)
{
    char *memory = malloc(size);

    ck_assert_ptr_nonnull(memory);
    for (size_t i = 0; i < size; i += 1024)
        ((volatile char *)memory)[i] = 1;
    return memory;
}

static void *volatile leaked;

/* Leaks; says how much memory its worker had before. */
static int leak(tine_call *call)
{
    uint64_t before = tine__private_bytes(getpid());

    leaked = touch(8 * MIB);
    return tine_return(call, "Q", before);
}

static void leak_under(tine_pool *pool, uint64_t at_most)
{
    for (int i = 0; i < 60; i++) {
        tine_results *results;
        uint64_t bytes;

        ck_assert_rc(tine_pool_apply(&results, pool, leak, NULL, ""), 0);
        ck_assert_rc(tine_results_get(results, 0, "Q", &bytes), 0);
        ck_assert_uint_le(bytes, at_most);
        tine_results_close(results);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    ck_assert_uint_ge(pool_counts(pool).recycled, 2);
}

/* Looked at once a tick of the clock: a few leaks may come together. */
#define TICKS (64 * MIB)

TEST(a_worker_that_has_too_much_memory_is_replaced)
{
    uint64_t max = tine__private_bytes(getpid()) + 128 * MIB;
    tine_pool *pool;

    if (is_instrumented())
        SKIP("memory is not given back in the usual way");
    pool = pool_with((tine_pool_options){.workers = 1, .max_memory_per_worker = max});
    leak_under(pool, max + TICKS);
    tine_pool_close(pool);
}

TEST(a_worker_that_has_grown_too_much_is_replaced)
{
    uint64_t now = tine__private_bytes(getpid());
    tine_pool *pool;

    if (is_instrumented())
        SKIP("memory is not given back in the usual way");
    pool = pool_with((tine_pool_options){.workers = 1, .max_growth_per_worker = 100 * MIB});
    leak_under(pool, now + 110 * MIB + TICKS);
    tine_pool_close(pool);
}

/* Where it could not look any more. */
TEST(so_is_one_that_may_open_no_file)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY};
    tine_pool_options options = {
        .workers = 1, .max_growth_per_worker = 100 * MIB, .sandbox = &sandbox};
    tine_pool *pool;
    int rc;

    if (is_instrumented())
        SKIP("memory is not given back in the usual way");
    rc = tine_pool_open(&pool, &options);
    if (rc == -ENOTSUP)
        SKIP("no seccomp");
    ck_assert_rc(rc, 0);
    leak_under(pool, 0); /* that much is what it can find */
    tine_pool_close(pool);
}

static int gorge(tine_call *call)
{
    (void)call;
    leaked = touch(512 * MIB);
    return pause();
}

/* The program's memory counts after a fork, so the limit stands above that. */
TEST(an_item_that_takes_far_too_much_memory_is_ended)
{
    uint64_t max = tine__private_bytes(getpid()) + 64 * MIB;
    tine_failure failure = {0};
    tine_results *results;
    tine_pool *pool;

    if (max / 4 > 256 * MIB || !has_memory(1024 * MIB))
        SKIP("this takes half a gigabyte, and a program that is small");
    pool = pool_with((tine_pool_options){.workers = 1, .max_memory_per_worker = max});
    ck_assert_rc(
        tine_pool_apply(&results, pool, gorge, &(tine_job_options){.failure = &failure}, ""),
        TINE_ELIMIT);
    ck_assert_rc(failure.code, TINE_ELIMIT);
    ck_assert_int_eq(failure.signal, SIGKILL);
    ck_assert_msg(strstr(failure.message, "max_memory_per_worker") != NULL, "%s", failure.message);
    ck_assert_rc(tine_pool_apply(&results, pool, return_pid, NULL, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

static int stay(tine_call *call)
{
    gate_raise(*(struct gate **)tine_call_context(call));
    return pause();
}

TEST(both_limits_of_an_item_are_seen_to)
{
    struct gate *gate = gate_new();
    uint64_t max = tine__private_bytes(getpid()) + 1024 * MIB;
    tine_pool *pool = pool_with((tine_pool_options){
        .workers = 1, .max_memory_per_worker = max, .task_kill_ns = TINE_MS(120)});
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_failure failure = {0};
    tine_results *results;

    options.failure = &failure;
    ck_assert_rc(tine_pool_apply(&results, pool, stay, &options, ""), TINE_ELIMIT);
    ck_assert_msg(strstr(failure.message, "task_kill_ns") != NULL, "%s", failure.message);
    tine_pool_close(pool);
}

TEST(a_limit_below_what_there_is_already_is_refused)
{
    tine_pool *pool = NULL;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.start = TINE_FORK, .max_memory_per_worker = 1}),
        -EINVAL);
    ck_assert_ptr_null(pool);
}

SUITE_OF_POOLS("pool/recycle")
