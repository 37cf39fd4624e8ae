/* SPDX-License-Identifier: MIT */
/*
 * Participants: processes that a test forks beside itself.
 *
 *     struct child child = child_start(consume, queue);   // runs consume(queue), then _exit(0)
 *     …
 *     child_join(&child);                                  // fails the test unless it ended well
 *
 * A participant may use ck_assert: its failure is the test's.
 */
#ifndef TINE_TESTS_CHILDREN_H
#define TINE_TESTS_CHILDREN_H

#include <sys/types.h>

struct child {
    pid_t pid;
};

struct child child_start(void (*body)(void *context), void *context);
void child_join(struct child *child); /* waits; it must have returned from its body */
int child_wait(struct child *child);  /* waits; the wait status, whatever it is */
void child_kill(struct child *child); /* SIGKILL, and waits until it is dead and reaped */
void child_stop(struct child *child); /* SIGSTOP, and waits until it stands */
void child_continue(struct child *child);

/* For the calling participant, if it is root's: it becomes a user who has no other processes, not
   even in copies of the test that run beside it. */
void child_becomes_user(void);

#endif
