/* SPDX-License-Identifier: MIT */
/*
 * tine_rwlock: many readers or one writer, and what the death of each means.
 *
 * All that matters is the value of a ledger (shm/ledger.c): readings, writers that wait, WRITTEN,
 * DOUBTFUL, LOST. It changes together with the account of whoever changes it. A reading is one that
 * the account holds; so is the writing, which only one account can hold and only while nobody
 * reads. So what a dead process held was the writing if the value says WRITTEN, and readings
 * otherwise:
 *
 *     FREE or READ ── acquire_write ──► WRITTEN ── release ──► FREE
 *                                          │ death
 *              ┌─── acquire_write ◄──── DOUBTFUL        readers: -EOWNERDEAD
 *     WRITTEN, DOUBTFUL ── recover ──► WRITTEN          readers wait
 *              └────── release ──────► LOST             all: -ENOTRECOVERABLE
 *
 * A writer that dies just after it took the lock or just before it leaves it has changed nothing,
 * but passes for one that died inside: one more doubt, never one too few.
 *
 * Preferred writers that wait are counted in the value, and in their accounts, so that the dead
 * among them do not hold up readers; beyond 31 they wait uncounted. Writers and readers sleep
 * apart: whoever leaves wakes all readers and one writer, or one writer only if writers are
 * preferred and one waits. Whoever finds the lock taken looks for the dead, as for a semaphore
 * (shm/semaphore.c).
 *
 * Fork: a child is another process; it neither reads nor writes.
 */
#include "shm/rwlock.h"

#include <errno.h>
#include <stddef.h>

#include "lib/reserved.h"
#include "shm/held.h"
#include "shm/owner.h"

_Static_assert(sizeof(struct tine__rwlock_shm) == TINE_RWLOCK_SIZE(0), "tine/rwlock.h");
_Static_assert(sizeof(tine_rwlock) == TINE_RWLOCK_SIZE(TINE_RWLOCK_PROCESSES), "tine/rwlock.h");
_Static_assert(TINE_RWLOCK_PROCESSES == TINE__LEDGER_ROOM &&
                   TINE_RWLOCK_PROCESSES_MAX == TINE__LEDGER_ROOM_MAX &&
                   TINE_RWLOCK_READERS_MAX == TINE__RWLOCK_READERS,
               "tine/rwlock.h");
_Static_assert(TINE__RWLOCK_LOST <= TINE__LEDGER_VALUE_MAX, "it fits");

/* Readings of a changing writer before tine_rwlock_holder() gives up. */
#define READINGS_MAX 100

static struct tine__rwlock_shm *shared(const tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock = (struct tine__rwlock_shm *)(uintptr_t)rwlock;

    /* acquire: pairs with the release in tine_rwlock_init */
    if (lock == NULL ||
        atomic_load_explicit(&lock->magic, memory_order_acquire) != TINE__RWLOCK_MAGIC)
        return NULL;
    return lock;
}

static bool prefers_writers(const struct tine__rwlock_shm *lock)
{
    return (lock->flags & TINE__RWLOCK_PREFER_WRITERS) != 0;
}

static uint32_t without(uint32_t value, uint32_t held, uint32_t waits)
{
    value -= waits * TINE__RWLOCK_WAITER;
    if (held == 0)
        return value;
    if ((value & TINE__RWLOCK_WRITTEN) != 0)
        return (value & ~TINE__RWLOCK_WRITTEN) | TINE__RWLOCK_DOUBTFUL;
    return value - held;
}

static bool is_writer(const struct tine__rwlock_shm *lock, const struct tine__self *self)
{
    return self != NULL &&
           atomic_load_explicit(&lock->writer_thread, memory_order_relaxed) == self->thread;
}

static void name_writer(struct tine__rwlock_shm *lock, const struct tine__self *self)
{
    uint64_t pid = (uint64_t)tine__owner_word_pid(self->process);

    atomic_store_explicit(&lock->writer_id, pid | (uint64_t)self->tid << 32, memory_order_relaxed);
    atomic_store_explicit(&lock->writer_thread, self->thread, memory_order_relaxed);
}

