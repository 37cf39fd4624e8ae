/* SPDX-License-Identifier: MIT */
/* What the tests of processes share. */
#ifndef TINE_TESTS_PROCESSES_H
#define TINE_TESTS_PROCESSES_H

#include <tine/process.h>

/* The ways to start a process; a test that is for all has .loop_end = START_METHODS. */
#define START_METHODS 3
int32_t start_method(int loop_index);

/* Started so, without arguments. */
tine_process *process_of(tine_function *function, int32_t start);
/* With one pointer, to a gate or so in the family heap. */
tine_process *process_with(tine_function *function, int32_t start, void *pointer);
/* Waits, and closes it; its exit code. */
int process_end(tine_process *process);

/* A gate (tests/support/wait.h) in the family heap. */
struct gate *heap_gate(void);

/* Blocks that are given out in the family heap. */
uint64_t heap_blocks(void);

#endif
