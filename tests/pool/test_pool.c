/* SPDX-License-Identifier: MIT */
/* The life of a pool: options, ends and what they leave, calls after the end. */
#include <tine/pool.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/cpu.h>
#include <tine/heap.h>

#include "lib/clock.h"
#include "tests/pool/pools.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

static int return_nil(tine_call *call)
{
    (void)call;
    return 0;
}

static tine_future *submit_hanging(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, hang_at_gate, &options, ""), 0);
    return future;
}

static void assert_works(tine_pool *pool)
{
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};

    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    tine_free(tally);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static const struct bad_options {
    tine_pool_options options;
    int code;
} bad_options[] = {
    {{.workers = -1}, -EINVAL},
    {{.workers = INT32_MIN}, -EINVAL},
    {{.workers = TINE_WORKERS_MAX + 1}, -EINVAL},
    {{.workers = INT32_MAX}, -EINVAL},
    {{.flags = UINT32_C(1) << 31}, -EINVAL},
    {{.flags = UINT32_MAX}, -EINVAL},
    {{.reserved = {1}}, -E2BIG},
    {{.reserved = {[7] = 1}}, -E2BIG},
};

TEST(bad_options_are_refused, .loop_end = sizeof bad_options / sizeof bad_options[0])
{
    tine_pool *pool = NULL;

    ck_assert_rc(tine_pool_open(&pool, &bad_options[loop_index].options),
                 bad_options[loop_index].code);
    ck_assert_ptr_null(pool);
}

TEST(null_arguments_are_refused)
{
    tine_pool *pool = pool_of(1);
    tine_pool_counts counts;

    ck_assert_rc(tine_pool_open(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_join(NULL, 0), -EINVAL);
    ck_assert_rc(tine_pool_terminate(NULL), -EINVAL);
    ck_assert_rc(tine_pool_stats(NULL, &counts), -EINVAL);
    ck_assert_rc(tine_pool_stats(pool, NULL), -EINVAL);
    tine_pool_close(NULL);
    tine_pool_close(pool);
}

TEST(by_default_there_is_a_worker_for_each_cpu)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, NULL), 0);
    ck_assert_int_eq(pool_counts(pool).workers, tine_cpu_count());
    assert_works(pool);
    tine_pool_close(pool);
}

TEST(without_spinning_all_works_as_well)
{
    tine_pool *pool;
    tine_pool_options options = {.workers = 2, .flags = TINE_POOL_NO_SPIN};

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    for (int i = 0; i < 100; i++)
        assert_works(pool);
    tine_pool_close(pool);
}

TEST(stats_count)
{
    tine_pool *pool = pool_of(3);
    tine_pool_counts counts;

    for (int i = 0; i < 5; i++)
        ck_assert_rc(tine_pool_for(pool, 10, do_nothing, NULL), 0);
    ck_assert_eventually(pool_counts(pool).alive == 3);
    ck_assert_eventually(pool_counts(pool).started == 3); /* counted after they have begun */
    counts = pool_counts(pool);
    ck_assert_int_eq(counts.workers, 3);
    ck_assert_uint_eq(counts.deaths, 0);
    ck_assert_uint_eq(counts.submitted, 5);
    ck_assert_uint_eq(counts.done, 5);
    tine_pool_close(pool);
}

