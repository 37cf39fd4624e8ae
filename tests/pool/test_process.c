/* SPDX-License-Identifier: MIT */
/* Processes: start, join, exit codes, signals, names, relatives; by every way to start one. */
#include <tine/process.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>

#include "tests/pool/processes.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- exit codes ------------------------------------------------------------------------------ */

static int return_zero(tine_call *call)
{
    (void)call;
    return 0;
}

static int return_seven(tine_call *call)
{
    (void)call;
    return 7;
}

static int fail_with_words(tine_call *call)
{
    return tine_fail(call, -EDOM, "no root of %d", -2);
}

static int fail_in_silence(tine_call *call)
{
    (void)call;
    return -ENOSPC;
}

static int exit_three(tine_call *call)
{
    (void)call;
    exit(3);
}

static int leave_at_once(tine_call *call)
{
    (void)call;
    _exit(4);
}

static int abort_itself(tine_call *call)
{
    (void)call;
    signal(SIGABRT, SIG_DFL);
    abort();
}

static int return_a_value(tine_call *call)
{
    return tine_return(call, "q", INT64_C(5));
}

static int run(tine_function *function, int32_t start)
{
    return process_end(process_of(function, start));
}

TEST(exit_codes_are_those_of_the_row, .loop_end = START_METHODS)
{
    int32_t start = start_method(loop_index);

    ck_assert_int_eq(run(return_zero, start), 0);
    ck_assert_int_eq(run(return_seven, start), 0);
    ck_assert_int_eq(run(return_a_value, start), 0);
    ck_assert_int_eq(run(fail_with_words, start), 1);
    ck_assert_int_eq(run(fail_in_silence, start), 1);
    ck_assert_int_eq(run(exit_three, start), 3);
    ck_assert_int_eq(run(leave_at_once, start), 4);
    ck_assert_int_eq(run(abort_itself, start), -SIGABRT);
}

/* The failure of a process that runs the function. */
static tine_failure failure_of(tine_function *function, int32_t start)
{
    tine_process *process = process_of(function, start);
    tine_failure failure;

    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 1);
    ck_assert_int_eq(failure.pid, tine_process_pid(process));
    tine_process_close(process);
    return failure;
}

TEST(a_failure_says_what_the_function_said, .loop_end = START_METHODS)
{
    int32_t start = start_method(loop_index);
    tine_process *process = process_of(return_zero, start);
    tine_failure failure = failure_of(fail_with_words, start);

    ck_assert_int_eq(failure.code, TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EDOM);
    ck_assert_str_eq(failure.message, "no root of -2");
    failure = failure_of(fail_in_silence, start);
    ck_assert_int_eq(failure.error, -ENOSPC);
    ck_assert_str_eq(failure.message, "the task returned -28 (ENOSPC)");
    failure = failure_of(exit_three, start);
    ck_assert_int_eq(failure.code, TINE_EWORKER);
    ck_assert_int_eq(failure.exit_status, 3);
    failure = failure_of(abort_itself, start);
    ck_assert_int_eq(failure.code, TINE_EWORKER);
    ck_assert_int_eq(failure.signal, SIGABRT);
    ck_assert_int_eq(failure.exit_status, -1);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 0);
    tine_process_close(process);
}

/* ---- running --------------------------------------------------------------------------------- */

static int await_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_await(gate, 1);
    return 0;
}

TEST(a_running_process_is_alive_and_has_no_exit_code, .loop_end = START_METHODS)
{
    struct gate *gate = heap_gate();
    tine_process *process = process_with(await_gate, start_method(loop_index), gate);
    tine_failure failure;
    int exitcode = -99;

    ck_assert_rc(tine_process_is_alive(process), 1);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), -EAGAIN);
    ck_assert_rc(tine_process_failure(process, &failure), -EAGAIN);
    ck_assert_rc(tine_process_join(process, 0), -EAGAIN);
    ck_assert_rc(tine_process_join(process, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_int_eq(exitcode, -99);
    gate_raise(gate);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_join(process, 0), 0);
    ck_assert_rc(tine_process_is_alive(process), 0);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), 0);
    ck_assert_int_eq(exitcode, 0);
    tine_process_close(process);
    tine_free(gate);
}

static int say_and_wait(tine_call *call)
{
    struct gate *gate;

    signal(SIGINT, SIG_DFL); /* who starts the tests in the background has it ignored */
    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_raise(gate);
    for (;;)
        pause();
}

