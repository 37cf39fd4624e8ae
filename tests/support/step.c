/* SPDX-License-Identifier: MIT */
/* Killing at every instruction, by ptrace; see step.h. */
#include "tests/support/step.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/held.h"
#include "shm/owner.h"
#include "tests/support/hunt.h"
#include "tests/support/suite.h"

/* Far more than any operation makes: an endless loop is told from a long way. */
#define LENGTH_MAX 100000000L

/* The victim: prepares, stops, runs the operation, stops again. */
static pid_t start_victim(const struct step *step)
{
    pid_t pid;
    int status;

    if (step->before != NULL)
        step->before(step->context);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* Finding out who it is takes ten thousand instructions, none of which others can see. */
        (void)tine__owner_word();
        (void)tine__self();
        if (step->prepare != NULL)
            step->prepare(step->context);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        step->run(step->context);
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    return pid;
}

static void kill_victim(pid_t pid)
{
    int status;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    do
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    while (!WIFSIGNALED(status));
}

/* Waits for the end of one step. False: it sleeps in the kernel, for longer than it may. */
static bool await_stop(pid_t pid, int *status, int sleeps_ms)
{
    int64_t end = now_ns() + (int64_t)sleeps_ms * 1000000;
    pid_t got;

    if (sleeps_ms == 0)
        return waitpid(pid, status, 0) == pid;
    while ((got = waitpid(pid, status, WNOHANG)) == 0 && now_ns() < end)
        sched_yield();
    return got == pid;
}

/* At most `steps` instructions; how many it made before it had done, or slept. */
static long step_on(const struct step *step, pid_t pid, long steps)
{
    int status;

    for (long n = 0; n < steps; n++) {
        if (ptrace(step->system_calls ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL, NULL) < 0)
            ck_abort_msg("step %ld: %s", n, strerror(errno));
        if (!await_stop(pid, &status, step->sleeps_ms))
            return n;
        ck_assert_msg(WIFSTOPPED(status), "the victim ended by itself after %ld steps", n);
        if (WSTOPSIG(status) == SIGSTOP)
            return n;
        if (step->until != NULL && step->until(step->context))
            return n + 1;
    }
    return steps;
}

static long measure(const struct step *step)
{
    pid_t pid = start_victim(step);
    long length = step_on(step, pid, LENGTH_MAX);

    kill_victim(pid);
    step->check(length, pid, step->context);
    return length;
}

static void kill_after(const struct step *step, long steps)
{
    pid_t pid = start_victim(step);

    step_on(step, pid, steps);
    kill_victim(pid);
    step->check(steps, pid, step->context);
}

long step_kill_everywhere(const struct step *step, long points)
{
    const char *wish = getenv("TINE_STEPS");
    long length = measure(step), stride, taken = 1;

    stride = wish != NULL && strcmp(wish, "all") == 0 ? 1 : length / points + 1;
    for (long n = 1; n <= length; n += stride, taken++)
        kill_after(step, n);
    return taken;
}
