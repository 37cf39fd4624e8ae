/* SPDX-License-Identifier: MIT */
/* What the tests of pools share: the heap is there before the first test, and what it holds. */
#ifndef TINE_TESTS_POOLS_H
#define TINE_TESTS_POOLS_H

#include <stdbool.h>
#include <stdint.h>

#include <tine/pool.h>

/* A pool of this many workers. */
tine_pool *pool_of(int32_t workers);
tine_pool_counts pool_counts(tine_pool *pool);

/* Blocks that are given out in the family heap. */
uint64_t heap_blocks(void);
uint64_t heap_bytes(void);

/* Instrumented or under valgrind: no large memory, no tight limits of memory or processes. */
bool is_instrumented(void);
/* Is there room for so much more memory? */
bool has_memory(uint64_t bytes);

#endif
