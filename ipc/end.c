/* SPDX-License-Identifier: MIT */
/*
 * Ends of a pair; see ipc/end.h. How messages get to the other end is the transports' own; this
 * file has what they do alike with the pieces of one: buffers, blocks, and the hold on what both
 * ends share.
 *
 * A forked child may use its copy at once: a spare buffer is memory like any other there, and a
 * visitor's place is taken anew by each call. What a dead process had of the blocks is swept by
 * those who wait (ipc/blocks.c).
 */
#include "ipc/end.h"

#include <errno.h>
#include <stdlib.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/copy.h"
#include "lib/futex_lock.h"

/* ---- making and ending ----------------------------------------------------------------------- */

void tine__end_init(struct tine__end *end, const struct tine__transport_ops *ops,
                    const struct tine__end_kind *kind, uint32_t side)
{
    end->base = (struct tine__transport){.ops = ops, .family = true, .descriptors = true};
    end->kind = kind;
    end->side = side;
    end->hold.fd = -1;
}

int tine__end_hold_both(struct tine__end *const ends[2], void *shared)
{
    const struct tine__kept_kind *kept = ends[0]->kind->kept;
    int rc = tine__keepalive_make(&ends[0]->hold, shared, kept);

    if (rc < 0) {
        kept->empty(shared);
        tine_free(shared);
        return rc;
    }
    return tine__keepalive_share(&ends[1]->hold, &ends[0]->hold, 1);
}

int tine__end_pair(struct tine__transport *ends[2], struct tine__end *const made[2], int rc)
{
    for (int i = 0; i < 2; i++)
        if (rc == 0)
            ends[i] = &made[i]->base;
        else if (made[i] != NULL)
            made[i]->base.ops->close(&made[i]->base);
    return rc;
}

/* words: what both ends share, its entry in the register, the side and the kind of the pair */
void tine__end_give(const struct tine__end *end, struct tine__handle_parts *parts)
{
    tine__keepalive_give(&end->hold, parts);
    parts->words[2] = (uint64_t)end->kind->kept->number << 1 | end->side;
}

int tine__end_take(struct tine__end *end, const struct tine__handle_parts *parts)
{
    if (parts->words[2] != ((uint64_t)end->kind->kept->number << 1 | end->side))
        return TINE_EFORMAT;
    return tine__keepalive_take(&end->hold, parts, end->side, end->kind->kept);
}

void tine__end_close(struct tine__end *end)
{
    free(atomic_load_explicit(&end->spare, memory_order_acquire));
    tine__keepalive_close(&end->hold);
    free(end);
}

/* ---- the spare buffer ------------------------------------------------------------------------ */

/* One thread need not lock the bus for it: twice for each message, that is 2 % of it. */
static inline void *swap_spare(struct tine__end *end, void *buffer, memory_order order)
{
    void *before;

    if (!TINE__ALONE)
        return atomic_exchange_explicit(&end->spare, buffer, order);
    before = atomic_load_explicit(&end->spare, memory_order_relaxed);
    atomic_store_explicit(&end->spare, buffer, memory_order_relaxed);
    return before;
}

void *tine__end_take_buffer(struct tine__end *end)
{
    void *buffer = swap_spare(end, NULL, memory_order_acquire);

    return buffer != NULL ? buffer : malloc(end->kind->buffer_bytes);
}

void tine__end_give_buffer(struct tine__end *end, void *buffer)
{
    buffer = swap_spare(end, buffer, memory_order_acq_rel);
    if (buffer != NULL) /* as seldom as threads meet */
        free(buffer);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Who waits for a slot is told of the others' end by nobody: it looks. */
int tine__end_take_block(struct tine__end *end, size_t size, tine__deadline deadline,
                         struct tine__block *block)
{
    struct tine__blocks_shm *blocks = tine__end_outgoing(end);
    bool slept = false;

    for (;; slept = true) {
        uint32_t turn;
        int rc;

        end->kind->look(end);
        turn = tine__waiters_join(&blocks->room);
        rc = tine__blocks_take(blocks, size, block);
        if (rc != -EAGAIN && slept) /* there may be room for another sleeper, too */
            tine__waiters_wake(&blocks->room, 1);
        if (rc != -EAGAIN)
            return rc;
        if (end->kind->gone(end))
            return -EPIPE;
        rc = deadline == TINE__AT_ONCE ? -ETIMEDOUT
                                       : tine__waiters_sleep(&blocks->room, turn, deadline);
        if (rc < 0)
            return rc;
    }
}

int tine__end_enter(struct tine__end *end, struct tine__visitor_shm **visitor)
{
    int rc;

    /* relaxed: the same for all, and constant memory */
    *visitor = atomic_load_explicit(&end->visitor, memory_order_relaxed);
    rc = tine__blocks_enter(tine__end_incoming(end), visitor);
    if (rc == 0)
        atomic_store_explicit(&end->visitor, *visitor, memory_order_relaxed);
    return rc;
}

static void release_block(struct tine__incoming *message)
{
    struct tine__blocks_shm *blocks = tine__end_incoming(tine__end_of(message->holder));

    tine__blocks_release(blocks, &(struct tine__block){
                                     .slot = &blocks->slots[message->token >> 32],
                                     .generation = (uint32_t)message->token,
                                 });
}

void tine__end_hand_over(struct tine__end *end, const struct tine__block *block, size_t size,
                         struct tine__incoming *message)
{
    message->size = size;
    message->data = block->data;
    message->holder = &end->base;
    message->token = tine__block_token(tine__end_incoming(end), block);
    message->release = release_block;
    if (size > message->room)
        return;
    tine__copy(message->into, block->data, size);
    tine__incoming_release(message);
    message->data = message->into;
}
