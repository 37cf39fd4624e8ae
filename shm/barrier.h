/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_BARRIER_H
#define TINE_SHM_BARRIER_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/waiters.h"

#define TINE__BARRIER_KIND 0x72726162u /* "barr" */

/*
 * What a tine_barrier is.
 *
 * field       written by               read by    order
 * word        all, one step a change   all        seq_cst; see below
 * waiters     who waits, who wakes     them       see shm/waiters.h
 * kind        init (last), fini        all        release/acquire
 * parties … spin_max_ns   init         all        published by kind
 * spin_ns, sleeps         who waited   who waits  relaxed, hints
 * looked      who looks at the parties the same   relaxed; a stale one costs a look too many or
 *                                                 25 ms
 * party       its process; a reset     who looks  seq_cst, against word: see shm/barrier.c
 *
 * word:  bits 0-15 arrivals in the round, 16 broken, 17 acting (all have arrived, the action runs),
 *        18-24 how the last 7 rounds ended (bit 18 the last one, set: broken),
 *        25-31 epoch: resets, 32-63 round
 * party: tine__owner_word() of a registered process; in its marks the epoch for which it is
 *        registered, modulo 4. Of another epoch: it doesn't count.
 */
struct tine__barrier_shm {
    _Atomic uint64_t word;
    struct tine__waiters_shm waiters;
    _Atomic uint32_t kind;
    uint32_t parties;
    uint32_t slots;
    uint32_t spin_max_ns;
    int64_t timeout_ns; /* 0: for ever */
    _Atomic uint32_t spin_ns;
    _Atomic uint32_t sleeps;
    _Atomic uint64_t looked; /* tine__look_due */
    uint64_t reserved[9];
    _Atomic uint64_t party[];
};

/* Parts of the word, for the tests too. */
#define TINE__BARRIER_COUNT       ((uint64_t)0xffff)
#define TINE__BARRIER_BROKEN      ((uint64_t)1 << 16)
#define TINE__BARRIER_ACTING      ((uint64_t)1 << 17)
#define TINE__BARRIER_HISTORY     18
#define TINE__BARRIER_EPOCH       25
#define TINE__BARRIER_ROUND       32
#define TINE__BARRIER_PAST_ROUNDS 7
#define TINE__BARRIER_EPOCHS      128

#endif
