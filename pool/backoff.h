/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_BACKOFF_H
#define TINE_POOL_BACKOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "pool/layout.h"
#include "pool/redo.h"

/* What waits before it runs again: private to the nursery. */
struct tine__backoff {
    struct tine__waiting *items;
    size_t count, room;
};

/* How long a rest waits after so many tries; 0: not at all. */
int64_t tine__backoff_ns(const struct tine__job_shm *job, uint64_t attempts);
/* The rest waits for rest->wait_ns. False: there is no memory for it. */
bool tine__backoff_add(struct tine__backoff *backoff, struct tine__job_shm *job,
                       const struct tine__rest *rest);
/* Puts up what has waited long enough, and drops what is not to run any more; when to look
   again. */
tine__deadline tine__backoff_look(struct tine__backoff *backoff, struct tine__pool_shm *pool);

/* Does something of the job wait? */
static inline bool tine__backoff_has(const struct tine__job_shm *job)
{
    /* acquire: what has waited is in the redo table by now */
    return atomic_load_explicit(&job->waiting, memory_order_acquire) != 0;
}

#endif
