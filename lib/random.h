/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_RANDOM_H
#define TINE_LIB_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* From the kernel: unpredictable, and different in a forked child. Thread any, signal no. */
void tine__random_bytes(void *bytes, size_t size);
uint64_t tine__random_u64(void);

#endif
