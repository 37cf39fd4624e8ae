/* SPDX-License-Identifier: MIT */
/*
 * Large messages in recycled blocks, and why no death leaks one.
 *
 * A slot's word is 0 (free; it may keep a block for the next message), or an owner word and what
 * that process does:
 *
 *     0 ──take──► FILLING ──fly──► FLYING ──accept──► TAKEN ──release──► 0
 *                    │ ◄────land────┘ (its record could not be sent)
 *                    └──drop──► 0
 *
 * FILLING and TAKEN of a dead process: whoever sweeps takes the slot over and frees it. FLYING is
 * the hard one, for its record may wait in the socket, or never have been sent (the sender died),
 * or have been in the hands of a receiver that died before it could accept. Sending it again would
 * be safe (the second of two that accept finds the slot taken), but would let messages overtake
 * each other when nobody has died and one is only slow. So the sweeper proves that nobody can
 * accept it any more:
 *
 * 1. It was sent, or never will be. `sent` holds the epoch that its sender drew, by adding one,
 *    *after* the record was in the socket; or one that the sweeper drew after the sender's death.
 * 2. It is out of the socket. Each record, large or small, carries the epoch that its sender read
 *    *before* sending it, and the transport keeps the order: so once a record with an epoch >=
 *    `sent` has been received (`drained`), this one has been, too. Where nothing follows, the
 *    kernel says that the socket is empty.
 * 3. Nobody has it in hand. After 2 the sweeper draws `doubt`. Receivers are visitors: they enter,
 *    note the epoch, receive, accept, leave. Who notes an epoch >= doubt cannot receive it any
 *    more; who noted an older one may have it, so as long as such a visitor lives the slot stays as
 *    it is. (Who sleeps in the kernel renews its note every TINE__LOOK_NS.)
 *
 * Each of the three stays true once it is, so only the sweeper can change such a slot; there is one
 * at a time (`sweeper`; a dead one's successor begins anew). The message is lost with the process
 * that had it, as a small one is. A stopped process keeps at most the slot that it works on; one
 * that was stopped as a visitor, or as it swept, keeps those that the dead have lost, too, until it
 * goes on.
 *
 * The stamps bear the generation of the slot they were meant for, so a sender that comes late with
 * its `sent` changes nothing of the next message. A killed process loses at most the one block that
 * it was getting from, or giving back to, the heap.
 */
#include "ipc/blocks.h"

#include <errno.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/checked.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define FILLING ((uint64_t)1)
#define FLYING  ((uint64_t)2)
#define TAKEN   ((uint64_t)3)

#define KEEP_MAX   ((uint64_t)64 << 20) /* bytes of all blocks that free slots keep */
#define WINDOW_MAX ((uint64_t)4 << 20)  /* bytes on their way … */
#define WINDOW_MIN 2                    /* … or so many messages, if they are larger */
#define UNIT       ((size_t)65536)      /* of the heap, above its small blocks */
#define HUGE_UNIT  ((size_t)2 << 20)    /* a huge page */
#define HUGE_MIN   ((size_t)4 << 20)    /* bytes of a message that is worth some */

_Static_assert(sizeof(struct tine__block_slot_shm) == 64, "a cache line");
_Static_assert(sizeof(struct tine__visitor_shm) == 64, "a cache line");
_Static_assert(sizeof(struct tine__visitors_shm) == 1024, "doc/shm-layout.md");
_Static_assert(sizeof(struct tine__blocks_shm) == 64 + 1024 + 64 * TINE__BLOCKS_SLOTS,
               "doc/shm-layout.md");

static uint64_t kind_of(uint64_t word)
{
    return word & TINE__OWNER_MARKS;
}

static uint64_t load(_Atomic uint64_t *word)
{
    /* pairs with the releases that hand a slot on */
    return atomic_load_explicit(word, memory_order_acquire);
}

