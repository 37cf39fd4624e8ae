/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_RECYCLE_H
#define TINE_POOL_RECYCLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <tine/pool.h>

#include "pool/layout.h"

/* How worn a worker is: private to it. */
struct tine__wear {
    struct tine__pool_shm *pool;
    uint64_t items;    /* begun and ended */
    uint64_t at_first; /* bytes, when it started */
    int64_t looked_ns; /* when its memory was looked at */
};

/* Memory of a process that it shares with nobody but by fork; 0: it is not known. */
uint64_t tine__private_bytes(pid_t pid);

/* By the program: 0, -EINVAL (a worker begins with more memory than it may have), -ENOTSUP (that
   cannot be known). */
int tine__recycle_set_pool(struct tine__pool_shm *pool, const tine_pool_options *options,
                           bool forked);

/* By a process that becomes a worker, while it may still open files. */
void tine__recycle_prepare(const struct tine__pool_shm *pool);
/* By a worker, before its first item. */
void tine__recycle_begin(struct tine__wear *wear, struct tine__pool_shm *pool);
/* An item has ended: the worker may have to leave its place to another. */
void tine__recycle_count(struct tine__wear *wear, struct tine__worker_shm *self);
/* Must it, at once? One that is only dismissed may end its unit first. */
static inline bool tine__recycle_leaves(const struct tine__worker_shm *self)
{
    return atomic_load_explicit(&self->leave, memory_order_relaxed) == TINE__LEAVES;
}

#endif