TEST(without_work_a_pool_comes_to_its_size)
{
    tine_pool *pool = pool_of(5);

    ck_assert_eventually(pool_counts(pool).started == 5);
    ck_assert_eventually(pool_counts(pool).alive == 5);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* Kilobytes of this process that no other has, or 0 where the kernel does not tell. */
static long private_kib(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[128];
    long kib = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

TEST(a_thousand_pools_leave_nothing, .timeout_s = 120)
{
    int rounds = is_instrumented() ? 50 : 1000;
    uint64_t blocks = heap_blocks();
    long before = 0;

    for (int i = 0; i < rounds; i++) {
        tine_pool *pool = pool_of(2);

        if (i % 10 == 0)
            assert_works(pool);
        tine_pool_close(pool);
        if (i == rounds / 10)
            before = private_kib();
    }
    ck_assert_uint_eq(heap_blocks(), blocks);
    if (!is_instrumented())
        ck_assert_int_le(private_kib(), before + 256);
    ck_assert_rc(tine_heap_check(NULL), 0);
}

TEST(pools_side_by_side)
{
    tine_pool *pools[8];

    for (size_t i = 0; i < 8; i++)
        pools[i] = pool_of(2);
    for (size_t i = 0; i < 8; i++)
        assert_works(pools[7 - i]);
    for (size_t i = 0; i < 8; i++)
        tine_pool_close(pools[i]);
}

TEST(sixty_four_workers_on_whatever_cpus_there_are)
{
    tine_pool *pool = pool_of(64);

    for (int i = 0; i < 20; i++)
        assert_works(pool);
    ck_assert_eventually(pool_counts(pool).alive == 64);
    assert_works(pool);
    tine_pool_close(pool);
}

TEST(as_many_workers_as_a_pool_may_have, .timeout_s = 60)
{
    tine_pool *pool;

    if (is_instrumented())
        SKIP("a thousand instrumented processes");
    pool = pool_of(TINE_WORKERS_MAX);
    assert_works(pool);
    tine_pool_close(pool);
}

/* ---- join ------------------------------------------------------------------------------------ */

TEST(join_lets_the_work_end_and_the_workers_go)
{
    tine_pool *pool = pool_of(2);
    tine_future *future;
    int32_t alive;

    ck_assert_rc(tine_pool_submit(&future, pool, return_nil, NULL, ""), 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert(tine_future_done(future));
    ck_assert_rc(tine_future_result(future, 0, "n"), 0);
    alive = pool_counts(pool).alive;
    ck_assert_int_eq(alive, 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_pool_join(pool, 0), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* Waits for a second raise of the gate. */
static int wait_for_second(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, 2);
    return tine_return(call, "s", "done all the same");
}

TEST(join_keeps_its_timeout_and_a_second_one_waits_on)
{
    struct gate *gate = gate_new();
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_pool *pool = pool_of(1);
    int64_t before = tine__now_ns();
    tine_future *future, *refused = NULL;
    const char *text;

    ck_assert_rc(tine_pool_submit(&future, pool, wait_for_second, &options, ""), 0);
    gate_await(gate, 1);
    ck_assert_rc(tine_pool_join(pool, 0), -EAGAIN);
    ck_assert_rc(tine_pool_join(pool, TINE_MS(80)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(80));
    ck_assert_rc(tine_pool_submit(&refused, pool, return_nil, NULL, ""), -ESHUTDOWN);
    gate_raise(gate);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_result(future, 0, "s", &text), 0);
    ck_assert_str_eq(text, "done all the same");
    tine_future_close(future);
    tine_pool_close(pool);
}

static void *join_pool(void *pool)
{
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    return NULL;
}

TEST(several_threads_join)
{
    tine_pool *pool = pool_of(2);
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, join_pool, pool), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    tine_pool_close(pool);
}

/* ---- terminate ------------------------------------------------------------------------------- */

TEST(terminate_ends_an_idle_pool)
{
    tine_pool *pool = pool_of(2);

    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(pool_counts(pool).alive, 0);
    tine_pool_close(pool);
}

TEST(terminate_cancels_what_runs_and_what_waits)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(2);
    tine_future *futures[10], *done;

    ck_assert_rc(tine_pool_submit(&done, pool, return_nil, NULL, ""), 0);
    ck_assert_rc(tine_future_wait(done, TINE_FOREVER), 0);
    for (size_t i = 0; i < 10; i++)
        futures[i] = submit_hanging(pool, gate);
    gate_await(gate, 2);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_future_result(done, 0, "n"), 0);
    for (size_t i = 0; i < 10; i++) {
        ck_assert(tine_future_done(futures[i]));
        ck_assert_rc(tine_future_result(futures[i], 0, NULL), -ECANCELED);
        tine_future_close(futures[i]);
    }
    tine_future_close(done);
    tine_pool_close(pool);
}

static void *await_cancellation(void *future)
{
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    return NULL;
}

TEST(terminate_frees_threads_that_wait)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_hanging(pool, gate);
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, await_cancellation, future), 0);
    gate_await(gate, 1);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    tine_future_close(future);
    tine_pool_close(pool);
}

static int hang_in_body(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end;
    gate_await(*(struct gate **)context, UINT32_MAX);
    return 0;
}

static void terminate_pool(const tine_progress *progress, void *pool)
{
    ck_assert_uint_eq(progress->done, 0);
    ck_assert_rc(tine_pool_terminate(pool), 0);
}

TEST(terminate_in_a_callback)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(2);
    tine_failure failure;
    tine_job_options options = {.context = &gate,
                                .context_size = sizeof gate,
                                .progress = terminate_pool,
                                .progress_user = pool,
                                .failure = &failure};

    ck_assert_rc(tine_pool_for(pool, 100, hang_in_body, &options), -ECANCELED);
    ck_assert_int_eq(failure.code, -ECANCELED);
    tine_pool_close(pool);
}

/* ---- after the end --------------------------------------------------------------------------- */

static int do_nothing_item(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    return 0;
}

static int reduce_nothing(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)accumulator;
    return do_nothing(begin, end, context);
}

static void combine_nothing(void *into, const void *from, void *context)
{
    (void)into, (void)from, (void)context;
}

