/* SPDX-License-Identifier: MIT */
/* Futures: waiting, reading, letting go, from one thread and many, before and after the pool's
   end. */
#include <tine/future.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int increment(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc : tine_return(call, "q", number + 1);
}

/* Its context is the address of a gate. */
static int increment_behind_gate(tine_call *call)
{
    gate_await(*(struct gate **)tine_call_context(call), 1);
    return increment(call);
}

static tine_future *submit(tine_pool *pool, int64_t number)
{
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, increment, NULL, "q", number), 0);
    return future;
}

static tine_future *submit_behind(tine_pool *pool, struct gate *gate, int64_t number)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, increment_behind_gate, &options, "q", number), 0);
    return future;
}

static void assert_result(tine_future *future, int64_t expected)
{
    int64_t number = 0;

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, expected);
}

/* ---- waiting --------------------------------------------------------------------------------- */

TEST(a_future_is_done_when_its_job_is)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 1);

    ck_assert(!tine_future_done(future));
    ck_assert_rc(tine_future_wait(future, 0), -EAGAIN);
    ck_assert_rc(tine_future_result(future, 0, NULL), -EAGAIN);
    gate_raise(gate);
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert(tine_future_done(future));
    ck_assert_rc(tine_future_wait(future, 0), 0);
    assert_result(future, 2);
    assert_result(future, 2); /* as often as one likes */
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_wait_takes_its_time_and_no_less)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 1);
    int64_t before = tine__now_ns();

    ck_assert_rc(tine_future_wait(future, TINE_MS(120)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(120));
    ck_assert_rc(tine_future_result(future, TINE_MS(1), "q", &(int64_t){0}), -ETIMEDOUT);
    gate_raise(gate);
    assert_result(future, 2);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void *wait_for_result(void *context)
{
    assert_result(context, 42);
    return NULL;
}

TEST(many_threads_wait_for_one_future)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 41);
    pthread_t threads[16];

    for (size_t i = 0; i < 16; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_for_result, future), 0);
    gate_raise(gate);
    for (size_t i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- among other things ---------------------------------------------------------------------- */

TEST(futures_are_waited_for_together)
{
    struct gate *gates[3] = {gate_new(), gate_new(), gate_new()};
    tine_pool *pool = pool_of(3);
    tine_future *futures[3];
    tine_waitable on[3];

    for (int i = 0; i < 3; i++) {
        futures[i] = submit_behind(pool, gates[i], i);
        on[i] = tine_future_waitable(futures[i]);
    }
    ck_assert_rc(tine_wait(on, 3, 0), 0);
    ck_assert_rc(tine_wait(on, 3, TINE_MS(60)), 0);
    for (int i = 0; i < 3; i++) {
        gate_raise(gates[i]);
        ck_assert_rc(tine_wait(&on[i], 1, TINE_FOREVER), 1);
        ck_assert_rc(tine_wait(on, 3, TINE_FOREVER), i + 1);
        assert_result(futures[i], i + 1);
    }
    for (int i = 0; i < 3; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
}

static void *wait_among_others(void *context)
{
    tine_waitable on = tine_future_waitable(context);

    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    return NULL;
}

TEST(whoever_waits_for_one_future_is_told_in_either_way)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 41);
    pthread_t threads[8];

    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i % 2 == 0 ? wait_for_result : wait_among_others, future),
                         0);
    gate_raise(gate);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void *terminate(void *context)
{
    ck_assert_ok(tine_pool_terminate(context));
    return NULL;
}

TEST(the_end_of_a_pool_ends_the_wait_for_its_futures)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 1);
    tine_waitable on = tine_future_waitable(future);
    pthread_t thread;

    ck_assert_rc(tine_wait(&on, 1, TINE_MS(10)), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, terminate, pool), 0);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_rc(tine_future_result(future, 0, NULL), -ECANCELED);
    pthread_join(thread, NULL);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_future_has_a_descriptor_for_other_loops)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_behind(pool, gate, 1);
    tine_waitable on = tine_future_waitable(future);
    int fd = tine_waitable_fd(&on);

    ck_assert_ok(fd);
    for (int i = 0; i < 2; i++) { /* it says "try" now and then, for the look */
        ck_assert(!tine_future_done(future));
        ck_assert_rc(tine_future_wait(future, 0), -EAGAIN);
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
    }
    gate_raise(gate);
    while (!tine_future_done(future))
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
    tine_waitable_close(fd);
    assert_result(future, 2);
    fd = tine_waitable_fd(&on);
    ck_assert_int_eq(tine__sys_poll_in(fd, 0), 1);
    tine_waitable_close(fd);
    tine_future_close(future);
    tine_pool_close(pool);
}

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)context;
    return begin <= end ? 0 : -EINVAL;
}

