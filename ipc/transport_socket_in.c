/* SPDX-License-Identifier: MIT */
/*
 * Receiving over a socket. Each call is a visitor of the table of blocks from before it takes a
 * record off the socket until it has accepted what that names (ipc/blocks.c); what it does after
 * that, its death undoes without others. See ipc/transport_socket.c.
 */
#include "ipc/transport_socket_impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/record.h"

#define HEAD 4096 /* bytes of payload that are always received into the buffer */

static bool has_received_all(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return tine__record_is_empty(drain->fd);
}

static void look_in(struct socket_end *end)
{
    tine__blocks_look(tine__end_incoming(&end->end),
                      &(struct tine__drain){has_received_all, end->fd});
}

/* ---- one record ------------------------------------------------------------------------------ */

/* One record being received: where it is, and what it turned out to be. */
struct arrival {
    struct buffer *buffer;
    struct iovec payload[2];
    int parts;
    struct tine__frame frame;
    struct tine__frame_block named;
    struct tine__block block; /* slot NULL: none */
};

static void release_buffer(struct tine__incoming *message)
{
    uint8_t *payload = (uint8_t *)(uintptr_t)message->data;

    tine__end_give_buffer(tine__end_of(message->holder),
                          (struct buffer *)(payload - offsetof(struct buffer, payload)));
}

/* Where there is room for any record, all but its beginning is received in its last place. */
static void lay_out(struct arrival *arrival, const struct tine__incoming *message)
{
    arrival->payload[0] = (struct iovec){arrival->buffer->payload, TINE__RECORD_MAX};
    arrival->parts = 1;
    if (message->room < TINE__RECORD_MAX)
        return;
    arrival->payload[0].iov_len = HEAD;
    arrival->payload[1] = (struct iovec){(uint8_t *)message->into + HEAD, TINE__RECORD_MAX - HEAD};
    arrival->parts = 2;
}

/* Cuts the parts to the size that came. */
static void cut(struct arrival *arrival, size_t size)
{
    for (int i = 0; i < arrival->parts; i++) {
        if (arrival->payload[i].iov_len > size)
            arrival->payload[i].iov_len = size;
        size -= arrival->payload[i].iov_len;
    }
}

/* The size of one record, 0: nobody can send any more; -ETIMEDOUT, or another code. */
static ssize_t receive_record(struct socket_end *end, struct arrival *arrival,
                              struct tine__visitor_shm *visitor, struct tine__incoming *message,
                              tine__deadline deadline)
{
    /* header and payload lie behind one another */
    struct iovec all[2] = {{arrival->buffer, TINE__FRAME_BYTES + arrival->payload[0].iov_len},
                           arrival->payload[1]};

    for (;;) {
        ssize_t size;
        int rc;

        message->fd_count = TINE__DESCRIPTORS_MAX;
        size = tine__record_recv(end->fd, all, arrival->parts, message->fds, &message->fd_count,
                                 waiting_flag(deadline));
        if (size == -ECONNRESET) /* they have closed without reading all; what they sent is there */
            continue;
        if (size != -EAGAIN)
            return size;
        look_in(end);
        tine__blocks_renew(tine__end_incoming(&end->end),
                           visitor); /* or it would be noted for two slices */
        rc = tine__socket_wait(end, POLLIN, deadline);
        if (rc < 0)
            return rc;
        tine__blocks_renew(tine__end_incoming(&end->end), visitor);
    }
}

/* Empty records look like the end; no sender of ours makes any. */
static int what_nothing_is(const struct socket_end *end)
{
    return tine__record_at_end(end->fd) ? TINE_EEOF : TINE_EFORMAT;
}

/* As long as the visit lasts: everything that the others must not think lost. */
static int take_in(struct socket_end *end, struct arrival *arrival, ssize_t size)
{
    const struct tine__frame_rules *rules = end->rules;
    struct tine__frame_block *named = &arrival->named;
    struct tine__frame *frame = &arrival->frame;
    int rc;

    if (size <= 0)
        return size == 0 ? what_nothing_is(end) : size == -EBADMSG ? TINE_EFORMAT : (int)size;
    rc = tine__frame_decode(arrival->buffer->header, (size_t)size, rules, frame);
    if (rc < 0)
        return rc;
    cut(arrival, (size_t)size - TINE__FRAME_BYTES);
    rc =
        tine__frame_verify(arrival->buffer->header, frame, rules, arrival->payload, arrival->parts);
    if (rc < 0)
        return rc;
    if (sender_of(frame) == end->end.side) /* our own, which somebody has sent back */
        return TINE_EFORMAT;
    tine__blocks_drained(tine__end_incoming(&end->end), frame->epoch);
    if (frame->type != TINE__FRAME_BLOCK)
        return 0;
    tine__frame_get_block(arrival->buffer->payload, named);
    return tine__blocks_accept(tine__end_incoming(&end->end), named->slot, named->generation,
                               frame->length, &arrival->block);
}