TEST(signals_end_it_and_spare_the_dead, .loop_end = START_METHODS)
{
    int (*const send[])(tine_process *) = {tine_process_terminate, tine_process_kill,
                                           tine_process_interrupt};
    static const int signals[] = {SIGTERM, SIGKILL, SIGINT};

    for (int i = 0; i < 3; i++) {
        struct gate *gate = heap_gate();
        tine_process *process = process_with(say_and_wait, start_method(loop_index), gate);
        int exitcode;

        gate_await(gate, 1);
        ck_assert_rc(send[i](process), 0);
        ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
        ck_assert_rc(tine_process_exitcode(process, &exitcode), 0);
        ck_assert_int_eq(exitcode, -signals[i]);
        ck_assert_rc(send[i](process), 0);
        tine_process_close(process);
        tine_free(gate);
    }
}

struct joiner {
    tine_process *process;
    int exitcode;
};

static void *join_it(void *context)
{
    struct joiner *joiner = context;

    ck_assert_rc(tine_process_join(joiner->process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_exitcode(joiner->process, &joiner->exitcode), 0);
    return NULL;
}

static int await_gate_and_fail(tine_call *call)
{
    ck_assert_rc(await_gate(call), 0);
    exit(42);
}

TEST(many_threads_that_join_see_the_same, .loop_end = START_METHODS)
{
    enum { THREADS = 16 };
    struct gate *gate = heap_gate();
    struct joiner joiners[THREADS];
    pthread_t threads[THREADS];
    tine_process *process = process_with(await_gate_and_fail, start_method(loop_index), gate);

    for (int i = 0; i < THREADS; i++) {
        joiners[i] = (struct joiner){.process = process, .exitcode = -99};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, join_it, &joiners[i]), 0);
    }
    gate_raise(gate);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(joiners[i].exitcode, 42);
    }
    tine_process_close(process);
    tine_free(gate);
}

TEST(a_sentinel_and_tine_wait_tell_the_end, .loop_end = START_METHODS)
{
    struct gate *gate = heap_gate();
    tine_process *process = process_with(await_gate, start_method(loop_index), gate);
    int sentinel = tine_process_sentinel(process);
    tine_waitable on[] = {tine_process_waitable(process),
                          tine_fd_waitable(sentinel, TINE_READABLE)};

    ck_assert_int_ge(sentinel, 0);
    ck_assert_int_eq(fcntl(sentinel, F_GETFD), FD_CLOEXEC);
    ck_assert_rc(tine_wait(on, 2, 0), 0);
    gate_raise(gate);
    while (on[0].ready == 0 || on[1].ready == 0)
        ck_assert_ok(tine_wait(on, 2, TINE_FOREVER));
    ck_assert_int_eq(process_end(process), 0);
    tine_free(gate);
}

/* ---- closing --------------------------------------------------------------------------------- */

TEST(a_closed_handle_is_none, .loop_end = START_METHODS)
{
    tine_process *process = process_of(return_zero, start_method(loop_index));
    tine_waitable waitable = tine_process_waitable(process);
    int exitcode;

    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    tine_process_close(process);
    tine_process_close(process);
    tine_process_close(NULL);
    ck_assert_rc(tine_process_join(process, 0), -EBADF);
    ck_assert_rc(tine_process_is_alive(process), -EBADF);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), -EBADF);
    ck_assert_rc(tine_process_terminate(process), -EBADF);
    ck_assert_rc(tine_process_sentinel(process), -EBADF);
    ck_assert_rc(tine_process_pid(process), -EBADF);
    ck_assert_ptr_null(tine_process_name(process));
    ck_assert_rc(tine_wait(&waitable, 1, 0), -EBADF);
}

/* How many zombies and running ones there are. */
static int children_of_mine(void)
{
    return tine_process_active_children(NULL, 0);
}

static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

TEST(what_is_closed_while_it_runs_is_reaped_later, .loop_end = START_METHODS)
{
    struct gate *gate = heap_gate();
    uint64_t blocks = heap_blocks();

    for (int i = 0; i < 20; i++)
        tine_process_close(process_with(await_gate, start_method(loop_index), gate));
    ck_assert_int_eq(children_of_mine(), 0);
    gate_raise(gate);
    ck_assert_eventually(children_of_mine() == 0 && heap_blocks() <= blocks && !has_children());
    tine_free(gate);
}

