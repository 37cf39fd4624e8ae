/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_BEGIN_H
#define TINE_POOL_BEGIN_H

#include <tine/task.h>

#include "pool/carry.h"
#include "pool/process_impl.h"

/* What a new process has, wherever it comes from. */
struct tine__birth {
    struct tine__process_shm *shared;
    tine_function *function;
    struct tine__carried *carried;
    int parent; /* pidfd of who started it; its own from now on */
};

/* The life of a process, in it: runs the function and exits. */
_Noreturn void tine__begin(const struct tine__birth *birth);

#endif
