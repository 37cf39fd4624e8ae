/* SPDX-License-Identifier: MIT */
/*
 * What a pool leaves whose program was killed: in a family that lives on, of which the program was
 * a worker, say, its nursery frees it.
 *
 * Nobody else can reach it then: the program and the workers are dead, a fork of theirs may not use
 * the pool, and results that a fork may have been given are in the list of jobs no more. Nor has
 * the program begun to free the pool, for it does so when the nursery has ended.
 *
 * What is found is what the program had linked: a job from its publishing on, until it is taken out
 * of the list of jobs, which is before any of it is freed. So nothing is freed twice, at whatever
 * instant the program was killed; a block that it had in hand then is lost. So is all of it when
 * the nursery is killed as well.
 */
#include "pool/remains.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <tine/heap.h>
#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "pool/budget.h"
#include "pool/initialize.h"
#include "pool/job.h"
#include "pool/pool_impl.h"
#include "pool/sticky.h"
#include "pool/stream.h"
#include "shm/owner.h"

#define EXIT_NS TINE_SEC(10) /* of who has closed everything; usually well below a millisecond */
#define LOOK_NS TINE_MS(1)

bool tine__remains_begin(const struct tine__pool_shm *pool, int program)
{
    tine__deadline deadline = tine__deadline_after(EXIT_NS);

    while (tine__sys_poll_in(program, LOOK_NS) <= 0)
        if (!tine__owner_word_exits(pool->opener) || tine__deadline_passed(deadline))
            return false;
    if (pool->unbudgeted == 0)
        tine__budget_leave(tine__owner_word());
    return true;
}

/* ---- what is found --------------------------------------------------------------------------- */

void tine__found_add(struct tine__found *found, uint64_t block)
{
    if (block == 0)
        return;
    if (found->count == found->room) {
        size_t room = found->room == 0 ? 64 : found->room * 2;
        uint64_t *grown = realloc(found->blocks, room * sizeof *grown);

        if (grown == NULL)
            return;
        found->blocks = grown;
        found->room = room;
    }
    found->blocks[found->count++] = block;
}

static int compare(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

    return first < second ? -1 : first > second;
}

/* In order, and each once. */
static void settle(struct tine__found *found)
{
    size_t count = 0;

    if (found->count > 0)
        qsort(found->blocks, found->count, sizeof found->blocks[0], compare);
    for (size_t i = 0; i < found->count; i++)
        if (i == 0 || found->blocks[i] != found->blocks[i - 1])
            found->blocks[count++] = found->blocks[i];
    found->count = count;
}

/* The directory may name a segment twice. */
static void find_segments(const struct tine__pool_shm *pool, struct tine__found *segments)
{
    for (uint32_t i = 0; i < TINE__LANES; i++) {
        const struct tine__lane_shm *lane = tine__lane_at(pool, i);

        for (uint32_t k = 0; lane != NULL && k < TINE__SEGMENTS; k++)
            tine__found_add(segments,
                            atomic_load_explicit(&lane->segments[k], memory_order_relaxed));
    }
    settle(segments);
}

/* A loop has many tickets. */
static void find_jobs(const struct tine__pool_shm *pool, const struct tine__found *segments,
                      struct tine__found *jobs)
{
    for (size_t i = 0; i < segments->count; i++) {
        const uint64_t *entries = TINE__AT(const uint64_t, segments->blocks[i]);

        for (size_t k = 0; k <= TINE__SEGMENT_MASK; k++)
            tine__found_add(jobs, tine__ticket_job(entries[k]));
    }
    tine__sticky_find(pool, jobs);
    settle(jobs);
}

/* ---- freeing it ------------------------------------------------------------------------------ */

static void free_lanes(const struct tine__pool_shm *pool)
{
    for (uint32_t i = 0; i < TINE__LANES; i++) {
        struct tine__lane_shm *lane = tine__lane_at(pool, i);

        if (lane == NULL)
            continue;
        tine_free(TINE__AT(void, lane->claims));
        if (lane != &pool->usual)
            tine_free(lane);
    }
}

static void free_tasks(const struct tine__pool_shm *pool)
{
    uint64_t older;

    for (uint64_t at = pool->described; at != 0; at = older) {
        older = TINE__AT(const struct tine__task_shm, at)->older;
        tine_free(TINE__AT(void, at));
    }
}

void tine__remains_free(struct tine__pool_shm *pool)
{
    struct tine__found segments = {0}, jobs = {0};

    find_segments(pool, &segments);
    find_jobs(pool, &segments, &jobs);
    for (size_t i = 0; i < jobs.count; i++)
        tine__job_free(TINE__AT(struct tine__job_shm, jobs.blocks[i]));
    for (size_t i = 0; i < segments.count; i++)
        tine_free(TINE__AT(void, segments.blocks[i]));
    free_lanes(pool);
    free_tasks(pool);
    tine__sticky_free(pool);
    tine__exits_free(pool);
    tine__initialize_free(pool);
    tine_free(TINE__AT(void, pool->redos));
    tine_free(TINE__AT(void, pool->slots));
    tine_free(pool);
    free(segments.blocks);
    free(jobs.blocks);
}
