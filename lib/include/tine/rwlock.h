/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer locks between threads and processes: many read at once, or one writes.
 *
 * A fixed-size struct in memory that all users share: the family heap, a named segment at whatever
 * address each maps it, or the caller's own shared mapping.
 *
 *     struct table { tine_rwlock lock; struct row rows[1000]; };
 *     struct table *table = tine_calloc(1, sizeof *table);
 *     tine_rwlock_init(&table->lock, NULL);
 *
 *     rc = tine_rwlock_acquire_read(&table->lock, TINE_SEC(5));
 *     if (rc == 0) {
 *         … look …
 *         tine_rwlock_release_read(&table->lock);
 *     }
 *
 *     rc = tine_rwlock_acquire_write(&table->lock, TINE_SEC(5));
 *     if (rc == -EOWNERDEAD) {              // held, but a writer before died inside
 *         make_consistent(table);
 *         rc = tine_rwlock_recover(&table->lock);
 *     }
 *     if (rc == 0) {
 *         … change …
 *         tine_rwlock_release_write(&table->lock);
 *     }
 *
 * When a reader dies, its reading ends; when a writer dies that was only waiting, nothing happens.
 * When a writer dies inside, the data is in doubt: who wants to read gets -EOWNERDEAD and does not
 * hold the lock, the next writer gets -EOWNERDEAD and does; it repairs and calls
 * tine_rwlock_recover(), or releases without, and then every acquire returns -ENOTRECOVERABLE.
 * Whoever finds the lock taken looks for the dead, at once or, if that was done in the last 25 ms,
 * while it waits, so within 100 ms. Not dead is who is stopped, has executed another program, or
 * lives in another pid namespace.
 *
 * Readings are counted by process, so any of its threads may end one, and they may be nested. The
 * writer is a thread; when it ends without a release, its process goes on holding the lock. By
 * default readers enter while others read, even if writers wait; with .prefer_writers they queue
 * behind the writers that wait (a nested reading can then wait for itself: give it a timeout).
 */
#ifndef TINE_RWLOCK_H
#define TINE_RWLOCK_H

#include <sys/types.h>
#include <tine/base.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

#define TINE_RWLOCK_READERS_MAX   16383 /* readings at once, all processes together */
#define TINE_RWLOCK_PROCESSES     62    /* living ones that it can tell apart, but see .processes */
#define TINE_RWLOCK_PROCESSES_MAX 1022  /* for .processes */

/* Bytes of a lock for more processes than 62: allocate them and cast. */
#define TINE_RWLOCK_SIZE(processes) (128 + (size_t)16 * (processes))

/* To be made with tine_rwlock_init(); its content is the library's. */
typedef struct tine_rwlock {
    uint64_t opaque[140];
} tine_rwlock;

/* Options of a reader-writer lock; zero in a field means its default. */
typedef struct tine_rwlock_options {
    int32_t prefer_writers; /* 1: while a writer waits, no more readers enter */
    uint32_t processes;     /* 63 … 1022: the memory has TINE_RWLOCK_SIZE(processes) bytes */
    uint32_t flags;         /* none yet */
    uint32_t reserved0;
    uint64_t reserved[8]; /* must be zero */
} tine_rwlock_options;

/* Since the lock was made. */
typedef struct tine_rwlock_counts {
    uint64_t writes;    /* times that it was held for writing */
    uint64_t contended; /* acquires of either kind that had to wait */
    uint64_t deaths;    /* times that a writer held it after -EOWNERDEAD */
    uint64_t reserved[5];
} tine_rwlock_counts;

/**
 * tine_rwlock_init - make a reader-writer lock in shared memory
 *
 * In:      rwlock   memory that nobody uses as a lock at the time
 *          options  NULL for defaults
 * Out:     none
 * Shape:   sizeof(tine_rwlock) bytes, or with .processes TINE_RWLOCK_SIZE() of them; aligned to 8
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, bad option), -E2BIG
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   in the call: the memory is no lock, other calls return -EINVAL
 * Source:  shm/rwlock.c; follows pthread_rwlock_init of a process-shared lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_init(tine_rwlock *rwlock, const tine_rwlock_options *options);

/**
 * tine_rwlock_fini - end a reader-writer lock; its memory can be used for anything
 *
 * In:      rwlock  one that nobody is using or will use; NULL and what is no lock are ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal yes
 * Death:   in the call: done or not done
 * Source:  shm/rwlock.c; follows pthread_rwlock_destroy
 * Since:   0.1
 */
TINE_API void tine_rwlock_fini(tine_rwlock *rwlock);

