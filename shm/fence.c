/* SPDX-License-Identifier: MIT */
/*
 * The asymmetric fence; see shm/fence.h. A process registers once and remembers that by its fork
 * generation: the kernel may or may not hand the registration on to a forked child, so that asks
 * anew. In a process with several threads the first registration waits for a grace period of the
 * kernel, some milliseconds.
 */
#include "shm/fence.h"

#include <stdint.h>

#include "lib/fork.h"
#include "lib/sys.h"

/* Of the process that has registered. Only ever set to what is true. */
static _Atomic uint64_t registered_generation;

bool tine__fence_register(void)
{
    uint64_t generation = tine__fork_generation_fast();

    if (generation != 0 &&
        atomic_load_explicit(&registered_generation, memory_order_relaxed) == generation)
        return true;
    if (tine__sys_membarrier_register() < 0)
        return false;
    atomic_store_explicit(&registered_generation, generation, memory_order_relaxed);
    return true;
}

bool tine__fence_heavy(void)
{
    bool done = tine__sys_membarrier() == 0;

    atomic_thread_fence(memory_order_seq_cst);
    return done;
}
