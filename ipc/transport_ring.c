/* SPDX-License-Identifier: MIT */
/*
 * Messages as records of rings in the family heap, one ring for each direction (ipc/ring.h): no system
 * call but to sleep and to wake, and whoever is killed or stopped holds up nobody.
 *
 * A record is a tag, what it is, and the message; one above 64 KiB lies in a block, and the record names that
 * (ipc/blocks.h). Whoever receives such a record claims the block first and takes the record then: if it
 * dies or stops in between, the others find the block claimed and go past the record. So a block that is on
 * its way stands in a record of the ring, or its sender has not published it yet, or who has claimed it is
 * a visitor of the table; else it is lost.
 *
 * The tag is not the one of ipc/frame.h: the bytes never leave memory that the family shares, and
 * SipHash over 64 of them would take twice as long as all the rest of a message. It is a keyed product
 * hash (lib/hash.h), which finds what accidents do, as those of the other transport do.
 *
 * A handle is private: two cursors for spinning and a spare buffer. A forked child may use its copy at
 * once. The end of a side: the last one who closes says so in the ring; who was killed is found by the
 * looks of those who sleep, by asking who holds that side (shm/keepalive.h).
 */
#include "ipc/transport_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>
#include <tine/heap.h>
#include <tine/pipe.h>

#include "ipc/end.h"
#include "lib/copy.h"
#include "lib/random.h"
#include "shm/pollable.h"
#include "shm/watch.h"

#define CHECKED_MAX 4096 /* bytes of a message that are checked by default */
#define CAPACITY    (256u << 10)
#define EPOCHS_LATE (1u << 30) /* drained follows so far behind, for epochs come round */

#define INLINE TINE__RING_INLINE
#define BLOCK  TINE__RING_BLOCK

_Static_assert(sizeof(struct tine__ring_head_shm) + sizeof(struct tine__ring_name_shm) ==
                   8 * (TINE__LANE_SHOWN + 1),
               "what is_named looks at");

struct buffer {
    uint8_t payload[TINE__RING_RECORD_MAX];
};

struct ring_end {
    struct tine__end end;
    struct tine__ring_pair_shm *shared;
    struct tine__ring out, in; /* shared NULL: not in this direction */
};

/* Sides of the shared part: those of the ends, and whoever looks whether they are held. */
enum { GUARD = 2 };

static struct ring_end *ring_of(struct tine__transport *transport)
{
    return (struct ring_end *)transport;
}

/* ---- the tag --------------------------------------------------------------------------------- */

static size_t checked_size(const struct tine__ring_pair_shm *shared, size_t size)
{
    if (shared->check == TINE_CHECK_HEADER)
        return 0;
    return shared->check == TINE_CHECK_FULL || size <= CHECKED_MAX ? size : 0;
}

static uint64_t tag_of(const struct tine__ring_pair_shm *shared, uint64_t kind, const void *payload,
                       size_t size)
{
    struct tine__hash_seed seed = shared->seed;

    seed.start ^= (kind << 32 ^ size) * 0x9e3779b97f4a7c15u;
    return tine__hash(payload, kind == BLOCK ? size : checked_size(shared, size), &seed);
}

