/* SPDX-License-Identifier: MIT */
/* Which worker the calling thread is. The process's place is written while that has one thread. */
#include "pool/place.h"

#include <stdatomic.h>
#include <stddef.h>

#include <tine/task.h>

static struct tine__place of_process = {.index = -1};
static _Thread_local struct tine__place of_thread;

void tine__place_of_process(struct tine__place place)
{
    of_process = place;
    of_thread = (struct tine__place){.pool = NULL}; /* of the thread that was forked */
}

struct tine__place tine__place_of_thread(struct tine__place place)
{
    struct tine__place before = of_thread;

    of_thread = place;
    return before;
}

static const struct tine__place *here(void)
{
    return of_thread.pool != NULL ? &of_thread : &of_process;
}

int tine_worker_index(void)
{
    return here()->index;
}

int tine_worker_count(void)
{
    const struct tine__pool_shm *pool = here()->pool;

    return pool == NULL ? 0 : (int)atomic_load_explicit(&pool->wanted, memory_order_relaxed);
}
