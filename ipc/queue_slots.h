/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_SLOTS_H
#define TINE_IPC_QUEUE_SLOTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The items of a queue, in the family heap: slots in chunks that double the table, are never moved,
 * and never given back while the queue lives. A slot's word is the truth about its item; everything
 * else (rings of tokens, rankings, counts) can be judged or rebuilt from the words.
 *
 *     bits 0-3    state
 *          4      watched: somebody who joins wants to know when this slot is done
 *          5-16   party: number of the process that has it, 0 none (ipc/queue_parties.h)
 *          17-24  deliveries: how often the item was taken, at most 255
 *          25-63  generation: one more with each change, so that a stale CAS fails
 *
 *     FREE -> FILLING(p) -> PUT(p) ----------+--> TAKEN(c) -> FREE     task_done, or given away
 *                |            |              |       |  |---> DONE(c) -> FREE
 *                |            v (p dead)     |       v (c dead, time over, or refused)
 *                |          QUEUED ----------+    RETURNED -> TAKEN(c) …
 *                v (p dead)                          |   or DEAD (too often) -> DONE(c) -> FREE
 *              FREE                                  |   or LOST(s) -> FREE, counted
 *
 * PUT: the item is complete; it is in the queue once a cell of the fifo names it with its ticket,
 * and till then its producer's alone. QUEUED: it is in the queue. DONE: somebody is reading or
 * emptying it, and nobody else is interested any more.
 */
enum {
    TINE__ITEM_FREE = 0,
    TINE__ITEM_FILLING = 1,
    TINE__ITEM_PUT = 2,
    TINE__ITEM_QUEUED = 3,
    TINE__ITEM_TAKEN = 4,
    TINE__ITEM_DONE = 5,
    TINE__ITEM_RETURNED = 6,
    TINE__ITEM_DEAD = 7,
    TINE__ITEM_LOST = 8,
};

#define TINE__WORD_STATE      ((uint64_t)0xf)
#define TINE__WORD_WATCHED    ((uint64_t)0x10)
#define TINE__WORD_PARTY      ((uint64_t)0xfff << 5)
#define TINE__WORD_DELIVERY   ((uint64_t)1 << 17)
#define TINE__WORD_DELIVERIES ((uint64_t)0xff << 17)
#define TINE__WORD_GENERATION ((uint64_t)1 << 25)

#define TINE__SLOT_INLINE  64
#define TINE__SLOTS_FIRST  64 /* in the first chunk; a power of two */
#define TINE__SLOTS_CHUNKS 26 /* 2^31 slots */

/*
 * field     written by                          read by            order
 * word      CAS, as above                       any                seq_cst CAS, acquire load
 * ticket    the filler; whoever ranks it        takers, sweepers   published by the word or the cell
 * block     the filler; whoever empties it      the owner          published by the word; taken by an
 *                                                                  exchange with 0 before it is
 *                                                                  freed
 * expiry    the taker, lookers                  lookers            see ipc/queue_lease.c
 * charged   the filler; exchange: the taker     recounts           relaxed
 * lost      CAS: whoever counts a loss          whoever sums up    see ipc/queue_lease.c
 * the rest  the filler                          the owner          published by the word
 */
struct tine__slot_shm {
    _Atomic uint64_t word;
    _Atomic uint64_t ticket;
    _Atomic uint64_t block; /* address in the heap of a payload that is not inline, or 0 */
    _Atomic uint64_t expiry;
    _Atomic uint64_t charged; /* bytes that count for .maxbytes */
    _Atomic uint64_t lost;    /* how many items have been lost here, and when the last was */
    uint64_t size;
    int64_t priority;
    uint8_t payload[TINE__SLOT_INLINE];
} __attribute__((aligned(128)));

/*
 * field   written by                          read by  order
 * chunks  CAS from 0: whoever makes it        any      acq_rel / acquire
 * count   CAS + 1, by anybody who sees the    any      acq_rel / acquire: a chunk counted is there
 *         next chunk
 */
struct tine__slots_shm {
    _Atomic uint64_t chunks[TINE__SLOTS_CHUNKS];
    _Atomic uint32_t count;
    uint32_t reserved;
};

static inline uint64_t tine__word_state(uint64_t word)
{
    return word & TINE__WORD_STATE;
}

static inline uint32_t tine__word_party(uint64_t word)
{
    return (uint32_t)((word & TINE__WORD_PARTY) >> 5);
}

