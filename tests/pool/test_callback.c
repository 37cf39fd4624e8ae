/* SPDX-License-Identifier: MIT */
/* Callbacks of futures: when, in which order, in which thread, and what they may do. */
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
    struct gate **gate = tine_call_context(call);
    int64_t number;
    int rc = tine_args(call, "q", &number);

    if (gate != NULL)
        gate_await(*gate, 1);
    return rc < 0 ? rc : tine_return(call, "q", number + 1);
}

static tine_future *submit(tine_pool *pool, struct gate *gate, int64_t number)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(
        tine_pool_submit(&future, pool, increment, gate == NULL ? NULL : &options, "q", number), 0);
    return future;
}

/* What callbacks have seen. */
struct log {
    int64_t numbers[64]; /* results, in the order of the calls; or codes */
    int count;
};

static void note(tine_future *future, void *user)
{
    struct log *log = user;
    int64_t number = 0;
    int rc = tine_future_result(future, 0, "q", &number);

    log->numbers[log->count++] = rc < 0 ? rc : number;
}

static void add(tine_future *future, tine_done_cb *callback, void *user)
{
    ck_assert_rc(tine_future_add_done_callback(future, callback, user), 0);
}

/* ---- when ------------------------------------------------------------------------------------ */

TEST(a_callback_runs_in_the_wait_for_its_future)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, gate, 1);
    struct log log = {.count = 0};

    add(future, note, &log);
    ck_assert_rc(tine_future_wait(future, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_int_eq(log.count, 0);
    gate_raise(gate);
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_int_eq(log.count, 1);
    ck_assert_int_eq(log.numbers[0], 2);
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_int_eq(log.count, 1);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_callback_runs_in_the_wait_for_another_future)
{
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(2);
    tine_future *future = submit(pool, gates[0], 1), *other = submit(pool, gates[1], 2);
    struct log log = {.count = 0};

    add(future, note, &log);
    gate_raise(gates[0]);
    while (log.count == 0)
        ck_assert_rc(tine_future_wait(other, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_int_eq(log.numbers[0], 2);
    gate_raise(gates[1]);
    ck_assert_rc(tine_future_wait(other, TINE_FOREVER), 0);
    tine_future_close(future);
    tine_future_close(other);
    tine_pool_close(pool);
}

/* The other is released by the callback: without it the wait would never end. */
static void raise_gate(tine_future *future, void *gate)
{
    ck_assert(tine_future_done(future));
    gate_raise(gate);
}

TEST(who_sleeps_for_another_future_is_woken_for_the_callback, .loop_end = 3)
{
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(2);
    tine_future *other = submit(pool, gates[1], 2), *future = submit(pool, gates[0], 1);
    tine_waitable on = tine_future_waitable(other);
    tine_results *results;

    add(future, raise_gate, gates[1]);
    gate_raise(gates[0]);
    if (loop_index == 0)
        ck_assert_rc(tine_future_wait(other, TINE_FOREVER), 0);
    else if (loop_index == 1)
        ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    else
        ck_assert_rc(tine_pool_apply(
                         &results, pool, increment,
                         &(tine_job_options){.context = &gates[1], .context_size = sizeof gates[1]},
                         "q", INT64_C(3)),
                     0);
    if (loop_index == 2)
        tine_results_close(results);
    tine_future_close(future);
    tine_future_close(other);
    tine_pool_close(pool);
}

TEST(a_callback_of_a_done_future_runs_at_once)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, NULL, 1), *empty;
    struct log log = {.count = 0};

    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    add(future, note, &log);
    ck_assert_int_eq(log.count, 1);
    ck_assert_rc(tine_pool_starmap_async(&empty, pool, increment, &(tine_buffer){0}, NULL), 0);
    add(empty, note, &log);
    ck_assert_int_eq(log.count, 2);
    tine_pool_close(pool);
    add(future, note, &log);
    ck_assert_int_eq(log.count, 3);
    ck_assert_int_eq(log.numbers[2], 2);
    tine_future_close(future);
    tine_future_close(empty);
}

TEST(join_and_close_run_all_callbacks, .loop_end = 3)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    struct log log = {.count = 0};
    tine_future *futures[3];

    for (int i = 0; i < 3; i++) {
        futures[i] = submit(pool, gate, i);
        add(futures[i], note, &log);
        if (i == 1)
            tine_future_close(futures[i]);
    }
    if (loop_index == 0) {
        gate_raise(gate);
        ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
        ck_assert_int_eq(log.count, 3);
    } else if (loop_index == 1) {
        ck_assert_ok(tine_pool_terminate(pool));
        ck_assert_int_eq(log.count, 0);
        ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), 3);
    }
    tine_pool_close(pool);
    ck_assert_int_eq(log.count, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(log.numbers[i], loop_index == 0 ? i + 1 : -ECANCELED);
    tine_future_close(futures[0]);
    tine_future_close(futures[2]);
}

