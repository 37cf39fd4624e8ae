/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_ROBUST_H
#define TINE_SHM_ROBUST_H

#include <pthread.h>

#include "lib/clock.h"

/*
 * The library's internal lock in shared memory: a process-shared robust mutex of type NORMAL. The
 * kernel frees it when its holder dies; whoever gets it next repairs what it guards, before
 * anything else sees the data. A death inside the repair hands the duty on.
 */
struct tine__robust {
    pthread_mutex_t mutex;
};

/* Makes what the lock guards consistent again; called with the lock held. */
typedef void tine__robust_repair(void *context);

int tine__robust_init(struct tine__robust *robust);
/* Waits for the bare mutex, which was just taken: an errno of pthread; EOWNERDEAD is left to the
   caller. */
int tine__robust_wait(struct tine__robust *robust, tine__deadline deadline);
/* 0 locked, negative: not locked (the memory is no such lock) */
int tine__robust_lock(struct tine__robust *robust, tine__robust_repair *repair, void *context);
/* The same, or -ETIMEDOUT. A deadline that has passed: if it is free, or gets free at once. */
int tine__robust_lock_until(struct tine__robust *robust, tine__deadline deadline,
                            tine__robust_repair *repair, void *context);
void tine__robust_unlock(struct tine__robust *robust);

#endif
