/* SPDX-License-Identifier: MIT */
/*
 * Getting: one CAS of the item's word makes it this process's, and in a joinable queue that is its
 * lease. What was returned comes first, then what the fifo or the ranking says.
 *
 * An item whose content does not fit what the caller has for it is returned, so that it is the next
 * again.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/queue_charge.h"
#include "lib/codec.h"
#include "shm/pollable.h"
#include "shm/watch.h"

#define GETS_A_LOOK 1024

#define VAIN_MOST 4 /* wake-ups in vain until a nap is as long as it gets */

#define PATIENCE_PAYS 4 /* items */

static int take_next(tine_queue *queue, uint32_t party, tine__deadline deadline, uint32_t *index,
                     uint64_t *word)
{
    struct tine__queue_shm *shm = queue->shm;
    uint64_t state = shm->joinable ? TINE__ITEM_TAKEN : TINE__ITEM_DONE;
    uint64_t returned, seen;
    int rc = -EAGAIN;

    if (shm->order == TINE_FIFO) {
        if (tine__queue_has_returned(shm))
            rc = tine__lease_take_returned(queue, party, index, word);
        return rc == 0 ? rc : tine__fifo_take(&shm->fifo, &shm->slots, party, state, index, word);
    }
    seen = atomic_load_explicit(&shm->returned_seen, memory_order_relaxed);
    returned = atomic_load_explicit(&shm->returned, memory_order_seq_cst);
    rc = tine__ranking_take(&shm->ranking, party, state, returned != seen, deadline, index, word);
    if (returned != seen && rc != -ETIMEDOUT && rc != -ENOMEM)
        atomic_compare_exchange_strong_explicit(&shm->returned_seen, &seen, returned,
                                                memory_order_seq_cst, memory_order_relaxed);
    return rc;
}

/*
 * A producer that is woken for each place takes the CPU from the consumer that has just made it,
 * puts one item and sleeps again. So where items are taken in quick succession it is woken when
 * half the queue is free, and at each tick of the clock. If nobody goes on taking, it finds the
 * room itself after TINE__QUEUE_NAP_NS.
 */
static bool is_worth_waking(struct tine__queue_shm *shm)
{
    uint64_t tick = (uint64_t)tine__now_coarse_ns();

    if (atomic_load_explicit(&shm->taken_at, memory_order_relaxed) != tick) {
        atomic_store_explicit(&shm->taken_at, tick, memory_order_relaxed);
        return true;
    }
    return tine__queue_count(shm) + tine__queue_room_worth_waking(shm) <= shm->maxsize;
}

static void wake_producers(struct tine__queue_shm *shm)
{
    uint32_t waiting = atomic_load_explicit(&shm->writable.waiting, memory_order_seq_cst);

    if (waiting == 0)
        return;
    if (shm->maxbytes != 0) /* what is too little for the first who waits may do for another */
        tine__waiters_wake_all(&shm->writable);
    else if ((waiting & TINE__WAITERS_WATCHED) != 0 || is_worth_waking(shm))
        tine__waiters_wake(&shm->writable, 1);
}

int tine__queue_take(tine_queue *queue, uint32_t party, tine__deadline deadline, uint32_t *index,
                     uint64_t *word)
{
    struct tine__queue_shm *shm = queue->shm;
    int rc = take_next(queue, party, deadline, index, word);

    if (rc < 0)
        return rc;
    if (shm->maxbytes != 0)
        tine__charge_back(shm, tine__slot_at(&shm->slots, *index));
    if (shm->lease_ns != 0)
        tine__lease_begin(queue, *index, *word);
    if (shm->maxsize != 0 || shm->maxbytes != 0)
        wake_producers(shm);
    return 0;
}

void tine__queue_drain(tine_queue *queue, uint32_t party, tine__deadline deadline)
{
    uint32_t index;
    uint64_t word;

    while (tine__queue_take(queue, party, deadline, &index, &word) == 0)
        tine__lease_finish(queue, index, word);
}

/* What a get gets. */
struct getting {
    tine_queue *queue;
    uint32_t party;
    uint32_t index;
    uint64_t word;
    tine__deadline deadline;
};

static int try_get(struct getting *get)
{
    if (atomic_load_explicit(&get->queue->shm->immediate, memory_order_relaxed))
        return -ESHUTDOWN;
    return tine__queue_take(get->queue, get->party, get->deadline, &get->index, &get->word);
}

/* Nothing gathers where the producer has waited for room meanwhile. */
static void judge_patience(tine_queue *queue)
{
    uint64_t count = tine__queue_count(queue->shm), maxsize = queue->shm->maxsize;

    tine__patience_end(&queue->patience,
                       count >= PATIENCE_PAYS && (maxsize == 0 || count <= maxsize / 2));
}

