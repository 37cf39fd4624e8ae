/* SPDX-License-Identifier: MIT */
/* Cancelling: of what waits, of what runs, of all that waits; who is told, and what is left. */
#include <tine/future.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "pool/redo.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Raises its first gate and passes its second. */
static int pass_gates(tine_call *call)
{
    struct gate **gates = tine_call_context(call);

    gate_raise(gates[0]);
    gate_await(gates[1], 1);
    return tine_return(call, "q", INT64_C(7));
}

static tine_future *submit_gates(tine_pool *pool, struct gate *gates[2], int32_t retries)
{
    tine_job_options options = {
        .context = gates, .context_size = 2 * sizeof *gates, .retries = retries};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gates, &options, ""), 0);
    return future;
}

/* A pool of one worker that is busy until its gate is raised. */
struct busy {
    struct gate *gates[2], *calls, *never[2]; /* before the pool: its workers have them, too */
    tine_pool *pool;
    tine_future *running;
};

static struct busy busy_pool(void)
{
    struct busy busy = {
        .gates = {gate_new(), gate_new()}, .calls = gate_new(), .never = {gate_new(), gate_new()}};

    busy.pool = pool_of(1);
    busy.running = submit_gates(busy.pool, busy.gates, 0);
    gate_await(busy.gates[0], 1);
    return busy;
}

static void busy_release(struct busy *busy)
{
    gate_raise(busy->gates[1]);
    ck_assert_rc(tine_future_result(busy->running, TINE_FOREVER, NULL), 0);
}

static void busy_close(struct busy *busy)
{
    tine_future_close(busy->running);
    tine_pool_close(busy->pool);
}

static int count_call(tine_call *call)
{
    gate_raise(*(struct gate **)tine_call_context(call));
    return 0;
}

static tine_future *submit_count(tine_pool *pool, struct gate *calls)
{
    tine_job_options options = {.context = &calls, .context_size = sizeof calls};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, count_call, &options, ""), 0);
    return future;
}

/* Killed workers may take their time: then the call is the first to wait for them, for a second. */
static void assert_cancelled(tine_future *future)
{
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert(tine_future_done(future));
    ck_assert(tine_future_cancelled(future));
    ck_assert(!tine_future_running(future));
    ck_assert_rc(tine_future_wait(future, 0), 0);
    ck_assert_rc(tine_future_result(future, 0, NULL), -ECANCELED);
    ck_assert_rc(tine_future_exception(future, 0, &(tine_failure){0}), -ECANCELED);
    ck_assert_rc(tine_future_cancel(future, 0), 1);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
}

/* ---- what waits ------------------------------------------------------------------------------ */

TEST(a_cancelled_call_never_runs)
{
    struct busy busy = busy_pool();
    tine_future *first = submit_count(busy.pool, busy.calls),
                *second = submit_count(busy.pool, busy.calls);

    ck_assert(!tine_future_running(first));
    ck_assert(!tine_future_cancelled(first));
    ck_assert_rc(tine_future_cancel(first, 0), 1);
    ck_assert(tine_future_done(first));
    assert_cancelled(first);
    busy_release(&busy);
    ck_assert_rc(tine_future_result(second, TINE_FOREVER, NULL), 0);
    ck_assert_uint_eq(busy.calls->raised, 1);
    assert_cancelled(first);
    tine_future_close(first);
    tine_future_close(second);
    ck_assert_uint_eq(pool_counts(busy.pool).deaths, 0);
    busy_close(&busy);
}

TEST(a_cancelled_loop_never_runs)
{
    struct busy busy = busy_pool();
    struct tally *tally = tally_new(100);
    tine_failure failure = {0};
    tine_job_options options = {
        .context = &tally, .context_size = sizeof tally, .failure = &failure};
    tine_future *future;

    ck_assert_rc(tine_pool_for_async(&future, busy.pool, 100, tally_count, &options), 0);
    ck_assert(!tine_future_running(future));
    ck_assert_rc(tine_future_cancel(future, 0), 1);
    assert_cancelled(future);
    ck_assert_int_eq(failure.code, -ECANCELED);
    ck_assert_str_eq(failure.message, "the job was cancelled");
    busy_release(&busy);
    ck_assert_uint_eq(tally->calls, 0);
    tine_future_close(future);
    busy_close(&busy);
    tine_free(tally);
}

