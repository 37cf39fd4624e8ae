/* SPDX-License-Identifier: MIT */
/*
 * Receiving over a ring: a record is copied, and then taken, if nobody was quicker. Who takes one
 * that names a block has claimed the block before; see ipc/transport_ring.c. One that is a note
 * stands for a message beside the ring (ipc/transport_ring_beside.c).
 */
#include "ipc/transport_ring_impl.h"

#include <errno.h>
#include <string.h>

#include <tine/error.h>

#include "shm/pollable.h"
#include "shm/watch.h"

/* A message on its way in: one record that was copied, and what it turned out to be. */
struct arrival {
    struct ring_end *end;
    struct tine__incoming *message;
    void *buffer; /* NULL: not needed yet */
    struct tine__ring_head_shm head;
    void *payload;
    size_t size;
    struct tine__block block; /* slot NULL: none */
    struct tine__ring_name_shm name;
    bool is_whole; /* message is filled in */
};

static void release_buffer(struct tine__incoming *message)
{
    tine__end_give_buffer(tine__end_of(message->holder), (void *)(uintptr_t)message->data);
}

/* Into the receiver's memory if it fits there, else into a buffer. */
static int copy(struct arrival *arrival, const struct tine__ring_record *record)
{
    struct tine__parts to = {.head = &arrival->head, .head_size = sizeof arrival->head};
    uint32_t size = tine__record_size(record->record.word);

    arrival->size = size > sizeof arrival->head ? size - sizeof arrival->head : 0;
    arrival->payload = arrival->message->into;
    if (arrival->size > arrival->message->room && arrival->buffer == NULL) {
        arrival->buffer = tine__end_take_buffer(&arrival->end->end);
        if (arrival->buffer == NULL)
            return -ENOMEM;
    }
    if (arrival->size > arrival->message->room)
        arrival->payload = arrival->buffer;
    to.rest = arrival->payload;
    tine__lane_copy(record->lane, &record->record, &to);
    return 0;
}

static int verify(const struct arrival *arrival)
{
    uint64_t tag =
        tag_of(arrival->end->shared, arrival->head.kind, arrival->payload, arrival->size);

    if (tag != arrival->head.tag)
        return TINE_ECHECKSUM;
    if (arrival->head.kind == BLOCK)
        return arrival->size == sizeof arrival->name ? 0 : TINE_EFORMAT;
    if (arrival->head.kind == NOTE)
        return arrival->size == sizeof(struct tine__ring_note_shm) ? 0 : TINE_EFORMAT;
    return arrival->head.kind == INLINE ? 0 : TINE_EFORMAT;
}

/* 0: the block is ours; -EBUSY: another's. */
static int claim_block(struct arrival *arrival)
{
    struct tine__blocks_shm *blocks = tine__end_incoming(&arrival->end->end);
    struct tine__ring_name_shm *name = &arrival->name;
    struct tine__visitor_shm *visitor;
    int rc = tine__end_enter(&arrival->end->end, &visitor);

    if (rc < 0)
        return rc;
    memcpy(name, arrival->payload, sizeof *name);
    rc = -EBUSY;
    if (tine__blocks_claim(blocks, name->slot, name->generation))
        rc = tine__blocks_accept(blocks, name->slot, name->generation, name->size, &arrival->block);
    tine__blocks_leave(visitor);
    return rc == 0 || rc == -ENOMEM ? rc : -EBUSY;
}

/* 0: the message is ours; -EBUSY: another was quicker; else a code: it is lost, or -ENOMEM. */
static int accept_block(struct arrival *arrival, const struct tine__ring_record *record)
{
    int rc = verify(arrival);

    if (rc == 0) {
        rc = claim_block(arrival);
        if (rc != -ENOMEM)
            (void)tine__ring_take(&arrival->end->in, record);
        return rc;
    }
    return tine__ring_take(&arrival->end->in, record) ? rc : -EBUSY;
}

static int fetch(struct arrival *arrival)
{
    int rc = tine__beside_fetch(arrival->end, arrival->message);

    arrival->is_whole = rc == 0;
    return rc;
}

/* As accept_block; -EAGAIN: another is about to take it. */
static int accept_record(struct arrival *arrival, const struct tine__ring_record *record)
{
    int rc = copy(arrival, record);

    if (rc < 0)
        return rc;
    if (arrival->head.kind == BLOCK)
        return accept_block(arrival, record);
    if (arrival->head.kind == NOTE && verify(arrival) == 0)
        return fetch(arrival);
    return tine__ring_take(&arrival->end->in, record) ? verify(arrival) : -EBUSY;
}

static ssize_t attempt(struct tine__ring *ring, void *context)
{
    struct arrival *arrival = context;
    struct tine__ring_record record;
    int rc;

    do {
        rc = tine__ring_peek(ring, &record);
        if (rc == 0)
            rc = accept_record(arrival, &record);
        else if (tine__beside_suspects(arrival->end, rc))
            rc = fetch(arrival);
    } while (rc == -EBUSY);
    return rc;
}

static int hand_over_block(struct arrival *arrival)
{
    struct tine__end *end = &arrival->end->end;
    size_t size = arrival->name.size;

    if (arrival->name.tag != block_tag(arrival->end->shared, arrival->block.data, size)) {
        tine__blocks_release(tine__end_incoming(end), &arrival->block);
        return TINE_ECHECKSUM;
    }
    tine__end_hand_over(end, &arrival->block, size, arrival->message);
    return 0;
}

static void hand_over(struct arrival *arrival)
{
    struct tine__incoming *message = arrival->message;

    message->size = arrival->size;
    message->data = arrival->payload;
    if (arrival->payload != message->into) {
        message->release = release_buffer;
        arrival->buffer = NULL;
    }
}

/* In vain it makes quiet the descriptor that this process may have for the end. */
static ssize_t receive_or_miss(struct ring_end *end, struct arrival *arrival,
                               tine__deadline deadline)
{
    struct tine__waiters_shm *readable = tine__ring_readable(end->in.shared);
    ssize_t rc = tine__ring_receive(&end->in, attempt, arrival, deadline);

    if (rc == -EAGAIN && tine__pollable_missed(readable)) {
        tine__ring_arm(end->in.shared);
        rc = tine__ring_receive(&end->in, attempt, arrival, deadline);
        if (rc != -EAGAIN)
            tine__watch_ring(readable); /* there may be more */
    }
    return rc;
}

int tine__ring_end_receive(struct tine__transport *transport, struct tine__incoming *message,
                           tine__deadline deadline)
{
    struct ring_end *end = ring_of(transport);
    struct arrival arrival; /* the rest is filled in as it comes */
    int rc;

    arrival.end = end;
    arrival.message = message;
    arrival.buffer = NULL;
    arrival.block.slot = NULL;
    arrival.is_whole = false;
    message->fd_count = 0;
    message->release = NULL;
    message->holder = transport;
    rc = (int)receive_or_miss(end, &arrival, deadline);
    if (rc == 0 && arrival.block.slot != NULL)
        rc = hand_over_block(&arrival);
    else if (rc == 0 && !arrival.is_whole)
        hand_over(&arrival);
    if (arrival.buffer != NULL)
        tine__end_give_buffer(&end->end, arrival.buffer);
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static ssize_t attempt_poll(struct tine__ring *ring, void *context)
{
    (void)ring;
    return tine__beside_poll(context);
}

int tine__ring_end_poll(struct tine__transport *transport, tine__deadline deadline)
{
    struct ring_end *end = ring_of(transport);

    return tine__ring_receive(&end->in, attempt_poll, end, deadline) > 0;
}