static bool change(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

/* Never 0, which means: not known. */
static uint32_t next_epoch(struct tine__blocks_shm *blocks)
{
    uint32_t epoch;

    do
        epoch = atomic_fetch_add_explicit(&blocks->epoch, 1, memory_order_seq_cst) + 1;
    while (epoch == 0);
    return epoch;
}

static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static uint64_t stamp(uint32_t generation, uint32_t epoch)
{
    return (uint64_t)generation << 32 | epoch;
}

void tine__blocks_drained_slow(struct tine__blocks_shm *blocks, uint32_t epoch)
{
    uint32_t seen = atomic_load_explicit(&blocks->drained, memory_order_relaxed);

    while (is_before(seen, epoch))
        /* release: pairs with the acquire in is_drained; the record was received before */
        if (atomic_compare_exchange_weak_explicit(&blocks->drained, &seen, epoch,
                                                  memory_order_release, memory_order_relaxed))
            return;
}

void tine__blocks_init(struct tine__blocks_shm *blocks, uint32_t epoch)
{
    atomic_init(&blocks->epoch, epoch);
    atomic_init(&blocks->drained, epoch);
}

/* ---- a slot that the caller holds ------------------------------------------------------------ */

/*
 * Killed in it, the caller leaves a slot whose capacity is 0, so that nobody counts on its block.
 */
static void free_block(struct tine__block_slot_shm *slot)
{
    uint64_t block;

    atomic_store_explicit(&slot->capacity, 0, memory_order_relaxed);
    /* release: whoever finds no block finds no capacity */
    block = atomic_exchange_explicit(&slot->block, 0, memory_order_acq_rel);
    tine_free((void *)(uintptr_t)block);
}

static uint64_t kept_bytes(struct tine__blocks_shm *blocks)
{
    uint64_t bytes = 0;

    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        if (atomic_load_explicit(&blocks->slots[i].word, memory_order_relaxed) == 0)
            bytes += atomic_load_explicit(&blocks->slots[i].capacity, memory_order_relaxed);
    return bytes;
}

static void put_back(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot)
{
    uint64_t capacity = atomic_load_explicit(&slot->capacity, memory_order_relaxed);

    if (capacity > KEEP_MAX || kept_bytes(blocks) + capacity > KEEP_MAX)
        free_block(slot);
    /* pairs with the acquire of the next who takes it, and with tine__waiters_join */
    atomic_store_explicit(&slot->word, 0, memory_order_seq_cst);
    tine__waiters_wake(&blocks->room, 1);
}

/* Whole huge pages for large messages, if the block is used again: to make them takes a while. */
static void use_again(struct tine__block_slot_shm *slot)
{
    uint64_t capacity = atomic_load_explicit(&slot->capacity, memory_order_relaxed);

    if (slot->uses < 2 && ++slot->uses == 2 && capacity >= HUGE_MIN)
        tine__sys_huge((void *)(uintptr_t)atomic_load_explicit(&slot->block, memory_order_relaxed),
                       capacity);
}

static void *new_block(size_t size, size_t *capacity)
{
    if (!tine__round_up(size, size >= HUGE_MIN ? HUGE_UNIT : UNIT, capacity))
        return NULL;
    return size >= HUGE_MIN ? tine_aligned_alloc(HUGE_UNIT, *capacity) : tine_alloc(*capacity);
}

static int fit_block(struct tine__block_slot_shm *slot, size_t size)
{
    size_t capacity;
    void *block;

    if (atomic_load_explicit(&slot->capacity, memory_order_relaxed) >= size) {
        use_again(slot);
        return 0;
    }
    free_block(slot);
    block = new_block(size, &capacity);
    if (block == NULL)
        return -ENOMEM;
    slot->uses = 1;
    atomic_store_explicit(&slot->block, (uint64_t)(uintptr_t)block, memory_order_release);
    atomic_store_explicit(&slot->capacity, capacity, memory_order_relaxed);
    return 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Is there room on the way for another message of that size? */
static bool has_room(struct tine__blocks_shm *blocks, size_t size)
{
    uint64_t bytes = 0;
    uint32_t count = 0;

    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++) {
        uint64_t kind = kind_of(atomic_load_explicit(&blocks->slots[i].word, memory_order_seq_cst));

        if (kind != FLYING)
            continue;
        bytes += atomic_load_explicit(&blocks->slots[i].size, memory_order_relaxed);
        count++;
    }
    return count < WINDOW_MIN || bytes + size <= WINDOW_MAX;
}

/* The free slot with the smallest block that is large enough; else one without a block, or any. */
static struct tine__block_slot_shm *find(struct tine__blocks_shm *blocks, size_t size)
{
    struct tine__block_slot_shm *best = NULL;
    uint64_t best_capacity = 0;

    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++) {
        struct tine__block_slot_shm *slot = &blocks->slots[i];
        uint64_t capacity = atomic_load_explicit(&slot->capacity, memory_order_relaxed);
        bool better = best == NULL;

        if (atomic_load_explicit(&slot->word, memory_order_seq_cst) != 0)
            continue;
        if (best != NULL && capacity >= size)
            better = best_capacity < size || capacity < best_capacity;
        else if (best != NULL)
            better = best_capacity < size && capacity < best_capacity;
        if (better) {
            best = slot;
            best_capacity = capacity;
        }
    }
    return best;
}