TEST(active_children_are_those_that_run, .loop_end = START_METHODS)
{
    struct gate *gate = heap_gate();
    tine_process *processes[5], *active[5];

    for (int i = 0; i < 5; i++)
        processes[i] = process_with(await_gate, start_method(loop_index), gate);
    tine_process_kill(processes[1]);
    ck_assert_rc(tine_process_join(processes[1], TINE_FOREVER), 0);
    ck_assert_int_eq(tine_process_active_children(active, 5), 4);
    ck_assert_ptr_eq(active[0], processes[0]);
    ck_assert_ptr_eq(active[1], processes[2]);
    ck_assert_ptr_eq(active[3], processes[4]);
    ck_assert_int_eq(tine_process_active_children(active, 2), 4);
    ck_assert_ptr_eq(active[1], processes[2]);
    gate_raise(gate);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(process_end(processes[i]), i == 1 ? -SIGKILL : 0);
    tine_free(gate);
}

/* ---- who is who ------------------------------------------------------------------------------ */

struct seen {
    char name[64], parent_name[64];
    pid_t pid, parent_pid;
    int daemon, parent_alive, parent_join;
};

static int look_around(tine_call *call)
{
    struct seen *seen;
    const tine_process *self = tine_process_current();
    tine_process *parent = tine_process_parent();

    ck_assert_rc(tine_args(call, "p", &seen), 0);
    strcpy(seen->name, tine_process_name(self));
    strcpy(seen->parent_name, tine_process_name(parent));
    seen->pid = tine_process_pid(self);
    seen->parent_pid = tine_process_pid(parent);
    seen->daemon = tine_process_is_daemon(self);
    seen->parent_alive = tine_process_is_alive(parent);
    seen->parent_join = tine_process_join(parent, 0);
    return 0;
}

TEST(a_process_knows_itself_and_its_parent, .loop_end = START_METHODS)
{
    struct seen *seen = tine_calloc(1, sizeof *seen);
    tine_process *process = process_with(look_around, start_method(loop_index), seen);
    pid_t pid = tine_process_pid(process);

    ck_assert_str_eq(tine_process_name(process), "Process-1");
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_str_eq(seen->name, "Process-1");
    ck_assert_str_eq(seen->parent_name, "MainProcess");
    ck_assert_int_eq(seen->pid, pid);
    ck_assert_int_eq(seen->parent_pid, getpid());
    ck_assert_int_eq(seen->daemon, 0);
    ck_assert_int_eq(seen->parent_alive, 1);
    ck_assert_rc(seen->parent_join, -EAGAIN);
    tine_free(seen);
}

TEST(the_program_itself_is_the_main_process)
{
    tine_process *self = tine_process_current();

    ck_assert_str_eq(tine_process_name(self), "MainProcess");
    ck_assert_int_eq(tine_process_pid(self), getpid());
    ck_assert_rc(tine_process_is_alive(self), 1);
    ck_assert_rc(tine_process_is_daemon(self), 0);
    ck_assert_rc(tine_process_join(self, TINE_FOREVER), -EDEADLK);
    ck_assert_rc(tine_process_kill(self), -EINVAL);
    ck_assert_rc(tine_process_sentinel(self), -EINVAL);
    tine_process_close(self);
    ck_assert_int_eq(tine_process_pid(self), getpid());
    ck_assert_ptr_null(tine_process_parent());
}

/* Two levels down, by the same way as this one. */
static int start_another(tine_call *call)
{
    tine_process_options options = {0};
    tine_process *process;
    struct seen *seen;

    ck_assert_rc(tine_args(call, "ip", &options.start, &seen), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_process_start(&process, look_around, &options, "p", seen), 0);
        ck_assert_int_eq(process_end(process), 0);
    }
    return 0;
}

TEST(processes_start_processes, .loop_end = START_METHODS)
{
    struct seen *seen = tine_calloc(1, sizeof *seen);
    tine_process_options options = {.start = start_method(loop_index), .daemon = TINE_DAEMON};
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, start_another, &options, "ip", options.start, seen),
                 0);
    ck_assert_rc(tine_process_is_daemon(process), 1);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_str_eq(seen->name, "Process-1:2");
    ck_assert_str_eq(seen->parent_name, "Process-1");
    ck_assert_int_eq(seen->daemon, 1);
    tine_free(seen);
}

