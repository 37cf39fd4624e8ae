/* SPDX-License-Identifier: MIT */
/*
 * Putting: a slot is claimed and filled, then it enters the fifo or the ranking, which is the
 * moment at which the item is in the queue. Until then it is this process's alone, and is swept if
 * it dies.
 *
 * Without limits nothing here waits. A producer that waits for room keeps its slot, filled.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "ipc/queue_charge.h"
#include "shm/pollable.h"
#include "shm/watch.h"
#include "lib/codec.h"

#define SCRATCH_MAX 65536 /* a larger one is not kept */

_Static_assert(sizeof(tine_queue_message) == 32, "released size");

/* One item on its way in: the slot is the caller's. */
struct putting {
    tine_queue *queue;
    uint32_t party;
    uint32_t index;
    tine__deadline deadline;
};

static struct tine__slot_shm *slot_of(const struct putting *put)
{
    return tine__slot_at(&put->queue->shm->slots, put->index);
}

static int claim_slot(struct putting *put)
{
    struct tine__queue_shm *shm = put->queue->shm;

    while (!tine__slots_claim(&shm->slots, &put->queue->hand, put->party, &put->index)) {
        uint32_t count = atomic_load_explicit(&shm->slots.count, memory_order_acquire);
        int rc = shm->order == TINE_FIFO ? tine__fifo_grow(&shm->fifo, count + 1) : 0;

        if (rc == 0)
            rc = tine__slots_grow(&shm->slots, count);
        if (rc == -ENOMEM && tine__slots_claim_last(&shm->slots, put->party, &put->index))
            return 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Nothing was put after all. */
static void give_up(const struct putting *put)
{
    struct tine__queue_shm *shm = put->queue->shm;

    tine__charge_back(shm, slot_of(put));
    if (shm->maxbytes != 0)
        tine__waiters_wake_all(&shm->writable);
    if (tine__slot_free(slot_of(put), tine__slot_word(slot_of(put))))
        tine__waiters_wake_all(&shm->finished);
}

static int try_put(const struct putting *put)
{
    struct tine__queue_shm *shm = put->queue->shm;

    if (shm->maxbytes != 0 && !tine__charge(shm, slot_of(put)))
        return -EAGAIN;
    if (shm->order == TINE_FIFO)
        return tine__fifo_put(&shm->fifo, &shm->slots, put->index, shm->maxsize, &put->queue->view);
    return tine__ranking_put(&shm->ranking, put->index, shm->maxsize, put->deadline);
}

/*
 * Room for a few: to fill each place as soon as it is free would take the lines of the cache from
 * the consumer with each of them.
 */
static bool is_worth_trying(struct tine__queue_shm *shm)
{
    uint64_t few = tine__queue_room_worth_waking(shm) / 8;

    return few == 0 || tine__queue_count(shm) + few <= shm->maxsize || tine__queue_is_shut(shm);
}

static bool spin_put(const struct putting *put, int *rc)
{
    struct tine__spinning spinning;

    for (tine__spin_begin(&put->queue->spin_put, &spinning, 0); tine__spin_on(&spinning);) {
        if (!is_worth_trying(put->queue->shm))
            continue;
        *rc = try_put(put);
        if (*rc == -EAGAIN)
            continue;
        tine__spin_hit(&put->queue->spin_put, &spinning);
        return true;
    }
    tine__spin_missed(&put->queue->spin_put, &spinning);
    return false;
}

/*
 * Until woken. A consumer may have let it sleep although there is some room (see ipc/queue_get.c):
 * so the first sleep, and that after each wake-up, is a short one.
 */
static int sleep_for_room(const struct putting *put, uint32_t turn, bool woken)
{
    struct tine__queue_shm *shm = put->queue->shm;
    bool nap = woken && tine__queue_room_worth_waking(shm) > 1;

    return tine__waiters_nap(&shm->writable, turn, nap ? TINE__QUEUE_NAP_NS : TINE__LOOK_NS,
                             put->deadline);
}

static int put_later(const struct putting *put)
{
    struct tine__queue_shm *shm = put->queue->shm;
    bool looked = tine__queue_look(put->queue, false), woken = true;

    for (uint32_t before = 0;;) {
        uint32_t turn = tine__waiters_join(&shm->writable);
        int rc = try_put(put);

        if (rc == 0) /* two wake-ups may have reached only this one */
            tine__waiters_wake(&shm->writable, 1);
        if (rc != -EAGAIN)
            return rc;
        rc = sleep_for_room(put, turn, woken || turn != before);
        woken = false;
        before = turn;
        if (rc < 0 && looked)
            return rc;
        looked = tine__queue_look(put->queue, rc < 0);
        if (shm->maxbytes != 0 && looked)
            tine__charge_recount(put->queue);
    }
}

/* In vain it makes quiet the descriptor that this process may have for the queue. */
static int look_and_put(const struct putting *put)
{
    struct tine__waiters_shm *writable = &put->queue->shm->writable;
    bool looked = tine__queue_look(put->queue, false);
    int rc;

    if (looked && put->queue->shm->maxbytes != 0)
        tine__charge_recount(put->queue);
    rc = looked ? try_put(put) : -EAGAIN;
    if (rc == -EAGAIN && tine__pollable_missed(writable)) {
        rc = try_put(put);
        if (rc != -EAGAIN)
            tine__watch_ring(writable); /* there may be more room */
    }
    return rc;
}

static int put_slot(const struct putting *put, int64_t timeout_ns)
{
    int rc = try_put(put);

    if (rc == -EAGAIN && timeout_ns == 0)
        rc = look_and_put(put);
    if (rc == -EAGAIN && timeout_ns != 0 && !spin_put(put, &rc))
        rc = put_later(put);
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

/* The content is there; in the fifo the word says so from now on. Nobody else changes FILLING. */
static int fill(const struct putting *put, const tine_queue_message *message)
{
    struct tine__slot_shm *slot = slot_of(put);
    uint64_t word = tine__slot_word(slot);
    int rc = tine__slot_fill(slot, message->bytes, message->size);

    slot->priority = message->priority;
    atomic_store_explicit(&slot->ticket, TINE__NO_TICKET, memory_order_relaxed);
    if (rc == 0 && put->queue->shm->order == TINE_FIFO)
        /* pairs with the acquire in tine__slot_word */
        atomic_store_explicit(&slot->word, tine__word_next(word, TINE__ITEM_PUT, put->party),
                              memory_order_release);
    return rc;
}

static int check_message(const tine_queue *queue, const tine_queue_message *message)
{
    if ((message->bytes == NULL && message->size > 0) || message->reserved != 0)
        return -EINVAL;
    return queue->shm->maxbytes != 0 && message->size > queue->shm->maxbytes ? -EMSGSIZE : 0;
}

static int put_message(struct putting *put, const tine_queue_message *message, int64_t timeout_ns)
{
    int rc = check_message(put->queue, message);

    if (rc == 0)
        rc = claim_slot(put);
    if (rc < 0)
        return rc;
    rc = fill(put, message);
    if (rc == 0)
        rc = put_slot(put, timeout_ns);
    if (rc < 0)
        give_up(put);
    else
        tine__waiters_wake(&put->queue->shm->readable, 1);
    return rc;
}

/* The deadline of a put that does not wait is long past. */
static int begin_put(struct putting *put, tine_queue *queue, int64_t timeout_ns)
{
    int party = queue == NULL ? -EINVAL : tine__queue_enter(queue);

    if (party < 0)
        return party;
    *put = (struct putting){
        .queue = queue,
        .party = (uint32_t)party,
        .deadline = timeout_ns == 0 ? TINE__QUEUE_PAST : tine__deadline_after(timeout_ns),
    };
    return 0;
}

int tine_queue_put_bytes(tine_queue *queue, const void *bytes, size_t size, int64_t priority,
                         int64_t timeout_ns)
{
    struct putting put;
    int rc = begin_put(&put, queue, timeout_ns);
    tine_queue_message message = {.bytes = bytes, .size = size, .priority = priority};

    return rc < 0 ? rc : put_message(&put, &message, timeout_ns);
}

int tine_queue_put_many(tine_queue *queue, const tine_queue_message *messages, size_t count,
                        int64_t timeout_ns)
{
    struct putting put;
    int rc = messages == NULL || count > INT_MAX ? -EINVAL : begin_put(&put, queue, timeout_ns);
    size_t i = 0;

    while (rc == 0 && i < count) {
        rc = put_message(&put, &messages[i], timeout_ns);
        if (rc == 0)
            i++;
    }
    return i > 0 ? (int)i : rc;
}

/* A buffer that keeps its memory from one call to the next; NULL: no memory. */
static tine_buffer *take_scratch(tine_queue *queue)
{
    tine_buffer *buffer = atomic_exchange_explicit(&queue->scratch, NULL, memory_order_acquire);

    return buffer != NULL ? buffer : calloc(1, sizeof *buffer);
}

static void give_scratch(tine_queue *queue, tine_buffer *buffer)
{
    tine_buffer_clear(buffer);
    if (buffer->capacity > SCRATCH_MAX)
        tine_buffer_free(buffer);
    /* release: pairs with the acquire in take_scratch */
    buffer = atomic_exchange_explicit(&queue->scratch, buffer, memory_order_acq_rel);
    tine_buffer_free(buffer);
    free(buffer);
}

static int put_values(tine_queue *queue, int64_t priority, int64_t timeout_ns, const char *format,
                      struct tine__arguments *args)
{
    tine_buffer *buffer = queue == NULL || format == NULL ? NULL : take_scratch(queue);
    int rc;

    if (buffer == NULL)
        return queue == NULL || format == NULL ? -EINVAL : -ENOMEM;
    rc = tine__pack(buffer, format, false, args);
    if (rc == 0)
        rc = tine_queue_put_bytes(queue, buffer->data, buffer->size, priority, timeout_ns);
    give_scratch(queue, buffer);
    return rc;
}

int tine_queue_put(tine_queue *queue, int64_t timeout_ns, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = NULL};
    int rc;

    va_start(args.list, format);
    rc = put_values(queue, 0, timeout_ns, format, &args);
    va_end(args.list);
    return rc;
}

int tine_queue_put_nowait(tine_queue *queue, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = NULL};
    int rc;

    va_start(args.list, format);
    rc = put_values(queue, 0, 0, format, &args);
    va_end(args.list);
    return rc;
}

int tine_queue_put_priority(tine_queue *queue, int64_t priority, int64_t timeout_ns,
                            const char *format, ...)
{
    struct tine__arguments args = {.descriptors = NULL};
    int rc;

    va_start(args.list, format);
    rc = put_values(queue, priority, timeout_ns, format, &args);
    va_end(args.list);
    return rc;
}
