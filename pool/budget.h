/* SPDX-License-Identifier: MIT */
/* clang-format off: it takes the table for a paragraph. */
/*
 * The family's CPU budget: as many tokens as there are usable CPUs, for all pools together.
 *
 * field    who writes                                  who reads          order
 * -------  ------------------------------------------  -----------------  ------------------------------
 * active   who opens, closes, or looks, by CAS         workers            relaxed: a claim too many
 * cpus     who opens or closes, or looks               workers            relaxed
 * looked,  who looks                                   the same           relaxed
 * judged,
 * counted,
 * turn
 * waiting  see shm/waiters.h                           the same           seq_cst, against tokens
 * pools    the opener 0 → a word → 0; who finds it     who opens, closes  seq_cst, against active
 *          dead → 0
 * usable   the opener; who looks                       the same           relaxed: a claim too many
 * tokens   a worker 0 → its word → 0; who finds it     workers            seq_cst, against waiting
 *          dead or asleep → 0
 */
/* clang-format on */
#ifndef TINE_POOL_BUDGET_H
#define TINE_POOL_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/layout.h"

#define TINE__BUDGET_POOLS  256
#define TINE__BUDGET_TOKENS 1024 /* more CPUs are not told apart */

struct tine__budget_shm {
    alignas(TINE__LINE) _Atomic uint64_t active; /* changes << 1 | claims are gated */
    _Atomic uint32_t cpus;
    _Atomic uint32_t turn; /* the next entry whose CPUs are counted */
    /* ns: after sleeping holders; after dead pools; after CPUs */
    _Atomic uint64_t looked, judged, counted;
    struct tine__waiters_shm waiting;
    /* A pool: the owner word of its nursery, or of the process whose threads its workers are. */
    alignas(TINE__LINE) _Atomic uint64_t pools[TINE__BUDGET_POOLS];
    /* CPUs that this process can use; above them TINE__BUDGET_GIVEN */
    _Atomic uint32_t usable[TINE__BUDGET_POOLS];
    alignas(TINE__LINE) _Atomic uint64_t tokens[TINE__BUDGET_TOKENS];
};

#define TINE__BUDGET_GIVEN (UINT32_C(1) << 31) /* by TINE_CPU_COUNT: it stays */

/*
 * The family's root of it: 0, no pool is open; a word with this mark, the only pool's;
 * else the address of the budget, which is made when a second pool is opened and stays.
 */
#define TINE__BUDGET_SOLE UINT64_C(1)

_Atomic uint64_t *tine__budget_root(void);
struct tine__budget_shm *tine__budget(const _Atomic uint64_t *root); /* NULL: none yet */

/* Are claims gated? That is when the family has more than one pool. */
static inline bool tine__budget_in_force(const _Atomic uint64_t *root)
{
    /* acquire: the budget is whole */
    uint64_t at = atomic_load_explicit(root, memory_order_acquire);

    if (at == 0 || (at & TINE__BUDGET_SOLE) != 0)
        return false;
    return (atomic_load_explicit(&TINE__AT(struct tine__budget_shm, at)->active,
                                 memory_order_relaxed) &
            1) != 0;
}

/* A pool is opened, or has ended, whose word that is; its opener can use so many CPUs. */
void tine__budget_enter(uint64_t word, int cpus);
void tine__budget_leave(uint64_t word);
/* What waits for tokens of this family looks again at whether it wants them. */
void tine__budget_nudge(void);
/* Counts the pools anew. */
void tine__budget_judge(struct tine__budget_shm *budget);
/* Counts the CPUs of one more pool anew. False: this process cannot. */
bool tine__budget_recount(struct tine__budget_shm *budget);
/* A process that the caller has reaped, a worker of that pool. */
void tine__budget_forget(struct tine__pool_shm *pool, pid_t pid);

/* ---- token.c: a worker's side ---------------------------------------------------------------- */

/* A worker's hold on one. Private to its thread. */
struct tine__token {
    const _Atomic uint64_t *root;
    struct tine__pool_shm *pool;
    struct tine__worker_shm *worker;
    _Atomic uint64_t *place; /* where its word stands, unless it was taken away; NULL: nowhere */
    uint64_t word;           /* its thread's owner word; 0: not yet needed */
    uint64_t generation;
    uint32_t last;           /* the number of its last one */
    bool lent;               /* while it sleeps */
    bool blind;              /* it cannot count CPUs */
};

/* For who works without ever having one: as if there were no other pools. */
void tine__token_none(struct tine__token *token);
/* Before the worker's first claim; `budgeted` false: its claims are never gated. */
void tine__token_init(struct tine__token *token, struct tine__pool_shm *pool,
                      struct tine__worker_shm *worker, bool budgeted);
/*
 * Before a claim, while the budget is in force: waits for a token, as long as there is something to
 * be claimed, which `wanted` tells.
 */
void tine__token_await(struct tine__token *token, bool (*wanted)(void *context), void *context);
void tine__token_release(struct tine__token *token);
void tine__token_fini(struct tine__token *token); /* by the same thread */

#endif
