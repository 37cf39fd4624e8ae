/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_END_H
#define TINE_IPC_END_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/blocks.h"
#include "ipc/transport.h"
#include "shm/keepalive.h"

/*
 * One end of a pair inside the family, as one process has it: what the transports over sockets and
 * over rings have in common. Both ends share a kept object (shm/keepalive.h), of which end i holds
 * side i; large messages lie in its tables of blocks. Private, for many threads.
 *
 * spare and visitor are only where to begin: each call takes the one, or comes to the other, and
 * gives it back. Threads that come meanwhile find their own.
 */
struct tine__end {
    struct tine__transport base;
    const struct tine__end_kind *kind;
    uint32_t side;
    struct tine__blocks_shm *blocks; /* [i]: what end i sends */
    struct tine__keepalive hold;
    void *_Atomic spare;
    struct tine__visitor_shm *_Atomic visitor;
};

/*
 * look  gives back what the dead held of the blocks that this end sends, unless done of late
 * gone  can nobody receive at the other end any more?
 */
struct tine__end_kind {
    size_t buffer_bytes;
    void (*look)(struct tine__end *end);
    bool (*gone)(struct tine__end *end);
    const struct tine__kept_kind *kept;
};

static inline struct tine__end *tine__end_of(struct tine__transport *transport)
{
    return (struct tine__end *)transport;
}

static inline struct tine__blocks_shm *tine__end_outgoing(struct tine__end *end)
{
    return &end->blocks[end->side];
}

static inline struct tine__blocks_shm *tine__end_incoming(struct tine__end *end)
{
    return &end->blocks[1 - end->side];
}

/* ---- making and ending ----------------------------------------------------------------------- */

/* Zeroed memory becomes an end that holds nothing yet, to be closed. */
void tine__end_init(struct tine__end *end, const struct tine__transport_ops *ops,
                    const struct tine__end_kind *kind, uint32_t side);
/*
 * Both hold what they share, a block of tine_alloc's that is given: the kind's `kept` ends it, also
 * on failure. What tine__keepalive_make returns.
 */
int tine__end_hold_both(struct tine__end *const ends[2], void *shared);
/* The last step of making both (NULL: no memory for one): they are handed out, or closed. rc
   again. */
int tine__end_pair(struct tine__transport *ends[2], struct tine__end *const made[2], int rc);
/* What an end consists of; the descriptors that are its own stand behind the first. */
void tine__end_give(const struct tine__end *end, struct tine__handle_parts *parts);
/* Holds what they share, of parts that give filled in. As tine__keepalive_take(). */
int tine__end_take(struct tine__end *end, const struct tine__handle_parts *parts);
/* And frees it. */
void tine__end_close(struct tine__end *end);

/* ---- the pieces of a message ----------------------------------------------------------------- */

void *tine__end_take_buffer(struct tine__end *end); /* NULL: no memory */
void tine__end_give_buffer(struct tine__end *end, void *buffer);

/* A block for a message to be sent: 0, -ETIMEDOUT, -EPIPE, -ENOMEM. */
int tine__end_take_block(struct tine__end *end, size_t size, tine__deadline deadline,
                         struct tine__block *block);
/* As tine__blocks_enter(), of what comes in. */
int tine__end_enter(struct tine__end *end, struct tine__visitor_shm **visitor);
/*
 * The message, which lies in a block that the caller has accepted, becomes the receiver's: in its
 * own memory if it fits there.
 */
void tine__end_hand_over(struct tine__end *end, const struct tine__block *block, size_t size,
                         struct tine__incoming *message);

/* A block as the token of a message, and its parts. */
static inline uint64_t tine__block_token(const struct tine__blocks_shm *blocks,
                                         const struct tine__block *block)
{
    return (uint64_t)tine__blocks_index(blocks, block) << 32 | block->generation;
}

#endif
