/* SPDX-License-Identifier: MIT */
/* Pools whose nursery is no fork of the program: who is whose child, what workers see, and who
   dies. */
#include <tine/pool.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/process.h>

#include "pool/forkserver.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define METHODS 2

static int32_t method_of(int loop_index)
{
    return loop_index == 0 ? TINE_SPAWN : TINE_FORKSERVER;
}

static tine_pool *pool_by(int32_t method, int32_t workers)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = workers, .start = method}),
                 0);
    return pool;
}

/* ---- who they are ---------------------------------------------------------------------------- */

static int global = 1;

static int tell(tine_call *call)
{
    return tine_return(call, "[iii]", getpid(), getppid(), global);
}

struct told {
    int32_t worker, nursery, global;
};

static struct told ask(tine_pool *pool)
{
    tine_results *results;
    struct told told;

    ck_assert_rc(tine_pool_apply(&results, pool, tell, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "[iii]", &told.worker, &told.nursery, &told.global),
                 0);
    tine_results_close(results);
    return told;
}

static pid_t parent_of(pid_t pid)
{
    struct proc proc;

    ck_assert(proc_read(pid, &proc));
    return proc.parent;
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z';
}

TEST(after_tine_init_the_forkserver_is_the_default)
{
    tine_pool *pool = pool_by(TINE_START_DEFAULT, 1);
    struct told told = ask(pool);
    struct proc server;

    ck_assert(proc_read(parent_of(told.nursery), &server));
    ck_assert_str_eq(server.name, "tine-forkserver");
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    tine_pool_close(pool);
}

TEST(a_spawned_nursery_is_a_child_of_the_program)
{
    tine_pool *pool = pool_by(TINE_SPAWN, 1);

    ck_assert_int_eq(parent_of(ask(pool).nursery), getpid());
    tine_pool_close(pool);
}

TEST(workers_have_the_globals_of_a_new_program, .loop_end = METHODS)
{
    tine_pool *pool;

    global = 2;
    pool = pool_by(method_of(loop_index), 2);
    ck_assert_int_eq(ask(pool).global, 1);
    tine_pool_close(pool);
}

TEST(a_pool_leaves_nothing_in_the_heap, .loop_end = METHODS)
{
    uint64_t blocks = heap_blocks();

    for (int i = 0; i < 3; i++)
        tine_pool_close(pool_by(method_of(loop_index), 2));
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- who dies -------------------------------------------------------------------------------- */

TEST(a_dead_worker_is_replaced, .loop_end = METHODS)
{
    tine_pool *pool = pool_by(method_of(loop_index), 1);
    struct told told = ask(pool);

    for (int i = 0; i < 3; i++) {
        pid_t before = told.worker;

        ck_assert_int_eq(kill(before, SIGKILL), 0);
        ck_assert_eventually(is_gone(before));
        told = ask(pool);
        ck_assert_int_ne(told.worker, before);
    }
    tine_pool_close(pool);
}

TEST(a_pool_whose_nursery_is_killed_is_broken, .loop_end = METHODS)
{
    tine_pool *pool = pool_by(method_of(loop_index), 2);
    struct told told = ask(pool);
    tine_results *results = NULL;

    ck_assert_int_eq(kill(told.nursery, SIGKILL), 0);
    ck_assert_eventually(is_gone(told.worker));
    ck_assert_rc(tine_pool_apply(&results, pool, tell, NULL, ""), TINE_EBROKEN);
    ck_assert_ptr_null(results);
    tine_pool_close(pool);
}

TEST(a_stopped_nursery_does_not_hold_up_the_end, .loop_end = METHODS)
{
    tine_pool *pool = pool_by(method_of(loop_index), 2);
    struct told told = ask(pool);

    ck_assert_int_eq(kill(told.nursery, SIGSTOP), 0);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_eventually(is_gone(told.worker));
    tine_pool_close(pool);
    ck_assert_eventually(is_gone(told.nursery));
}

/* In a child, for the runner's forkserver is that of all tests. */
static void lose_server(void *unused)
{
    tine_pool *pool;
    struct told told;
    pid_t server;

    (void)unused;
    tine__forkserver_forget();
    pool = pool_by(TINE_FORKSERVER, 1);
    told = ask(pool);
    server = parent_of(told.nursery);
    ck_assert_int_eq(kill(server, SIGKILL), 0);
    ck_assert_eventually(is_gone(server));
    ck_assert_int_eq(kill(told.worker, SIGKILL), 0);
    ck_assert_eventually(is_gone(told.worker));
    ck_assert_int_eq(ask(pool).nursery, told.nursery);
    tine_pool_close(pool);
    ck_assert_eventually(is_gone(told.nursery));
}

TEST(a_pool_goes_on_without_its_forkserver)
{
    struct child child = child_start(lose_server, NULL);

    child_join(&child);
}

struct scene {
    struct gate *gate;
    int32_t method;
    struct told told;
};

static void open_and_wait(void *context)
{
    struct scene *scene = context;
    tine_pool *pool = pool_by(scene->method, 2);

    scene->told = ask(pool);
    gate_raise(scene->gate);
    gate_await(scene->gate, 2);
}

TEST(a_killed_program_takes_them_along, .loop_end = METHODS)
{
    struct scene *scene = shared_memory(sizeof *scene);
    struct child child;

    *scene = (struct scene){.gate = gate_new(), .method = method_of(loop_index)};
    child = child_start(open_and_wait, scene);
    gate_await(scene->gate, 1);
    child_kill(&child);
    ck_assert_eventually(is_gone(scene->told.worker));
    ck_assert_eventually(is_gone(scene->told.nursery));
}

SUITE_WITH_INIT("pool/start")
