/* SPDX-License-Identifier: MIT */
/*
 * Tokens: a worker has one while it works, as long as the family has several pools (pool/budget.c).
 *
 * What is gated are claims: a worker that is about to claim waits for a token, with nothing in hand
 * but perhaps a loop's ticket, and keeps it until it finds nothing to do. A pool of which nobody
 * has a token has a *pass* besides, so each pool may always run one, and none waits for another's
 * work.
 *
 *     tokens[i], pool.pass:   0 ──CAS──► owner word of the worker's thread ──CAS──► 0
 *
 * Token and holder are one word, changed in one step, so a death at any instant leaves a word that
 * names the dead, and it is taken away: by the nursery, or by a worker that waits. Taken away is
 * also what is held by a thread that the kernel says is not running. A worker that sleeps in a call
 * of ours lends its token at once (lib/asleep.h), takes it back if it is still free, and else goes
 * on without until its next claim; one that sleeps elsewhere, or is stopped, loses it to the next
 * look. So nobody waits for a sleeper, whatever it waits for, and the only harm of a look at a
 * wrong moment is one that runs too many.
 *
 * Who waits sleeps on budget.waiting, 1 … 16 ms at a time; a wake-up that dies with its waker or
 * with who was woken is made good by that.
 */
#include "pool/budget.h"

#include <errno.h>

#include <tine/time.h>

#include "lib/asleep.h"
#include "lib/clock.h"
#include "lib/fork.h"
#include "shm/owner.h"

#define NAP_MIN_NS TINE_MS(1)
#define NAP_MAX_NS TINE_MS(16)
#define LOOK_NS    ((uint64_t)TINE_MS(4))   /* one look at all holders serves all who wait */
#define JUDGE_NS   ((uint64_t)TINE_MS(100)) /* so often after pools that died */
#define COUNT_NS   ((uint64_t)TINE_MS(20))  /* so often at the CPUs of one of the pools */

static _Thread_local struct tine__token *own __attribute__((tls_model("initial-exec")));

