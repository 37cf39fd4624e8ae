/* SPDX-License-Identifier: MIT */
/* The three forms of a lock behind one interface, for tests that hold for all of them. */
#ifndef TINE_TESTS_LOCKS_H
#define TINE_TESTS_LOCKS_H

#include <tine/lock.h>

union any_lock {
    tine_lock lock;
    tine_rlock rlock;
};

struct lock_form {
    const char *name;
    int (*init)(union any_lock *lock);
    int (*acquire)(union any_lock *lock, int64_t timeout_ns);
    int (*release)(union any_lock *lock);
    int (*recover)(union any_lock *lock);
    int (*locked)(const union any_lock *lock);
};

#define LOCK_FORMS 3 /* plain, rlock, hand-over */

static inline int any_init(union any_lock *lock)
{
    return tine_lock_init(&lock->lock, NULL);
}

static inline int any_init_rlock(union any_lock *lock)
{
    return tine_rlock_init(&lock->rlock, NULL);
}

static inline int any_init_handover(union any_lock *lock)
{
    return tine_lock_init(&lock->lock, &(tine_lock_options){.flags = TINE_LOCK_HANDOVER});
}

static inline int any_acquire(union any_lock *lock, int64_t timeout_ns)
{
    return tine_lock_acquire(&lock->lock, timeout_ns);
}

static inline int any_acquire_rlock(union any_lock *lock, int64_t timeout_ns)
{
    return tine_rlock_acquire(&lock->rlock, timeout_ns);
}

static inline int any_release(union any_lock *lock)
{
    return tine_lock_release(&lock->lock);
}

static inline int any_release_rlock(union any_lock *lock)
{
    return tine_rlock_release(&lock->rlock);
}

static inline int any_recover(union any_lock *lock)
{
    return tine_lock_recover(&lock->lock);
}

static inline int any_recover_rlock(union any_lock *lock)
{
    return tine_rlock_recover(&lock->rlock);
}

static inline int any_locked(const union any_lock *lock)
{
    return tine_lock_locked(&lock->lock);
}

static inline int any_locked_rlock(const union any_lock *lock)
{
    return tine_rlock_locked(&lock->rlock);
}

static const struct lock_form lock_forms[LOCK_FORMS] = {
    {"lock", any_init, any_acquire, any_release, any_recover, any_locked},
    {"rlock", any_init_rlock, any_acquire_rlock, any_release_rlock, any_recover_rlock,
     any_locked_rlock},
    {"handover", any_init_handover, any_acquire, any_release, any_recover, any_locked},
};

#endif