TEST(what_has_ended_cannot_be_cancelled)
{
    struct gate *calls = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_count(pool, calls), *empty;

    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 0);
    ck_assert(!tine_future_cancelled(future));
    ck_assert(!tine_future_running(future));
    ck_assert_rc(tine_future_result(future, 0, NULL), 0);
    ck_assert_rc(tine_pool_starmap_async(&empty, pool, count_call, &(tine_buffer){0}, NULL), 0);
    ck_assert_rc(tine_future_cancel(empty, 0), 0);
    tine_future_close(future);
    tine_future_close(empty);
    tine_pool_close(pool);
}

static void *wait_for_cancel(void *context)
{
    ck_assert_rc(tine_future_result(context, TINE_FOREVER, NULL), -ECANCELED);
    return NULL;
}

static void *wait_among_others(void *context)
{
    tine_waitable on = tine_future_waitable(context);

    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_rc(tine_future_result(context, TINE_FOREVER, NULL), -ECANCELED);
    return NULL;
}

TEST(all_who_wait_are_told, .loop_end = 2)
{
    struct busy busy = busy_pool();
    tine_future *future;
    pthread_t threads[4];

    if (loop_index == 1)
        busy_release(&busy);
    future = submit_gates(busy.pool, busy.never, TINE_UNLIMITED);
    if (loop_index == 1)
        gate_await(busy.never[0], 1);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i % 2 == 0 ? wait_for_cancel : wait_among_others, future),
                         0);
    ck_assert_eventually((future->job->state & (TINE__JOB_WAITED | TINE__JOB_WATCHED)) ==
                         (TINE__JOB_WAITED | TINE__JOB_WATCHED));
    ck_assert_rc(tine_future_cancel(future, loop_index == 1 ? TINE_CANCEL_RUNNING : 0), 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    if (loop_index == 0)
        busy_release(&busy);
    tine_future_close(future);
    busy_close(&busy);
}

/* Put up again by the nursery: no worker has it in hand. */
TEST(a_call_that_waits_to_run_again_is_cancelled)
{
    struct busy busy = busy_pool();
    tine_future *future = submit_count(busy.pool, busy.calls);
    struct tine__rest rest = {.end = 1, .attempts = 1};

    ck_assert_rc(tine__redo_put(busy.pool->shared, future->job, &rest), 0);
    ck_assert_rc(tine_future_cancel(future, 0), 1);
    assert_cancelled(future);
    ck_assert(!tine__redo_has(busy.pool->shared, future->job));
    busy_release(&busy);
    ck_assert_uint_eq(busy.calls->raised, 0);
    tine_future_close(future);
    busy_close(&busy);
}

/* ---- what runs ------------------------------------------------------------------------------- */