static void add_one(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* This process's account that holds something, as of word; -1: none. */
static int holding(struct tine__ledger_shm *ledger, uint64_t word)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);
    uint64_t owner = tine__owner_word();
    uint32_t at = tine__ledger_home(ledger, owner);

    for (uint32_t i = 0; i < ledger->room; i++) {
        if (atomic_load_explicit(&accounts[at].owner, memory_order_relaxed) == owner &&
            tine__ledger_held(tine__ledger_content(ledger, word, at)) > 0)
            return (int)at;
        at = at + 1 < ledger->room ? at + 1 : 0;
    }
    return -1;
}

/* ---- one attempt ----------------------------------------------------------------------------- */

/* May a reader enter? 0 or a code. */
static int reader_may(const struct tine__rwlock_shm *lock, uint32_t value)
{
    if ((value & TINE__RWLOCK_LOST) != 0)
        return -ENOTRECOVERABLE;
    if ((value & TINE__RWLOCK_WRITTEN) != 0)
        return is_writer(lock, tine__self()) ? -EDEADLK : -EAGAIN;
    if ((value & TINE__RWLOCK_DOUBTFUL) != 0)
        return -EOWNERDEAD;
    if ((value & TINE__RWLOCK_WAITERS) != 0)
        return -EAGAIN;
    return (value & TINE__RWLOCK_READERS) == TINE__RWLOCK_READERS ? -EOVERFLOW : 0;
}

static int try_read(struct tine__rwlock_shm *lock)
{
    uint64_t word = tine__ledger_read(&lock->ledger), owner = tine__owner_word();

    for (;;) {
        uint32_t value = tine__ledger_value(word);
        int rc = reader_may(lock, value), slot;

        if (rc < 0)
            return rc;
        slot = tine__ledger_account(&lock->ledger, owner, without);
        if (slot < 0)
            return slot;
        if (tine__ledger_move(&lock->ledger, &word, value + 1, TINE__LEDGER_ADD, (uint32_t)slot))
            return 0;
    }
}

/* Who writes: `counted`, whether it stands among the writers that wait. */
struct writer {
    const struct tine__self *self;
    bool counted;
};

static int writer_may(const struct tine__rwlock_shm *lock, uint32_t value,
                      const struct writer *writer)
{
    if ((value & TINE__RWLOCK_LOST) != 0)
        return -ENOTRECOVERABLE;
    if ((value & TINE__RWLOCK_WRITTEN) != 0)
        return is_writer(lock, writer->self) ? -EDEADLK : -EAGAIN;
    return (value & TINE__RWLOCK_READERS) != 0 ? -EAGAIN : 0;
}

/* 0 or -EOWNERDEAD: it writes. */
static int begin_write(struct tine__rwlock_shm *lock, uint32_t value, const struct writer *writer)
{
    name_writer(lock, writer->self);
    add_one(&lock->writes);
    if ((value & TINE__RWLOCK_DOUBTFUL) == 0)
        return 0;
    add_one(&lock->deaths);
    return -EOWNERDEAD;
}

