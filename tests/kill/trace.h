/* SPDX-License-Identifier: MIT */
/* One instruction after the other, in a process of a pool that the test did not fork itself. */
#ifndef TINE_TESTS_KILL_TRACE_H
#define TINE_TESTS_KILL_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRACE_FOR_EVER  SIZE_MAX
#define TRACE_STEPS_MAX 1000000

/* Traces a process that sleeps; false: not allowed here. It is then stopped in its system call. */
bool trace_grip(pid_t pid);
/* Single-steps until the process sleeps or dies; how many steps that took, at most `steps`. */
size_t trace_step(pid_t pid, size_t steps);
void trace_kill(pid_t pid);
/* Lets it run on by itself. If it was killed meanwhile, it is waited for. */
void trace_release(pid_t pid);
/* While a process is stepped, every few milliseconds somebody looks whether it sleeps. */
void trace_looks(bool on);
/* Waits until the traced process has stopped again. False: it sleeps in the kernel instead, or is
   dead. */
bool trace_await_stop(pid_t pid);

/* The p-th of so many points of a way, somewhere in its part. */
size_t trace_point(size_t p, size_t points, size_t way);

#endif
