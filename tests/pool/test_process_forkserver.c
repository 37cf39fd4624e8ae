/* SPDX-License-Identifier: MIT */
/* The forkserver: killed, stopped, asked by many, and gone with its program. */
#include <tine/process.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pool.h>

#include "pool/forkserver.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define SLOW "TINE_TEST_GATE" /* what a preload waits for */

static int preloaded;

static const tine_process_options served = {.start = TINE_FORKSERVER};

/* The next start makes a server that only this process has, a child of the test's: the test itself,
   and the runner, keep theirs. */
static void forkserver_anew(void)
{
    tine__forkserver_forget();
}

static int await_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_raise(gate);
    gate_await(gate, 2);
    return 0;
}

static int exit_six(tine_call *call)
{
    (void)call;
    exit(6);
}

static tine_process *start_waiting(struct gate *gate)
{
    tine_process *process = process_with(await_gate, TINE_FORKSERVER, gate);

    gate_await(gate, 1);
    return process;
}

static pid_t server_of(const tine_process *process)
{
    struct proc proc;

    ck_assert(proc_read(tine_process_pid(process), &proc));
    return proc.parent;
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z';
}

TEST(it_is_the_default_of_a_program_with_tine_init)
{
    ck_assert_int_eq(tine_get_start_method(), TINE_FORKSERVER);
}

TEST(it_is_a_small_process_and_no_child_of_ours)
{
    struct gate *gate = heap_gate();
    tine_process *process = start_waiting(gate);
    struct proc proc;
    siginfo_t info;

    ck_assert(proc_read(server_of(process), &proc));
    ck_assert_str_eq(proc.name, "tine-forkserver");
    ck_assert_int_ne(proc.parent, getpid());
    ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    gate_raise(gate);
    ck_assert_int_eq(process_end(process), 0);
    tine_free(gate);
}

static int check_preloaded(tine_call *call)
{
    (void)call;
    ck_assert_int_eq(preloaded, 1);
    return 0;
}

static void use_preloaded(void *unused)
{
    tine_process *process;

    (void)unused;
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_process_start(&process, check_preloaded, &served, ""), 0);
        ck_assert_int_eq(process_end(process), 0);
        forkserver_anew(); /* the second time by one that was executed anew */
    }
}

TEST(what_is_preloaded_is_there)
{
    struct child child = child_start(use_preloaded, NULL);

    child_join(&child);
}

static int check_here(tine_call *call)
{
    const char *cwd;
    char here[256];
    struct stat *expected, output;

    ck_assert_rc(tine_args(call, "sp", &cwd, &expected), 0);
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_str_eq(here, cwd);
    ck_assert_int_eq(fstat(STDOUT_FILENO, &output), 0);
    ck_assert_uint_eq(output.st_ino, expected->st_ino);
    return 0;
}

TEST(directory_and_streams_are_those_of_the_start)
{
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), output = dup(STDOUT_FILENO), ends[2];
    struct stat *expected = tine_calloc(1, sizeof *expected);
    tine_process *process;
    struct files files;

    files_begin(&files);
    ck_assert_int_eq(chdir(files.directory), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(fstat(ends[1], expected), 0);
    ck_assert_rc(tine_process_start(&process, check_here, &served, "sp", files.directory, expected),
                 0);
    ck_assert_int_eq(dup2(output, STDOUT_FILENO), STDOUT_FILENO);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_int_eq(fchdir(before), 0);
    files_end(&files);
    close(before);
    close(output);
    close(ends[0]);
    close(ends[1]);
    tine_free(expected);
}

/* ---- its death ------------------------------------------------------------------------------- */

static void kill_server(void *unused)
{
    struct gate *gates[3];
    tine_process *processes[3], *next;
    pid_t server;
    int exitcode;

    (void)unused;
    forkserver_anew();
    for (int i = 0; i < 3; i++) {
        gates[i] = heap_gate();
        processes[i] = start_waiting(gates[i]);
    }
    server = server_of(processes[0]);
    ck_assert_int_eq(kill(server, SIGKILL), 0);
    ck_assert_eventually(is_gone(server));
    ck_assert_rc(tine_process_start(&next, exit_six, &served, ""), 0);
    ck_assert_int_eq(process_end(next), 6);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_process_is_alive(processes[i]), 1);
        ck_assert_rc(tine_process_exitcode(processes[i], &exitcode), -EAGAIN);
    }
    ck_assert_rc(tine_process_kill(processes[0]), 0);
    for (int i = 0; i < 3; i++) {
        gate_raise(gates[i]);
        ck_assert_int_eq(process_end(processes[i]), 255);
        tine_free(gates[i]);
    }
    tine__forkserver_forget();
}

TEST(processes_of_a_killed_server_go_on_and_another_takes_its_place)
{
    struct child child = child_start(kill_server, NULL);

    child_join(&child);
}

static int raise_only(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_raise(gate);
    return 0;
}

