/* SPDX-License-Identifier: MIT */
/*
 * Barriers: all that a round is stands in one word, and every change of it is one atomic step.
 *
 * An arrival adds one to the count; the last one ends the round, or marks it acting and ends it
 * after the action. A round ends well or broken, once: who waits remembers the word of its arrival,
 * and tells from round, epoch and history of any later word how its own round ended. So nobody has
 * to wait until others have woken, and a reset may come at any time.
 *
 * Parties are processes, listed in party[] before they are counted; whoever sleeps looks at most
 * every 25 ms, and at least every 75 ms, whether the listed ones live, and breaks the round if not.
 * A new party looks before it is listed, so that it can't fill the place of a dead one that has
 * arrived. A party counts for one epoch. A reset breaks the round, lists the living for the next
 * epoch, forgets the dead, and opens the next epoch by one step. The epoch in a slot is modulo 4: a
 * thread that stands still between reading a slot and replacing it, while 2 or more resets pass and
 * the slot comes to hold the same again, can make one party uncounted until its next arrival.
 *
 * What a kill leaves: listed and not counted, counted, acting: the party is dead, the round breaks.
 * Ended or broken without a wake-up: the sleepers' look. In a reset: still broken, some listed for
 * the next epoch already; the next reset goes on. All in shared memory; a forked child is not
 * listed.
 */
#include "shm/barrier.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <tine/barrier.h>
#include <tine/cpu.h>
#include <tine/error.h>

#include "lib/reserved.h"
#include "lib/sys.h"
#include "shm/owner.h"

_Static_assert(offsetof(struct tine__barrier_shm, party) + TINE_BARRIER_SLOTS * sizeof(uint64_t) <=
                   sizeof(tine_barrier),
               "opaque is large enough");
_Static_assert(offsetof(struct tine__barrier_shm, party) == 128, "as doc/shm-layout.md says");
_Static_assert(_Alignof(struct tine__barrier_shm) <= _Alignof(tine_barrier), "opaque is aligned");

#define COUNT  TINE__BARRIER_COUNT
#define BROKEN TINE__BARRIER_BROKEN
#define ACTING TINE__BARRIER_ACTING

#define SLOTS_MAX          65536
#define SPIN_NS            5000
#define SPIN_LOOKS_A_CLOCK 16
#define FULL_SPIN_EVERY    64 /* sleeps: now and then see whether spinning pays again */

enum { PENDING = 1, CHANGED = 1 };

/* What a caller of wait wants. */
struct visit {
    tine_barrier_action *action;
    void *argument;
    tine__deadline deadline;
    bool only_last; /* timeout 0 */
};

static struct tine__barrier_shm *barrier_of(const tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = (struct tine__barrier_shm *)(uintptr_t)barrier;

    /* acquire: pairs with the release in init */
    if (barrier == NULL ||
        atomic_load_explicit(&shared->kind, memory_order_acquire) != TINE__BARRIER_KIND)
        return NULL;
    return shared;
}

/* ---- the word -------------------------------------------------------------------------------- */

static uint32_t count_of(uint64_t word)
{
    return (uint32_t)(word & COUNT);
}

static uint32_t round_of(uint64_t word)
{
    return (uint32_t)(word >> TINE__BARRIER_ROUND);
}

static uint32_t epoch_of(uint64_t word)
{
    return (uint32_t)(word >> TINE__BARRIER_EPOCH) % TINE__BARRIER_EPOCHS;
}

static uint32_t history_of(uint64_t word)
{
    return (uint32_t)(word >> TINE__BARRIER_HISTORY) & ((1u << TINE__BARRIER_PAST_ROUNDS) - 1);
}

static uint64_t broken_word(uint64_t word)
{
    return (word & ~(COUNT | ACTING)) | BROKEN;
}

/* The next round; after a broken one also the next epoch. */
static uint64_t next_round(uint64_t word)
{
    uint64_t broken = (word & BROKEN) != 0, round = round_of(word) + 1;
    uint64_t epoch = (epoch_of(word) + broken) % TINE__BARRIER_EPOCHS;
    uint64_t history = (history_of(word) << 1 | broken) & ((1u << TINE__BARRIER_PAST_ROUNDS) - 1);

    return (round & UINT32_MAX) << TINE__BARRIER_ROUND | epoch << TINE__BARRIER_EPOCH |
           history << TINE__BARRIER_HISTORY;
}

