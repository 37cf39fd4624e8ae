/* SPDX-License-Identifier: MIT */
/* What test_primitives_foreign.c puts into a named segment for two runs of foreign_probe.c. */
#ifndef TINE_TESTS_SHM_FOREIGN_H
#define TINE_TESTS_SHM_FOREIGN_H

#include <tine.h>

#define FOREIGN_TURNS 1000

/* Counters beside a lock are changed under it only. */
struct foreign {
    tine_barrier barrier;
    tine_lock lock;
    uint64_t under_lock;
    tine_lock handover;
    uint64_t under_handover;
    tine_rlock rlock;
    uint64_t under_rlock;
    tine_semaphore semaphore; /* one permit */
    uint64_t under_semaphore;
    tine_rwlock rwlock;
    uint64_t under_rwlock[2]; /* always the same */
    tine_condition condition; /* of the lock: whose turn it is */
    uint64_t turn;
    tine_event events[2];
    tine_once once;
    uint64_t once_calls;
};

#endif
