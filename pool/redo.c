/* SPDX-License-Identifier: MIT */
/*
 * The redo table: rests of units whose workers died, taken before any new work.
 *
 * The nursery alone fills entries, so a free entry needs no claim. A worker takes one by a single
 * compare-and-swap that also names it; when that worker dies, the nursery makes the same entry
 * ready again with what is left. The word carries a generation: an entry freed and filled again
 * between a worker's look and its swap is another word.
 *
 * Bound: an entry comes from a worker that died, or left, with a unit in hand, or with tickets of
 * loops that it had interrupted for what is more urgent: at most one for each lane. A worker takes
 * new tickets only when it saw no ready entry, and interrupts nothing that it has by an entry. So
 * what is in hand or waiting here is at most one ticket a worker and lane, plus one entry that it
 * took in the instant before another became ready. The table has twice the room: half of it is for
 * rests that have waited (pool/backoff.c). Only the part that has ever been used is looked at.
 */
#include "pool/redo.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#define STATE_MASK      UINT64_C(3)
#define TAKER_SHIFT     2
#define TAKER_MASK      UINT64_C(0x3fff)
#define GENERATION      (UINT64_C(1) << 16)
#define GENERATION_MASK (~(GENERATION - 1))

static struct tine__redo_shm *entry_at(const struct tine__pool_shm *pool, uint64_t index)
{
    return &TINE__AT(struct tine__redo_shm, pool->redos)[index];
}

/* Entries from here on have never been filled. Whoever has reason to look for one sees that it has
   been. */
static uint64_t ever_used(const struct tine__pool_shm *pool)
{
    return atomic_load_explicit(&pool->redo_used, memory_order_acquire);
}

static void fill(struct tine__pool_shm *pool, struct tine__redo_shm *redo,
                 const struct tine__rest *rest)
{
    uint64_t word = atomic_load_explicit(&redo->word, memory_order_relaxed);

    redo->begin = rest->begin;
    redo->end = rest->end;
    redo->unit = rest->unit;
    redo->attempts = rest->attempts;
    /* release: the fields are seen by the taker's acquire */
    atomic_store_explicit(&redo->word, ((word & GENERATION_MASK) + GENERATION) | TINE__REDO_READY,
                          memory_order_release);
    atomic_fetch_add_explicit(&pool->redo_sequence, 1, memory_order_release);
}

bool tine__redo_is_half_empty(const struct tine__pool_shm *pool)
{
    uint64_t used = 0;

    for (uint64_t i = 0; i < pool->redo_count; i++)
        used += (atomic_load_explicit(&entry_at(pool, i)->word, memory_order_acquire) &
                 STATE_MASK) != TINE__REDO_FREE;
    return used < pool->redo_count / 2;
}

int tine__redo_put(struct tine__pool_shm *pool, struct tine__job_shm *job,
                   const struct tine__rest *rest)
{
    for (uint64_t i = 0; i < pool->redo_count; i++) {
        struct tine__redo_shm *redo = entry_at(pool, i);
        uint64_t word = atomic_load_explicit(&redo->word, memory_order_acquire);

        if ((word & STATE_MASK) != TINE__REDO_FREE)
            continue;
        atomic_store_explicit(&redo->job, TINE__ADDRESS(job), memory_order_relaxed);
        if (i >= ever_used(pool))
            atomic_store_explicit(&pool->redo_used, (uint32_t)i + 1, memory_order_release);
        fill(pool, redo, rest);
        return 0;
    }
    return -ENOSPC;
}

struct tine__redo_shm *tine__redo_held(const struct tine__pool_shm *pool, uint32_t worker)
{
    for (uint64_t i = 0; i < ever_used(pool); i++) {
        struct tine__redo_shm *redo = entry_at(pool, i);
        uint64_t word = atomic_load_explicit(&redo->word, memory_order_acquire);

        if ((word & STATE_MASK) == TINE__REDO_TAKEN && (word >> TAKER_SHIFT & TAKER_MASK) == worker)
            return redo;
    }
    return NULL;
}

void tine__redo_again(struct tine__pool_shm *pool, struct tine__redo_shm *redo,
                      const struct tine__rest *rest)
{
    fill(pool, redo, rest);
}

struct tine__redo_shm *tine__redo_take(struct tine__pool_shm *pool, uint32_t worker, uint32_t *seen)
{
    uint32_t sequence = atomic_load_explicit(&pool->redo_sequence, memory_order_acquire);

    if (sequence == *seen)
        return NULL;
    for (uint64_t i = 0; i < ever_used(pool); i++) {
        struct tine__redo_shm *redo = entry_at(pool, i);
        uint64_t word = atomic_load_explicit(&redo->word, memory_order_relaxed);
        uint64_t taken =
            (word & GENERATION_MASK) | (uint64_t)worker << TAKER_SHIFT | TINE__REDO_TAKEN;

        if ((word & STATE_MASK) == TINE__REDO_READY &&
            atomic_compare_exchange_strong_explicit(&redo->word, &word, taken, memory_order_acquire,
                                                    memory_order_relaxed))
            return redo;
    }
    *seen = sequence;
    return NULL;
}

void tine__redo_free(struct tine__redo_shm *redo)
{
    uint64_t word = atomic_load_explicit(&redo->word, memory_order_relaxed);

    /* release: the work is done before the entry is seen free (tine__redo_has) */
    atomic_store_explicit(&redo->word, (word & GENERATION_MASK) | TINE__REDO_FREE,
                          memory_order_release);
}

/* The job of an entry is only read while the entry is not free; a change since then shows in the
 * word. */
static bool belongs(const struct tine__redo_shm *redo, uint64_t word,
                    const struct tine__job_shm *job)
{
    return (word & STATE_MASK) != TINE__REDO_FREE &&
           atomic_load_explicit(&redo->job, memory_order_relaxed) == TINE__ADDRESS(job);
}

bool tine__redo_has(const struct tine__pool_shm *pool, const struct tine__job_shm *job)
{
    for (uint64_t i = 0; i < ever_used(pool); i++) {
        struct tine__redo_shm *redo = entry_at(pool, i);

        if (belongs(redo, atomic_load_explicit(&redo->word, memory_order_acquire), job))
            return true;
    }
    return false;
}

bool tine__redo_drop(struct tine__pool_shm *pool, const struct tine__job_shm *job)
{
    bool dropped = false;

    for (uint64_t i = 0; i < ever_used(pool); i++) {
        struct tine__redo_shm *redo = entry_at(pool, i);
        uint64_t word = atomic_load_explicit(&redo->word, memory_order_acquire);

        if ((word & STATE_MASK) == TINE__REDO_READY && belongs(redo, word, job) &&
            atomic_compare_exchange_strong_explicit(&redo->word, &word,
                                                    (word & GENERATION_MASK) | TINE__REDO_FREE,
                                                    memory_order_release, memory_order_relaxed))
            dropped = true;
    }
    return dropped;
}