TEST(running_work_goes_on_unless_it_shall_be_stopped)
{
    struct busy busy = busy_pool();
    int64_t number = 0;

    ck_assert(tine_future_running(busy.running));
    ck_assert_rc(tine_future_cancel(busy.running, 0), 0);
    ck_assert(!tine_future_cancelled(busy.running));
    gate_raise(busy.gates[1]);
    ck_assert_rc(tine_future_result(busy.running, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 7);
    busy_close(&busy);
}

TEST(stopping_running_work_costs_one_worker, .loop_end = 2)
{
    struct gate *gates[2] = {gate_new(), gate_new()}, *never[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(2);
    tine_future *sibling = submit_gates(pool, gates, 0), *future;

    gate_await(gates[0], 1);
    future = submit_gates(pool, never, loop_index == 0 ? 0 : TINE_UNLIMITED);
    gate_await(never[0], 1);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    assert_cancelled(future);
    tine_future_close(future);
    future = submit_gates(pool, (struct gate *[]){never[1], gates[1]}, 0); /* takes its place */
    gate_await(never[1], 1);
    gate_raise(gates[1]);
    ck_assert_rc(tine_future_result(sibling, TINE_FOREVER, NULL), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    ck_assert_uint_eq(never[0]->raised, 1);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_future_close(sibling);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* Writes to its output until it is killed. */
static int scribble(const void *in, void *out, void *context)
{
    gate_raise(*(struct gate **)context);
    (void)in;
    for (;;)
        ++*(_Atomic uint32_t *)out;
    return 0;
}

TEST(a_loop_is_stopped_as_a_whole)
{
    struct gate *gate = gate_new();
    _Atomic uint32_t *out = tine_calloc(100, sizeof *out);
    tine_map map = {.item = scribble, .out = (void *)out, .out_size = 4, .n = 100};
    tine_job_options options = {
        .context = &gate, .context_size = sizeof gate, .chunk = 1, .retries = TINE_UNLIMITED};
    tine_pool *pool = pool_of(2);
    tine_future *future;
    uint32_t before[2];

    ck_assert_rc(tine_pool_map_async(&future, pool, &map, &options), 0);
    gate_await(gate, 2);
    ck_assert(tine_future_running(future));
    ck_assert_rc(tine_future_cancel(future, 0), 0);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    assert_cancelled(future);
    before[0] = out[0], before[1] = out[1];
    ck_assert_eventually(pool_counts(pool).alive == 2);
    ck_assert_uint_eq(out[0], before[0]);
    ck_assert_uint_eq(out[1], before[1]);
    ck_assert_uint_eq(gate->raised, 2);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free((void *)out);
}

TEST(workers_that_are_killed_in_a_row_are_replaced_at_once)
{
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(1);

    for (uint32_t i = 1; i <= 40; i++) {
        tine_future *future = submit_gates(pool, gates, 0);

        gate_await(gates[0], i);
        ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
        assert_cancelled(future);
        tine_future_close(future);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 40);
    tine_pool_close(pool);
}

/* ---- what is left ---------------------------------------------------------------------------- */

TEST(all_memory_comes_back)
{
    uint64_t blocks = heap_blocks();
    struct busy busy = busy_pool();
    tine_future *futures[6];

    for (int i = 0; i < 6; i++) {
        futures[i] = submit_count(busy.pool, busy.calls);
        ck_assert_rc(tine_future_cancel(futures[i], 0), 1);
        if (i % 2 == 0)
            ck_assert_rc(tine_future_result(futures[i], 0, NULL), -ECANCELED);
    }
    tine_future_close(futures[0]);
    tine_future_close(futures[1]);
    busy_release(&busy);
    tine_future_close(submit_count(busy.pool, busy.calls));
    gate_await(busy.calls, 1);
    tine_future_close(futures[2]);
    tine_future_close(futures[3]);
    ck_assert_uint_eq(pool_counts(busy.pool).submitted, 8);
    busy_close(&busy);
    assert_cancelled(futures[4]);
    assert_cancelled(futures[5]);
    tine_future_close(futures[4]);
    tine_future_close(futures[5]);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* Its ticket still leads to it. */
TEST(a_pool_that_is_closed_before_a_worker_has_passed_over_it)
{
    uint64_t blocks = heap_blocks();
    struct busy busy = busy_pool();
    tine_future *read = submit_count(busy.pool, busy.calls),
                *unread = submit_count(busy.pool, busy.calls);

    ck_assert_rc(tine_future_cancel(read, 0), 1);
    ck_assert_rc(tine_future_cancel(unread, 0), 1);
    ck_assert_rc(tine_future_wait(read, 0), 0);
    busy_close(&busy);
    assert_cancelled(read);
    assert_cancelled(unread);
    tine_future_close(read);
    tine_future_close(unread);
    ck_assert_uint_eq(busy.calls->raised, 0);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(ten_thousand_cancelled_futures)
{
    uint64_t blocks = heap_blocks();
    struct busy busy = busy_pool();
    tine_future **futures = calloc(10000, sizeof *futures);

    ck_assert_ptr_nonnull(futures);
    for (int i = 0; i < 10000; i++)
        futures[i] = submit_count(busy.pool, busy.calls);
    for (int i = 9999; i >= 0; i--)
        if (tine_future_cancel(futures[i], 0) != 1)
            ck_abort_msg("future %d", i);
    busy_release(&busy);
    for (int i = 0; i < 10000; i++)
        tine_future_close(futures[i]);
    ck_assert_rc(tine_pool_join(busy.pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(busy.calls->raised, 0);
    busy_close(&busy);
    free(futures);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- shutdown -------------------------------------------------------------------------------- */

TEST(a_pool_that_is_shut_down_does_what_it_has)
{
    struct busy busy = busy_pool();
    tine_future *future = submit_count(busy.pool, busy.calls), *refused;

    ck_assert_rc(tine_pool_shutdown(busy.pool, 0), 0);
    ck_assert_rc(tine_pool_submit(&refused, busy.pool, count_call, NULL, ""), -ESHUTDOWN);
    ck_assert_rc(tine_pool_join(busy.pool, 0), -EAGAIN);
    busy_release(&busy);
    ck_assert_rc(tine_pool_join(busy.pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_result(future, 0, NULL), 0);
    ck_assert_rc(tine_pool_shutdown(busy.pool, TINE_SHUTDOWN_CANCEL), 0);
    tine_future_close(future);
    busy_close(&busy);
}

static void *apply_in_thread(void *context)
{
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, context, count_call, NULL, ""), -ECANCELED);
    return NULL;
}

TEST(a_pool_that_is_shut_down_may_cancel_what_waits)
{
    struct busy busy = busy_pool();
    struct tally *tally = tally_new(10);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};
    tine_future *call = submit_count(busy.pool, busy.calls), *loop;
    pthread_t thread;

    ck_assert_rc(tine_pool_for_async(&loop, busy.pool, 10, tally_count, &options), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, apply_in_thread, busy.pool), 0);
    ck_assert_eventually(pool_counts(busy.pool).submitted == 4);
    ck_assert_rc(tine_pool_shutdown(busy.pool, TINE_SHUTDOWN_CANCEL), 0);
    pthread_join(thread, NULL);
    assert_cancelled(call);
    assert_cancelled(loop);
    busy_release(&busy);
    ck_assert_rc(tine_pool_join(busy.pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(busy.calls->raised + tally->calls, 0);
    tine_future_close(call);
    tine_future_close(loop);
    busy_close(&busy);
    tine_free(tally);
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void cancel_in_child(void *future)
{
    ck_assert_rc(tine_future_cancel(future, 0), TINE_EFORKED);
    ck_assert(!tine_future_cancelled(future));
    ck_assert(!tine_future_running(future));
    ck_assert_rc(tine_future_exception(future, 0, &(tine_failure){0}), TINE_EFORKED);
}

TEST(bad_arguments_are_refused)
{
    struct busy busy = busy_pool();
    struct child child = child_start(cancel_in_child, busy.running);

    child_join(&child);
    ck_assert_rc(tine_future_cancel(NULL, 0), -EINVAL);
    ck_assert_rc(tine_future_cancel(busy.running, 2), -EINVAL);
    ck_assert(!tine_future_cancelled(NULL));
    ck_assert(!tine_future_running(NULL));
    ck_assert_rc(tine_future_exception(busy.running, 0, NULL), -EINVAL);
    ck_assert_rc(tine_future_exception(busy.running, 0, &(tine_failure){0}), -EAGAIN);
    ck_assert_rc(tine_pool_shutdown(NULL, 0), -EINVAL);
    ck_assert_rc(tine_pool_shutdown(busy.pool, 2), -EINVAL);
    busy_release(&busy);
    busy_close(&busy);
}

SUITE_OF_POOLS("pool/cancel")
