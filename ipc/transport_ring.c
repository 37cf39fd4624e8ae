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
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>
#include <tine/pipe.h>

#include "lib/random.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/keepalive.h"
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

/* spare is only where to begin: each call takes it and gives it back. */
struct ring_end {
    struct tine__transport base;
    uint32_t side;
    struct tine__ring_pair_shm *shared;
    struct tine__keepalive hold;
    struct tine__ring out, in; /* shared NULL: not in this direction */
    struct buffer *_Atomic spare;
    struct tine__visitor_shm *_Atomic visitor; /* likewise */
};

/* Sides of the shared part: those of the ends, and whoever looks whether they are held. */
enum { GUARD = 2 };

static struct ring_end *end_of(struct tine__transport *transport)
{
    return (struct ring_end *)transport;
}

static struct tine__blocks_shm *outgoing(struct ring_end *end)
{
    return &end->shared->blocks[end->side];
}

static struct tine__blocks_shm *incoming(struct ring_end *end)
{
    return &end->shared->blocks[1 - end->side];
}

/* ---- the spare buffer ------------------------------------------------------------------------ */

static struct buffer *take_buffer(struct ring_end *end)
{
    struct buffer *buffer = atomic_exchange_explicit(&end->spare, NULL, memory_order_acquire);

    return buffer != NULL ? buffer : malloc(sizeof *buffer);
}

