/* SPDX-License-Identifier: MIT */
/*
 * Rings of tokens that nobody can block.
 *
 * Position p of a ring is cell p % size in round p / size + 1. In each round a cell is written
 * once, by the CAS that puts an item there, from what the round before left in it. Head and tail
 * only say where to look: whoever finds that the cell at one of them is done already moves it on.
 *
 *     put    ticket of the slot = p; cell p: as it was → the slot, in this round; tail + 1
 *     take   word of the slot: PUT or QUEUED, with ticket p → the taker's; head + 1
 *
 * The CAS of the word takes the item and records who has it in one step. Killed before it, the
 * taker has nothing; killed after it, the cell names a slot that is not waiting there any more, and
 * anybody moves the head on. The ticket tells a slot that waits at p from the same slot used again:
 * the earlier item's is erased while the word still says FILLING, and then only those of this item
 * are written, the last of them before the CAS that succeeds. So a CAS of the word succeeds only if
 * the ticket that was read after the word is that of the word's item.
 *
 * Nobody makes a cell empty, which would cost its line of the cache another journey. That it may be
 * written in the next round needs no proof at that time: a ring has twice as many cells as there
 * are slots, and between head and tail each cell names another slot, but for one that is taken
 * already and a mark. So what stands in the cell at the tail has been taken long ago.
 *
 * A stale CAS of a cell needs 2^32 rounds of the ring between two instructions of one process to do
 * harm, of a word 2^39 changes.
 *
 * Growing: before the table of slots grows, a larger ring is made, and NEXT put into the old one as
 * if it were an item: it is the last there, for producers find no cell to write before it and go on
 * to the new ring, as consumers do when they have come to it. END is the same for shutdown, without
 * a ring behind it. Old rings stay until the queue ends, so that a straggler reads nothing but
 * cells.
 *
 * maxsize: at the CAS of cell p, p is the tail, and the head is where it was read or further. So
 * their distance is an upper bound of how many are there, and never is one too many let in.
 */
#include "ipc/queue_fifo.h"

#include <errno.h>
#include <string.h>

#include <tine/heap.h>

#include "shm/spin.h"

#define RING_SHIFT  58 /* of a ticket: ring above, position below */
#define POSITION    (((uint64_t)1 << RING_SHIFT) - 1)
#define FIRST_CELLS ((uint64_t)2 * TINE__SLOTS_FIRST)

/*
 * For whoever loses a race for a cell or an item. Two that put or take in turns cost each other
 * four journeys of cache lines with each item, 200 ns; in this time one of them puts or takes sixty
 * alone.
 */
#define AWAY_NS 4000

static struct tine__fifo_ring_shm *ring_at(const struct tine__fifo_shm *fifo, uint32_t k)
{
    return (void *)(uintptr_t)atomic_load_explicit(&fifo->rings[k], memory_order_acquire);
}

static uint64_t ticket_of(uint32_t k, uint64_t position)
{
    return (uint64_t)k << RING_SHIFT | (position & POSITION);
}

static uint32_t round_of(const struct tine__fifo_ring_shm *ring, uint64_t position)
{
    return (uint32_t)(position / ring->size) + 1; /* 0: never written */
}

static uint64_t cell_word(uint32_t round, uint32_t name)
{
    return (uint64_t)round << 32 | name;
}

