/* SPDX-License-Identifier: MIT */
/* The embedder's hooks, wherever tine makes processes: registered before tine_init(), and later. */
#include <tine/fork.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pool.h>

#include "tests/pool/processes.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KINDS 5 /* TINE_FORKED_…, and none */

/* This process's and, up to the fork, those of whom it is a fork of. */
static struct calls {
    int before[KINDS], in_parent[KINDS], in_child[KINDS];
} calls;

static int refused[KINDS]; /* so many forks of that kind */

static int before(void *context, int32_t what)
{
    ck_assert_ptr_eq(context, &calls);
    calls.before[what]++;
    return refused[what] > 0 && refused[what]-- > 0 ? -EBUSY : 0;
}

static void in_parent(void *context, int32_t what)
{
    (void)context;
    calls.in_parent[what]++;
    ck_assert_int_eq(calls.before[what], calls.in_parent[what]);
}

static void in_child(void *context, int32_t what)
{
    (void)context;
    calls.in_child[what]++;
}

/* ---- who calls what -------------------------------------------------------------------------- */

/* How many calls of `before` the process has seen is for its starter to say; -1: any number. */
static int check_process(tine_call *call)
{
    int32_t befores, servers;

    ck_assert_rc(tine_args(call, "ii", &befores, &servers), 0);
    ck_assert_int_eq(calls.in_child[TINE_FORKED_PROCESS], 1);
    ck_assert_int_eq(calls.in_child[TINE_FORKED_SERVER], servers);
    if (befores >= 0)
        ck_assert_int_eq(calls.before[TINE_FORKED_PROCESS], befores);
    else
        ck_assert_int_gt(calls.before[TINE_FORKED_PROCESS], 0);
    return 0;
}

static void run_process(int32_t start, int32_t befores, int32_t servers)
{
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, check_process,
                                    &(tine_process_options){.start = start}, "ii", befores,
                                    servers),
                 0);
    ck_assert_int_eq(process_end(process), 0);
}

TEST(who_forks_a_process_calls_them)
{
    run_process(TINE_FORK, 1, 0);
    ck_assert_int_eq(calls.before[TINE_FORKED_PROCESS], 1);
    run_process(TINE_FORK, 2, 0);
    ck_assert_int_eq(calls.in_parent[TINE_FORKED_PROCESS], 2);
    ck_assert_int_eq(calls.in_child[TINE_FORKED_PROCESS], 0);
}

TEST(an_executed_process_has_been_in_no_fork)
{
    run_process(TINE_SPAWN, 0, 0);
    ck_assert_int_eq(calls.before[TINE_FORKED_PROCESS], 0);
}

TEST(a_forkserver_calls_them_too)
{
    ck_assert_int_eq(calls.before[TINE_FORKED_SERVER], 1);
    ck_assert_int_eq(calls.in_parent[TINE_FORKED_SERVER], 1);
    run_process(TINE_FORKSERVER, -1, 1);
    ck_assert_int_eq(calls.before[TINE_FORKED_PROCESS], 0); /* not here */
}

static int check_worker(tine_call *call)
{
    (void)call;
    ck_assert_int_eq(calls.in_child[TINE_FORKED_PROCESS], 0);
    ck_assert_int_eq(calls.in_child[TINE_FORKED_NURSERY], 1);
    ck_assert_int_ge(calls.before[TINE_FORKED_WORKER], 1);
    ck_assert_int_eq(calls.in_parent[TINE_FORKED_WORKER], calls.before[TINE_FORKED_WORKER] - 1);
    ck_assert_int_eq(calls.in_child[TINE_FORKED_WORKER], 1);
    return 0;
}

static void run_in_pool(tine_pool *pool, int32_t retries)
{
    tine_job_options options = {.retries = retries};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, check_worker, &options, ""), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "n"), 0);
    tine_future_close(future);
}

static tine_pool *open_pool(int32_t workers)
{
    tine_pool *pool;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.workers = workers, .start = TINE_FORK}), 0);
    return pool;
}

