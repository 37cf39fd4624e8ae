/* SPDX-License-Identifier: MIT */
/* What is different where the workers are threads of the program, or nobody. */
#include <tine/pool.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tine/process.h>
#include <tine/worker.h>

#include "lib/sys.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KINDS 2

static int32_t kind_of(int loop_index)
{
    return loop_index == 0 ? TINE_THREADS : TINE_INLINE;
}

static tine_pool *pool_with(tine_pool_options options)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    return pool;
}

static tine_pool *threads(int32_t workers)
{
    return pool_with((tine_pool_options){.workers = workers, .kind = TINE_THREADS});
}

/* ---- where tasks run ------------------------------------------------------------------------- */

static int tell_place(tine_call *call)
{
    return tine_return(call, "[iiii]", getpid(), tine__sys_gettid(), tine_worker_index(),
                       tine_worker_count());
}

struct where {
    int32_t pid, tid, index, count;
};

static struct where ask_place(tine_pool *pool)
{
    tine_results *results;
    struct where where;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_place, NULL, ""), 0);
    ck_assert_rc(
        tine_results_get(results, 0, "[iiii]", &where.pid, &where.tid, &where.index, &where.count),
        0);
    tine_results_close(results);
    return where;
}

TEST(threads_run_in_the_program_beside_the_caller)
{
    tine_pool *pool = threads(3);
    struct where where = ask_place(pool);

    ck_assert_int_eq(where.pid, getpid());
    ck_assert_int_ne(where.tid, tine__sys_gettid());
    ck_assert_int_ge(where.index, 0);
    ck_assert_int_lt(where.index, 3);
    ck_assert_int_eq(where.count, 3);
    ck_assert_int_eq(tine_worker_index(), -1);
    tine_pool_close(pool);
}

TEST(an_inline_job_runs_in_its_caller_and_is_done_when_it_is_submitted)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 3, .kind = TINE_INLINE});
    struct where where = ask_place(pool);
    tine_future *future;

    ck_assert_int_eq(where.pid, getpid());
    ck_assert_int_eq(where.tid, tine__sys_gettid());
    ck_assert_int_eq(where.index, 0);
    ck_assert_int_eq(where.count, 1);
    ck_assert_int_eq(tine_worker_index(), -1);
    ck_assert_rc(tine_pool_submit(&future, pool, tell_place, NULL, ""), 0);
    ck_assert(tine_future_done(future));
    tine_future_close(future);
    tine_pool_close(pool);
}

static tine_pool *outer;

/* In a task: the pool may be used from within. */
static int submit_deeper(tine_call *call)
{
    tine_results *results;
    int64_t depth, below = 0;
    int rc = tine_args(call, "q", &depth);

    if (rc < 0 || depth == 0)
        return rc < 0 ? rc : tine_return(call, "q", INT64_C(0));
    rc = tine_pool_apply(&results, outer, submit_deeper, NULL, "q", depth - 1);
    if (rc < 0)
        return rc;
    rc = tine_results_get(results, 0, "q", &below);
    tine_results_close(results);
    ck_assert_int_eq(tine_worker_index(), 0);
    return rc < 0 ? rc : tine_return(call, "q", below + 1);
}

TEST(an_inline_job_may_submit_to_its_pool)
{
    tine_results *results;
    int64_t depth;

    outer = pool_with((tine_pool_options){.kind = TINE_INLINE});
    ck_assert_rc(tine_pool_apply(&results, outer, submit_deeper, NULL, "q", INT64_C(5)), 0);
    ck_assert_rc(tine_results_get(results, 0, "q", &depth), 0);
    ck_assert_int_eq(depth, 5);
    tine_results_close(results);
    tine_pool_close(outer);
}

static int check_mask(tine_call *call)
{
    sigset_t mask;

    (void)call;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&mask, SIGSEGV), 0);
    return 0;
}

TEST(signals_are_for_the_programs_own_threads)
{
    tine_pool *pool = threads(1);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, check_mask, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* ---- what runs cannot be stopped ------------------------------------------------------------- */

/* Its context: it raises the first gate, and ends when the second is raised. */
static int run_between(tine_call *call)
{
    struct gate **gates = tine_call_context(call);

    gate_raise(gates[0]);
    gate_await(gates[1], 1);
    return tine_return(call, "q", INT64_C(7));
}

struct scene {
    struct gate *gates[2];
    tine_job_options options;
    tine_pool *pool;
    uint64_t blocks;
};

static void scene_open(struct scene *scene)
{
    scene->blocks = heap_blocks();
    scene->gates[0] = gate_new();
    scene->gates[1] = gate_new();
    scene->options =
        (tine_job_options){.context = scene->gates, .context_size = sizeof scene->gates};
    scene->pool = threads(1);
}

static tine_future *run_one(struct scene *scene)
{
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, scene->pool, run_between, &scene->options, ""), 0);
    gate_await(scene->gates[0], 1);
    return future;
}

