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
 * What a tine_lock and a tine_rlock are. The holder is the thread that has the mutex; he alone
 * writes what is not said to be another's. What every acquire and release touch is the first 64
 * bytes (where a mutex has 40): two processes that contend pass one cache line to and fro.
 *
 * field      written by                      read by                  order
 * kind       init, fini; marks: the holder   any                      release/acquire
 * taken      the holder, first on entering   any                      release/acquire by process
 * holder     the holder: last on entering,   oneself, for one's own   relaxed
 *            first on leaving                value; the next holder   by the mutex
 * process    the holder, before `holder`     any, between two equal   release/acquire
 *                                            readings of `taken`
 * robust     glibc, kernel
 * depth      the holder, with DEEP           the holder
 * others     the holder                      any, for statistics      relaxed
 *
 * In the hand-over form (shm/handover.c) there is no mutex; `process` is the word that is taken.
 */
struct tine__lock_shm {
    _Atomic uint32_t kind;
    _Atomic uint32_t taken;   /* how often, modulo 2^32 */
    _Atomic uint64_t holder;  /* tine__self()->thread, 0: nobody is inside */
    _Atomic uint64_t process; /* tine__owner_word() of the holder */
    struct tine__robust robust;
    _Atomic int64_t since_ns; /* with TIMED: when the holder took it */
    _Atomic int64_t longest_ns;
    _Atomic uint64_t contended;
    uint32_t depth;         /* with DEEP: how often the holder has taken it */
    _Atomic uint32_t wraps; /* of taken */
    _Atomic uint32_t deaths;
    struct tine__waiters_shm waiters; /* of the hand-over form */
    uint32_t reserved;
};

enum {
    TINE__LOCK_PLAIN = 0x6b636f10,
    TINE__LOCK_NESTING = 0x6b636f20,  /* rlock */
    TINE__LOCK_HANDOVER = 0x6b636f30, /* shm/handover.c */

    /* Marks in the low bits of kind; a kind without any is a lock that needs no second look. */
    TINE__LOCK_DOUBTFUL = 1, /* a holder died inside, and nobody has recovered it */
    TINE__LOCK_LOST = 2,     /* for ever */
    TINE__LOCK_STATES = 3,
    TINE__LOCK_TIMED = 4, /* this hold is */
    TINE__LOCK_DEEP = 8,  /* held more than once */
    TINE__LOCK_MARKS = 15,
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
bool tine__lock_is(const struct tine__lock_shm *lock, uint32_t kind);
uint32_t tine__lock_depth(const struct tine__lock_shm *lock); /* of the caller */
int tine__lock_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid);
void tine__lock_count(const struct tine__lock_shm *lock, tine_lock_counts *counts);

#endif