static uint64_t block_tag(const struct tine__ring_pair_shm *shared, const void *message,
                          size_t size)
{
    return shared->check == TINE_CHECK_FULL ? tine__hash(message, size, &shared->seed) : 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

struct ring_drain {
    struct tine__drain base;
    struct tine__ring_shm *ring;
};

struct wanted {
    uint64_t kind;
    uint32_t slot, generation;
};

static bool is_named(const void *context, const uint64_t words[TINE__LANE_SHOWN])
{
    const struct wanted *wanted = context;
    struct tine__ring_name_shm name;

    memcpy(&name, words + 2, 16);
    return words[1] == wanted->kind && name.slot == wanted->slot &&
           name.generation == wanted->generation;
}

static bool is_received(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    const struct ring_drain *of_ring = (const struct ring_drain *)drain;
    struct wanted wanted = {BLOCK, slot, generation};

    return !tine__ring_holds(of_ring->ring, is_named, &wanted);
}

static void look_for_blocks(struct tine__blocks_shm *blocks, struct tine__ring_shm *ring)
{
    struct ring_drain drain = {{is_received, -1}, ring};

    tine__blocks_look(blocks, &drain.base);
}

static void look_out(struct tine__end *end)
{
    look_for_blocks(tine__end_outgoing(end), ring_of(&end->base)->out.shared);
}

/* Called by those who sleep on a ring: does the other side live? */
static bool peer_lives(void *context, int side)
{
    struct ring_end *end = context;

    if (side == TINE__RING_READERS)
        look_out(&end->end);
    else
        look_for_blocks(tine__end_incoming(&end->end), end->in.shared);
    return tine__keepalive_held(&end->end.hold, 1 - end->end.side);
}

static bool is_gone(struct tine__end *end)
{
    return tine__ring_ended(ring_of(&end->base)->out.shared, TINE__RING_READERS) ||
           !tine__keepalive_held(&end->hold, 1 - end->side);
}

/* ---- sending --------------------------------------------------------------------------------- */

static int put(struct ring_end *end, uint64_t kind, const void *payload, size_t size,
               tine__deadline deadline)
{
    struct tine__ring_head_shm head = {tag_of(end->shared, kind, payload, size), kind};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)payload, size}};
    int rc = tine__ring_send(&end->out, parts, 2, deadline);

    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static int send_block(struct ring_end *end, const struct tine__outgoing *message,
                      tine__deadline deadline)
{
    struct tine__blocks_shm *blocks = tine__end_outgoing(&end->end);
    struct tine__block block;
    struct tine__ring_name_shm name;
    int rc = tine__end_take_block(&end->end, message->size, deadline, &block);

    if (rc < 0)
        return rc;
    tine__copy(block.data, message->data, message->size);
    name = (struct tine__ring_name_shm){
        .slot = tine__blocks_index(blocks, &block),
        .generation = block.generation,
        .size = message->size,
        .tag = block_tag(end->shared, block.data, message->size),
    };
    tine__blocks_fly(&block);
    rc = put(end, BLOCK, &name, sizeof name, deadline);
    if (rc < 0) {
        tine__blocks_drop(blocks, &block);
        return rc;
    }
    tine__blocks_sent(blocks, &block);
    tine__blocks_drained(blocks, tine__blocks_epoch(blocks) - EPOCHS_LATE);
    return 0;
}