static _Atomic uint64_t *cell_at(struct tine__fifo_ring_shm *ring, uint64_t position)
{
    return &ring->cells[position & (ring->size - 1)];
}

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static bool swap(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

static void next_ring(_Atomic uint32_t *which, uint32_t k)
{
    atomic_compare_exchange_strong_explicit(which, &k, k + 1, memory_order_acq_rel,
                                            memory_order_relaxed);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static bool waits_there(const struct tine__slot_shm *slot, uint64_t word, uint64_t ticket)
{
    return tine__word_waits(word) &&
           atomic_load_explicit(&slot->ticket, memory_order_relaxed) == ticket;
}

/*
 * The head, moved on to an item that waits, a mark, or a cell in which nothing is yet: *cell 0.
 * Acquire: what the cell names is seen as it was when it was put there, or later.
 */
static uint64_t find_head(const struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots,
                          uint32_t k, uint64_t *cell, uint64_t *word)
{
    struct tine__fifo_ring_shm *ring = ring_at(fifo, k);

    for (;;) {
        uint64_t head = load(&ring->head);
        const struct tine__slot_shm *slot;
        uint32_t name;

        *cell = load(cell_at(ring, head));
        name = (uint32_t)*cell;
        if ((uint32_t)(*cell >> 32) != round_of(ring, head)) {
            if (load(&ring->head) != head)
                continue; /* others were here a whole round ago */
            *cell = 0;
            return head;
        }
        if (name >= TINE__CELL_END)
            return head;
        slot = tine__slot_at(slots, name - 1);
        __builtin_prefetch(slot->payload);
        *word = tine__slot_word(slot);
        if (waits_there(slot, *word, ticket_of(k, head)))
            return head;
        swap(&ring->head, head, head + 1);
    }
}

int tine__fifo_take(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots,
                    uint32_t party, uint64_t state, uint32_t *index, uint64_t *word)
{
    for (;;) {
        uint32_t k = atomic_load_explicit(&fifo->head_ring, memory_order_acquire);
        uint64_t cell, seen = 0, head = find_head(fifo, slots, k, &cell, &seen), next;
        uint32_t name = (uint32_t)cell;

        if (name == 0)
            return -EAGAIN;
        if (name == TINE__CELL_END)
            return -ESHUTDOWN;
        if (name == TINE__CELL_NEXT) {
            next_ring(&fifo->head_ring, k);
            continue;
        }
        next = tine__word_next(seen, state, party);
        if (tine__word_deliveries(seen) < 255)
            next += TINE__WORD_DELIVERY;
        if (!tine__slot_change(tine__slot_at(slots, name - 1), &seen, next)) {
            tine__spin_away(AWAY_NS);
            continue;
        }
        swap(&ring_at(fifo, k)->head, head, head + 1);
        *index = name - 1;
        *word = next;
        return 0;
    }
}

/* ---- putting --------------------------------------------------------------------------------- */

/*
 * In all rings from the head's to this one, if this one's tail is there. The heads are read later,
 * so the sum may even be negative.
 */
static int64_t count_to(const struct tine__fifo_shm *fifo, uint32_t k, uint64_t tail)
{
    uint32_t j = atomic_load_explicit(&fifo->head_ring, memory_order_acquire);
    uint64_t count = 0;

    for (; j < k; j++)
        count += load(&ring_at(fifo, j)->tail) - load(&ring_at(fifo, j)->head);
    return (int64_t)(count + tail - load(&ring_at(fifo, k)->head));
}

/* Past what was taken by those who have not moved it on themselves. */
static void move_head(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots)
{
    uint32_t k = atomic_load_explicit(&fifo->head_ring, memory_order_acquire);
    uint64_t cell, word;

    find_head(fifo, slots, k, &cell, &word);
    if ((uint32_t)cell == TINE__CELL_NEXT)
        next_ring(&fifo->head_ring, k);
}

/* The short way: the head is no further back than where it was seen last. */
static bool has_room(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots, uint32_t k,
                     uint64_t tail, uint64_t maxsize, struct tine__fifo_view *view)
{
    uint64_t seen = atomic_load_explicit(&view->head, memory_order_relaxed);

    if (maxsize == 0 || (seen >> RING_SHIFT == k && tail - (seen & POSITION) < maxsize &&
                         atomic_load_explicit(&fifo->head_ring, memory_order_acquire) == k))
        return true;
    move_head(fifo, slots);
    atomic_store_explicit(&view->head, ticket_of(k, load(&ring_at(fifo, k)->head)),
                          memory_order_relaxed);
    return count_to(fifo, k, tail) < (int64_t)maxsize;
}

/* Where the next item goes. */
struct place {
    struct tine__fifo_ring_shm *ring;
    uint32_t k;
    uint64_t tail;
    uint64_t cell; /* what stands there from the round before */
};

/* -ESHUTDOWN: nowhere. */
static int find_tail(struct tine__fifo_shm *fifo, struct place *place)
{
    for (;;) {
        uint32_t k = atomic_load_explicit(&fifo->tail_ring, memory_order_acquire);
        struct tine__fifo_ring_shm *ring = ring_at(fifo, k);
        uint64_t tail = load(&ring->tail), cell = load(cell_at(ring, tail));

        *place = (struct place){.ring = ring, .k = k, .tail = tail, .cell = cell};
        if ((uint32_t)(cell >> 32) == round_of(ring, tail) - 1)
            return 0;
        if (cell == cell_word(round_of(ring, tail), TINE__CELL_END))
            return -ESHUTDOWN;
        if (cell == cell_word(round_of(ring, tail), TINE__CELL_NEXT))
            next_ring(&fifo->tail_ring, k);
        else
            swap(&ring->tail, tail, tail + 1);
    }
}

/* One CAS; false: another was faster. */
static bool name_there(const struct place *place, uint32_t name)
{
    struct tine__fifo_ring_shm *ring = place->ring;

    if (!swap(cell_at(ring, place->tail), place->cell,
              cell_word(round_of(ring, place->tail), name)))
        return false;
    if (name < TINE__CELL_END)
        swap(&ring->tail, place->tail, place->tail + 1);
    return true;
}

int tine__fifo_put(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots, uint32_t index,
                   uint64_t maxsize, struct tine__fifo_view *view)
{
    struct tine__slot_shm *slot = tine__slot_at(slots, index);
    struct place place;

    for (;;) {
        int rc = find_tail(fifo, &place);

        if (rc < 0)
            return rc;
        if (!has_room(fifo, slots, place.k, place.tail, maxsize, view))
            return -EAGAIN;
        /* published by the CAS of the cell */
        atomic_store_explicit(&slot->ticket, ticket_of(place.k, place.tail), memory_order_relaxed);
        if (name_there(&place, index + 1))
            return 0;
        tine__spin_away(AWAY_NS);
    }
}

uint64_t tine__fifo_tail(struct tine__fifo_shm *fifo)
{
    struct place place;

    (void)find_tail(fifo, &place);
    return ticket_of(place.k, place.tail);
}

void tine__fifo_shut(struct tine__fifo_shm *fifo)
{
    struct place place;

    while (find_tail(fifo, &place) == 0)
        name_there(&place, TINE__CELL_END);
}

bool tine__fifo_is_shut(const struct tine__fifo_shm *fifo)
{
    uint32_t k = atomic_load_explicit(&fifo->tail_ring, memory_order_acquire);
    struct tine__fifo_ring_shm *ring = ring_at(fifo, k);
    uint64_t tail = load(&ring->tail);

    return load(cell_at(ring, tail)) == cell_word(round_of(ring, tail), TINE__CELL_END);
}

uint64_t tine__fifo_count(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots)
{
    struct place place;
    int64_t count;

    (void)find_tail(fifo, &place);
    move_head(fifo, slots);
    count = count_to(fifo, place.k, place.tail);
    return count < 0 ? 0 : (uint64_t)count;
}

bool tine__fifo_names(const struct tine__fifo_shm *fifo, uint64_t ticket, uint32_t index)
{
    uint64_t position = ticket & POSITION;
    struct tine__fifo_ring_shm *ring;

    if (ticket == TINE__NO_TICKET)
        return false;
    ring = ring_at(fifo, (uint32_t)(ticket >> RING_SHIFT));
    return load(cell_at(ring, position)) == cell_word(round_of(ring, position), index + 1);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* 0, -ENOMEM. A death between leaves a block that nobody refers to. */
static int make_ring(struct tine__fifo_shm *fifo, uint32_t k)
{
    uint64_t size = FIRST_CELLS << k, there = 0;
    struct tine__fifo_ring_shm *ring;

    if (ring_at(fifo, k) != NULL)
        return 0;
    ring = tine_aligned_alloc(128, sizeof *ring + size * sizeof ring->cells[0]);
    if (ring == NULL)
        return -ENOMEM;
    memset(ring, 0, sizeof *ring + size * sizeof ring->cells[0]);
    ring->size = size;
    if (!atomic_compare_exchange_strong_explicit(&fifo->rings[k], &there, (uint64_t)(uintptr_t)ring,
                                                 memory_order_acq_rel, memory_order_relaxed))
        tine_free(ring);
    return 0;
}

int tine__fifo_init(struct tine__fifo_shm *fifo)
{
    return make_ring(fifo, 0);
}

int tine__fifo_grow(struct tine__fifo_shm *fifo, uint32_t chunks)
{
    struct place place;

    for (;;) {
        int rc = find_tail(fifo, &place);

        if (rc < 0 || place.k + 1 >= chunks)
            return rc;
        if (place.k + 1 >= TINE__FIFO_RINGS)
            return -ENOMEM;
        rc = make_ring(fifo, place.k + 1);
        if (rc < 0)
            return rc;
        name_there(&place, TINE__CELL_NEXT);
    }
}

void tine__fifo_empty(struct tine__fifo_shm *fifo)
{
    for (uint32_t k = 0; k < TINE__FIFO_RINGS; k++)
        tine_free((void *)(uintptr_t)atomic_exchange(&fifo->rings[k], 0));
}