TEST(a_future_of_nothing_is_ready_at_once)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;
    tine_waitable on;
    int fd;

    ck_assert_rc(tine_pool_for_async(&future, pool, 0, do_nothing, NULL), 0);
    on = tine_future_waitable(future);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    fd = tine_waitable_fd(&on);
    ck_assert_ok(fd);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
        ck_assert(tine_future_done(future));
    }
    tine_waitable_close(fd);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void wait_in_child(void *context)
{
    tine_waitable *on = context;

    ck_assert_rc(tine_wait(on, 1, 0), TINE_EFORKED);
    ck_assert_rc(tine_waitable_fd(on), TINE_EFORKED);
}

TEST(a_forked_child_cannot_wait_for_futures)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, 1);
    tine_waitable on = tine_future_waitable(future);
    struct child child = child_start(wait_in_child, &on);

    child_join(&child);
    on = tine_future_waitable(NULL);
    ck_assert_rc(tine_wait(&on, 1, 0), -EINVAL);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- reading --------------------------------------------------------------------------------- */

TEST(a_result_of_another_shape_does_not_match)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, 299);
    const char *text = "untouched";
    uint8_t small = 9;

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "s", &text), TINE_EFORMAT);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "B", &small), -ERANGE);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "!"), -EINVAL);
    ck_assert_str_eq(text, "untouched");
    ck_assert_uint_eq(small, 9);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    assert_result(future, 300);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_submitted_task_also_has_results)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, 1);
    const tine_results *results;
    int64_t number;

    ck_assert_rc(tine_future_results(future, TINE_FOREVER, &results), 0);
    ck_assert_uint_eq(tine_results_count(results), 1);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), 0);
    ck_assert_int_eq(number, 2);
    tine_future_close(future);
    tine_pool_close(pool);
}

static int echo_text(tine_call *call)
{
    const char *text;
    int rc = tine_args(call, "s", &text);

    return rc < 0 ? rc : tine_return(call, "s", text);
}

TEST(strings_are_borrowed_until_the_future_is_closed)
{
    tine_pool *pool = pool_of(1);
    const char *first, *second;
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, echo_text, NULL, "s", "Größe"), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "s", &first), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "s", &second), 0);
    tine_pool_close(pool);
    ck_assert_str_eq(first, "Größe");
    ck_assert_str_eq(second, "Größe");
    tine_future_close(future);
}

static int fail_with_context(tine_call *call)
{
    return tine_fail(call, -EIO, "as it was told");
}

TEST(a_failed_future_has_a_code_and_a_failure)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure = {0};
    const tine_results *results = NULL;
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, fail_with_context,
                                  &(tine_job_options){.failure = &failure}, ""),
                 0);
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_result(future, 0, NULL), TINE_EREMOTE);
    ck_assert_rc(tine_future_results(future, 0, &results), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EIO);
    ck_assert_str_eq(failure.message, "as it was told");
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- loops ----------------------------------------------------------------------------------- */

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        *(uint64_t *)accumulator += i;
    return 0;
}

static void add_parts(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

TEST(loops_have_futures_without_values)
{
    tine_pool *pool = pool_of(2);
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};
    const tine_results *results = NULL;
    tine_future *loop, *sum;
    uint64_t total = 0;

    ck_assert_rc(tine_pool_for_async(&loop, pool, 1000, tally_count, &options), 0);
    ck_assert_rc(
        tine_pool_reduce_async(&sum, pool, 1000, add_range, add_parts, &total, sizeof total, NULL),
        0);
    ck_assert_rc(tine_future_result(sum, TINE_FOREVER, NULL), 0);
    ck_assert_uint_eq(total, 499500);
    ck_assert_rc(tine_future_result(loop, TINE_FOREVER, "q", &total), -EINVAL);
    ck_assert_rc(tine_future_results(loop, TINE_FOREVER, &results), -EINVAL);
    ck_assert_rc(tine_future_result(loop, TINE_FOREVER, NULL), 0);
    tally_assert_once(tally);
    tine_future_close(loop);
    tine_future_close(sum);
    tine_pool_close(pool);
    tine_free(tally);
}

