/* SPDX-License-Identifier: MIT */
/*
 * The condition: a slot for each thread that waits, which says whether it has been notified.
 *
 *     FREE --claimed by a waiter--> WAITING, ASLEEP --notified, passed on--> NOTIFIED
 *       ^------------- its thread, awake ----/------------------------------/
 *       ^------------- swept: its process is dead --------------------------/
 *
 * Slots are claimed under the condition's lock only, and their thread frees them under it; notify
 * holds it too. Sweepers do not: so all changes of `word` but the claim are compare-and-swap, and
 * carry the generation of the claim. An ABA needs 2^30 claims of one slot between two instructions
 * of a sweeper, and would cost a wake-up too many: whoever finds its slot not waiting any more has
 * been woken.
 *
 * What deaths leave, and who makes it good:
 *   waiting, dead     Whoever needs a slot frees it. Notified before that, it is the next line.
 *   NOTIFIED, dead    The notification is another's. Each sleeper looks every TINE__LOOK_NS, and
 *                     once more when its time is over: it notifies the one that waits longest, then
 *                     frees the slot. In this order, so that a second death there wakes one too
 *                     many, not one too few.
 *   FREE again, but dead before it released the lock: it may have taken the notification and
 *                     nothing else. The lock counts such deaths, and a look sees the count changed,
 *                     or is itself the one that finds the lock with a dead holder: that sleeper
 *                     returns. So a death in notify wakes all, too.
 *   claiming          `top` and the ticket are stored before `word` says WAITING.
 *   notifying         between the change of `word` and the wake-up: the sleeper's next look. The
 *                     wake-up of notify comes when the notifier has released the lock, which the
 *                     woken need.
 * Who died while taking or leaving the lock, not inside, had not yet freed its slot, or had
 * released what it guards.
 *
 * No thread waits for another here but for the user's lock. Fork: a child waits nowhere.
 */
#include "shm/condition.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "shm/held.h"
#include "shm/lock.h"
#include "shm/owner.h"
#include "shm/waiters.h"

#define SLOTS_MAX 65536
#define GO        1 /* see look() */

_Static_assert(sizeof(struct tine__condition_shm) +
                       TINE_CONDITION_SLOTS * sizeof(struct tine__condition_slot_shm) ==
                   sizeof(tine_condition),
               "the public size");
_Static_assert(sizeof(tine_condition) == TINE_CONDITION_SIZE(TINE_CONDITION_SLOTS),
               "the public formula");

/*
 * A waiter spins for as long as a turn of two busy processes takes. Where that does not pay it soon
 * spins no more, and tries again now and then.
 */
#define SPIN_NS            5000
#define SPIN_NS_MIN        500
#define SPIN_EVERY         64 /* sleeps */
#define SPIN_LOOKS_A_CLOCK 16

/* One wait of the calling thread. */
struct wait {
    struct tine__condition_shm *shm;
    struct tine__lock_shm *lock;
    struct tine__self *self;
    struct tine__condition_slot_shm *slot;
    uint32_t asleep; /* what the slot's word says while the thread sleeps */
    uint32_t deaths; /* of holders, when it began */
    uint32_t depth;  /* how deep the lock was */
};

static struct tine__condition_shm *shared(tine_condition *condition)
{
    return (struct tine__condition_shm *)(void *)condition;
}

static bool usable(struct tine__condition_shm *shm)
{
    /* pairs with the release in init */
    return shm != NULL &&
           atomic_load_explicit(&shm->magic, memory_order_acquire) == TINE__CONDITION_MAGIC;
}