static int visit(struct socket_end *end, struct arrival *arrival, struct tine__incoming *message,
                 tine__deadline deadline)
{
    struct tine__visitor_shm *visitor;
    ssize_t size;
    int rc = tine__end_enter(&end->end, &visitor);

    if (rc < 0)
        return rc;
    size = receive_record(end, arrival, visitor, message, deadline);
    if (size <= 0)
        message->fd_count = 0;
    rc = take_in(end, arrival, size);
    tine__blocks_leave(visitor);
    return rc;
}

/* The kernel drops descriptors for which there is no room here; nobody else does. */
static int check_arrival(const struct socket_end *end, const struct arrival *arrival,
                         const struct tine__incoming *message)
{
    const struct tine__frame *frame = &arrival->frame;

    if (message->fd_count != frame->descriptors)
        return message->fd_count < frame->descriptors ? -EMFILE : TINE_EFORMAT;
    if (arrival->block.slot == NULL)
        return 0;
    return tine__frame_block_tag(end->rules, frame->sequence, arrival->block.data, frame->length) ==
                   arrival->named.tag
               ? 0
               : TINE_ECHECKSUM;
}

/* The buffer is given back, unless the message has to stay there. */
static void hand_over(struct socket_end *end, struct arrival *arrival,
                      struct tine__incoming *message)
{
    message->size = arrival->frame.length;
    message->holder = &end->end.base;
    message->release = NULL;
    message->data = message->into;
    if (arrival->block.slot == NULL && message->size > message->room) {
        message->data = arrival->buffer->payload;
        message->release = release_buffer;
        return;
    }
    if (arrival->block.slot != NULL)
        tine__end_hand_over(&end->end, &arrival->block, message->size, message);
    else if (message->size > 0)
        memcpy(message->into, arrival->buffer->payload, arrival->payload[0].iov_len);
    tine__end_give_buffer(&end->end, arrival->buffer);
}

static void refuse(struct socket_end *end, struct arrival *arrival, struct tine__incoming *message)
{
    for (uint32_t i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
    if (arrival->block.slot != NULL)
        tine__blocks_release(tine__end_incoming(&end->end), &arrival->block);
    tine__end_give_buffer(&end->end, arrival->buffer);
}

int tine__socket_receive(struct tine__transport *transport, struct tine__incoming *message,
                         tine__deadline deadline)
{
    struct socket_end *end = socket_of(transport);
    struct arrival arrival;
    int rc;

    arrival.buffer = tine__end_take_buffer(&end->end);
    arrival.block.slot = NULL;
    message->fd_count = 0;
    if (arrival.buffer == NULL)
        return -ENOMEM;
    lay_out(&arrival, message);
    rc = visit(end, &arrival, message, deadline);
    if (rc == 0)
        rc = check_arrival(end, &arrival, message);
    if (rc == 0)
        hand_over(end, &arrival, message);
    else
        refuse(end, &arrival, message);
    return rc;
}

/* Looks at the header and leaves the record, with its descriptors, where it is. */
int tine__transport_socket_next(struct tine__transport *transport, uint64_t *number)
{
    struct socket_end *end = socket_of(transport);
    uint8_t header[TINE__FRAME_BYTES];
    struct tine__frame frame;
    ssize_t size = tine__record_peek(end->fd, header, sizeof header);
    int rc;

    if (size <= 0)
        return size == 0 ? -EAGAIN : (int)size;
    rc = tine__frame_decode(header, (size_t)size, end->rules, &frame);
    if (rc == 0)
        *number = number_of(&frame);
    return rc;
}

int tine__socket_poll(struct tine__transport *transport, tine__deadline deadline)
{
    struct socket_end *end = socket_of(transport);

    for (;;) {
        int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);
        int rc = tine__record_poll(end->fd, POLLIN, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);

        if (rc != 0 || left == 0)
            return rc;
        look_in(end);
    }
}