static int double_it(const void *in, void *out, void *context)
{
    (void)context;
    *(uint32_t *)out = *(const uint32_t *)in * 2;
    return 0;
}

TEST(a_map_outside_the_heap_is_written_when_its_end_is_seen)
{
    static uint32_t in[1000], out[1000];
    tine_pool *pool = pool_of(2);
    tine_map map = {
        .item = double_it, .in = in, .in_size = 4, .out = out, .out_size = 4, .n = 1000};
    tine_future *future;

    for (uint32_t i = 0; i < 1000; i++)
        in[i] = i;
    ck_assert_rc(tine_pool_map_async(&future, pool, &map, NULL), 0);
    memset(in, 0, sizeof in); /* was copied */
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(out[i], 2 * i);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_starmap_future_gives_all_results)
{
    tine_pool *pool = pool_of(2);
    const tine_results *results;
    tine_buffer args = {0};
    tine_future *future;
    int64_t number;

    for (int64_t i = 0; i < 500; i++)
        ck_assert_rc(tine_pack(&args, "[q]", i), 0);
    ck_assert_rc(tine_pool_starmap_async(&future, pool, increment, &args, NULL), 0);
    tine_buffer_free(&args);
    ck_assert_rc(tine_future_results(future, TINE_FOREVER, &results), 0);
    for (size_t i = 0; i < 500; i++) {
        ck_assert_rc(tine_results_get(results, i, "q", &number), 0);
        ck_assert_int_eq(number, (int64_t)i + 1);
    }
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_future_of_nothing_is_done_from_the_start)
{
    tine_pool *pool = pool_of(1);
    const tine_results *results;
    tine_future *future;

    ck_assert_rc(tine_pool_starmap_async(&future, pool, increment, &(tine_buffer){0}, NULL), 0);
    ck_assert(tine_future_done(future));
    ck_assert_rc(tine_future_results(future, 0, &results), 0);
    ck_assert_uint_eq(tine_results_count(results), 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- the pool's end -------------------------------------------------------------------------- */

TEST(futures_are_readable_after_their_pool_was_closed)
{
    tine_pool *pool = pool_of(2);
    tine_future *read = submit(pool, 1), *done = submit(pool, 2);
    tine_results *results;
    int64_t number;

    assert_result(read, 2);
    ck_assert_rc(tine_future_wait(done, TINE_FOREVER), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, increment, NULL, "q", INT64_C(3)), 0);
    tine_pool_close(pool);
    pool = pool_of(1); /* perhaps in the same place */
    assert_result(read, 2);
    assert_result(done, 3);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), 0);
    ck_assert_int_eq(number, 4);
    tine_future_close(read);
    tine_future_close(done);
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(unfinished_futures_are_cancelled_by_close)
{
    struct gate *gate = gate_new();
    tine_failure failure = {0};
    tine_job_options options = {.context = &gate, .context_size = sizeof gate, .failure = &failure};
    tine_pool *pool = pool_of(1);
    tine_future *running, *queued = NULL;

    ck_assert_rc(tine_pool_submit(&running, pool, increment_behind_gate, &options, "q", INT64_C(1)),
                 0);
    queued = submit(pool, 1);
    tine_pool_close(pool);
    ck_assert(tine_future_done(running));
    ck_assert_rc(tine_future_result(running, TINE_FOREVER, NULL), -ECANCELED);
    ck_assert_rc(tine_future_result(queued, 0, NULL), -ECANCELED);
    ck_assert_int_eq(failure.code, -ECANCELED);
    tine_future_close(running);
    tine_future_close(queued);
}

TEST(all_memory_comes_back_whatever_the_order_of_closing)
{
    uint64_t blocks = heap_blocks();
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(2);
    tine_future *futures[6];

    for (size_t i = 0; i < 3; i++)
        futures[i] = submit(pool, 1);
    for (size_t i = 0; i < 3; i++)
        assert_result(futures[i], 2);
    for (size_t i = 3; i < 6; i++)
        futures[i] = submit_behind(pool, gate, 1);
    tine_future_close(futures[0]);
    tine_future_close(futures[3]);
    tine_pool_close(pool);
    tine_future_close(futures[1]);
    tine_future_close(futures[4]);
    tine_future_close(futures[2]);
    tine_future_close(futures[5]);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- letting go ------------------------------------------------------------------------------ */

static int count_behind_gate(tine_call *call)
{
    struct gate **gates = tine_call_context(call);

    gate_raise(gates[0]);
    gate_await(gates[1], 1);
    gate_raise(gates[2]);
    return 0;
}

TEST(an_abandoned_job_goes_on)
{
    struct gate *gates[3] = {gate_new(), gate_new(), gate_new()};
    tine_job_options options = {.context = gates, .context_size = sizeof gates};
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, count_behind_gate, &options, ""), 0);
    gate_await(gates[0], 1);
    tine_future_close(future);
    gate_raise(gates[1]);
    gate_await(gates[2], 1);
    future = submit(pool, 1);
    assert_result(future, 2);
    tine_future_close(future);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* Writes to its output until it is killed. */
