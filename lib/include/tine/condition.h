/* SPDX-License-Identifier: MIT */
/*
 * Conditions: threads and processes that hold a lock wait until another one, under the same lock,
 * has made true what they need.
 *
 * A condition belongs to one tine_lock or tine_rlock, given when it is made, and both lie in the
 * same shared mapping (usually in the same struct): the condition keeps the distance between them,
 * so each process may map the memory where it likes.
 *
 *     struct box { tine_lock lock; tine_condition filled; uint64_t items; };
 *     tine_lock_init(&box->lock, NULL);
 *     tine_condition_init(&box->filled, &box->lock, NULL);
 *
 *     rc = tine_lock_acquire(&box->lock, TINE_FOREVER);         rc = tine_lock_acquire(...);
 *     while (rc == 0 && box->items == 0)                        box->items++;
 *         rc = tine_condition_wait(&box->filled, TINE_SEC(1));  tine_condition_notify(&box->filled, 1);
 *     if (rc == 0)                                              tine_lock_release(&box->lock);
 *         box->items--;
 *     tine_lock_release(&box->lock);
 *
 * Always wait in a loop that tests what you need, or with tine_condition_wait_for(), which is that
 * loop: another may have been faster, and deaths cause wake-ups too many.
 *
 * Who dies costs nobody a wake-up. A notification that went to a waiter that died, before or after
 * it, goes to the one that waits longest; when somebody dies holding the lock, all who wait are
 * woken, the first of them with -EOWNERDEAD, since the dead may have taken a notification and left
 * what it was about. Both within 50 ms: whoever sleeps here looks that often. A notifier never
 * waits for those it woke. doc/locking.md has the table of who dies when, and what the others get.
 */
#ifndef TINE_CONDITION_H
#define TINE_CONDITION_H

#include <tine/base.h>
#include <tine/lock.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

/* How many threads can wait at the same time, and the bytes of a condition for another number. */
#define TINE_CONDITION_SLOTS       62
#define TINE_CONDITION_SIZE(slots) (64 + 32 * (size_t)(slots))

typedef struct tine_condition {
    uint64_t opaque[256];
} tine_condition;

/* Options of a condition; zero in a field means its default. */
typedef struct tine_condition_options {
    uint32_t slots; /* 0: TINE_CONDITION_SLOTS; else the memory is TINE_CONDITION_SIZE(slots)
                       bytes */
    uint32_t flags; /* none yet */
    uint64_t reserved[3]; /* must be zero */
} tine_condition_options;

/* What wait_for waits for. Called with the lock held, in the waiting thread. */
typedef bool tine_condition_predicate(void *argument);

/**
 * tine_condition_init - make a condition of a lock
 *
 * In:      lock     made before; in the same mapping as the condition, and for as long
 *          options  NULL for defaults
 * Out:     condition  memory for it, which no other thread uses yet; its content does not matter
 * Shape:   2048 bytes, or TINE_CONDITION_SIZE(options->slots), aligned to 8
 * Units:   slots: threads that can wait at the same time, at most 65536
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (no memory, not aligned, no such lock, one made with TINE_LOCK_HANDOVER, unknown
 *          flags, too many slots), -E2BIG (options from a newer header)
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaves memory that is no condition: -EINVAL for others
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition;
 *          differs: the lock is given always
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_condition_init(tine_condition *condition, tine_lock *lock,
                                              const tine_condition_options *options);

/**
 * tine_condition_init_rlock - make a condition of a recursive lock
 *
 * In:      lock     made before; in the same mapping as the condition, and for as long
 *          options  NULL for defaults
 * Out:     condition  memory for it, which no other thread uses yet; its content does not matter
 * Shape:   2048 bytes, or TINE_CONDITION_SIZE(options->slots), aligned to 8
 * Units:   slots: threads that can wait at the same time, at most 65536
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (no memory, not aligned, no such lock, unknown flags, too many slots),
 *          -E2BIG (options from a newer header)
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaves memory that is no condition: -EINVAL for others
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_condition_init_rlock(tine_condition *condition, tine_rlock *lock,
                                                    const tine_condition_options *options);

/**
 * tine_condition_fini - end a condition
 *
 * In:      condition  nobody waits on it or will use it; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; the memory is the caller's again, other calls on it return -EINVAL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   none: nothing outside the memory belongs to a condition
 * Source:  shm/condition.c
 * Since:   0.1
 */
