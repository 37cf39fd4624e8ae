/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_ENVIRONMENT_H
#define TINE_POOL_ENVIRONMENT_H

#include <stdint.h>

#include "pool/layout.h"

/*
 * Has the programs that this process executes, and libraries that it loads, start at most so many
 * threads of their own, unless the environment says already how many. Single-threaded.
 */
void tine__environment_limit(uint32_t threads);
/* A worker limits them to its share of the CPUs. One that is a thread has its environment with
   others. */
void tine__environment_share(const struct tine__pool_shm *pool);

#endif
