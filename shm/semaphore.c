/* SPDX-License-Identifier: MIT */
/*
 * tine_semaphore: permits that come back when their holder dies.
 *
 * The free permits are the value of a ledger (shm/ledger.c), those held stand in its accounts;
 * their sum changes only when somebody releases who had nothing to release, while nobody else held
 * any. A bounded semaphore refuses that, so there value + accounts = initial value, always.
 *
 * Whoever finds no permit looks whether one who holds some is dead, then sleeps (shm/waiters.c),
 * and looks again every 50 ms and before it gives up; but not if another has done so just before. A
 * wake-up that gets lost with its waker is made good when the slice of sleep ends.
 *
 * A signalling semaphore is the number alone. Nothing in either depends on fork: a child is another
 * process with an account of its own.
 */
#include "shm/semaphore.h"

#include <errno.h>
#include <stddef.h>

#include "lib/reserved.h"
#include "lib/waitable.h"
#include "shm/owner.h"
#include "shm/pollable.h"
#include "shm/watch.h"

_Static_assert(sizeof(struct tine__semaphore_shm) == TINE_SEMAPHORE_SIZE(0), "tine/semaphore.h");
_Static_assert(sizeof(tine_semaphore) == TINE_SEMAPHORE_SIZE(TINE_SEMAPHORE_PROCESSES),
               "tine/semaphore.h");
_Static_assert(TINE_SEMAPHORE_PROCESSES == TINE__LEDGER_ROOM &&
                   TINE_SEMAPHORE_PROCESSES_MAX == TINE__LEDGER_ROOM_MAX &&
                   TINE_SEMAPHORE_MAX == TINE__LEDGER_VALUE_MAX,
               "tine/semaphore.h");

static struct tine__semaphore_shm *shared(const tine_semaphore *semaphore)
{
    struct tine__semaphore_shm *sem = (struct tine__semaphore_shm *)(uintptr_t)semaphore;

    /* acquire: pairs with the release in tine_semaphore_init */
    if (sem == NULL ||
        atomic_load_explicit(&sem->magic, memory_order_acquire) != TINE__SEMAPHORE_MAGIC)
        return NULL;
    return sem;
}

static bool is(const struct tine__semaphore_shm *sem, uint32_t flag)
{
    return (sem->flags & flag) != 0;
}

static uint32_t without(uint32_t value, uint32_t held, uint32_t waits)
{
    (void)waits;
    return value + held;
}

/* ---- one attempt ----------------------------------------------------------------------------- */

/* 0, -EAGAIN, -ENOLCK */
static int take(struct tine__semaphore_shm *sem)
{
    uint64_t word = tine__ledger_read(&sem->ledger), owner = tine__owner_word();

    if (tine__ledger_value(word) > 0 &&
        tine__ledger_quick(&sem->ledger, word, owner, tine__ledger_value(word) - 1, 1))
        return 0;
    while (tine__ledger_value(word) > 0) {
        int slot = tine__ledger_account(&sem->ledger, owner, without);

        if (slot < 0)
            return slot;
        if (tine__ledger_move(&sem->ledger, &word, tine__ledger_value(word) - 1, TINE__LEDGER_ADD,
                              (uint32_t)slot))
            return 0;
    }
    return -EAGAIN;
}

static int take_plain(struct tine__semaphore_shm *sem)
{
    uint64_t count = atomic_load_explicit(&sem->ledger.word, memory_order_relaxed);

    while (count > 0)
        if (atomic_compare_exchange_weak_explicit(&sem->ledger.word, &count, count - 1,
                                                  memory_order_seq_cst, memory_order_relaxed))
            return 0;
    return -EAGAIN;
}

static int try(struct tine__semaphore_shm *sem)
{
    return is(sem, TINE__SEMAPHORE_SIGNALLING) ? take_plain(sem) : take(sem);
}

