/* SPDX-License-Identifier: MIT */
/*
 * The family's CPU budget: which pools there are, and so whether it is in force; see pool/token.c
 * for what it does then.
 *
 * A pool stands here as the process that it cannot be without: its nursery, or the program whose
 * threads work. A family with one pool has no budget: the root names that pool. Who opens a second
 * one makes the budget, enters both, and swaps the root. From then on an opener enters its pool's
 * word, and sets `active` by what it counts; so does who ends a pool. Of two that do so at once the
 * later one has counted what the other had entered, for it read `active` after the other had
 * swapped it.
 *
 * A process killed before it has entered left nothing; killed after, with or without having
 * counted, its pool is found dead by its word: by a nursery that reaps it, by the next opener, or
 * by a worker that waits. Too few claims at a time are all that a stale count costs.
 *
 * There are as many tokens as the CPUs that any of the pools can use, so one that was opened by a
 * worker that may use fewer does not take them from the others. They are counted anew while workers
 * wait, one pool at a time, for control groups and CPU sets may change.
 */
#include "pool/budget.h"

#include <errno.h>
#include <string.h>

#include <tine/heap.h>

#include "lib/cpu.h"
#include "shm/heap.h"
#include "shm/owner.h"

_Atomic uint64_t *tine__budget_root(void)
{
    return tine__heap_root(TINE__ROOT_BUDGET);
}

struct tine__budget_shm *tine__budget(const _Atomic uint64_t *root)
{
    /* acquire: the budget is whole */
    uint64_t at = atomic_load_explicit(root, memory_order_acquire);

    return (at & TINE__BUDGET_SOLE) != 0 ? NULL : TINE__AT(struct tine__budget_shm, at);
}

static bool swap(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

/* ---- counting -------------------------------------------------------------------------------- */

/* Is there more than one pool? Entries of the dead are taken out in passing. */
static bool has_many(struct tine__budget_shm *budget)
{
    int count = 0;

    for (uint32_t i = 0; i < TINE__BUDGET_POOLS && count < 2; i++) {
        uint64_t word = atomic_load_explicit(&budget->pools[i], memory_order_seq_cst);

        if (word == 0)
            continue;
        if (tine__owner_word_lives(word))
            count++;
        else
            (void)swap(&budget->pools[i], word, 0);
    }
    return count >= 2;
}

void tine__budget_judge(struct tine__budget_shm *budget)
{
    uint64_t seen;
    bool many;

    do {
        seen = atomic_load_explicit(&budget->active, memory_order_seq_cst);
        many = has_many(budget);
    } while (!swap(&budget->active, seen, ((seen >> 1) + 1) << 1 | many));
    if (!many)
        tine__waiters_wake_all(&budget->waiting);
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* By what was counted last. */
static void settle_cpus(struct tine__budget_shm *budget)
{
    uint32_t before, most = 0;

    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++) {
        uint32_t usable = atomic_load_explicit(&budget->usable[i], memory_order_relaxed);

        if (atomic_load_explicit(&budget->pools[i], memory_order_relaxed) != 0 &&
            (usable & ~TINE__BUDGET_GIVEN) > most)
            most = usable & ~TINE__BUDGET_GIVEN;
    }
    if (most == 0) /* no pool is left */
        return;
    most = min(most, TINE__BUDGET_TOKENS);
    before = atomic_exchange_explicit(&budget->cpus, most, memory_order_seq_cst);
    if (most > before)
        tine__waiters_wake(&budget->waiting, (int)(most - before));
}

/* The entry whose turn it is, from this one on; TINE__BUDGET_POOLS: there is none. */
static uint32_t next_pool(const struct tine__budget_shm *budget, uint32_t first)
{
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++) {
        uint32_t entry = (first + i) % TINE__BUDGET_POOLS;

        if (atomic_load_explicit(&budget->pools[entry], memory_order_relaxed) != 0)
            return entry;
    }
    return TINE__BUDGET_POOLS;
}

