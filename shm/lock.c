/* SPDX-License-Identifier: MIT */
/*
 * The lock: a robust mutex, the record of who holds it, and what his death means.
 *
 * The kernel frees the mutex of a dead thread and marks it; glibc then says EOWNERDEAD to the next
 * one. Two words make a precise answer of that. `holder` is set as the last thing of taking the
 * lock and cleared as the first of leaving it, so when the next one finds it 0, the dead thread was
 * not inside, and the lock is simply taken. The marks in `kind` say whether the lock is lost: of
 * several waiters only one hears of glibc's own ENOTRECOVERABLE (2.36 takes the waiters bit for a
 * sign), and a death in its bookkeeping turns that into EOWNERDEAD again. So the mutex itself is
 * always made consistent, and whoever gets it looks at the marks:
 *
 *     sound ── EOWNERDEAD, holder not 0 ──► DOUBTFUL ── recover ──► sound
 *                                              └─────── release ──► LOST
 *
 * Who dies                                 the next one finds
 * taking: no holder yet                    0: nobody was inside since the last change of marks
 * inside                                   -EOWNERDEAD: holder is not 0
 * inheriting, before DOUBTFUL is stored    -EOWNERDEAD: holder is still the one before
 * recovering: mutex consistent, DOUBTFUL   -EOWNERDEAD: holder is not 0
 * leaving: holder 0, sound                 0
 * giving up: LOST stored                   -ENOTRECOVERABLE
 *
 * A store of the dead that comes before another in program order is seen before it by the next one:
 * SIGKILL takes effect between two instructions, and the kernel frees the mutex after both.
 *
 * Fork: a child is another thread of another process and holds nothing.
 */
#include "shm/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/reserved.h"
#include "shm/handover.h"
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

static uint32_t kind_of(const struct tine__lock_shm *lock)
{
    return atomic_load_explicit(&lock->kind, memory_order_relaxed);
}

static bool has(const struct tine__lock_shm *lock, uint32_t mark)
{
    return (kind_of(lock) & mark) != 0;
}

/* By the holder alone. */
static void change_marks(struct tine__lock_shm *lock, uint32_t clear, uint32_t set)
{
    atomic_store_explicit(&lock->kind, (kind_of(lock) & ~clear) | set, memory_order_release);
}

bool tine__lock_is(const struct tine__lock_shm *lock, uint32_t kind)
{
    /* acquire: pairs with the release in tine__lock_init */
    return lock != NULL && (atomic_load_explicit(&lock->kind, memory_order_acquire) &
                            ~(uint32_t)TINE__LOCK_MARKS) == kind;
}

/* What calls itself a tine_lock may be of that form. */
static bool is_handover(const struct tine__lock_shm *lock, uint32_t kind)
{
    return kind == TINE__LOCK_PLAIN && tine__lock_is(lock, TINE__LOCK_HANDOVER);
}

static bool holds(const struct tine__lock_shm *lock, const struct tine__self *self)
{
    return atomic_load_explicit(&lock->holder, memory_order_relaxed) == self->thread;
}

static bool may_hold_more(const struct tine__self *self)
{
    return atomic_load_explicit(&self->count, memory_order_relaxed) < TINE__HELD_MAX;
}

/* ---- in and out ------------------------------------------------------------------------------ */

static void begin_timed_hold(struct tine__lock_shm *lock)
{
    atomic_store_explicit(&lock->since_ns, tine__now_ns(), memory_order_relaxed);
    change_marks(lock, 0, TINE__LOCK_TIMED);
}

