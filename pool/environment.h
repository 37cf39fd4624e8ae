/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_ENVIRONMENT_H
#define TINE_POOL_ENVIRONMENT_H

#include <stdint.h>

/*
 * Has the programs that this process executes, and libraries that it loads, start at most so many
 * threads of their own, unless the environment says already how many. Single-threaded.
 */
void tine__environment_limit(uint32_t threads);

#endif
