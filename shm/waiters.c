/* SPDX-License-Identifier: MIT */
/*
 * Sleeping and waking on a word of shared memory; see shm/waiters.h.
 *
 * A sleeper says so (`waiting`), notes `turn`, and tests the state; a waker changes the state, then
 * looks at `waiting`. All four are sequentially consistent, so either the sleeper's test sees the
 * change, or the waker sees the sleeper. The waker takes `waiting` back before it wakes: those
 * still asleep are represented by whoever wakes, since it joins again before its next test and so
 * says for all that somebody may sleep. Where a death breaks this chain, each sleeper is awake
 * again after TINE__LOOK_NS by itself. Watchers have a bit of their own in `waiting`, and the same
 * rule; each wake-up is for all of them, who take nothing by being told.
 *
 * A wake-up may reach memory that is used for something else by now (the primitive was freed by
 * the one who was let through): a spurious wake-up of a futex there, which every user of futexes
 * must bear. Nothing is written after the change but `waiting` and `turn`, and only while somebody
 * sleeps.
 */
#include "shm/waiters.h"

#include <errno.h>

#include "lib/sys.h"
#include "shm/owner.h"
#include "shm/watch.h"

#define NAMESPACES ((uint64_t)0xfff) /* as in tine__owner_word(), where they are the upper bits */

bool tine__look_due(_Atomic uint64_t *looked)
{
    uint64_t last = atomic_load_explicit(looked, memory_order_relaxed);
    uint64_t now = (uint64_t)tine__now_ns(), at = last & ~NAMESPACES;
    uint64_t mine = tine__owner_word() >> 52;

    /* A time to come is that of another time namespace. */
    if (last != 0 && (last & NAMESPACES) == mine && at <= now && now - at < TINE__LOOK_NS / 2)
        return false;
    return atomic_compare_exchange_strong_explicit(looked, &last, (now & ~NAMESPACES) | mine,
                                                   memory_order_relaxed, memory_order_relaxed);
}

uint32_t tine__waiters_join(struct tine__waiters_shm *waiters)
{
    atomic_fetch_or_explicit(&waiters->waiting, TINE__WAITERS_ASLEEP, memory_order_seq_cst);
    return atomic_load_explicit(&waiters->turn, memory_order_seq_cst);
}

int tine__waiters_nap(struct tine__waiters_shm *waiters, uint32_t turn, int64_t nap_ns,
                      tine__deadline deadline)
{
    int64_t left = tine__deadline_left(deadline);

    if (left == 0)
        return -ETIMEDOUT;
    (void)tine__sys_futex_wait(&waiters->turn, turn, left < nap_ns ? left : nap_ns);
    return 0;
}

int tine__waiters_sleep(struct tine__waiters_shm *waiters, uint32_t turn, tine__deadline deadline)
{
    return tine__waiters_nap(waiters, turn, TINE__LOOK_NS, deadline);
}

void tine__waiters_wake_slow(struct tine__waiters_shm *waiters, int count)
{
    uint32_t waiting = atomic_exchange_explicit(&waiters->waiting, 0, memory_order_seq_cst);

    if (waiting & TINE__WAITERS_ASLEEP) {
        atomic_fetch_add_explicit(&waiters->turn, 1, memory_order_seq_cst);
        tine__sys_futex_wake(&waiters->turn, count);
    }
    if (waiting & TINE__WAITERS_WATCHED)
        tine__watch_ring(waiters);
}