TINE_API void tine_condition_fini(tine_condition *condition);

/**
 * tine_condition_wait - release the lock, wait to be notified, take the lock again
 *
 * In:      condition   its lock is held by the calling thread
 *          timeout_ns  how long to wait for a notification; the lock is waited for however long it
 *                      takes
 * Out:     none
 * Shape:   a recursive lock is released whole and is as deep as before afterwards
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0 = only let others have the lock)
 * Returns: 0: notified, or somebody died; in all cases but those under "Give up" the lock is held
 *          as before
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0 and not notified);
 *          -EOWNERDEAD: held, but a holder died inside: repair what the lock guards and call
 *          tine_lock_recover(), then test what you wait for, for you may have been notified
 * Give up: -ENOTRECOVERABLE (lock not held: it is lost); without having waited -EPERM (the lock is
 *          not held), -ENOLCK (no slot is free), -EINVAL
 * Blocks:  yes, at most timeout_ns, and until the lock is free; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of another waiter: nothing; of a notified one: its notification is passed on within
 *          50 ms; of the lock's holder: all return within 50 ms, or once the lock is free
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition.wait;
 *          differs: 0 is true; a death can wake without a notification
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_condition_wait(tine_condition *condition, int64_t timeout_ns);

/**
 * tine_condition_wait_for - wait until a predicate is true
 *
 * In:      condition   its lock is held by the calling thread
 *          predicate   called with the lock held: at once, after each wake-up, and after the
 *                      timeout
 *          argument    passed to the predicate, borrowed for the call
 *          timeout_ns  how long to wait in all; the lock is waited for however long it takes
 * Out:     none
 * Shape:   as tine_condition_wait()
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0 = only let others have the lock)
 * Returns: 0: the predicate was true, and the lock has been held since
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0): it was false at last; lock held.
 *          -EOWNERDEAD: held, but a holder died inside, the predicate was not called since; repair,
 *          tine_lock_recover(), and call again
 * Give up: as tine_condition_wait()
 * Blocks:  yes, at most timeout_ns, and until the lock is free; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   as tine_condition_wait()
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition.wait_for
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_condition_wait_for(tine_condition *condition,
                                                  tine_condition_predicate *predicate,
                                                  void *argument, int64_t timeout_ns);

/**
 * tine_condition_notify - wake those that wait longest
 *
 * In:      condition  its lock is held by the calling thread
 *          n          how many at most; what is more than wait now is lost
 * Out:     none
 * Shape:   none
 * Units:   n threads
 * Returns: how many were notified, 0 … n: waiting threads, some of which may have died meanwhile
 * Handle:  none
 * Give up: -EPERM (the lock is not held), -EINVAL
 * Blocks:  no; never waits for those it wakes. They wait for the lock until the caller releases it
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of a waiter: its notification goes to the next, within 50 ms; of the caller: it dies
 *          holding the lock, so all are woken
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition.notify;
 *          differs: does not wait for acknowledgements
 * Since:   0.1
 */
TINE_API int tine_condition_notify(tine_condition *condition, uint32_t n);

/**
 * tine_condition_notify_all - wake all that wait now
 *
 * In:      condition  its lock is held by the calling thread
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: how many were notified: waiting threads, some of which may have died meanwhile
 * Handle:  none
 * Give up: -EPERM (the lock is not held), -EINVAL
 * Blocks:  no; never waits for those it wakes. They wait for the lock until the caller releases it
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of the caller: it dies holding the lock, so all are woken
 * Source:  shm/condition.c; follows Python 3.13 multiprocessing.Condition.notify_all;
 *          differs: does not wait for acknowledgements
 * Since:   0.1
 */
TINE_API int tine_condition_notify_all(tine_condition *condition);

TINE_END_DECLS

#endif