/**
 * tine_rwlock_acquire_read - begin to read
 *
 * In:      rwlock      made with tine_rwlock_init()
 *          timeout_ns  how long to wait for the writer
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0: try)
 * Returns: 0: held for reading; or a negative code: not held
 * Handle:  -EAGAIN (timeout 0: somebody writes, or is preferred), -ETIMEDOUT, -EOWNERDEAD (a writer
 *          died inside, and none has recovered the data), -EDEADLK (the caller is the writer)
 * Give up: -ENOTRECOVERABLE, -EINVAL (no lock), -EOVERFLOW (16383 readings at once), -ENOLCK (it
 *          knows as many living processes as it has room for)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of a reader: its readings end, within 100 ms for a writer that waits; of the writer:
 *          -EOWNERDEAD within 100 ms; while the next one repairs, readers wait for it
 * Source:  shm/rwlock.c; follows pthread_rwlock_clockrdlock, and Boost's sharable locks
 *          (lock_sharable); differs: the dead hold up nobody
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_acquire_read(tine_rwlock *rwlock, int64_t timeout_ns);

/**
 * tine_rwlock_release_read - end a reading
 *
 * In:      rwlock  held for reading by a thread of this process
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EPERM (this process does not read)
 * Give up: -EINVAL (no lock)
 * Blocks:  no; lock-free
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in the call: the reading ends
 * Source:  shm/rwlock.c; follows pthread_rwlock_unlock; differs: checks the caller's process
 * Since:   0.1
 */
TINE_API int tine_rwlock_release_read(tine_rwlock *rwlock);

/**
 * tine_rwlock_acquire_write - be the only one
 *
 * In:      rwlock      made with tine_rwlock_init()
 *          timeout_ns  how long to wait for readers and writer
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER; 0: try)
 * Returns: 0: held for writing; -EOWNERDEAD: held too; any other: not held
 * Handle:  -EOWNERDEAD (a writer before died inside: repair, tine_rwlock_recover()), -EAGAIN
 *          (timeout 0: taken), -ETIMEDOUT, -EDEADLK (the caller is the writer)
 * Give up: -ENOTRECOVERABLE, -EINVAL (no lock), -ENOLCK (it knows as many living processes as it
 *          has room for), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals. A reader that wants to write waits
 *          for itself
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of a reader: its readings end within 100 ms; of the writer: -EOWNERDEAD within 100 ms;
 *          of one that waits: nothing (with .prefer_writers readers are held up for 100 ms at most)
 * Source:  shm/rwlock.c; follows pthread_rwlock_clockwrlock; differs: a writer's death is reported
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_acquire_write(tine_rwlock *rwlock, int64_t timeout_ns);

/**
 * tine_rwlock_release_write - let others in
 *
 * In:      rwlock  held for writing by the calling thread
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: free, or lost for all when it was taken with -EOWNERDEAD and not recovered; or a
 *          negative code: nothing changed
 * Handle:  -EPERM (the caller is not the writer)
 * Give up: -EINVAL (no lock), -ENOMEM
 * Blocks:  no; lock-free
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in the call: free, or as if the writer had died inside
 * Source:  shm/rwlock.c; follows pthread_rwlock_unlock; differs: checks the caller
 * Since:   0.1
 */
TINE_API int tine_rwlock_release_write(tine_rwlock *rwlock);

/**
 * tine_rwlock_recover - declare what the lock guards consistent after its writer died
 *
 * In:      rwlock  held for writing, from an acquire that returned -EOWNERDEAD
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: an ordinary lock held for writing from now on; or a negative code
 * Handle:  -EPERM (the caller is not the writer)
 * Give up: -EINVAL (no lock, or nothing to recover), -ENOMEM
 * Blocks:  no; lock-free
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in the call: as if the writer had died inside
 * Source:  shm/rwlock.c; follows pthread_mutex_consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_recover(tine_rwlock *rwlock);

/**
 * tine_rwlock_readers - how many are reading just now?
 *
 * In:      rwlock  made with tine_rwlock_init()
 * Out:     none
 * Shape:   none
 * Units:   readings
 * Returns: 0 or more, or a negative code
 * Handle:  none
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   the dead count until somebody has found them
 * Source:  shm/rwlock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_readers(const tine_rwlock *rwlock);

/**
 * tine_rwlock_holder - who is the writer?
 *
 * In:      rwlock  made with tine_rwlock_init()
 * Out:     pid     of the writer, in its own pid namespace; NULL if not wanted
 *          tid     of the writing thread, 0 if it died before it could say; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 1 held for writing; 0 not, *pid and *tid are untouched; or a negative code
 * Handle:  -EAGAIN (it changed hands again and again meanwhile)
 * Give up: -EINVAL (no lock)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   a dead writer is named until somebody has found it
 * Source:  shm/rwlock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_holder(const tine_rwlock *rwlock, pid_t *pid, pid_t *tid);

/**
 * tine_rwlock_stats - how often a reader-writer lock was taken
 *
 * In:      rwlock  made with tine_rwlock_init()
 * Out:     counts  the figures
 * Shape:   none
 * Units:   counts
 * Returns: 0, or a negative code; *counts is set only for 0
 * Handle:  none
 * Give up: -EINVAL (no lock, counts is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   one killed as it takes the lock may not be counted
 * Source:  shm/rwlock.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rwlock_stats(const tine_rwlock *rwlock, tine_rwlock_counts *counts);

TINE_END_DECLS

#endif
