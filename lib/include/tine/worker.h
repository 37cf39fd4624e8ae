/* SPDX-License-Identifier: MIT */
/*
 * Workers: what each of a pool's does first and last, and how the pool hears of its end.
 *
 *     started ──► initializer ──► tasks ──► finalizer ──► gone, in order (join, close)
 *                      │            └────────────────────► gone, killed or crashed: replaced
 *                      └ fails or dies: the pool is broken, once, with its message
 *
 * An initializer prepares what tasks need over and over, and leaves a pointer to it:
 *
 *     static int open_database(void *context, void **state)
 *     {
 *         const char *path = context;
 *         *state = database_open(path);
 *         return *state != NULL ? 0 : tine_worker_fail(-EIO, "%s cannot be opened", path);
 *     }
 *
 *     static int look_up(tine_call *call)
 *     {
 *         struct database *database = tine_worker_state();
 *         ...
 *     }
 *
 *     tine_pool_open(&pool, &(tine_pool_options){.initializer = open_database,
 *                    .finalizer = close_database, .context = path, .context_size = strlen(path) + 1});
 *
 * In a pool of threads each thread does the same; an inline pool has it done once, by
 * tine_pool_open() and by who ends the pool, and nobody's end to tell of. A worker that replaces a
 * dead one is initialized like the first. What an initializer could not do for one it would hardly
 * do for the next, so nothing is tried again: waiting and later calls get TINE_EBROKEN, and
 * tine_pool_failure() says why. A worker that dies in a task is only replaced.
 */
#ifndef TINE_WORKER_H
#define TINE_WORKER_H

#include <tine/base.h>
#include <tine/task.h>

TINE_BEGIN_DECLS

typedef struct tine_pool tine_pool;

/*
 * Runs in each new worker before its first task. context: a copy, in the family heap, of the bytes
 * that the pool's options gave, one for all workers. *state is what tine_worker_state() gives from
 * then on. 0 or positive = ready, negative = failed with this code.
 */
typedef int tine_initializer(void *context, void **state);
/* Runs in a worker that leaves when it is asked to, after its last task; in an untrusted one its
   time has a limit (tine/sandbox.h). */
typedef void tine_finalizer(void *context, void *state);

/* How a worker ended. */
typedef struct tine_worker_exit {
    int32_t worker;      /* its index */
    int32_t pid;         /* which may be another's by now */
    int32_t signal;      /* that ended it, or 0 */
    int32_t exit_status; /* when it exited by itself, else -1 */
    int32_t
        asked; /* 1: it left in order; 0: it died and is replaced, or was killed with its pool */
    int32_t reserved0;
    int64_t cpu_ns; /* CPU time of all its threads, with children that it has waited for */
    uint64_t
        peak_rss_bytes; /* most memory it had at once, pages of the family heap that it touched
                           included */
    uint64_t reserved[4];
} tine_worker_exit;

/* Called once for each worker that has ended; may call anything but tine_pool_close(). */
typedef void tine_worker_exit_cb(tine_pool *pool, const tine_worker_exit *exit, void *user);

/**
 * tine_worker_state - what the initializer of this worker has left in *state
 *
 * In:      none
 * Out:     none
 * Shape:   each worker has its own
 * Units:   none
 * Returns: the pointer; NULL outside of a worker's tasks, and where there is no initializer
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes. Threads that a task has
 *          started get NULL
 * Death:   the worker that replaces a dead one has what its own initializer left
 * Source:  pool/initialize.c; what a global set by Python's initializer is
 * Since:   0.1
 */
TINE_API void *tine_worker_state(void);

/**
 * tine_worker_fail - say in a sentence why an initializer fails
 *
 * In:      code    negative, returned unchanged so that one line does both
 *          format  as printf() has it
 *          ...     its arguments
 * Out:     none
 * Shape:   the sentence is cut to the room in tine_failure.message
 * Units:   none
 * Returns: code, or -EINVAL when it is not negative
 * Handle:  none
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no. Outside of an initializer
 *          it has no effect
 * Death:   none
 * Source:  pool/initialize.c; the text of an exception in Python's initializer
 * Since:   0.1
 */
TINE_API int tine_worker_fail(int code, const char *format, ...) TINE_PRINTF(2, 3);

/**
 * tine_pool_failure - is a pool broken, and why?
 *
 * In:      pool     open pool
 * Out:     failure  what broke it: code TINE_EBROKEN; of an initializer also error (its code), pid,
 *                   worker, signal or exit_status, task (its name) and message; written only for 1
 * Shape:   none
 * Units:   none
 * Returns: 1: it is broken; 0: not; or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a pool whose nursery was killed is broken as well, and says so
 * Source:  pool/failure.c; the message of concurrent.futures' BrokenProcessPool
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_failure(tine_pool *pool, tine_failure *failure);

TINE_END_DECLS

#endif
