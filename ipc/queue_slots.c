/* SPDX-License-Identifier: MIT */
/*
 * The table of a queue's items; see ipc/queue_slots.h for its words.
 *
 * Nothing is kept beside the words: no list of free slots, no counts. Whoever needs a free slot
 * looks at a few and takes the first by CAS. In a queue slots are freed in about the order in which
 * they were filled, so the next one is free nearly always, and where it is not the table is too
 * small.
 *
 * A payload that does not fit into the slot lies in a block of the heap, which the slot knows
 * before the payload is copied, so a death loses a block only in the few instructions between
 * tine_alloc and that store. Blocks are not kept with the slots: the heap hands warm ones out
 * again, to all of its users.
 */
#include "ipc/queue_slots.h"

#include <errno.h>
#include <string.h>

#include <tine/heap.h>

#define PROBES 32 /* slots looked at before the window grows */

#define LINES 128 /* what a slot fills and is aligned to: lines of the cache, fetched in pairs */

_Static_assert(sizeof(struct tine__slot_shm) == LINES, "doc/shm-layout.md");

static uint32_t chunk_slots(uint32_t chunk)
{
    return chunk == 0 ? TINE__SLOTS_FIRST : (uint32_t)TINE__SLOTS_FIRST << (chunk - 1);
}

int tine__slots_init(struct tine__slots_shm *slots)
{
    return tine__slots_grow(slots, 0);
}

static void *make_chunk(uint32_t chunk)
{
    size_t size = (size_t)chunk_slots(chunk) * sizeof(struct tine__slot_shm);
    void *slots = tine_aligned_alloc(LINES, size);

    return slots == NULL ? NULL : memset(slots, 0, size);
}

int tine__slots_grow(struct tine__slots_shm *slots, uint32_t count)
{
    uint64_t there = 0;
    void *chunk;

    if (atomic_load_explicit(&slots->count, memory_order_acquire) > count)
        return 0;
    if (count >= TINE__SLOTS_CHUNKS)
        return -ENOMEM;
    if (atomic_load_explicit(&slots->chunks[count], memory_order_acquire) == 0) {
        chunk = make_chunk(count);
        if (chunk == NULL)
            return -ENOMEM;
        if (!atomic_compare_exchange_strong_explicit(&slots->chunks[count], &there,
                                                     (uint64_t)(uintptr_t)chunk,
                                                     memory_order_acq_rel, memory_order_acquire))
            tine_free(chunk);
    }
    /* fails where somebody else has counted it */
    atomic_compare_exchange_strong_explicit(&slots->count, &count, count + 1, memory_order_acq_rel,
                                            memory_order_relaxed);
    return 0;
}

void tine__slots_empty(struct tine__slots_shm *slots)
{
    for (uint32_t c = TINE__SLOTS_CHUNKS; c-- > 0;) {
        struct tine__slot_shm *chunk = (void *)(uintptr_t)atomic_load(&slots->chunks[c]);

        for (uint32_t i = 0; chunk != NULL && i < chunk_slots(c); i++)
            tine_free((void *)(uintptr_t)atomic_exchange(&chunk[i].block, 0));
        tine_free((void *)(uintptr_t)atomic_exchange(&slots->chunks[c], 0));
    }
}

/* ---- claiming -------------------------------------------------------------------------------- */

static bool claim(struct tine__slot_shm *slot, uint32_t party)
{
    uint64_t word = tine__slot_word(slot);

    return tine__word_state(word) == TINE__ITEM_FREE &&
           tine__slot_change(slot, &word, tine__word_next(word, TINE__ITEM_FILLING, party));
}

/* The window grows where it is full, and shrinks with each round without that. */
static uint32_t next_window(struct tine__slots_hand *hand, uint32_t window, uint32_t total,
                            bool full)
{
    if (full)
        window = window < total ? window * 2 : total;
    else if (window > TINE__SLOTS_FIRST)
        window /= 2;
    atomic_store_explicit(&hand->window, window, memory_order_relaxed);
    return window;
}

/* The next one, which a consumer had last, will soon be written to. */
static void fetch(const struct tine__slot_shm *slot)
{
    __builtin_prefetch(slot, 1);
    __builtin_prefetch(slot->payload, 1);
}

/*
 * Before the table grows a quarter of it must be in use, one after the other: so it is never more
 * than eight times as large as the items ask for, however they lie.
 */
static uint32_t probes(uint32_t window, uint32_t total)
{
    return window < total || total / 4 < PROBES ? PROBES : total / 4;
}

bool tine__slots_claim(struct tine__slots_shm *slots, struct tine__slots_hand *hand, uint32_t party,
                       uint32_t *index)
{
    uint32_t at = atomic_load_explicit(&hand->at, memory_order_relaxed);
    uint32_t window = atomic_load_explicit(&hand->window, memory_order_relaxed);
    uint32_t total = tine__slots_total(slots);

    if (window == 0 || window > total)
        window = next_window(hand, TINE__SLOTS_FIRST, total, false);
    for (;;) {
        for (uint32_t n = probes(window, total); n > 0; n--) {
            *index = at++ & (window - 1);
            if (claim(tine__slot_at(slots, *index), party)) {
                atomic_store_explicit(&hand->at, at, memory_order_relaxed);
                fetch(tine__slot_at(slots, at & (window - 1)));
                if (*index == window - 1 && window > TINE__SLOTS_FIRST)
                    next_window(hand, window, total, false);
                return true;
            }
        }
        if (window == total)
            return false;
        at = window; /* the new half, which nobody has used of late */
        window = next_window(hand, window, total, true);
    }
}

bool tine__slots_claim_last(struct tine__slots_shm *slots, uint32_t party, uint32_t *index)
{
    uint32_t total = tine__slots_total(slots);

    for (*index = 0; *index < total; ++*index)
        if (claim(tine__slot_at(slots, *index), party))
            return true;
    return false;
}

int tine__slot_fill(struct tine__slot_shm *slot, const void *bytes, size_t size)
{
    void *to = slot->payload;

    if (size > TINE__SLOT_INLINE) {
        to = tine_alloc(size);
        if (to == NULL)
            return -ENOMEM;
        atomic_store_explicit(&slot->block, (uint64_t)(uintptr_t)to, memory_order_relaxed);
    }
    slot->size = size;
    if (size > 0)
        memcpy(to, bytes, size);
    return 0;
}

bool tine__slot_free(struct tine__slot_shm *slot, uint64_t word)
{
    uint64_t next;

    if (atomic_load_explicit(&slot->block, memory_order_relaxed) != 0)
        tine_free(
            (void *)(uintptr_t)atomic_exchange_explicit(&slot->block, 0, memory_order_acq_rel));
    do
        next = (tine__word_next(word, TINE__ITEM_FREE, 0) &
                ~(TINE__WORD_WATCHED | TINE__WORD_DELIVERIES));
    while (!tine__slot_change(slot, &word, next)); /* but for the mark nobody changes it */
    return (word & TINE__WORD_WATCHED) != 0;
}