/* Whose permit a release gives back: this process's own, else another's; -1: nobody holds any. */
static int payer(struct tine__ledger_shm *ledger, uint64_t word, uint64_t owner)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);
    uint32_t at = tine__ledger_home(ledger, owner);
    int other = -1;

    for (uint32_t i = 0; i < ledger->room; i++) {
        if (tine__ledger_held(tine__ledger_content(ledger, word, at)) > 0) {
            if (atomic_load_explicit(&accounts[at].owner, memory_order_relaxed) == owner)
                return (int)at;
            if (other < 0)
                other = (int)at;
        }
        at = at + 1 < ledger->room ? at + 1 : 0;
    }
    return other;
}

static int give(struct tine__semaphore_shm *sem)
{
    uint32_t limit = is(sem, TINE__SEMAPHORE_BOUNDED) ? sem->initial : TINE_SEMAPHORE_MAX;
    uint64_t word = tine__ledger_read(&sem->ledger), owner = tine__owner_word();

    if (tine__ledger_value(word) < limit &&
        tine__ledger_quick(&sem->ledger, word, owner, tine__ledger_value(word) + 1, -1))
        return 0;
    for (;;) {
        uint32_t value = tine__ledger_value(word), op;
        int slot;

        if (value >= limit)
            return -EOVERFLOW;
        slot = payer(&sem->ledger, word, owner);
        op = slot < 0 ? TINE__LEDGER_NONE : TINE__LEDGER_SUB;
        if (tine__ledger_move(&sem->ledger, &word, value + 1, op, slot < 0 ? 0 : (uint32_t)slot))
            return 0;
    }
}

