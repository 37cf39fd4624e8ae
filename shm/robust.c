/* SPDX-License-Identifier: MIT */
/*
 * The robust internal lock; see shm/robust.h. Type NORMAL because glibc's recursive robust mutex
 * can admit two containers after a fork; never PI, which costs fifty times more under contention.
 *
 * Nobody sleeps on it for longer than TINE__LOOK_NS (glibc 2.36 to 2.41, Linux 6.18). That others
 * sleep is known to the word of the mutex and to the sleeper that was woken last. An unlocker that
 * is killed before its wake-up, or a woken sleeper that is killed before it has the mutex, takes
 * that knowledge along if a newcomer takes the free mutex in between: the kernel, seeing it taken,
 * wakes nobody, and the newcomer's unlock neither. A sleeper that tries again finds the mutex free,
 * or marks it again.
 *
 * Before the first sleep it stays away from the mutex for a moment, thrice at most. Most holds are
 * shorter than a system call: a sleeper would find the mutex free in the kernel, after having made
 * the holder's unlock a system call too. And each try takes the cache line from the holder, who
 * slows down, so there is none meanwhile. A try is glibc's own, so that a death in it or before it
 * means what it means in a lock.
 */
#include "shm/robust.h"

#include <errno.h>
#include <time.h>
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define THREAD_SANITIZER 0
#endif
#if THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

#include "shm/spin.h"
#include "shm/waiters.h"

#define AWAY_NS    500
#define AWAY_TIMES 3

int tine__robust_init(struct tine__robust *robust)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);

    if (rc != 0)
        return -rc;
    rc = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (rc == 0)
        rc = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_NORMAL);
    if (rc == 0)
        rc = pthread_mutex_init(&robust->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -rc;
}

/* An errno of pthread. */
static int lock_until(pthread_mutex_t *mutex, const struct timespec *until)
{
#if THREAD_SANITIZER /* gcc 12 and clang 14 do not see clocklock, and take the unlock for a wrong one */
    int error;

    __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
    error = pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, until);
    __tsan_mutex_post_lock(mutex,
                           error == 0 || error == EOWNERDEAD ? __tsan_mutex_try_lock
                                                             : __tsan_mutex_try_lock_failed,
                           0);
    return error;
#else
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, until);
#endif
}

/* An errno of pthread; EBUSY: it does not get free that soon. */
static int try_awake(struct tine__robust *robust)
{
    int error = EBUSY;

    for (int i = 0; i < AWAY_TIMES && error == EBUSY; i++) {
        tine__spin_away(AWAY_NS);
        error = pthread_mutex_trylock(&robust->mutex);
    }
    return error;
}

static int sleep_until(struct tine__robust *robust, tine__deadline deadline)
{
    int error = ETIMEDOUT;

    while (error == ETIMEDOUT) {
        int64_t left = tine__deadline_left(deadline);
        int64_t slice = left < TINE__LOOK_NS ? left : TINE__LOOK_NS;
        struct timespec until;

        if (left == 0)
            return ETIMEDOUT;
        until = tine__timespec(tine__deadline_after(slice));
        error = lock_until(&robust->mutex, &until);
    }
    return error;
}

int tine__robust_wait(struct tine__robust *robust, tine__deadline deadline)
{
    int error = try_awake(robust);

    return error == EBUSY ? sleep_until(robust, deadline) : error;
}

int tine__robust_lock_until(struct tine__robust *robust, tine__deadline deadline,
                            tine__robust_repair *repair, void *context)
{
    int rc = pthread_mutex_trylock(&robust->mutex);

    if (rc == EBUSY)
        rc = tine__robust_wait(robust, deadline);
    if (rc != EOWNERDEAD)
        return -rc;
    repair(context);
    return -pthread_mutex_consistent(&robust->mutex);
}

int tine__robust_lock(struct tine__robust *robust, tine__robust_repair *repair, void *context)
{
    return tine__robust_lock_until(robust, TINE__NEVER, repair, context);
}

void tine__robust_unlock(struct tine__robust *robust)
{
    pthread_mutex_unlock(&robust->mutex);
}
