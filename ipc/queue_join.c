/* SPDX-License-Identifier: MIT */
/*
 * join, and the dead letters.
 *
 * There is no count of what is unfinished, which two processes would fight for at each item, and a
 * death would leave wrong. Whoever joins goes through the slots; it marks the unfinished one that
 * was put last as watched, and whoever finishes that wakes it. That all were done at one moment it
 * knows when it has found none, and nothing has been put meanwhile.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static uint64_t watched_word(uint64_t word)
{
    return word | TINE__WORD_WATCHED;
}

static bool is_unfinished(tine_queue *queue, uint32_t index, uint64_t word)
{
    struct tine__slot_shm *slot = tine__queue_slot(queue, index);

    switch (tine__word_state(word)) {
    case TINE__ITEM_TAKEN:
    case TINE__ITEM_QUEUED:
    case TINE__ITEM_RETURNED:
        return true;
    case TINE__ITEM_PUT:
        return tine__fifo_names(&queue->shm->fifo,
                                atomic_load_explicit(&slot->ticket, memory_order_relaxed), index);
    case TINE__ITEM_LOST:
        tine__lease_finish_loss(queue, slot, word);
        return false;
    default:
        return false;
    }
}

/* The unfinished one that was put last; false: there is none. */
static bool find_unfinished(tine_queue *queue, uint32_t *index, uint64_t *word)
{
    uint64_t last = 0;
    bool found = false;

    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++) {
        uint64_t seen = tine__slot_word(tine__queue_slot(queue, i));
        uint64_t ticket =
            atomic_load_explicit(&tine__queue_slot(queue, i)->ticket, memory_order_relaxed);

        if ((found && ticket < last) || !is_unfinished(queue, i, seen))
            continue;
        *index = i;
        *word = seen;
        last = ticket;
        found = true;
    }
    return found;
}

/* Changes with each item that is put. */
static uint64_t count_puts(tine_queue *queue)
{
    struct tine__queue_shm *shm = queue->shm;

    return shm->order == TINE_FIFO ? tine__fifo_tail(&shm->fifo)
                                   : tine__ranking_puts(&shm->ranking);
}

/* False: there is one that is not, and that is watched now. */
static bool all_are_done(tine_queue *queue)
{
    for (;;) {
        uint64_t before = count_puts(queue), word;
        uint32_t index;

        if (find_unfinished(queue, &index, &word)) {
            if (tine__slot_turn(tine__queue_slot(queue, index), &word, watched_word))
                return false;
        } else if (count_puts(queue) == before) {
            return true;
        }
    }
}

/* After an immediate shutdown. Waits for a ranking's lock until the next look for the dead is
   due. */
static void drop_rest(tine_queue *queue, uint32_t party, tine__deadline deadline)
{
    tine__deadline look = tine__deadline_after(TINE__LOOK_NS);

    tine__queue_drain(queue, party, deadline < look ? deadline : look);
}

static int join_until(tine_queue *queue, uint32_t party, tine__deadline deadline)
{
    struct tine__queue_shm *shm = queue->shm;
    bool looked = tine__queue_look(queue, false);

    for (;;) {
        uint32_t turn = tine__waiters_join(&shm->finished);
        int rc;

        if (atomic_load_explicit(&shm->immediate, memory_order_seq_cst))
            drop_rest(queue, party, deadline);
        if (all_are_done(queue))
            return 0;
        rc = tine__waiters_sleep(&shm->finished, turn, deadline);
        if (rc < 0 && looked)
            return rc;
        looked = tine__queue_look(queue, rc < 0);
    }
}

int tine_queue_join(tine_queue *queue, int64_t timeout_ns, uint64_t *lost)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int party = queue == NULL || !queue->shm->joinable ? -EINVAL : tine__queue_enter(queue);
    int rc;

    if (party < 0)
        return party;
    rc = join_until(queue, (uint32_t)party, deadline);
    if (lost != NULL)
        *lost = tine__lease_count_lost(queue);
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

/* ---- dead letters ---------------------------------------------------------------------------- */

static uint64_t letter_word(uint64_t word, uint32_t party)
{
    return tine__word_next(word, TINE__ITEM_DONE, party);
}

int tine_queue_dead_letters(tine_queue *queue, tine_queue_item **items, size_t room)
{
    int party = queue == NULL || items == NULL || room == 0 || room > INT_MAX
                    ? -EINVAL
                    : tine__queue_enter(queue);
    int count = 0;

    if (party < 0)
        return party;
    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n && (size_t)count < room; i++) {
        uint64_t word = tine__slot_word(tine__queue_slot(queue, i));
        tine_queue_item *item = tine__word_is(word, TINE__ITEM_DEAD) ? malloc(sizeof *item) : NULL;

        if (!tine__word_is(word, TINE__ITEM_DEAD))
            continue;
        if (item == NULL)
            return count > 0 ? count : -ENOMEM;
        if (tine__slot_change(tine__queue_slot(queue, i), &word,
                              letter_word(word, (uint32_t)party))) {
            tine__item_begin(item, queue, i, letter_word(word, (uint32_t)party));
            items[count++] = item;
        } else {
            free(item);
        }
    }
    return count;
}
