/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_FORK_H
#define TINE_LIB_FORK_H

#include <stdint.h>

/*
 * A number that names this process among all that a fork has made of it: never 0, the same for the
 * life of the process, another one in every forked child. Handles record it and compare.
 * Thread any, signal no. Returns 0 only when the page behind it cannot be had (out of memory).
 */
uint64_t tine__fork_generation(void);

#endif
