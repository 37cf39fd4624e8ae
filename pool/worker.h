/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_WORKER_H
#define TINE_POOL_WORKER_H

#include <stdint.h>

#include "pool/layout.h"

/*
 * The loop of one worker process; returns when the pool is leaving and no work is left. control: a
 * socket of its own, to the nursery.
 */
void tine__worker_loop(struct tine__pool_shm *pool, uint32_t index, int control);

#endif