int tine__blocks_take(struct tine__blocks_shm *blocks, size_t size, struct tine__block *block)
{
    struct tine__block_slot_shm *slot;
    int rc;

    do {
        slot = has_room(blocks, size) ? find(blocks, size) : NULL;
        if (slot == NULL)
            return -EAGAIN;
    } while (!change(&slot->word, 0, tine__owner_word() | FILLING));
    slot->generation++;
    atomic_store_explicit(&slot->sent, stamp(slot->generation, 0), memory_order_relaxed);
    atomic_store_explicit(&slot->doubt, stamp(slot->generation, 0), memory_order_relaxed);
    atomic_store_explicit(&slot->size, size, memory_order_relaxed);
    rc = fit_block(slot, size);
    if (rc < 0) {
        put_back(blocks, slot);
        return rc;
    }
    *block = (struct tine__block){
        .slot = slot,
        .data = (void *)(uintptr_t)atomic_load_explicit(&slot->block, memory_order_relaxed),
        .generation = slot->generation,
    };
    return 0;
}

void tine__blocks_fly(const struct tine__block *block)
{
    /* pairs with the acquire in accept and in the sweep: content, generation and stamps */
    atomic_store_explicit(&block->slot->word, tine__owner_word() | FLYING, memory_order_release);
}

void tine__blocks_sent(struct tine__blocks_shm *blocks, const struct tine__block *block)
{
    change(&block->slot->sent, stamp(block->generation, 0),
           stamp(block->generation, next_epoch(blocks)));
}

void tine__blocks_drop(struct tine__blocks_shm *blocks, const struct tine__block *block)
{
    put_back(blocks, block->slot); /* still FILLING or FLYING: nobody has heard of it */
}

void tine__blocks_land(const struct tine__block *block)
{
    atomic_store_explicit(&block->slot->word, tine__owner_word() | FILLING, memory_order_release);
}

bool tine__blocks_held(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation,
                       size_t size, struct tine__block *block)
{
    struct tine__block_slot_shm *slot = &blocks->slots[index % TINE__BLOCKS_SLOTS];

    if (load(&slot->word) != (tine__owner_word() | FILLING) || slot->generation != generation ||
        atomic_load_explicit(&slot->size, memory_order_relaxed) < size)
        return false;
    *block = (struct tine__block){
        .slot = slot,
        .data = (void *)(uintptr_t)atomic_load_explicit(&slot->block, memory_order_relaxed),
        .generation = generation,
    };
    return true;
}

void tine__blocks_cut(const struct tine__block *block, size_t size)
{
    atomic_store_explicit(&block->slot->size, size, memory_order_relaxed);
}

uint32_t tine__blocks_index(const struct tine__blocks_shm *blocks, const struct tine__block *block)
{
    return (uint32_t)(block->slot - blocks->slots);
}

/* ---- visitors -------------------------------------------------------------------------------- */

static struct tine__visitors_shm *next_chunk(struct tine__visitors_shm *chunk)
{
    return (struct tine__visitors_shm *)(uintptr_t)load(&chunk->next);
}

static bool sit_down(struct tine__visitor_shm *visitor, uint64_t from)
{
    /* seq_cst: the sweeper that does not see this has drawn its doubt before what comes now */
    return atomic_compare_exchange_strong_explicit(&visitor->word, &from, tine__owner_word(),
                                                   memory_order_seq_cst, memory_order_relaxed);
}

