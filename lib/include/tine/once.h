/* SPDX-License-Identifier: MIT */
/*
 * Once: what the first comer does, all others wait for.
 *
 * Several processes or threads need the same thing made, in shared memory, by whichever gets there
 * first. Zeroed memory is ready, so a tine_once needs nobody to initialise it: put it into the
 * zeroed struct that it guards, in the family heap (tine_calloc), in a named segment, or in any
 * other shared mapping, at whatever address each process sees it.
 *
 *     struct table { tine_once once; uint32_t entries[1000]; };      // zeroed, shared
 *
 *     static int fill(void *table) { ... return 0; }
 *     rc = tine_once_run(&table->once, fill, table, TINE_FOREVER);
 *
 *          ready  --run-->  running  --returned >= 0-->  done, for good
 *            ^                 |
 *            +-- returned < 0 -+
 *
 * If the process that runs the function is killed, the next one takes over and calls the function
 * again, within 50 ms: the function must be able to start over what another has left half done.
 * A process of another pid namespace is never judged dead.
 */
#ifndef TINE_ONCE_H
#define TINE_ONCE_H

#include <tine/base.h>

TINE_BEGIN_DECLS

/* Content opaque; all zero is ready, and is how to make it ready again when nobody uses it. */
typedef struct tine_once {
    uint64_t opaque[8];
} tine_once;

#define TINE_ONCE_INIT                                                                             \
    {                                                                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

typedef int tine_once_function(void *argument);

/**
 * tine_once_run - call a function unless it has been called successfully; wait while another does
 *
 * In:      once        zeroed memory, or in use; shared by all who shall agree
 *          function    what is to be done once; must return, in the thread that called it;
 *                      negative: it failed
 *          argument    passed to the function, borrowed for the call
 *          timeout_ns  how long to wait for another's call; this caller's own is not limited
 * Out:     none
 * Shape:   whatever the successful function wrote is seen by all who got 0
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0: the function has succeeded, here or elsewhere; what it returned when it failed in
 *          this call: the next caller, or one that waits, tries again
 * Handle:  -ETIMEDOUT, -EAGAIN (another runs it, timeout 0), the function's own codes
 * Give up: -EINVAL (no pointer, no such memory), -EDEADLK (from inside the function),
 *          -ENOMEM (a thread's first call), TINE_EFORKED (in a child that was forked inside the
 *          function and returned from it)
 * Blocks:  at most timeout_ns, and for as long as the function takes; once done, one load
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the function runs again, from its start, in another process
 * Source:  shm/once.c; follows pthread_once(3); differs: processes, timeout, failure, death
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_once_run(tine_once *once, tine_once_function *function,
                                        void *argument, int64_t timeout_ns);

TINE_END_DECLS

#endif
