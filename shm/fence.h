/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_FENCE_H
#define TINE_SHM_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>

/*
 * An asymmetric fence: who changes a state often, and must see who sleeps on it, pays nothing; who
 * is about to sleep pays a system call instead (membarrier, about 0.3 µs).
 *
 *     change the state (release);                    announce the sleeper (seq_cst);
 *     tine__fence_light(registered);                 if (!tine__fence_heavy()) …
 *     is a sleeper announced?                        test the state
 *
 * One of the two sees the other: either the change was visible before the barrier, or the light
 * side looks for the sleeper after it. `registered` is what tine__fence_register() returned in this
 * process; where it is false, the light side fences by itself. Where tine__fence_heavy() fails, the
 * caller must have the light sides fence, or look again after a while.
 */
bool tine__fence_register(void); /* once a process is enough; a forked child asks for itself */
bool tine__fence_heavy(void);

static inline void tine__fence_light(bool registered)
{
    if (registered)
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

#endif
