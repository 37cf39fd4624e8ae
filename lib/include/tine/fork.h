/* SPDX-License-Identifier: MIT */
/*
 * Hooks around the forks that tine makes, for who embeds it: an interpreter, a library with threads
 * or locks of its own that has to be in order on both sides of a fork.
 *
 *     who forks:     before, latest first ──► fork ──► after_in_parent, earliest first
 *     the new one:                              └────► after_in_child, earliest first ──► its function
 *
 *     static int hold(void *interpreter, int32_t what)
 *     {
 *         return lock_all(interpreter);
 *     }
 *     static void let_go(void *interpreter, int32_t what)
 *     {
 *         unlock_all(interpreter);
 *     }
 *
 *     tine_register_at_fork(&(tine_fork_hooks){.before = hold, .after_in_parent = let_go,
 *                                              .after_in_child = let_go, .context = interpreter});
 *
 * A process of TINE_SPAWN is executed, not forked: it runs after_in_child alone, as does a
 * forkserver that is executed in the place of a dead one. What is registered before tine_init() is
 * there in all of them, later registrations are in forks of the program only.
 *
 * A hook that ends its process, or is killed in it, is as any death of that process: in a worker,
 * another takes its place; in a process, the exit code says it. One that never returns holds up
 * only who waits for that fork.
 */
#ifndef TINE_FORK_H
#define TINE_FORK_H

#include <tine/base.h>

TINE_BEGIN_DECLS

/* What the new process is. */
enum {
    TINE_FORKED_PROCESS = 1, /* of tine_process_start() */
    TINE_FORKED_NURSERY = 2, /* of a pool: it forks the workers */
    TINE_FORKED_WORKER = 3,  /* of a pool: it runs tasks */
    TINE_FORKED_SERVER = 4,  /* the forkserver: it forks processes */
};

/* Hooks; NULL: none. */
typedef struct tine_fork_hooks {
    int (*before)(void *context, int32_t what); /* negative: there is no fork, but this code */
    void (*after_in_parent)(void *context, int32_t what); /* also when the fork has failed */
    void (*after_in_child)(void *context, int32_t what);
    void *context;
    uint64_t reserved[4]; /* must be zero */
} tine_fork_hooks;

/**
 * tine_register_at_fork - have functions called around each fork that tine makes from now on
 *
 * In:      hooks  copied; the functions and the context must stay for good
 * Out:     none
 * Shape:   before runs latest registered first, the others earliest first. Where one `before`
 *          refuses, those that had run see their after_in_parent, and tine_process_start() or
 *          tine_pool_open() returns its code; a worker is tried again later
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -E2BIG (reserved not zero), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/at_fork.c; follows Python's os.register_at_fork, and register_after_fork of
 *          multiprocessing.util in that it serves all start methods; differs: not for forks by
 *          others; a hook may refuse; what a hook itself starts has no hooks
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_register_at_fork(const tine_fork_hooks *hooks);

TINE_END_DECLS

#endif
