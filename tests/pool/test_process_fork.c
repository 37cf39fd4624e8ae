/* SPDX-License-Identifier: MIT */
/*
 * Processes beside a program that does what programs do: reaps children that are not its own
 * business, ignores SIGCHLD, has handlers and threads, forks by itself; and daemons, which die with
 * it.
 */
#include <tine/process.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/sys.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static tine_process *start_it(tine_function *function, void *pointer)
{
    return process_with(function, TINE_FORK, pointer);
}

static int return_zero(tine_call *call)
{
    (void)call;
    return 0;
}

static int exit_five(tine_call *call)
{
    (void)call;
    exit(5);
}

static int await_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_await(gate, 1);
    return 0;
}

HEAP_BEFORE_TESTS

/* Its main does not begin with tine_init(). */
TEST(a_program_that_cannot_be_executed_again_is_told)
{
    tine_process *process = NULL;

    ck_assert_rc(
        tine_process_start(&process, return_zero, &(tine_process_options){.start = TINE_SPAWN}, ""),
        -ENOTSUP);
    ck_assert_rc(tine_set_start_method(TINE_SPAWN, false), -ENOTSUP);
    ck_assert_int_eq(tine_get_start_method(), TINE_FORK);
    ck_assert_ptr_null(process);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int global = 1;

static int check_global(tine_call *call)
{
    int32_t expected;

    ck_assert_rc(tine_args(call, "i", &expected), 0);
    ck_assert_int_eq(global, expected);
    global = -1;
    return 0;
}

TEST(a_fork_sees_globals_as_they_are)
{
    tine_process *process;

    for (global = 2; global < 10; global++) {
        ck_assert_rc(tine_process_start(&process, check_global, NULL, "i", global), 0);
        ck_assert_int_eq(process_end(process), 0);
    }
}

/* ---- reapers --------------------------------------------------------------------------------- */

static void reap_all(int count)
{
    while (count > 0)
        if (waitpid(-1, NULL, 0) > 0)
            count--;
}

TEST(the_programs_own_wait_may_reap_it)
{
    struct gate *gate = heap_gate();
    tine_process *killed = start_it(await_gate, gate);
    tine_process *process =
        process_of(exit_five, TINE_FORK); /* last: a start reaps what has ended */
    int exitcode;

    ck_assert_rc(tine_process_kill(killed), 0);
    reap_all(2);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_is_alive(process), 0);
    ck_assert_int_eq(process_end(process), 5);
    ck_assert_rc(tine_process_exitcode(killed, &exitcode), 0);
    ck_assert_msg(exitcode == -SIGKILL || exitcode == 255, "%d", exitcode); /* before Linux 6.15 */
    tine_process_close(killed);
    tine_free(gate);
}

TEST(ignored_sigchld_does_no_harm, .own_signals = true)
{
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(process_end(process_of(exit_five, TINE_FORK)), 5);
        ck_assert_int_eq(process_end(process_of(return_zero, TINE_FORK)), 0);
    }
    signal(SIGCHLD, SIG_DFL);
}

static _Atomic bool reap_on;

static void *reap_for_ever(void *unused)
{
    (void)unused;
    while (atomic_load(&reap_on))
        if (waitpid(-1, NULL, 0) < 0)
            sched_yield();
    return NULL;
}

TEST(a_thread_that_reaps_everything_does_no_harm)
{
    struct gate *gate = heap_gate();
    pthread_t thread;
    tine_process *last;

    atomic_store(&reap_on, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, reap_for_ever, NULL), 0);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(process_end(process_of(exit_five, TINE_FORK)), 5);
    last = start_it(await_gate, gate); /* so that the thread's wait ends */
    atomic_store(&reap_on, false);
    gate_raise(gate);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(process_end(last), 0);
    tine_free(gate);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void handle(int signal)
{
    (void)signal;
}

static int check_dispositions(tine_call *call)
{
    struct sigaction action;
    sigset_t mask;

    (void)call;
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, SIG_DFL);
    ck_assert_int_eq(sigaction(SIGUSR2, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, SIG_IGN);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) {
        ck_assert_int_eq(sigaction(signal, NULL, &action), 0);
        ck_assert_ptr_eq(action.sa_handler, SIG_DFL);
    }
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGHUP), 1);
    ck_assert_int_eq(sigismember(&mask, SIGTERM), 0);
    return 0;
}

static void *await_end(void *gate)
{
    gate_await(gate, 1);
    return NULL;
}

/* By a program with one thread, and with two. */
TEST(handlers_are_the_programs_and_masks_are_inherited, .own_signals = true, .loop_end = 2)
{
    struct gate *gate = heap_gate();
    pthread_t thread;
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    signal(SIGUSR1, handle);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGRTMIN, handle);
    signal(SIGRTMAX, handle);
    if (loop_index == 1)
        ck_assert_int_eq(pthread_create(&thread, NULL, await_end, gate), 0);
    ck_assert_int_eq(process_end(process_of(check_dispositions, TINE_FORK)), 0);
    gate_raise(gate);
    if (loop_index == 1)
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
    tine_free(gate);
}

