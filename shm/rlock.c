/* SPDX-License-Identifier: MIT */
/*
 * The lock that its holder may take again: a tine__lock_shm of the nesting kind, see shm/lock.c.
 * Its mutex is of type NORMAL too; that the holder comes again is told by his own identity, not by
 * glibc's thread id, which two pid namespaces may both have.
 */
#include <errno.h>

#include "lib/reserved.h"
#include "shm/held.h"
#include "shm/lock.h"

static struct tine__lock_shm *shared(tine_rlock *rlock)
{
    return (struct tine__lock_shm *)(void *)rlock;
}

/* NULL: it is none. */
static const struct tine__lock_shm *checked(const tine_rlock *rlock)
{
    const struct tine__lock_shm *lock = (const struct tine__lock_shm *)(const void *)rlock;

    return tine__lock_is(lock, TINE__LOCK_NESTING) ? lock : NULL;
}

int tine_rlock_init(tine_rlock *rlock, const tine_rlock_options *options)
{
    if (options != NULL && (TINE__RESERVED_SET(options->reserved) || options->reserved0 != 0))
        return -E2BIG;
    if (options != NULL && options->flags != 0)
        return -EINVAL;
    return tine__lock_init(shared(rlock), TINE__LOCK_NESTING);
}

void tine_rlock_fini(tine_rlock *rlock)
{
    if (rlock != NULL)
        tine__lock_fini(shared(rlock));
}

int tine_rlock_acquire(tine_rlock *rlock, int64_t timeout_ns)
{
    return tine__lock_acquire(shared(rlock), TINE__LOCK_NESTING, timeout_ns);
}

int tine_rlock_release(tine_rlock *rlock)
{
    return tine__lock_release(shared(rlock), TINE__LOCK_NESTING);
}

int tine_rlock_recover(tine_rlock *rlock)
{
    return tine__lock_recover(shared(rlock), TINE__LOCK_NESTING);
}

int tine_rlock_locked(const tine_rlock *rlock)
{
    const struct tine__lock_shm *lock = checked(rlock);

    if (lock == NULL)
        return -EINVAL;
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) != 0;
}

int tine_rlock_holder(const tine_rlock *rlock, pid_t *pid, pid_t *tid)
{
    const struct tine__lock_shm *lock = checked(rlock);

    return lock != NULL ? tine__lock_who(lock, pid, tid) : -EINVAL;
}

int64_t tine_rlock_depth(const tine_rlock *rlock)
{
    const struct tine__lock_shm *lock = checked(rlock);

    if (lock == NULL)
        return -EINVAL;
    if (tine__self() == NULL)
        return -ENOMEM;
    return tine__lock_depth(lock);
}

int tine_rlock_stats(const tine_rlock *rlock, tine_lock_counts *counts)
{
    const struct tine__lock_shm *lock = checked(rlock);

    if (counts == NULL || lock == NULL)
        return -EINVAL;
    tine__lock_count(lock, counts);
    return 0;
}