static void stop_server(void *unused)
{
    struct gate *gate = heap_gate(), *other = heap_gate();
    tine_process_options hasty = {.start = TINE_FORKSERVER, .start_timeout_ns = TINE_MS(20)};
    tine_process *process, *late = NULL;
    pid_t server;

    (void)unused;
    forkserver_anew();
    process = start_waiting(gate);
    server = server_of(process);
    ck_assert_int_eq(kill(server, SIGSTOP), 0);
    ck_assert_rc(tine_process_start(&late, raise_only, &hasty, "p", other), -ETIMEDOUT);
    ck_assert_ptr_null(late);
    gate_raise(gate);
    ck_assert_eventually(tine_process_is_alive(process) == 0);
    ck_assert_rc(tine_process_join(process, TINE_MS(20)),
                 -ETIMEDOUT); /* how it ended is not told */
    ck_assert_int_eq(kill(server, SIGCONT), 0);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_rc(tine_process_start(&process, exit_six, &served, ""), 0); /* behind the late one */
    ck_assert_int_eq(process_end(process), 6);
    ck_assert_uint_eq(other->raised, 0);
    tine__forkserver_forget();
    ck_assert_eventually(is_gone(server));
    tine_free(gate);
    tine_free(other);
}

TEST(a_start_that_a_stopped_server_delays_is_given_up_for_good)
{
    struct child child = child_start(stop_server, NULL);

    child_join(&child);
}

/* Its successor, executed anew, does not become ready. */
static void wait_for_nobody(void *context)
{
    tine_process_options hasty = {.start = TINE_FORKSERVER};
    struct gate *gate = context;
    tine_process *late = NULL;
    char where[32];

    snprintf(where, sizeof where, "%p", (void *)gate);
    ck_assert_int_eq(setenv(SLOW, where, 1), 0);
    for (int i = 0; i < 3; i++) {
        forkserver_anew();
        hasty.start_timeout_ns = i == 0 ? 1 : TINE_MS(20); /* not even executed, or not ready */
        ck_assert_rc(tine_process_start(&late, exit_six, &hasty, ""), -ETIMEDOUT);
        ck_assert_ptr_null(late);
    }
    ck_assert_int_eq(unsetenv(SLOW), 0);
    gate_raise(gate);
    ck_assert_rc(tine_process_start(&late, exit_six, &served, ""), 0);
    ck_assert_int_eq(process_end(late), 6);
    tine__forkserver_forget();
}

TEST(a_start_waits_for_a_new_server_no_longer_than_asked)
{
    struct gate *gate = heap_gate();
    struct child child = child_start(wait_for_nobody, gate);

    child_join(&child); /* the gate stays: one of the servers may still be at it */
}

struct den {
    struct gate gate;
    _Atomic pid_t server;
};

static _Noreturn int stay(tine_call *call)
{
    (void)call;
    for (;;)
        pause();
}

/* The daemon would stay for ever, and the test with it. */
static void run_program(void *context)
{
    tine_process_options options = {.start = TINE_FORKSERVER, .daemon = TINE_DAEMON};
    struct den *den = context;
    tine_process *daemon;

    forkserver_anew();
    ck_assert_rc(tine_process_start(&daemon, stay, &options, ""), 0);
    den->server = server_of(start_waiting(&den->gate));
    gate_raise(&den->gate);
    for (;;)
        pause();
}

TEST(it_goes_with_its_program_and_so_do_daemons)
{
    for (int i = 0; i < 5; i++) {
        struct den *den = tine_calloc(1, sizeof *den);
        struct child child;

        orphans_adopt();
        child = child_start(run_program, den);
        ck_assert_eventually(atomic_load(&den->server) != 0);
        child_kill(&child);
        orphans_reap();
        ck_assert(is_gone(den->server));
        tine_free(den);
    }
}

static int say_family(tine_call *call)
{
    pid_t *family;
    struct proc proc;

    ck_assert_rc(tine_args(call, "p", &family), 0);
    family[0] = getpid();
    for (int i = 0; i < 2; i++) {
        ck_assert(proc_read(family[i], &proc));
        family[i + 1] = proc.parent;
    }
    return 0;
}

struct nest {
    pid_t family[3]; /* a worker, its nursery, the server */
    struct gate gate;
};

static void open_pool(void *context)
{
    tine_pool_options options = {.workers = 1, .start = TINE_FORKSERVER};
    struct nest *nest = context;
    tine_results *results;
    tine_pool *pool;

    forkserver_anew();
    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, say_family, NULL, "p", nest->family), 0);
    gate_raise(&nest->gate);
    for (;;)
        pause();
}

static bool is_stopped(pid_t pid)
{
    struct proc proc;

    return proc_read(pid, &proc) && proc.state == 'T';
}

/* As by Ctrl-Z, and kill -9 of the program alone. */
TEST(it_goes_with_its_program_when_it_is_stopped_and_so_do_pools)
{
    for (int i = 0; i < 5; i++) {
        struct nest *nest = tine_calloc(1, sizeof *nest);
        struct child child;

        orphans_adopt();
        child = child_start(open_pool, nest);
        gate_await(&nest->gate, 1);
        for (int k = i % 2; k < 3; k++) { /* the worker, too, or not */
            ck_assert_int_eq(kill(nest->family[k], SIGSTOP), 0);
            ck_assert_eventually(is_stopped(nest->family[k]));
        }
        child_kill(&child);
        orphans_reap();
        tine_free(nest);
    }
}

