/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_SETTLE_H
#define TINE_POOL_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/backoff.h"
#include "pool/layout.h"

struct tine__death {
    int32_t pid;
    int32_t signal;      /* 0 when it exited by itself */
    int32_t exit_status; /* -1 when a signal ended it */
    bool is_thread;      /* it has ended alone, by pthread_exit() */
};

/*
 * Settles the account of a worker that is dead and reaped: what it was running fails or is put up
 * to run again, what it had claimed and not begun is put up again. By the nursery only, before
 * another process takes the worker's place; in a pool of threads by the one that ends, one at a
 * time, and without a backoff (NULL): what runs again does so at once.
 */
void tine__settle(struct tine__pool_shm *pool, struct tine__backoff *backoff, uint32_t worker,
                  const struct tine__death *death);

#endif
