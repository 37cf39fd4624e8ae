/* SPDX-License-Identifier: MIT */
/*
 * Leases: which items this process has got, and what task_done means.
 *
 * Taking an item makes its word TAKEN by a party, in one CAS, so there is no instant at which an
 * item has been received and its lease not recorded. A lease ends by one CAS of the same word: done
 * by the holder (or for it, by one that holds none), or given back by whoever finds the holder dead
 * or its time over (ipc/queue_sweep.c). The loser of the two sees a word of another generation.
 *
 *     TAKEN → FREE         done; the payload is in the slot
 *     TAKEN → DONE → FREE  done; the payload is in a block, or somebody still reads it
 *
 * The list here is private to the process. It tells which item a task_done without an item means;
 * what counts are the words. It is under a lock between the threads, as are the items in hand. A
 * get that copies notes its lease when it has done so: until then no other thread shall finish it.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/checked.h"
#include "lib/fork.h"
#include "shm/held.h"

#define FIRST_ROOM 16

/* The word that `word`, of whoever has the item, becomes when it is done but not free yet. */
static uint64_t done_word(uint64_t word)
{
    return tine__word_next(word & ~TINE__WORD_WATCHED, TINE__ITEM_DONE, tine__word_party(word));
}

/* ---- the list of leases ---------------------------------------------------------------------- */

void tine__leases_reset(struct tine__leases *leases)
{
    /* Where a thread of the parent was in the midst of it, nobody knows whose that memory is. */
    if (atomic_load_explicit(&leases->lock.word, memory_order_relaxed) == 0)
        free(leases->all);
    memset(leases, 0, sizeof *leases);
}

/* One that is gone, or was done for by another process: this one frees it, if it reads it no
   more. */
static bool is_over(tine_queue *queue, const struct tine__lease *lease)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, lease->index);
    uint64_t word = tine__slot_word(slot);

    if (tine__word_same(word, lease->word) || lease->item != NULL)
        return false;
    if (tine__word_same(word, done_word(lease->word)))
        tine__slot_free(slot, word);
    return true;
}

/* Under the lock: closes gaps. */
static void tidy(tine_queue *queue)
{
    struct tine__leases *leases = &queue->leases;
    size_t to = 0;

    for (size_t i = leases->first; i < leases->end; i++)
        if (leases->all[i].index != TINE__NO_SLOT && !is_over(queue, &leases->all[i]))
            leases->all[to++] = leases->all[i];
    leases->first = 0;
    leases->end = to;
}

static int make_room(struct tine__leases *leases)
{
    size_t room = leases->room == 0 ? FIRST_ROOM : leases->room, size;
    struct tine__lease *all;

    if (leases->room != 0 && !tine__mul_size(leases->room, 2, &room))
        return -ENOMEM;
    if (!tine__mul_size(room, sizeof *all, &size))
        return -ENOMEM;
    all = realloc(leases->all, size);
    if (all == NULL)
        return -ENOMEM;
    leases->all = all;
    leases->room = room;
    return 0;
}

/* Under the lock. 0, -ENOMEM. */
static int make_place(tine_queue *queue)
{
    struct tine__leases *leases = &queue->leases;
    int rc = 0;

    if (leases->end + leases->reserved < leases->room)
        return 0;
    tidy(queue);
    /* half full: it would soon have to be tidied again */
    if (2 * (leases->end + leases->reserved) >= leases->room)
        rc = make_room(leases);
    return leases->end + leases->reserved < leases->room ? 0 : rc;
}

int tine__lease_reserve(tine_queue *queue)
{
    int rc;

    tine__futex_lock(&queue->leases.lock);
    rc = make_place(queue);
    if (rc == 0)
        queue->leases.reserved++;
    tine__futex_unlock(&queue->leases.lock);
    return rc;
}

void tine__lease_unreserve(tine_queue *queue)
{
    tine__futex_lock(&queue->leases.lock);
    queue->leases.reserved--;
    tine__futex_unlock(&queue->leases.lock);
}

void tine__lease_note(tine_queue *queue, uint32_t index, uint64_t word, tine_queue_item *item)
{
    struct tine__leases *leases = &queue->leases;
    const struct tine__self *self = tine__self();

    tine__futex_lock(&leases->lock);
    leases->reserved--;
    leases->all[leases->end++] = (struct tine__lease){
        .word = word,
        .index = index,
        .tid = self != NULL ? self->tid : 0,
        .item = item,
    };
    tine__futex_unlock(&leases->lock);
}

/* Under the lock: of the item in hand; else the one that task_done means; NULL for none. */
static struct tine__lease *find_item(struct tine__leases *leases, const tine_queue_item *item)
{
    for (size_t i = leases->first; i < leases->end; i++)
        if (leases->all[i].index != TINE__NO_SLOT && leases->all[i].item == item)
            return &leases->all[i];
    return NULL;
}

static struct tine__lease *find_first(struct tine__leases *leases, int32_t tid)
{
    struct tine__lease *other = NULL;

    for (size_t i = leases->first; i < leases->end; i++) {
        struct tine__lease *lease = &leases->all[i];

        if (lease->index == TINE__NO_SLOT)
            continue;
        if (lease->tid == tid)
            return lease;
        if (other == NULL)
            other = lease;
    }
    return other;
}

