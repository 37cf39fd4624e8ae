/* SPDX-License-Identifier: MIT */
/*
 * Locks between threads and processes: tine_lock, which its holder cannot take twice, and
 * tine_rlock, which he can.
 *
 * Both are fixed-size structs in memory that all users share: the family heap, a named segment at
 * whatever address each maps it, or the caller's own shared mapping. tine_lock_init() makes one,
 * tine_lock_fini() ends it; bytes copied elsewhere are no lock.
 *
 *     struct stats { tine_lock lock; uint64_t hits; };
 *     struct stats *stats = tine_calloc(1, sizeof *stats);
 *     tine_lock_init(&stats->lock, NULL);
 *
 *     rc = tine_lock_acquire(&stats->lock, TINE_SEC(5));
 *     if (rc == -EOWNERDEAD) {                 // held, but the previous holder died inside
 *         make_consistent(stats);
 *         tine_lock_recover(&stats->lock);
 *     } else if (rc < 0)
 *         return rc;
 *     stats->hits++;
 *     tine_lock_release(&stats->lock);
 *
 * When a holder dies, by whatever signal and at whatever instant, the kernel frees its locks at
 * once, and the next acquire of each returns -EOWNERDEAD: the caller holds the lock and may be
 * looking at half-changed data. tine_lock_recover() says that the data is good again; a release
 * without it says that it is lost, and every acquire from then on returns -ENOTRECOVERABLE. The
 * death of a waiter changes nothing. The holder is a thread; one that ends while it holds a lock is
 * dead.
 *
 * A lock made with TINE_LOCK_HANDOVER may be released by any thread of any process, as Python's
 * Lock. It belongs to the process that took it until somebody releases it; the end of that process,
 * however it ends, is found by the others within 100 ms, and means the same.
 */
#ifndef TINE_LOCK_H
#define TINE_LOCK_H

#include <sys/types.h>
#include <tine/base.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

typedef struct tine_lock {
    uint64_t opaque[16];
} tine_lock;

typedef struct tine_rlock {
    uint64_t opaque[16];
} tine_rlock;

/* Options of a lock; zero in a field means its default. */
typedef struct tine_lock_options {
    uint32_t flags; /* TINE_LOCK_… */
    uint32_t reserved0;
    uint64_t reserved[3]; /* must be zero */
} tine_lock_options;

enum {
    TINE_LOCK_HANDOVER = 1, /* any thread or process may release it; its holder may wait for it */
};

typedef struct tine_rlock_options {
    uint32_t flags; /* none yet */
    uint32_t reserved0;
    uint64_t reserved[3]; /* must be zero */
} tine_rlock_options;

/*
 * Since the lock was made; each figure for itself. A clock costs as much as a free lock, so not
 * every hold is timed: every 256th, and of those that were waited for every 16th.
 */
typedef struct tine_lock_counts {
    uint64_t acquisitions; /* of an rlock: those that took it, not those that went deeper */
    uint64_t contended;    /* acquisitions that waited */
    int64_t longest_ns;    /* longest of the holds that were timed */
    uint64_t deaths;       /* times that -EOWNERDEAD was returned */
    uint64_t reserved[4];
} tine_lock_counts;

/**
 * tine_lock_init - make a lock in shared memory
 *
 * In:      options  NULL for defaults
 * Out:     lock     memory for it, which no other thread uses yet; its content does not matter
 * Shape:   128 bytes, aligned to 8
 * Units:   none
 * Returns: 0, or a negative code; *lock is written only for 0
 * Handle:  none
 * Give up: -EINVAL (lock is NULL or misaligned, unknown flags), -E2BIG (reserved not zero)
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   memory whose init was cut short is no lock: its calls return -EINVAL, or it is complete
 * Source:  shm/lock.c; follows Python 3.13 multiprocessing.Lock;
 *          differs: only the holder may release it, unless flags has TINE_LOCK_HANDOVER
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_init(tine_lock *lock, const tine_lock_options *options);

/**
 * tine_lock_fini - end a lock, so that its memory may be used for something else
 *
 * In:      lock  nobody waits for it, and nobody holds it but perhaps the caller; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; later calls on this memory return -EINVAL until it is made a lock again
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/lock.c
 * Since:   0.1
 */
TINE_API void tine_lock_fini(tine_lock *lock);

