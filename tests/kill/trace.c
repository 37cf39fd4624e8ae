/* SPDX-License-Identifier: MIT */
/* Stepping through a process of a pool, which is no child of the test's: ptrace, seized while it
   sleeps. */
#include "tests/kill/trace.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define LOOK_US 5000

static void interrupt_wait(int signal)
{
    (void)signal;
}

void trace_looks(bool on)
{
    struct itimerval every = {.it_interval = {.tv_usec = on ? LOOK_US : 0}};
    struct sigaction action = {.sa_handler = on ? interrupt_wait : SIG_DFL};

    every.it_value = every.it_interval;
    if (on)
        ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    if (!on)
        ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
}

bool trace_await_stop(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, __WALL) < 0) {
        ck_assert_int_eq(errno, EINTR);
        if (proc_asleep(pid))
            return false;
    }
    return WIFSTOPPED(status);
}

bool trace_grip(pid_t pid)
{
    ck_assert_eventually(proc_asleep(pid));
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
        return false;
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, __WALL), pid);
    return true;
}

size_t trace_step(pid_t pid, size_t steps)
{
    size_t taken = 0;

    trace_looks(true);
    for (; taken < steps; taken++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0) { /* it was killed just now */
            ck_assert_int_eq(errno, ESRCH);
            break;
        }
        if (!trace_await_stop(pid))
            break;
        ck_assert_uint_lt(taken, TRACE_STEPS_MAX);
    }
    trace_looks(false);
    return taken;
}

void trace_kill(pid_t pid)
{
    int status;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    do
        ck_assert_int_eq(waitpid(pid, &status, __WALL), pid);
    while (!WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}

void trace_release(pid_t pid)
{
    int status = 0;

    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0)
        return;
    /* It is dead, or sleeps in a step that ends with a SIGTRAP of its own, which would kill it
       later. */
    (void)ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    for (;;) {
        if (waitpid(pid, &status, __WALL) < 0) { /* its death has been seen before */
            ck_assert_int_eq(errno, ECHILD);
            return;
        }
        if (!WIFSTOPPED(status))
            return;
        if (status >> 16 == 0)
            break;
        (void)ptrace(PTRACE_CONT, pid, NULL, NULL);
    }
    if (ptrace(PTRACE_DETACH, pid, NULL, NULL) != 0)
        ck_assert_int_eq(waitpid(pid, NULL, __WALL), pid);
}

size_t trace_point(size_t p, size_t points, size_t way)
{
    size_t begin = p * way / points, end = (p + 1) * way / points;

    return begin + (end > begin ? random_below(end - begin) : 0);
}
