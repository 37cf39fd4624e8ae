/* SPDX-License-Identifier: MIT */
/*
 * Sending over a socket: a message up to 1 KiB in one piece with its header, one up to 64 KiB by a
 * vector, a larger one in a block that its record names. See ipc/transport_socket.c.
 */
#include "ipc/transport_socket_impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/copy.h"
#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/record.h"

#define SMALL_MAX 1024 /* bytes: copied behind the header, sent without a vector */

static bool has_sent_all(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return !tine__record_is_unsent(drain->fd);
}

void tine__socket_look_out(struct tine__end *end)
{
    struct tine__drain drain = {has_sent_all, socket_of(&end->base)->fd};

    tine__blocks_look(tine__end_outgoing(end), &drain);
}

/* ---- records --------------------------------------------------------------------------------- */

/*
 * Too many descriptors under way is no more than a full socket; but nothing tells when that ends.
 */
static int wait_to_send(struct socket_end *end, int why, tine__deadline deadline)
{
    int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);

    tine__socket_look_out(&end->end);
    if (why == -EAGAIN)
        return tine__socket_wait(end, POLLOUT, deadline);
    if (left == 0)
        return -ETIMEDOUT;
    (void)tine__record_poll(-1, 0, left < TINE__LOOK_NS / 10 ? left : TINE__LOOK_NS / 10);
    return 0;
}

static int send_record(struct socket_end *end, const struct iovec *parts, int count,
                       const struct tine__outgoing *message, tine__deadline deadline)
{
    for (;;) {
        int rc = tine__record_send(end->fd, parts, count, message->fds, message->fd_count,
                                   waiting_flag(deadline));

        if (rc == -ECONNRESET || rc == -ENOTCONN)
            return -EPIPE;
        if (rc == -ENOBUFS)
            return -ENOMEM;
        if (rc != -EAGAIN && rc != -ETOOMANYREFS)
            return rc;
        rc = wait_to_send(end, rc, deadline);
        if (rc < 0)
            return rc;
    }
}

/*
 * The number makes the check of each message its own. It may come again, after 2^32 or from a
 * sibling that was forked by the same process: that costs no more than one sign of damage the
 * less.
 */
static uint64_t next_number(struct socket_end *end)
{
    uint32_t count;

    if (TINE__ALONE) {
        count = atomic_load_explicit(&end->sequence, memory_order_relaxed);
        atomic_store_explicit(&end->sequence, count + 1, memory_order_relaxed);
    } else {
        count = atomic_fetch_add_explicit(&end->sequence, 1, memory_order_relaxed);
    }
    return tine__fork_generation_fast() << 32 | count;
}

static void start_frame(struct socket_end *end, const struct tine__outgoing *message,
                        uint64_t number, struct tine__frame *frame)
{
    *frame = (struct tine__frame){
        .length = message->size,
        .sequence = sequence_of(number, end->end.side),
        .type = TINE__FRAME_INLINE,
        .descriptors = (uint8_t)message->fd_count,
        .epoch = tine__blocks_epoch(tine__end_outgoing(&end->end)),
    };
}

/* Header and payload in one piece: the plain call is the faster one. */
static int send_small(struct socket_end *end, const struct tine__frame *frame,
                      const struct tine__outgoing *message, tine__deadline deadline)
{
    uint8_t record[TINE__FRAME_BYTES + SMALL_MAX];
    struct iovec payload = {record + TINE__FRAME_BYTES, message->size};
    struct iovec all = {record, TINE__FRAME_BYTES + message->size};

    if (message->size > 0)
        memcpy(payload.iov_base, message->data, message->size);
    tine__frame_encode(record, frame, end->rules, &payload, 1);
    return send_record(end, &all, 1, message, deadline);
}

static int send_inline(struct socket_end *end, const struct tine__frame *frame,
                       const struct tine__outgoing *message, tine__deadline deadline)
{
    uint8_t header[TINE__FRAME_BYTES];
    struct iovec all[2] = {{header, sizeof header},
                           {(void *)(uintptr_t)message->data, message->size}};

    tine__frame_encode(header, frame, end->rules, &all[1], 1);
    return send_record(end, all, 2, message, deadline);
}

/* The payload of the record: which block, and if asked for a check of what lies there. */
static void name_block(struct socket_end *end, const struct tine__frame *frame,
                       const struct tine__block *block, const struct tine__outgoing *message,
                       void *payload)
{
    tine__frame_put_block(
        payload,
        &(struct tine__frame_block){
            .slot = tine__blocks_index(tine__end_outgoing(&end->end), block),
            .generation = block->generation,
            .tag = tine__frame_block_tag(end->rules, frame->sequence, block->data, message->size),
        });
}

