/* SPDX-License-Identifier: MIT */
/*
 * Processes are SIGKILLed at random instants, and so are those that start them: every join returns,
 * the exit code is the kernel's, daemons go with their parent.
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

static void kill_server(void *unused)
{
    tine_process_options options = {.start = TINE_FORKSERVER};
    _Atomic pid_t *server = tine_calloc(1, sizeof *server);
    tine_process *process;

    (void)unused;
    ck_assert_ok(tine_process_start(&process, tell_server, &options, "p", server));
    ck_assert_int_eq(end_of(process), 0);
    ck_assert_int_eq(kill(*server, SIGKILL), 0);
    tine_free((void *)server);
}

/* The one that all from here have in common: theirs begin anew, and go with each of them. */
static void lose_common_server(void)
{
    struct child child = child_start(kill_server, NULL);

    child_join(&child);
}

/* In the heap. */
struct family {
    struct gate gate;
    int32_t start;
    _Atomic pid_t server; /* or who else has forked the last daemon */
};

static int stay(tine_call *call)
{
    struct family *family;

    ck_assert_ok(tine_args(call, "p", &family));
    atomic_store(&family->server, getppid());
    gate_raise(&family->gate);
    for (;;)
        pause();
}

/* Starts daemons until it is killed. */
static void start_daemons(void *context)
{
    struct family *family = context;
    tine_process_options options = {.start = family->start, .daemon = TINE_DAEMON};

    for (;;) {
        tine_process *process;

        ck_assert_ok(tine_process_start(&process, stay, &options, "p", family));
        if (tine_process_active_children(NULL, 0) > 3) {
            ck_assert_rc(tine_process_kill(process), 0);
            ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
            tine_process_close(process);
        }
    }
}

/* In the midst of a start, too. */
TEST(daemons_go_with_a_parent_that_is_killed, .kills = KILLS, .timeout_s = 60, .loop_end = WAYS)
{
    struct samples gone = {.name = "process.parent.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    struct family *family = tine_calloc(1, sizeof *family);
    size_t kills = kills_wanted(KILLS);

    family->start = ways[loop_index];
    orphans_adopt();
    if (family->start == TINE_FORKSERVER)
        lose_common_server();
    for (size_t i = 0; i < kills; i++) {
        uint32_t raised = atomic_load(&family->gate.raised);
        struct child child = child_start(start_daemons, family);
        int64_t death;

        gate_await(&family->gate, raised + 1 + (uint32_t)random_below(3));
        pause_randomly(TINE_MS(1));
        child_kill(&child);
        death = now_ns();
        orphans_reap();
        samples_add(&gone, (uint64_t)(now_ns() - death));
    }
    samples_end(&gone);
    tine_free(family);
}

/* The server dies first: its daemons stay, others come from the next one, and all go with their
   parent. */
TEST(daemons_stay_when_their_server_is_killed, .kills = KILLS, .timeout_s = 60)
{
    struct family *family = tine_calloc(1, sizeof *family);
    size_t kills = kills_wanted(KILLS);

    family->start = TINE_FORKSERVER;
    orphans_adopt();
    lose_common_server();
    for (size_t i = 0; i < kills; i++) {
        uint32_t raised = atomic_load(&family->gate.raised);
        struct child child = child_start(start_daemons, family);

        gate_await(&family->gate, raised + 1 + (uint32_t)random_below(2));
        pause_randomly(TINE_MS(2));
        ck_assert_int_eq(kill(atomic_load(&family->server), SIGKILL), 0);
        gate_await(&family->gate, atomic_load(&family->gate.raised) + 2);
        pause_randomly(TINE_MS(1));
        child_kill(&child);
        orphans_reap();
    }
    tine_free(family);
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
