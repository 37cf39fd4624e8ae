/* SPDX-License-Identifier: MIT */
/*
 * LIFO and PRIORITY: a binary heap in one array, under a robust lock.
 *
 * The words of the slots are the truth: QUEUED is in the ranking. Both changes of a word come
 * first, then that of the array, so whoever gets the lock after a death makes the array anew from
 * the words. Killed before its word said QUEUED, a producer has put nothing; killed after it, the
 * item is there. A taker's CAS of the word takes the item and records its taker in one step.
 *
 * The array has room for all slots that there are when an item becomes QUEUED, so making it anew
 * allocates nothing. It grows by copying; a death between loses one block.
 *
 * A stopped holder stops the others here, other than in the fifo, but for no longer than their
 * timeouts; and neither shutdown nor join, which do without the lock. That a get says -ESHUTDOWN it
 * needs the lock for: then no producer that was let in before the shutdown is still on its way.
 */
#include "ipc/queue_ranking.h"

#include <errno.h>
#include <string.h>

#include <tine/heap.h>

#include "shm/waiters.h"

static struct tine__rank_shm *entries_of(const struct tine__ranking_shm *ranking)
{
    return atomic_load_explicit(&ranking->entries, memory_order_relaxed);
}

static uint64_t count_of(const struct tine__ranking_shm *ranking)
{
    return atomic_load_explicit(&ranking->count, memory_order_seq_cst);
}

/* seq_cst, against those who announce that they sleep and then look at it */
static void set_count(struct tine__ranking_shm *ranking, uint64_t count)
{
    atomic_store_explicit(&ranking->count, count, memory_order_seq_cst);
}

static uint64_t puts_of(const struct tine__ranking_shm *ranking)
{
    return atomic_load_explicit(&ranking->puts, memory_order_seq_cst);
}

static bool is_shut(const struct tine__ranking_shm *ranking)
{
    return atomic_load_explicit(&ranking->shut, memory_order_seq_cst) != 0;
}

static void count_put(struct tine__ranking_shm *ranking)
{
    atomic_store_explicit(&ranking->puts, puts_of(ranking) + 1, memory_order_seq_cst);
}

/* ---- the heap -------------------------------------------------------------------------------- */

static bool before(const struct tine__rank_shm *a, const struct tine__rank_shm *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->ticket < b->ticket;
}

