/* SPDX-License-Identifier: MIT */
/*
 * The state of a process before a test, and the comparison after it: children, descriptors,
 * threads, signal mask and dispositions, names in /dev/shm, processes in its group.
 */
#ifndef TINE_TESTS_LEAKS_H
#define TINE_TESTS_LEAKS_H

#include <stdbool.h>

void leaks_begin(void);
/* Fails the running test at the first difference. */
void leaks_end(bool own_signals, bool may_orphan);

/*
 * A name for a shared object of the running test, with a leading slash. Only names made so are
 * known to be the test's own: other programs may come and go in /dev/shm at any time.
 */
const char *leaks_shm_name(const char *what);

#endif