/* Held FILLING; if that fails it is so again. */
static int publish(struct socket_end *end, const struct tine__block *block,
                   struct tine__frame *frame, const struct tine__outgoing *message,
                   tine__deadline deadline)
{
    struct tine__blocks_shm *blocks = tine__end_outgoing(&end->end);
    uint8_t record[TINE__FRAME_BYTES + sizeof(struct tine__frame_block_wire)];
    struct iovec payload = {record + TINE__FRAME_BYTES, sizeof(struct tine__frame_block_wire)};
    struct iovec all = {record, sizeof record};
    int rc;

    frame->type = TINE__FRAME_BLOCK;
    frame->epoch = tine__blocks_epoch(blocks);
    name_block(end, frame, block, message, payload.iov_base);
    tine__frame_encode(record, frame, end->rules, &payload, 1);
    tine__blocks_fly(block);
    rc = send_record(end, &all, 1, message, deadline);
    if (rc == 0)
        tine__blocks_sent(blocks, block);
    else
        tine__blocks_land(block);
    return rc;
}

static int send_block(struct socket_end *end, struct tine__frame *frame,
                      const struct tine__outgoing *message, tine__deadline deadline)
{
    struct tine__block block;
    int rc = tine__end_take_block(&end->end, message->size, deadline, &block);

    if (rc < 0)
        return rc;
    tine__copy(block.data, message->data, message->size);
    rc = publish(end, &block, frame, message, deadline);
    if (rc < 0)
        tine__blocks_drop(tine__end_outgoing(&end->end), &block);
    return rc;
}

int tine__transport_socket_send_as(struct tine__transport *transport,
                                   const struct tine__outgoing *message, uint64_t number,
                                   tine__deadline deadline)
{
    struct socket_end *end = socket_of(transport);
    struct tine__frame frame;

    if (message->size > end->rules->length_max)
        return -EMSGSIZE;
    start_frame(end, message, number, &frame);
    if (message->size <= SMALL_MAX)
        return send_small(end, &frame, message, deadline);
    if (message->size <= TINE__RECORD_MAX)
        return send_inline(end, &frame, message, deadline);
    return send_block(end, &frame, message, deadline);
}

int tine__socket_send(struct tine__transport *transport, const struct tine__outgoing *message,
                      tine__deadline deadline)
{
    return tine__transport_socket_send_as(transport, message, next_number(socket_of(transport)),
                                          deadline);
}

/* ---- loans ----------------------------------------------------------------------------------- */

static bool is_held(struct socket_end *end, const struct tine__incoming *message,
                    struct tine__block *block)
{
    return tine__blocks_held(tine__end_outgoing(&end->end), (uint32_t)(message->token >> 32),
                             (uint32_t)message->token, message->size, block);
}

static void release_loan(struct tine__incoming *message)
{
    struct socket_end *end = socket_of(message->holder);
    struct tine__block block;

    if (is_held(end, message, &block))
        tine__blocks_drop(tine__end_outgoing(&end->end), &block);
}

int tine__socket_loan(struct tine__transport *transport, size_t size, tine__deadline deadline,
                      struct tine__incoming *message)
{
    struct socket_end *end = socket_of(transport);
    struct tine__block block;
    int rc;

    if (size <= TINE__RECORD_MAX)
        return -ENOTSUP; /* to be copied into its record */
    if (size > end->rules->length_max)
        return -EMSGSIZE;
    rc = tine__end_take_block(&end->end, size, deadline, &block);
    if (rc < 0)
        return rc;
    message->data = block.data;
    message->size = size;
    message->token = tine__block_token(tine__end_outgoing(&end->end), &block);
    message->holder = transport;
    message->release = release_loan;
    return 0;
}

int tine__socket_send_loan(struct tine__transport *transport, const struct tine__incoming *message,
                           tine__deadline deadline)
{
    struct socket_end *end = socket_of(transport);
    struct tine__outgoing outgoing_message = {.size = message->size};
    struct tine__block block;
    struct tine__frame frame;

    if (message->release != release_loan || !is_held(end, message, &block))
        return -EINVAL;
    tine__blocks_cut(&block, message->size);
    start_frame(end, &outgoing_message, next_number(end), &frame);
    return publish(end, &block, &frame, &outgoing_message, deadline);
}
