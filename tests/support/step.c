/* SPDX-License-Identifier: MIT */
/* Killing at every instruction, by ptrace; see step.h. */
#include "tests/support/step.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/held.h"
#include "shm/owner.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/trace.h"

/* Far more than any operation makes: an endless loop is told from a long way. */
#define LENGTH_MAX 100000000L
/* How often a way is measured in the hope that the others keep to it. */
#define WAYS 3

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

static void interrupt_wait(int signal)
{
    (void)signal;
}

/* While a process is stepped that may sleep, every `ms` somebody looks whether it does; 0: no
   more. */
static void look_every(int ms)
{
    struct itimerval every = {.it_interval = {ms / 1000, ms % 1000 * 1000}};
    struct sigaction action = {.sa_handler = interrupt_wait};
    static struct sigaction before;

    every.it_value = every.it_interval;
    if (ms != 0)
        ck_assert_int_eq(sigaction(SIGALRM, &action, &before), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    if (ms == 0)
        ck_assert_int_eq(sigaction(SIGALRM, &before, NULL), 0);
}

/*
 * Waits for the end of one step. False: it sleeps in the kernel, for longer than it may. (On a busy
 * machine it may also wait that long for a CPU; that is no sleep.)
 */
static bool await_stop(pid_t pid, int *status, int sleeps_ms)
{
    int64_t end = now_ns() + (int64_t)sleeps_ms * 1000000;

    while (waitpid(pid, status, 0) != pid) {
        ck_assert_int_eq(errno, EINTR);
        if (now_ns() >= end && proc_asleep(pid))
            return false;
    }
    return true;
}

/* At most `steps` instructions; how many it made before it had done, or slept. */
static long step_once_each(const struct step *step, pid_t pid, long steps, struct trace *trace)
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
        if (trace != NULL)
            trace_add(trace, pid);
        if (step->until != NULL && step->until(step->context))
            return n + 1;
    }
    return steps;
}

static long step_on(const struct step *step, pid_t pid, long steps, struct trace *trace)
{
    long made;

    if (step->sleeps_ms != 0)
        look_every(step->sleeps_ms);
    made = step_once_each(step, pid, steps, trace);
    if (step->sleeps_ms != 0)
        look_every(0);
    return made;
}

/* Of these the way is the same each time, and nothing has to be looked at on it. */
static bool is_straight(const struct step *step)
{
    return !step->system_calls && step->sleeps_ms == 0 && step->until == NULL;
}

static long measure(const struct step *step, struct trace *trace)
{
    pid_t pid = start_victim(step);
    long length;

    if (!is_straight(step))
        trace = NULL;
    if (trace != NULL)
        trace_add(trace, pid);
    length = step_on(step, pid, LENGTH_MAX, trace);
    if (trace != NULL)
        trace_index(trace);
    ck_assert_int_gt(length, 0);
    kill_victim(pid);
    step->check(length, pid, step->context);
    return length;
}

/* It has done: it went another way than its predecessor and did not come by. */
#define MISSED (-1)

/* At which step it is now: the landmark's, or 0 where breakpoints are not to be had; or MISSED. */
static long run_to(pid_t pid, long landmark, uint64_t address)
{
    int status;

    if (landmark == 0 || trace_break(pid, address) != 0)
        return 0;
    ck_assert_int_eq(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSTOPPED(status), "the victim ended by itself before step %ld", landmark);
    if (WSTOPSIG(status) == SIGSTOP)
        return MISSED;
    ck_assert(WSTOPSIG(status) == SIGTRAP && trace_address(pid) == address);
    ck_assert_int_eq(trace_break(pid, 0), 0);
    return landmark;
}

/* False: it was not killed there, but at the end of its way. */
static bool kill_after(const struct step *step, long steps, const struct trace *trace)
{
    long landmark = trace_landmark(trace, steps), at;
    pid_t pid = start_victim(step);

    at = run_to(pid, landmark, landmark == 0 ? 0 : trace->visits[landmark].address);
    if (at == MISSED)
        steps = trace->count;
    else
        step_on(step, pid, steps - at, NULL);
    if (step->meanwhile != NULL)
        step->meanwhile(steps, step->context);
    kill_victim(pid);
    step->check(steps, pid, step->context);
    return at != MISSED;
}

/* How many points are wanted. */
static long points_of(long points, long length)
{
    const char *wish = getenv("TINE_STEPS");

    if (wish == NULL)
        return points;
    return strcmp(wish, "all") == 0 ? length : atol(wish);
}

/* From one point to the next. */
static long stride_of(long points, long length)
{
    return points >= length ? 1 : length / (points < 1 ? 1 : points) + 1;
}

/*
 * How many points were taken; *missed: one of them was not. Where it begins is drawn, so that many
 * runs together see many instants.
 */
static long kill_along(const struct step *step, long points, long length, const struct trace *trace,
                       bool *missed)
{
    long stride = stride_of(points_of(points, length), length), taken = 0;
    long first = 1 + (long)random_below((uint64_t)(stride < length ? stride : length));

    *missed = false;
    for (long n = first; n <= length && !*missed; n += stride, taken++)
        *missed = !kill_after(step, n, trace);
    return taken;
}

/*
 * The first victim may go another way than those that find in place what it brought about. Whoever
 * misses a landmark has the way measured again; where it is never the same, all go step by step.
 */
long step_kill_everywhere(const struct step *step, long points)
{
    struct trace trace = {0};
    bool missed = true;
    long taken = 0;

    for (int way = 0; missed; way++) {
        long length = measure(step, way < WAYS ? &trace : NULL);

        taken += 1 + kill_along(step, points, length, &trace, &missed);
        trace_free(&trace);
    }
    return taken;
}
