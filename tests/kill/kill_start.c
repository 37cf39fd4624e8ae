/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL between any two instructions of a start: the program that starts a process, the new
 * process and the forkserver are single-stepped through it, and killed after n steps, for n all
 * over that way. No call hangs, a process runs once or never, what a start returned is true, and
 * the next start finds all in order. With TINE_KILLS ten times as large as the way is long, every
 * instruction has its turn.
 */
#include <tine.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kill/trace.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS 4 /* a tenth of TINE_KILLS: each takes thousands of steps */
#define LOST   4 /* blocks of the heap, at most, by each kill */

static const int32_t ways[] = {TINE_FORK, TINE_SPAWN, TINE_FORKSERVER};

/* Shared with the forkserver of tine_init(), and so with its processes. */
static struct hold {
    _Atomic pid_t parent; /* its next child waits, in the fork itself */
    _Atomic pid_t child;
    struct gate go, ready, done;
} * hold;

/* Of other parents as well, a child may get here only now, long after its fork: the suite's
   watchdog, for one. */
static void hold_child(void)
{
    pid_t parent = getppid();

    if (!atomic_compare_exchange_strong(&hold->parent, &parent, 0))
        return;
    atomic_store(&hold->child, getpid());
    gate_await(&hold->go, 1);
}

static void reset_hold(pid_t parent)
{
    memset(hold, 0, sizeof *hold);
    atomic_store(&hold->parent, parent);
}

__attribute__((constructor)) static void make_hold(void)
{
    void *memory =
        mmap(NULL, sizeof *hold, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return;
    hold = memory;
    pthread_atfork(NULL, NULL, hold_child);
}

/* ---- what is started ------------------------------------------------------------------------- */

struct run {
    int32_t start;
    struct gate *ran; /* in the heap */
    tine_process *process;
    int rc;
};

static int raise_ran(tine_call *call)
{
    struct gate *ran;

    ck_assert_ok(tine_args(call, "p", &ran));
    gate_raise(ran);
    return 0;
}

static void *start_it(void *context)
{
    struct run *run = context;
    /* who is stepped takes his time */
    tine_process_options options = {.start = run->start, .start_timeout_ns = TINE_SEC(3600)};

    run->rc = tine_process_start(&run->process, raise_ran, &options, "p", run->ran);
    return NULL;
}

static int end_of(tine_process *process)
{
    int exitcode;

    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), 0);
    tine_process_close(process);
    return exitcode;
}

static uint64_t used_blocks(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_blocks;
}

/* A start as ever: nothing is left locked, nobody waits for the dead. */
static void start_another(int32_t start)
{
    struct run run = {.start = start, .ran = tine_calloc(1, sizeof *run.ran)};

    start_it(&run);
    ck_assert_rc(run.rc, 0);
    ck_assert_int_eq(end_of(run.process), 0);
    ck_assert_uint_eq(run.ran->raised, 1);
    tine_free(run.ran);
}

/* Traced, at any point: it may also have ended by itself. */
static void kill_traced(pid_t pid)
{
    int status = 0;

    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
        continue;
}

/* As trace_step(), but on over each sleep until the gate is raised. */
static size_t step_until(pid_t pid, size_t steps, struct gate *done)
{
    size_t taken = 0;
    bool stopped = true;

    trace_looks(true);
    while (stopped && taken < steps && ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0) {
        do
            stopped = trace_await_stop(pid);
        while (!stopped && atomic_load(&done->raised) == 0);
        taken += stopped;
        ck_assert_uint_lt(taken, TRACE_STEPS_MAX);
    }
    trace_looks(false);
    return taken;
}

/* Kills after each so many steps of the way that the first call finds. */
static void kill_along(size_t (*kill_after)(int32_t start, size_t steps), int32_t start)
{
    size_t points = kills_wanted(POINTS * 10) / 10, way = kill_after(start, TRACE_FOR_EVER);

    if (way == 0)
        SKIP("it cannot be traced: %s", strerror(errno));
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        kill_after(start, trace_point(p, points, way));
    printf("start method %d: %zu of %zu instructions\n", (int)start, points, way);
    fflush(stdout); /* in a child, too */
}

static int tell_server(tine_call *call)
{
    _Atomic pid_t *server;

    ck_assert_ok(tine_args(call, "p", &server));
    atomic_store(server, getppid());
    return 0;
}

static pid_t find_server(void)
{
    tine_process_options options = {.start = TINE_FORKSERVER};
    _Atomic pid_t *told = tine_calloc(1, sizeof *told);
    tine_process *process;
    pid_t server;

    ck_assert_ok(tine_process_start(&process, tell_server, &options, "p", told));
    ck_assert_int_eq(end_of(process), 0);
    server = atomic_load(told);
    tine_free((void *)told);
    return server;
}

