/* SPDX-License-Identifier: MIT */
/*
 * Every allocation, fork and descriptor of a start fails once: the k-th for k = 1, 2, … until a run
 * needs fewer. The linker's --wrap puts the functions below in the way (module.mk).
 */
#include <tine/process.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/sys.h"
#include "pool/forkserver.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

static pid_t program;
static int left; /* calls in the program until the one that fails; 0: none */

static bool must_fail(void)
{
    return left > 0 && getpid() == program && --left == 0;
}

static bool threads_fail, exit_fails, dup_fails, mapping_fails;
static _Atomic bool *watching_fails; /* once, in the forkserver */

__attribute__((constructor)) static void share_with_forkserver(void)
{
    watching_fails = shared_memory(sizeof *watching_fails);
}

WRAP(must_fail(), void *, calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(must_fail(), void *, realloc, NULL, (void *block, size_t size), (block, size))
WRAP(must_fail(), void *, tine_calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(must_fail(), int, tine__sys_pidfd_open, -EMFILE, (pid_t pid), (pid))
WRAP(mapping_fails, void *, tine__sys_map_shared, NULL, (size_t size), (size))
WRAP(must_fail(), int, tine__sys_dup, -EMFILE, (int fd), (fd))
WRAP(threads_fail, int, pthread_create, EAGAIN,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument),
     (thread, attributes, body, argument))
WRAP(exit_fails, int, on_exit, -1, (void (*handler)(int, void *), void *argument),
     (handler, argument))
WRAP(dup_fails, int, dup2, (errno = EMFILE, -1), (int from, int to), (from, to))
WRAP(what == EPOLL_CTL_ADD && atomic_exchange(watching_fails, false), int, epoll_ctl,
     (errno = ENOSPC, -1), (int epoll, int what, int fd, struct epoll_event *event),
     (epoll, what, fd, event))

/* What a thread of the program's that reaps everything can do to whoever forks. */
static enum { REAPED_LATER, REAPED_FIRST, REAPED_AT_ONCE } reaped;
static int kills;

pid_t __real_fork(void);
pid_t __wrap_fork(void);

pid_t __wrap_fork(void)
{
    bool here = getpid() == program;
    pid_t pid;

    if (must_fail()) {
        errno = EAGAIN;
        return -1;
    }
    pid = __real_fork();
    if (pid == 0 && here && reaped == REAPED_AT_ONCE)
        _exit(0);
    if (pid > 0 && here && reaped != REAPED_LATER)
        waitpid(pid, NULL, 0);
    return pid;
}

WRAP(reaped != REAPED_LATER && getpid() == program && ++kills > 0, int, kill, 0,
     (pid_t pid, int number), (pid, number))

static int raise_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "pFFy", &gate, NULL, NULL, NULL, NULL), 0);
    gate_raise(gate);
    return 0;
}

TEST(a_start_that_fails_leaves_nothing, .loop_end = START_METHODS)
{
    tine_process_options options = {.start = start_method(loop_index)};
    struct gate *gate = heap_gate();
    uint64_t blocks = heap_blocks();
    static const uint8_t many[1000];
    int failures = 0, rc = -1;

    program = getpid();
    for (int k = 1; rc < 0; k++) {
        tine_process *process = NULL;

        left = k;
        rc = tine_process_start(&process, raise_gate, &options, "pFFy", gate, 1, 2, many,
                                sizeof many);
        left = 0;
        failures += rc < 0;
        ck_assert_msg(rc == 0 || rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE, "call %d: %d", k,
                      rc);
        if (rc < 0) {
            ck_assert_ptr_null(process);
            ck_assert_uint_eq(gate->raised, 0);
        } else {
            ck_assert_int_eq(process_end(process), 0);
        }
        ck_assert_uint_le(heap_blocks(), blocks);
        ck_assert_int_eq(tine_process_active_children(NULL, 0), 0);
    }
    ck_assert_int_ge(failures, 5);
    ck_assert_uint_eq(gate->raised, 1);
    tine_free(gate);
}

static int return_args(tine_call *call)
{
    const void *bytes;
    size_t size;

    ck_assert_rc(tine_args(call, "y", &bytes, &size), 0);
    return tine_fail(call, -ECHRNG, "%zu bytes", size);
}

/* Of few and of many arguments, which are more than a block holds. */
TEST(without_a_block_the_heap_is_shared_with_a_fork, .loop_end = 4)
{
    static const uint8_t many[5000];
    tine_process_options options = {.start = TINE_FORK};
    size_t size = loop_index % 2 == 0 ? 5 : sizeof many;
    uint64_t blocks = heap_blocks();
    tine_process *processes[10];
    tine_failure failure;
    char text[32];

    snprintf(text, sizeof text, "%zu bytes", size);
    mapping_fails = loop_index < 2;
    for (int i = 0; i < 10; i++)
        ck_assert_rc(tine_process_start(&processes[i], return_args, &options, "y", many, size), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_rc(tine_process_join(processes[i], TINE_FOREVER), 0);
        ck_assert_rc(tine_process_failure(processes[i], &failure), 1);
        ck_assert_int_eq(failure.error, -ECHRNG);
        ck_assert_str_eq(failure.message, text);
        tine_process_close(processes[i]);
    }
    ck_assert_uint_le(heap_blocks(), blocks);
    mapping_fails = false;
}

