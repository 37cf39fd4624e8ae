/* SPDX-License-Identifier: MIT */
/*
 * Messages as records of a SEQPACKET socket pair: the kernel keeps them whole, in order, counts the
 * holders of both ends, and tells either when the other has none left. A record holds a header
 * (ipc/frame.h) and up to 64 KiB of message, above which it would need contiguous kernel memory; a
 * larger message lies in a block of the family heap, which its record names (ipc/blocks.h).
 *
 * A handle is private: descriptors and a spare buffer. A forked child may use its copy at once.
 * What both ends share lies in the heap and lives as long as anybody holds either
 * (shm/keepalive.h).
 *
 * Waiting is done in the blocking call itself, in slices of TINE__LOOK_NS by SO_RCVTIMEO and
 * SO_SNDTIMEO, so that no message costs a second system call; the last, shorter slice is a ppoll.
 * Should somebody else have made the socket non-blocking, each slice becomes a ppoll.
 */
#include "ipc/transport_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/copy.h"
#include "lib/fork.h"
#include "lib/record.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/keepalive.h"

#define SMALL_MAX  1024 /* bytes: copied behind the header, sent without a vector */
#define HEAD       4096 /* bytes of payload that are always received into the buffer */
#define SLICE_NS   (TINE__LOOK_NS + TINE__LOOK_NS / 5) /* a blocking call may be that late */
#define SEND_BYTES (256 * 1024) /* room in the socket; the kernel counts its own overhead, too */

/* One record, whole. */
struct buffer {
    uint8_t header[TINE__FRAME_BYTES];
    uint8_t payload[TINE__RECORD_MAX];
};

/*
 * spare and visitor are only where to begin: each call takes the one and gives it back. Threads
 * that come meanwhile make their own.
 */
struct socket_end {
    struct tine__transport base;
    int fd;
    uint32_t side;
    struct tine__pair_shm *shared;
    struct tine__keepalive hold;
    struct buffer *_Atomic spare;
    struct tine__visitor_shm *_Atomic visitor;
    _Atomic uint32_t sequence;
};

_Static_assert(sizeof(struct buffer) == TINE__FRAME_BYTES + TINE__RECORD_MAX, "no padding");

static struct socket_end *end_of(struct tine__transport *transport)
{
    return (struct socket_end *)transport;
}

static struct tine__blocks_shm *outgoing(struct socket_end *end)
{
    return &end->shared->blocks[end->side];
}

static struct tine__blocks_shm *incoming(struct socket_end *end)
{
    return &end->shared->blocks[1 - end->side];
}

/* ---- the spare buffer ------------------------------------------------------------------------ */

static struct buffer *take_buffer(struct socket_end *end)
{
    struct buffer *buffer = atomic_exchange_explicit(&end->spare, NULL, memory_order_acquire);

    return buffer != NULL ? buffer : malloc(sizeof *buffer);
}

static void give_buffer(struct socket_end *end, struct buffer *buffer)
{
    buffer = atomic_exchange_explicit(&end->spare, buffer, memory_order_acq_rel);
    if (buffer != NULL) /* as seldom as threads meet */
        free(buffer);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* May the call itself wait? Else it is made without waiting, and wait_for() comes after it. */
static int waiting_flag(tine__deadline deadline)
{
    return deadline != TINE__AT_ONCE && tine__deadline_left(deadline) >= SLICE_NS ? 0
                                                                                  : MSG_DONTWAIT;
}

/* At most TINE__LOOK_NS: 0 (try again), or -ETIMEDOUT. */
static int wait_for(int fd, short events, tine__deadline deadline)
{
    int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);

    if (left == 0)
        return -ETIMEDOUT;
    (void)tine__record_poll(fd, events, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);
    return 0;
}

/* Nothing at all waits to be received. */
static bool has_received_all(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return tine__record_is_empty(drain->fd);
}

/* The same, asked by the side that sends. */
static bool has_sent_all(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return !tine__record_is_unsent(drain->fd);
}

