/* SPDX-License-Identifier: MIT */
/* A pool with a thread of its own for callbacks: it runs them, all of them, and nobody else
   does. */
#include <tine/pool.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>

#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define MANY 200

static int wait_or_not(tine_call *call)
{
    struct gate **gate = tine_call_context(call);

    if (gate != NULL)
        gate_await(*gate, 1);
    return 0;
}

static tine_future *submit(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, wait_or_not, gate == NULL ? NULL : &options, ""),
                 0);
    return future;
}

static tine_pool *pool_with_thread(int32_t workers)
{
    tine_pool_options options = {
        .workers = workers, .flags = TINE_POOL_CALLBACK_THREAD, .kind = pools_kind()};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    return pool;
}

/* What the callbacks have seen. */
struct seen {
    struct gate *gate; /* raised by each */
    pthread_t thread;
    int others; /* calls that were not of the first one's thread */
    int count;
    bool open_signals;
};

static struct seen *seen_new(void)
{
    struct seen *seen = shared_memory(sizeof *seen);

    seen->gate = gate_new();
    return seen;
}

static void see(tine_future *future, void *user)
{
    struct seen *seen = user;
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ck_assert(tine_future_done(future));
    if (seen->count++ == 0)
        seen->thread = pthread_self();
    seen->others += !pthread_equal(seen->thread, pthread_self());
    seen->open_signals = seen->open_signals || !sigismember(&mask, SIGTERM);
    gate_raise(seen->gate);
}

TEST(callbacks_run_though_nobody_waits)
{
    tine_pool *pool = pool_with_thread(2);
    struct seen *seen = seen_new();

    for (int i = 0; i < MANY; i++) {
        tine_future *future = submit(pool, NULL);

        ck_assert_rc(tine_future_add_done_callback(future, see, seen), 0);
        tine_future_close(future);
    }
    gate_await(seen->gate, MANY);
    ck_assert_int_eq(seen->others, 0);
    ck_assert(!pthread_equal(seen->thread, pthread_self()));
    ck_assert(!seen->open_signals);
    tine_pool_close(pool);
}

TEST(who_waits_runs_none)
{
    tine_pool *pool = pool_with_thread(1);
    struct seen *seen = seen_new();
    tine_future *futures[20];

    for (int i = 0; i < 20; i++) {
        futures[i] = submit(pool, NULL);
        ck_assert_rc(tine_future_add_done_callback(futures[i], see, seen), 0);
    }
    for (int i = 0; i < 20; i++)
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, "n"), 0);
    ck_assert_rc(tine_pool_run(pool, 0), -EBUSY);
    gate_await(seen->gate, 20);
    ck_assert_int_eq(seen->others, 0);
    ck_assert(!pthread_equal(seen->thread, pthread_self()));
    for (int i = 0; i < 20; i++)
        tine_future_close(futures[i]);
    tine_pool_close(pool);
}

TEST(one_that_is_added_late_is_the_threads_too)
{
    tine_pool *pool = pool_with_thread(1);
    struct seen *seen = seen_new();
    tine_future *future = submit(pool, NULL);

    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        ck_assert_rc(tine_future_add_done_callback(future, see, seen), 0);
        gate_await(seen->gate, i);
    }
    ck_assert(!pthread_equal(seen->thread, pthread_self()));
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(after_the_end_they_run_at_once)
{
    tine_pool *pool = pool_with_thread(1);
    struct seen *seen = seen_new();
    tine_future *future = submit(pool, NULL);

    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_add_done_callback(future, see, seen), 0);
    ck_assert_int_eq(seen->count, 1);
    ck_assert(pthread_equal(seen->thread, pthread_self()));
    tine_future_close(future);
    tine_pool_close(pool);
}

enum { JOIN, CLOSE, TERMINATE, ENDS };

TEST(whatever_the_end_all_have_run_then, .loop_end = ENDS)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_with_thread(2);
    struct seen *seen = seen_new();

    for (int i = 0; i < 10; i++) {
        tine_future *future = submit(pool, gate);

        ck_assert_rc(tine_future_add_done_callback(future, see, seen), 0);
        tine_future_close(future);
    }
    if (loop_index == JOIN) {
        ck_assert_rc(tine_pool_join(pool, TINE_MS(1)), -ETIMEDOUT);
        gate_raise(gate);
        ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
        ck_assert_int_eq(seen->count, 10);
    }
    if (loop_index == TERMINATE)
        ck_assert_rc(tine_pool_terminate(pool), 0);
    tine_pool_close(pool);
    ck_assert_int_eq(seen->count, 10);
    ck_assert_int_eq(seen->others, 0);
}