bool tine__budget_recount(struct tine__budget_shm *budget)
{
    uint32_t entry = next_pool(budget, atomic_load_explicit(&budget->turn, memory_order_relaxed));
    uint32_t usable;
    uint64_t word;
    int count;

    if (entry == TINE__BUDGET_POOLS)
        return true;
    atomic_store_explicit(&budget->turn, entry + 1, memory_order_relaxed);
    usable = atomic_load_explicit(&budget->usable[entry], memory_order_relaxed);
    word = atomic_load_explicit(&budget->pools[entry], memory_order_relaxed);
    if ((usable & TINE__BUDGET_GIVEN) != 0 || !tine__owner_word_near(word))
        return true;
    count = tine__cpu_count_of(tine__owner_word_pid(word));
    if (count < 0)
        return count == -ESRCH || count == -ENOENT; /* it has just died */
    atomic_store_explicit(&budget->usable[entry], (uint32_t)count, memory_order_relaxed);
    settle_cpus(budget);
    return true;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static uint32_t usable_of_opener(int cpus)
{
    return (uint32_t)cpus | (tine__cpu_count_given() > 0 ? TINE__BUDGET_GIVEN : 0);
}

/*
 * With the entry of the pool that was the only one. Its opener's environment was the same, most
 * likely; what its nursery can use is counted soon. NULL: no memory.
 */
static struct tine__budget_shm *make_budget(uint64_t first, int cpus)
{
    struct tine__budget_shm *made = tine_aligned_alloc(TINE__LINE, sizeof *made);

    if (made == NULL)
        return NULL;
    memset(made, 0, sizeof *made);
    atomic_init(&made->cpus, 1);
    atomic_init(&made->usable[0], usable_of_opener(cpus));
    atomic_init(&made->pools[0], first);
    return made;
}

static void enter_pool(struct tine__budget_shm *budget, uint64_t word, int cpus)
{
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++)
        if (swap(&budget->pools[i], 0, word)) {
            atomic_store_explicit(&budget->usable[i], usable_of_opener(cpus), memory_order_relaxed);
            break;
        } /* where there is no room, there are enough to be many */
    settle_cpus(budget);
    tine__budget_judge(budget);
}

void tine__budget_enter(uint64_t word, int cpus)
{
    _Atomic uint64_t *root = tine__budget_root();

    for (;;) {
        uint64_t at = atomic_load_explicit(root, memory_order_acquire);
        bool sole = (at & TINE__BUDGET_SOLE) != 0;
        struct tine__budget_shm *made;

        if (at == 0 || (sole && !tine__owner_word_lives(at))) {
            if (swap(root, at, word | TINE__BUDGET_SOLE))
                return;
        } else if (!sole) {
            enter_pool(TINE__AT(struct tine__budget_shm, at), word, cpus);
            return;
        } else {
            made = make_budget(at & ~TINE__BUDGET_SOLE, cpus);
            if (made == NULL) /* the pools go without */
                return;
            if (!swap(root, at, TINE__ADDRESS(made)))
                tine_free(made);
        }
    }
}

void tine__budget_leave(uint64_t word)
{
    _Atomic uint64_t *root = tine__budget_root();
    struct tine__budget_shm *budget;

    if (swap(root, word | TINE__BUDGET_SOLE, 0))
        return;
    budget = tine__budget(root);
    if (budget == NULL)
        return;
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++)
        if (swap(&budget->pools[i], word, 0))
            break;
    settle_cpus(budget);
    tine__budget_judge(budget);
}

void tine__budget_nudge(void)
{
    struct tine__budget_shm *budget = tine__budget(tine__budget_root());

    if (budget != NULL)
        tine__waiters_wake_all(&budget->waiting);
}

/* ---- the dead -------------------------------------------------------------------------------- */

static bool forget(_Atomic uint64_t *place, pid_t pid)
{
    uint64_t word = atomic_load_explicit(place, memory_order_seq_cst);

    return word != 0 && tine__owner_word_pid(word) == pid && !tine__owner_word_lives(word) &&
           swap(place, word, 0);
}

void tine__budget_forget(struct tine__pool_shm *pool, pid_t pid)
{
    struct tine__budget_shm *budget = tine__budget(tine__budget_root());
    bool pools = false, tokens;

    if (budget == NULL)
        return;
    tokens = forget(&pool->pass, pid);
    for (uint32_t i = 0; i < TINE__BUDGET_TOKENS; i++)
        tokens = forget(&budget->tokens[i], pid) || tokens;
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++)
        pools = forget(&budget->pools[i], pid) || pools;
    if (pools)
        tine__budget_judge(budget);
    if (tokens)
        tine__waiters_wake_all(&budget->waiting);
}