/* ---- exit handlers --------------------------------------------------------------------------- */

static struct gate *program_gate;

static void raise_program_gate(void)
{
    gate_raise(program_gate);
}

static void run_with_handler(void *unused)
{
    (void)unused;
    ck_assert_int_eq(atexit(raise_program_gate), 0);
    ck_assert_int_eq(process_end(process_of(exit_five, TINE_FORK)), 5);
    ck_assert_int_eq(process_end(process_of(return_zero, TINE_FORK)), 0);
}

TEST(exit_handlers_of_the_program_do_not_run)
{
    struct child child;

    program_gate = gate_new();
    child = child_start(run_with_handler, NULL); /* which leaves by _exit */
    child_join(&child);
    ck_assert_uint_eq(program_gate->raised, 0);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void use_in_fork(void *context)
{
    tine_process *process = context;
    int exitcode;

    ck_assert_rc(tine_process_join(process, 0), TINE_EFORKED);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), TINE_EFORKED);
    ck_assert_rc(tine_process_kill(process), TINE_EFORKED);
    ck_assert_int_gt(tine_process_pid(process), 0);
    ck_assert_str_eq(tine_process_name(process), "Process-1");
    ck_assert_int_eq(tine_process_active_children(NULL, 0), 0);
    ck_assert_int_eq(process_end(process_of(exit_five, TINE_FORK)), 5);
    tine_process_close(process);
}

TEST(a_plain_fork_has_no_children_of_its_parent)
{
    struct gate *gate = heap_gate();
    tine_process *process = start_it(await_gate, gate);
    struct child child = child_start(use_in_fork, process);

    child_join(&child);
    gate_raise(gate);
    ck_assert_int_eq(process_end(process), 0);
    tine_free(gate);
}

static tine_process *sibling;

static int look_at_sibling(tine_call *call)
{
    (void)call;
    ck_assert_rc(tine_process_join(sibling, 0), -EBADF);
    ck_assert_int_eq(tine_process_active_children(NULL, 0), 0);
    return 0;
}

TEST(a_process_has_nothing_of_its_siblings)
{
    struct gate *gate = heap_gate();

    sibling = start_it(await_gate, gate);
    ck_assert_int_eq(process_end(process_of(look_at_sibling, TINE_FORK)), 0);
    gate_raise(gate);
    ck_assert_int_eq(process_end(sibling), 0);
    tine_free(gate);
}

/* What a function forks and lets return from it, or exit, is not the process. */
static int fork_and_return(tine_call *call)
{
    struct gate *gate;
    pid_t pid;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    pid = fork();
    if (pid == 0)
        return -EDOM;
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    pid = fork();
    if (pid == 0)
        exit(9);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    gate_raise(gate);
    for (;;)
        pause();
}

TEST(forks_of_a_process_are_not_it)
{
    struct gate *gate = heap_gate();
    tine_process *process = start_it(fork_and_return, gate);
    tine_failure failure;

    gate_await(gate, 1);
    ck_assert_rc(tine_process_is_alive(process), 1);
    ck_assert_rc(tine_process_kill(process), 0);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 1);
    ck_assert_int_eq(failure.signal, SIGKILL);
    tine_process_close(process);
    tine_free(gate);
}

/* ---- daemons --------------------------------------------------------------------------------- */

struct den {
    struct gate ready, go;
    _Atomic pid_t daemon, other;
    bool in_thread;
};

static int stay(tine_call *call)
{
    struct den *den;

    ck_assert_rc(tine_args(call, "p", &den), 0);
    gate_raise(&den->ready);
    gate_await(&den->go, 1);
    return 0;
}

static void *start_daemon(void *context)
{
    tine_process_options options = {.daemon = TINE_DAEMON};
    tine_process *process;
    struct den *den = context;

    ck_assert_rc(tine_process_start(&process, stay, &options, "p", den), 0);
    den->daemon = tine_process_pid(process);
    return NULL;
}

/* The thread that starts the daemon ends long before the process does. */
static void start_both(void *context)
{
    struct den *den = context;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, start_daemon, den), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    den->other = tine_process_pid(start_it(stay, den));
    gate_raise(&den->ready); /* both may be, before their pids stand here */
    for (;;)
        pause();
}

TEST(a_daemon_dies_with_its_parent_and_others_do_not, .loop_end = 5)
{
    struct den *den = tine_calloc(1, sizeof *den);
    struct child child;

    orphans_adopt();
    child = child_start(start_both, den);
    gate_await(&den->ready, 3);
    ck_assert_int_eq(waitpid(den->daemon, NULL, WNOHANG), -1); /* still the child's */
    child_kill(&child);
    ck_assert_int_eq(waitpid(den->daemon, NULL, 0), den->daemon);
    ck_assert_int_eq(waitpid(den->other, NULL, WNOHANG), 0);
    gate_raise(&den->go);
    ck_assert_int_eq(waitpid(den->other, NULL, 0), den->other);
    tine_free(den);
}

static int close_and_stay(tine_call *call)
{
    struct den *den;

    ck_assert_rc(tine_args(call, "p", &den), 0);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    gate_raise(&den->ready);
    gate_await(&den->go, 1);
    return 0;
}

