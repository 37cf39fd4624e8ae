/* SPDX-License-Identifier: MIT */
/*
 * The family's CPU budget: which pools there are, and so whether it is in force; see pool/token.c
 * for what it does then.
 *
 * A family with one pool has none: the root names that pool's opener. Who opens a second one makes
 * the budget, enters both, and swaps the root. From then on an opener enters its word
 * (pool/budget.h), and sets `active` by what it counts; so does who closes. Of two that do so at
 * once the later one has counted what the other had entered, for it read `active` after the other
 * had swapped it.
 *
 * A process killed before it has entered left nothing; killed after, with or without having
 * counted, it is found dead by its word: by the nursery whose worker it was, by the next opener, or
 * by a worker that waits. Too few claims at a time are all that a stale count costs.
 */
#include "pool/budget.h"

#include <limits.h>
#include <string.h>

#include <tine/heap.h>

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

/* ---- opening and closing --------------------------------------------------------------------- */

/* With the entry of the pool that was the only one. NULL: no memory. */
static struct tine__budget_shm *make_budget(uint64_t first)
{
    struct tine__budget_shm *made = tine_aligned_alloc(TINE__LINE, sizeof *made);

    if (made == NULL)
        return NULL;
    memset(made, 0, sizeof *made);
    atomic_init(&made->cpus, 1);
    atomic_init(&made->pools[0], first);
    return made;
}

static void enter_pool(struct tine__budget_shm *budget, uint64_t own, int cpus)
{
    atomic_store_explicit(&budget->cpus,
                          cpus < TINE__BUDGET_TOKENS ? (uint32_t)cpus : TINE__BUDGET_TOKENS,
                          memory_order_relaxed);
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++)
        if (swap(&budget->pools[i], 0, own))
            break; /* where there is no room, there are enough to be many */
    tine__budget_judge(budget);
}

void tine__budget_enter(int cpus)
{
    _Atomic uint64_t *root = tine__budget_root();
    uint64_t own = tine__owner_word();

    for (;;) {
        uint64_t at = atomic_load_explicit(root, memory_order_acquire);
        bool sole = (at & TINE__BUDGET_SOLE) != 0;
        struct tine__budget_shm *made;

        if (at == 0 || (sole && !tine__owner_word_lives(at))) {
            if (swap(root, at, own | TINE__BUDGET_SOLE))
                return;
        } else if (!sole) {
            enter_pool(TINE__AT(struct tine__budget_shm, at), own, cpus);
            return;
        } else {
            made = make_budget(at & ~TINE__BUDGET_SOLE);
            if (made == NULL) /* the pools go without */
                return;
            if (!swap(root, at, TINE__ADDRESS(made)))
                tine_free(made);
        }
    }
}

void tine__budget_leave(void)
{
    _Atomic uint64_t *root = tine__budget_root();
    uint64_t own = tine__owner_word();
    struct tine__budget_shm *budget;

    if (swap(root, own | TINE__BUDGET_SOLE, 0))
        return;
    budget = tine__budget(root);
    if (budget == NULL)
        return;
    for (uint32_t i = 0; i < TINE__BUDGET_POOLS; i++)
        if (swap(&budget->pools[i], own, 0))
            break;
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