static void look_out(struct socket_end *end)
{
    tine__blocks_look(outgoing(end), &(struct tine__drain){has_sent_all, end->fd});
}

static void look_in(struct socket_end *end)
{
    tine__blocks_look(incoming(end), &(struct tine__drain){has_received_all, end->fd});
}

/* ---- sending --------------------------------------------------------------------------------- */

/*
 * Too many descriptors under way is no more than a full socket; but nothing tells when that ends.
 */
static int wait_to_send(struct socket_end *end, int why, tine__deadline deadline)
{
    int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);

    look_out(end);
    if (why == -EAGAIN)
        return wait_for(end->fd, POLLOUT, deadline);
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
 * The number makes the check of each message its own. It may come again, after 2^32 or from a sibling
 * that was forked by the same process: that costs no more than one sign of damage the less.
 */
static void start_frame(struct socket_end *end, const struct tine__outgoing *message,
                        struct tine__frame *frame)
{
    uint32_t count = atomic_fetch_add_explicit(&end->sequence, 1, memory_order_relaxed);

    *frame = (struct tine__frame){
        .length = message->size,
        .sequence = tine__fork_generation_fast() << 33 | (uint64_t)end->side << 32 | count,
        .type = TINE__FRAME_INLINE,
        .descriptors = (uint8_t)message->fd_count,
        .epoch = tine__blocks_epoch(outgoing(end)),
    };
}

static uint32_t sender_of(const struct tine__frame *frame)
{
    return (uint32_t)(frame->sequence >> 32) & 1;
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
    tine__frame_encode(record, frame, &end->shared->rules, &payload, 1);
    return send_record(end, &all, 1, message, deadline);
}

static int send_inline(struct socket_end *end, const struct tine__frame *frame,
                       const struct tine__outgoing *message, tine__deadline deadline)
{
    uint8_t header[TINE__FRAME_BYTES];
    struct iovec all[2] = {{header, sizeof header},
                           {(void *)(uintptr_t)message->data, message->size}};

    tine__frame_encode(header, frame, &end->shared->rules, &all[1], 1);
    return send_record(end, all, 2, message, deadline);
}

/* Who waits for a slot is told of the others' end by nobody but the socket. */
static int take_block(struct socket_end *end, size_t size, tine__deadline deadline,
                      struct tine__block *block)
{
    struct tine__blocks_shm *blocks = outgoing(end);

    bool slept = false;

    look_out(end);
    for (;; slept = true) {
        uint32_t turn = tine__waiters_join(&blocks->room);
        int rc = tine__blocks_take(blocks, size, block);

        if (rc != -EAGAIN && slept) /* there may be room for another sleeper, too */
            tine__waiters_wake(&blocks->room, 1);
        if (rc != -EAGAIN)
            return rc;
        if (tine__record_hung_up(end->fd))
            return -EPIPE;
        rc = deadline == TINE__AT_ONCE ? -ETIMEDOUT
                                       : tine__waiters_sleep(&blocks->room, turn, deadline);
        if (rc < 0)
            return rc;
        look_out(end);
    }
}

/* The payload of the record: which block, and if asked for a check of what lies there. */
static void name_block(struct socket_end *end, const struct tine__frame *frame,
                       const struct tine__block *block, const struct tine__outgoing *message,
                       void *payload)
{
    tine__frame_put_block(payload,
                          &(struct tine__frame_block){
                              .slot = tine__blocks_index(outgoing(end), block),
                              .generation = block->generation,
                              .tag = tine__frame_block_tag(&end->shared->rules, frame->sequence,
                                                           block->data, message->size),
                          });
}

