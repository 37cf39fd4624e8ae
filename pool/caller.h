/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_CALLER_H
#define TINE_POOL_CALLER_H

#include "pool/pool_impl.h"

/* The last step of an open. -EAGAIN: no thread can be had. */
int tine__caller_start(tine_pool *pool);
/* The pool has ended: until all callbacks have run. Not in one of them. 0, -ETIMEDOUT. */
int tine__caller_await(tine_pool *pool, tine__deadline deadline);
/* The same for ever, and the thread is gone. */
void tine__caller_join(tine_pool *pool);

#endif
