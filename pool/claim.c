/* SPDX-License-Identifier: MIT */
/*
 * Claims: who took which unit, exact under SIGKILL between any two instructions.
 *
 * The cursor holds how many units are claimed and who claimed the last one, so one compare-and-swap
 * both takes a unit and names its taker. Before the next claimer swaps that name away, it copies
 * the claim into the ledger slot of its owner. Hence at every instant each unit in hand is named
 * either by the cursor or by a ledger slot:
 *
 *     cursor {k+1, A}                     A holds k
 *     B copies: slot[A] = held k          (A or another claimer may have done so already)
 *     B swaps:  cursor {k+2, B}           A holds k by its slot, B holds k+1
 *
 * A slot only ever moves forward: to a higher unit, or from held to done of the same unit. A late
 * copier, whose swap will fail anyway, therefore cannot undo anything: its compare-and-swap expects
 * a lower unit than it finds. No ABA: units are never reused within a table, and cursor and slots
 * grow monotonically within 2^50 units.
 */
#include "pool/claim.h"

#include <stdatomic.h>

#define CLAIMER_MASK UINT64_C(0xfff)
#define CLOSED       UINT64_C(0x1000)
#define COUNT_SHIFT  13
#define HELD         UINT64_C(1)

static uint64_t count_of(uint64_t cursor)
{
    return cursor >> COUNT_SHIFT;
}

void tine__claims_init(struct tine__claims_shm *claims, uint32_t workers)
{
    atomic_init(&claims->cursor, 0);
    claims->unused = 0;
    for (uint32_t i = 0; i < workers; i++) {
        atomic_init(&claims->slots[i].ledger, 0);
        atomic_init(&claims->slots[i].items, 0);
    }
}

/* Copies the claim that the cursor names into its owner's slot, unless it stands there or is done.
 */
static void record_last(struct tine__claims_shm *claims, uint64_t cursor, uint32_t self)
{
    uint64_t claimer = cursor & CLAIMER_MASK, count = count_of(cursor);
    _Atomic uint64_t *ledger;
    uint64_t entry;

    if (claimer == 0 || claimer - 1 == self) /* one's own last unit is done, and recorded so */
        return;
    ledger = &claims->slots[claimer - 1].ledger;
    entry = atomic_load_explicit(ledger, memory_order_relaxed);
    while (entry >> 1 < count)
        if (atomic_compare_exchange_weak_explicit(ledger, &entry, count << 1 | HELD,
                                                  memory_order_relaxed, memory_order_relaxed))
            break;
}

bool tine__claim(struct tine__claims_shm *claims, uint32_t worker, uint64_t limit, uint64_t *unit)
{
    uint64_t cursor = atomic_load_explicit(&claims->cursor, memory_order_acquire);

    for (;;) {
        uint64_t count = count_of(cursor);

        if ((cursor & CLOSED) != 0 || count >= limit)
            return false;
        record_last(claims, cursor, worker);
        /* release: the copy above is seen by whoever reads the new cursor (tine__claim_held) */
        if (atomic_compare_exchange_weak_explicit(&claims->cursor, &cursor,
                                                  (count + 1) << COUNT_SHIFT | (worker + 1),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            /* Its own copy, while the line is here anyway: the next claimer then need not make
               it. */
            atomic_store_explicit(&claims->slots[worker].ledger, (count + 1) << 1 | HELD,
                                  memory_order_relaxed);
            *unit = count;
            return true;
        }
    }
}

void tine__claim_done(struct tine__claims_shm *claims, uint32_t worker, uint64_t unit)
{
    /* release: what the unit wrote is seen by whoever finds it done (tine__claims_settled) */
    atomic_store_explicit(&claims->slots[worker].ledger, (unit + 1) << 1, memory_order_release);
}

bool tine__claim_held(const struct tine__claims_shm *claims, uint32_t worker, uint64_t *unit)
{
    /* The cursor first: once it names another, the copy into the slot is there (acquire). */
    uint64_t cursor = atomic_load_explicit(&claims->cursor, memory_order_acquire);
    uint64_t entry = atomic_load_explicit(&claims->slots[worker].ledger, memory_order_acquire);

    if ((cursor & CLAIMER_MASK) == (uint64_t)worker + 1) {
        *unit = count_of(cursor) - 1;
        return entry != (*unit + 1) << 1;
    }
    *unit = (entry >> 1) - 1;
    return (entry & HELD) != 0;
}

void tine__claims_close(struct tine__claims_shm *claims)
{
    uint64_t cursor = atomic_load_explicit(&claims->cursor, memory_order_acquire);

    while ((cursor & CLOSED) == 0) {
        record_last(claims, cursor, UINT32_MAX);
        if (atomic_compare_exchange_weak_explicit(&claims->cursor, &cursor,
                                                  count_of(cursor) << COUNT_SHIFT | CLOSED,
                                                  memory_order_acq_rel, memory_order_acquire))
            break;
    }
}

bool tine__claims_close_unclaimed(struct tine__claims_shm *claims)
{
    uint64_t cursor = 0;

    return atomic_compare_exchange_strong_explicit(&claims->cursor, &cursor, CLOSED,
                                                   memory_order_acq_rel, memory_order_acquire);
}

uint64_t tine__claims_count(const struct tine__claims_shm *claims)
{
    return count_of(atomic_load_explicit(&claims->cursor, memory_order_acquire));
}

bool tine__claims_exhausted(const struct tine__claims_shm *claims, uint64_t limit)
{
    uint64_t cursor = atomic_load_explicit(&claims->cursor, memory_order_acquire);

    return (cursor & CLOSED) != 0 || count_of(cursor) >= limit;
}

bool tine__claims_settled(const struct tine__claims_shm *claims, const _Atomic uint32_t *workers,
                          uint64_t limit)
{
    uint64_t cursor, claimer;
    uint32_t slots;

    /*
     * Of several workers that finish at once, each has stored "done" and now reads the others: with
     * a full fence between the two, at least one of them sees all done.
     */
    atomic_thread_fence(memory_order_seq_cst);
    cursor = atomic_load_explicit(&claims->cursor, memory_order_acquire);
    if ((cursor & CLOSED) == 0 && count_of(cursor) < limit)
        return false;
    claimer = cursor & CLAIMER_MASK;
    /* of all claimers: born before they claimed (acquire, above) */
    slots = atomic_load_explicit(workers, memory_order_relaxed);
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t entry = atomic_load_explicit(&claims->slots[i].ledger, memory_order_acquire);

        if ((entry & HELD) != 0 || (i + 1 == claimer && entry >> 1 < count_of(cursor)))
            return false;
    }
    return true;
}
