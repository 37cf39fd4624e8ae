/* SPDX-License-Identifier: MIT */
/*
 * What comes back: items of those who died, were late, closed the queue or could not use them.
 *
 *     TAKEN → RETURNED    comes before all others: takers go through the slots whenever `returned`
 *                         has changed since they found none
 *     TAKEN → DEAD        delivered as often as may be; waits for tine_queue_dead_letters()
 *     TAKEN → LOST → FREE counted in the slot together with the generation of LOST, so that it is
 *                         counted once, however many finish it
 *
 * A giver that is killed before it has changed `returned` is swept like any other, and every sweep
 * changes it; one that is stopped there is noticed by the next look, which goes through the slots.
 *
 * Whoever sleeps looks for the dead every TINE__LOOK_NS. Any number may sweep at the same time, be
 * killed or stopped over it: see ipc/queue_parties.c.
 */
#include "ipc/queue_impl.h"

#include <errno.h>

#include "ipc/queue_charge.h"

#define LOOK_SLOTS  65536 /* that one look goes through */
#define EXPIRY_TAG  48    /* bits 48-63: of the generation; below: ns >> EXPIRY_UNIT */
#define EXPIRY_UNIT 12
#define EXPIRY_TIME (((uint64_t)1 << EXPIRY_TAG) - 1)
#define LOST_COUNT  39 /* bits 39-63: how many; below: generation of the last */

/* ---- giving back ----------------------------------------------------------------------------- */

static uint64_t returned_word(uint64_t word)
{
    return tine__word_next(word, TINE__ITEM_RETURNED, 0);
}

static uint64_t refused_word(uint64_t word)
{
    return returned_word(word) - (tine__word_deliveries(word) < 255 ? TINE__WORD_DELIVERY : 0);
}

static uint64_t dead_word(uint64_t word)
{
    return tine__word_next(word & ~TINE__WORD_WATCHED, TINE__ITEM_DEAD, 0);
}

static uint64_t lost_word(uint64_t word)
{
    return tine__word_next(word, TINE__ITEM_LOST, 0);
}

static void say_returned(tine_queue *queue)
{
    atomic_fetch_add_explicit(&queue->shm->returned, 1, memory_order_seq_cst);
    tine__waiters_wake_all(&queue->shm->readable);
}

/* Takes a slot from a word that nobody alive has, and frees it. */
static void abandon(tine_queue *queue, struct tine__slot_shm *slot, uint64_t word)
{
    uint32_t party = atomic_load_explicit(&queue->party, memory_order_relaxed);
    uint64_t mine = tine__word_next(word, TINE__ITEM_FILLING, party);

    if (!tine__slot_change(slot, &word, mine))
        return;
    tine__charge_back(queue->shm, slot);
    if (tine__slot_free(slot, mine))
        tine__waiters_wake_all(&queue->shm->finished);
}

void tine__lease_finish_loss(tine_queue *queue, struct tine__slot_shm *slot, uint64_t word)
{
    uint64_t lost = atomic_load_explicit(&slot->lost, memory_order_acquire);
    uint64_t generation = word / TINE__WORD_GENERATION;
    uint64_t counted = ((lost >> LOST_COUNT) + 1) << LOST_COUNT | generation;

    /* A CAS that fails: another has counted it. */
    if ((lost & (((uint64_t)1 << LOST_COUNT) - 1)) != generation && tine__slot_word(slot) == word)
        atomic_compare_exchange_strong_explicit(&slot->lost, &lost, counted, memory_order_acq_rel,
                                                memory_order_relaxed);
    abandon(queue, slot, word);
}

uint64_t tine__lease_count_lost(const tine_queue *queue)
{
    uint64_t count = 0;

    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++)
        count += atomic_load_explicit(&tine__queue_slot(queue, i)->lost, memory_order_acquire) >>
                 LOST_COUNT;
    return count;
}

