/* SPDX-License-Identifier: MIT */
/*
 * Random numbers that can be had again: each test starts from the program's printed seed and its
 * own name, so it draws the same numbers whether it runs alone or among others. TINE_SEED=N sets
 * the seed.
 */
#ifndef TINE_TESTS_RANDOM_H
#define TINE_TESTS_RANDOM_H

#include <stdint.h>

uint64_t random_seed(void);            /* of the program */
void random_restart(const char *name); /* the suite does this before each test */
void random_fork(
    uint64_t index); /* a participant's or thread's own sequence, no copy of another's */
uint64_t random_u64(void);
uint64_t random_below(uint64_t limit); /* 0 … limit - 1 */

#endif
