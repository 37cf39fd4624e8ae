/* SPDX-License-Identifier: MIT */
/*
 * Where a process that descends from the test leaves its failure. It lies in a page shared by fork,
 * not in a pipe: a participant that closes all descriptors, or is stopped, can still say what it
 * saw. The first failure of a test wins.
 */
#ifndef TINE_TESTS_VERDICT_H
#define TINE_TESTS_VERDICT_H

#include <stdbool.h>

#define VERDICT_FAILED 99 /* exit status of a process whose assertion failed */

void verdict_open(void);  /* once, before the first test is forked */
void verdict_reset(void); /* at the start of a test */
void verdict_fail(const char *file, int line, const char *text);
const char *verdict_text(void); /* NULL: nobody failed */

/* Tests that have run and those that were skipped, counted over all test processes. */
void verdict_count_run(void);
void verdict_count_skip(void);
bool verdict_all_skipped(void);

#endif
