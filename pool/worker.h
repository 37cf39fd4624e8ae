/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_WORKER_H
#define TINE_POOL_WORKER_H

#include <stdint.h>

#include "pool/layout.h"
#include "pool/threads.h"

/*
 * The loop of one worker process; returns when the pool is leaving and no work is left. control: a
 * socket of its own, to the nursery.
 */
void tine__worker_loop(struct tine__pool_shm *pool, uint32_t index, int control);
/* The same in a thread of the program. Where the pool is being ended it leaves work where it is. */
void tine__worker_thread(struct tine__pool_shm *pool, uint32_t index,
                         struct tine__threads *threads);
/* Runs a whole job in the calling thread, as worker 0 of 1. */
void tine__worker_run_here(struct tine__pool_shm *pool, struct tine__threads *threads,
                           struct tine__job_shm *job);

#endif
