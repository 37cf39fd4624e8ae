/* SPDX-License-Identifier: MIT */
/*
 * The lock: a robust mutex, the record of who holds it, and what his death means.
 *
 * The kernel frees the mutex of a dead thread and marks it; glibc then says EOWNERDEAD to the next
 * one. Two words make a precise answer of that. `holder` is set as the last thing of taking the lock and
 * cleared as the first of leaving it, so when the next one finds it 0, the dead thread was not
 * inside, and the lock is simply taken. The state in `kind` says whether the lock is lost. glibc's own
 * ENOTRECOVERABLE is not used: of several waiters only one hears of it (glibc 2.36 takes the waiters bit for a
 * sign), and a death in its bookkeeping turns it into EOWNERDEAD again. So the mutex itself is always
 * made consistent, and whoever gets it looks at the state:
 *
 *     SOUND ── EOWNERDEAD, holder not 0 ──► DOUBTFUL ── recover ──► SOUND
 *                                              └─────── release ──► LOST
 *
 * Who dies          finds the next one      because
 * taking: no holder yet     0               nobody has been inside since the last change of state
 * inside                    -EOWNERDEAD     holder is not 0
 * inheriting: before DOUBTFUL is stored     -EOWNERDEAD: holder is still that of the one before
 * recovering: mutex consistent, DOUBTFUL    -EOWNERDEAD: holder is not 0
 * leaving: holder 0, SOUND                  0
 * giving up: LOST stored                    -ENOTRECOVERABLE
 *
 * A store of the dead that comes before another in program order is seen before it by the next
 * one: SIGKILL takes effect between two instructions, and the kernel's release of the mutex comes after both.
 *
 * Fork: a child is another thread of another process and holds nothing, not even in a private mapping.
 */
#include "shm/lock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/clock.h"
#include "shm/held.h"
#include "shm/owner.h"

/* Holds are timed that often: a clock costs as much as the lock. Powers of two. */
#define TIMED_EVERY           256
#define TIMED_EVERY_CONTENDED 16

/* Readings of a changing holder before tine_lock_holder() gives up. */
#define READINGS_MAX 100

_Static_assert(sizeof(struct tine__lock_shm) <= sizeof(tine_lock), "it fits");
_Static_assert(sizeof(struct tine__lock_shm) <= sizeof(tine_rlock), "it fits");
_Static_assert(_Alignof(struct tine__lock_shm) <= _Alignof(tine_lock), "alignment");

static struct tine__lock_shm *shared(tine_lock *lock)
{
    return (struct tine__lock_shm *)(void *)lock;
}

static const struct tine__lock_shm *shared_const(const tine_lock *lock)
{
    return (const struct tine__lock_shm *)(const void *)lock;
}

static uint32_t state_of(const struct tine__lock_shm *lock)
{
    return atomic_load_explicit(&lock->kind, memory_order_relaxed) & TINE__LOCK_STATES;
}

/* By the holder alone. */
static void set_state(struct tine__lock_shm *lock, uint32_t state)
{
    uint32_t kind = atomic_load_explicit(&lock->kind, memory_order_relaxed);

    atomic_store_explicit(&lock->kind, (kind & ~(uint32_t)TINE__LOCK_STATES) | state,
                          memory_order_release);
}

bool tine__lock_is(const struct tine__lock_shm *lock, uint32_t kind)
{
    /* acquire: pairs with the release in tine__lock_init */
    return lock != NULL && (atomic_load_explicit(&lock->kind, memory_order_acquire) &
                            ~(uint32_t)TINE__LOCK_STATES) == kind;
}

static bool holds(const struct tine__lock_shm *lock, const struct tine__self *self)
{
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) == self->thread;
}

/* ---- in and out ------------------------------------------------------------------------------ */

