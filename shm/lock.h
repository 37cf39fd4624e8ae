/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_LOCK_H
#define TINE_SHM_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tine/lock.h>

#include "shm/robust.h"
#include "shm/waiters.h"

/*
 * What a tine_lock and a tine_rlock are. Holder: the thread that has the mutex; it alone writes all
 * fields below but kind and waiters, which init and the hand-over form write too.
 *
 * field         written by                    read by                   order; what a stale value does
 * kind          init, holder (state bits)     any                       release/acquire
 * depth         holder                        holder
 * holder        holder: last when it enters,  any                       relaxed to compare with oneself
 *               first when it leaves                                    (only oneself writes that value);
 *                                                                       release/acquire for tine__lock_who
 * acquisitions  holder                        any                       relaxed: statistics
 * robust        glibc, kernel
 * process, tid  holder, before `holder`       any, between two equal    release/acquire
 *                                             readings of `holder`
 * since … deaths  holder                      any                       relaxed: statistics
 *
 * In the hand-over form (shm/handover.c) there is no mutex: `holder` is the word that is taken.
 */
struct tine__lock_shm {
    _Atomic uint32_t kind; /* TINE__LOCK_… | state; last in init, first in fini */
    uint32_t depth;        /* how often the holder has taken it */
    _Atomic uint64_t holder; /* tine__self()->thread, 0: nobody is inside */
    _Atomic uint64_t acquisitions;
    struct tine__robust robust;
    _Atomic uint64_t process; /* tine__owner_word() of the holder */
    _Atomic uint32_t tid;
    uint32_t reserved0;
    _Atomic int64_t since_ns; /* when the holder took it, 0: this hold is not timed */
    _Atomic int64_t longest_ns;
    _Atomic uint64_t contended;
    _Atomic uint32_t deaths;
    struct tine__waiters_shm waiters;
    uint32_t reserved1;
};

enum {
    TINE__LOCK_PLAIN = 0x6b636f10,
    TINE__LOCK_NESTING = 0x6b636f20,  /* rlock */
    TINE__LOCK_HANDOVER = 0x6b636f30, /* shm/handover.c */

    /* States, in the low bits of kind. What a death leaves is compared with them: see lock.c. */
    TINE__LOCK_SOUND = 0,
    TINE__LOCK_DOUBTFUL = 1, /* a holder died inside, and nobody has recovered it */
    TINE__LOCK_LOST = 2,     /* for ever */
    TINE__LOCK_STATES = 3,
};

/*
 * For whoever builds on either of the two, and for conditions. `lock` below is a tine_lock without
 * hand-over, or a tine_rlock; NULL and what is neither give false, or -EINVAL.
 */
bool tine__lock_usable(const struct tine__lock_shm *lock);
bool tine__lock_is_mine(const struct tine__lock_shm *lock); /* held by the calling thread */
/* Leaves it however deep the caller is. As tine_lock_release(); *depth is for reacquire. */
int tine__lock_release_all(struct tine__lock_shm *lock, uint32_t *depth);
/* 0 or -EOWNERDEAD: held, depth times. Else not: as tine_lock_acquire(). */
int tine__lock_reacquire(struct tine__lock_shm *lock, uint32_t depth, int64_t timeout_ns);
/* Word of the process that holds it (shm/owner.h), 0: nobody, or just changing. */
uint64_t tine__lock_holder(const struct tine__lock_shm *lock);

/* The two public forms, shm/lock.c and shm/rlock.c, by kind. */
int tine__lock_init(struct tine__lock_shm *lock, uint32_t kind);
void tine__lock_fini(struct tine__lock_shm *lock);
int tine__lock_acquire(struct tine__lock_shm *lock, uint32_t kind, int64_t timeout_ns);
int tine__lock_release(struct tine__lock_shm *lock, uint32_t kind);
int tine__lock_recover(struct tine__lock_shm *lock, uint32_t kind);
/* kind 0: any */
bool tine__lock_is(const struct tine__lock_shm *lock, uint32_t kind);
int tine__lock_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid);
void tine__lock_count(const struct tine__lock_shm *lock, tine_lock_counts *counts);

#endif
