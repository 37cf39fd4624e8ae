/* SPDX-License-Identifier: MIT */
/*
 * What the files of the ring share: ipc/ring.c (making, ending, sending, receiving) and ring_wait.c
 * (calls that wait).
 */
#ifndef TINE_IPC_RING_IMPL_H
#define TINE_IPC_RING_IMPL_H

#include "ipc/ring.h"

#define TINE__RING_LANES_MAX 1024

/* state */
#define TINE__RING_ENDED(side) (1u << (side))
#define TINE__RING_FENCES      4u /* a consumer can't fence for the producers */

/*
 * field       written by                           read by              order
 * id max …    tine__ring_create                    any                  plain
 * lane_count  who adds a lane                      any                  release/acquire
 * state       who ends a side, or cannot fence     any                  release/acquire
 * readable    consumers that sleep, who wakes      producers            shm/waiters.h, shm/fence.h
 * asleep      consumers that sleep                 the same             seq_cst, a bound
 * looked      who looks for the dead               who sleeps           tine__look_due
 * ticket      producers, if there are two lanes    the same             relaxed fetch_add
 * lanes       who adds a lane: 0 → its address     any                  release/acquire
 */
struct tine__ring_shm {
    uint64_t id; /* random: no ring that lay here before has it */
    uint32_t capacity;
    uint32_t record_max;
    uint64_t start;
    _Atomic uint32_t lane_count;
    _Atomic uint32_t state;
    struct tine__waiters_shm readable;
    _Atomic uint64_t looked[2]; /* for that side */
    _Atomic uint32_t asleep;
    uint32_t reserved;
    _Atomic uint64_t ticket;
    uint64_t reserved_ticket[7];
    _Atomic uint64_t lanes[TINE__RING_LANES_MAX];
};

_Static_assert(offsetof(struct tine__ring_shm, ticket) == 64, "lines of the ring");

static inline struct tine__lane_shm *tine__ring_lane(struct tine__ring_shm *shared, uint32_t i)
{
    uint64_t address = atomic_load_explicit(&shared->lanes[i], memory_order_acquire);

    return (struct tine__lane_shm *)(uintptr_t)address;
}

bool tine__ring_may_read(struct tine__ring *ring);

/* A call that may wait. */
struct tine__ring_call {
    ssize_t (*attempt)(struct tine__ring_call *call); /* -EAGAIN: not yet */
    struct tine__ring *ring;
    struct tine__waiters_shm *waiters; /* what it sleeps on */
    struct tine__spin *spin;
    int peer; /* the side that must come */
    uint32_t peer_cpu;
    /* receive */
    tine__ring_attempt *receive;
    void *context;
    /* send */
    struct tine__lane_shm *lane;
    struct tine__place place;
    uint32_t size;
    bool roomy; /* there shall be room for many: set while it spins */
};

/* Attempts until that is not -EAGAIN: what it is, or -ETIMEDOUT. */
ssize_t tine__ring_wait(struct tine__ring_call *call, tine__deadline deadline);
/* Does that side still live? Now and then. */
void tine__ring_look(struct tine__ring *ring, int side);

#endif