/* Held FILLING; if that fails it is so again. */
static int publish(struct socket_end *end, const struct tine__block *block,
                   struct tine__frame *frame, const struct tine__outgoing *message,
                   tine__deadline deadline)
{
    struct tine__blocks_shm *blocks = outgoing(end);
    uint8_t record[TINE__FRAME_BYTES + sizeof(struct tine__frame_block_wire)];
    struct iovec payload = {record + TINE__FRAME_BYTES, sizeof(struct tine__frame_block_wire)};
    struct iovec all = {record, sizeof record};
    int rc;

    frame->type = TINE__FRAME_BLOCK;
    frame->epoch = tine__blocks_epoch(blocks);
    name_block(end, frame, block, message, payload.iov_base);
    tine__frame_encode(record, frame, &end->shared->rules, &payload, 1);
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
    int rc = take_block(end, message->size, deadline, &block);

    if (rc < 0)
        return rc;
    tine__copy(block.data, message->data, message->size);
    rc = publish(end, &block, frame, message, deadline);
    if (rc < 0)
        tine__blocks_drop(outgoing(end), &block);
    return rc;
}

static int socket_send(struct tine__transport *transport, const struct tine__outgoing *message,
                       tine__deadline deadline)
{
    struct socket_end *end = end_of(transport);
    struct tine__frame frame;

    if (message->size > end->shared->rules.length_max)
        return -EMSGSIZE;
    start_frame(end, message, &frame);
    if (message->size <= SMALL_MAX)
        return send_small(end, &frame, message, deadline);
    if (message->size <= TINE__RECORD_MAX)
        return send_inline(end, &frame, message, deadline);
    return send_block(end, &frame, message, deadline);
}

/* ---- loans ----------------------------------------------------------------------------------- */

static bool is_held(struct socket_end *end, const struct tine__incoming *message,
                    struct tine__block *block)
{
    return tine__blocks_held(outgoing(end), (uint32_t)(message->token >> 32),
                             (uint32_t)message->token, message->size, block);
}

static void release_loan(struct tine__incoming *message)
{
    struct socket_end *end = end_of(message->holder);
    struct tine__block block;

    if (is_held(end, message, &block))
        tine__blocks_drop(outgoing(end), &block);
}

static int socket_loan(struct tine__transport *transport, size_t size, tine__deadline deadline,
                       struct tine__incoming *message)
{
    struct socket_end *end = end_of(transport);
    struct tine__block block;
    int rc;

    if (size <= TINE__RECORD_MAX)
        return -ENOTSUP; /* to be copied into its record */
    if (size > end->shared->rules.length_max)
        return -EMSGSIZE;
    rc = take_block(end, size, deadline, &block);
    if (rc < 0)
        return rc;
    message->data = block.data;
    message->size = size;
    message->token = (uint64_t)tine__blocks_index(outgoing(end), &block) << 32 | block.generation;
    message->holder = transport;
    message->release = release_loan;
    return 0;
}

static int socket_send_loan(struct tine__transport *transport, const struct tine__incoming *message,
                            tine__deadline deadline)
{
    struct socket_end *end = end_of(transport);
    struct tine__outgoing outgoing_message = {.size = message->size};
    struct tine__block block;
    struct tine__frame frame;

    if (message->release != release_loan || !is_held(end, message, &block))
        return -EINVAL;
    tine__blocks_cut(&block, message->size);
    start_frame(end, &outgoing_message, &frame);
    return publish(end, &block, &frame, &outgoing_message, deadline);
}

/* ---- receiving ------------------------------------------------------------------------------- */

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

    give_buffer(end_of(message->holder),
                (struct buffer *)(payload - offsetof(struct buffer, payload)));
}

static void release_block(struct tine__incoming *message)
{
    struct tine__blocks_shm *blocks = incoming(end_of(message->holder));

    tine__blocks_release(blocks, &(struct tine__block){
                                     .slot = &blocks->slots[message->token >> 32],
                                     .generation = (uint32_t)message->token,
                                 });
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
        tine__blocks_renew(incoming(end), visitor); /* or it would be noted for two slices */
        rc = wait_for(end->fd, POLLIN, deadline);
        if (rc < 0)
            return rc;
        tine__blocks_renew(incoming(end), visitor);
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
    const struct tine__frame_rules *rules = &end->shared->rules;
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
    if (sender_of(frame) == end->side) /* our own, which somebody has sent back */
        return TINE_EFORMAT;
    tine__blocks_drained(incoming(end), frame->epoch);
    if (frame->type != TINE__FRAME_BLOCK)
        return 0;
    tine__frame_get_block(arrival->buffer->payload, named);
    return tine__blocks_accept(incoming(end), named->slot, named->generation, frame->length,
                               &arrival->block);
}

