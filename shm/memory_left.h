/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_MEMORY_LEFT_H
#define TINE_SHM_MEMORY_LEFT_H

#include <stddef.h>

/*
 * How many bytes this process could still take before a memory cgroup on its path or the machine
 * runs out, as well as that can be known: SIZE_MAX where nothing can be read. A margin is kept
 * back.
 */
size_t tine__memory_left(void);

#endif
