/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SIG_H
#define TINE_LIB_SIG_H

#include <signal.h>
#include <stdint.h>

/*
 * Signals round a fork: blocked in the forking thread before, restored after, and in the child
 * first of all brought back to default, so that no handler of the host's ever runs in a child of
 * ours.
 *
 *     tine__sig_block(&saved);
 *     pid = fork();
 *     if (pid == 0)
 *         tine__sig_default(tine__sig_handled()); // still blocked
 *     tine__sig_restore(&saved);
 *
 * All are async-signal-safe.
 */
void tine__sig_block(sigset_t *saved);
void tine__sig_restore(const sigset_t *saved);
/* Which signals have a handler: bit n - 1 is signal n, as in all masks below. To ask takes 8 us. */
uint64_t tine__sig_handled(void);
/* Those of them get the default back; what is ignored stays ignored, as in exec. */
void tine__sig_default(uint64_t handled);

/* For other processes. */
uint64_t tine__sig_blocked(void); /* in this thread */
void tine__sig_unpack(uint64_t blocked, sigset_t *mask);

#endif
