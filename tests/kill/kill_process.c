/* SPDX-License-Identifier: MIT */
/*
 * Processes are SIGKILLed at random instants, and so are those that start them: every join returns, the
 * exit code is the kernel's, daemons go with their parent.
 */
#include <tine.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   50
#define WAITERS 4

/* The ways to start a process. */
#define WAYS 3
static const int32_t ways[WAYS] = {TINE_FORK, TINE_SPAWN, TINE_FORKSERVER};
#define OWN_WAYS 2 /* in which the processes are our own children */

static int come_and_go(tine_call *call)
{
    void *block = tine_alloc(100);

    (void)call;
    tine_free(block);
    exit(7);
}

struct waiter {
    tine_process *process;
    int64_t told_ns;
    int exitcode;
};

static void *wait_for_it(void *context)
{
    struct waiter *waiter = context;

    ck_assert_rc(tine_process_join(waiter->process, TINE_FOREVER), 0);
    waiter->told_ns = now_ns();
    ck_assert_rc(tine_process_exitcode(waiter->process, &waiter->exitcode), 0);
    return NULL;
}

/* At any instant of its life. */
TEST(all_who_join_are_told_alike, .kills = KILLS, .timeout_s = 60, .loop_end = WAYS)
{
    struct samples told = {.name = "process.killed.told", .bound_ns = (uint64_t)TINE_MS(100)};
    tine_process_options options = {.start = ways[loop_index]};
    size_t kills = kills_wanted(KILLS), killed = 0;

    for (size_t i = 0; i < kills; i++) {
        struct waiter waiters[WAITERS];
        pthread_t threads[WAITERS];
        tine_process *process;
        int64_t death;

        ck_assert_ok(tine_process_start(&process, come_and_go, &options, ""));
        for (int k = 0; k < WAITERS; k++) {
            waiters[k] = (struct waiter){.process = process};
            ck_assert_int_eq(pthread_create(&threads[k], NULL, wait_for_it, &waiters[k]), 0);
        }
        pause_randomly(TINE_US(500));
        ck_assert_rc(tine_process_kill(process), 0);
        death = now_ns();
        for (int k = 0; k < WAITERS; k++) {
            ck_assert_int_eq(pthread_join(threads[k], NULL), 0);
            ck_assert_int_eq(waiters[k].exitcode, waiters[0].exitcode);
            ck_assert(waiters[k].exitcode == 7 || waiters[k].exitcode == -SIGKILL);
        }
        killed += waiters[0].exitcode == -SIGKILL;
        samples_add(&told, waiters[0].told_ns > death ? (uint64_t)(waiters[0].told_ns - death) : 0);
        tine_process_close(process);
    }
    printf("%zu of %zu were killed before their end\n", killed, kills);
    samples_end(&told);
}

static int stay(tine_call *call)
{
    struct gate *gate;

    ck_assert_ok(tine_args(call, "p", &gate));
    gate_raise(gate);
    for (;;)
        pause();
}

struct family {
    struct gate *gate; /* in the heap */
    int32_t start;
};

/* Starts daemons until it is killed. */
static void start_daemons(void *context)
{
    struct family *family = context;
    tine_process_options options = {.start = family->start, .daemon = TINE_DAEMON};

    for (;;) {
        tine_process *process;

        ck_assert_ok(tine_process_start(&process, stay, &options, "p", family->gate));
        if (tine_process_active_children(NULL, 0) > 3) {
            ck_assert_rc(tine_process_kill(process), 0);
            ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
            tine_process_close(process);
        }
    }
}

/* In the midst of a start, too. */
TEST(daemons_go_with_a_parent_that_is_killed, .kills = KILLS, .timeout_s = 60, .loop_end = OWN_WAYS)
{
    struct samples gone = {.name = "process.parent.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    struct family family = {.gate = tine_calloc(1, sizeof *family.gate), .start = ways[loop_index]};
    size_t kills = kills_wanted(KILLS);

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        struct child child = child_start(start_daemons, &family);
        uint32_t raised = atomic_load(&family.gate->raised);
        int64_t death;

        gate_await(family.gate, raised + 1 + (uint32_t)random_below(3));
        pause_randomly(TINE_MS(1));
        child_kill(&child);
        death = now_ns();
        orphans_reap();
        samples_add(&gone, (uint64_t)(now_ns() - death));
    }
    samples_end(&gone);
    tine_free(family.gate);
}

static int tell_server(tine_call *call)
{
    _Atomic pid_t *server;

    ck_assert_ok(tine_args(call, "p", &server));
    atomic_store(server, getppid());
    return 0;
}

static int end_of(tine_process *process)
{
    int exitcode;

    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), 0);
    tine_process_close(process);
    return exitcode;
}

static void kill_soon(void *context)
{
    pause_randomly(TINE_US(600));
    kill(*(pid_t *)context, SIGKILL);
}

/* While processes start and end: every start gets one, and every join returns. */
static void lose_servers(void *unused)
{
    struct samples started = {.name = "process.server.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    tine_process_options options = {.start = TINE_FORKSERVER};
    _Atomic pid_t *server = tine_calloc(1, sizeof *server);
    size_t kills = kills_wanted(KILLS), unknown = 0;

    (void)unused;
    for (size_t i = 0; i < kills; i++) {
        tine_process *process;
        struct child killer;
        pid_t victim;

        ck_assert_ok(tine_process_start(&process, tell_server, &options, "p", server));
        ck_assert_int_eq(end_of(process), 0);
        victim = atomic_load(server);
        killer = child_start(kill_soon, &victim);
        for (int k = 0; k < 3; k++) {
            int64_t begin = now_ns();
            int exitcode;

            ck_assert_ok(tine_process_start(&process, come_and_go, &options, ""));
            samples_add(&started, (uint64_t)(now_ns() - begin));
            exitcode = end_of(process);
            ck_assert(exitcode == 7 || exitcode == 255);
            unknown += exitcode == 255;
        }
        child_join(&killer);
    }
    printf("%zu servers killed, %zu exit codes unknown\n", kills, unknown);
    samples_end(&started);
    tine_free((void *)server);
}

TEST(a_killed_forkserver_costs_exit_codes_only, .kills = KILLS, .timeout_s = 60)
{
    struct child child = child_start(lose_servers, NULL);

    child_join(&child);
}

SUITE_WITH_INIT("kill/process")