static void sift_up(struct tine__rank_shm *entries, uint64_t at, struct tine__rank_shm rank)
{
    while (at > 0 && before(&rank, &entries[(at - 1) / 2])) {
        entries[at] = entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    entries[at] = rank;
}

static void sift_down(struct tine__rank_shm *entries, uint64_t count, uint64_t at,
                      struct tine__rank_shm rank)
{
    for (;;) {
        uint64_t child = 2 * at + 1;

        if (child + 1 < count && before(&entries[child + 1], &entries[child]))
            child++;
        if (child >= count || !before(&entries[child], &rank))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = rank;
}

static void insert(struct tine__ranking_shm *ranking, uint32_t index)
{
    const struct tine__slot_shm *slot = tine__slot_at(ranking->slots, index);
    uint64_t count = count_of(ranking);
    struct tine__rank_shm rank = {
        .priority = ranking->lifo ? 0 : slot->priority,
        .ticket = atomic_load_explicit(&slot->ticket, memory_order_relaxed),
        .slot = index,
    };

    sift_up(entries_of(ranking), count, rank);
    set_count(ranking, count + 1);
}

static void remove_first(struct tine__ranking_shm *ranking)
{
    struct tine__rank_shm *entries = entries_of(ranking);
    uint64_t count = count_of(ranking) - 1;

    if (count > 0)
        sift_down(entries, count, 0, entries[count]);
    set_count(ranking, count);
}

/* ---- the lock -------------------------------------------------------------------------------- */

/* After a death under the lock. */
static void repair(void *context)
{
    struct tine__ranking_shm *ranking = context;
    uint32_t total = tine__slots_total(ranking->slots);

    if (puts_of(ranking) % 2 != 0)
        count_put(ranking);
    set_count(ranking, 0);
    for (uint32_t i = 0; i < total; i++)
        if (tine__word_state(tine__slot_word(tine__slot_at(ranking->slots, i))) ==
            TINE__ITEM_QUEUED)
            insert(ranking, i);
}

/* 0, -ETIMEDOUT: also where somebody is stopped under it. */
static int lock(struct tine__ranking_shm *ranking, tine__deadline deadline)
{
    int rc = tine__robust_lock_until(&ranking->lock, 0, repair, ranking);

    if (rc != -ETIMEDOUT)
        return rc;
    if (deadline == TINE__RANKING_AT_ONCE)
        deadline = tine__deadline_after(TINE__LOOK_NS);
    return tine__robust_lock_until(&ranking->lock, deadline, repair, ranking);
}

static void unlock(struct tine__ranking_shm *ranking)
{
    tine__robust_unlock(&ranking->lock);
}

/* Room for all slots. 0, -ENOMEM. */
static int make_room(struct tine__ranking_shm *ranking)
{
    uint64_t total = tine__slots_total(ranking->slots);
    struct tine__rank_shm *old = entries_of(ranking), *entries;

    if (ranking->room >= total)
        return 0;
    entries = tine_alloc(total * sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    if (old != NULL)
        memcpy(entries, old, count_of(ranking) * sizeof *entries);
    /* room last: a death before it leaves an array that is larger than it says */
    atomic_store_explicit(&ranking->entries, entries, memory_order_release);
    ranking->room = total;
    tine_free(old);
    return 0;
}

/* ---- using ----------------------------------------------------------------------------------- */

/* FILLING, the caller's, → QUEUED, and into the heap. */
static void enqueue(struct tine__ranking_shm *ranking, uint32_t index, uint64_t word)
{
    struct tine__slot_shm *slot = tine__slot_at(ranking->slots, index);

    count_put(ranking);
    while (!tine__slot_change(slot, &word, tine__word_next(word, TINE__ITEM_QUEUED, 0)))
        ; /* somebody watches it now */
    insert(ranking, index);
    count_put(ranking);
}

static int put_locked(struct tine__ranking_shm *ranking, uint32_t index, uint64_t maxsize)
{
    struct tine__slot_shm *slot = tine__slot_at(ranking->slots, index);
    uint64_t ticket = ++ranking->last_ticket;

    if (is_shut(ranking))
        return -ESHUTDOWN;
    if (maxsize != 0 && count_of(ranking) >= maxsize)
        return -EAGAIN;
    if (make_room(ranking) < 0)
        return -ENOMEM;
    atomic_store_explicit(&slot->ticket, ranking->lifo ? UINT64_MAX - ticket : ticket,
                          memory_order_relaxed);
    enqueue(ranking, index, tine__slot_word(slot));
    return 0;
}

int tine__ranking_put(struct tine__ranking_shm *ranking, uint32_t index, uint64_t maxsize,
                      tine__deadline deadline)
{
    int rc;

    if (is_shut(ranking))
        return -ESHUTDOWN;
    if (maxsize != 0 && count_of(ranking) >= maxsize)
        return -EAGAIN;
    rc = lock(ranking, deadline);
    if (rc < 0)
        return rc;
    rc = put_locked(ranking, index, maxsize);
    unlock(ranking);
    return rc;
}

/* What was returned goes to where it was before. */
static void take_back(struct tine__ranking_shm *ranking)
{
    uint32_t total = tine__slots_total(ranking->slots);

    if (make_room(ranking) < 0)
        return;
    for (uint32_t i = 0; i < total && i < ranking->room; i++) {
        uint64_t word = tine__slot_word(tine__slot_at(ranking->slots, i));

        if (tine__word_state(word) == TINE__ITEM_RETURNED)
            enqueue(ranking, i, word);
    }
}

static int take_locked(struct tine__ranking_shm *ranking, uint32_t party, uint64_t state,
                       uint32_t *index, uint64_t *word)
{
    struct tine__slot_shm *slot;
    uint64_t seen, next;

    if (count_of(ranking) == 0)
        return is_shut(ranking) ? -ESHUTDOWN : -EAGAIN;
    *index = (uint32_t)entries_of(ranking)[0].slot;
    slot = tine__slot_at(ranking->slots, *index);
    seen = tine__slot_word(slot);
    do {
        next = tine__word_next(seen, state, party);
        if (tine__word_deliveries(seen) < 255)
            next += TINE__WORD_DELIVERY;
    } while (!tine__slot_change(slot, &seen, next));
    remove_first(ranking);
    *word = next;
    return 0;
}

int tine__ranking_take(struct tine__ranking_shm *ranking, uint32_t party, uint64_t state,
                       bool returned, tine__deadline deadline, uint32_t *index, uint64_t *word)
{
    int rc;

    if (!returned && count_of(ranking) == 0 && !is_shut(ranking))
        return -EAGAIN;
    rc = lock(ranking, deadline);
    if (rc < 0)
        return rc;
    if (returned)
        take_back(ranking);
    rc = take_locked(ranking, party, state, index, word);
    unlock(ranking);
    return rc;
}

uint64_t tine__ranking_puts(const struct tine__ranking_shm *ranking)
{
    return puts_of(ranking);
}

/* Where it is held, it is by the living: they, or who comes next, repair what they find. */
void tine__ranking_settle(struct tine__ranking_shm *ranking)
{
    if (tine__robust_lock_until(&ranking->lock, 0, repair, ranking) == 0)
        unlock(ranking);
}

/* Whoever is putting under the lock gets on; who takes asks for the lock, and so comes after it. */
void tine__ranking_shut(struct tine__ranking_shm *ranking)
{
    atomic_store_explicit(&ranking->shut, 1, memory_order_seq_cst);
}

int tine__ranking_init(struct tine__ranking_shm *ranking, const struct tine__slots_shm *slots,
                       bool lifo)
{
    ranking->slots = slots;
    ranking->lifo = lifo;
    return tine__robust_init(&ranking->lock);
}

void tine__ranking_empty(struct tine__ranking_shm *ranking)
{
    tine_free(atomic_exchange(&ranking->entries, NULL));
}
