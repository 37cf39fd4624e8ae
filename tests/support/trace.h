/* SPDX-License-Identifier: MIT */
/*
 * The way of a process that was single-stepped: at which instruction each step ended. Another one
 * on the same way is taken by a breakpoint to the last landmark before a step: an instruction that
 * the way passes just once. From there it is a few steps instead of thousands.
 *
 *     trace_add(&trace, pid);                            // where it begins, and after each step
 *     trace_index(&trace);
 *     landmark = trace_landmark(&trace, 5000);           // the 4970th step
 *     trace_break(pid, trace.visits[landmark].address);
 *     …
 *     trace_free(&trace);
 *
 * Where a machine has no such breakpoints, nothing is noted, and no landmark is found.
 */
#ifndef TINE_TESTS_TRACE_H
#define TINE_TESTS_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct visit {
    uint64_t address;
    long step;
    bool once; /* the way comes by here no other time */
};

struct trace {
    struct visit *visits; /* the n-th is where the n-th step ended, the first the beginning */
    long count, room;
};

void trace_add(struct trace *trace, pid_t pid);
void trace_index(struct trace *trace);
void trace_free(struct trace *trace);
/* The last landmark at that step or before it; 0: there is none. */
long trace_landmark(const struct trace *trace, long step);

/* The stopped process, once it goes on, stops before that address; 0: nowhere. Negative: it
   can't. */
int trace_break(pid_t pid, uint64_t address);
uint64_t trace_address(pid_t pid); /* of the instruction that comes next */

#endif