static bool spin_get(struct getting *get, int *rc)
{
    tine_queue *queue = get->queue;
    struct tine__spinning spinning;
    bool patient;

    tine__spin_begin(&queue->spin_get, &spinning, 0);
    patient = tine__patience_begin(&queue->patience, &spinning);
    while (tine__spin_on(&spinning)) {
        if (patient && tine__spin_too_soon(&spinning))
            continue;
        *rc = try_get(get);
        if (*rc == -EAGAIN)
            continue;
        tine__spin_hit(&queue->spin_get, &spinning);
        if (patient)
            judge_patience(queue);
        return true;
    }
    tine__spin_missed(&queue->spin_get, &spinning);
    return false;
}

/*
 * Where one consumer takes all that comes, each sleeper's wake-up would only take the CPU from it,
 * or from the producer. So whoever has been woken in vain does not sleep where it can be woken, but
 * for a short time, which gets longer with each wake-up in vain. It has announced those who sleep
 * behind it before, and when its nap is over it announces itself, and tests the queue, before it
 * sleeps.
 */
static int sleep_for_item(const struct getting *get, uint32_t turn, uint32_t vain)
{
    struct tine__waiters_shm nobody = {0};
    int64_t nap_ns = TINE__QUEUE_NAP_NS >> (vain < VAIN_MOST ? VAIN_MOST - vain : 0);

    if (vain == 0)
        return tine__waiters_sleep(&get->queue->shm->readable, turn, get->deadline);
    return tine__waiters_nap(&nobody, 0, nap_ns, get->deadline);
}

static int get_later(struct getting *get)
{
    struct tine__queue_shm *shm = get->queue->shm;
    bool looked = tine__queue_look(get->queue, false), slept = false;

    for (uint32_t before = 0, vain = 0;;) {
        uint32_t turn = tine__waiters_join(&shm->readable);
        int rc = try_get(get);

        if (rc == 0 && tine_queue_empty(get->queue) == 0)
            tine__waiters_wake(&shm->readable, 1); /* two wake-ups may have reached only this one */
        if (rc != -EAGAIN)
            return rc;
        slept = !slept || turn == before;
        before = turn;
        rc = sleep_for_item(get, turn, slept ? 0 : ++vain);
        if (rc < 0 && looked)
            return rc;
        looked = tine__queue_look(get->queue, rc < 0);
    }
}

/* In vain it makes quiet the descriptor that this process may have for the queue. */
static int look_and_get(struct getting *get)
{
    struct tine__waiters_shm *readable = &get->queue->shm->readable;
    int rc = tine__queue_look(get->queue, false) ? try_get(get) : -EAGAIN;

    if (rc == -EAGAIN && tine__pollable_missed(readable)) {
        rc = try_get(get);
        if (rc != -EAGAIN)
            tine__watch_ring(readable); /* there may be more */
    }
    return rc;
}