/* What ran goes on to its end, and its thread is there for others. */
static void scene_close(struct scene *scene)
{
    gate_raise(scene->gates[1]);
    (void)ask_place(scene->pool);
    ck_assert_uint_eq(pool_counts(scene->pool).deaths, 0);
    tine_pool_close(scene->pool);
    ck_assert_uint_eq(heap_blocks(), scene->blocks);
}

TEST(a_running_call_that_is_cancelled_is_over_for_who_waits)
{
    struct scene scene;
    tine_future *future;

    scene_open(&scene);
    future = run_one(&scene);
    ck_assert_rc(tine_future_cancel(future, 0), 0);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    ck_assert(tine_future_cancelled(future));
    tine_future_close(future);
    scene_close(&scene);
}

TEST(a_call_that_takes_too_long_is_over_for_who_waits)
{
    struct scene scene;
    tine_results *results = NULL;

    scene_open(&scene);
    scene.options.timeout_ns = TINE_MS(20);
    ck_assert_rc(tine_pool_apply(&results, scene.pool, run_between, &scene.options, ""),
                 -ETIMEDOUT);
    ck_assert_ptr_null(results);
    scene_close(&scene);
}

static int loop_between(size_t begin, size_t end, void *context)
{
    struct gate **gates = context;

    (void)begin, (void)end;
    gate_raise(gates[0]);
    gate_await(gates[1], 1);
    return 0;
}

TEST(a_loop_starts_nothing_more_once_it_is_cancelled)
{
    struct scene scene;
    tine_future *future;

    scene_open(&scene);
    scene.options.chunk = 1;
    ck_assert_rc(tine_pool_for_async(&future, scene.pool, 100, loop_between, &scene.options), 0);
    gate_await(scene.gates[0], 1);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    gate_raise(scene.gates[1]);
    (void)ask_place(scene.pool);
    ck_assert_uint_eq(atomic_load(&scene.gates[0]->raised), 1);
    tine_future_close(future);
    scene_close(&scene);
}

TEST(terminate_does_not_wait_and_join_does)
{
    struct scene scene;
    tine_future *running, *waiting;

    scene_open(&scene);
    running = run_one(&scene);
    ck_assert_rc(tine_pool_submit(&waiting, scene.pool, tell_place, NULL, ""), 0);
    ck_assert_rc(tine_pool_terminate(scene.pool), 0);
    ck_assert_rc(tine_future_result(running, TINE_FOREVER, NULL), -ECANCELED);
    ck_assert_rc(tine_future_result(waiting, TINE_FOREVER, NULL), -ECANCELED);
    tine_future_close(waiting);
    ck_assert_rc(tine_pool_join(scene.pool, TINE_MS(10)), -ETIMEDOUT);
    gate_raise(scene.gates[1]);
    ck_assert_rc(tine_pool_join(scene.pool, TINE_FOREVER), 0);
    tine_pool_close(scene.pool);
    tine_future_close(running);
    ck_assert_uint_eq(heap_blocks(), scene.blocks);
}

/* ---- limits ---------------------------------------------------------------------------------- */

TEST(what_would_take_a_kill_is_refused, .loop_end = KINDS)
{
    int32_t kind = kind_of(loop_index);
    tine_pool *pool = NULL;
    tine_future *future = NULL;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = kind, .task_kill_ns = 1}),
                 -ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = kind, .stop_signal = SIGUSR1}),
                 -ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = kind, .idle_timeout_ns = 1}),
                 -ENOTSUP);
    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.kind = kind, .sandbox = &(tine_sandbox){0}}),
        -ENOTSUP);
    pool = pool_with((tine_pool_options){.workers = 2, .kind = kind});
    ck_assert_rc(
        tine_pool_submit(&future, pool, tell_place, &(tine_job_options){.task_kill_ns = 1}, ""),
        -ENOTSUP);
    ck_assert_rc(tine_pool_resize(pool, 1), -ENOTSUP);
    tine_pool_close(pool);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = 3}), -EINVAL);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = -1}), -EINVAL);
}

static int run_until_told(tine_call *call)
{
    (void)call;
    while (!tine_should_stop())
        tine__cpu_relax();
    return 0;
}

