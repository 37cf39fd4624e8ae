/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_WAITERS_H
#define TINE_SHM_WAITERS_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

/*
 * How often whoever sleeps looks whether those whom it waits for still live. Where two sleep behind
 * each other (the waiter of a condition whose lock's holder died), the look of the second begins
 * after that of the first, and both together have 100 ms.
 */
#define TINE__LOOK_NS ((int64_t)40000000)

/*
 * The sleepers of a primitive: threads of any process that wait until somebody has changed the
 * primitive's state. Zeroed is ready. Neither word tells who sleeps, so the dead leave nothing here
 * but a wake-up too many, and a wake-up that a dying sleeper took along is made good by the next
 * look of the others.
 *
 * field    written by                  read by   order
 * turn     who has changed the state   sleepers  seq_cst; the futex word
 * waiting  sleepers and watchers their wakers    seq_cst, against the state: see waiters.c
 *          bit, wakers 0
 *
 * Watchers sleep on descriptors, together with other things (shm/watch.h); of those all are told.
 *
 *     turn = tine__waiters_join(&shm->waiters);         while (!take(state)) {
 *     if (take(state)) …                                     turn = join; if (take(state)) break;
 *     tine__waiters_sleep(&shm->waiters, turn, …);           sleep; look; }
 *
 * Whoever got what it wanted after having slept wakes the next if there is something left to take:
 * two wake-ups in a row may have reached only one sleeper.
 */
struct tine__waiters_shm {
    _Atomic uint32_t turn;
    _Atomic uint32_t waiting;
};

/*
 * Has nobody looked for the dead in the last half of TINE__LOOK_NS? Then the caller shall do so:
 * one look serves all sleepers, but only those of the same namespaces, who can judge the same
 * processes. *looked, 0 at first: bits 12-63 of CLOCK_MONOTONIC in ns, below them the namespaces'
 * hash. Relaxed.
 */
bool tine__look_due(_Atomic uint64_t *looked);

enum { TINE__WAITERS_ASLEEP = 1, TINE__WAITERS_WATCHED = 2 };

/* Announces a sleeper; after this the caller must test the state once more before it sleeps. */
uint32_t tine__waiters_join(struct tine__waiters_shm *waiters);
/* Until woken, or the next look is due: 0 (look, test the state again), or -ETIMEDOUT. */
int tine__waiters_sleep(struct tine__waiters_shm *waiters, uint32_t turn, tine__deadline deadline);
/* The same, for at most nap_ns. */
int tine__waiters_nap(struct tine__waiters_shm *waiters, uint32_t turn, int64_t nap_ns,
                      tine__deadline deadline);
void tine__waiters_wake_slow(struct tine__waiters_shm *waiters, int count);

/* Async-signal-safe. After a seq_cst change of the state: wakes at most count sleepers. */
static inline void tine__waiters_wake(struct tine__waiters_shm *waiters, int count)
{
    /* against the store in tine__waiters_join: one of the two sees the other */
    if (atomic_load_explicit(&waiters->waiting, memory_order_seq_cst) != 0)
        tine__waiters_wake_slow(waiters, count);
}

/* Announces a watcher, who has entered its bell for `waiters` and now must test the state once
   more. */
static inline void tine__waiters_watch(struct tine__waiters_shm *waiters)
{
    if (!(atomic_load_explicit(&waiters->waiting, memory_order_seq_cst) & TINE__WAITERS_WATCHED))
        atomic_fetch_or_explicit(&waiters->waiting, TINE__WAITERS_WATCHED, memory_order_seq_cst);
}

static inline void tine__waiters_wake_all(struct tine__waiters_shm *waiters)
{
    tine__waiters_wake(waiters, INT_MAX);
}

#endif