TEST(cancelling_counts_as_an_end)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = submit(pool, gate, 1), *second = submit(pool, gate, 2);
    struct log log = {.count = 0};

    add(first, note, &log);
    add(second, note, &log);
    ck_assert_rc(tine_future_cancel(second, 0), 1);
    ck_assert_rc(tine_pool_run(pool, 0), 1);
    ck_assert_int_eq(log.numbers[0], -ECANCELED);
    gate_raise(gate);
    ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), 1);
    ck_assert_int_eq(log.numbers[1], 2);
    tine_future_close(first);
    tine_future_close(second);
    tine_pool_close(pool);
}

/* ---- in which order -------------------------------------------------------------------------- */

struct mark {
    struct log *log;
    int number;
};

static void note_mark(tine_future *future, void *user)
{
    struct mark *mark = user;

    ck_assert(tine_future_done(future));
    mark->log->numbers[mark->log->count++] = mark->number;
}

TEST(callbacks_of_one_future_run_in_the_order_of_adding)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, gate, 1);
    struct log log = {.count = 0};
    struct mark marks[20];

    for (int i = 0; i < 20; i++) {
        marks[i] = (struct mark){.log = &log, .number = i};
        if (i == 10) { /* done, but nobody has looked: the first ten run before the eleventh */
            gate_raise(gate);
            ck_assert_eventually(tine_future_done(future));
            ck_assert_int_eq(log.count, 0);
        }
        add(future, note_mark, &marks[i]);
    }
    ck_assert_int_eq(log.count, 20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(log.numbers[i], i);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void count(tine_future *future, void *user)
{
    ck_assert(tine_future_done(future));
    atomic_fetch_add((_Atomic int *)user, 1);
}

TEST(callbacks_may_be_added_in_any_order, .loop_end = 3)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(2);
    tine_future *futures[300];
    _Atomic int calls = 0;

    for (int i = 0; i < 300; i++)
        futures[i] = submit(pool, gate, i);
    for (int i = 0; i < 300; i++)
        add(futures[loop_index == 0 ? i : loop_index == 1 ? 299 - i : i * 7 % 300], count, &calls);
    gate_raise(gate);
    while (calls < 300)
        ck_assert_int_gt(tine_pool_run(pool, TINE_FOREVER), 0);
    for (int i = 0; i < 300; i++)
        tine_future_close(futures[i]);
    ck_assert_rc(tine_pool_run(pool, 0), 0);
    tine_pool_close(pool);
}

/* ---- what they may do ------------------------------------------------------------------------ */

static void close_it(tine_future *future, void *user)
{
    note(future, user);
    tine_future_close(future);
}

TEST(a_future_is_closed_in_or_before_its_callback)
{
    uint64_t blocks = heap_blocks();
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *in = submit(pool, gate, 1), *before = submit(pool, gate, 2);
    struct log log = {.count = 0};

    add(in, close_it, &log);
    add(in, note, &log); /* and runs after that */
    add(before, note, &log);
    tine_future_close(before);
    gate_raise(gate);
    while (log.count < 3)
        ck_assert_int_gt(tine_pool_run(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(log.numbers[0], 2);
    ck_assert_int_eq(log.numbers[1], 2);
    ck_assert_int_eq(log.numbers[2], 3);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

struct chain {
    tine_pool *pool;
    bool ended;
};

static void submit_more(tine_future *future, void *user)
{
    struct chain *chain = user;
    int64_t number;

    ck_assert_rc(tine_future_result(future, 0, "q", &number), 0);
    tine_future_close(future);
    chain->ended = number == 50;
    if (!chain->ended)
        add(submit(chain->pool, NULL, number), submit_more, chain); /* may run it at once */
    else
        ck_assert_ok(tine_pool_shutdown(chain->pool, 0));
}

TEST(a_callback_may_submit_and_shut_down)
{
    struct chain chain = {.pool = pool_of(2)};

    add(submit(chain.pool, NULL, 0), submit_more, &chain);
    while (!chain.ended)
        ck_assert_int_ge(tine_pool_run(chain.pool, TINE_FOREVER), 1);
    ck_assert_rc(tine_pool_join(chain.pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(chain.pool).submitted, 50);
    tine_pool_close(chain.pool);
}

static void wait_and_terminate(tine_future *future, void *user)
{
    tine_pool *pool = *(tine_pool **)user;
    tine_future *other = submit(pool, NULL, 10);
    int64_t number;

    ck_assert(tine_future_done(future));
    ck_assert_rc(tine_future_result(other, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 11);
    tine_future_close(other);
    ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), -EDEADLK);
    ck_assert_ok(tine_pool_terminate(pool));
}

TEST(a_callback_may_wait_and_terminate)
{
    struct gate *never = gate_new();
    tine_pool *pool = pool_of(2);
    tine_future *stuck = submit(pool, never, 1), *future = submit(pool, NULL, 1);

    add(future, wait_and_terminate, &pool);
    ck_assert_rc(tine_future_result(stuck, TINE_FOREVER, NULL), -ECANCELED);
    tine_future_close(stuck);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void add_another(tine_future *future, void *user)
{
    struct log *log = user;

    if (log->count++ < 5)
        add(future, add_another, user);
}

TEST(a_callback_may_add_another)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, NULL, 1);
    struct log log = {.count = 0};

    add(future, add_another, &log);
    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_int_eq(log.count, 6);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- tine_pool_run --------------------------------------------------------------------------- */

TEST(run_waits_for_a_callback_and_no_longer)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, gate, 1);
    struct log log = {.count = 0};
    int64_t before = tine__now_ns();

    ck_assert_rc(tine_pool_run(pool, 0), 0);
    add(future, note, &log);
    ck_assert_rc(tine_pool_run(pool, TINE_MS(60)), 0);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(60));
    gate_raise(gate);
    ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), 1);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), -ESHUTDOWN);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_pool_with_callbacks_is_waited_for_among_others)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_waitable on = tine_pool_waitable(pool);
    tine_future *future = submit(pool, gate, 1);
    struct log log = {.count = 0};
    int fd = tine_waitable_fd(&on);

    ck_assert_ok(fd);
    add(future, note, &log);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(1)), 0);
    gate_raise(gate);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_int_eq(log.count, 0);
    ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
    ck_assert_rc(tine_pool_run(pool, 0), 1);
    ck_assert_rc(tine_wait(&on, 1, 0), 0);
    tine_waitable_close(fd);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void *run_until_shut(void *pool)
{
    int rc;

    do
        rc = tine_pool_run(pool, TINE_FOREVER);
    while (rc >= 0);
    ck_assert_rc(rc, -ESHUTDOWN);
    return NULL;
}

