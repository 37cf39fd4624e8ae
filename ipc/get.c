/* SPDX-License-Identifier: MIT */
/*
 * Getting: one CAS of the item's word makes it this process's, and in a joinable queue that is its lease.
 * What was returned comes first, then what the fifo or the ranking says.
 *
 * An item whose content does not fit what the caller has for it is returned, so that it is the next again.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/charge.h"
#include "lib/codec.h"
#include "shm/pollable.h"
#include "shm/watch.h"

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
        tine__waiters_wake(&shm->writable, 1);
    return 0;
}

void tine__queue_drain(tine_queue *queue, uint32_t party)
{
    uint32_t index;
    uint64_t word;

    while (tine__queue_take(queue, party, TINE__NEVER, &index, &word) == 0)
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

static bool spin_get(struct getting *get, int *rc)
{
    struct tine__spinning spinning;

    for (tine__spin_begin(&get->queue->spin_get, &spinning, 0); tine__spin_on(&spinning);) {
        *rc = try_get(get);
        if (*rc == -EAGAIN)
            continue;
        tine__spin_hit(&get->queue->spin_get, &spinning);
        return true;
    }
    tine__spin_missed(&get->queue->spin_get, &spinning);
    return false;
}

static int get_later(struct getting *get)
{
    struct tine__queue_shm *shm = get->queue->shm;
    bool looked = tine__queue_look(get->queue, false);

    for (;;) {
        uint32_t turn = tine__waiters_join(&shm->readable);
        int rc = try_get(get);

        if (rc == 0 && tine_queue_empty(get->queue) == 0)
            tine__waiters_wake(&shm->readable, 1); /* two wake-ups may have reached only this one */
        if (rc != -EAGAIN)
            return rc;
        rc = tine__waiters_sleep(&shm->readable, turn, get->deadline);
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

/* 0: an item is the caller's. */
static int get_slot(struct getting *get, tine_queue *queue, int64_t timeout_ns)
{
    int party = queue == NULL ? -EINVAL : tine__queue_enter(queue);

    if (party < 0)
        return party;
    *get = (struct getting){
        .queue = queue,
        .party = (uint32_t)party,
        .deadline = timeout_ns == 0 ? TINE__QUEUE_PAST : tine__deadline_after(timeout_ns),
    };
    return get_next(get, timeout_ns);
}

static struct tine__slot_shm *slot_got(const struct getting *get)
{
    return tine__slot_at(&get->queue->shm->slots, get->index);
}

/* Notes the lease of what was got, or gives it back. */
static int keep(const struct getting *get, tine_queue_item *item)
{
    int rc =
        get->queue->shm->joinable ? tine__lease_note(get->queue, get->index, get->word, item) : 0;

    if (rc < 0)
        tine__lease_refuse(get->queue, get->index, get->word);
    return rc;
}

/* The content has been copied, or rc says why not: then the item goes back to where it came from. */
static int end_get(const struct getting *get, int rc)
{
    if (rc < 0) {
        if (get->queue->shm->joinable)
            tine__lease_drop(get->queue, get->index, get->word);
        tine__lease_refuse(get->queue, get->index, get->word);
    } else if (!get->queue->shm->joinable) {
        tine__slot_free(slot_got(get), get->word);
    }
    return rc;
}

int tine_queue_get_bytes(tine_queue *queue, void *buffer, size_t room, int64_t timeout_ns,
                         size_t *size)
{
    struct getting get;
    int rc =
        size == NULL || (buffer == NULL && room > 0) ? -EINVAL : get_slot(&get, queue, timeout_ns);

    if (rc == 0)
        rc = keep(&get, NULL);
    if (rc < 0)
        return rc;
    *size = slot_got(&get)->size;
    if (*size > room)
        return end_get(&get, -EMSGSIZE);
    if (*size > 0)
        memcpy(buffer, tine__slot_data(slot_got(&get)), *size);
    return end_get(&get, 0);
}

static int get_values(tine_queue *queue, int64_t timeout_ns, const char *format, va_list args)
{
    struct getting get;
    int rc = format == NULL || strpbrk(format, "yva") != NULL ? -EINVAL
                                                              : get_slot(&get, queue, timeout_ns);

    if (rc == 0)
        rc = keep(&get, NULL);
    if (rc < 0)
        return rc;
    return end_get(&get, tine__vunpack_family(tine__slot_data(slot_got(&get)), slot_got(&get)->size,
                                              format, args));
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
    int rc = made == NULL ? -ENOMEM : get_slot(&get, queue, timeout_ns);

    if (rc < 0) {
        free(made);
        return item == NULL ? -EINVAL : rc;
    }
    tine__item_begin(made, queue, get.index, get.word);
    rc = keep(&get, made);
    if (rc == 0)
        *item = made;
    else
        free(made);
    return rc;
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