/* ---- the new process ------------------------------------------------------------------------- */

static size_t kill_process_after(int32_t start, size_t steps)
{
    struct run run = {.start = start, .ran = tine_calloc(1, sizeof *run.ran)};
    pthread_t thread;
    size_t taken = 0;
    bool gripped;

    reset_hold(start == TINE_FORK ? getpid() : find_server());
    ck_assert_int_eq(pthread_create(&thread, NULL, start_it, &run), 0);
    ck_assert_eventually(atomic_load(&hold->child) != 0);
    gripped = trace_grip(hold->child);
    gate_raise(&hold->go);
    if (gripped) {
        taken = trace_step(hold->child, steps);
        kill_traced(hold->child);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    if (run.rc == 0) {
        int exitcode = end_of(run.process);

        /* 255: this process has reaped its own child, as its tracer, and the kernel has
           forgotten */
        ck_assert(exitcode == 0 || exitcode == -SIGKILL || (start == TINE_FORK && exitcode == 255));
        ck_assert(exitcode != 0 || run.ran->raised == 1);
    } else {
        ck_assert_rc(run.rc, TINE_EBROKEN);
        ck_assert_uint_eq(run.ran->raised, 0);
    }
    ck_assert_uint_le(run.ran->raised, 1);
    tine_free(run.ran);
    start_another(start);
    return taken;
}

TEST(a_new_process_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 120,
     .loop_end = 2, .own_signals = true)
{
    int32_t start = loop_index == 0 ? TINE_FORK : TINE_FORKSERVER;
    uint64_t blocks = used_blocks();

    kill_along(kill_process_after, start);
    ck_assert_uint_le(used_blocks(), blocks + LOST * (kills_wanted(POINTS * 10) / 10 + 1));
}

/* ---- the program that starts it -------------------------------------------------------------- */

static void be_starter(void *context)
{
    struct run *run = context;

    start_another(
        run->start); /* the first looks for the objects that are loaded, which takes long */
    gate_raise(&hold->ready);
    gate_await(&hold->go, 1);
    start_it(run);
    gate_raise(&hold->done);
    for (;;)
        pause();
}

static size_t kill_starter_after(int32_t start, size_t steps)
{
    struct run run = {.start = start, .ran = tine_calloc(1, sizeof *run.ran)};
    struct child child;
    size_t taken = 0;
    bool gripped;

    reset_hold(0);
    child = child_start(be_starter, &run);
    gate_await(&hold->ready, 1);
    gripped = trace_grip(child.pid);
    gate_raise(&hold->go);
    if (gripped)
        taken = step_until(child.pid, steps, &hold->done);
    kill_traced(child.pid);
    orphans_reap(); /* the process as well, if there is one */
    ck_assert_uint_le(run.ran->raised, 1);
    start_another(start); /* behind that of the dead: a forkserver has done with that one by now */
    ck_assert_uint_le(run.ran->raised, 1);
    return taken;
}

/* The gate of a process that a forkserver makes late is never freed: whoever it is may still raise
   it. */
TEST(a_starter_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 120, .loop_end = 3,
     .own_signals = true)
{
    uint64_t blocks = used_blocks();

    orphans_adopt();
    kill_along(kill_starter_after, ways[loop_index]);
    ck_assert_uint_le(used_blocks(), blocks + (LOST + 1) * (kills_wanted(POINTS * 10) / 10 + 1));
}

/* ---- the forkserver -------------------------------------------------------------------------- */

static size_t kill_server_after(int32_t start, size_t steps)
{
    struct run run = {.start = start, .ran = tine_calloc(1, sizeof *run.ran)};
    pid_t server = find_server();
    pthread_t thread;
    size_t taken;
    int exitcode;

    if (!trace_grip(server))
        return 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, start_it, &run), 0);
    taken = trace_step(server, steps);
    kill_traced(server);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_rc(run.rc, 0); /* by this server, or by the next */
    exitcode = end_of(run.process);
    ck_assert(exitcode == 0 || exitcode == 255);
    ck_assert_uint_eq(run.ran->raised, 1);
    tine_free(run.ran);
    return taken;
}

static void kill_servers(void *unused)
{
    uint64_t blocks = used_blocks();

    (void)unused;
    kill_along(kill_server_after, TINE_FORKSERVER);
    ck_assert_uint_le(used_blocks(), blocks + LOST * (kills_wanted(POINTS * 10) / 10 + 1));
}

/* In a child, so that its servers go with it. */
TEST(a_forkserver_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 120,
     .own_signals = true)
{
    struct child child = child_start(kill_servers, NULL);

    child_join(&child);
}

SUITE_WITH_INIT("kill/start")
