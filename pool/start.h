/* SPDX-License-Identifier: MIT */
/* How processes come into being: what the ways have in common, and the ways. */
#ifndef TINE_POOL_START_H
#define TINE_POOL_START_H

#include "lib/clock.h"
#include "pool/begin.h"

/* So that what the program has buffered is not written once more by a child. A stream that
   another thread has locked is left alone: waiting for it could take for ever. True: nothing is
   left, and nobody is there who could print more before a fork. */
bool tine__start_flush(void);
/* Another thread may hold a lock of some library at this moment; the child's copy stays locked. */
void tine__start_warn_of_threads(const char *who);
/* Standard input is the program's alone to read: here it is /dev/null, or closed if that is not to
   be had. */
void tine__start_without_stdin(void);

/*
 * The ways: process->pid and pidfd, or a negative code; then the function never runs.
 *
 * fork   the caller holds the lock of its list of children; in the new process it does not return
 * spawn  does not hold it; -ETIMEDOUT, TINE_EBROKEN (it ended before it was ready), or why it
 *        cannot
 * forkserver  likewise; birth->shared may be another block afterwards, or NULL on failure
 */
int tine__start_fork(struct tine_process *process, const struct tine__birth *birth);
int tine__start_spawn(struct tine_process *process, struct tine__birth *birth, const int *listed,
                      tine__deadline deadline);
int tine__start_forkserver(struct tine_process *process, struct tine__birth *birth,
                           const int *listed, tine__deadline deadline);

/* Executes the program with a mark for its argument: its pid, its control socket and a pidfd. */
int tine__spawn_program(const char *mark, int *socket, int *pidfd);

#endif
