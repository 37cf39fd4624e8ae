/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_LIMIT_H
#define TINE_POOL_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tine/pool.h>

#include "pool/layout.h"

/* ---- the program's side ---------------------------------------------------------------------- */

/* -EINVAL */
int tine__limit_check_pool(const tine_pool_options *options);
int tine__limit_check_job(const tine_job_options *options);
void tine__limit_set_pool(struct tine__pool_shm *pool, const tine_pool_options *options);
/* The limits of a job of this pool: TINE__LIMITED_…; 0: it has none. */
uint8_t tine__limit_choose(const struct tine__pool_shm *pool, const tine_job_options *options,
                           struct tine__limits_shm *limits);

/* ---- a worker's side: of jobs that are limited ----------------------------------------------- */

/* From here on tine_should_stop() speaks of this worker. */
void tine__limit_worker(const struct tine__worker_shm *worker);
/* The same for this thread, until it is NULL again; what it was before. */
const struct tine__worker_shm *tine__limit_thread(const struct tine__worker_shm *worker);
/* Before user code has the item, which `at` names already. */
void tine__limit_begin(struct tine__pool_shm *pool, struct tine__worker_shm *worker,
                       const struct tine__job_shm *job, int control);
/* When user code has returned. Does not return where the time was up before. */
void tine__limit_end(const struct tine__pool_shm *pool, struct tine__worker_shm *worker);

/* ---- the nursery's side ---------------------------------------------------------------------- */

/* Sends a signal to the process that works in this place. */
typedef void tine__limit_kill(void *context, uint32_t worker, int signal);
/* Sees to all items whose time is up; when it has to be called again at the latest. */
int64_t tine__limit_enforce(struct tine__pool_shm *pool, tine__limit_kill *kill, void *context);

/* By what a dead worker was ended. */
enum tine__limit { TINE__LIMIT_NONE, TINE__LIMIT_SOFT, TINE__LIMIT_HARD, TINE__LIMIT_MEMORY };
enum tine__limit tine__limit_hit(const struct tine__pool_shm *pool,
                                 const struct tine__worker_shm *dead, int signal);
/* The same as the end of a sentence about the worker. */
void tine__limit_describe(const struct tine__pool_shm *pool, const struct tine__worker_shm *dead,
                          const struct tine__job_shm *job, char *text, size_t size);
/* The place is free for the next process. */
void tine__limit_clear(struct tine__worker_shm *dead);

#endif
