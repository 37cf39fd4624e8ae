/* SPDX-License-Identifier: MIT */
/*
 * Messages as records of rings in the family heap, one ring for each direction (ipc/ring.h): no
 * system call but to sleep and to wake, and whoever is killed or stopped holds up nobody.
 *
 * A record is a tag, what it is, and the message; one above 64 KiB lies in a block, and the record
 * names that (ipc/blocks.h). Whoever receives such a record claims the block first and takes the
 * record then: if it dies or stops in between, the others find the block claimed and go past the
 * record. So a block that is on its way stands in a record of the ring, or its sender has not
 * published it yet, or who has claimed it is a visitor of the table; else it is lost.
 *
 * The tag is not the one of ipc/frame.h: the bytes never leave memory that the family shares, and
 * SipHash over 64 of them would take twice as long as all the rest of a message. It is a keyed
 * product hash (lib/hash.h), which finds what accidents do, as those of the other transport do.
 *
 * A message with descriptors goes beside the ring, through a socket pair, and the record notes
 * that (ipc/transport_ring_beside.c).
 *
 * A handle is private: two cursors for spinning and a spare buffer. A forked child may use its
 * copy at once. The end of a side: the last one who closes says so in the ring; who was killed is
 * found by the looks of those who sleep, by asking who holds that side (shm/keepalive.h).
 */
#include "ipc/transport_ring_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/random.h"
#include "lib/sys.h"

#define CAPACITY (256u << 10)

_Static_assert(sizeof(struct tine__ring_head_shm) + sizeof(struct tine__ring_name_shm) ==
                   8 * (TINE__LANE_SHOWN + 1),
               "what is_named looks at");
_Static_assert(sizeof(struct tine__beside_shm) == 64, "a cache line");

/* Sides of the shared part: those of the ends, and whoever looks whether they are held. */
enum { GUARD = 2 };

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

/* Says that nobody has this side any more, if so. The looks of others would find it, too. */
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
    if (end->beside != NULL)
        end->beside->ops->close(end->beside);
    end_side(end);
    tine__end_close(&end->end);
}

static int ring_give(struct tine__transport *transport, struct tine__handle_parts *parts)
{
    tine__end_give(tine__end_of(transport), parts);
    parts->fds[parts->fd_count++] = tine__transport_socket_file(ring_of(transport)->beside);
    return 0;
}

static const struct tine__transport_ops ring_ops = {
    .send = tine__ring_end_send,
    .receive = tine__ring_end_receive,
    .poll = tine__ring_end_poll,
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
        tine__blocks_empty(&shared->socket.blocks[i]);
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

static int make_shared(struct tine__ring_pair_shm **shared, bool duplex, int32_t check,
                       uint64_t length_max)
{
    struct tine__ring_pair_shm *made = tine_aligned_alloc(64, sizeof *made);
    int rc;

    if (made == NULL)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->seed = (struct tine__hash_seed){tine__random_u64(), tine__random_u64()};
    made->check = check;
    made->length_max = length_max;
    tine__blocks_init(&made->blocks[0], 1);
    tine__blocks_init(&made->blocks[1], 1);
    tine__pair_init(&made->socket, check, length_max);
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
    .buffer_bytes = TINE__RING_RECORD_MAX,
    .look = look_out,
    .gone = is_gone,
    .kept = &pair_kind,
};

static struct tine__end *make_end(uint32_t side)
{
    struct ring_end *end = calloc(1, sizeof *end);

    if (end == NULL)
        return NULL;
    tine__end_init(&end->end, &ring_ops, &end_kind, side);
    return &end->end;
}

static struct tine__ring_shm *ring_from(struct tine__ring_pair_shm *shared, uint32_t side)
{
    uint64_t ring = atomic_load_explicit(&shared->rings[side], memory_order_relaxed);

    return (struct tine__ring_shm *)(uintptr_t)ring;
}

/* The descriptor is given, also on failure. */
static int join(struct ring_end *end, struct tine__ring_pair_shm *shared, int fd)
{
    uint32_t side = end->end.side;

    end->shared = shared;
    end->end.blocks = shared->blocks;
    tine__ring_open(&end->out, ring_from(shared, side), peer_lives, end);
    tine__ring_open(&end->in, ring_from(shared, 1 - side), peer_lives, end);
    return tine__transport_socket_beside(&end->beside, fd, side, &shared->socket);
}

static int make_pair(struct tine__end *const both[2], struct tine__ring_pair_shm *shared)
{
    int fds[2], rc = tine__end_hold_both(both, shared), second;

    if (rc == 0)
        rc = tine__transport_socket_fds(fds);
    if (rc < 0)
        return rc;
    rc = join(ring_of(&both[0]->base), shared, fds[0]);
    second = join(ring_of(&both[1]->base), shared, fds[1]);
    return rc < 0 ? rc : second;
}

int tine__transport_ring_pair(struct tine__transport *ends[2], bool duplex, int32_t check,
                              uint64_t length_max)
{
    struct tine__end *const made[2] = {make_end(0), make_end(1)};
    struct tine__ring_pair_shm *shared = NULL;
    int rc = made[0] == NULL || made[1] == NULL ? -ENOMEM
                                                : make_shared(&shared, duplex, check, length_max);

    if (rc == 0)
        rc = make_pair(made, shared);
    return tine__end_pair(ends, made, rc);
}

bool tine__transport_ring_gave(const struct tine__handle_parts *parts)
{
    return parts->words[2] >> 1 == TINE__KEPT_RINGS;
}

static int take_parts(struct ring_end *end, const struct tine__handle_parts *parts, bool readable,
                      bool writable)
{
    int fd, rc = tine__end_take(&end->end, parts);

    if (rc < 0)
        return rc;
    fd = tine__sys_dup(parts->fds[1]);
    rc = fd < 0 ? fd : join(end, end->end.hold.object, fd);
    if (rc < 0)
        return rc;
    return (readable && end->in.shared == NULL) || (writable && end->out.shared == NULL)
               ? TINE_EFORMAT
               : 0;
}

int tine__transport_ring_take(const struct tine__handle_parts *parts, bool readable, bool writable,
                              struct tine__transport **end)
{
    struct tine__end *made;
    int rc;

    if (parts->fd_count != 2)
        return TINE_EFORMAT;
    made = make_end(parts->words[2] & 1);
    if (made == NULL)
        return -ENOMEM;
    rc = take_parts(ring_of(&made->base), parts, readable, writable);
    if (rc < 0) {
        ring_close(&made->base);
        return rc;
    }
    *end = &made->base;
    return 0;
}
