/* SPDX-License-Identifier: MIT */
/*
 * The program itself is SIGKILLed, whatever it and its workers are doing: nursery and workers are
 * gone soon after. The test adopts them, so that it sees the very last one end.
 *
 * Every program here has a family of its own, whose heap goes with it.
 */
#include <tine.h>

#include <signal.h>
#include <unistd.h>

#include "tests/kill/methods.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   60 /* in each state */
#define WORKERS 3

enum state { OPENING, IDLE, BUSY, WAITING, STOPPED, STATES };

static const char *const names[STATES] = {
    [OPENING] = "program.killed.opening", [IDLE] = "program.killed.idle",
    [BUSY] = "program.killed.busy",       [WAITING] = "program.killed.waiting",
    [STOPPED] = "program.killed.stopped",
};

struct program {
    enum state state;
    struct gate *up; /* raised once by the program, and once by each task that has begun */
    struct gate *never;
};

static int add_indices(size_t begin, size_t end, void *context)
{
    volatile size_t sum = 0;

    (void)context;
    for (size_t i = begin; i < end; i++)
        sum += i;
    (void)sum; /* clang counts no `+=` as a use, of a volatile neither */
    return 0;
}

/* Nothing but SIGKILL ends it. */
static int wait_in_vain(tine_call *call)
{
    struct program *program = tine_call_context(call);
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    gate_raise(program->up);
    gate_await(program->never, 1);
    return 0;
}

static void start_tasks(struct program *program, tine_pool *pool)
{
    tine_job_options options = {.context = program, .context_size = sizeof *program};

    for (int i = 0; i < WORKERS; i++) {
        tine_future *future;

        ck_assert_ok(tine_pool_submit(&future, pool, wait_in_vain, &options, ""));
    }
}

static _Noreturn void run_program(void *context)
{
    struct program *program = context;
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = WORKERS}));
    if (program->state == WAITING || program->state == STOPPED)
        start_tasks(program, pool);
    gate_raise(program->up);
    while (program->state == BUSY)
        ck_assert_ok(tine_pool_for(pool, 1 + random_below(100000), add_indices, NULL));
    for (;;)
        pause();
}

static void stop_workers(pid_t program)
{
    struct hunt hunt;
    pid_t workers[HUNT_WORKERS_MAX];
    int count;

    hunt_begin(&hunt, program);
    count = hunt_children(hunt.nursery, workers, HUNT_WORKERS_MAX);
    for (int i = 0; i < count; i++)
        hunt_signal(hunt.nursery, workers[i], SIGSTOP);
}

TEST(everything_of_a_killed_program_goes_with_it, .kills = KILLS, .timeout_s = 60,
     .loop_end = STATES)
{
    struct program program = {.state = (enum state)loop_index, .never = gate_new()};
    struct samples samples = {.name = names[loop_index], .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS);
    uint32_t raised = 0;

    program.up = gate_new();
    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        struct child child = child_start(run_program, &program);
        int64_t begin;

        if (program.state != OPENING)
            gate_await(program.up, raised += program.state >= WAITING ? WORKERS + 1 : 1);
        if (program.state == STOPPED)
            stop_workers(child.pid);
        pause_randomly(program.state == WAITING ? TINE_US(100) : TINE_MS(3));
        begin = now_ns();
        child_kill(&child);
        orphans_reap();
        samples_add(&samples, (uint64_t)(now_ns() - begin));
    }
    samples_end(&samples);
}

SUITE_OF_FAMILIES("kill/program")