static int ring_send(struct tine__transport *transport, const struct tine__outgoing *message,
                     tine__deadline deadline)
{
    struct ring_end *end = ring_of(transport);

    if (message->fd_count > 0)
        return -EOPNOTSUPP;
    if (message->size > end->shared->length_max)
        return -EMSGSIZE;
    if (message->size > TINE__RING_RECORD_MAX)
        return send_block(end, message, deadline);
    return put(end, INLINE, message->data, message->size, deadline);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* A message on its way in: one record that was copied, and what it turned out to be. */
struct arrival {
    struct ring_end *end;
    struct tine__incoming *message;
    struct buffer *buffer; /* NULL: not needed yet */
    struct tine__ring_head_shm head;
    void *payload;
    size_t size;
    struct tine__block block; /* slot NULL: none */
    struct tine__ring_name_shm name;
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
    return arrival->head.kind == INLINE ? 0 : TINE_EFORMAT;
}

/* 0: the block is ours; -EAGAIN: another's. */
static int claim_block(struct arrival *arrival)
{
    struct tine__blocks_shm *blocks = tine__end_incoming(&arrival->end->end);
    struct tine__ring_name_shm *name = &arrival->name;
    struct tine__visitor_shm *visitor;
    int rc = tine__end_enter(&arrival->end->end, &visitor);

    if (rc < 0)
        return rc;
    memcpy(name, arrival->payload, sizeof *name);
    rc = -EAGAIN;
    if (tine__blocks_claim(blocks, name->slot, name->generation))
        rc = tine__blocks_accept(blocks, name->slot, name->generation, name->size, &arrival->block);
    tine__blocks_leave(visitor);
    return rc == 0 || rc == -ENOMEM ? rc : -EAGAIN;
}

/* 0: the message is ours; -EAGAIN: another was quicker; else a code: it is lost, or -ENOMEM. */
static int accept_block(struct arrival *arrival, const struct tine__ring_record *record)
{
    int rc = verify(arrival);

    if (rc == 0) {
        rc = claim_block(arrival);
        if (rc != -ENOMEM)
            (void)tine__ring_take(&arrival->end->in, record);
        return rc;
    }
    return tine__ring_take(&arrival->end->in, record) ? rc : -EAGAIN;
}

static ssize_t attempt(struct tine__ring *ring, void *context)
{
    struct arrival *arrival = context;
    struct tine__ring_record record;
    int rc;

    while ((rc = tine__ring_peek(ring, &record)) == 0) {
        rc = copy(arrival, &record);
        if (rc < 0)
            return rc;
        if (arrival->head.kind == BLOCK) {
            rc = accept_block(arrival, &record);
            if (rc != -EAGAIN)
                return rc;
        } else if (tine__ring_take(ring, &record)) {
            return verify(arrival);
        }
    }
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

static int ring_receive(struct tine__transport *transport, struct tine__incoming *message,
                        tine__deadline deadline)
{
    struct ring_end *end = ring_of(transport);
    struct arrival arrival; /* the rest is filled in as it comes */
    int rc;

    arrival.end = end;
    arrival.message = message;
    arrival.buffer = NULL;
    arrival.block.slot = NULL;
    rc = (int)receive_or_miss(end, &arrival, deadline);

    message->fd_count = 0;
    message->release = NULL;
    message->holder = transport;
    if (rc == 0 && arrival.block.slot != NULL)
        rc = hand_over_block(&arrival);
    else if (rc == 0)
        hand_over(&arrival);
    if (arrival.buffer != NULL)
        tine__end_give_buffer(&end->end, arrival.buffer);
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static int ring_poll(struct tine__transport *transport, tine__deadline deadline)
{
    int rc = tine__ring_poll(&ring_of(transport)->in, deadline);

    return rc == 0 ? 1 : 0;
}

/* ---- both ends ------------------------------------------------------------------------------- */

static int ring_fd(struct tine__transport *transport)
{
    (void)transport;
    return -ENOTSUP;
}

static const void *ring_point(struct tine__transport *transport)
{
    return tine__ring_readable(ring_of(transport)->in.shared);
}

static void ring_arm(struct tine__transport *transport)
{
    struct tine__ring_shm *ring = ring_of(transport)->in.shared;

    tine__waiters_watch(tine__ring_readable(ring));
}

static void ring_fence(struct tine__transport *transport)
{
    tine__ring_arm(ring_of(transport)->in.shared);
}

/* Says that nobody has this side any more, if that is so. The looks of others would find it, too. */
static void end_side(struct ring_end *end)
{
    struct tine__keepalive guard;

    if (end->shared == NULL || tine__keepalive_share(&guard, &end->end.hold, GUARD) < 0)
        return;
    tine__keepalive_close(&end->end.hold);
    if (!tine__keepalive_held(&guard, end->end.side)) {
        if (end->out.shared != NULL)
            tine__ring_end(end->out.shared, TINE__RING_WRITERS);
        if (end->in.shared != NULL)
            tine__ring_end(end->in.shared, TINE__RING_READERS);
        tine__waiters_wake_all(&tine__end_incoming(&end->end)->room);
    }
    tine__keepalive_close(&guard);
}

static void ring_close(struct tine__transport *transport)
{
    struct ring_end *end = ring_of(transport);

    if (end->out.shared != NULL)
        tine__ring_leave(&end->out);
    end_side(end);
    tine__end_close(&end->end);
}

static int ring_give(struct tine__transport *transport, struct tine__handle_parts *parts)
{
    tine__end_give(tine__end_of(transport), parts);
    return 0;
}

static const struct tine__transport_ops ring_ops = {
    .send = ring_send,
    .receive = ring_receive,
    .poll = ring_poll,
    .fd = ring_fd,
    .point = ring_point,
    .arm = ring_arm,
    .fence = ring_fence,
    .give = ring_give,
    .close = ring_close,
};

static void empty_pair(void *object)
{
    struct tine__ring_pair_shm *shared = object;

    for (int i = 0; i < 2; i++) {
        uint64_t ring = atomic_load_explicit(&shared->rings[i], memory_order_acquire);

        tine__blocks_empty(&shared->blocks[i]);
        if (ring == 0)
            continue;
        tine__ring_empty((struct tine__ring_shm *)(uintptr_t)ring);
        ring = atomic_exchange_explicit(&shared->rings[i], 0, memory_order_acq_rel);
        tine_free((void *)(uintptr_t)ring);
    }
}

static const struct tine__kept_kind pair_kind = {.number = TINE__KEPT_RINGS, .empty = empty_pair};

static int make_rings(struct tine__ring_pair_shm *shared, bool duplex)
{
    static const struct tine__ring_options options = {
        .capacity = CAPACITY,
        .record_max = TINE__RING_RECORD_MAX + sizeof(struct tine__ring_head_shm)};
    int rc = 0;

    for (int i = duplex ? 0 : 1; i < 2 && rc == 0; i++) {
        struct tine__ring_shm *ring;

        rc = tine__ring_create(&ring, &options);
        if (rc == 0)
            atomic_store_explicit(&shared->rings[i], (uint64_t)(uintptr_t)ring,
                                  memory_order_relaxed);
    }
    return rc;
}

static int make_shared(struct tine__ring_pair_shm **shared, bool duplex)
{
    struct tine__ring_pair_shm *made = tine_aligned_alloc(64, sizeof *made);
    int rc;

    if (made == NULL)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->seed = (struct tine__hash_seed){tine__random_u64(), tine__random_u64()};
    tine__blocks_init(&made->blocks[0], 1);
    tine__blocks_init(&made->blocks[1], 1);
    rc = make_rings(made, duplex);
    if (rc < 0) {
        empty_pair(made);
        tine_free(made);
        return rc;
    }
    *shared = made;
    return 0;
}

static const struct tine__end_kind end_kind = {
    .buffer_bytes = sizeof(struct buffer),
    .look = look_out,
    .gone = is_gone,
    .kept = &pair_kind,
};

static struct ring_end *make_end(uint32_t side)
{
    struct ring_end *end = calloc(1, sizeof *end);

    if (end != NULL)
        tine__end_init(&end->end, &ring_ops, &end_kind, side);
    return end;
}

static struct tine__ring_shm *ring_from(struct tine__ring_pair_shm *shared, uint32_t side)
{
    uint64_t ring = atomic_load_explicit(&shared->rings[side], memory_order_relaxed);

    return (struct tine__ring_shm *)(uintptr_t)ring;
}

static void join(struct ring_end *end, struct tine__ring_pair_shm *shared)
{
    uint32_t side = end->end.side;

    end->shared = shared;
    end->end.blocks = shared->blocks;
    tine__ring_open(&end->out, ring_from(shared, side), peer_lives, end);
    tine__ring_open(&end->in, ring_from(shared, 1 - side), peer_lives, end);
}

static int make_pair(struct ring_end *ends[2], bool duplex, int32_t check, uint64_t length_max)
{
    struct tine__end *const both[2] = {&ends[0]->end, &ends[1]->end};
    struct tine__ring_pair_shm *shared;
    int rc = make_shared(&shared, duplex);

    if (rc < 0)
        return rc;
    shared->check = check;
    shared->length_max = length_max;
    rc = tine__end_hold_both(both, shared);
    for (int i = 0; i < 2 && rc == 0; i++)
        join(ends[i], shared);
    return rc;
}

int tine__transport_ring_pair(struct tine__transport *ends[2], bool duplex, int32_t check,
                              uint64_t length_max)
{
    struct ring_end *made[2] = {make_end(0), make_end(1)};
    int rc =
        made[0] == NULL || made[1] == NULL ? -ENOMEM : make_pair(made, duplex, check, length_max);

    for (int i = 0; i < 2; i++)
        if (rc == 0)
            ends[i] = &made[i]->end.base;
        else if (made[i] != NULL)
            ring_close(&made[i]->end.base);
    return rc;
}

int tine__transport_ring_take(const struct tine__handle_parts *parts, bool readable, bool writable,
                              struct tine__transport **end)
{
    struct ring_end *made;
    int rc;

    if (parts->fd_count != TINE__RING_FDS || parts->words[2] > 1)
        return TINE_EFORMAT;
    made = make_end((uint32_t)parts->words[2]);
    if (made == NULL)
        return -ENOMEM;
    rc = tine__end_adopt(&made->end, parts, sizeof(struct tine__ring_pair_shm));
    if (rc == 0)
        join(made, made->end.hold.object);
    if (rc == 0 &&
        ((readable && made->in.shared == NULL) || (writable && made->out.shared == NULL)))
        rc = TINE_EFORMAT;
    if (rc < 0) {
        ring_close(&made->end.base);
        return rc;
    }
    *end = &made->end.base;
    return 0;
}