static void drop(struct tine__leases *leases, struct tine__lease *lease)
{
    lease->index = TINE__NO_SLOT;
    while (leases->first < leases->end && leases->all[leases->first].index == TINE__NO_SLOT)
        leases->first++;
    if (leases->first == leases->end)
        leases->first = leases->end = 0;
}

bool tine__lease_lasts(const tine_queue *queue, uint32_t index, uint64_t word)
{
    uint64_t seen;

    if (queue->shm->lease_ns == 0)
        return true;
    /* what was read of the item is not newer than its word, which is read now */
    atomic_thread_fence(memory_order_acquire);
    seen = tine__slot_word(tine__queue_slot(queue, index));
    return tine__word_same(seen, word) || tine__word_same(seen, done_word(word));
}

/* ---- done ------------------------------------------------------------------------------------ */

static uint64_t free_word(uint64_t word)
{
    return tine__word_next(word, TINE__ITEM_FREE, 0) &
           ~(TINE__WORD_WATCHED | TINE__WORD_DELIVERIES);
}

bool tine__lease_finish(tine_queue *queue, uint32_t index, uint64_t word)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, index);

    if (tine__word_is(word, TINE__ITEM_TAKEN)) {
        bool block = atomic_load_explicit(&slot->block, memory_order_relaxed) != 0;

        if (!tine__slot_turn(slot, &word, block ? done_word : free_word))
            return false;
        tine__queue_finished(queue, word);
        if (!block)
            return true;
        word = done_word(word);
    }
    tine__slot_free(slot, word);
    return true;
}

/* Under the lock. 0, -ECANCELED. */
static int finish_own(tine_queue *queue, const struct tine__lease *lease)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, lease->index);
    uint64_t word = lease->word;

    if (lease->item != NULL) {
        bool ended = tine__slot_turn(slot, &word, done_word);

        if (ended)
            tine__queue_finished(queue, word);
        lease->item->word = done_word(lease->word);
        return ended ? 0 : -ECANCELED;
    }
    if (tine__lease_finish(queue, lease->index, lease->word))
        return 0;
    is_over(queue, lease);
    return -ECANCELED;
}

/* Another process got it, and will free the slot. 0, -EOVERFLOW. */
static int finish_another(tine_queue *queue)
{
    for (;;) {
        uint64_t first = UINT64_MAX, word = 0;
        uint32_t index = TINE__NO_SLOT;

        for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++) {
            uint64_t seen = tine__slot_word(tine__queue_slot(queue, i));
            uint64_t ticket =
                atomic_load_explicit(&tine__queue_slot(queue, i)->ticket, memory_order_relaxed);

            if (!tine__word_is(seen, TINE__ITEM_TAKEN) ||
                (index != TINE__NO_SLOT && ticket >= first))
                continue;
            index = i;
            word = seen;
            first = ticket;
        }
        if (index == TINE__NO_SLOT)
            return -EOVERFLOW;
        if (tine__slot_turn(tine__queue_slot(queue, index), &word, done_word)) {
            tine__queue_finished(queue, word);
            return 0;
        }
    }
}

int tine_queue_task_done(tine_queue *queue)
{
    int party = queue == NULL || !queue->shm->joinable ? -EINVAL : tine__queue_enter(queue);
    const struct tine__self *self = party < 0 ? NULL : tine__self();
    struct tine__lease *lease;
    int rc = 0;

    if (party < 0)
        return party;
    tine__futex_lock(&queue->leases.lock);
    lease = find_first(&queue->leases, self != NULL ? self->tid : 0);
    if (lease != NULL) {
        rc = finish_own(queue, lease);
        drop(&queue->leases, lease);
    }
    tine__futex_unlock(&queue->leases.lock);
    return lease != NULL ? rc : finish_another(queue);
}

int tine__lease_done(tine_queue *queue, const tine_queue_item *item)
{
    struct tine__lease *lease;
    int rc = -EOVERFLOW;

    tine__futex_lock(&queue->leases.lock);
    lease = find_item(&queue->leases, item);
    if (lease != NULL) {
        rc = finish_own(queue, lease);
        drop(&queue->leases, lease);
    }
    tine__futex_unlock(&queue->leases.lock);
    return rc;
}

bool tine__lease_let_go(tine_queue *queue, const tine_queue_item *item)
{
    struct tine__lease *lease;

    tine__futex_lock(&queue->leases.lock);
    lease = find_item(&queue->leases, item);
    if (lease != NULL)
        lease->item = NULL;
    tine__futex_unlock(&queue->leases.lock);
    return lease != NULL;
}

void tine__leases_return(tine_queue *queue)
{
    struct tine__leases *leases = &queue->leases;

    if (atomic_load_explicit(&queue->generation, memory_order_acquire) != tine__fork_generation())
        return; /* they are the parent's */
    for (size_t i = leases->first; i < leases->end; i++)
        if (leases->all[i].index != TINE__NO_SLOT) {
            leases->all[i].item = NULL;
            if (!is_over(queue, &leases->all[i]))
                tine__lease_give_back(queue, leases->all[i].index, leases->all[i].word);
        }
}