/* Every way to submit, with something to do and with nothing. */
static void assert_all_refused(tine_pool *pool, int code)
{
    uint8_t one_tuple = 0x90;
    tine_buffer tuples = {.data = &one_tuple, .size = 1}, none = {0};
    tine_map map = {.item = do_nothing_item};
    tine_results *results = NULL;
    tine_future *future = NULL;
    int sum = 0;

    for (map.n = 0; map.n < 2; map.n++) {
        const tine_buffer *args = map.n == 0 ? &none : &tuples;

        ck_assert_rc(tine_pool_for(pool, map.n, do_nothing, NULL), code);
        ck_assert_rc(tine_pool_for_async(&future, pool, map.n, do_nothing, NULL), code);
        ck_assert_rc(
            tine_pool_reduce(pool, map.n, reduce_nothing, combine_nothing, &sum, sizeof sum, NULL),
            code);
        ck_assert_rc(tine_pool_reduce_async(&future, pool, map.n, reduce_nothing, combine_nothing,
                                            &sum, sizeof sum, NULL),
                     code);
        ck_assert_rc(tine_pool_map(pool, &map, NULL), code);
        ck_assert_rc(tine_pool_map_async(&future, pool, &map, NULL), code);
        ck_assert_rc(tine_pool_starmap(&results, pool, return_nil, args, NULL), code);
        ck_assert_rc(tine_pool_starmap_async(&future, pool, return_nil, args, NULL), code);
    }
    ck_assert_rc(tine_pool_apply(&results, pool, return_nil, NULL, ""), code);
    ck_assert_rc(tine_pool_submit(&future, pool, return_nil, NULL, ""), code);
    ck_assert_ptr_null(results);
    ck_assert_ptr_null(future);
}

TEST(after_join_the_pool_is_shut_down)
{
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    assert_all_refused(pool, -ESHUTDOWN);
    tine_pool_close(pool);
}

TEST(after_terminate_the_pool_is_shut_down)
{
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_terminate(pool), 0);
    assert_all_refused(pool, -ESHUTDOWN);
    tine_pool_close(pool);
}

TEST(a_closed_pool_is_a_bad_handle)
{
    tine_pool *pool = pool_of(1), *other;
    tine_pool_counts counts;

    tine_pool_close(pool);
    assert_all_refused(pool, -EBADF);
    ck_assert_rc(tine_pool_join(pool, 0), -EBADF);
    ck_assert_rc(tine_pool_terminate(pool), -EBADF);
    ck_assert_rc(tine_pool_stats(pool, &counts), -EBADF);
    tine_pool_close(pool);
    other = pool_of(1);
    assert_all_refused(pool, -EBADF);
    tine_pool_close(other);
}

/* ---- a job's timeout ------------------------------------------------------------------------- */

TEST(a_job_that_takes_too_long_is_killed_and_the_pool_goes_on)
{
    struct gate *gate = gate_new();
    tine_failure failure = {0};
    tine_job_options options = {.context = &gate,
                                .context_size = sizeof gate,
                                .timeout_ns = TINE_MS(30),
                                .failure = &failure};
    tine_pool *pool = pool_of(2);
    tine_results *results = NULL;
    int64_t before;

    for (int i = 0; i < 3; i++) {
        before = tine__now_ns();
        ck_assert_rc(tine_pool_for(pool, 100, hang_in_body, &options), -ETIMEDOUT);
        ck_assert_int_ge(tine__now_ns() - before, TINE_MS(30));
        ck_assert_int_eq(failure.code, -ETIMEDOUT);
        assert_works(pool);
        ck_assert_rc(tine_pool_apply(&results, pool, hang_at_gate, &options, ""), -ETIMEDOUT);
        ck_assert_ptr_null(results);
        assert_works(pool);
    }
    ck_assert_eventually(pool_counts(pool).alive == 2);
    tine_pool_close(pool);
}

TEST(a_job_behind_a_long_one_times_out_without_harm)
{
    struct gate *gate = gate_new(), *hanging = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *long_one = submit_hanging(pool, hanging);
    tine_job_options options = {
        .context = &gate, .context_size = sizeof gate, .timeout_ns = TINE_MS(20)};
    tine_results *results = NULL;

    gate_await(hanging, 1);
    ck_assert_rc(tine_pool_apply(&results, pool, return_nil, &options, ""), -ETIMEDOUT);
    ck_assert_rc(tine_pool_for(pool, 10, hang_in_body, &options), -ETIMEDOUT);
    ck_assert(!tine_future_done(long_one));
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_future_close(long_one);
    tine_pool_close(pool);
}

TEST(a_job_in_time_is_not_bothered)
{
    tine_pool *pool = pool_of(2);
    tine_job_options options = {.timeout_ns = TINE_SEC(1000)};

    ck_assert_rc(tine_pool_for(pool, 100, do_nothing, &options), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/pool")
