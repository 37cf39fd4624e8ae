/* SPDX-License-Identifier: MIT */
/*
 * Every allocation, fork and descriptor of a start fails once: the k-th for k = 1, 2, … until a run
 * needs fewer. The linker's --wrap puts the functions below in the way (module.mk).
 */
#include <tine/process.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/sys.h"
#include "tests/pool/processes.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static pid_t program;
static int left; /* calls in the program until the one that fails; 0: none */

static bool must_fail(void)
{
    return left > 0 && getpid() == program && --left == 0;
}

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_tine_calloc(size_t count, size_t size);
pid_t __real_fork(void);
int __real_tine__sys_pidfd_open(pid_t pid);
int __real_tine__sys_dup(int fd);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_tine_calloc(size_t count, size_t size);
pid_t __wrap_fork(void);
int __wrap_tine__sys_pidfd_open(pid_t pid);
int __wrap_tine__sys_dup(int fd);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument);

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return must_fail() ? NULL : __real_realloc(block, size);
}

void *__wrap_tine_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __real_tine_calloc(count, size);
}

pid_t __wrap_fork(void)
{
    if (must_fail()) {
        errno = EAGAIN;
        return -1;
    }
    return __real_fork();
}

int __wrap_tine__sys_pidfd_open(pid_t pid)
{
    return must_fail() ? -EMFILE : __real_tine__sys_pidfd_open(pid);
}

int __wrap_tine__sys_dup(int fd)
{
    return must_fail() ? -EMFILE : __real_tine__sys_dup(fd);
}

static bool threads_fail;

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*body)(void *), void *argument)
{
    return threads_fail ? EAGAIN : __real_pthread_create(thread, attributes, body, argument);
}

static int raise_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "pFF", &gate, NULL, NULL), 0);
    gate_raise(gate);
    return 0;
}

TEST(a_start_that_fails_leaves_nothing, .loop_end = START_METHODS)
{
    tine_process_options options = {.start = start_method(loop_index)};
    struct gate *gate = heap_gate();
    uint64_t blocks = heap_blocks();
    int failures = 0, rc = -1;

    program = getpid();
    for (int k = 1; rc < 0; k++) {
        tine_process *process = NULL;

        left = k;
        rc = tine_process_start(&process, raise_gate, &options, "pFF", gate, 1, 2);
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

SUITE_WITH_INIT("pool/process_faults")