static int get_next(struct getting *get, int64_t timeout_ns)
{
    int rc = try_get(get);

    if (rc == -EAGAIN && timeout_ns == 0)
        rc = look_and_get(get);
    if (rc == -EAGAIN && timeout_ns != 0 && !spin_get(get, &rc))
        rc = get_later(get);
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

/* Where there is always another item nobody sleeps, and nobody else would look for the dead. */
static void look_now_and_then(tine_queue *queue)
{
    uint32_t gets = atomic_load_explicit(&queue->gets, memory_order_relaxed) + 1;

    atomic_store_explicit(&queue->gets, gets, memory_order_relaxed);
    if (gets % GETS_A_LOOK == 0)
        (void)tine__queue_look(queue, false);
}

/* In a joinable queue with a place for the lease, which end_get() uses. */
static int begin_get(struct getting *get, tine_queue *queue, int64_t timeout_ns)
{
    int party = queue == NULL ? -EINVAL : tine__queue_enter(queue);

    if (party < 0)
        return party;
    *get = (struct getting){
        .queue = queue,
        .party = (uint32_t)party,
        .deadline = timeout_ns == 0 ? TINE__QUEUE_PAST : tine__deadline_after(timeout_ns),
    };
    if (!queue->shm->joinable)
        return 0;
    look_now_and_then(queue);
    return tine__lease_reserve(queue);
}

static void end_in_vain(const struct getting *get)
{
    if (get->queue->shm->joinable)
        tine__lease_unreserve(get->queue);
}

static struct tine__slot_shm *slot_got(const struct getting *get)
{
    return tine__slot_at(&get->queue->shm->slots, get->index);
}

static bool lasts(const struct getting *get)
{
    return tine__lease_lasts(get->queue, get->index, get->word);
}

/* The content has been copied, or rc says why not: then the item goes back to where it came
   from. */
static int end_get(const struct getting *get, int rc)
{
    if (rc < 0) {
        end_in_vain(get);
        tine__lease_refuse(get->queue, get->index, get->word);
    } else if (get->queue->shm->joinable) {
        tine__lease_note(get->queue, get->index, get->word, NULL);
    } else {
        tine__slot_free(slot_got(get), get->word);
    }
    return rc;
}

/* 0, -EMSGSIZE; void if the lease does not last, as it may be another item by now. */
static int copy_bytes(const struct getting *get, void *buffer, size_t room, size_t *size)
{
    const void *data = tine__slot_data(slot_got(get));

    *size = slot_got(get)->size;
    if (*size > room)
        return -EMSGSIZE;
    if (*size > 0 && lasts(get)) /* so that data and size belong together */
        memcpy(buffer, data, *size);
    return 0;
}

int tine_queue_get_bytes(tine_queue *queue, void *buffer, size_t room, int64_t timeout_ns,
                         size_t *size)
{
    struct getting get;
    size_t there;
    int rc =
        size == NULL || (buffer == NULL && room > 0) ? -EINVAL : begin_get(&get, queue, timeout_ns);

    if (rc < 0)
        return rc;
    do {
        rc = get_next(&get, timeout_ns);
        if (rc < 0) {
            end_in_vain(&get);
            return rc;
        }
        rc = copy_bytes(&get, buffer, room, &there);
    } while (!lasts(&get));
    *size = there;
    return end_get(&get, rc);
}

/* Where a lease may end while it is unpacked, from a copy. -EAGAIN: it has. */
static int unpack_copy(const struct getting *get, const char *format, va_list args)
{
    const void *data = tine__slot_data(slot_got(get));
    size_t size = slot_got(get)->size;
    void *copy;
    int rc;

    if (!lasts(get))
        return -EAGAIN;
    copy = malloc(size + 1);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, data, size);
    rc = lasts(get) ? tine__vunpack_family(copy, size, format, args) : -EAGAIN;
    free(copy);
    return rc;
}

static int unpack(const struct getting *get, const char *format, va_list args)
{
    if (get->queue->shm->lease_ns != 0)
        return unpack_copy(get, format, args);
    return tine__vunpack_family(tine__slot_data(slot_got(get)), slot_got(get)->size, format, args);
}

static int get_values(tine_queue *queue, int64_t timeout_ns, const char *format, va_list args)
{
    struct getting get;
    int rc = format == NULL || strpbrk(format, "yva") != NULL ? -EINVAL
                                                              : begin_get(&get, queue, timeout_ns);

    if (rc < 0)
        return rc;
    do {
        rc = get_next(&get, timeout_ns);
        if (rc < 0) {
            end_in_vain(&get);
            return rc;
        }
        rc = unpack(&get, format, args);
    } while (rc == -EAGAIN);
    return end_get(&get, rc);
}

int tine_queue_get(tine_queue *queue, int64_t timeout_ns, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = get_values(queue, timeout_ns, format, args);
    va_end(args);
    return rc;
}

int tine_queue_get_nowait(tine_queue *queue, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = get_values(queue, 0, format, args);
    va_end(args);
    return rc;
}

int tine_queue_get_item(tine_queue *queue, int64_t timeout_ns, tine_queue_item **item)
{
    struct getting get;
    tine_queue_item *made = item == NULL ? NULL : malloc(sizeof *made);
    int rc = made == NULL ? -ENOMEM : begin_get(&get, queue, timeout_ns);

    if (rc == 0) {
        rc = get_next(&get, timeout_ns);
        if (rc < 0)
            end_in_vain(&get);
    }
    if (rc < 0) {
        free(made);
        return item == NULL ? -EINVAL : rc;
    }
    tine__item_begin(made, queue, get.index, get.word);
    if (queue->shm->joinable)
        tine__lease_note(queue, get.index, get.word, made);
    *item = made;
    return 0;
}

int tine_queue_get_many(tine_queue *queue, tine_queue_item **items, size_t room, int64_t timeout_ns)
{
    size_t count = 0;
    int rc = items == NULL || room == 0 || room > INT_MAX ? -EINVAL : 0;

    while (rc == 0 && count < room) {
        rc = tine_queue_get_item(queue, count == 0 ? timeout_ns : 0, &items[count]);
        if (rc == 0)
            count++;
    }
    return count > 0 ? (int)count : rc;
}