TEST(nursery_and_workers_of_a_pool_have_them, .loop_end = START_METHODS)
{
    tine_pool_options options = {.workers = 2, .start = start_method(loop_index)};
    int nurseries = options.start == TINE_FORK;
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    for (int i = 0; i < 10; i++)
        run_in_pool(pool, 0);
    tine_pool_close(pool);
    ck_assert_int_eq(calls.before[TINE_FORKED_NURSERY], nurseries);
    ck_assert_int_eq(calls.in_parent[TINE_FORKED_NURSERY], nurseries);
    ck_assert_int_eq(calls.before[TINE_FORKED_WORKER], 0);
}

/* ---- hooks that refuse ----------------------------------------------------------------------- */

TEST(what_is_refused_is_not_started)
{
    tine_process *process = NULL;
    tine_pool *pool = NULL;

    refused[TINE_FORKED_PROCESS] = refused[TINE_FORKED_NURSERY] = 1;
    ck_assert_rc(tine_process_start(&process, check_process,
                                    &(tine_process_options){.start = TINE_FORK}, "ii", 0, 0),
                 -EBUSY);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = TINE_FORK}), -EBUSY);
    ck_assert_ptr_null(process);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(calls.in_parent[TINE_FORKED_PROCESS], 0);
}

static void refuse_worker(void *context, int32_t what)
{
    (void)context;
    if (what == TINE_FORKED_NURSERY) /* in which this runs */
        refused[TINE_FORKED_WORKER] = calls.in_parent[TINE_FORKED_WORKER] = 3;
}

TEST(a_worker_that_is_refused_is_tried_again)
{
    tine_pool *pool;

    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.after_in_child = refuse_worker}), 0);
    pool = open_pool(1);
    run_in_pool(pool, 0);
    tine_pool_close(pool);
}

/* ---- hooks that end their process ------------------------------------------------------------ */

static _Atomic int *exits; /* how often still; in the heap */

static void leave(void *context, int32_t what)
{
    (void)context;
    if (what != TINE_FORKED_NURSERY && atomic_fetch_sub(exits, 1) > 0)
        exit(9);
}

static void have_exits(int count)
{
    exits = tine_calloc(1, sizeof *exits);
    ck_assert_ptr_nonnull((void *)exits);
    atomic_store(exits, count);
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.after_in_child = leave}), 0);
}

TEST(a_hook_that_exits_ends_the_process)
{
    have_exits(1);
    ck_assert_int_eq(process_end(process_of(check_process, TINE_FORK)), 9);
    run_process(TINE_FORK, 2, 0);
    tine_free((void *)exits);
}

TEST(a_hook_that_exits_costs_a_worker)
{
    tine_pool *pool;
    tine_pool_counts counts;

    have_exits(3);
    pool = open_pool(1);
    run_in_pool(pool, 0);
    ck_assert_rc(tine_pool_stats(pool, &counts), 0);
    ck_assert_uint_eq(counts.deaths, 3);
    tine_pool_close(pool);
    tine_free((void *)exits);
}

/* ---- hooks that fork ------------------------------------------------------------------------- */

static int exit_four(tine_call *call)
{
    (void)call;
    exit(4);
}

static int start_another(void *context, int32_t what)
{
    (void)what;
    ck_assert_int_eq(process_end(process_of(exit_four, TINE_FORK)), 4);
    ++*(int *)context;
    return 0;
}

TEST(a_hook_may_start_processes)
{
    int started = 0;

    ck_assert_rc(
        tine_register_at_fork(&(tine_fork_hooks){.before = start_another, .context = &started}), 0);
    run_process(TINE_FORK, 1, 0);
    ck_assert_int_eq(started, 1);
    ck_assert_int_eq(calls.before[TINE_FORKED_PROCESS], 1);
}

static void fork_plainly(void *context, int32_t what)
{
    pid_t pid = fork();

    (void)context;
    (void)what;
    if (pid == 0)
        _exit(5);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

TEST(a_hook_may_fork_on_both_sides)
{
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.after_in_parent = fork_plainly,
                                                          .after_in_child = fork_plainly}),
                 0);
    run_process(TINE_FORK, 1, 0);
}

int main(int argc, char **argv)
{
    const tine_fork_hooks hooks = {.before = before,
                                   .after_in_parent = in_parent,
                                   .after_in_child = in_child,
                                   .context = &calls};

    if (tine_register_at_fork(&hooks) < 0 || tine_init(&argc, &argv) < 0)
        return 99;
    tine_free(tine_alloc(1));
    return suite_main("pool/at_fork", argc, argv);
}
