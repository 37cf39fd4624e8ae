/* SPDX-License-Identifier: MIT */
/* Waiting for one of many futures, for all, and for each in turn. */
#include <tine/future.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/clock.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Passes its gate, then returns the number, or fails where that is negative, or dies of it. */
static int pass_gate(tine_call *call)
{
    struct gate **gate = tine_call_context(call);
    int64_t number;
    int rc = tine_args(call, "q", &number);

    gate_await(*gate, 1);
    if (rc == 0 && number == -9)
        kill(getpid(), SIGKILL);
    if (rc == 0 && number < 0)
        return tine_fail(call, -EIO, "as told");
    return rc < 0 ? rc : tine_return(call, "q", number);
}

static tine_future *submit(tine_pool *pool, struct gate *gate, int64_t number)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gate, &options, "q", number), 0);
    return future;
}

/* Pools with futures that wait at gates: future i is of pool i % pools. */
#define FUTURES 6

struct scene {
    struct gate *gates[FUTURES];
    tine_pool *pools[2];
    tine_future *futures[FUTURES];
    int count; /* of pools */
};

static struct scene scene_open(int pools, const int64_t numbers[FUTURES])
{
    struct scene scene = {.count = pools};

    for (int i = 0; i < FUTURES; i++)
        scene.gates[i] = gate_new();
    for (int i = 0; i < pools; i++)
        scene.pools[i] = pool_of(FUTURES);
    for (int i = 0; i < FUTURES; i++)
        scene.futures[i] = submit(scene.pools[i % pools], scene.gates[i], numbers[i]);
    return scene;
}

static void scene_close(struct scene *scene)
{
    for (int i = 0; i < FUTURES; i++)
        gate_raise(scene->gates[i]);
    for (int i = 0; i < FUTURES; i++)
        tine_future_close(scene->futures[i]);
    for (int i = 0; i < scene->count; i++)
        tine_pool_close(scene->pools[i]);
}

static const int64_t good[FUTURES] = {0, 1, 2, 3, 4, 5};

static void *raise_it(void *gate)
{
    gate_raise(gate);
    return NULL;
}

static int wait_futures(struct scene *scene, int32_t when, int64_t timeout_ns)
{
    return tine_wait_futures(scene->futures, FUTURES, when, timeout_ns);
}

/* ---- tine_wait_futures ----------------------------------------------------------------------- */

TEST(the_first_that_is_done_ends_the_wait, .loop_end = 2)
{
    struct scene scene = scene_open(1 + loop_index, good);
    int64_t before = tine__now_ns();
    pthread_t thread;

    ck_assert_rc(wait_futures(&scene, TINE_FIRST_COMPLETED, 0), 0);
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_COMPLETED, TINE_MS(60)), 0);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(60));
    ck_assert_int_eq(pthread_create(&thread, NULL, raise_it, scene.gates[3]), 0);
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_COMPLETED, TINE_FOREVER), 1);
    ck_assert(tine_future_done(scene.futures[3]));
    ck_assert(!tine_future_done(scene.futures[0]));
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_COMPLETED, 0), 1);
    ck_assert_rc(wait_futures(&scene, TINE_ALL_COMPLETED, TINE_MS(1)), 1);
    pthread_join(thread, NULL);
    scene_close(&scene);
}

TEST(all_are_waited_for, .loop_end = 2)
{
    struct scene scene = scene_open(1 + loop_index, good);
    pthread_t threads[FUTURES];

    for (int i = 0; i < FUTURES; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, raise_it, scene.gates[i]), 0);
    ck_assert_rc(wait_futures(&scene, TINE_ALL_COMPLETED, TINE_FOREVER), FUTURES);
    for (int i = 0; i < FUTURES; i++) {
        ck_assert(tine_future_done(scene.futures[i]));
        pthread_join(threads[i], NULL);
    }
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_EXCEPTION, 0), FUTURES);
    scene_close(&scene);
}

TEST(the_first_that_fails_ends_the_wait, .loop_end = 4)
{
    const int64_t numbers[FUTURES] = {0, 1, loop_index % 2 == 0 ? -1 : -9, 3, 4, 5};
    struct scene scene = scene_open(1 + loop_index / 2, numbers);

    gate_raise(scene.gates[0]);
    ck_assert_rc(tine_future_wait(scene.futures[0], TINE_FOREVER), 0);
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_EXCEPTION, TINE_MS(1)), 1);
    gate_raise(scene.gates[2]);
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_EXCEPTION, TINE_FOREVER), 2);
    ck_assert_rc(tine_future_result(scene.futures[2], 0, NULL),
                 loop_index % 2 == 0 ? TINE_EREMOTE : TINE_EWORKER);
    scene_close(&scene);
}

/* Cancelled is done, but no exception. */
TEST(who_is_cancelled_has_not_failed)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *futures[3] = {submit(pool, gate, 1), submit(pool, gate, 2), submit(pool, gate, 3)};
    pthread_t thread;

    ck_assert_rc(tine_future_cancel(futures[2], 0), 1);
    ck_assert_rc(tine_wait_futures(futures, 3, TINE_FIRST_EXCEPTION, TINE_MS(1)), 1);
    ck_assert_rc(tine_wait_futures(futures, 3, TINE_FIRST_COMPLETED, TINE_FOREVER), 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, raise_it, gate), 0);
    ck_assert_rc(tine_wait_futures(futures, 3, TINE_FIRST_EXCEPTION, TINE_FOREVER), 3);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
}