static int never_run(tine_call *call)
{
    (void)call;
    ck_abort_msg("it has no watcher");
}

TEST(a_daemon_without_its_thread_does_not_begin)
{
    tine_process_options options = {.start = TINE_FORK, .daemon = TINE_DAEMON};
    tine_process *process;
    tine_failure failure;

    threads_fail = true;
    ck_assert_rc(tine_process_start(&process, never_run, &options, ""), 0);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 1);
    ck_assert_int_eq(failure.error, -EAGAIN);
    tine_process_close(process);
    threads_fail = false;
}

static void leave_a_mark(void)
{
    if (getpid() != program)
        _exit(77);
}

TEST(a_process_that_cannot_leave_as_it_should_does_not_begin)
{
    tine_process_options options = {.start = TINE_FORK};
    tine_process *process;
    tine_failure failure;

    program = getpid();
    ck_assert_int_eq(atexit(leave_a_mark), 0); /* the program's: not to run in the process */
    exit_fails = true;
    ck_assert_rc(tine_process_start(&process, never_run, &options, ""), 0);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 1);
    ck_assert_int_eq(failure.error, -ENOMEM);
    tine_process_close(process);
    exit_fails = false;
}

static int look_at_stdin(tine_call *call)
{
    (void)call;
    return fcntl(STDIN_FILENO, F_GETFD) < 0 ? -errno : 0;
}

TEST(standard_input_is_never_read_instead_of_dev_null)
{
    tine_process_options options = {.start = TINE_FORK, .flags = TINE_PROCESS_NO_STDIN};
    tine_process *process;
    tine_failure failure;

    dup_fails = true;
    ck_assert_rc(tine_process_start(&process, look_at_stdin, &options, ""), 0);
    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_failure(process, &failure), 1);
    ck_assert_int_eq(failure.error, -EBADF);
    tine_process_close(process);
    dup_fails = false;
}

static int say_parent(tine_call *call)
{
    _Atomic pid_t *server;

    ck_assert_rc(tine_args(call, "p", &server), 0);
    atomic_store(server, getppid());
    return 0;
}

static bool has_children(pid_t pid)
{
    struct proc proc;
    DIR *directory = opendir("/proc");
    bool found = false;
    pid_t next;

    ck_assert_ptr_nonnull(directory);
    while ((next = proc_next(directory)) >= 0)
        found = found || (proc_read(next, &proc) && proc.parent == pid);
    closedir(directory);
    return found;
}

TEST(a_forkserver_keeps_no_process_that_it_cannot_watch)
{
    tine_process_options options = {.start = TINE_FORKSERVER};
    _Atomic pid_t *server = tine_calloc(1, sizeof *server);
    uint64_t blocks = heap_blocks();
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, say_parent, &options, "p", server), 0);
    ck_assert_int_eq(process_end(process), 0);
    atomic_store(watching_fails, true);
    for (int ended = 0, rc = 0; rc == 0 && ended == 0;) {
        rc = tine_process_start(&process, say_parent, &options, "p", server);
        ck_assert_msg(rc == 0 || rc == -EAGAIN, "%s", tine_errname(rc));
        if (rc == 0) /* it was quicker than its end */
            ended = process_end(process);
    }
    ck_assert(!atomic_load(watching_fails));
    ck_assert(!has_children(atomic_load(server)));
    ck_assert_uint_le(heap_blocks(), blocks);
    ck_assert_rc(tine_process_start(&process, say_parent, &options, "p", server), 0);
    ck_assert_int_eq(process_end(process), 0);
    tine_free(server);
}

static int do_nothing(tine_call *call)
{
    (void)call;
    return 0;
}

static void start_reaped(void *unused)
{
    tine_process_options forked = {.start = TINE_FORK};
    tine_process *process = NULL;

    (void)unused;
    program = getpid();
    reaped = REAPED_AT_ONCE;
    ck_assert_rc(tine_process_start(&process, do_nothing, &forked, ""), TINE_EBROKEN);
    ck_assert_ptr_null(process);
    reaped = REAPED_FIRST; /* the step between this process and its server */
    tine__forkserver_forget();
    ck_assert_rc(tine__forkserver_begin(), 0);
    reaped = REAPED_LATER;
    ck_assert_int_eq(process_end(process_of(do_nothing, TINE_FORKSERVER)), 0);
    ck_assert_int_eq(kills, 0); /* the pid is a stranger's by now */
    program = 0;
}

TEST(a_child_that_somebody_else_reaps_at_once_is_none_of_ours)
{
    struct child child = child_start(start_reaped, NULL);

    child_join(&child);
}

SUITE_WITH_INIT("pool/process_faults")