static void give_buffer(struct ring_end *end, struct buffer *buffer)
{
    if (buffer != NULL)
        free(atomic_exchange_explicit(&end->spare, buffer, memory_order_acq_rel));
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

/* Called by those who sleep on a ring: does the other side live? */
static bool peer_lives(void *context, int side)
{
    struct ring_end *end = context;

    if (side == TINE__RING_READERS)
        look_for_blocks(outgoing(end), end->out.shared);
    else
        look_for_blocks(incoming(end), end->in.shared);
    return tine__keepalive_held(&end->hold, 1 - end->side);
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

static int take_block(struct ring_end *end, size_t size, tine__deadline deadline,
                      struct tine__block *block)
{
    struct tine__blocks_shm *blocks = outgoing(end);

    bool slept = false;

    look_for_blocks(blocks, end->out.shared);
    for (;; slept = true) {
        uint32_t turn = tine__waiters_join(&blocks->room);
        int rc = tine__blocks_take(blocks, size, block);

        if (rc != -EAGAIN && slept) /* there may be room for another sleeper, too */
            tine__waiters_wake(&blocks->room, 1);
        if (rc != -EAGAIN)
            return rc;
        if (tine__ring_ended(end->out.shared, TINE__RING_READERS) ||
            !peer_lives(end, TINE__RING_READERS))
            return -EPIPE;
        rc = deadline == TINE__AT_ONCE ? -ETIMEDOUT
                                       : tine__waiters_sleep(&blocks->room, turn, deadline);
        if (rc < 0)
            return rc;
    }
}

static int send_block(struct ring_end *end, const struct tine__outgoing *message,
                      tine__deadline deadline)
{
    struct tine__blocks_shm *blocks = outgoing(end);
    struct tine__block block;
    struct tine__ring_name_shm name;
    int rc = take_block(end, message->size, deadline, &block);

    if (rc < 0)
        return rc;
    memcpy(block.data, message->data, message->size);
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
    struct ring_end *end = end_of(transport);

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
    give_buffer(end_of(message->holder), (struct buffer *)(uintptr_t)message->data);
}

static void release_block(struct tine__incoming *message)
{
    struct tine__blocks_shm *blocks = incoming(end_of(message->holder));

    tine__blocks_release(blocks, &(struct tine__block){
                                     .slot = &blocks->slots[message->token >> 32],
                                     .generation = (uint32_t)message->token,
                                 });
}

/* Into the receiver's memory if it fits there, else into a buffer. */
static int copy(struct arrival *arrival, const struct tine__ring_record *record)
{
    struct tine__parts to = {.head = &arrival->head, .head_size = sizeof arrival->head};
    uint32_t size = tine__record_size(record->record.word);

    arrival->size = size > sizeof arrival->head ? size - sizeof arrival->head : 0;
    arrival->payload = arrival->message->into;
    if (arrival->size > arrival->message->room && arrival->buffer == NULL) {
        arrival->buffer = take_buffer(arrival->end);
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
    struct tine__blocks_shm *blocks = incoming(arrival->end);
    struct tine__visitor_shm *visitor =
        atomic_load_explicit(&arrival->end->visitor, memory_order_relaxed);
    struct tine__ring_name_shm *name = &arrival->name;
    int rc = tine__blocks_enter(blocks, &visitor);

    if (rc < 0)
        return rc;
    /* relaxed: the same for all, and constant memory */
    atomic_store_explicit(&arrival->end->visitor, visitor, memory_order_relaxed);
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
    struct tine__incoming *message = arrival->message;
    struct tine__ring_pair_shm *shared = arrival->end->shared;
    size_t size = arrival->name.size;

    if (arrival->name.tag != block_tag(shared, arrival->block.data, size)) {
        tine__blocks_release(incoming(arrival->end), &arrival->block);
        return TINE_ECHECKSUM;
    }
    message->size = size;
    if (size <= message->room) {
        memcpy(message->into, arrival->block.data, size);
        tine__blocks_release(incoming(arrival->end), &arrival->block);
        message->data = message->into;
        return 0;
    }
    message->data = arrival->block.data;
    message->release = release_block;
    message->token = (uint64_t)arrival->name.slot << 32 | arrival->name.generation;
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
    struct ring_end *end = end_of(transport);
    struct arrival arrival = {.end = end, .message = message};
    int rc = (int)receive_or_miss(end, &arrival, deadline);

    message->fd_count = 0;
    message->release = NULL;
    message->holder = transport;
    if (rc == 0 && arrival.block.slot != NULL)
        rc = hand_over_block(&arrival);
    else if (rc == 0)
        hand_over(&arrival);
    give_buffer(end, arrival.buffer);
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static int ring_poll(struct tine__transport *transport, tine__deadline deadline)
{
    int rc = tine__ring_poll(&end_of(transport)->in, deadline);

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
    return tine__ring_readable(end_of(transport)->in.shared);
}

static void ring_arm(struct tine__transport *transport)
{
    struct tine__ring_shm *ring = end_of(transport)->in.shared;

    tine__waiters_watch(tine__ring_readable(ring));
}

static void ring_fence(struct tine__transport *transport)
{
    tine__ring_arm(end_of(transport)->in.shared);
}

/* Says that nobody has this side any more, if that is so. The looks of others would find it, too. */
static void end_side(struct ring_end *end)
{
    struct tine__keepalive guard;

    if (end->shared == NULL || tine__keepalive_share(&guard, &end->hold, GUARD) < 0)
        return;
    tine__keepalive_close(&end->hold);
    if (!tine__keepalive_held(&guard, end->side)) {
        if (end->out.shared != NULL)
            tine__ring_end(end->out.shared, TINE__RING_WRITERS);
        if (end->in.shared != NULL)
            tine__ring_end(end->in.shared, TINE__RING_READERS);
        tine__waiters_wake_all(&incoming(end)->room);
    }
    tine__keepalive_close(&guard);
}

static void ring_close(struct tine__transport *transport)
{
    struct ring_end *end = end_of(transport);

    free(atomic_load_explicit(&end->spare, memory_order_acquire));
    if (end->out.shared != NULL)
        tine__ring_leave(&end->out);
    end_side(end);
    tine__keepalive_close(&end->hold);
    free(end);
}

/* words: what both ends share, its entry in the register, the side */
static int ring_give(struct tine__transport *transport, struct tine__handle_parts *parts)
{
    const struct ring_end *end = end_of(transport);

    parts->words[0] = (uint64_t)(uintptr_t)end->shared;
    parts->words[1] = (uint64_t)(uintptr_t)end->hold.entry;
    parts->words[2] = end->side;
    parts->fds[0] = end->hold.fd;
    parts->fd_count = TINE__RING_FDS;
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

static struct ring_end *make_end(uint32_t side)
{
    struct ring_end *end = calloc(1, sizeof *end);

    if (end == NULL)
        return NULL;
    end->base = (struct tine__transport){&ring_ops, .family = true, .descriptors = false};
    end->side = side;
    end->hold.fd = -1;
    return end;
}

static struct tine__ring_shm *ring_of(struct tine__ring_pair_shm *shared, uint32_t side)
{
    uint64_t ring = atomic_load_explicit(&shared->rings[side], memory_order_relaxed);

    return (struct tine__ring_shm *)(uintptr_t)ring;
}

static void join(struct ring_end *end, struct tine__ring_pair_shm *shared)
{
    end->shared = shared;
    tine__ring_open(&end->out, ring_of(shared, end->side), peer_lives, end);
    tine__ring_open(&end->in, ring_of(shared, 1 - end->side), peer_lives, end);
}

static int hold_both(struct ring_end *ends[2], struct tine__ring_pair_shm *shared)
{
    int rc = tine__keepalive_make(&ends[0]->hold, shared, &pair_kind);

    if (rc < 0) {
        empty_pair(shared);
        tine_free(shared);
        return rc;
    }
    rc = tine__keepalive_share(&ends[1]->hold, &ends[0]->hold, 1);
    for (int i = 0; i < 2 && rc == 0; i++)
        join(ends[i], shared);
    return rc;
}

int tine__transport_ring_pair(struct tine__transport *ends[2], bool duplex, int32_t check,
                              uint64_t length_max)
{
    struct ring_end *made[2] = {make_end(0), make_end(1)};
    struct tine__ring_pair_shm *shared = NULL;
    int rc = made[0] == NULL || made[1] == NULL ? -ENOMEM : make_shared(&shared, duplex);

    if (rc == 0) {
        shared->check = check;
        shared->length_max = length_max;
        rc = hold_both(made, shared);
    }
    for (int i = 0; i < 2; i++)
        if (rc == 0)
            ends[i] = &made[i]->base;
        else if (made[i] != NULL)
            ring_close(&made[i]->base);
    return rc;
}

int tine__transport_ring_take(const struct tine__handle_parts *parts, bool readable, bool writable,
                              struct tine__transport **end)
{
    struct tine__ring_pair_shm *shared = (struct tine__ring_pair_shm *)(uintptr_t)parts->words[0];
    struct tine__kept_shm *entry = (struct tine__kept_shm *)(uintptr_t)parts->words[1];
    struct ring_end *made;
    int fd, rc;

    if (parts->fd_count != TINE__RING_FDS || parts->words[2] > 1 ||
        !tine__heap_contains(shared, sizeof *shared))
        return TINE_EFORMAT;
    fd = tine__sys_dup(parts->fds[0]);
    if (fd < 0)
        return fd;
    made = make_end((uint32_t)parts->words[2]);
    rc = made == NULL ? -ENOMEM : tine__keepalive_adopt(&made->hold, fd, shared, entry, &pair_kind);
    if (rc < 0) {
        close(fd);
        free(made);
        return rc == -EINVAL ? TINE_EFORMAT : rc;
    }
    join(made, shared);
    if ((readable && made->in.shared == NULL) || (writable && made->out.shared == NULL)) {
        ring_close(&made->base);
        return TINE_EFORMAT;
    }
    *end = &made->base;
    return 0;
}