static inline uint32_t tine__word_deliveries(uint64_t word)
{
    return (uint32_t)((word & TINE__WORD_DELIVERIES) >> 17);
}

/* The word after a change: watched and deliveries stay. */
static inline uint64_t tine__word_next(uint64_t word, uint64_t state, uint32_t party)
{
    return ((word & ~(TINE__WORD_STATE | TINE__WORD_PARTY)) + TINE__WORD_GENERATION) | state |
           (uint64_t)party << 5;
}

/* Somebody puts it, or has put it, and nobody has taken it. */
static inline bool tine__word_waits(uint64_t word)
{
    return tine__word_state(word) == TINE__ITEM_PUT || tine__word_state(word) == TINE__ITEM_QUEUED;
}

static inline uint64_t tine__slot_word(const struct tine__slot_shm *slot)
{
    /* pairs with the release of every change */
    return atomic_load_explicit(&slot->word, memory_order_acquire);
}

static inline bool tine__slot_change(struct tine__slot_shm *slot, uint64_t *word, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&slot->word, word, next, memory_order_seq_cst,
                                                   memory_order_acquire);
}

static inline bool tine__word_is(uint64_t word, uint64_t state)
{
    return tine__word_state(word) == state;
}

/* But for watched. */
static inline bool tine__word_same(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~TINE__WORD_WATCHED) == 0;
}

/* From `word`, watched or not, to the word that `next` makes of it. *word: as it was. */
static inline bool tine__slot_turn(struct tine__slot_shm *slot, uint64_t *word,
                                   uint64_t (*next)(uint64_t word))
{
    uint64_t seen = tine__slot_word(slot);

    while (tine__word_same(seen, *word)) {
        *word = seen;
        if (tine__slot_change(slot, &seen, next(seen)))
            return true;
    }
    return false;
}

/* How many slots there are; a power of two. */
static inline uint32_t tine__slots_total(const struct tine__slots_shm *slots)
{
    return (uint32_t)TINE__SLOTS_FIRST
           << (atomic_load_explicit(&slots->count, memory_order_acquire) - 1);
}

/* Of an index below the total. */
static inline struct tine__slot_shm *tine__slot_at(const struct tine__slots_shm *slots,
                                                   uint32_t index)
{
    uint32_t chunk = 0, first = 0;
    uint64_t address;

    if (index >= TINE__SLOTS_FIRST) {
        chunk = 32u - (uint32_t)__builtin_clz(index / TINE__SLOTS_FIRST);
        first = (uint32_t)TINE__SLOTS_FIRST << (chunk - 1);
    }
    address = atomic_load_explicit(&slots->chunks[chunk], memory_order_acquire);
    return (struct tine__slot_shm *)(uintptr_t)address + (index - first);
}

static inline const void *tine__slot_data(const struct tine__slot_shm *slot)
{
    uint64_t block = atomic_load_explicit(&slot->block, memory_order_relaxed);

    return block != 0 ? (const void *)(uintptr_t)block : slot->payload;
}

int tine__slots_init(struct tine__slots_shm *slots); /* 0, -ENOMEM */
/* Doubles the table unless it has more chunks than `count` already. 0, -ENOMEM. */
int tine__slots_grow(struct tine__slots_shm *slots, uint32_t count);
void tine__slots_empty(struct tine__slots_shm *slots); /* nobody uses it; may be called again */

/*
 * Where one process looks for free slots: round and round in a part of the table that is as small
 * as the number of items in it allows, so that slots are reused while they are warm. Relaxed;
 * hints.
 */
struct tine__slots_hand {
    _Atomic uint32_t at;
    _Atomic uint32_t window; /* 0: not yet */
};

/*
 * A free slot, FILLING for the party from now on; false: too few are free, let the table grow.
 * Where it cannot, the second form finds the last free one.
 */
bool tine__slots_claim(struct tine__slots_shm *slots, struct tine__slots_hand *hand, uint32_t party,
                       uint32_t *index);
bool tine__slots_claim_last(struct tine__slots_shm *slots, uint32_t party, uint32_t *index);
/* Copies the payload into a slot that is the caller's. 0, -ENOMEM. */
int tine__slot_fill(struct tine__slot_shm *slot, const void *bytes, size_t size);
/*
 * Empties a slot whose word is the caller's, FILLING or DONE, and frees it. True: it was watched.
 */
bool tine__slot_free(struct tine__slot_shm *slot, uint64_t word);

#endif