void tine__lease_give_back(tine_queue *queue, uint32_t index, uint64_t word)
{
    const struct tine__queue_shm *shm = queue->shm;
    struct tine__slot_shm *slot = tine__queue_slot(queue, index);

    if (shm->lose) {
        if (tine__slot_turn(slot, &word, lost_word))
            tine__lease_finish_loss(queue, slot, lost_word(word));
    } else if (shm->deliveries_max != 0 && tine__word_deliveries(word) >= shm->deliveries_max) {
        if (tine__slot_turn(slot, &word, dead_word))
            tine__queue_finished(queue, word);
    } else if (tine__slot_turn(slot, &word, returned_word)) {
        say_returned(queue);
    }
}

void tine__lease_refuse(tine_queue *queue, uint32_t index, uint64_t word)
{
    if (tine__slot_turn(tine__queue_slot(queue, index), &word, refused_word))
        say_returned(queue);
}

/* The one that was put first, of those that were returned. */
static bool find_returned(tine_queue *queue, uint32_t *index, uint64_t *word)
{
    uint64_t first = UINT64_MAX;
    bool found = false;

    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++) {
        const struct tine__slot_shm *slot = tine__queue_slot(queue, i);
        uint64_t seen = tine__slot_word(slot);
        uint64_t ticket = atomic_load_explicit(&slot->ticket, memory_order_relaxed);

        if (!tine__word_is(seen, TINE__ITEM_RETURNED) || (found && ticket >= first))
            continue;
        *index = i;
        *word = seen;
        first = ticket;
        found = true;
    }
    return found;
}

int tine__lease_take_returned(tine_queue *queue, uint32_t party, uint32_t *index, uint64_t *word)
{
    struct tine__queue_shm *shm = queue->shm;
    uint64_t seen = atomic_load_explicit(&shm->returned_seen, memory_order_relaxed);
    uint64_t returned = atomic_load_explicit(&shm->returned, memory_order_seq_cst), next;

    while (find_returned(queue, index, word)) {
        next = tine__word_next(*word, shm->joinable ? TINE__ITEM_TAKEN : TINE__ITEM_DONE, party);
        if (tine__word_deliveries(*word) < 255)
            next += TINE__WORD_DELIVERY;
        if (!tine__slot_change(tine__queue_slot(queue, *index), word, next))
            continue;
        *word = next;
        return 0;
    }
    atomic_compare_exchange_strong_explicit(&shm->returned_seen, &seen, returned,
                                            memory_order_seq_cst, memory_order_relaxed);
    return -EAGAIN;
}

uint64_t tine__lease_count_returned(tine_queue *queue)
{
    uint64_t count = 0;

    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++)
        count += tine__word_is(tine__slot_word(tine__queue_slot(queue, i)), TINE__ITEM_RETURNED);
    return count;
}

/* ---- the dead -------------------------------------------------------------------------------- */

/* An item PUT by a dead party is in the queue if a cell says so, else it never will be. */
static void settle_put(tine_queue *queue, uint32_t index, uint64_t word)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, index);
    uint64_t ticket = atomic_load_explicit(&slot->ticket, memory_order_relaxed);

    if (tine__fifo_names(&queue->shm->fifo, ticket, index))
        tine__slot_change(slot, &word, tine__word_next(word, TINE__ITEM_QUEUED, 0));
    else
        abandon(queue, slot, word);
}

/* Of a word of theirs: does whoever is dead still have the number? */
static bool is_theirs(const tine_queue *queue, const struct tine__parties_dead *dead, uint64_t word)
{
    uint64_t owner = tine__parties_dead_owner(dead, tine__word_party(word));

    return owner != 0 && tine__parties_is(&queue->shm->parties, tine__word_party(word), owner);
}

static void sweep_slot(tine_queue *queue, uint32_t index, uint64_t word)
{
    switch (tine__word_state(word)) {
    case TINE__ITEM_PUT:
        settle_put(queue, index, word);
        break;
    case TINE__ITEM_TAKEN:
        tine__lease_give_back(queue, index, word);
        break;
    case TINE__ITEM_FILLING:
    case TINE__ITEM_DONE:
        abandon(queue, tine__queue_slot(queue, index), word);
        break;
    default:
        break;
    }
}