/* A thread of one's own for the callbacks, and others that add, wait, and so run some as well. */
static void *submit_and_count(void *context)
{
    struct {
        tine_pool *pool;
        _Atomic int calls;
    } *shared = context;

    for (int i = 0; i < 200; i++) {
        tine_future *future = submit(shared->pool, NULL, i);

        add(future, count, &shared->calls);
        if (i % 3 == 0)
            ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
        tine_future_close(future);
    }
    return NULL;
}

TEST(each_callback_runs_once_whatever_threads_there_are)
{
    uint64_t blocks = heap_blocks();
    struct {
        tine_pool *pool;
        _Atomic int calls;
    } shared = {.pool = pool_of(2)};
    pthread_t threads[6];

    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i < 2 ? run_until_shut : submit_and_count,
                                        i < 2 ? (void *)shared.pool : &shared),
                         0);
    for (int i = 2; i < 6; i++)
        pthread_join(threads[i], NULL);
    ck_assert_rc(tine_pool_join(shared.pool, TINE_FOREVER), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(shared.calls, 800);
    tine_pool_close(shared.pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- results of the caller's ----------------------------------------------------------------- */

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    gate_await(*(struct gate **)context, 1);
    *(uint64_t *)accumulator += end - begin;
    return 0;
}

static void add_parts(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static void note_code(tine_future *future, void *user)
{
    struct log *log = user;

    log->numbers[log->count++] = tine_future_result(future, 0, NULL);
}

/* Whoever closes a future first does not want its accumulator written, nor its failure. */
TEST(nothing_is_brought_to_who_has_closed_the_future)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_failure failure = {0};
    tine_job_options options = {.context = &gate, .context_size = sizeof gate, .failure = &failure};
    struct log log = {.count = 0};
    uint64_t sum = 0;
    tine_future *future;

    ck_assert_rc(
        tine_pool_reduce_async(&future, pool, 8, add_range, add_parts, &sum, sizeof sum, &options),
        0);
    add(future, note_code, &log);
    tine_future_close(future);
    gate_raise(gate);
    ck_assert_rc(tine_pool_run(pool, TINE_FOREVER), 1);
    ck_assert_int_eq(log.numbers[0], 0);
    ck_assert_uint_eq(sum, 0);
    ck_assert_int_eq(failure.code, 0);
    tine_pool_close(pool);
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void add_in_child(void *future)
{
    ck_assert_rc(tine_future_add_done_callback(future, note, NULL), TINE_EFORKED);
}

TEST(bad_arguments_are_refused)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = submit(pool, NULL, 1);
    struct child child = child_start(add_in_child, future);
    tine_waitable on = tine_pool_waitable(NULL);

    child_join(&child);
    ck_assert_rc(tine_future_add_done_callback(NULL, note, NULL), -EINVAL);
    ck_assert_rc(tine_future_add_done_callback(future, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_run(NULL, 0), -EINVAL);
    ck_assert_rc(tine_wait(&on, 1, 0), -EINVAL);
    tine_future_close(future);
    tine_pool_close(pool);
    ck_assert_rc(tine_pool_run(pool, 0), -EBADF);
}

SUITE_OF_POOLS("pool/callback")