TEST(a_program_without_tine_init_can_only_be_forked)
{
    tine_pool *pool = NULL;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = TINE_SPAWN}), -ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = TINE_FORKSERVER}), -ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = 4}), -EINVAL);
    ck_assert_ptr_null(pool);
}

TEST(a_soft_limit_is_told, .loop_end = KINDS)
{
    tine_pool *pool = pool_with((tine_pool_options){
        .workers = 1, .kind = kind_of(loop_index), .task_timeout_ns = TINE_MS(5)});
    tine_results *results;

    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_pool_apply(&results, pool, run_until_told, NULL, ""), 0);
        tine_results_close(results);
    }
    ck_assert(!tine_should_stop());
    tine_pool_close(pool);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int write_to_it(tine_call *call)
{
    int fd, rc = tine_args(call, "F", &fd);

    if (rc < 0)
        return rc;
    return write(fd, "x", 1) == 1 ? 0 : -errno;
}

TEST(a_descriptor_is_an_argument_like_others, .loop_end = KINDS)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .kind = kind_of(loop_index)});
    tine_results *results;
    char text[10];
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_rc(tine_pool_apply(&results, pool, write_to_it, NULL, "F", ends[1]), 0);
        tine_results_close(results);
    }
    close(ends[1]);
    for (ssize_t n = 0, size = 1; size > 0; n += size) { /* to the end: nobody holds it any more */
        size = read(ends[0], text + n, sizeof text - (size_t)n);
        ck_assert_int_eq(size, n == 0 ? 5 : 0);
    }
    close(ends[0]);
    tine_pool_close(pool);
}

/* ---- first and last -------------------------------------------------------------------------- */

static _Atomic int begun, ended, exits;

static int begin(void *context, void **state)
{
    ck_assert_str_eq(context, "context");
    *state = (char *)"state";
    atomic_fetch_add(&begun, 1);
    return 0;
}

static void end(void *context, void *state)
{
    ck_assert_str_eq(context, "context");
    ck_assert_str_eq(state, "state");
    atomic_fetch_add(&ended, 1);
}

static void count_exit(tine_pool *pool, const tine_worker_exit *worker, void *user)
{
    (void)pool, (void)user;
    ck_assert_int_eq(worker->asked, 1);
    ck_assert_int_eq(worker->pid, getpid());
    exits++;
}

static int return_state(tine_call *call)
{
    return tine_return(call, "s", tine_worker_state());
}

TEST(workers_have_a_first_and_a_last_thing_to_do, .loop_end = KINDS)
{
    int workers = loop_index == 0 ? 3 : 1;
    tine_results *results;
    const char *state;
    tine_pool *pool = pool_with((tine_pool_options){.workers = workers,
                                                    .kind = kind_of(loop_index),
                                                    .initializer = begin,
                                                    .finalizer = end,
                                                    .context = "context",
                                                    .context_size = sizeof "context",
                                                    .on_worker_exit = count_exit});

    ck_assert_rc(tine_pool_apply(&results, pool, return_state, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "s", &state), 0);
    ck_assert_str_eq(state, "state");
    tine_results_close(results);
    ck_assert_ptr_null(tine_worker_state());
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(begun, workers);
    ck_assert_int_eq(ended, workers);
    ck_assert_int_eq(exits, loop_index == 0 ? workers : 0);
    tine_pool_close(pool);
    ck_assert_int_eq(ended, workers);
}

static int fail_to_begin(void *context, void **state)
{
    (void)context, (void)state;
    return tine_worker_fail(-ENOENT, "there is no %s", "table");
}

TEST(who_cannot_begin_breaks_the_pool, .loop_end = KINDS)
{
    tine_pool *pool = pool_with((tine_pool_options){
        .workers = 3, .kind = kind_of(loop_index), .initializer = fail_to_begin});
    tine_results *results = NULL;
    tine_failure failure;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_place, NULL, ""), TINE_EBROKEN);
    ck_assert_rc(tine_pool_failure(pool, &failure), 1);
    ck_assert_int_eq(failure.error, -ENOENT);
    ck_assert_str_eq(failure.message, "there is no table");
    tine_pool_close(pool);
}

/* ---- threads that end themselves ------------------------------------------------------------- */

/* The first `times` of them end their threads. */
static int end_thread(tine_call *call)
{
    _Atomic int *times = *(_Atomic int **)tine_call_context(call);

    if (atomic_fetch_sub(times, 1) > 0)
        pthread_exit(NULL);
    return tell_place(call);
}

