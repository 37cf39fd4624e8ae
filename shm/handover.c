/* SPDX-License-Identifier: MIT */
/*
 * The lock that one may take and another release, as Python's Lock; see shm/handover.h.
 *
 * No robust mutex can do that, for the kernel ties it to a thread. One word is taken by one CAS,
 * and names the process that it belongs to from the same instant; so each prefix of an operation is
 * either before or after that step. What a death may cut off is the wake-up behind it: sleepers
 * look every 50 ms.
 *
 * The dead are found by whoever waits, a millisecond after it began and at each look, or before it
 * gives up: one CAS changes the word of the dead into one's own, with the mark, so one alone hears
 * of a death. The word of a dead process never comes again, so nobody can be mistaken for him in
 * between. Processes of another pid namespace are never judged dead.
 *
 * The statistics are changed by whoever holds or releases, with relaxed atomics.
 */
#include "shm/handover.h"

#include <errno.h>

#include "lib/clock.h"
#include "shm/owner.h"

#define DOUBTFUL ((uint64_t)1)
#define LOST     ((uint64_t)2)

/* How long a waiter sleeps before it looks for the first time: long enough for a short hold to
   end. */
#define FIRST_LOOK_NS 1000000

/* Holds are timed as those of the other locks: see shm/lock.c. */
#define TIMED_EVERY           256
#define TIMED_EVERY_CONTENDED 16

static uint64_t word_of(const struct tine__lock_shm *lock)
{
    return atomic_load_explicit(&lock->process, memory_order_seq_cst);
}

/* seq_cst: acquires what the one before guarded, and stands against `waiting` of the sleepers. */
static bool replace(struct tine__lock_shm *lock, uint64_t *expected, uint64_t word)
{
    return atomic_compare_exchange_strong_explicit(&lock->process, expected, word,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

static void begin_hold(struct tine__lock_shm *lock, bool waited)
{
    uint32_t taken = atomic_fetch_add_explicit(&lock->taken, 1, memory_order_relaxed) + 1;
    bool timed = taken % TIMED_EVERY == 0;

    if (taken == 0)
        atomic_fetch_add_explicit(&lock->wraps, 1, memory_order_relaxed);
    if (waited)
        timed |= atomic_fetch_add_explicit(&lock->contended, 1, memory_order_relaxed) %
                     TIMED_EVERY_CONTENDED ==
                 TIMED_EVERY_CONTENDED - 1;
    if (timed)
        atomic_store_explicit(&lock->since_ns, tine__now_ns(), memory_order_relaxed);
}

static void end_hold(struct tine__lock_shm *lock)
{
    int64_t since_ns = atomic_load_explicit(&lock->since_ns, memory_order_relaxed), held_ns;

    if (since_ns == 0)
        return;
    atomic_store_explicit(&lock->since_ns, 0, memory_order_relaxed);
    held_ns = tine__now_ns() - since_ns;
    if (held_ns > atomic_load_explicit(&lock->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&lock->longest_ns, held_ns, memory_order_relaxed);
}

/* 0 or another final result, -EAGAIN while somebody else has it; looks: also whether he lives. */
static int try(struct tine__lock_shm *lock, bool waited, bool looks)
{
    uint64_t self = tine__owner_word(), word = 0;

    if (replace(lock, &word, self)) {
        begin_hold(lock, waited);
        return 0;
    }
    if (word == LOST)
        return -ENOTRECOVERABLE;
    if (!looks || tine__owner_word_lives(word) || !replace(lock, &word, self | DOUBTFUL))
        return -EAGAIN;
    atomic_store_explicit(&lock->since_ns, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&lock->deaths, 1, memory_order_relaxed);
    begin_hold(lock, waited);
    return -EOWNERDEAD;
}

/* Sleeps until woken, or until it is time to look. */
static int sleep_on(struct tine__lock_shm *lock, uint32_t turn, bool first, tine__deadline deadline)
{
    tine__deadline look = first ? tine__deadline_after(FIRST_LOOK_NS) : TINE__NEVER;

    if (tine__deadline_passed(deadline))
        return -ETIMEDOUT;
    (void)tine__waiters_sleep(&lock->waiters, turn, look < deadline ? look : deadline);
    return 0;
}

static int wait_for(struct tine__lock_shm *lock, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = 0;

    for (bool first = true;; first = false) {
        uint32_t turn = tine__waiters_join(&lock->waiters);
        int got = try(lock, true, !first || rc < 0);

        if (got != -EAGAIN || rc < 0)
            return got != -EAGAIN ? got : rc;
        rc = sleep_on(lock, turn, first, deadline);
    }
}

int tine__handover_acquire(struct tine__lock_shm *lock, int64_t timeout_ns)
{
    int rc = try(lock, false, timeout_ns == 0);

    return rc == -EAGAIN && timeout_ns != 0 ? wait_for(lock, timeout_ns) : rc;
}

int tine__handover_release(struct tine__lock_shm *lock)
{
    uint64_t word = word_of(lock), after;

    end_hold(lock);
    do {
        if (word == 0)
            return -EPERM;
        if (word == LOST)
            return -ENOTRECOVERABLE;
        after = (word & DOUBTFUL) != 0 ? LOST : 0;
    } while (!replace(lock, &word, after));
    if (after == LOST)
        tine__waiters_wake_all(&lock->waiters);
    else
        tine__waiters_wake(&lock->waiters, 1);
    return 0;
}

int tine__handover_recover(struct tine__lock_shm *lock)
{
    uint64_t word = word_of(lock);

    if (word == LOST || !tine__owner_word_same(word, tine__owner_word()))
        return -EPERM;
    if ((word & DOUBTFUL) == 0 || !replace(lock, &word, word & ~DOUBTFUL))
        return -EINVAL;
    return 0;
}

int tine__handover_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid)
{
    uint64_t word = word_of(lock);

    if (word == 0 || word == LOST)
        return 0;
    if (pid != NULL)
        *pid = tine__owner_word_pid(word);
    if (tid != NULL)
        *tid = 0;
    return 1;
}
