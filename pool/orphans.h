/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_ORPHANS_H
#define TINE_POOL_ORPHANS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * From here on what a dying child leaves behind becomes this process's. *waiting: the mask to wait
 * with, so that the end of any child ends the wait. SIGCHLD is blocked otherwise.
 */
void tine__orphans_adopt(sigset_t *waiting);
/* In a child of such a process, before its own signal mask. */
void tine__orphans_forget(void);
struct tine__orphans_calls {
    bool (*is_own)(void *context, pid_t pid); /* is that child the caller's to reap? */
    void (*reaped)(void *context, pid_t pid);
};

/* Reaps those that have ended. */
void tine__orphans_reap(const struct tine__orphans_calls *calls, void *context);
/* Those that are about to end, are gone: at most so long. There are no other children left. */
void tine__orphans_await(int64_t timeout_ns);

#endif