TEST(a_daemon_that_closes_everything_lives_as_long)
{
    struct den *den = tine_calloc(1, sizeof *den);
    tine_process_options options = {.daemon = TINE_DAEMON};
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, close_and_stay, &options, "p", den), 0);
    gate_await(&den->ready, 1);
    ck_assert_rc(tine_process_join(process, TINE_MS(120)), -ETIMEDOUT);
    gate_raise(&den->go);
    ck_assert_int_eq(process_end(process), 0);
    tine_free(den);
}

/* Something silent is where the parent's pidfd was. */
static int replace_and_stay(tine_call *call)
{
    struct den *den;
    int ends[2];

    ck_assert_rc(tine_args(call, "p", &den), 0);
    ck_assert_int_eq(pipe(ends), 0);
    for (int fd = 3; fd < 256; fd++)
        if (fd != ends[0] && fd != ends[1])
            dup2(ends[0], fd);
    gate_raise(&den->ready);
    gate_await(&den->go, 1);
    return 0;
}

static void start_replacing(void *context)
{
    tine_process_options options = {.daemon = TINE_DAEMON};
    struct den *den = context;
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, replace_and_stay, &options, "p", den), 0);
    den->daemon = tine_process_pid(process);
    gate_raise(&den->ready);
    for (;;)
        pause();
}

static bool is_stopped(pid_t pid)
{
    struct proc proc;

    return proc_read(pid, &proc) && proc.state == 'T';
}

/* When it goes on after a stop, whoever was waiting looks anew which file it was waiting for. */
TEST(a_daemon_that_reuses_all_descriptors_dies_with_its_parent, .loop_end = 5)
{
    struct den *den = tine_calloc(1, sizeof *den);
    struct child child;

    orphans_adopt();
    child = child_start(start_replacing, den);
    gate_await(&den->ready, 2);
    ck_assert_int_eq(kill(den->daemon, SIGSTOP), 0);
    ck_assert_eventually(is_stopped(den->daemon));
    ck_assert_int_eq(kill(den->daemon, SIGCONT), 0);
    ck_assert_eventually(proc_asleep(den->daemon));
    child_kill(&child);
    ck_assert_int_eq(waitpid(den->daemon, NULL, 0), den->daemon);
    tine_free(den);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define BUSY_THREADS 8

static _Atomic bool busy;

/* malloc, printf and tine, without end. */
static void *be_busy(void *context)
{
    FILE *null = context;
    void *blocks[16] = {0}, *shared[16] = {0};

    for (unsigned i = 0; atomic_load_explicit(&busy, memory_order_relaxed); i++) {
        free(blocks[i % 16]);
        tine_free(shared[i % 16]);
        blocks[i % 16] = malloc(i % 3000 + 1);
        shared[i % 16] = tine_alloc(i % 3000 + 1);
        fprintf(null, "%u %p", i, blocks[i % 16]);
        printf("%s", "");
    }
    for (int i = 0; i < 16; i++) {
        free(blocks[i]);
        tine_free(shared[i]);
    }
    return NULL;
}

/* Uses in the process what the threads use in the program. */
static int use_all(tine_call *call)
{
    void *block = malloc(1000), *shared = tine_alloc(1000);

    (void)call;
    ck_assert_ptr_nonnull(block);
    ck_assert_ptr_nonnull(shared);
    printf("%s", "");
    free(block);
    tine_free(shared);
    return 0;
}

/* 10,000 forks in `make check-long`. */
TEST(forks_of_a_program_with_busy_threads_do_not_hang, .kills = 50, .timeout_s = 60)
{
    pthread_t threads[BUSY_THREADS];
    FILE *null = fopen("/dev/null", "we");
    size_t forks = 4 * kills_wanted(50);

    ck_assert_ptr_nonnull(null);
    atomic_store(&busy, true);
    for (int i = 0; i < BUSY_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, be_busy, null), 0);
    for (size_t i = 0; i < forks; i++)
        ck_assert_int_eq(process_end(process_of(use_all, TINE_FORK)), 0);
    atomic_store(&busy, false);
    for (int i = 0; i < BUSY_THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    fclose(null);
}

static void *start_many(void *context)
{
    (void)context;
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(process_end(process_of(exit_five, TINE_FORK)), 5);
    return NULL;
}

TEST(threads_start_processes_at_once)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(tine_process_active_children(NULL, 0), 0);
}

TEST(a_hundred_run_at_once)
{
    struct gate *gate = heap_gate();
    tine_process *processes[100];

    for (int i = 0; i < 100; i++)
        processes[i] = start_it(await_gate, gate);
    ck_assert_int_eq(tine_process_active_children(NULL, 0), 100);
    for (int i = 0; i < 50; i++)
        ck_assert_rc(tine_process_terminate(processes[i]), 0);
    gate_raise(gate);
    for (int i = 0; i < 100; i++) {
        int exitcode = process_end(processes[i]);

        ck_assert(exitcode == 0 || (i < 50 && exitcode == -SIGTERM));
    }
    tine_free(gate);
}

SUITE("pool/process_fork")