TEST(a_name_is_as_given, .loop_end = START_METHODS)
{
    char name[TINE_PROCESS_NAME_MAX + 2] = "";
    struct seen *seen = tine_calloc(1, sizeof *seen);
    tine_process_options options = {.start = start_method(loop_index), .name = name};
    tine_process *process = NULL;

    memset(name, 'x', sizeof name - 1);
    ck_assert_rc(tine_process_start(&process, look_around, &options, "p", seen), -EINVAL);
    ck_assert_ptr_null(process);
    name[TINE_PROCESS_NAME_MAX] = '\0';
    ck_assert_rc(tine_process_start(&process, look_around, &options, "p", seen), 0);
    ck_assert_str_eq(tine_process_name(process), name);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_str_eq(seen->name, name);
    tine_free(seen);
}

/* ---- surroundings ---------------------------------------------------------------------------- */

static int look_at_stdin(tine_call *call)
{
    struct stat input, null;
    int *same;

    ck_assert_rc(tine_args(call, "p", &same), 0);
    ck_assert_int_eq(stat("/dev/null", &null), 0);
    *same =
        fstat(STDIN_FILENO, &input) == 0 && input.st_rdev == null.st_rdev && S_ISCHR(input.st_mode);
    return 0;
}

TEST(standard_input_is_shared_or_null, .loop_end = START_METHODS)
{
    int *same = tine_calloc(1, sizeof *same), ends[2], old = dup(STDIN_FILENO);
    tine_process_options options = {.start = start_method(loop_index)};
    tine_process *process;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    for (int i = 0; i < 2; i++) {
        options.flags = i == 0 ? 0 : TINE_PROCESS_NO_STDIN;
        ck_assert_rc(tine_process_start(&process, look_at_stdin, &options, "p", same), 0);
        ck_assert_int_eq(process_end(process), 0);
        ck_assert_int_eq(*same, i);
    }
    ck_assert_int_eq(dup2(old, STDIN_FILENO), STDIN_FILENO);
    close(old);
    close(ends[0]);
    close(ends[1]);
    tine_free(same);
}

static int print_and_exit(tine_call *call)
{
    (void)call;
    printf("child ");
    exit(0);
}

/* Everything once: what the program has buffered, what the process prints, what comes after. */
TEST(output_is_written_once, .loop_end = START_METHODS)
{
    int ends[2], old;
    char text[256] = "";

    fflush(stdout);
    old = dup(STDOUT_FILENO);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    printf("before ");
    ck_assert_int_eq(run(print_and_exit, start_method(loop_index)), 0);
    printf("after");
    fflush(stdout);
    ck_assert_int_eq(dup2(old, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_gt(read(ends[0], text, sizeof text - 1), 0);
    ck_assert_str_eq(text, "before child after");
    close(old);
    close(ends[0]);
    close(ends[1]);
}

static struct gate *exit_gate;

static void raise_at_exit(void)
{
    gate_raise(exit_gate);
}

static int register_exit(tine_call *call)
{
    ck_assert_rc(tine_args(call, "p", &exit_gate), 0);
    ck_assert_int_eq(atexit(raise_at_exit), 0);
    return 0;
}

TEST(its_own_exit_handlers_run, .loop_end = START_METHODS)
{
    struct gate *gate = heap_gate();

    ck_assert_int_eq(process_end(process_with(register_exit, start_method(loop_index), gate)), 0);
    ck_assert_uint_eq(gate->raised, 1);
    tine_free(gate);
}

/* ---- refusals -------------------------------------------------------------------------------- */

TEST(bad_options_are_refused)
{
    tine_process *process = NULL;
    tine_process_options bad[] = {{.start = -1},          {.start = 99}, {.daemon = 3},
                                  {.daemon = -1},         {.flags = 2},  {.reserved0 = 1},
                                  {.reserved = {[7] = 1}}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_rc(tine_process_start(&process, return_zero, &bad[i], ""),
                     bad[i].reserved0 || bad[i].reserved[7] ? -E2BIG : -EINVAL);
    ck_assert_rc(tine_process_start(NULL, return_zero, NULL, ""), -EINVAL);
    ck_assert_rc(tine_process_start(&process, NULL, NULL, ""), -EINVAL);
    ck_assert_rc(tine_process_start(&process, return_zero, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_process_start(&process, return_zero, NULL, "!"), -EINVAL);
    ck_assert_rc(tine_process_start(&process, (tine_function *)(uintptr_t)16, NULL, ""), -EINVAL);
    ck_assert_ptr_null(process);
    ck_assert_rc(tine_process_join(NULL, 0), -EINVAL);
}

SUITE_WITH_INIT("pool/process")