static int apply_end(tine_pool *pool, int times, int32_t retries, tine_failure *failure)
{
    _Atomic int left = times, *where = &left;
    tine_job_options options = {
        .context = &where, .context_size = sizeof where, .retries = retries, .failure = failure};
    tine_results *results;
    int rc = tine_pool_apply(&results, pool, end_thread, &options, "");

    if (rc == 0)
        tine_results_close(results);
    return rc;
}

static void count_ends(tine_pool *pool, const tine_worker_exit *worker, void *user)
{
    (void)pool;
    ck_assert_int_eq(worker->exit_status, 0);
    *(int *)user += !worker->asked;
}

TEST(a_task_that_ends_its_thread_fails_alone)
{
    int ends = 0;
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1,
                                                    .kind = TINE_THREADS,
                                                    .on_worker_exit = count_ends,
                                                    .on_worker_exit_user = &ends});
    int32_t before = ask_place(pool).tid;
    tine_failure failure;
    char message[64];

    for (int i = 0; i < 3; i++)
        ck_assert_rc(apply_end(pool, 1, 0, &failure), TINE_EWORKER);
    snprintf(message, sizeof message, "worker 0 (pid %d) has ended its thread", getpid());
    ck_assert_str_eq(failure.message, message);
    ck_assert_int_ne(ask_place(pool).tid, before);
    ck_assert_uint_eq(pool_counts(pool).deaths, 3);
    ck_assert_int_eq(pool_counts(pool).alive, 1);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(ends, 3);
    tine_pool_close(pool);
}

TEST(a_task_that_ended_its_thread_runs_again)
{
    tine_pool *pool = threads(2);

    ck_assert_rc(apply_end(pool, 2, 2, NULL), 0);
    ck_assert_rc(apply_end(pool, 3, 2, NULL), TINE_EWORKER);
    tine_pool_close(pool);
}

static int end_at_seven(const void *in, void *out, void *context)
{
    (void)context;
    if (*(const int *)in == 7)
        pthread_exit(NULL);
    *(int *)out = *(const int *)in + 1;
    return 0;
}

TEST(of_a_loop_one_item_fails_with_its_thread)
{
    tine_pool *pool = threads(3);
    int in[100], out[100] = {0};
    tine_failure failure;
    tine_map map = {.item = end_at_seven,
                    .in = in,
                    .in_size = sizeof in[0],
                    .out = out,
                    .out_size = sizeof out[0],
                    .n = 100};

    for (int i = 0; i < 100; i++)
        in[i] = i;
    ck_assert_rc(tine_pool_map(pool, &map, &(tine_job_options){.failure = &failure}), TINE_EWORKER);
    ck_assert_uint_eq(failure.index, 7);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(out[i], i == 7 ? 0 : i + 1);
    tine_pool_close(pool);
}

TEST(of_calls_with_a_key_one_fails_with_its_thread)
{
    tine_pool *pool = threads(2);
    _Atomic int left = 1, *where = &left;
    tine_job_options options = {.context = &where, .context_size = sizeof where, .key = 1};
    tine_future *futures[10];

    for (int i = 0; i < 10; i++)
        ck_assert_rc(tine_pool_submit(&futures[i], pool, end_thread, &options, ""), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), i == 0 ? TINE_EWORKER : 0);
        tine_future_close(futures[i]);
    }
    tine_pool_close(pool);
}

static int end_at_begin(void *context, void **state)
{
    (void)context, (void)state;
    pthread_exit(NULL);
}

TEST(an_initializer_that_ends_its_thread_breaks_the_pool)
{
    tine_pool *pool = pool_with(
        (tine_pool_options){.workers = 2, .kind = TINE_THREADS, .initializer = end_at_begin});
    tine_results *results = NULL;
    tine_failure failure;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_place, NULL, ""), TINE_EBROKEN);
    ck_assert_rc(tine_pool_failure(pool, &failure), 1);
    ck_assert_ptr_nonnull(strstr(failure.message, "has ended its thread in its initializer"));
    tine_pool_close(pool);
}

static void end_at_end(void *context, void *state)
{
    (void)context, (void)state;
    pthread_exit(NULL);
}

TEST(a_finalizer_may_end_its_thread)
{
    tine_pool *pool =
        pool_with((tine_pool_options){.workers = 2, .kind = TINE_THREADS, .finalizer = end_at_end});

    (void)ask_place(pool);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void use_copy(void *pool)
{
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_place, NULL, ""), TINE_EFORKED);
    tine_pool_close(pool);
}

TEST(a_fork_of_the_program_has_none_of_the_threads, .loop_end = KINDS)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .kind = kind_of(loop_index)});
    struct child child = child_start(use_copy, pool);

    child_join(&child);
    (void)ask_place(pool);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/kinds")