/* ---- what it has of the program -------------------------------------------------------------- */

static void handle(int signal)
{
    (void)signal;
}

static int check_handlers(tine_call *call)
{
    struct sigaction action;

    (void)call;
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, SIG_DFL);
    ck_assert_int_eq(sigaction(SIGINT, NULL, &action), 0);
    ck_assert_ptr_eq(action.sa_handler, SIG_DFL);
    return 0;
}

/* A handler of the program's would run in the server, on what is not there any more. */
static void begin_with_handlers(void *unused)
{
    struct gate *gate = heap_gate();
    tine_process *process;
    pid_t server;

    (void)unused;
    signal(SIGUSR1, handle);
    signal(SIGINT, handle);
    forkserver_anew();
    ck_assert_rc(tine__forkserver_begin(), 0);
    ck_assert_int_eq(process_end(process_of(check_handlers, TINE_FORKSERVER)), 0);
    process = start_waiting(gate);
    server = server_of(process);
    ck_assert_int_eq(kill(server, SIGUSR1), 0);
    ck_assert_eventually(is_gone(server));
    gate_raise(gate);
    ck_assert_int_eq(process_end(process), 255);
    tine_free(gate);
}

TEST(no_handler_of_the_programs_is_there)
{
    struct child child = child_start(begin_with_handlers, NULL);

    child_join(&child);
}

#define FEW  24
#define MORE 40

static int await_opening(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_await(gate, 1);
    return 0;
}

/* Starts processes until one cannot be had: why, and 0 after all. */
static int start_more(struct gate *gate)
{
    tine_process *processes[MORE];
    int rc = 0, count;

    for (count = 0; count < MORE && rc == 0; count++)
        rc = tine_process_start(&processes[count], await_opening, &served, "p", gate);
    gate_raise(gate);
    count -= rc < 0;
    ck_assert_int_gt(count, 0);
    while (count > 0)
        ck_assert_int_eq(process_end(processes[--count]), 0);
    return rc;
}

/* The server begins when few descriptors are allowed. */
static void begin_with_few(void *unused)
{
    struct gate *gate = heap_gate();
    struct rlimit before, few;

    (void)unused;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = FEW, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    forkserver_anew();
    ck_assert_rc(tine__forkserver_begin(), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_rc(start_more(gate), 0);
    tine_free(gate);
}

TEST(it_watches_as_many_as_the_program_may_start)
{
    struct child child = child_start(begin_with_few, NULL);

    child_join(&child);
}

static void start_too_many(void *unused)
{
    struct gate *gate = heap_gate(), *first = heap_gate();
    uint64_t blocks = heap_blocks();
    tine_process *process;
    struct rlimit few;

    (void)unused;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &few), 0);
    few.rlim_cur = FEW;
    forkserver_anew();
    process = start_waiting(first);
    ck_assert_int_eq(prlimit(server_of(process), RLIMIT_NOFILE, &few, NULL), 0);
    ck_assert_rc(start_more(gate), -EMFILE);
    gate_raise(first);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_uint_le(heap_blocks(), blocks);
    tine_free(first);
    tine_free(gate);
}

TEST(one_too_many_is_refused)
{
    struct child child = child_start(start_too_many, NULL);

    child_join(&child);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void *start_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < 25; i++) {
        tine_process *process;

        ck_assert_rc(tine_process_start(&process, exit_six, &served, ""), 0);
        ck_assert_int_eq(process_end(process), 6);
    }
    return NULL;
}

TEST(threads_ask_it_at_once)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

TEST(a_hundred_run_at_once_and_know_nothing_of_each_other)
{
    struct gate *gate = heap_gate();
    tine_process *processes[100];
    uint64_t blocks = heap_blocks();

    for (int i = 0; i < 100; i++) {
        processes[i] = process_with(raise_only, TINE_FORKSERVER, gate);
        if (i % 2 == 0)
            ck_assert_rc(tine_process_kill(processes[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        int exitcode = process_end(processes[i]);

        ck_assert(exitcode == 0 || (i % 2 == 0 && exitcode == -SIGKILL));
    }
    ck_assert_uint_le(heap_blocks(), blocks);
    tine_free(gate);
}

static void ask_in_fork(void *unused)
{
    (void)unused;
    start_many(NULL);
}

TEST(forks_of_the_program_may_ask_it)
{
    struct child child = child_start(ask_in_fork, NULL);

    start_many(NULL);
    child_join(&child);
}

static void preload(void *context)
{
    const char *gate = getenv(SLOW);

    ++*(int *)context;
    if (gate != NULL)
        gate_await((struct gate *)strtoull(gate, NULL, 16), 1);
}

int main(int argc, char **argv)
{
    tine_set_forkserver_preload(preload, &preloaded);
    if (tine_init(&argc, &argv) < 0)
        return 99;
    tine_free(tine_alloc(1));
    return suite_main("pool/process_forkserver", argc, argv);
}