static void add_one(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline void begin_hold(struct tine__lock_shm *lock)
{
    add_one(&lock->acquisitions);
    if (atomic_load_explicit(&lock->acquisitions, memory_order_relaxed) % TIMED_EVERY == 0)
        atomic_store_explicit(&lock->since_ns, tine__now_ns(), memory_order_relaxed);
}

static void end_timed_hold(struct tine__lock_shm *lock, int64_t since_ns)
{
    int64_t held_ns = tine__now_ns() - since_ns;

    if (held_ns > atomic_load_explicit(&lock->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&lock->longest_ns, held_ns, memory_order_relaxed);
    atomic_store_explicit(&lock->since_ns, 0, memory_order_relaxed);
}

/* The caller has the mutex and is inside from the store of `holder` on. */
static inline void enter(struct tine__lock_shm *lock, struct tine__self *self, uint32_t depth)
{
    begin_hold(lock);
    lock->depth = depth;
    /* releases: pair with the acquires in tine__lock_who */
    atomic_store_explicit(&lock->process, self->process, memory_order_release);
    atomic_store_explicit(&lock->tid, (uint32_t)self->tid, memory_order_release);
    atomic_store_explicit(&lock->holder, self->thread, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* nothing of what it guards before this */
    tine__held_push(self, lock);
}

static inline void leave(struct tine__lock_shm *lock, struct tine__self *self)
{
    int64_t since_ns = atomic_load_explicit(&lock->since_ns, memory_order_relaxed);

    if (since_ns != 0)
        end_timed_hold(lock, since_ns);
    atomic_store_explicit(&lock->holder, 0, memory_order_release);
    pthread_mutex_unlock(&lock->robust.mutex);
    tine__held_drop(self, lock);
}

/* The caller has the mutex of a lost lock: an unlock wakes the next waiter, who finds the same. */
static int decline(struct tine__lock_shm *lock)
{
    pthread_mutex_unlock(&lock->robust.mutex);
    return -ENOTRECOVERABLE;
}

/* The caller has the mutex after a death, and is not recorded yet. */
static int inherit(struct tine__lock_shm *lock, struct tine__self *self, uint32_t depth)
{
    uint32_t state = state_of(lock);
    bool inside = atomic_load_explicit(&lock->holder, memory_order_relaxed) != 0;

    if (state == TINE__LOCK_LOST) {
        pthread_mutex_consistent(&lock->robust.mutex);
        return decline(lock);
    }
    atomic_store_explicit(&lock->since_ns, 0, memory_order_relaxed);
    if (!inside && state == TINE__LOCK_SOUND) {
        pthread_mutex_consistent(&lock->robust.mutex);
        enter(lock, self, depth);
        return 0;
    }
    set_state(lock, TINE__LOCK_DOUBTFUL);
    atomic_store_explicit(&lock->deaths,
                          atomic_load_explicit(&lock->deaths, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    enter(lock, self, depth);
    return -EOWNERDEAD;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* An errno of pthread. */
static int wait_for_mutex(struct tine__lock_shm *lock, int64_t timeout_ns)
{
    tine__deadline deadline;
    struct timespec until;

    if (timeout_ns == 0)
        return pthread_mutex_trylock(&lock->robust.mutex);
    deadline = tine__deadline_after(timeout_ns);
    if (deadline == TINE__NEVER)
        return pthread_mutex_lock(&lock->robust.mutex);
    until = tine__timespec(deadline);
    return pthread_mutex_clocklock(&lock->robust.mutex, CLOCK_MONOTONIC, &until);
}

static void count_contended(struct tine__lock_shm *lock)
{
    add_one(&lock->contended);
    if (atomic_load_explicit(&lock->contended, memory_order_relaxed) % TIMED_EVERY_CONTENDED == 0)
        atomic_store_explicit(&lock->since_ns, tine__now_ns(), memory_order_relaxed);
}

/* What a try or a wait gave, as a result; waited: the mutex was taken by another at first. */
static int settle(struct tine__lock_shm *lock, struct tine__self *self, int error, bool waited)
{
    switch (error) {
    case 0:
        if (state_of(lock) == TINE__LOCK_LOST)
            return decline(lock);
        if (waited)
            count_contended(lock);
        enter(lock, self, 1);
        return 0;
    case EOWNERDEAD:
        return inherit(lock, self, 1);
    case EBUSY:
        return -EAGAIN;
    default:
        return -error;
    }
}

static int deepen(struct tine__lock_shm *lock)
{
    if (lock->depth == UINT32_MAX)
        return -EOVERFLOW;
    lock->depth++;
    return 0;
}

/* error: of the try that failed, EBUSY if there was none. */
static int acquire_slow(struct tine__lock_shm *lock, struct tine__self *self, int error,
                        int64_t timeout_ns)
{
    uint32_t kind = atomic_load_explicit(&lock->kind, memory_order_relaxed);
    bool waits = error == EBUSY && timeout_ns != 0;

    if (holds(lock, self))
        return (kind & ~(uint32_t)TINE__LOCK_STATES) == TINE__LOCK_NESTING ? deepen(lock)
                                                                           : -EDEADLK;
    if (error == EBUSY && (kind & TINE__LOCK_STATES) == TINE__LOCK_LOST)
        return -ENOTRECOVERABLE;
    if (atomic_load_explicit(&self->count, memory_order_relaxed) >= TINE__HELD_MAX)
        return -ENOLCK;
    if (error == EBUSY)
        error = wait_for_mutex(lock, timeout_ns);
    return settle(lock, self, error, waits);
}

int tine__lock_acquire(struct tine__lock_shm *lock, uint32_t kind, int64_t timeout_ns)
{
    struct tine__self *self = tine__self();
    int error = EBUSY;

    if (!tine__lock_is(lock, kind))
        return -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    /* A recorded holder tells that it is taken, without a write to its cache line. */
    if (atomic_load_explicit(&lock->holder, memory_order_relaxed) == 0 &&
        atomic_load_explicit(&self->count, memory_order_relaxed) < TINE__HELD_MAX) {
        error = pthread_mutex_trylock(&lock->robust.mutex);
        if (error == 0 && state_of(lock) == TINE__LOCK_SOUND) {
            enter(lock, self, 1);
            return 0;
        }
    }
    return acquire_slow(lock, self, error, timeout_ns);
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void leave_for_good(struct tine__lock_shm *lock, struct tine__self *self)
{
    if (state_of(lock) == TINE__LOCK_DOUBTFUL) {
        set_state(lock, TINE__LOCK_LOST);
        pthread_mutex_consistent(&lock->robust.mutex);
    }
    leave(lock, self);
}

static int not_mine(const struct tine__lock_shm *lock)
{
    return state_of(lock) == TINE__LOCK_LOST ? -ENOTRECOVERABLE : -EPERM;
}

int tine__lock_release(struct tine__lock_shm *lock, uint32_t kind)
{
    struct tine__self *self = tine__self();

    if (!tine__lock_is(lock, kind))
        return -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    if (!holds(lock, self))
        return not_mine(lock);
    if (lock->depth > 1)
        lock->depth--;
    else
        leave_for_good(lock, self);
    return 0;
}

int tine__lock_recover(struct tine__lock_shm *lock, uint32_t kind)
{
    struct tine__self *self = tine__self();

    if (!tine__lock_is(lock, kind))
        return -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    if (!holds(lock, self))
        return -EPERM;
    if (state_of(lock) != TINE__LOCK_DOUBTFUL)
        return -EINVAL;
    pthread_mutex_consistent(&lock->robust.mutex);
    set_state(lock, TINE__LOCK_SOUND);
    return 0;
}

/* ---- for conditions -------------------------------------------------------------------------- */

bool tine__lock_usable(const struct tine__lock_shm *lock)
{
    return tine__lock_is(lock, TINE__LOCK_PLAIN) || tine__lock_is(lock, TINE__LOCK_NESTING);
}

bool tine__lock_is_mine(const struct tine__lock_shm *lock)
{
    struct tine__self *self = tine__self();

    return self != NULL && tine__lock_usable(lock) && holds(lock, self);
}

int tine__lock_release_all(struct tine__lock_shm *lock, uint32_t *depth)
{
    if (!tine__lock_usable(lock))
        return -EINVAL;
    if (!tine__lock_is_mine(lock))
        return -EPERM;
    *depth = lock->depth;
    leave_for_good(lock, tine__self());
    return 0;
}

int tine__lock_reacquire(struct tine__lock_shm *lock, uint32_t depth, int64_t timeout_ns)
{
    uint32_t kind = tine__lock_is(lock, TINE__LOCK_NESTING) ? TINE__LOCK_NESTING : TINE__LOCK_PLAIN;
    int rc = tine__lock_acquire(lock, kind, timeout_ns);

    if (rc == 0 || rc == -EOWNERDEAD)
        lock->depth = depth;
    return rc;
}

uint64_t tine__lock_holder(const struct tine__lock_shm *lock)
{
    if (atomic_load_explicit(&lock->holder, memory_order_acquire) == 0)
        return 0;
    return atomic_load_explicit(&lock->process, memory_order_relaxed);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Every enter counts first, so the same count before and after means the same holder. */
int tine__lock_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid)
{
    for (int i = 0; i < READINGS_MAX; i++) {
        uint64_t count = atomic_load_explicit(&lock->acquisitions, memory_order_acquire);
        uint64_t holder = atomic_load_explicit(&lock->holder, memory_order_acquire);
        uint64_t process = atomic_load_explicit(&lock->process, memory_order_acquire);
        uint32_t thread = atomic_load_explicit(&lock->tid, memory_order_acquire);

        if (holder == 0)
            return 0;
        if (atomic_load_explicit(&lock->acquisitions, memory_order_relaxed) != count)
            continue;
        if (pid != NULL)
            *pid = tine__owner_word_pid(process);
        if (tid != NULL)
            *tid = (pid_t)thread;
        return 1;
    }
    return -EAGAIN;
}

void tine__lock_count(const struct tine__lock_shm *lock, tine_lock_counts *counts)
{
    *counts = (tine_lock_counts){
        .acquisitions = atomic_load_explicit(&lock->acquisitions, memory_order_relaxed),
        .contended = atomic_load_explicit(&lock->contended, memory_order_relaxed),
        .longest_ns = atomic_load_explicit(&lock->longest_ns, memory_order_relaxed),
        .deaths = atomic_load_explicit(&lock->deaths, memory_order_relaxed),
    };
}

/* ---- making ---------------------------------------------------------------------------------- */

int tine__lock_init(struct tine__lock_shm *lock, uint32_t kind)
{
    int rc;

    if (lock == NULL || (uintptr_t)lock % _Alignof(struct tine__lock_shm) != 0)
        return -EINVAL;
    atomic_store_explicit(&lock->kind, 0, memory_order_release);
    memset(lock, 0, sizeof *lock);
    rc = tine__robust_init(&lock->robust);
    if (rc < 0)
        return rc;
    /* pairs with the acquire in tine__lock_is */
    atomic_store_explicit(&lock->kind, kind, memory_order_release);
    return 0;
}

/* Whoever frees the memory of a lock that he holds would leave it in his robust list. */
void tine__lock_fini(struct tine__lock_shm *lock)
{
    if (tine__lock_is_mine(lock))
        leave(lock, tine__self());
    if (tine__lock_usable(lock))
        pthread_mutex_destroy(&lock->robust.mutex);
    atomic_store_explicit(&lock->kind, 0, memory_order_release);
}

/* ---- tine_lock ------------------------------------------------------------------------------- */

static bool reserved_zero(const tine_lock_options *options)
{
    return options->reserved0 == 0 && options->reserved[0] == 0 && options->reserved[1] == 0 &&
           options->reserved[2] == 0;
}

int tine_lock_init(tine_lock *lock, const tine_lock_options *options)
{
    if (options != NULL && !reserved_zero(options))
        return -E2BIG;
    if (options != NULL && options->flags != 0)
        return -EINVAL;
    return tine__lock_init(shared(lock), TINE__LOCK_PLAIN);
}

void tine_lock_fini(tine_lock *lock)
{
    if (lock != NULL)
        tine__lock_fini(shared(lock));
}

int tine_lock_acquire(tine_lock *lock, int64_t timeout_ns)
{
    return tine__lock_acquire(shared(lock), TINE__LOCK_PLAIN, timeout_ns);
}

int tine_lock_release(tine_lock *lock)
{
    return tine__lock_release(shared(lock), TINE__LOCK_PLAIN);
}

int tine_lock_recover(tine_lock *lock)
{
    return tine__lock_recover(shared(lock), TINE__LOCK_PLAIN);
}

int tine_lock_locked(const tine_lock *lock)
{
    if (!tine__lock_is(shared_const(lock), TINE__LOCK_PLAIN))
        return -EINVAL;
    return atomic_load_explicit(&shared_const(lock)->holder, memory_order_relaxed) != 0;
}

int tine_lock_holder(const tine_lock *lock, pid_t *pid, pid_t *tid)
{
    if (!tine__lock_is(shared_const(lock), TINE__LOCK_PLAIN))
        return -EINVAL;
    return tine__lock_who(shared_const(lock), pid, tid);
}

int tine_lock_stats(const tine_lock *lock, tine_lock_counts *counts)
{
    if (counts == NULL || !tine__lock_is(shared_const(lock), TINE__LOCK_PLAIN))
        return -EINVAL;
    tine__lock_count(shared_const(lock), counts);
    return 0;
}