static bool swap(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    /* seq_cst: a release comes before its look at who waits, a join before the last try */
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

static bool holds(const struct tine__token *token)
{
    return token->place != NULL &&
           atomic_load_explicit(token->place, memory_order_relaxed) == token->word;
}

/* Are there still so many? */
static bool is_valid(const struct tine__token *token, const struct tine__budget_shm *budget)
{
    return token->place == &token->pool->pass ||
           token->last < atomic_load_explicit(&budget->cpus, memory_order_relaxed);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static bool take_at(struct tine__token *token, _Atomic uint64_t *place)
{
    if (atomic_load_explicit(place, memory_order_seq_cst) != 0 || !swap(place, 0, token->word))
        return false;
    token->place = place;
    return true;
}

/* Has another worker of the pool a token? */
static bool sibling_runs(const struct tine__token *token, const struct tine__budget_shm *budget)
{
    for (uint32_t i = 0; i < token->pool->workers; i++) {
        const struct tine__worker_shm *worker = tine__worker_at(token->pool, i);
        uint32_t number = atomic_load_explicit(&worker->token, memory_order_relaxed);

        if (number != 0 && worker != token->worker &&
            atomic_load_explicit(&budget->tokens[number - 1], memory_order_relaxed) ==
                atomic_load_explicit(&worker->word, memory_order_relaxed))
            return true;
    }
    return false;
}

static bool take(struct tine__token *token, struct tine__budget_shm *budget)
{
    uint32_t cpus = atomic_load_explicit(&budget->cpus, memory_order_relaxed);

    for (uint32_t i = 0; i < cpus; i++) {
        uint32_t number = (token->last + i) % cpus;

        if (!take_at(token, &budget->tokens[number]))
            continue;
        token->last = number;
        atomic_store_explicit(&token->worker->token, number + 1, memory_order_relaxed);
        return true;
    }
    return !sibling_runs(token, budget) && take_at(token, &token->pool->pass);
}

static void give_up(struct tine__token *token)
{
    token->place = NULL;
    atomic_store_explicit(&token->worker->token, 0, memory_order_relaxed);
}

void tine__token_release(struct tine__token *token)
{
    _Atomic uint64_t *place = token->place;

    if (place == NULL)
        return;
    give_up(token);
    if (swap(place, token->word, 0))
        tine__waiters_wake(&tine__budget(token->root)->waiting, 1);
}

/* ---- taking away ----------------------------------------------------------------------------- */

static bool take_away_from_sleeper(_Atomic uint64_t *place)
{
    uint64_t word = atomic_load_explicit(place, memory_order_seq_cst);

    return word != 0 && !tine__owner_word_runs(word) && swap(place, word, 0);
}

/* A time to come is that of another time namespace. */
static bool is_due(_Atomic uint64_t *last, uint64_t every)
{
    uint64_t seen = atomic_load_explicit(last, memory_order_relaxed);
    uint64_t now = (uint64_t)tine__now_ns();

    return (now < seen || now - seen >= every) && swap(last, seen, now);
}

static void look(struct tine__token *token, struct tine__budget_shm *budget)
{
    int freed = take_away_from_sleeper(&token->pool->pass);

    if (is_due(&budget->looked, LOOK_NS))
        for (uint32_t i = 0; i < TINE__BUDGET_TOKENS; i++)
            freed += take_away_from_sleeper(&budget->tokens[i]);
    if (is_due(&budget->judged, JUDGE_NS))
        tine__budget_judge(budget);
    if (!token->blind && is_due(&budget->counted, COUNT_NS))
        token->blind = !tine__budget_recount(budget);
    if (freed > 0)
        tine__waiters_wake(&budget->waiting, freed);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Reads /proc, so not before it has to. */
static void introduce(struct tine__token *token)
{
    token->word = tine__owner_word_thread();
    atomic_store_explicit(&token->worker->word, token->word, memory_order_relaxed);
}

void tine__token_await(struct tine__token *token, bool (*wanted)(void *context), void *context)
{
    struct tine__budget_shm *budget = tine__budget(token->root);
    bool slept = false, got;

    if (holds(token) && is_valid(token, budget))
        return;
    tine__token_release(token);
    if (token->word == 0)
        introduce(token);
    for (int64_t nap = NAP_MIN_NS;; nap = nap < NAP_MAX_NS ? nap * 2 : nap) {
        uint32_t turn = tine__waiters_join(&budget->waiting);

        got = take(token, budget);
        if (got || !tine__budget_in_force(token->root) || !wanted(context))
            break;
        (void)tine__waiters_nap(&budget->waiting, turn, nap, TINE__NEVER);
        slept = true;
        look(token, budget);
    }
    if (slept && !got) /* the wake-up, if it was one, is another's */
        tine__waiters_wake(&budget->waiting, 1);
}

/* ---- lending --------------------------------------------------------------------------------- */

static void lend(struct tine__token *token)
{
    token->lent = swap(token->place, token->word, 0);
    if (token->lent)
        tine__waiters_wake(&tine__budget(token->root)->waiting, 1);
}

static void take_back(struct tine__token *token)
{
    token->lent = false;
    if (!take_at(token, token->place))
        give_up(token);
}

/* In a child that a task has forked the token is the worker's still. */
static void say_asleep(bool begins)
{
    struct tine__token *token = own;
    int saved = errno;

    if (token == NULL || token->place == NULL || token->generation != tine__fork_generation_fast())
        return;
    if (begins)
        lend(token);
    else if (token->lent)
        take_back(token);
    errno = saved;
}

/* ---- the beginning --------------------------------------------------------------------------- */

static const _Atomic uint64_t no_root; /* no pool, for ever */

void tine__token_none(struct tine__token *token)
{
    *token = (struct tine__token){.root = &no_root};
}

void tine__token_init(struct tine__token *token, struct tine__pool_shm *pool,
                      struct tine__worker_shm *worker, bool budgeted)
{
    *token = (struct tine__token){.root = budgeted ? tine__budget_root() : &no_root,
                                  .pool = pool,
                                  .worker = worker,
                                  .generation = tine__fork_generation()};
    atomic_store_explicit(&worker->token, 0, memory_order_relaxed);
    own = token;
    atomic_store_explicit(&tine__asleep, say_asleep, memory_order_relaxed);
}

void tine__token_fini(struct tine__token *token)
{
    tine__token_release(token);
    own = NULL;
}
