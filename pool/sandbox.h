/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_SANDBOX_H
#define TINE_POOL_SANDBOX_H

#include <stddef.h>

#include <tine/sandbox.h>

#include "pool/layout.h"

/*
 * A copy in the family heap of what is asked for, if this machine can have it: 0, -ENOTSUP,
 * -EINVAL, -E2BIG, -ENOMEM, and what looking up a path gives.
 */
int tine__sandbox_make(struct tine__sandbox_shm **made, const tine_sandbox *sandbox);
/* In a worker: steps in. On failure the message says at what. */
int tine__sandbox_enter(const struct tine__sandbox_shm *sandbox, char *message, size_t size);

#endif