static void *cancel_it(void *future)
{
    ck_assert_rc(tine_future_cancel(future, 0), 1);
    return NULL;
}

/* It lies behind one that nobody has claimed, and becomes over all the same. */
TEST(a_cancelled_one_is_found_wherever_it_stands)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *futures[3] = {submit(pool, gate, 1), submit(pool, gate, 2), submit(pool, gate, 3)};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_it, futures[2]), 0);
    ck_assert_rc(tine_wait_futures(futures, 3, TINE_FIRST_COMPLETED, TINE_FOREVER), 1);
    pthread_join(thread, NULL);
    gate_raise(gate);
    for (int i = 0; i < 3; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
}

TEST(each_future_counts_once)
{
    struct scene scene = scene_open(1, good);
    tine_future *twice[5] = {scene.futures[1], scene.futures[0], scene.futures[1], scene.futures[1],
                             scene.futures[0]};
    tine_as_completed *iterator;
    tine_future *future;

    gate_raise(scene.gates[0]);
    gate_raise(scene.gates[1]);
    ck_assert_rc(tine_wait_futures(twice, 5, TINE_ALL_COMPLETED, TINE_FOREVER), 2);
    ck_assert_rc(tine_wait_futures(twice, 5, TINE_FIRST_EXCEPTION, TINE_FOREVER), 2);
    ck_assert_rc(tine_as_completed_open(&iterator, twice, 5), 0);
    ck_assert_rc(tine_as_completed_next(iterator, 0, &future), 1);
    ck_assert_rc(tine_as_completed_next(iterator, 0, &future), 1);
    ck_assert_rc(tine_as_completed_next(iterator, 0, &future), 0);
    tine_as_completed_close(iterator);
    scene_close(&scene);
}

TEST(the_end_of_a_pool_ends_the_wait, .loop_end = 3)
{
    struct scene scene = scene_open(2, good);

    ck_assert_ok(tine_pool_terminate(scene.pools[1]));
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_COMPLETED, TINE_FOREVER), FUTURES / 2);
    if (loop_index == 0) {
        ck_assert_ok(tine_pool_terminate(scene.pools[0]));
    } else if (loop_index == 1) {
        tine_pool_close(scene.pools[0]);
        tine_pool_close(scene.pools[1]);
        scene.count = 0;
    } else {
        for (int i = 0; i < FUTURES; i++)
            gate_raise(scene.gates[i]);
    }
    ck_assert_rc(wait_futures(&scene, TINE_ALL_COMPLETED, TINE_FOREVER), FUTURES);
    ck_assert_rc(wait_futures(&scene, TINE_FIRST_EXCEPTION, TINE_FOREVER), FUTURES);
    scene_close(&scene);
}

/* ---- as completed ---------------------------------------------------------------------------- */

TEST(futures_come_as_they_are_completed, .loop_end = 2)
{
    static const int order[FUTURES] = {4, 0, 5, 2, 1, 3};
    struct scene scene = scene_open(1 + loop_index, good);
    tine_as_completed *iterator;
    tine_future *future = NULL;
    pthread_t thread;

    gate_raise(scene.gates[order[0]]);
    ck_assert_rc(tine_future_wait(scene.futures[order[0]], TINE_FOREVER), 0);
    ck_assert_rc(tine_as_completed_open(&iterator, scene.futures, FUTURES), 0);
    for (int i = 0; i < FUTURES; i++) {
        if (i > 0) {
            ck_assert_rc(tine_as_completed_next(iterator, 0, &future), -EAGAIN);
            ck_assert_rc(tine_as_completed_next(iterator, TINE_MS(1), &future), -ETIMEDOUT);
            ck_assert_int_eq(pthread_create(&thread, NULL, raise_it, scene.gates[order[i]]), 0);
        }
        ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 1);
        ck_assert_ptr_eq(future, scene.futures[order[i]]);
        if (i > 0)
            pthread_join(thread, NULL);
        tine_future_close(future);
        scene.futures[order[i]] = NULL;
    }
    ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 0);
    tine_as_completed_close(iterator);
    scene_close(&scene);
}

