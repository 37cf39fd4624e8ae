/* SPDX-License-Identifier: MIT */
/*
 * Sending over a ring: a message up to 64 KiB as a record, a larger one in a block that its record
 * names, one with descriptors beside the ring (ipc/transport_ring_beside.c).
 */
#include "ipc/transport_ring_impl.h"

#include <errno.h>
#include <string.h>

#include "lib/copy.h"

#define EPOCHS_LATE (1u << 30) /* drained follows so far behind, for epochs come round */

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

int tine__ring_end_send(struct tine__transport *transport, const struct tine__outgoing *message,
                        tine__deadline deadline)
{
    struct ring_end *end = ring_of(transport);

    if (message->size > end->shared->length_max)
        return -EMSGSIZE;
    if (message->fd_count > 0)
        return tine__beside_send(end, message, deadline);
    if (message->size > TINE__RING_RECORD_MAX)
        return send_block(end, message, deadline);
    return put(end, INLINE, message->data, message->size, deadline);
}