/* A free place, or if asked so that of a dead visitor. */
static struct tine__visitor_shm *find_place(struct tine__blocks_shm *blocks, bool of_the_dead)
{
    for (struct tine__visitors_shm *chunk = &blocks->visitors; chunk != NULL;
         chunk = next_chunk(chunk))
        for (int i = 0; i < TINE__BLOCKS_VISITORS; i++) {
            struct tine__visitor_shm *visitor = &chunk->at[i];
            uint64_t word = atomic_load_explicit(&visitor->word, memory_order_relaxed);

            if (word != 0 && (!of_the_dead || tine__owner_word_lives(word)))
                continue;
            if (sit_down(visitor, word))
                return visitor;
        }
    return NULL;
}

/* A death between leaves a block that nobody refers to. */
static int add_chunk(struct tine__blocks_shm *blocks)
{
    struct tine__visitors_shm *chunk = &blocks->visitors;
    struct tine__visitors_shm *made = tine_aligned_alloc(64, sizeof *made);

    if (made == NULL)
        return -ENOMEM;
    *made = (struct tine__visitors_shm){0};
    while (!change(&chunk->next, 0, (uint64_t)(uintptr_t)made))
        chunk = next_chunk(chunk);
    return 0;
}

int tine__blocks_enter(struct tine__blocks_shm *blocks, struct tine__visitor_shm **visitor)
{
    struct tine__visitor_shm *place = *visitor;

    if (place == NULL || !sit_down(place, 0)) {
        place = find_place(blocks, false);
        if (place == NULL)
            place = find_place(blocks, true);
        while (place == NULL) {
            int rc = add_chunk(blocks);

            if (rc < 0)
                return rc;
            place = find_place(blocks, false);
        }
    }
    tine__blocks_renew(blocks, place);
    *visitor = place;
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

bool tine__blocks_claim(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation)
{
    _Atomic uint32_t *claimed;
    uint32_t last;

    if (index >= TINE__BLOCKS_SLOTS)
        return false;
    claimed = &blocks->slots[index].claimed;
    last = atomic_load_explicit(claimed, memory_order_acquire);
    while (is_before(last, generation))
        if (atomic_compare_exchange_weak_explicit(claimed, &last, generation, memory_order_acq_rel,
                                                  memory_order_acquire))
            return true;
    return false;
}

int tine__blocks_accept(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation,
                        size_t size, struct tine__block *block)
{
    struct tine__block_slot_shm *slot;
    uint64_t word;
    void *data;

    if (index >= TINE__BLOCKS_SLOTS)
        return TINE_EFORMAT;
    slot = &blocks->slots[index];
    word = load(&slot->word);
    if (kind_of(word) != FLYING || slot->generation != generation ||
        atomic_load_explicit(&slot->size, memory_order_relaxed) != size ||
        atomic_load_explicit(&slot->capacity, memory_order_relaxed) < size)
        return TINE_EFORMAT;
    data = (void *)(uintptr_t)atomic_load_explicit(&slot->block, memory_order_relaxed);
    if (!tine__heap_contains(data, size))
        return TINE_EFORMAT;
    if (!change(&slot->word, word, tine__owner_word() | TAKEN))
        return TINE_EFORMAT;
    tine__waiters_wake(&blocks->room, 1);
    *block = (struct tine__block){.slot = slot, .data = data, .generation = generation};
    return 0;
}

void tine__blocks_release(struct tine__blocks_shm *blocks, const struct tine__block *block)
{
    if (load(&block->slot->word) == (tine__owner_word() | TAKEN) &&
        block->slot->generation == block->generation)
        put_back(blocks, block->slot);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

/* Point 1: the epoch by which it was sent, or 0: its sender may still send it. */
static uint32_t when_sent(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot,
                          uint64_t word, uint32_t generation)
{
    uint64_t sent = load(&slot->sent);

    if (sent == stamp(generation, 0)) {
        if (tine__owner_word_lives(word))
            return 0;
        change(&slot->sent, sent, stamp(generation, next_epoch(blocks)));
        sent = load(&slot->sent);
    }
    return sent >> 32 == generation ? (uint32_t)sent : 0;
}

/* Point 2. */
static bool is_drained(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot,
                       uint32_t sent, const struct tine__drain *drain)
{
    uint32_t generation = (uint32_t)(load(&slot->sent) >> 32);

    /* acquire: pairs with the release in drained_slow */
    return !is_before(atomic_load_explicit(&blocks->drained, memory_order_acquire), sent) ||
           drain->is_received(drain, (uint32_t)(slot - blocks->slots), generation);
}

static uint32_t when_doubted(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot,
                             uint32_t generation)
{
    uint64_t doubt = load(&slot->doubt);

    if (doubt == stamp(generation, 0)) {
        change(&slot->doubt, doubt, stamp(generation, next_epoch(blocks)));
        doubt = load(&slot->doubt);
    }
    return doubt >> 32 == generation ? (uint32_t)doubt : 0;
}

/* Point 3: is there a visitor that noted an epoch before that one? */
static bool is_visited(struct tine__blocks_shm *blocks, uint32_t doubt)
{
    for (struct tine__visitors_shm *chunk = &blocks->visitors; chunk != NULL;
         chunk = next_chunk(chunk))
        for (int i = 0; i < TINE__BLOCKS_VISITORS; i++) {
            struct tine__visitor_shm *visitor = &chunk->at[i];
            uint64_t word = atomic_load_explicit(&visitor->word, memory_order_seq_cst);

            if (word == 0 ||
                !is_before(atomic_load_explicit(&visitor->epoch, memory_order_seq_cst), doubt))
                continue;
            if (tine__owner_word_lives(word))
                return true;
            change(&visitor->word, word, 0);
        }
    return false;
}

/*
 * Nobody can accept it any more: it is FREE of its past, and nobody but the sweeper can change it.
 */
static bool is_lost(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot,
                    uint64_t word, const struct tine__drain *drain)
{
    uint32_t generation = (uint32_t)(load(&slot->sent) >> 32), sent, doubt;

    sent = when_sent(blocks, slot, word, generation);
    if (sent == 0 || !is_drained(blocks, slot, sent, drain))
        return false;
    doubt = when_doubted(blocks, slot, generation);
    if (doubt == 0 || is_visited(blocks, doubt))
        return false;
    /* It may have been accepted, and the slot used again, before all that became true. */
    return load(&slot->word) == word && load(&slot->sent) >> 32 == generation;
}

static bool sweep_slot(struct tine__blocks_shm *blocks, struct tine__block_slot_shm *slot,
                       const struct tine__drain *drain)
{
    uint64_t word = load(&slot->word);

    if (word == 0)
        return false;
    if (kind_of(word) == FLYING ? !is_lost(blocks, slot, word, drain)
                                : tine__owner_word_lives(word))
        return false;
    if (!change(&slot->word, word, tine__owner_word() | FILLING))
        return false;
    put_back(blocks, slot);
    return true;
}

uint32_t tine__blocks_sweep(struct tine__blocks_shm *blocks, const struct tine__drain *drain)
{
    uint64_t sweeper = load(&blocks->sweeper);
    uint32_t count = 0;

    if (sweeper != 0 && tine__owner_word_lives(sweeper))
        return 0;
    if (!change(&blocks->sweeper, sweeper, tine__owner_word()))
        return 0;
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        count += sweep_slot(blocks, &blocks->slots[i], drain);
    atomic_store_explicit(&blocks->sweeper, 0, memory_order_release);
    return count;
}

void tine__blocks_look(struct tine__blocks_shm *blocks, const struct tine__drain *drain)
{
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        if (atomic_load_explicit(&blocks->slots[i].word, memory_order_relaxed) != 0) {
            if (tine__look_due(&blocks->looked))
                tine__blocks_sweep(blocks, drain);
            return;
        }
}

void tine__blocks_empty(struct tine__blocks_shm *blocks)
{
    struct tine__visitors_shm *chunk;

    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        free_block(&blocks->slots[i]);
    while ((chunk = next_chunk(&blocks->visitors)) != NULL) {
        /*
         * Out of the list first: killed here, one is lost, and who comes again goes on behind it.
         */
        atomic_store_explicit(&blocks->visitors.next, load(&chunk->next), memory_order_release);
        tine_free(chunk);
    }
}
