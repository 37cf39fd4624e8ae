/* SPDX-License-Identifier: MIT */
/*
 * Priorities: a stream of tickets for each that was ever asked for, made when it first is.
 *
 * Workers take tickets from the most urgent lane that has one; a worker in a loop looks at the more
 * urgent ones between two units, and comes back by the ticket that it keeps meanwhile
 * (pool/worker.c). Each lane has its own claims, so they are as exact as with one. A pool without
 * priorities has the usual lane alone, and one word that says so.
 *
 * Lanes are entered in the shared pool before their bit is set, and the bit before the first ticket
 * is published, so who sees a ticket sees the lane. They are freed with the pool. Private sides
 * likewise; a forked child has copies that it never looks at.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/heap.h>

static void *zeroed(size_t size)
{
    void *memory;

    size = (size + TINE__LINE - 1) & ~(size_t)(TINE__LINE - 1);
    memory = tine_aligned_alloc(TINE__LINE, size);
    return memory == NULL ? NULL : memset(memory, 0, size);
}

static void free_lane(struct tine__pool_shm *shared, struct tine__lane_shm *lane)
{
    if (lane == NULL)
        return;
    tine_free(TINE__AT(void, lane->claims));
    if (lane != &shared->usual)
        tine_free(lane);
}

int tine__priority_open(struct tine_pool *pool, uint32_t index)
{
    struct tine__pool_shm *shared = pool->shared;
    struct tine__lane_shm *lane = &shared->usual;
    struct tine__stream *stream;

    if (pool->streams[index] != NULL)
        return 0;
    if (index != TINE__LANE_USUAL)
        lane = zeroed(sizeof *lane);
    if (lane != NULL)
        lane->claims = TINE__ADDRESS(zeroed(tine__claims_size(shared->workers)));
    stream = calloc(1, sizeof *stream);
    if (lane == NULL || lane->claims == 0 || stream == NULL) {
        free_lane(shared, lane);
        free(stream);
        return -ENOMEM;
    }
    stream->lane = lane;
    pool->streams[index] = stream;
    atomic_store_explicit(&shared->lanes[index], TINE__ADDRESS(lane), memory_order_release);
    if (index != TINE__LANE_USUAL)
        atomic_fetch_or_explicit(&shared->lane_mask, 1u << index, memory_order_seq_cst);
    return 0;
}

void tine__priority_fini(struct tine_pool *pool)
{
    for (uint32_t i = 0; i < TINE__LANES; i++) {
        if (pool->streams[i] == NULL)
            continue;
        tine__stream_fini(pool->streams[i]);
        free_lane(pool->shared, pool->streams[i]->lane);
        free(pool->streams[i]);
        pool->streams[i] = NULL;
    }
}
