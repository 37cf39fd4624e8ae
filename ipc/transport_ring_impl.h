/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_RING_IMPL_H
#define TINE_IPC_TRANSPORT_RING_IMPL_H

/* What the files of ipc/transport_ring share; see ipc/transport_ring.c. */

#include <stdint.h>

#include <tine/pipe.h>

#include "ipc/end.h"
#include "ipc/transport_ring.h"

struct ring_end {
    struct tine__end end;
    struct tine__ring_pair_shm *shared;
    struct tine__ring out, in;      /* shared NULL: not in this direction */
    struct tine__transport *beside; /* carries the messages with descriptors */
};

#define INLINE TINE__RING_INLINE
#define BLOCK  TINE__RING_BLOCK
#define NOTE   TINE__RING_NOTE

static inline struct ring_end *ring_of(struct tine__transport *transport)
{
    return (struct ring_end *)transport;
}

/* ---- the tag --------------------------------------------------------------------------------- */

#define CHECKED_MAX 4096 /* bytes of a message that are checked by default */

static inline size_t checked_size(const struct tine__ring_pair_shm *shared, size_t size)
{
    if (shared->check == TINE_CHECK_HEADER)
        return 0;
    return shared->check == TINE_CHECK_FULL || size <= CHECKED_MAX ? size : 0;
}

/* Of a record of that kind. */
static inline uint64_t tag_of(const struct tine__ring_pair_shm *shared, uint64_t kind,
                              const void *payload, size_t size)
{
    struct tine__hash_seed seed = shared->seed;

    seed.start ^= (kind << 32 ^ size) * 0x9e3779b97f4a7c15u;
    return tine__hash(payload, kind == INLINE ? checked_size(shared, size) : size, &seed);
}

/* Of the message that lies in a block; 0: not checked. */
static inline uint64_t block_tag(const struct tine__ring_pair_shm *shared, const void *message,
                                 size_t size)
{
    return shared->check == TINE_CHECK_FULL ? tine__hash(message, size, &shared->seed) : 0;
}

/* ---- the calls of struct tine__transport_ops ------------------------------------------------- */

int tine__ring_end_send(struct tine__transport *transport, const struct tine__outgoing *message,
                        tine__deadline deadline);
int tine__ring_end_receive(struct tine__transport *transport, struct tine__incoming *message,
                           tine__deadline deadline);
int tine__ring_end_poll(struct tine__transport *transport, tine__deadline deadline);

/* ---- beside the ring: ipc/transport_ring_beside.c -------------------------------------------- */

int tine__beside_send(struct ring_end *end, const struct tine__outgoing *message,
                      tine__deadline deadline);
/*
 * When a note is the oldest record of the ring, or there is none. 0: the message has come; 1: it
 * could (message NULL); -EAGAIN, TINE_EEOF: there is none; -EBUSY: the oldest record is another one
 * by now; a code of the socket's receive: that message is lost.
 */
int tine__beside_fetch(struct ring_end *end, struct tine__incoming *message);
/* 1: to receive would not wait; -EAGAIN. */
int tine__beside_poll(struct ring_end *end);
/* There is no record, as rc says: may there be a message that a dead sender made no note of? */
bool tine__beside_suspects(struct ring_end *end, int rc);

#endif
