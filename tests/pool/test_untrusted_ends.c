/* SPDX-License-Identifier: MIT */
/* How the guests of untrusted workers end: by dying, by leaving, or by neither. */
#include <tine/pool.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/fork.h>
#include <tine/worker.h>

#include "pool/guest.h"
#include "tests/pool/pools.h"
#include "tests/pool/untrusted.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- deaths ---------------------------------------------------------------------------------- */

static int end_somehow(tine_call *call)
{
    int64_t how;
    int rc = tine_args(call, "q", &how);

    if (rc < 0)
        return rc;
    if (how < 0)
        exit((int)-how);
    raise((int)how);
    return rc;
}

TEST(its_death_fails_the_item_and_no_other)
{
    static const int64_t ends[] = {SIGKILL, SIGABRT, SIGSEGV, SIGTERM, -3, -1};
    tine_pool *pool = open_untrusted(2);
    tine_failure failure;
    int64_t unused;

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        ck_assert_rc(apply(pool, end_somehow, ends[i], &failure, &unused), TINE_EWORKER);
        if (!is_instrumented()) /* which handle some signals, and then exit */
            ck_assert_int_eq(ends[i] > 0 ? failure.signal : -failure.exit_status, ends[i]);
        assert_works(pool);
    }
    tine_pool_close(pool);
}

static int hang(tine_call *call)
{
    static struct gate never; /* its own */

    (void)call;
    gate_await(&never, 1);
    return 0;
}

/* Whoever reads from it finds its end, but nobody has died. */
static int close_and_hang(tine_call *call)
{
    close(TINE__GUEST_SOCKET);
    return hang(call);
}

TEST(one_that_hangs_up_is_dead)
{
    tine_pool *pool = open_untrusted(1);
    tine_failure failure;
    int64_t ignored;

    ck_assert_rc(apply(pool, close_and_hang, 0, &failure, &ignored), TINE_EWORKER);
    ck_assert_int_eq(failure.signal, SIGKILL);
    assert_works(pool);
    tine_pool_close(pool);
}

TEST(one_that_hangs_can_be_cancelled)
{
    tine_pool *pool = open_untrusted(1);
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, hang, NULL, ""), 0);
    ck_assert_eventually(tine_future_running(future));
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    tine_future_close(future);
    assert_works(pool);
    tine_pool_close(pool);
}

TEST(terminate_leaves_no_guest)
{
    tine_pool *pool = open_untrusted(2);
    tine_future *future;

    assert_works(pool);
    ck_assert_rc(tine_pool_submit(&future, pool, hang, NULL, ""), 0);
    ck_assert_eventually(tine_future_running(future));
    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- leaving --------------------------------------------------------------------------------- */

enum { HANG, STOP, HANG_UP, BLOCK, ANSWER, STUBBORN };

static void block_all(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
}

static void refuse_to_leave(void *context, void *state)
{
    int how = *(int *)context;

    (void)state;
    if (how == STOP)
        raise(SIGSTOP);
    if (how == HANG_UP)
        close(TINE__GUEST_SOCKET);
    if (how == BLOCK)
        block_all();
    if (how == ANSWER)
        (void)send(TINE__GUEST_SOCKET, "stay", 4, MSG_NOSIGNAL);
    (void)hang(NULL);
}

static tine_pool *open_stubborn(int32_t workers, int how)
{
    return open_untrusted_with((tine_pool_options){.workers = workers,
                                                   .finalizer = refuse_to_leave,
                                                   .context = &how,
                                                   .context_size = sizeof how,
                                                   .task_kill_ns = TINE_MS(50)});
}

TEST(one_that_does_not_leave_is_killed, .loop_end = STUBBORN)
{
    tine_pool *pool = open_stubborn(1, loop_index);

    assert_works(pool);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

TEST(nor_does_it_keep_a_place_that_is_given_up)
{
    tine_pool *pool = open_stubborn(2, HANG);

    ck_assert_eventually(pool_counts(pool).alive == 2);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    ck_assert_eventually(pool_counts(pool).alive == 1);
    assert_works(pool);
    tine_pool_close(pool);
}

static void write_left(void *path, void *state)
{
    (void)path, (void)state;
    for (int i = 0; i < 1000; i++)
        sched_yield();
    printf("left\n");
}

static void print_leaving(void *path)
{
    tine_pool *pool;

    ck_assert_ptr_nonnull(freopen(path, "w", stdout));
    pool = open_untrusted_with(
        (tine_pool_options){.workers = 1, .finalizer = write_left, .task_kill_ns = TINE_SEC(1000)});
    assert_works(pool);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* What a program prints whose standard output is a file. */
static void assert_prints(void (*function)(void *path), const char *wanted)
{
    struct files files;
    struct child child;
    char path[300], text[200] = "";
    FILE *file;

    tine_pool_close(open_untrusted(1)); /* or skip */
    files_begin(&files);
    snprintf(path, sizeof path, "%s", files_path(&files, "output"));
    child = child_start(function, path);
    child_join(&child);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    (void)fread(text, 1, sizeof text - 1, file);
    fclose(file);
    files_end(&files);
    ck_assert_str_eq(text, wanted);
}

TEST(its_finalizer_may_take_its_time)
{
    assert_prints(print_leaving, "left\n");
}

/* ---- what a guest has of its worker's and the program's ends --------------------------------- */

static pid_t program;

/* Of the program: in a guest it would give another status. */
static void exit_otherwise(void)
{
    if (getpid() != program)
        _exit(99);
}

static int exit_now(tine_call *call)
{
    (void)call;
    exit(7);
}

TEST(exit_handlers_of_the_program_do_not_run_in_guests)
{
    tine_failure failure;
    tine_pool *pool;
    int64_t unused;

    program = getpid();
    ck_assert_int_eq(atexit(exit_otherwise), 0);
    pool = open_untrusted(1);
    ck_assert_rc(apply(pool, exit_now, 0, &failure, &unused), TINE_EWORKER);
    ck_assert_int_eq(failure.exit_status, 7);
    tine_pool_close(pool);
}

static void print_in_worker(void *unused, int32_t what)
{
    (void)unused;
    if (what == TINE_FORKED_WORKER)
        printf("worker\n");
}

static int print_and_lie(tine_call *call)
{
    (void)call;
    printf("task\n");
    fflush(stdout);
    (void)send(TINE__GUEST_SOCKET, "lie", 3, MSG_NOSIGNAL);
    return 0;
}

/* The second guest has what the first one had from their worker. */
static void print_in_guests(void *path)
{
    tine_fork_hooks hooks = {.after_in_child = print_in_worker};
    tine_pool *pool;
    int64_t unused;

    ck_assert_ptr_nonnull(freopen(path, "w", stdout));
    ck_assert_rc(tine_register_at_fork(&hooks), 0);
    printf("program\n");
    pool = open_untrusted(1);
    for (int i = 0; i < 2; i++)
        ck_assert_rc(apply(pool, print_and_lie, 0, NULL, &unused), TINE_EFORMAT);
    tine_pool_close(pool);
}

TEST(what_is_printed_before_comes_out_once)
{
    assert_prints(print_in_guests, "program\nworker\ntask\ntask\n");
}

SUITE_OF_POOLS("pool/untrusted_ends")