static int visit(struct socket_end *end, struct arrival *arrival, struct tine__incoming *message,
                 tine__deadline deadline)
{
    struct tine__visitor_shm *visitor = atomic_load_explicit(&end->visitor, memory_order_relaxed);
    ssize_t size;
    int rc = tine__blocks_enter(incoming(end), &visitor);

    if (rc < 0)
        return rc;
    /* relaxed: the same for all, and constant memory */
    atomic_store_explicit(&end->visitor, visitor, memory_order_relaxed);
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
    return tine__frame_block_tag(&end->shared->rules, frame->sequence, arrival->block.data,
                                 frame->length) == arrival->named.tag
               ? 0
               : TINE_ECHECKSUM;
}

/* The buffer is given back, unless the message has to stay there. */
static void hand_over(struct socket_end *end, struct arrival *arrival,
                      struct tine__incoming *message)
{
    const struct tine__block *block = &arrival->block;
    bool fits = arrival->frame.length <= message->room;

    message->size = arrival->frame.length;
    message->holder = &end->base;
    message->release = NULL;
    message->data = message->into;
    if (block->slot != NULL) {
        message->token = (uint64_t)arrival->named.slot << 32 | block->generation;
        message->data = block->data;
        message->release = release_block;
    } else if (!fits) {
        message->data = arrival->buffer->payload;
        message->release = release_buffer;
        return;
    } else if (message->size > 0) {
        memcpy(message->into, arrival->buffer->payload, arrival->payload[0].iov_len);
    }
    give_buffer(end, arrival->buffer);
    if (block->slot == NULL || !fits)
        return;
    tine__copy(message->into, block->data, message->size);
    tine__incoming_release(message);
    message->data = message->into;
}