static struct tine__lock_shm *lock_of(struct tine__condition_shm *shm)
{
    return (struct tine__lock_shm *)((uintptr_t)shm + (uintptr_t)shm->lock_distance);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static uint32_t word_of(struct tine__condition_slot_shm *slot)
{
    /* pairs with the release in claim */
    return atomic_load_explicit(&slot->word, memory_order_acquire);
}

static bool is(uint32_t word, uint32_t state)
{
    return (word & TINE__SLOT_STATES) == state;
}

static bool change(struct tine__condition_slot_shm *slot, uint32_t word, uint32_t state)
{
    return atomic_compare_exchange_strong_explicit(&slot->word, &word,
                                                   (word & ~TINE__SLOT_STATES) | state,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* Not notified yet, awake or asleep. */
static bool waits(uint32_t word)
{
    return (word & TINE__SLOT_WAITS) != 0;
}

/* False: somebody else has changed the slot. notifier: the thread that is to wake, or NULL: at
   once. */
static bool mark(struct tine__condition_slot_shm *slot, uint32_t word, struct tine__self *notifier)
{
    if (!change(slot, word, TINE__SLOT_NOTIFIED))
        return false;
    if (is(word, TINE__SLOT_ASLEEP)) {
        if (notifier != NULL)
            tine__held_wake_later(notifier, &slot->word);
        else
            tine__sys_futex_wake(&slot->word, 1);
    }
    return true;
}

static uint32_t top_of(struct tine__condition_shm *shm)
{
    return atomic_load_explicit(&shm->top, memory_order_relaxed);
}

/* The slot that waits longest, NULL for none. */
static struct tine__condition_slot_shm *find_oldest(struct tine__condition_shm *shm, uint32_t *word)
{
    struct tine__condition_slot_shm *oldest = NULL;
    uint64_t oldest_ticket = UINT64_MAX;

    for (uint32_t i = 0, top = top_of(shm); i < top; i++) {
        struct tine__condition_slot_shm *slot = &shm->slots[i];
        uint32_t seen = word_of(slot);
        uint64_t ticket = atomic_load_explicit(&slot->ticket, memory_order_relaxed);

        if (!waits(seen) || ticket >= oldest_ticket)
            continue;
        oldest = slot;
        oldest_ticket = ticket;
        *word = seen;
    }
    return oldest;
}

static uint32_t notify_oldest(struct tine__condition_shm *shm, uint32_t n,
                              struct tine__self *notifier)
{
    struct tine__condition_slot_shm *slot;
    uint32_t count = 0, word;

    while (count < n && (slot = find_oldest(shm, &word)) != NULL)
        count += mark(slot, word, notifier);
    return count;
}

static uint32_t notify_each(struct tine__condition_shm *shm, struct tine__self *notifier)
{
    uint32_t count = 0;

    for (uint32_t i = 0, top = top_of(shm); i < top; i++) {
        uint32_t word = word_of(&shm->slots[i]);

        if (waits(word))
            count += mark(&shm->slots[i], word, notifier);
    }
    return count;
}

/* ---- the dead: without the lock -------------------------------------------------------------- */

static bool owner_died(struct tine__condition_slot_shm *slot)
{
    /* acquire: an owner newer than the word that the caller saw makes his change of it fail */
    return !tine__owner_word_lives(atomic_load_explicit(&slot->owner, memory_order_acquire));
}

/* Of the slot's thread; *word as it was seen. */
static bool died_waiting(struct tine__condition_slot_shm *slot, uint32_t *word)
{
    *word = word_of(slot);
    return waits(*word) && owner_died(slot);
}

static bool died_notified(struct tine__condition_slot_shm *slot, uint32_t *word)
{
    *word = word_of(slot);
    return is(*word, TINE__SLOT_NOTIFIED) && owner_died(slot);
}

static bool notified_one_died(struct tine__condition_shm *shm)
{
    uint32_t word;

    for (uint32_t i = 0, top = top_of(shm); i < top; i++)
        if (died_notified(&shm->slots[i], &word))
            return true;
    return false;
}

/* The dead that wait go first, so that nothing is passed on to them. */
static void sweep(struct tine__condition_shm *shm)
{
    uint32_t word;

    for (uint32_t i = 0, top = top_of(shm); i < top; i++)
        if (died_waiting(&shm->slots[i], &word))
            change(&shm->slots[i], word, TINE__SLOT_FREE);
    for (uint32_t i = 0, top = top_of(shm); i < top; i++)
        if (died_notified(&shm->slots[i], &word)) {
            notify_oldest(shm, 1, NULL);
            change(&shm->slots[i], word, TINE__SLOT_FREE);
        }
}

static bool lock_is_lost(const struct tine__lock_shm *lock)
{
    return (atomic_load_explicit(&lock->kind, memory_order_relaxed) & TINE__LOCK_STATES) ==
           TINE__LOCK_LOST;
}

static uint32_t deaths_of(const struct tine__lock_shm *lock)
{
    return atomic_load_explicit(&lock->deaths, memory_order_relaxed);
}

/*
 * Has its holder died? Who holds it is recorded; that he is alive is what the try finds out, even
 * where /proc cannot tell (a single thread, another pid namespace). -EOWNERDEAD: he was dead, and
 * the caller has the lock now.
 */
static int look_at_lock(const struct wait *wait)
{
    struct tine__lock_shm *lock = wait->lock;
    uint32_t depth;
    int rc;

    if (tine__lock_holder(lock) == 0)
        return 0;
    rc = tine__lock_reacquire(lock, wait->depth, 0);
    if (rc == 0)
        return tine__lock_release_all(lock, &depth);
    return rc == -EAGAIN ? 0 : rc;
}

/* 0: sleep on; GO: a death in the lock ends this wait; -EOWNERDEAD: and the lock is held now. */
static int look(const struct wait *wait)
{
    int rc;

    if (deaths_of(wait->lock) != wait->deaths || lock_is_lost(wait->lock))
        return GO;
    rc = look_at_lock(wait);
    if (rc < 0)
        return rc == -EOWNERDEAD ? rc : GO;
    if (notified_one_died(wait->shm))
        sweep(wait->shm);
    return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static struct tine__condition_slot_shm *find_free(struct tine__condition_shm *shm)
{
    for (uint32_t i = 0; i < shm->slot_count; i++)
        if (is(word_of(&shm->slots[i]), TINE__SLOT_FREE))
            return &shm->slots[i];
    return NULL;
}

/* Under the lock. The slot is this thread's once `word` is stored. */
static void claim(struct wait *wait)
{
    const struct tine__self *self = wait->self;
    struct tine__condition_shm *shm = wait->shm;
    struct tine__condition_slot_shm *slot = wait->slot;
    uint32_t word = word_of(slot), end = (uint32_t)(slot - shm->slots) + 1;
    uint64_t ticket = atomic_load_explicit(&shm->next_ticket, memory_order_relaxed);

    atomic_store_explicit(&shm->next_ticket, ticket + 1, memory_order_relaxed);
    /* pairs with the acquire in owner_died */
    atomic_store_explicit(&slot->owner, self->process, memory_order_release);
    atomic_store_explicit(&slot->ticket, ticket, memory_order_relaxed);
    atomic_store_explicit(&slot->tid, self->tid, memory_order_relaxed);
    if (end > top_of(shm))
        atomic_store_explicit(&shm->top, end, memory_order_relaxed);
    word += TINE__SLOT_GENERATION + TINE__SLOT_WAITING;
    wait->asleep = word | TINE__SLOT_ASLEEP;
    /* pairs with the acquire in word_of */
    atomic_store_explicit(&slot->word, word, memory_order_release);
}

static int begin(struct wait *wait)
{
    wait->slot = find_free(wait->shm);
    if (wait->slot == NULL) {
        sweep(wait->shm);
        wait->slot = find_free(wait->shm);
    }
    if (wait->slot == NULL)
        return -ENOLCK;
    wait->deaths = deaths_of(wait->lock);
    claim(wait);
    return 0;
}

static bool still_waits(const struct wait *wait)
{
    uint32_t word = word_of(wait->slot);

    return waits(word) && (word | TINE__SLOT_ASLEEP) == wait->asleep;
}

static bool spin_while(bool (*condition)(const struct wait *), const struct wait *wait,
                       uint32_t spin_ns)
{
    int64_t end = tine__now_ns() + spin_ns;

    do
        for (int i = 0; i < SPIN_LOOKS_A_CLOCK; i++) {
            if (!condition(wait))
                return true;
            tine__cpu_relax();
        }
    while (tine__now_ns() < end);
    return false;
}

static bool lock_is_held(const struct wait *wait)
{
    return tine__lock_holder(wait->lock) != 0;
}

/* True: notified, and most likely the notifier has released the lock. */
static bool spin(const struct wait *wait)
{
    struct tine__self *self = wait->self;

    if (self->spin_ns < SPIN_NS_MIN) {
        if (++self->sleeps % SPIN_EVERY != 0)
            return false;
        self->spin_ns = SPIN_NS;
    }
    if (!spin_while(still_waits, wait, self->spin_ns)) {
        self->spin_ns = self->spin_ns * 3 / 4;
        return false;
    }
    self->spin_ns = SPIN_NS;
    spin_while(lock_is_held, wait, SPIN_NS);
    return true;
}

/* Until notified, or the deadline: 0. Or until a look ends it: as look(). */
static int sleep_until(const struct wait *wait, tine__deadline deadline)
{
    change(wait->slot, wait->asleep - TINE__SLOT_ASLEEP + TINE__SLOT_WAITING, TINE__SLOT_ASLEEP);
    for (;;) {
        int64_t left = tine__deadline_left(deadline);
        int64_t slice = left < TINE__LOOK_NS ? left : TINE__LOOK_NS;
        int rc = -ETIMEDOUT;

        if (slice > 0)
            rc = tine__sys_futex_wait(&wait->slot->word, wait->asleep, slice);
        if (!still_waits(wait))
            return 0;
        if (rc != -ETIMEDOUT)
            continue;
        rc = look(wait);
        if (rc != 0 || slice == left)
            return rc;
    }
}

/* Frees the slot; true: it had been notified. */
static bool end(const struct wait *wait)
{
    for (;;) {
        uint32_t word = word_of(wait->slot);

        if ((word | TINE__SLOT_ASLEEP) != wait->asleep)
            return true; /* not ours any more */
        if (change(wait->slot, word, TINE__SLOT_FREE))
            return !waits(word);
    }
}

/* Under the lock, without which nobody claims. */
static void lower_top(struct tine__condition_shm *shm)
{
    uint32_t top = top_of(shm), lower = top;

    while (lower > 0 && is(word_of(&shm->slots[lower - 1]), TINE__SLOT_FREE))
        lower--;
    if (lower != top)
        atomic_store_explicit(&shm->top, lower, memory_order_relaxed);
}

/* The lock is held by the caller. */
static int wait_until(struct tine__condition_shm *shm, tine__deadline deadline)
{
    struct wait wait = {.shm = shm, .lock = lock_of(shm), .self = tine__self()};
    int rc = begin(&wait), slept = 0;
    bool woken;

    if (rc < 0)
        return rc;
    rc = tine__lock_release_all(wait.lock, &wait.depth);
    if (rc < 0) {
        end(&wait);
        return rc;
    }
    if (tine__deadline_left(deadline) < SPIN_NS || !spin(&wait))
        slept = sleep_until(&wait, deadline);
    rc = slept == -EOWNERDEAD ? slept : tine__lock_reacquire(wait.lock, wait.depth, TINE_FOREVER);
    woken = end(&wait);
    if (rc == 0 || rc == -EOWNERDEAD)
        lower_top(shm);
    if (rc < 0)
        return rc;
    return woken || slept == GO ? 0 : -ETIMEDOUT;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int check_options(const tine_condition_options *options)
{
    if (options == NULL)
        return 0;
    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    return options->flags != 0 || options->slots > SLOTS_MAX ? -EINVAL : 0;
}

static int init(struct tine__condition_shm *shm, struct tine__lock_shm *lock,
                const tine_condition_options *options)
{
    uint32_t slots = options == NULL || options->slots == 0 ? TINE_CONDITION_SLOTS : options->slots;
    int rc = check_options(options);

    if (rc < 0)
        return rc;
    if (shm == NULL || (uintptr_t)shm % _Alignof(struct tine__condition_shm) != 0 ||
        !tine__lock_usable(lock))
        return -EINVAL;
    atomic_store_explicit(&shm->magic, 0, memory_order_release);
    memset(shm, 0, TINE_CONDITION_SIZE(slots));
    shm->slot_count = slots;
    shm->lock_distance = (int64_t)((uintptr_t)lock - (uintptr_t)shm);
    /* pairs with the acquire in usable */
    atomic_store_explicit(&shm->magic, TINE__CONDITION_MAGIC, memory_order_release);
    return 0;
}

int tine_condition_init(tine_condition *condition, tine_lock *lock,
                        const tine_condition_options *options)
{
    struct tine__lock_shm *shm = (struct tine__lock_shm *)(void *)lock;

    if (!tine__lock_is(shm, TINE__LOCK_PLAIN))
        return -EINVAL;
    return init(shared(condition), shm, options);
}

int tine_condition_init_rlock(tine_condition *condition, tine_rlock *lock,
                              const tine_condition_options *options)
{
    struct tine__lock_shm *shm = (struct tine__lock_shm *)(void *)lock;

    if (!tine__lock_is(shm, TINE__LOCK_NESTING))
        return -EINVAL;
    return init(shared(condition), shm, options);
}

void tine_condition_fini(tine_condition *condition)
{
    if (usable(shared(condition)))
        atomic_store_explicit(&shared(condition)->magic, 0, memory_order_release);
}

/* ---- using ----------------------------------------------------------------------------------- */

static int check_use(struct tine__condition_shm *shm)
{
    if (!usable(shm))
        return -EINVAL;
    return tine__lock_is_mine(lock_of(shm)) ? 0 : -EPERM;
}

/* Without a timeout nothing has been waited for. */
static int timed_out(int rc, int64_t timeout_ns)
{
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

int tine_condition_wait(tine_condition *condition, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = check_use(shared(condition));

    if (rc == 0)
        rc = wait_until(shared(condition), deadline);
    return timed_out(rc, timeout_ns);
}

int tine_condition_wait_for(tine_condition *condition, tine_condition_predicate *predicate,
                            void *argument, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = predicate == NULL ? -EINVAL : check_use(shared(condition));

    if (rc < 0)
        return rc;
    while (!predicate(argument)) {
        if (rc == -ETIMEDOUT)
            return timed_out(rc, timeout_ns);
        rc = wait_until(shared(condition), deadline);
        if (rc < 0 && rc != -ETIMEDOUT)
            return rc;
    }
    return 0;
}

int tine_condition_notify(tine_condition *condition, uint32_t n)
{
    int rc = check_use(shared(condition));

    return rc < 0 ? rc : (int)notify_oldest(shared(condition), n, tine__self());
}

int tine_condition_notify_all(tine_condition *condition)
{
    int rc = check_use(shared(condition));

    return rc < 0 ? rc : (int)notify_each(shared(condition), tine__self());
}
