/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_WAITABLE_H
#define TINE_LIB_WAITABLE_H

#include <stdbool.h>

#include <tine/wait.h>

/*
 * What a kind of object tells those who wait for many at once (ipc/wait.c). Each kind is a constant
 * in the file of its object, and a public function there makes entries of it:
 *
 *     tine_waitable tine_event_waitable(tine_event *event)
 *     {
 *         return (tine_waitable){.kind = &waitable, .object = event, .events = TINE_READABLE};
 *     }
 *
 * An object either has a descriptor, which the kernel watches, or points: words of the family heap,
 * at which whoever changes the object rings (tine__watch_ring, or by way of tine__waiters_wake). An
 * object that has neither, or lies elsewhere, is looked at every few milliseconds.
 *
 * None of the functions below is called with an object that is NULL, or with unknown events or
 * none.
 *
 * A kind with points calls tine__pollable_missed() (shm/pollable.h) wherever its object is tried in
 * vain without waiting: that makes the descriptor for outside loops quiet.
 */
#define TINE__POINTS_MAX 2

struct tine__waitable_kind {
    /*
     * Which of the events have come; none has: 0; a negative code: it is no such object, closed, or
     * not of this process. Loads seq_cst what it looks at. look: 50 ms have passed, or the last
     * chance has come: does first what whoever sleeps does then (sweeps the dead, …). NULL: as the
     * descriptor says.
     */
    int (*ready)(const tine_waitable *waitable, bool look);
    /* What is to be polled for it; -ENOTSUP: there is none. May be NULL: none */
    int (*descriptor)(const tine_waitable *waitable);
    /* How many points it has for the events, written to points. May be NULL: none */
    int (*points)(const tine_waitable *waitable, const void *points[TINE__POINTS_MAX]);
    /* From now on the next change at its points rings. Called again and again. If there are
       points */
    void (*arm)(const tine_waitable *waitable);
    /*
     * NULL: arm is all. Else those who change the object do not fence (shm/fence.h): after arming
     * many, one tine__fence_heavy() is for all; where it fails, this is called for each.
     */
    void (*fence)(const tine_waitable *waitable);
};

#endif