static void refuse(struct socket_end *end, struct arrival *arrival, struct tine__incoming *message)
{
    for (uint32_t i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
    if (arrival->block.slot != NULL)
        tine__blocks_release(incoming(end), &arrival->block);
    give_buffer(end, arrival->buffer);
}

static int socket_receive(struct tine__transport *transport, struct tine__incoming *message,
                          tine__deadline deadline)
{
    struct socket_end *end = end_of(transport);
    struct arrival arrival;
    int rc;

    arrival.buffer = take_buffer(end);
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

static int socket_poll(struct tine__transport *transport, tine__deadline deadline)
{
    struct socket_end *end = end_of(transport);

    for (;;) {
        int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);
        int rc = tine__record_poll(end->fd, POLLIN, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);

        if (rc != 0 || left == 0)
            return rc;
        look_in(end);
    }
}

/* ---- both ends ------------------------------------------------------------------------------- */

static int socket_fd(struct tine__transport *transport)
{
    return end_of(transport)->fd;
}

static void socket_close(struct tine__transport *transport)
{
    struct socket_end *end = end_of(transport);

    free(atomic_load_explicit(&end->spare, memory_order_acquire));
    if (end->fd >= 0)
        close(end->fd);
    tine__keepalive_close(&end->hold);
    free(end);
}

/* words: what both ends share, its entry in the register, the side */
static int socket_give(struct tine__transport *transport, struct tine__handle_parts *parts)
{
    const struct socket_end *end = end_of(transport);

    parts->words[0] = (uint64_t)(uintptr_t)end->shared;
    parts->words[1] = (uint64_t)(uintptr_t)end->hold.entry;
    parts->words[2] = end->side;
    parts->fds[0] = end->fd;
    parts->fds[1] = end->hold.fd;
    parts->fd_count = 2;
    return 0;
}

static const struct tine__transport_ops socket_ops = {
    .send = socket_send,
    .receive = socket_receive,
    .loan = socket_loan,
    .send_loan = socket_send_loan,
    .poll = socket_poll,
    .fd = socket_fd,
    .give = socket_give,
    .close = socket_close,
};

static void empty_pair(void *object)
{
    struct tine__pair_shm *shared = object;

    tine__blocks_empty(&shared->blocks[0]);
    tine__blocks_empty(&shared->blocks[1]);
}

static const struct tine__kept_kind pair_kind = {.number = TINE__KEPT_PIPE, .empty = empty_pair};

static struct tine__pair_shm *make_shared(int32_t check, uint64_t length_max)
{
    struct tine__pair_shm *shared = tine_aligned_alloc(64, sizeof *shared);

    if (shared == NULL)
        return NULL;
    memset(shared, 0, sizeof *shared);
    tine__frame_rules_make(&shared->rules, check, length_max);
    tine__blocks_init(&shared->blocks[0], 1);
    tine__blocks_init(&shared->blocks[1], 1);
    return shared;
}

static int prepare_socket(int fd)
{
    tine__record_room(fd, SEND_BYTES);
    return tine__record_slices(fd, TINE__LOOK_NS);
}

static struct socket_end *make_end(uint32_t side)
{
    struct socket_end *end = calloc(1, sizeof *end);

    if (end == NULL)
        return NULL;
    end->base = (struct tine__transport){&socket_ops, .family = true, .descriptors = true};
    end->fd = -1;
    end->side = side;
    end->hold.fd = -1;
    return end;
}

/* Ends and what they share; whatever has been made is closed by the caller, also on failure. */
static int make_pair(struct socket_end *ends[2], int32_t check, uint64_t length_max)
{
    struct tine__pair_shm *shared;
    int fds[2], rc = tine__sys_socketpair(fds);

    if (rc < 0)
        return rc;
    ends[0]->fd = fds[0];
    ends[1]->fd = fds[1];
    shared = make_shared(check, length_max);
    if (shared == NULL)
        return -ENOMEM;
    ends[0]->shared = ends[1]->shared = shared;
    rc = tine__keepalive_make(&ends[0]->hold, shared, &pair_kind);
    if (rc < 0) {
        tine_free(shared);
        return rc;
    }
    rc = tine__keepalive_share(&ends[1]->hold, &ends[0]->hold, 1);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = prepare_socket(fds[i]);
    return rc;
}

int tine__transport_socket_pair(struct tine__transport *ends[2], int32_t check, uint64_t length_max)
{
    struct socket_end *made[2] = {make_end(0), make_end(1)};
    int rc = made[0] == NULL || made[1] == NULL ? -ENOMEM : make_pair(made, check, length_max);

    for (int i = 0; i < 2; i++)
        if (rc == 0)
            ends[i] = &made[i]->base;
        else if (made[i] != NULL)
            socket_close(&made[i]->base);
    return rc;
}

static int take_hold(struct socket_end *end, const struct tine__handle_parts *parts)
{
    int fd = tine__sys_dup(parts->fds[1]), rc;

    if (fd < 0)
        return fd;
    rc = tine__keepalive_adopt(&end->hold, fd, end->shared,
                               (struct tine__kept_shm *)(uintptr_t)parts->words[1], &pair_kind);
    if (rc < 0)
        close(fd);
    return rc < 0 ? TINE_EFORMAT : 0;
}

int tine__transport_socket_take(const struct tine__handle_parts *parts,
                                struct tine__transport **end)
{
    struct tine__pair_shm *shared = (struct tine__pair_shm *)(uintptr_t)parts->words[0];
    struct socket_end *made;
    int rc;

    if (parts->fd_count != 2 || parts->words[2] > 1 || !tine__heap_contains(shared, sizeof *shared))
        return TINE_EFORMAT;
    made = make_end((uint32_t)parts->words[2]);
    if (made == NULL)
        return -ENOMEM;
    made->shared = shared;
    rc = take_hold(made, parts);
    if (rc == 0)
        rc = made->fd = tine__sys_dup(parts->fds[0]);
    if (rc < 0) {
        socket_close(&made->base);
        return rc;
    }
    *end = &made->base;
    return 0;
}