TEST(ten_thousand_futures_as_completed, .timeout_s = 60)
{
    size_t n = is_instrumented() ? 1000 : 10000;
    uint64_t blocks = heap_blocks();
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pools[2] = {pool_of(2), pool_of(1)};
    tine_future **futures = calloc(n, sizeof *futures), *future;
    tine_as_completed *iterator;
    bool *seen = calloc(n, sizeof *seen);
    int64_t number;

    gate_raise(gates[0]);
    for (size_t i = 0; i < n; i++) /* in an order of its own; the first one is the last */
        futures[i * 7 % n] = submit(pools[i % 2], gates[i == 0], (int64_t)i);
    ck_assert_rc(tine_as_completed_open(&iterator, futures, n), 0);
    for (size_t i = 0; i < n; i++) {
        ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 1);
        ck_assert_rc(tine_future_result(future, 0, "q", &number), 0);
        ck_assert(!seen[number]);
        seen[number] = true;
        ck_assert((number == 0) == (i == n - 1));
        tine_future_close(future);
        if (i == n - 2)
            gate_raise(gates[1]);
    }
    ck_assert_rc(tine_as_completed_next(iterator, 0, &future), 0);
    tine_as_completed_close(iterator);
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
    free(futures);
    free(seen);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(an_iterator_may_be_closed_early)
{
    struct scene scene = scene_open(2, good);
    tine_as_completed *iterator;

    ck_assert_rc(tine_as_completed_open(&iterator, scene.futures, FUTURES), 0);
    tine_as_completed_close(iterator);
    tine_as_completed_close(NULL);
    scene_close(&scene);
}

static void raise_next(tine_future *future, void *gate)
{
    ck_assert(tine_future_done(future));
    gate_raise(gate);
}

/* Each callback lets the next one through: the wait runs them. */
TEST(callbacks_run_while_one_waits, .loop_end = 4)
{
    struct scene scene = scene_open(1 + loop_index % 2, good);
    tine_future *last = scene.futures[FUTURES - 1];

    for (int i = 0; i + 1 < FUTURES; i++)
        ck_assert_rc(
            tine_future_add_done_callback(scene.futures[i], raise_next, scene.gates[i + 1]), 0);
    gate_raise(scene.gates[0]);
    if (loop_index < 2)
        ck_assert_rc(wait_futures(&scene, TINE_FIRST_EXCEPTION, TINE_FOREVER), FUTURES);
    else
        ck_assert_rc(wait_futures(&scene, TINE_ALL_COMPLETED, TINE_FOREVER), FUTURES);
    ck_assert(tine_future_done(last));
    scene_close(&scene);
}

/* One pool's is over, and its callback has yet to let the other pool's through. */
TEST(callbacks_of_what_is_over_run_while_one_waits_for_another_pool, .loop_end = 3)
{
    static const int32_t return_when[] = {TINE_ALL_COMPLETED, TINE_FIRST_EXCEPTION};
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pools[2] = {pool_of(1), pool_of(1)};
    tine_future *futures[2] = {submit(pools[0], gates[0], 0), submit(pools[1], gates[1], 1)};
    tine_as_completed *iterator;
    tine_future *future;

    ck_assert_rc(tine_future_add_done_callback(futures[0], raise_next, gates[1]), 0);
    gate_raise(gates[0]);
    ck_assert_eventually(tine_future_done(futures[0]));
    if (loop_index < 2) {
        ck_assert_rc(tine_wait_futures(futures, 2, return_when[loop_index], TINE_FOREVER), 2);
    } else {
        ck_assert_rc(tine_as_completed_open(&iterator, futures, 2), 0);
        ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 1);
        ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 1);
        tine_as_completed_close(iterator);
    }
    for (int i = 0; i < 2; i++) {
        tine_future_close(futures[i]);
        tine_pool_close(pools[i]);
    }
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void wait_in_child(void *context)
{
    struct scene *scene = context;
    tine_as_completed *iterator;

    ck_assert_rc(wait_futures(scene, TINE_FIRST_COMPLETED, 0), TINE_EFORKED);
    ck_assert_rc(tine_as_completed_open(&iterator, scene->futures, FUTURES), TINE_EFORKED);
}

TEST(bad_arguments_are_refused)
{
    struct scene scene = scene_open(1, good);
    tine_future *with_null[2] = {scene.futures[0], NULL}, *future;
    struct child child = child_start(wait_in_child, &scene);
    tine_as_completed *iterator;

    child_join(&child);
    ck_assert_rc(wait_futures(&scene, 3, 0), -EINVAL);
    ck_assert_rc(wait_futures(&scene, -1, 0), -EINVAL);
    ck_assert_rc(tine_wait_futures(NULL, 1, 0, 0), -EINVAL);
    ck_assert_rc(tine_wait_futures(with_null, 2, 0, 0), -EINVAL);
    ck_assert_rc(tine_wait_futures(NULL, 0, TINE_ALL_COMPLETED, TINE_FOREVER), 0);
    ck_assert_rc(tine_wait_futures(NULL, 0, TINE_FIRST_COMPLETED, TINE_FOREVER), 0);
    ck_assert_rc(tine_as_completed_open(NULL, scene.futures, 1), -EINVAL);
    ck_assert_rc(tine_as_completed_open(&iterator, with_null, 2), -EINVAL);
    ck_assert_rc(tine_as_completed_next(NULL, 0, &future), -EINVAL);
    ck_assert_rc(tine_as_completed_open(&iterator, NULL, 0), 0);
    ck_assert_rc(tine_as_completed_next(iterator, 0, NULL), -EINVAL);
    ck_assert_rc(tine_as_completed_next(iterator, TINE_FOREVER, &future), 0);
    tine_as_completed_close(iterator);
    scene_close(&scene);
}

SUITE_OF_POOLS("pool/completed")
