/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_POLLABLE_H
#define TINE_SHM_POLLABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/waiters.h"

/*
 * A descriptor for what lies in the family heap, to be polled by a loop that is not ours. Readable
 * means "try": whoever tries without waiting, and gets nothing, makes it quiet again by the
 * way, as with a socket.
 *
 *     rc = try();
 *     if (rc == -EAGAIN && tine__pollable_missed(&shm->waiters)) {
 *         rc = try();                                   // a change may just have been missed
 *         if (rc != -EAGAIN)
 *             tine__watch_ring(&shm->waiters);          // there may be more
 *     }
 *
 * Every 50 ms without a try it is readable too, for the look.
 */
#define TINE__POLLABLE_POINTS 2

/*
 * The new descriptor, or -ENOTSUP (a point is not in the family heap), -ENOMEM, -EMFILE, -ENFILE,
 * -ENOLCK. The caller then arms, and if it is ready already, rings. Without points it is readable
 * at once, for ever.
 */
int tine__pollable_open(const void *const *points, size_t count);
/* -EBADF: no such descriptor in this process. No call on what it stands for may go on meanwhile. */
int tine__pollable_close(int fd);
/* Makes those of this process that watch the point quiet. False: there is none. */
bool tine__pollable_quiet(const void *point);

/* How many this process has, or inherited (those never count for anything else). Relaxed. */
extern _Atomic uint32_t tine__pollables;

/* Async-signal-safe; one load where nobody has asked for a descriptor. */
static inline bool tine__pollable_missed(struct tine__waiters_shm *waiters)
{
    if (atomic_load_explicit(&tine__pollables, memory_order_relaxed) == 0 ||
        !tine__pollable_quiet(waiters))
        return false;
    tine__waiters_watch(waiters);
    return true;
}

#endif
