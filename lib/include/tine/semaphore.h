/* SPDX-License-Identifier: MIT */
/*
 * Semaphores: at most so many at once, whoever dies.
 *
 * A semaphore holds a number of permits. acquire() takes one and waits while there is none,
 * release() gives one back. Put it where all who use it can see it: in memory of tine_alloc(), in a
 * named segment, or in any shared mapping, at whatever address; threads of one process may use it
 * as well.
 *
 *     struct shared { tine_semaphore slots; } *shared = tine_calloc(1, sizeof *shared);
 *     tine_semaphore_init(&shared->slots, 2, &(tine_semaphore_options){.bounded = 1});
 *     … in any process:
 *     if (tine_semaphore_acquire(&shared->slots, TINE_FOREVER) == 0) {
 *         … two at most are here …
 *         tine_semaphore_release(&shared->slots);
 *     }
 *
 * Which process holds how many permits is recorded. When it dies, they come back: whoever finds
 * none looks for the dead, at once or, if that was done in the last 25 ms, while it waits, so
 * within 100 ms. A permit belongs to a process, not to a thread. A process that releases more than
 * it holds releases for another one that holds some, as Python's do; so a semaphore of one permit
 * is a lock that one may acquire and another release: until then it is the acquirer's, and comes
 * back if that one dies. Not dead is who is stopped, has executed another program, or lives in
 * another pid namespace, whose deaths nobody can see.
 *
 * Where a permit is no possession but a message ("one more item is there"), acquired in one process
 * and never released there, a death must not bring it back: that is .signalling, a plain counter
 * without such a record, whose release is async-signal-safe.
 */
#ifndef TINE_SEMAPHORE_H
#define TINE_SEMAPHORE_H

#include <tine/base.h>
#include <tine/wait.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

#define TINE_SEMAPHORE_MAX           4194303    /* permits at most */
#define TINE_SEMAPHORE_MAX_PLAIN     2147483647 /* of a signalling semaphore */
#define TINE_SEMAPHORE_PROCESSES     62         /* living ones at most, but see .processes */
#define TINE_SEMAPHORE_PROCESSES_MAX 1022       /* for .processes */

/* Bytes of a semaphore for more processes than 62: allocate them and cast. */
#define TINE_SEMAPHORE_SIZE(processes) (64 + (size_t)16 * (processes))

/* To be made with tine_semaphore_init(); its content is the library's. */
typedef struct tine_semaphore {
    uint64_t opaque[132];
} tine_semaphore;

/* Options of a semaphore; zero in a field means its default. */
typedef struct tine_semaphore_options {
    int32_t bounded;      /* 1: a release beyond the initial value is -EOVERFLOW */
    int32_t signalling;   /* 1: permits belong to nobody, the dead give none back */
    uint32_t processes;   /* 63 … 1022: the memory has TINE_SEMAPHORE_SIZE(processes) bytes */
    uint32_t flags;       /* none yet */
    uint64_t reserved[8]; /* must be zero */
} tine_semaphore_options;

/**
 * tine_semaphore_init - make a semaphore in shared memory
 *
 * In:      semaphore  memory that nobody uses as a semaphore at the time
 *          value      permits that are there at first
 *          options    NULL for defaults
 * Out:     none
 * Shape:   sizeof(tine_semaphore) bytes, or with .processes TINE_SEMAPHORE_SIZE() of them; aligned
 *          to 8
 * Units:   value permits, 0 … TINE_SEMAPHORE_MAX (TINE_SEMAPHORE_MAX_PLAIN if signalling)
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, negative value, bad option), -EOVERFLOW (too many permits), -E2BIG
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   in the call: the memory is no semaphore, other calls return -EINVAL
 * Source:  shm/semaphore.c; follows Python's multiprocessing.Semaphore and BoundedSemaphore;
 *          differs: made in place; a limit of 4,194,303 permits where their owners are recorded
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_semaphore_init(tine_semaphore *semaphore, int64_t value,
                                              const tine_semaphore_options *options);

/**
 * tine_semaphore_fini - end a semaphore; its memory can be used for anything
 *
 * In:      semaphore  that nobody is using or will use; NULL and what is no semaphore are ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal yes
 * Death:   in the call: done or not done
 * Source:  shm/semaphore.c; follows sem_destroy(3)
 * Since:   0.1
 */
TINE_API void tine_semaphore_fini(tine_semaphore *semaphore);

/**
 * tine_semaphore_acquire - take one permit
 *
 * In:      semaphore   initialised
 *          timeout_ns  how long to wait for one
 * Out:     none
 * Shape:   none; no order among those who wait
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = try)
 * Returns: 0, or a negative code: no permit was taken
 * Handle:  -EAGAIN (timeout 0: there is none), -ETIMEDOUT
 * Give up: -EINVAL (no semaphore), -ENOLCK (it records as many living processes as it has room for)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the permits that a dead process held are given to those who wait within 100 ms; one
 *          killed in this call holds a permit or none, which is settled the same way (signalling:
 *          it may be lost)
 * Source:  shm/semaphore.c; follows Python's multiprocessing.Semaphore.acquire;
 *          differs: a process that dies returns its permits
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_semaphore_acquire(tine_semaphore *semaphore, int64_t timeout_ns);

/**
 * tine_semaphore_release - give one permit back
 *
 * In:      semaphore  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EOVERFLOW (bounded: as many as at first are there; or the most there can be)
 * Give up: -EINVAL (no semaphore)
 * Blocks:  no; lock-free
 * Safety:  thread any | process shared | fork child may call | signal yes (not as the first call of
 *          a process that was never here before, unless signalling: it reads /proc once)
 * Death:   one killed in this call has released or not; then the permit is one that a dead process
 *          held. What is released by a process that holds none was held by another, if any holds
 *          some
 * Source:  shm/semaphore.c; follows Python's multiprocessing.Semaphore.release;
 *          differs: -EOVERFLOW where it raises ValueError
 * Since:   0.1
 */
TINE_API int tine_semaphore_release(tine_semaphore *semaphore);

/**
 * tine_semaphore_value - how many permits are there just now
 *
 * In:      semaphore  initialised
 * Out:     none
 * Shape:   none
 * Units:   permits
 * Returns: 0 or more, or a negative code
 * Handle:  none
 * Give up: -EINVAL (no semaphore)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   permits of the dead count from when somebody has found them
 * Source:  shm/semaphore.c; follows Python's multiprocessing.Semaphore.get_value
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_semaphore_value(const tine_semaphore *semaphore);

/**
 * tine_semaphore_waitable - an entry for tine_wait(): ready while there is a permit
 *
 * In:      semaphore  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good as long as the semaphore. No permit is taken by waiting: acquire with
 *          timeout 0 does that, if nobody was faster
 * Handle:  none
 * Give up: none: tine_wait() refuses what is no semaphore
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   a permit that its holder's death has freed is seen within 75 ms
 * Source:  shm/semaphore.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_semaphore_waitable(tine_semaphore *semaphore);

TINE_END_DECLS

#endif