static int scribble(const void *in, void *out, void *context)
{
    struct gate *gate = *(struct gate **)context;

    (void)in;
    gate_raise(gate);
    for (;;)
        ++*(_Atomic uint32_t *)out;
    return 0;
}

TEST(an_abandoned_map_in_the_heap_is_stopped_first)
{
    struct gate *gate = gate_new();
    _Atomic uint32_t *out = tine_calloc(2, sizeof *out);
    tine_map map = {.item = scribble, .out = (void *)out, .out_size = 4, .n = 2};
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_pool *pool = pool_of(2);
    tine_future *future;
    uint32_t first, second;

    ck_assert_rc(tine_pool_map_async(&future, pool, &map, &options), 0);
    gate_await(gate, 2);
    tine_future_close(future);
    first = out[0], second = out[1];
    future = submit(pool, 1); /* the workers were replaced */
    assert_result(future, 2);
    ck_assert_uint_eq(out[0], first);
    ck_assert_uint_eq(out[1], second);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free((void *)out);
}

/* ---- many ------------------------------------------------------------------------------------ */

TEST(a_hundred_thousand_futures_unread, .timeout_s = 60)
{
    int64_t n = is_instrumented() ? 5000 : 100000;
    tine_future **futures = calloc((size_t)n, sizeof *futures);
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_of(2);

    ck_assert_ptr_nonnull(futures);
    for (int64_t i = 0; i < n; i++)
        futures[i] = submit(pool, i);
    for (int64_t i = n - 1; i >= 0; i--)
        assert_result(futures[i], i + 1);
    ck_assert_uint_eq(pool_counts(pool).done, (uint64_t)n);
    for (int64_t i = 0; i < n; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
    free(futures);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(a_hundred_thousand_jobs_that_nobody_waits_for, .timeout_s = 60)
{
    int64_t n = is_instrumented() ? 5000 : 100000;
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_of(2);

    for (int64_t i = 0; i < n; i++)
        tine_future_close(submit(pool, i));
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).submitted, (uint64_t)n);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

static void *submit_and_read(void *context)
{
    for (int64_t i = 0; i < 300; i++) {
        tine_future *future = submit(context, i);

        assert_result(future, i + 1);
        tine_future_close(future);
    }
    return NULL;
}

TEST(eight_threads_submit)
{
    tine_pool *pool = pool_of(2);
    pthread_t threads[8];

    for (size_t i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, submit_and_read, pool), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(pool_counts(pool).submitted, 2400);
    ck_assert_uint_eq(pool_counts(pool).done, 2400);
    tine_pool_close(pool);
}

/* ---- bad input ------------------------------------------------------------------------------- */

TEST(null_arguments_are_refused)
{
    tine_pool *pool = pool_of(1);
    const tine_results *results = NULL;
    tine_future *future = NULL;

    ck_assert(!tine_future_done(NULL));
    ck_assert_rc(tine_future_wait(NULL, 0), -EINVAL);
    ck_assert_rc(tine_future_result(NULL, 0, NULL), -EINVAL);
    ck_assert_rc(tine_future_results(NULL, 0, &results), -EINVAL);
    tine_future_close(NULL);
    ck_assert_rc(tine_pool_submit(NULL, pool, increment, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_submit(&future, NULL, increment, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_submit(&future, pool, NULL, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_submit(&future, pool, increment, NULL, NULL), -EINVAL);
    ck_assert_rc(
        tine_pool_submit(&future, pool, increment, &(tine_job_options){.timeout_ns = 1}, ""),
        -EINVAL);
    ck_assert_ptr_null(future);
    future = submit(pool, 1);
    ck_assert_rc(tine_future_results(future, TINE_FOREVER, NULL), -EINVAL);
    tine_future_close(future);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/future")
