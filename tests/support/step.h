/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction: a victim is single-stepped n instructions into an operation and
 * killed there; then the survivor must be served.
 *
 *     static void check(long steps, void *context) { …the survivor's call, the invariants… }
 *
 *     step_kill_everywhere(&(struct step){.prepare = have_lock, .run = release, .check = check}, 40);
 *
 * By default about `points` instructions, spread evenly over the operation from one on that the
 * suite's seed draws; TINE_STEPS=all takes every one, TINE_STEPS=400 about so many.
 */
#ifndef TINE_TESTS_STEP_H
#define TINE_TESTS_STEP_H

#include <stdbool.h>
#include <sys/types.h>

/* Each may be NULL, but for run and check. */
struct step {
    void (*before)(void *context);                /* in the test, before each victim is forked */
    void (*prepare)(void *context);               /* in the victim, unstepped */
    void (*run)(void *context);                   /* in the victim: the operation */
    void (*meanwhile)(long steps, void *context); /* in the test, while the victim stands there */
    void (*check)(long steps, pid_t victim, void *context); /* in the test: the victim is reaped */
    bool (*until)(void *context); /* in the test, after each step: no further than that */
    void *context;
    /*
     * The operation sleeps at some point: it is killed there when it has slept for this long. 0: it
     * never sleeps. (A single step into a sleeping system call returns only when that ends.)
     */
    int sleeps_ms;
    /* A step is up to the next system call or its return: all that others can see of files. */
    bool system_calls;
};

/* How many points were taken. */
long step_kill_everywhere(const struct step *step, long points);

#endif