/**
 * tine_lock_acquire - take a lock, waiting for its holder
 *
 * In:      lock        made with tine_lock_init()
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0: try)
 * Returns: 0: held; -EOWNERDEAD: held too; any other: not held
 * Handle:  -EOWNERDEAD (the previous holder died inside: repair, tine_lock_recover()), -ETIMEDOUT,
 *          -EAGAIN (taken, and timeout_ns is 0), -EDEADLK (the caller holds it; never with
 *          TINE_LOCK_HANDOVER)
 * Give up: -ENOTRECOVERABLE, -EINVAL (no lock), -ENOLCK (this thread holds 1024 locks), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of the holder: the next caller gets -EOWNERDEAD, at once; of a waiter: nothing; of
 *          somebody between the taking and the return, or in the release: nothing, or -EOWNERDEAD
 *          to the next. With TINE_LOCK_HANDOVER within 100 ms, and never of a process of another
 *          pid namespace
 * Source:  shm/lock.c, shm/handover.c; follows pthread_mutex_clocklock of a robust error-checking
 *          mutex; differs: the caller is known by more than a thread id, so pid namespaces do not
 *          confuse it
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_acquire(tine_lock *lock, int64_t timeout_ns);

/**
 * tine_lock_release - give a lock back
 *
 * In:      lock  held by the caller; with TINE_LOCK_HANDOVER by anybody
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: free, or lost for all when it was taken with -EOWNERDEAD and not recovered; or a
 *          negative code: nothing changed
 * Handle:  -EPERM (not held, or by another)
 * Give up: -EINVAL (no lock), -ENOTRECOVERABLE (lost before), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the lock is free, or the next caller gets -EOWNERDEAD
 * Source:  shm/lock.c; follows pthread_mutex_unlock; Python's ValueError of a free lock is -EPERM
 * Since:   0.1
 */
TINE_API int tine_lock_release(tine_lock *lock);

/**
 * tine_lock_recover - declare what the lock guards consistent after its holder died
 *
 * In:      lock  held by the caller, from an acquire that returned -EOWNERDEAD
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: an ordinary held lock from now on; or a negative code
 * Handle:  -EPERM (not held by the caller)
 * Give up: -EINVAL (no lock, or nothing to recover), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the next caller gets -EOWNERDEAD
 * Source:  shm/lock.c; follows pthread_mutex_consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_recover(tine_lock *lock);

/**
 * tine_lock_locked - is the lock held by anybody just now?
 *
 * In:      lock  made with tine_lock_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 held, also by a dead holder whom nobody has followed yet; 0 free; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/lock.c; follows Python 3.14 multiprocessing.Lock.locked
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_locked(const tine_lock *lock);

/**
 * tine_lock_holder - who holds the lock?
 *
 * In:      lock  made with tine_lock_init()
 * Out:     pid   of the holder, in its own pid namespace; NULL if not wanted
 *          tid   of the holding thread, 0 with TINE_LOCK_HANDOVER; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 1 held; 0 free, *pid and *tid are untouched; or a negative code
 * Handle:  -EAGAIN (it changed hands again and again meanwhile)
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   a dead holder is named until somebody else takes the lock
 * Source:  shm/lock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_holder(const tine_lock *lock, pid_t *pid, pid_t *tid);

/**
 * tine_lock_stats - how often and how long a lock was held
 *
 * In:      lock    made with tine_lock_init()
 * Out:     counts  the figures
 * Shape:   none
 * Units:   longest_ns nanoseconds; others: counts
 * Returns: 0, or a negative code; *counts is set only for 0
 * Handle:  none
 * Give up: -EINVAL (no lock, counts is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   the acquisition of the dead counts
 * Source:  shm/lock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_lock_stats(const tine_lock *lock, tine_lock_counts *counts);

/**
 * tine_rlock_init - make a lock that its holder may take again
 *
 * In:      options  NULL for defaults
 * Out:     rlock    memory for it, which no other thread uses yet; its content does not matter
 * Shape:   128 bytes, aligned to 8
 * Units:   none
 * Returns: 0, or a negative code; *rlock is written only for 0
 * Handle:  none
 * Give up: -EINVAL (rlock is NULL or misaligned, unknown flags), -E2BIG (reserved not zero)
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   memory whose init was cut short is no lock: its calls return -EINVAL, or it is complete
 * Source:  shm/rlock.c; follows Python 3.13 multiprocessing.RLock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_init(tine_rlock *rlock, const tine_rlock_options *options);

/**
 * tine_rlock_fini - end an rlock, so that its memory may be used for something else
 *
 * In:      rlock  nobody waits for it, and nobody holds it but perhaps the caller; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; later calls on this memory return -EINVAL until it is made a lock again
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/rlock.c
 * Since:   0.1
 */
