/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_INITIALIZE_H
#define TINE_POOL_INITIALIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <tine/pool.h>

#include "pool/layout.h"
#include "pool/settle.h"
#include "pool/task.h"

/* Takes what the options ask for into the pool's memory: 0, -EINVAL, -ENOMEM. */
int tine__initialize_make(struct tine__pool_shm *pool, struct tine__tasks *tasks,
                          const tine_pool_options *options);
void tine__initialize_free(struct tine__pool_shm *pool);

/* In a new worker: it gets ready, or exits. */
void tine__worker_begin(struct tine__pool_shm *pool, uint32_t index);
/* In a worker that leaves in order; one with a guest does not return. */
void tine__worker_end(struct tine__pool_shm *pool);
/* Is there something of the caller's to be run then? */
bool tine__worker_has_end(const struct tine__pool_shm *pool);
/* What runs in the worker, or in its guest; task may be NULL. */
int tine__initializer_run(const struct tine__task_shm *task, void *context,
                          struct tine__said_shm *words);
void tine__finalizer_run(const struct tine__task_shm *task, void *context);

/* In a thread of the program: 0, or the initializer has failed with this code; */
int tine__thread_begin(struct tine__pool_shm *pool, uint32_t index);
/* then the pool is broken by this, not by two threads at once. */
void tine__thread_failed(struct tine__pool_shm *pool, uint32_t index);
/* What tine_worker_state() gives in this thread from here on; what it gave before. */
void *tine__worker_change_state(void *changed);

/*
 * In the nursery: has this worker died of its beginning? Then none other would fare better, and
 * the pool is broken.
 */
bool tine__initialize_failed(struct tine__pool_shm *pool, uint32_t index,
                             const struct tine__death *death);

#endif