/* One pass; how many of their items it has seen. */
static uint32_t sweep_slots(tine_queue *queue, const struct tine__parties_dead *dead)
{
    uint32_t seen = 0;

    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++) {
        uint64_t word = tine__slot_word(tine__queue_slot(queue, i));

        if (!is_theirs(queue, dead, word))
            continue;
        sweep_slot(queue, i, word);
        seen++;
    }
    return seen;
}

/* A word may change under the sweep because somebody watches it: so again, until nothing is
   left. */
static void sweep_run(tine_queue *queue, const struct tine__parties_dead *dead)
{
    struct tine__queue_shm *shm = queue->shm;

    while (sweep_slots(queue, dead) > 0)
        ;
    if (shm->order != TINE_FIFO)
        tine__ranking_settle(&shm->ranking);
    say_returned(queue); /* for one of them may have been about to say so */
    tine__waiters_wake_all(&shm->writable);
    tine__waiters_wake_all(&shm->finished);
    for (uint32_t i = 0; i < TINE__PARTIES_RUN; i++)
        if (dead->owners[i] != 0)
            tine__parties_forget(&shm->parties, dead->first + i, dead->owners[i]);
}

static void sweep_dead(tine_queue *queue)
{
    struct tine__parties_dead dead = {.first = 0};

    while (tine__parties_next_dead(&queue->shm->parties, &dead))
        sweep_run(queue, &dead);
}

/* ---- the late -------------------------------------------------------------------------------- *
 * When a lease ends is stored after it was taken, with a piece of the word's generation. If that
 * does not fit the word, the taker has not come to it yet, and whoever looks does it instead. */

static uint64_t expiry_of(uint64_t word, int64_t time)
{
    return word / TINE__WORD_GENERATION << EXPIRY_TAG |
           ((uint64_t)time >> EXPIRY_UNIT & EXPIRY_TIME);
}

void tine__lease_begin(tine_queue *queue, uint32_t index, uint64_t word)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, index);
    uint64_t there = atomic_load_explicit(&slot->expiry, memory_order_relaxed);
    int64_t now = tine__now_ns(), lease = queue->shm->lease_ns;

    if (there >> EXPIRY_TAG != expiry_of(word, 0) >> EXPIRY_TAG)
        atomic_compare_exchange_strong_explicit(
            &slot->expiry, &there,
            expiry_of(word, lease < INT64_MAX - now ? now + lease : INT64_MAX),
            memory_order_relaxed, memory_order_relaxed);
}

static void look_at_lease(tine_queue *queue, uint32_t index, uint64_t word, int64_t now)
{
    uint64_t expiry =
        atomic_load_explicit(&tine__queue_slot(queue, index)->expiry, memory_order_relaxed);

    if (expiry >> EXPIRY_TAG != expiry_of(word, 0) >> EXPIRY_TAG)
        tine__lease_begin(queue, index, word);
    else if ((expiry & EXPIRY_TIME) < ((uint64_t)now >> EXPIRY_UNIT & EXPIRY_TIME))
        tine__lease_give_back(queue, index, word);
}

/* Through the slots, or the next part of them where there are very many. */
static void look_at_slots(tine_queue *queue)
{
    uint32_t all = tine__queue_slots(queue), count = all < LOOK_SLOTS ? all : LOOK_SLOTS;
    uint32_t at = atomic_fetch_add_explicit(&queue->look_at, count, memory_order_relaxed);
    int64_t now = tine__now_ns();
    bool returned = false;

    for (; count > 0; count--, at++) {
        uint64_t word = tine__slot_word(tine__queue_slot(queue, at & (all - 1)));

        if (tine__word_is(word, TINE__ITEM_TAKEN) && queue->shm->lease_ns != 0)
            look_at_lease(queue, at & (all - 1), word, now);
        else if (tine__word_is(word, TINE__ITEM_LOST))
            tine__lease_finish_loss(queue, tine__queue_slot(queue, at & (all - 1)), word);
        returned = returned || tine__word_is(word, TINE__ITEM_RETURNED);
    }
    if (returned && !tine__queue_has_returned(queue->shm))
        say_returned(queue);
}

bool tine__queue_look(tine_queue *queue, bool always)
{
    if (!tine__look_due(&queue->shm->looked) && !always)
        return false;
    sweep_dead(queue);
    look_at_slots(queue);
    return true;
}