static void end_timed_hold(struct tine__lock_shm *lock)
{
    int64_t held_ns = tine__now_ns() - atomic_load_explicit(&lock->since_ns, memory_order_relaxed);

    if (held_ns > atomic_load_explicit(&lock->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&lock->longest_ns, held_ns, memory_order_relaxed);
    change_marks(lock, TINE__LOCK_TIMED, 0);
}

static void add_one(_Atomic uint32_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* The caller has the mutex and is inside from the store of `holder` on. */
static inline void enter(struct tine__lock_shm *lock, struct tine__self *self)
{
    uint32_t taken = atomic_load_explicit(&lock->taken, memory_order_relaxed) + 1;

    atomic_store_explicit(&lock->taken, taken, memory_order_relaxed);
    if (taken % TIMED_EVERY == 0) {
        if (taken == 0)
            add_one(&lock->wraps);
        begin_timed_hold(lock);
    }
    /* release: pairs with the acquire in tine__lock_who, which sees the new count then */
    atomic_store_explicit(&lock->process, self->process, memory_order_release);
    atomic_store_explicit(&lock->holder, self->thread, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* nothing of what it guards before this */
    tine__held_push(self, lock);
}

static inline void leave(struct tine__lock_shm *lock, struct tine__self *self)
{
    atomic_signal_fence(memory_order_seq_cst); /* nothing of what it guards after this */
    atomic_store_explicit(&lock->holder, 0, memory_order_relaxed);
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
static int inherit(struct tine__lock_shm *lock, struct tine__self *self)
{
    bool inside = atomic_load_explicit(&lock->holder, memory_order_relaxed) != 0;

    if (has(lock, TINE__LOCK_LOST)) {
        pthread_mutex_consistent(&lock->robust.mutex);
        return decline(lock);
    }
    if (!inside && !has(lock, TINE__LOCK_DOUBTFUL)) {
        pthread_mutex_consistent(&lock->robust.mutex);
        change_marks(lock, TINE__LOCK_TIMED | TINE__LOCK_DEEP, 0);
        enter(lock, self);
        return 0;
    }
    change_marks(lock, TINE__LOCK_TIMED | TINE__LOCK_DEEP, TINE__LOCK_DOUBTFUL);
    add_one(&lock->deaths);
    enter(lock, self);
    return -EOWNERDEAD;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* An errno of pthread. */
static int wait_for_mutex(struct tine__lock_shm *lock, int64_t timeout_ns)
{
    if (timeout_ns == 0)
        return pthread_mutex_trylock(&lock->robust.mutex);
    return tine__robust_wait(&lock->robust, tine__deadline_after(timeout_ns));
}

static void count_contended(struct tine__lock_shm *lock)
{
    uint64_t contended = atomic_load_explicit(&lock->contended, memory_order_relaxed) + 1;

    atomic_store_explicit(&lock->contended, contended, memory_order_relaxed);
    if (contended % TIMED_EVERY_CONTENDED == 0)
        begin_timed_hold(lock);
}

/* What a try or a wait gave, as a result; waited: the mutex was taken by another at first. */
static int settle(struct tine__lock_shm *lock, struct tine__self *self, int error, bool waited)
{
    switch (error) {
    case 0:
        if (has(lock, TINE__LOCK_LOST))
            return decline(lock);
        if (waited)
            count_contended(lock);
        enter(lock, self);
        return 0;
    case EOWNERDEAD:
        return inherit(lock, self);
    case EBUSY:
        return -EAGAIN;
    default:
        return -error;
    }
}

static uint32_t depth_of(const struct tine__lock_shm *lock)
{
    return has(lock, TINE__LOCK_DEEP) ? lock->depth : 1;
}

static void set_depth(struct tine__lock_shm *lock, uint32_t depth)
{
    lock->depth = depth;
    if (depth > 1)
        change_marks(lock, 0, TINE__LOCK_DEEP);
    else
        change_marks(lock, TINE__LOCK_DEEP, 0);
}

static int acquire_again(struct tine__lock_shm *lock)
{
    if (!tine__lock_is(lock, TINE__LOCK_NESTING))
        return -EDEADLK;
    if (depth_of(lock) == UINT32_MAX)
        return -EOVERFLOW;
    set_depth(lock, depth_of(lock) + 1);
    return 0;
}

/* The mutex was taken, or seemed so. */
static int acquire_taken(struct tine__lock_shm *lock, struct tine__self *self, int64_t timeout_ns)
{
    if (holds(lock, self))
        return acquire_again(lock);
    if (has(lock, TINE__LOCK_LOST))
        return -ENOTRECOVERABLE;
    if (!may_hold_more(self))
        return -ENOLCK;
    return settle(lock, self, wait_for_mutex(lock, timeout_ns), timeout_ns != 0);
}

int tine__lock_acquire(struct tine__lock_shm *lock, uint32_t kind, int64_t timeout_ns)
{
    struct tine__self *self = tine__self();
    int error;

    if (!tine__lock_is(lock, kind))
        return is_handover(lock, kind) ? tine__handover_acquire(lock, timeout_ns) : -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    /* A recorded holder tells that it is taken, without a write to its cache line. */
    if (atomic_load_explicit(&lock->holder, memory_order_relaxed) != 0 || !may_hold_more(self))
        return acquire_taken(lock, self, timeout_ns);
    error = pthread_mutex_trylock(&lock->robust.mutex);
    if (error == EBUSY)
        return acquire_taken(lock, self, timeout_ns);
    if (error != 0 || kind_of(lock) != kind)
        return settle(lock, self, error, false);
    enter(lock, self);
    return 0;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void leave_for_good(struct tine__lock_shm *lock, struct tine__self *self)
{
    if (has(lock, TINE__LOCK_TIMED))
        end_timed_hold(lock);
    if (has(lock, TINE__LOCK_DOUBTFUL)) {
        change_marks(lock, TINE__LOCK_DOUBTFUL | TINE__LOCK_DEEP, TINE__LOCK_LOST);
        pthread_mutex_consistent(&lock->robust.mutex);
    }
    if (has(lock, TINE__LOCK_DEEP))
        change_marks(lock, TINE__LOCK_DEEP, 0);
    leave(lock, self);
}

static int not_mine(const struct tine__lock_shm *lock)
{
    return has(lock, TINE__LOCK_LOST) ? -ENOTRECOVERABLE : -EPERM;
}

int tine__lock_release(struct tine__lock_shm *lock, uint32_t kind)
{
    struct tine__self *self = tine__self();

    if (!tine__lock_is(lock, kind))
        return is_handover(lock, kind) ? tine__handover_release(lock) : -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    if (!holds(lock, self))
        return not_mine(lock);
    if (kind_of(lock) == kind)
        leave(lock, self);
    else if (depth_of(lock) > 1)
        set_depth(lock, depth_of(lock) - 1);
    else
        leave_for_good(lock, self);
    return 0;
}

int tine__lock_recover(struct tine__lock_shm *lock, uint32_t kind)
{
    struct tine__self *self = tine__self();

    if (!tine__lock_is(lock, kind))
        return is_handover(lock, kind) ? tine__handover_recover(lock) : -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    if (!holds(lock, self))
        return -EPERM;
    if (!has(lock, TINE__LOCK_DOUBTFUL))
        return -EINVAL;
    pthread_mutex_consistent(&lock->robust.mutex);
    change_marks(lock, TINE__LOCK_DOUBTFUL, 0);
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
    *depth = depth_of(lock);
    leave_for_good(lock, tine__self());
    return 0;
}

int tine__lock_reacquire(struct tine__lock_shm *lock, uint32_t depth, int64_t timeout_ns)
{
    uint32_t kind = tine__lock_is(lock, TINE__LOCK_NESTING) ? TINE__LOCK_NESTING : TINE__LOCK_PLAIN;
    int rc = tine__lock_acquire(lock, kind, timeout_ns);

    if (depth > 1 && (rc == 0 || rc == -EOWNERDEAD))
        set_depth(lock, depth);
    return rc;
}

uint32_t tine__lock_depth(const struct tine__lock_shm *lock)
{
    return tine__lock_is_mine(lock) ? depth_of(lock) : 0;
}

uint64_t tine__lock_holder(const struct tine__lock_shm *lock)
{
    if (atomic_load_explicit(&lock->holder, memory_order_relaxed) == 0)
        return 0;
    return atomic_load_explicit(&lock->process, memory_order_relaxed);
}

/* ---- looking --------------------------------------------------------------------------------- */

/*
 * The thread that has the mutex: a robust futex holds its tid, that is the kernel's rule; that it
 * is the first word of a mutex is glibc's. After a death the kernel clears it; glibc's copy is
 * left.
 */
static pid_t mutex_tid(const struct tine__lock_shm *lock)
{
    const _Atomic uint32_t *word = (const void *)&lock->robust.mutex;
    const _Atomic int *owner = (const void *)&lock->robust.mutex.__data.__owner;
    uint32_t tid = atomic_load_explicit(word, memory_order_acquire) & FUTEX_TID_MASK;

    return tid != 0 ? (pid_t)tid : atomic_load_explicit(owner, memory_order_acquire);
}

/* Who enters counts first, so the same count before and after means the same holder. */
int tine__lock_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid)
{
    for (int i = 0; i < READINGS_MAX; i++) {
        uint32_t taken = atomic_load_explicit(&lock->taken, memory_order_acquire);
        uint64_t process = atomic_load_explicit(&lock->process, memory_order_acquire);
        pid_t thread = mutex_tid(lock);

        if (atomic_load_explicit(&lock->holder, memory_order_acquire) == 0)
            return 0;
        if (thread == 0 || atomic_load_explicit(&lock->taken, memory_order_relaxed) != taken)
            continue;
        if (pid != NULL)
            *pid = tine__owner_word_pid(process);
        if (tid != NULL)
            *tid = thread;
        return 1;
    }
    return -EAGAIN;
}

void tine__lock_count(const struct tine__lock_shm *lock, tine_lock_counts *counts)
{
    uint64_t wraps = atomic_load_explicit(&lock->wraps, memory_order_relaxed);

    *counts = (tine_lock_counts){
        .acquisitions = wraps << 32 | atomic_load_explicit(&lock->taken, memory_order_relaxed),
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

/* Memory of a lock that the caller holds would stay in the kernel's list of his. */
void tine__lock_fini(struct tine__lock_shm *lock)
{
    if (tine__lock_is_mine(lock))
        leave(lock, tine__self());
    if (tine__lock_usable(lock))
        pthread_mutex_destroy(&lock->robust.mutex);
    atomic_store_explicit(&lock->kind, 0, memory_order_release);
}

/* ---- tine_lock ------------------------------------------------------------------------------- */

/* NULL: it is none. */
static const struct tine__lock_shm *checked(const tine_lock *lock)
{
    const struct tine__lock_shm *shm = (const void *)lock;

    return tine__lock_is(shm, TINE__LOCK_PLAIN) || is_handover(shm, TINE__LOCK_PLAIN) ? shm : NULL;
}

int tine_lock_init(tine_lock *lock, const tine_lock_options *options)
{
    uint32_t flags = options != NULL ? options->flags : 0;

    if (options != NULL && (TINE__RESERVED_SET(options->reserved) || options->reserved0 != 0))
        return -E2BIG;
    if ((flags & ~(uint32_t)TINE_LOCK_HANDOVER) != 0)
        return -EINVAL;
    return tine__lock_init(shared(lock), flags != 0 ? TINE__LOCK_HANDOVER : TINE__LOCK_PLAIN);
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
    const struct tine__lock_shm *shm = checked(lock);

    if (shm == NULL)
        return -EINVAL;
    if (tine__lock_is(shm, TINE__LOCK_HANDOVER))
        return tine__handover_who(shm, NULL, NULL);
    return atomic_load_explicit(&shm->holder, memory_order_relaxed) != 0;
}

int tine_lock_holder(const tine_lock *lock, pid_t *pid, pid_t *tid)
{
    const struct tine__lock_shm *shm = checked(lock);

    if (shm == NULL)
        return -EINVAL;
    if (tine__lock_is(shm, TINE__LOCK_HANDOVER))
        return tine__handover_who(shm, pid, tid);
    return tine__lock_who(shm, pid, tid);
}

int tine_lock_stats(const tine_lock *lock, tine_lock_counts *counts)
{
    if (counts == NULL || checked(lock) == NULL)
        return -EINVAL;
    tine__lock_count(checked(lock), counts);
    return 0;
}
