/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_RANKING_H
#define TINE_IPC_QUEUE_RANKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/queue_slots.h"
#include "lib/clock.h"
#include "shm/robust.h"

/*
 * Items by rank, smallest priority first: a binary heap of slots under a robust lock. Among equals
 * the first put comes first, or with `lifo` the last. See ipc/queue_ranking.c for what a death
 * under the lock means.
 */
struct tine__rank_shm {
    int64_t priority;
    uint64_t ticket;
    uint64_t slot;
};

/*
 * Everything under the lock, but `shut`, which anybody sets; `count`, `puts` and `shut` are read
 * without it, too, seq_cst.
 */
struct tine__ranking_shm {
    struct tine__robust lock;
    const struct tine__slots_shm *slots;
    struct tine__rank_shm *_Atomic entries;
    uint64_t room;
    _Atomic uint64_t count;
    _Atomic uint64_t puts; /* + 1 before and after an item becomes QUEUED */
    uint64_t last_ticket;
    uint32_t lifo;
    _Atomic uint32_t shut;
};

int tine__ranking_init(struct tine__ranking_shm *ranking, const struct tine__slots_shm *slots,
                       bool lifo); /* 0, -ENOMEM */
void tine__ranking_empty(struct tine__ranking_shm *ranking);

/*
 * The first two wait until the deadline for the lock, which is held for less than a microsecond
 * unless its holder is stopped, or not running just now. -ETIMEDOUT: it could not be had. Who does
 * not wait for items or room does wait for the lock, 40 ms at most, lest it be told that there is
 * none because of somebody who is not running.
 */
#define TINE__RANKING_AT_ONCE ((tine__deadline)1)

/* The caller's slot, in state FILLING. 0, -EAGAIN (there are maxsize), -ESHUTDOWN, -ENOMEM. */
int tine__ranking_put(struct tine__ranking_shm *ranking, uint32_t index, uint64_t maxsize,
                      tine__deadline deadline);
/*
 * The first one; returned: items that were RETURNED come back into the ranking before. 0, -EAGAIN
 * (there is none), -ESHUTDOWN (nor will be).
 */
int tine__ranking_take(struct tine__ranking_shm *ranking, uint32_t party, uint64_t state,
                       bool returned, tine__deadline deadline, uint32_t *index, uint64_t *word);
/* Another number after each put that has returned; odd while one is under way. */
uint64_t tine__ranking_puts(const struct tine__ranking_shm *ranking);
/* For who has found a process dead: if that held the lock, what it left is repaired now. */
void tine__ranking_settle(struct tine__ranking_shm *ranking);
void tine__ranking_shut(struct tine__ranking_shm *ranking);

#endif