static void terminate(tine_future *future, void *user)
{
    (void)future;
    ck_assert_rc(tine_pool_terminate(*(tine_pool **)user), 0);
}

TEST(a_callback_ends_the_pool)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_with_thread(2);
    tine_future *first = submit(pool, NULL), *other = submit(pool, gate);

    ck_assert_rc(tine_future_add_done_callback(first, terminate, &pool), 0);
    ck_assert_rc(tine_future_result(other, TINE_FOREVER, "n"), -ECANCELED);
    tine_future_close(first);
    tine_future_close(other);
    tine_pool_close(pool);
}

static void submit_next(tine_future *future, void *user)
{
    struct seen *seen = user;
    tine_pool *pool = *(tine_pool **)(seen + 1);

    see(future, seen);
    if (seen->count < 20) {
        future = submit(pool, NULL);
        ck_assert_rc(tine_future_add_done_callback(future, submit_next, seen), 0);
        tine_future_close(future);
    }
}

TEST(a_callback_submits_the_next)
{
    struct seen *seen = shared_memory(sizeof *seen + sizeof(tine_pool *));
    tine_pool *pool = pool_with_thread(1);
    tine_future *future = submit(pool, NULL);

    seen->gate = gate_new();
    memcpy(seen + 1, &pool, sizeof pool);
    ck_assert_rc(tine_future_add_done_callback(future, submit_next, seen), 0);
    tine_future_close(future);
    gate_await(seen->gate, 20);
    ck_assert_int_eq(seen->others, 0);
    tine_pool_close(pool);
}

static void raise_gate(tine_pool *pool, const tine_worker_exit *exit, void *user)
{
    (void)pool;
    if (exit->exit_status == 5) /* and not that of the next one, which is killed with the pool */
        gate_raise(user);
}

static int leave(tine_call *call)
{
    (void)call;
    _exit(5);
}

TEST(the_ends_of_workers_are_told_there)
{
    struct gate *gate = gate_new();
    tine_pool_options options = {.workers = 1,
                                 .flags = TINE_POOL_CALLBACK_THREAD,
                                 .kind = pools_kind(),
                                 .on_worker_exit = raise_gate,
                                 .on_worker_exit_user = gate};
    tine_future *future;
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, leave, NULL, ""), 0);
    gate_await(gate, 1);
    tine_future_close(future);
    tine_pool_terminate(pool);
    tine_pool_close(pool);
}

static void close_copy(void *pool)
{
    ck_assert_int_eq(proc_threads(), 1);
    ck_assert_rc(tine_pool_run(pool, 0), TINE_EFORKED);
    tine_pool_close(pool);
}

TEST(a_forked_child_closes_its_copy)
{
    tine_pool *pool = pool_with_thread(1);
    struct child child = child_start(close_copy, pool);

    child_join(&child);
    tine_pool_close(pool);
}

TEST(without_the_flag_there_is_no_thread)
{
    /* beside the first thread a sanitizer starts one of its own */
    tine_pool *first = pool_with_thread(1), *pool;
    int with_worker = proc_threads() + (pools_kind() == TINE_THREADS);

    pool = pool_of(1);
    ck_assert_int_eq(proc_threads(), with_worker);
    tine_pool_close(pool);
    pool = pool_with_thread(1);
    ck_assert_eventually(proc_threads() == with_worker + 1); /* a joined one may still be leaving */
    tine_pool_close(pool);
    tine_pool_close(first);
}

/* ---- no thread is to be had ------------------------------------------------------------------ */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *context);
static bool refuses;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *context)
{
    return refuses ? EAGAIN : __real_pthread_create(thread, attributes, body, context);
}

TEST(without_a_thread_there_is_no_pool)
{
    tine_pool_options options = {
        .workers = 2, .flags = TINE_POOL_CALLBACK_THREAD, .kind = pools_kind()};
    uint64_t blocks = heap_blocks();
    tine_pool *pool = NULL;

    refuses = true;
    ck_assert_rc(tine_pool_open(&pool, &options), -EAGAIN);
    refuses = false;
    ck_assert_ptr_null(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

SUITE_OF_POOLS("pool/caller")
