/* SPDX-License-Identifier: MIT */
/*
 * A lock between the threads of one process, for code that may not use pthread's. Zeroed is free.
 * It lies in private memory: nobody is killed with it and leaves others behind. A forked child
 * resets it with all that it guards.
 *
 * Where the C library tells that there is one thread, which only this thread can change, a load and
 * a store do; the two steps that lock the bus would be a fifth of a queue's get.
 */
#ifndef TINE_LIB_FUTEX_LOCK_H
#define TINE_LIB_FUTEX_LOCK_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define TINE__ALONE __libc_single_threaded
#else
#define TINE__ALONE 0
#endif

#include "lib/clock.h"
#include "lib/sys.h"

struct tine__futex_lock {
    _Atomic uint32_t word; /* 0 free, 1 taken, 2 taken and somebody may sleep */
};

static inline bool tine__futex_trylock(struct tine__futex_lock *lock)
{
    uint32_t seen = 0;

    if (TINE__ALONE && atomic_load_explicit(&lock->word, memory_order_relaxed) == 0) {
        atomic_store_explicit(&lock->word, 1, memory_order_relaxed);
        return true;
    }
    return atomic_compare_exchange_strong_explicit(&lock->word, &seen, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void tine__futex_lock(struct tine__futex_lock *lock)
{
    if (tine__futex_trylock(lock))
        return;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        (void)tine__sys_futex_wait(&lock->word, 2, -1);
}

/* 0, or -ETIMEDOUT */
static inline int tine__futex_lock_until(struct tine__futex_lock *lock, tine__deadline deadline)
{
    if (tine__futex_trylock(lock))
        return 0;
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);

        if (left == 0)
            return -ETIMEDOUT;
        (void)tine__sys_futex_wait(&lock->word, 2, left);
    }
    return 0;
}

static inline void tine__futex_unlock(struct tine__futex_lock *lock)
{
    if (TINE__ALONE && atomic_load_explicit(&lock->word, memory_order_relaxed) == 1)
        atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
    /* release: pairs with the acquires above */
    else if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        tine__sys_futex_wake(&lock->word, 1);
}

#endif
