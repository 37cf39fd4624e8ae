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

#define KILLS   100
#define WAITERS 4

/* Made before the tests, so that its descriptor is no leak of theirs. */
__attribute__((constructor)) static void open_heap(void)
{
    tine_free(tine_alloc(1));
}

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
TEST(all_who_join_are_told_alike, .kills = KILLS, .timeout_s = 60)
{
    struct samples told = {.name = "process.killed.told", .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS), killed = 0;

    for (size_t i = 0; i < kills; i++) {
        struct waiter waiters[WAITERS];
        pthread_t threads[WAITERS];
        tine_process *process;
        int64_t death;

        ck_assert_ok(tine_process_start(&process, come_and_go, NULL, ""));
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
};

/* Starts daemons until it is killed. */
static void start_daemons(void *context)
{
    struct family *family = context;

    for (;;) {
        tine_process *process;

        ck_assert_ok(tine_process_start(
            &process, stay, &(tine_process_options){.daemon = TINE_DAEMON}, "p", family->gate));
        if (tine_process_active_children(NULL, 0) > 3) {
            ck_assert_rc(tine_process_kill(process), 0);
            ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
            tine_process_close(process);
        }
    }
}

/* In the midst of a start, too. */
TEST(daemons_go_with_a_parent_that_is_killed, .kills = KILLS, .timeout_s = 60)
{
    struct samples gone = {.name = "process.parent.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    struct family family = {.gate = tine_calloc(1, sizeof *family.gate)};
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

SUITE("kill/process")
