/* SPDX-License-Identifier: MIT */
/*
 * Descriptors as arguments of a process: `F` and `o` in tine_process_start() and tine_args().
 *
 * While the arguments are packed each is duplicated, so that another thread of the program may
 * close its own meanwhile; the numbers in the bytes are those of the duplicates in this table, from
 * 1 on. The new process has the table with descriptors of its own.
 */
#ifndef TINE_POOL_CARRY_H
#define TINE_POOL_CARRY_H

#include <stdint.h>

#include "lib/codec.h"

#define TINE__CARRIED_MAX 16

struct tine__carried {
    struct tine__descriptors hooks;
    uint32_t count;
    int fds[TINE__CARRIED_MAX];
};

void tine__carried_init(struct tine__carried *carried);
void tine__carried_close(struct tine__carried *carried);

#endif