static int try_write(struct tine__rwlock_shm *lock, struct writer *writer)
{
    uint64_t word = tine__ledger_read(&lock->ledger);

    for (;;) {
        uint32_t value = tine__ledger_value(word), next = value | TINE__RWLOCK_WRITTEN;
        int rc = writer_may(lock, value, writer), slot;

        if (rc < 0)
            return rc;
        slot = tine__ledger_account(&lock->ledger, writer->self->process, without);
        if (slot < 0)
            return slot;
        if (writer->counted)
            next -= TINE__RWLOCK_WAITER;
        if (tine__ledger_move(&lock->ledger, &word, next,
                              writer->counted ? TINE__LEDGER_ENTER : TINE__LEDGER_ADD,
                              (uint32_t)slot)) {
            writer->counted = false;
            return begin_write(lock, value, writer);
        }
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void wake_everybody(struct tine__rwlock_shm *lock)
{
    tine__waiters_wake_all(&lock->read_waiters);
    tine__waiters_wake_all(&lock->write_waiters);
}

/* The lock is free, or a writer that waited is gone: who could enter at that value? */
static void wake(struct tine__rwlock_shm *lock, uint32_t value)
{
    tine__waiters_wake(&lock->write_waiters, 1);
    if ((value & TINE__RWLOCK_WAITERS) == 0)
        tine__waiters_wake_all(&lock->read_waiters);
}

/* True when it has looked: if nobody else did so of late, or in any case if it is the last time. */
static bool look(struct tine__rwlock_shm *lock, bool last)
{
    if (!tine__look_due(&lock->ledger.looked) && !last)
        return false;
    if (tine__ledger_sweep(&lock->ledger, false, without) > 0)
        wake_everybody(lock);
    return true;
}

static int wait_read(struct tine__rwlock_shm *lock, tine__deadline deadline)
{
    bool looked = look(lock, false);

    atomic_fetch_add_explicit(&lock->contended, 1, memory_order_relaxed);
    for (;;) {
        uint32_t turn = tine__waiters_join(&lock->read_waiters);
        int rc = try_read(lock);

        if (rc != -EAGAIN)
            return rc;
        rc = tine__waiters_sleep(&lock->read_waiters, turn, deadline);
        if (rc < 0 && looked)
            return rc;
        looked = look(lock, rc < 0);
    }
}

/* Is preferred from now on, if there is room to say so. 0, -ENOLCK */
static int count_in(struct tine__rwlock_shm *lock, struct writer *writer)
{
    int slot = tine__ledger_account(&lock->ledger, writer->self->process, without);
    uint64_t word = tine__ledger_read(&lock->ledger);

    if (slot < 0)
        return slot;
    while (!writer->counted &&
           (tine__ledger_value(word) & TINE__RWLOCK_WAITERS) != TINE__RWLOCK_WAITERS)
        writer->counted =
            tine__ledger_move(&lock->ledger, &word, tine__ledger_value(word) + TINE__RWLOCK_WAITER,
                              TINE__LEDGER_WAIT, (uint32_t)slot);
    return 0;
}

/* Waits no longer; lets in those who had to stand back. */
static void count_out(struct tine__rwlock_shm *lock, struct writer *writer)
{
    uint64_t word;
    int slot;

    if (!writer->counted)
        return;
    slot = tine__ledger_account(&lock->ledger, writer->self->process, without);
    word = tine__ledger_read(&lock->ledger);
    while (!tine__ledger_move(&lock->ledger, &word, tine__ledger_value(word) - TINE__RWLOCK_WAITER,
                              TINE__LEDGER_UNWAIT, (uint32_t)slot))
        ;
    writer->counted = false;
    wake(lock, tine__ledger_value(atomic_load_explicit(&lock->ledger.word, memory_order_seq_cst)));
}

static int wait_write(struct tine__rwlock_shm *lock, struct writer *writer, tine__deadline deadline)
{
    bool looked = look(lock, false);

    for (;;) {
        uint32_t turn = tine__waiters_join(&lock->write_waiters);
        int rc = try_write(lock, writer);

        if (rc == -EAGAIN && prefers_writers(lock) && !writer->counted)
            rc = count_in(lock, writer) < 0 ? -ENOLCK : -EAGAIN;
        if (rc != -EAGAIN)
            return rc;
        rc = tine__waiters_sleep(&lock->write_waiters, turn, deadline);
        if (rc < 0 && looked)
            return rc;
        looked = look(lock, rc < 0);
    }
}

/* ---- making ---------------------------------------------------------------------------------- */

static int check_options(const tine_rwlock_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || options->reserved0 != 0)
        return -E2BIG;
    if (options->flags != 0 || (options->prefer_writers & ~1) != 0)
        return -EINVAL;
    if (options->processes != 0 && (options->processes < TINE_RWLOCK_PROCESSES ||
                                    options->processes > TINE_RWLOCK_PROCESSES_MAX))
        return -EINVAL;
    return 0;
}

int tine_rwlock_init(tine_rwlock *rwlock, const tine_rwlock_options *options)
{
    static const tine_rwlock_options defaults;
    const tine_rwlock_options *o = options != NULL ? options : &defaults;
    struct tine__rwlock_shm *lock = (struct tine__rwlock_shm *)rwlock;
    int rc = check_options(o);

    if (rc < 0)
        return rc;
    if (lock == NULL)
        return -EINVAL;
    *rwlock = (tine_rwlock){{0}};
    lock->flags = o->prefer_writers ? TINE__RWLOCK_PREFER_WRITERS : 0;
    tine__ledger_init(&lock->ledger, o->processes ? o->processes : TINE__LEDGER_ROOM, 0);
    /* pairs with the acquire in shared() */
    atomic_store_explicit(&lock->magic, TINE__RWLOCK_MAGIC, memory_order_release);
    return 0;
}

void tine_rwlock_fini(tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock = shared(rwlock);

    if (lock != NULL)
        atomic_store_explicit(&lock->magic, 0, memory_order_release);
}

/* ---- reading --------------------------------------------------------------------------------- */

int tine_rwlock_acquire_read(tine_rwlock *rwlock, int64_t timeout_ns)
{
    struct tine__rwlock_shm *lock = shared(rwlock);
    int rc;

    if (lock == NULL)
        return -EINVAL;
    rc = try_read(lock);
    if (rc != -EAGAIN)
        return rc;
    if (timeout_ns != 0)
        return wait_read(lock, tine__deadline_after(timeout_ns));
    return look(lock, false) ? try_read(lock) : rc;
}

int tine_rwlock_release_read(tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock = shared(rwlock);
    uint64_t word;
    uint32_t value;
    int slot;

    if (lock == NULL)
        return -EINVAL;
    word = tine__ledger_read(&lock->ledger);
    do {
        value = tine__ledger_value(word);
        slot = (value & TINE__RWLOCK_WRITTEN) != 0 ? -1 : holding(&lock->ledger, word);
        if (slot < 0)
            return -EPERM;
    } while (!tine__ledger_move(&lock->ledger, &word, value - 1, TINE__LEDGER_SUB, (uint32_t)slot));
    if ((value & TINE__RWLOCK_READERS) == 1)
        tine__waiters_wake(&lock->write_waiters, 1);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

int tine_rwlock_acquire_write(tine_rwlock *rwlock, int64_t timeout_ns)
{
    struct tine__rwlock_shm *lock = shared(rwlock);
    struct writer writer = {.self = tine__self()};
    int rc;

    if (lock == NULL)
        return -EINVAL;
    if (writer.self == NULL)
        return -ENOMEM;
    rc = try_write(lock, &writer);
    if (rc != -EAGAIN)
        return rc;
    if (timeout_ns != 0) {
        tine__deadline deadline = tine__deadline_after(timeout_ns);

        atomic_fetch_add_explicit(&lock->contended, 1, memory_order_relaxed);
        rc = wait_write(lock, &writer, deadline);
        count_out(lock, &writer);
        return rc;
    }
    return look(lock, false) ? try_write(lock, &writer) : rc;
}

/* The lock of which the calling thread is the writer, or a code. */
static int as_writer(tine_rwlock *rwlock, struct tine__rwlock_shm **lock)
{
    const struct tine__self *self = tine__self();

    *lock = shared(rwlock);
    if (*lock == NULL)
        return -EINVAL;
    if (self == NULL)
        return -ENOMEM;
    return is_writer(*lock, self) ? 0 : -EPERM;
}

int tine_rwlock_release_write(tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock;
    uint64_t word;
    uint32_t next;
    int rc = as_writer(rwlock, &lock), slot;

    if (rc < 0)
        return rc;
    word = tine__ledger_read(&lock->ledger);
    slot = holding(&lock->ledger, word); /* stays so: only this thread can end it */
    if (slot < 0)
        return -EPERM;
    atomic_store_explicit(&lock->writer_id, 0, memory_order_relaxed);
    atomic_store_explicit(&lock->writer_thread, 0, memory_order_relaxed);
    do {
        next = tine__ledger_value(word) & ~TINE__RWLOCK_WRITTEN;
        if ((next & TINE__RWLOCK_DOUBTFUL) != 0)
            next = (next & ~TINE__RWLOCK_DOUBTFUL) | TINE__RWLOCK_LOST;
    } while (!tine__ledger_move(&lock->ledger, &word, next, TINE__LEDGER_SUB, (uint32_t)slot));
    if ((next & TINE__RWLOCK_LOST) != 0)
        wake_everybody(lock);
    else
        wake(lock, next);
    return 0;
}

int tine_rwlock_recover(tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock;
    uint64_t word;
    int rc = as_writer(rwlock, &lock);

    if (rc < 0)
        return rc;
    word = tine__ledger_read(&lock->ledger);
    do {
        if ((tine__ledger_value(word) & TINE__RWLOCK_DOUBTFUL) == 0)
            return -EINVAL;
    } while (!tine__ledger_move(&lock->ledger, &word,
                                tine__ledger_value(word) & ~TINE__RWLOCK_DOUBTFUL,
                                TINE__LEDGER_NONE, 0));
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

int tine_rwlock_readers(const tine_rwlock *rwlock)
{
    struct tine__rwlock_shm *lock = shared(rwlock);

    if (lock == NULL)
        return -EINVAL;
    return (
        int)(tine__ledger_value(atomic_load_explicit(&lock->ledger.word, memory_order_relaxed)) &
             TINE__RWLOCK_READERS);
}

/* The process whose account holds something while the word says WRITTEN; 0: none. */
static uint64_t writing_process(struct tine__ledger_shm *ledger, uint64_t word)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);

    for (uint32_t i = 0; i < ledger->room; i++)
        if (tine__ledger_held(tine__ledger_content(ledger, word, i)) > 0)
            return atomic_load_explicit(&accounts[i].owner, memory_order_relaxed);
    return 0;
}

int tine_rwlock_holder(const tine_rwlock *rwlock, pid_t *pid, pid_t *tid)
{
    struct tine__rwlock_shm *lock = shared(rwlock);

    if (lock == NULL)
        return -EINVAL;
    for (int i = 0; i < READINGS_MAX; i++) {
        uint64_t word = tine__ledger_read(&lock->ledger), id;
        pid_t process;

        if ((tine__ledger_value(word) & TINE__RWLOCK_WRITTEN) == 0)
            return 0;
        process = tine__owner_word_pid(writing_process(&lock->ledger, word));
        id = atomic_load_explicit(&lock->writer_id, memory_order_acquire);
        if (atomic_load_explicit(&lock->ledger.word, memory_order_acquire) != word)
            continue;
        if (pid != NULL)
            *pid = process;
        if (tid != NULL)
            *tid = (pid_t)(uint32_t)id == process ? (pid_t)(id >> 32) : 0;
        return 1;
    }
    return -EAGAIN;
}

int tine_rwlock_stats(const tine_rwlock *rwlock, tine_rwlock_counts *counts)
{
    struct tine__rwlock_shm *lock = shared(rwlock);

    if (lock == NULL || counts == NULL)
        return -EINVAL;
    *counts = (tine_rwlock_counts){
        .writes = atomic_load_explicit(&lock->writes, memory_order_relaxed),
        .contended = atomic_load_explicit(&lock->contended, memory_order_relaxed),
        .deaths = atomic_load_explicit(&lock->deaths, memory_order_relaxed),
    };
    return 0;
}