/* How the round of `mine` has ended: 0, TINE_EBROKEN, or PENDING. */
static int outcome(uint64_t now, uint64_t mine)
{
    uint32_t later = round_of(now) - round_of(mine);

    if (later == 0)
        return (now & BROKEN) != 0 ? TINE_EBROKEN : PENDING;
    if (epoch_of(now) == epoch_of(mine)) /* broken rounds end with their epoch */
        return 0;
    if (later <= TINE__BARRIER_PAST_ROUNDS)
        return (history_of(now) >> (later - 1) & 1) != 0 ? TINE_EBROKEN : 0;
    return TINE_EBROKEN;
}

static uint64_t load(const struct tine__barrier_shm *shared)
{
    return atomic_load_explicit(&shared->word, memory_order_seq_cst);
}

/* seq_cst: against tine__waiters_join and against party[]; when it fails, *expected is the word. */
static bool change(struct tine__barrier_shm *shared, uint64_t *expected, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&shared->word, expected, next,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

/* Whatever round there is: afterwards it is broken. The word then. */
static uint64_t break_now(struct tine__barrier_shm *shared)
{
    uint64_t now = load(shared);

    while ((now & BROKEN) == 0)
        if (change(shared, &now, broken_word(now)))
            now = broken_word(now);
    /* Also if it was broken before: by one, perhaps, who was killed before he woke anybody. */
    tine__waiters_wake_all(&shared->waiters);
    return now;
}

/* Breaks the round of `mine`. False: it has ended by itself. */
static bool break_round(struct tine__barrier_shm *shared, uint64_t mine)
{
    uint64_t now = load(shared);

    while (outcome(now, mine) == PENDING)
        if (change(shared, &now, broken_word(now))) {
            tine__waiters_wake_all(&shared->waiters);
            return true;
        }
    return false;
}

/* ---- parties --------------------------------------------------------------------------------- */

/* The epoch for which a process registers: of a broken barrier, the next one. */
static uint32_t target_epoch(uint64_t word)
{
    return (epoch_of(word) + ((word & BROKEN) != 0)) % TINE__BARRIER_EPOCHS;
}

static uint32_t ahead_of(uint64_t party, uint32_t epoch)
{
    return (uint32_t)(party - epoch) & TINE__OWNER_MARKS;
}

static uint64_t with_epoch(uint64_t party, uint32_t epoch)
{
    return (party & ~TINE__OWNER_MARKS) | (epoch & TINE__OWNER_MARKS);
}

static bool is_free(uint64_t party, uint64_t word)
{
    uint32_t ahead = ahead_of(party, target_epoch(word));

    if (party == 0)
        return true;
    /* A broken barrier's parties are those of its own epoch until the reset. */
    return ahead != 0 && !(ahead == 3 && (word & BROKEN) != 0);
}

static bool replace(_Atomic uint64_t *slot, uint64_t party, uint64_t by)
{
    return atomic_compare_exchange_strong_explicit(slot, &party, by, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

static bool any_dead(const struct tine__barrier_shm *shared, uint64_t word)
{
    for (uint32_t i = 0; i < shared->slots; i++) {
        uint64_t party = atomic_load_explicit(&shared->party[i], memory_order_seq_cst);

        if (party != 0 && ahead_of(party, epoch_of(word)) == 0 && !tine__owner_word_lives(party))
            return true;
    }
    return false;
}

/* One of all sleepers is enough: a look reads a file for each party. */
static void look(struct tine__barrier_shm *shared, uint64_t mine)
{
    if (tine__look_due(&shared->looked) && any_dead(shared, mine))
        break_round(shared, mine);
}

/*
 * Puts a party into a slot that held `old`, if the epoch is still that of the word. As `old` was
 * read before the epoch is confirmed, a party of a later epoch is never replaced by one of an
 * earlier.
 */
static int fill_slot(struct tine__barrier_shm *shared, uint64_t word, _Atomic uint64_t *slot,
                     uint64_t old, uint64_t party)
{
    if (target_epoch(load(shared)) != target_epoch(word) || !replace(slot, old, party))
        return CHANGED;
    return 0;
}

static _Atomic uint64_t *find_slot(struct tine__barrier_shm *shared, uint32_t first, uint64_t party)
{
    for (uint32_t i = 0; i < shared->slots; i++) {
        _Atomic uint64_t *slot = &shared->party[(first + i) % shared->slots];

        if (tine__owner_word_same(atomic_load_explicit(slot, memory_order_seq_cst), party))
            return slot;
    }
    return NULL;
}

static int take_slot(struct tine__barrier_shm *shared, uint64_t word, uint32_t first,
                     uint64_t party)
{
    for (uint32_t i = 0; i < shared->slots; i++) {
        _Atomic uint64_t *slot = &shared->party[(first + i) % shared->slots];
        uint64_t old = atomic_load_explicit(slot, memory_order_seq_cst);

        if (is_free(old, word))
            return fill_slot(shared, word, slot, old, party);
        if (tine__owner_word_same(old, party)) /* another thread was quicker */
            return CHANGED;
    }
    return -ENOLCK;
}

static int enlist_slow(struct tine__barrier_shm *shared, uint64_t word, uint32_t first,
                       uint64_t party)
{
    _Atomic uint64_t *slot = find_slot(shared, first, party);
    uint64_t old;

    if (slot == NULL) {
        if (any_dead(shared, word) && break_round(shared, word))
            return CHANGED;
        return take_slot(shared, word, first, party);
    }
    old = atomic_load_explicit(slot, memory_order_seq_cst);
    if (old == party)
        return 0;
    return tine__owner_word_same(old, party) ? fill_slot(shared, word, slot, old, party) : CHANGED;
}

/* Registers this process: 0, -ENOLCK, or CHANGED: the word is another by now. */
static int enlist(struct tine__barrier_shm *shared, uint64_t word)
{
    uint64_t party = with_epoch(tine__owner_word(), target_epoch(word));
    uint64_t hash = (party & ~TINE__OWNER_MARKS) * 0x9e3779b97f4a7c15u >> 32;
    uint32_t first = (uint32_t)(hash * shared->slots >> 32);

    if (atomic_load_explicit(&shared->party[first], memory_order_relaxed) == party)
        return 0;
    return enlist_slow(shared, word, first, party);
}

/*
 * Of a broken barrier: lists those who live for the next epoch, and forgets the dead. Each slot was
 * read, and a death seen, before the barrier is found still broken: so nothing of a later epoch is
 * undone.
 */
static void carry_over(struct tine__barrier_shm *shared, uint64_t word)
{
    for (uint32_t i = 0; i < shared->slots; i++) {
        uint64_t party = atomic_load_explicit(&shared->party[i], memory_order_seq_cst), next = 0;

        if (party == 0)
            continue;
        if (tine__owner_word_lives(party))
            next = with_epoch(party, target_epoch(word));
        if (load(shared) != word) /* another reset was quicker */
            return;
        if (next != party)
            replace(&shared->party[i], party, next);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Spins while that has paid lately; every 64th time tries again whether it does. */
static int64_t spin_budget(const struct tine__barrier_shm *shared)
{
    uint32_t sleeps = atomic_load_explicit(&shared->sleeps, memory_order_relaxed);

    if (sleeps % FULL_SPIN_EVERY == 0)
        return shared->spin_max_ns;
    return atomic_load_explicit(&shared->spin_ns, memory_order_relaxed);
}

static void spin_paid(struct tine__barrier_shm *shared, int64_t budget, bool paid)
{
    uint32_t old = atomic_load_explicit(&shared->spin_ns, memory_order_relaxed);
    uint32_t next = budget < 200 ? 0 : (uint32_t)budget * 3 / 4;

    if (paid)
        next = shared->spin_max_ns;
    else
        atomic_fetch_add_explicit(&shared->sleeps, 1, memory_order_relaxed);
    if (next != old)
        atomic_store_explicit(&shared->spin_ns, next, memory_order_relaxed);
}

static int spin(struct tine__barrier_shm *shared, uint64_t mine)
{
    int64_t budget = spin_budget(shared), end;
    int rc = PENDING;

    if (shared->spin_max_ns == 0)
        return PENDING;
    end = budget == 0 ? 0 : tine__now_ns() + budget;
    while (budget != 0 && rc == PENDING && tine__now_ns() < end)
        for (int i = 0; i < SPIN_LOOKS_A_CLOCK && rc == PENDING; i++) {
            tine__cpu_relax();
            /* acquire: pairs with the change that ended the round */
            rc = outcome(atomic_load_explicit(&shared->word, memory_order_acquire), mine);
        }
    spin_paid(shared, budget, rc != PENDING);
    return rc;
}

/* Until the round of `mine` has ended: 0, TINE_EBROKEN, -ETIMEDOUT (it may have ended even so). */
static int await_end(struct tine__barrier_shm *shared, uint64_t mine, tine__deadline deadline)
{
    int rc = spin(shared, mine);

    while (rc == PENDING) {
        uint32_t turn = tine__waiters_join(&shared->waiters);

        rc = outcome(load(shared), mine);
        if (rc != PENDING)
            break;
        if (tine__waiters_sleep(&shared->waiters, turn, deadline) < 0)
            return -ETIMEDOUT;
        rc = outcome(load(shared), mine);
        if (rc == PENDING)
            look(shared, mine);
    }
    return rc;
}

static bool completes(const struct tine__barrier_shm *shared, uint64_t word)
{
    return count_of(word) + 1 == shared->parties;
}

static uint64_t arrival(const struct tine__barrier_shm *shared, uint64_t word, bool acts)
{
    if (!completes(shared, word))
        return word + 1;
    return acts ? (word + 1) | ACTING : next_round(word);
}

/* Counts the caller: 0 and the word before in *mine, or a negative code. */
static int arrive(struct tine__barrier_shm *shared, const struct visit *visit, uint64_t *mine)
{
    uint64_t word = load(shared);
    int rc = CHANGED;

    for (;; word = load(shared)) {
        if ((word & BROKEN) != 0)
            return TINE_EBROKEN;
        if (visit->only_last && ((word & ACTING) != 0 || !completes(shared, word)))
            return -EAGAIN;
        if ((word & ACTING) != 0) {
            rc = await_end(shared, word, visit->deadline);
            if (rc == -ETIMEDOUT)
                return rc;
            continue;
        }
        *mine = word;
        rc = enlist(shared, word);
        if (rc < 0 ||
            (rc == 0 && change(shared, &word, arrival(shared, word, visit->action != NULL))))
            return rc;
    }
}

/* As the last to arrive. The word can only change by being broken meanwhile. */
static int act(struct tine__barrier_shm *shared, const struct visit *visit, uint64_t mine)
{
    uint64_t acting = arrival(shared, mine, true);
    int rc = visit->action(visit->argument);

    if (rc < 0) {
        break_round(shared, mine);
        return rc;
    }
    if (!change(shared, &acting, next_round(acting)))
        return TINE_EBROKEN;
    tine__waiters_wake_all(&shared->waiters);
    return 0;
}

static int stay(struct tine__barrier_shm *shared, const struct visit *visit, uint64_t mine)
{
    int rc = await_end(shared, mine, visit->deadline);

    if (rc != -ETIMEDOUT || break_round(shared, mine))
        return rc;
    return outcome(load(shared), mine);
}

int tine_barrier_wait_action(tine_barrier *barrier, tine_barrier_action *action, void *argument,
                             int64_t timeout_ns)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);
    struct visit visit = {.action = action, .argument = argument, .only_last = timeout_ns == 0};
    uint64_t mine;
    int rc;

    if (shared == NULL)
        return -EINVAL;
    if (timeout_ns < 0 && shared->timeout_ns != 0)
        timeout_ns = shared->timeout_ns;
    visit.deadline = tine__deadline_after(timeout_ns);
    rc = arrive(shared, &visit, &mine);
    if (rc < 0)
        return rc;
    if (!completes(shared, mine))
        rc = stay(shared, &visit, mine);
    else if (action != NULL)
        rc = act(shared, &visit, mine);
    else
        tine__waiters_wake_all(&shared->waiters);
    return rc < 0 ? rc : (int)count_of(mine);
}

int tine_barrier_wait(tine_barrier *barrier, int64_t timeout_ns)
{
    return tine_barrier_wait_action(barrier, NULL, NULL, timeout_ns);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int check_options(const tine_barrier_options *options)
{
    if (options->timeout_ns < 0 || options->slots > SLOTS_MAX)
        return -EINVAL;
    return TINE__RESERVED_SET(options->reserved) || options->reserved32 != 0 ? -E2BIG : 0;
}

static uint32_t choose_spin(int parties, const tine_barrier_options *options)
{
    if (options->spin_ns < 0)
        return 0;
    if (options->spin_ns > 0)
        return options->spin_ns < INT32_MAX ? (uint32_t)options->spin_ns : INT32_MAX;
    return parties <= tine_cpu_count() ? SPIN_NS : 0;
}

int tine_barrier_init(tine_barrier *barrier, int parties, const tine_barrier_options *options)
{
    static const tine_barrier_options defaults;
    struct tine__barrier_shm *shared = (struct tine__barrier_shm *)barrier;
    uint32_t slots;
    int rc;

    if (options == NULL)
        options = &defaults;
    rc = check_options(options);
    if (rc == 0 && (barrier == NULL || parties < 1 || parties > TINE_BARRIER_PARTIES_MAX))
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    slots = options->slots != 0 ? options->slots : TINE_BARRIER_SLOTS;
    memset(barrier, 0, TINE_BARRIER_SIZE(slots));
    shared->parties = (uint32_t)parties;
    shared->slots = slots;
    shared->spin_max_ns = choose_spin(parties, options);
    shared->timeout_ns = options->timeout_ns;
    /* pairs with the acquire in barrier_of */
    atomic_store_explicit(&shared->kind, TINE__BARRIER_KIND, memory_order_release);
    return 0;
}

void tine_barrier_fini(tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);

    if (shared != NULL)
        atomic_store_explicit(&shared->kind, 0, memory_order_release);
}

int tine_barrier_join(tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);
    uint64_t word;
    int rc;

    if (shared == NULL)
        return -EINVAL;
    /* Until the epoch was the same before and after: a reset then finds this party to carry
       over. */
    do {
        word = load(shared);
        rc = enlist(shared, word);
    } while (rc >= 0 && (rc == CHANGED || target_epoch(load(shared)) != target_epoch(word)));
    return rc;
}

int tine_barrier_leave(tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);
    uint64_t self = tine__owner_word();

    if (shared == NULL)
        return -EINVAL;
    for (uint32_t i = 0; i < shared->slots; i++) {
        uint64_t party = atomic_load_explicit(&shared->party[i], memory_order_seq_cst);

        /* again, when a reset carries it over at this moment */
        while (tine__owner_word_same(party, self) &&
               !atomic_compare_exchange_weak_explicit(&shared->party[i], &party, 0,
                                                      memory_order_seq_cst, memory_order_seq_cst))
            ;
    }
    return 0;
}

int tine_barrier_reset(tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);
    uint64_t word;

    if (shared == NULL)
        return -EINVAL;
    word = break_now(shared);
    carry_over(shared, word);
    /* If it fails, another reset has done it since this one began. */
    (void)change(shared, &word, next_round(word));
    return 0;
}

int tine_barrier_abort(tine_barrier *barrier)
{
    struct tine__barrier_shm *shared = barrier_of(barrier);

    if (shared == NULL)
        return -EINVAL;
    (void)break_now(shared);
    return 0;
}

/* ---- queries --------------------------------------------------------------------------------- */

int tine_barrier_parties(const tine_barrier *barrier)
{
    const struct tine__barrier_shm *shared = barrier_of(barrier);

    return shared == NULL ? -EINVAL : (int)shared->parties;
}

int tine_barrier_n_waiting(const tine_barrier *barrier)
{
    const struct tine__barrier_shm *shared = barrier_of(barrier);

    return shared == NULL ? -EINVAL : (int)count_of(load(shared));
}

int tine_barrier_broken(const tine_barrier *barrier)
{
    const struct tine__barrier_shm *shared = barrier_of(barrier);

    return shared == NULL ? -EINVAL : (load(shared) & BROKEN) != 0;
}