static int give_plain(struct tine__semaphore_shm *sem)
{
    uint64_t limit = is(sem, TINE__SEMAPHORE_BOUNDED) ? sem->initial : TINE_SEMAPHORE_MAX_PLAIN;
    uint64_t count = atomic_load_explicit(&sem->ledger.word, memory_order_relaxed);

    do {
        if (count >= limit)
            return -EOVERFLOW;
    } while (!atomic_compare_exchange_weak_explicit(&sem->ledger.word, &count, count + 1,
                                                    memory_order_seq_cst, memory_order_relaxed));
    return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* True when it has looked: if nobody else did so of late, or in any case if it is the last time. */
static bool look(struct tine__semaphore_shm *sem, bool last)
{
    if (is(sem, TINE__SEMAPHORE_SIGNALLING))
        return true;
    if (!tine__look_due(&sem->ledger.looked) && !last)
        return false;
    if (tine__ledger_sweep(&sem->ledger, false, without) > 0)
        tine__waiters_wake_all(&sem->waiters);
    return true;
}

static int value(const struct tine__semaphore_shm *sem)
{
    uint64_t word = atomic_load_explicit(&sem->ledger.word, memory_order_seq_cst);

    return is(sem, TINE__SEMAPHORE_SIGNALLING) ? (int)word : (int)tine__ledger_value(word);
}

static int wait(struct tine__semaphore_shm *sem, tine__deadline deadline)
{
    bool looked = look(sem, false);

    for (;;) {
        uint32_t turn = tine__waiters_join(&sem->waiters);
        int rc = try(sem);

        if (rc == 0 && value(sem) > 0)
            tine__waiters_wake(&sem->waiters, 1); /* two wake-ups may have reached only this one */
        if (rc != -EAGAIN)
            return rc;
        rc = tine__waiters_sleep(&sem->waiters, turn, deadline);
        if (rc < 0 && looked)
            return rc;
        looked = look(sem, rc < 0);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

static int check_options(const tine_semaphore_options *options)
{
    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (options->flags != 0 || (options->bounded & ~1) != 0 || (options->signalling & ~1) != 0)
        return -EINVAL;
    if (options->processes != 0 && (options->processes < TINE_SEMAPHORE_PROCESSES ||
                                    options->processes > TINE_SEMAPHORE_PROCESSES_MAX))
        return -EINVAL;
    return 0;
}

int tine_semaphore_init(tine_semaphore *semaphore, int64_t value,
                        const tine_semaphore_options *options)
{
    static const tine_semaphore_options defaults;
    const tine_semaphore_options *o = options != NULL ? options : &defaults;
    struct tine__semaphore_shm *sem = (struct tine__semaphore_shm *)semaphore;
    int rc = check_options(o);

    if (rc < 0)
        return rc;
    if (sem == NULL || value < 0)
        return -EINVAL;
    if (value > (o->signalling ? TINE_SEMAPHORE_MAX_PLAIN : TINE_SEMAPHORE_MAX))
        return -EOVERFLOW;
    atomic_store_explicit(&sem->magic, 0, memory_order_relaxed);
    sem->flags = (o->bounded ? TINE__SEMAPHORE_BOUNDED : 0) |
                 (o->signalling ? TINE__SEMAPHORE_SIGNALLING : 0);
    sem->initial = (uint32_t)value;
    sem->reserved0 = 0;
    atomic_init(&sem->waiters.turn, 0);
    atomic_init(&sem->waiters.waiting, 0);
    sem->reserved = 0;
    tine__ledger_init(&sem->ledger, o->processes ? o->processes : TINE__LEDGER_ROOM,
                      o->signalling ? 0 : (uint32_t)value);
    if (o->signalling)
        atomic_init(&sem->ledger.word, (uint64_t)value);
    /* pairs with the acquire in shared() */
    atomic_store_explicit(&sem->magic, TINE__SEMAPHORE_MAGIC, memory_order_release);
    return 0;
}

void tine_semaphore_fini(tine_semaphore *semaphore)
{
    struct tine__semaphore_shm *sem = shared(semaphore);

    if (sem != NULL)
        atomic_store_explicit(&sem->magic, 0, memory_order_release);
}

/* In vain it makes quiet the descriptor that this process may have for the semaphore. */
static int try_and_look(struct tine__semaphore_shm *sem)
{
    int rc = look(sem, false) ? try(sem) : -EAGAIN;

    if (rc == -EAGAIN && tine__pollable_missed(&sem->waiters)) {
        rc = try(sem);
        if (rc != -EAGAIN)
            tine__watch_ring(&sem->waiters);
    }
    return rc;
}

int tine_semaphore_acquire(tine_semaphore *semaphore, int64_t timeout_ns)
{
    struct tine__semaphore_shm *sem = shared(semaphore);
    int rc;

    if (sem == NULL)
        return -EINVAL;
    rc = try(sem);
    if (rc != -EAGAIN)
        return rc;
    if (timeout_ns == 0)
        return try_and_look(sem);
    return wait(sem, tine__deadline_after(timeout_ns));
}

int tine_semaphore_release(tine_semaphore *semaphore)
{
    struct tine__semaphore_shm *sem = shared(semaphore);
    int rc;

    if (sem == NULL)
        return -EINVAL;
    rc = is(sem, TINE__SEMAPHORE_SIGNALLING) ? give_plain(sem) : give(sem);
    if (rc == 0)
        tine__waiters_wake(&sem->waiters, 1);
    return rc;
}

int tine_semaphore_value(const tine_semaphore *semaphore)
{
    const struct tine__semaphore_shm *sem = shared(semaphore);

    return sem == NULL ? -EINVAL : value(sem);
}

/* ---- waiting for many things ----------------------------------------------------------------- */

static int ready(const tine_waitable *waitable, bool look_too)
{
    struct tine__semaphore_shm *sem = shared(waitable->object);

    if (sem == NULL || waitable->events != TINE_READABLE)
        return -EINVAL;
    if (look_too && value(sem) == 0)
        (void)look(sem, false);
    return value(sem) > 0 ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    points_out[0] = &((struct tine__semaphore_shm *)waitable->object)->waiters;
    return 1;
}

static void arm(const tine_waitable *waitable)
{
    tine__waiters_watch(&((struct tine__semaphore_shm *)waitable->object)->waiters);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_semaphore_waitable(tine_semaphore *semaphore)
{
    return (tine_waitable){.kind = &waitable_kind, .object = semaphore, .events = TINE_READABLE};
}