TINE_API void tine_rlock_fini(tine_rlock *rlock);

/**
 * tine_rlock_acquire - take an rlock, or take it once more
 *
 * In:      rlock       made with tine_rlock_init()
 *          timeout_ns  how long to wait for another holder
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0: try)
 * Returns: 0: held; -EOWNERDEAD: held too, once; any other: not held, or no deeper than before
 * Handle:  -EOWNERDEAD (the previous holder died inside: repair, tine_rlock_recover()), -ETIMEDOUT,
 *          -EAGAIN (taken, and timeout_ns is 0)
 * Give up: -ENOTRECOVERABLE, -EINVAL (no lock), -ENOLCK (this thread holds 1024 locks),
 *          -EOVERFLOW (2^32 - 1 deep), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   as tine_lock_acquire(), however deep the dead holder was
 * Source:  shm/rlock.c; follows Python 3.13 multiprocessing.RLock.acquire
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_acquire(tine_rlock *rlock, int64_t timeout_ns);

/**
 * tine_rlock_release - undo one acquire of an rlock; the last one frees it
 *
 * In:      rlock  held by the caller
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, as tine_lock_release(), or a negative code: nothing changed
 * Handle:  -EPERM (not held, or by another)
 * Give up: -EINVAL (no lock), -ENOTRECOVERABLE (lost before), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the lock is free, or the next caller gets -EOWNERDEAD
 * Source:  shm/rlock.c; follows Python 3.13 multiprocessing.RLock.release; AssertionError is -EPERM
 * Since:   0.1
 */
TINE_API int tine_rlock_release(tine_rlock *rlock);

/**
 * tine_rlock_recover - declare what the rlock guards consistent after its holder died
 *
 * In:      rlock  held by the caller, from an acquire that returned -EOWNERDEAD
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: an ordinary held lock from now on; or a negative code
 * Handle:  -EPERM (not held by the caller)
 * Give up: -EINVAL (no lock, or nothing to recover), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the next caller gets -EOWNERDEAD
 * Source:  shm/rlock.c; follows pthread_mutex_consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_recover(tine_rlock *rlock);

/**
 * tine_rlock_locked - is the rlock held by anybody just now?
 *
 * In:      rlock  made with tine_rlock_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 held, also by a dead holder whom nobody has followed yet; 0 free; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/rlock.c; follows Python 3.14 multiprocessing.RLock.locked
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_locked(const tine_rlock *rlock);

/**
 * tine_rlock_holder - who holds the rlock?
 *
 * In:      rlock  made with tine_rlock_init()
 * Out:     pid    of the holder, in its own pid namespace; NULL if not wanted
 *          tid    of the holding thread; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 1 held; 0 free, *pid and *tid are untouched; or a negative code
 * Handle:  -EAGAIN (it changed hands again and again meanwhile)
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   a dead holder is named until somebody else takes the lock
 * Source:  shm/rlock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_holder(const tine_rlock *rlock, pid_t *pid, pid_t *tid);

/**
 * tine_rlock_depth - how often the calling thread has taken the rlock
 *
 * In:      rlock  made with tine_rlock_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: acquires not yet released, 0 when the caller does not hold it; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no lock), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/rlock.c; follows the count in Python's repr of an RLock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int64_t tine_rlock_depth(const tine_rlock *rlock);

/**
 * tine_rlock_stats - how often and how long an rlock was held
 *
 * In:      rlock   made with tine_rlock_init()
 * Out:     counts  the figures
 * Shape:   none
 * Units:   longest_ns nanoseconds; others: counts
 * Returns: 0, or a negative code; *counts is set only for 0
 * Handle:  none
 * Give up: -EINVAL (no lock, counts is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   the acquisition of the dead counts
 * Source:  shm/rlock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rlock_stats(const tine_rlock *rlock, tine_lock_counts *counts);

TINE_END_DECLS

#endif
