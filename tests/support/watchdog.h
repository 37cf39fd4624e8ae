/* SPDX-License-Identifier: MIT */
/*
 * A process beside the tests that prints what every thread of a stuck one is doing: name, state,
 * kernel function, system call and kernel stack (the last for root only). It runs outside the tree
 * under test, so no test can block or confuse it, and none sees it as a child.
 */
#ifndef TINE_TESTS_WATCHDOG_H
#define TINE_TESTS_WATCHDOG_H

void watchdog_start(void); /* in the runner, once */
void watchdog_stop(void);
/* In a test: dump it unless the next test, or the stop, comes before the seconds have passed. */
void watchdog_watch(const char *test, double seconds);
void watchdog_rest(void);

#endif
