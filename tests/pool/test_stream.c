/* SPDX-License-Identifier: MIT */
/* The stream: segments come and go, retired and stale tickets lead nowhere. */
#include "pool/stream.h"

#include <errno.h>
#include <string.h>

#include <tine/heap.h>

#include "pool/claim.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define SEGMENT (TINE__SEGMENT_MASK + 1)
#define WORKERS 2

/* A stream with its pool and two jobs; one worker slot, and the nursery's. */
struct house {
    struct tine__pool_shm *pool;
    struct tine__stream stream;
    struct tine__job_shm *loop, *call;
    uint64_t blocks; /* of the heap before */
};

static void *zeroed(size_t size)
{
    void *memory = tine_aligned_alloc(TINE__LINE, size);

    ck_assert_ptr_nonnull(memory);
    return memset(memory, 0, size);
}

static struct house *house_new(void)
{
    static struct house house;

    house.blocks = heap_blocks();
    house.pool = zeroed(sizeof *house.pool);
    house.pool->workers = WORKERS;
    house.pool->slots = TINE__ADDRESS(zeroed((WORKERS + 1) * sizeof(struct tine__worker_shm)));
    house.stream.lane = &house.pool->usual;
    house.loop = zeroed(sizeof *house.loop);
    house.loop->kind = TINE__JOB_FOR;
    house.call = zeroed(sizeof *house.call);
    house.call->kind = TINE__JOB_CALL;
    return &house;
}

/* All must have been given back. */
static void house_free(struct house *house)
{
    tine__stream_fini(&house->stream);
    tine_free(TINE__AT(void, house->pool->slots));
    tine_free(house->pool);
    tine_free(house->loop);
    tine_free(house->call);
    ck_assert_uint_eq(heap_blocks(), house->blocks);
}

static uint64_t publish(struct house *house, struct tine__job_shm *job, uint32_t count)
{
    ck_assert_rc(tine__stream_reserve(&house->stream, count), 0);
    return tine__stream_publish(&house->stream, job, count);
}

/* Is there work behind this ticket, for the first worker? */
static struct tine__job_shm *enter(struct house *house, uint64_t ticket)
{
    struct tine__worker_shm *worker = tine__worker_at(house->pool, 0);
    struct tine__job_shm *job = tine__stream_enter(house->pool, house->stream.lane, worker, ticket);

    ck_assert_uint_eq(worker->job, TINE__ADDRESS(job));
    if (job != NULL)
        tine__stream_leave(worker);
    ck_assert_uint_eq(worker->job, 0);
    return job;
}

TEST(a_ticket_leads_to_its_job_until_it_is_retired)
{
    struct house *house = house_new();
    uint64_t loop = publish(house, house->loop, 2), call = publish(house, house->call, 1);

    ck_assert_uint_eq(call, loop + 2);
    ck_assert_ptr_eq(enter(house, loop), house->loop);
    ck_assert_ptr_eq(enter(house, loop + 1), house->loop);
    ck_assert_ptr_eq(enter(house, call), house->call);
    tine__stream_retire(&house->stream, loop, 2);
    ck_assert_ptr_null(enter(house, loop));
    ck_assert_ptr_null(enter(house, loop + 1));
    ck_assert_ptr_eq(enter(house, call), house->call);
    house_free(house);
}

TEST(the_nursery_finds_the_job_of_a_call_too)
{
    struct house *house = house_new();
    struct tine__worker_shm *nursery = tine__worker_at(house->pool, WORKERS);
    uint64_t call = publish(house, house->call, 1);

    ck_assert_ptr_eq(tine__stream_enter(house->pool, house->stream.lane, nursery, call), house->call);
    ck_assert_uint_eq(nursery->job, TINE__ADDRESS(house->call));
    tine__stream_leave(nursery);
    tine__stream_retire(&house->stream, call, 1);
    ck_assert_ptr_null(tine__stream_enter(house->pool, house->stream.lane, nursery, call));
    ck_assert_uint_eq(nursery->job, 0);
    house_free(house);
}

TEST(the_tail_counts_what_was_published)
{
    struct house *house = house_new();

    publish(house, house->loop, 1);
    publish(house, house->loop, SEGMENT);
    ck_assert_uint_eq(house->stream.lane->tail, SEGMENT + 1);
    house_free(house);
}

TEST(a_retired_segment_is_used_again)
{
    struct house *house = house_new();
    uint64_t blocks;

    publish(house, house->loop, SEGMENT);
    blocks = heap_blocks();
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t first = publish(house, house->call, SEGMENT);

        ck_assert_ptr_eq(enter(house, first + 7), house->call);
        tine__stream_retire(&house->stream, first, SEGMENT);
        ck_assert_ptr_null(enter(house, first + 7));
        ck_assert_uint_eq(heap_blocks(), blocks + 1);
    }
    house_free(house);
}

/* Retired in any order, published across the borders of segments. */
TEST(a_window_of_tickets_needs_few_segments)
{
    struct house *house = house_new();
    uint64_t blocks = heap_blocks(), first[8] = {0};

    for (size_t i = 0; i < 5000; i++) {
        if (i >= 8)
            tine__stream_retire(&house->stream, first[i % 8], 300);
        first[i % 8] = publish(house, house->loop, 300);
        ck_assert_uint_le(heap_blocks(), blocks + 5);
    }
    house_free(house);
}

TEST(a_stale_ticket_shows_another_round)
{
    struct house *house = house_new();
    uint64_t stale = publish(house, house->loop, 1), fresh;

    tine__stream_retire(&house->stream, stale, 1);
    for (uint64_t i = 0; i < TINE__SEGMENTS; i++) {
        uint32_t count = i == 0 ? SEGMENT - 1 : SEGMENT;
        uint64_t first = publish(house, house->loop, count);

        tine__stream_retire(&house->stream, first, count);
    }
    fresh = publish(house, house->loop, 1);
    ck_assert_uint_eq(fresh, stale + (uint64_t)TINE__SEGMENTS * SEGMENT);
    ck_assert_ptr_eq(enter(house, fresh), house->loop);
    ck_assert_ptr_null(enter(house, stale));
    house_free(house);
}

/* Publishes and retires whole segments; the tickets' numbers go round the directory this often. */
static void go_round(struct house *house, uint64_t times)
{
    uint64_t first;

    do {
        first = publish(house, house->loop, SEGMENT);
        tine__stream_retire(&house->stream, first, SEGMENT);
    } while (first < times * TINE__SEGMENTS * SEGMENT);
}

/* A job that runs while millions of others come and go. */
TEST(a_ticket_that_is_never_retired_keeps_its_place)
{
    struct house *house = house_new();
    uint64_t oldest = publish(house, house->call, 1), blocks = heap_blocks(), skipped, first;

    go_round(house, 3);
    ck_assert_ptr_eq(enter(house, oldest), house->call);
    skipped = oldest + (uint64_t)2 * TINE__SEGMENTS * SEGMENT;
    for (uint64_t i = 0; i < SEGMENT; i += 31)
        ck_assert_ptr_null(enter(house, skipped + i));
    ck_assert_uint_le(heap_blocks(), blocks + 2);
    tine__stream_retire(&house->stream, oldest, 1);
    first = publish(house, house->loop, 1);
    ck_assert_ptr_eq(enter(house, first), house->loop);
    house_free(house);
}

/* The tickets of one publication follow each other, so what is left of a segment is skipped,
   too. */
TEST(the_rest_of_a_segment_before_one_that_is_taken_is_not_lost)
{
    struct house *house = house_new();
    uint64_t oldest, first;

    publish(house, house->loop, SEGMENT / 2); /* in the first segment, for ever */
    oldest = publish(house, house->call, SEGMENT);
    while ((first = publish(house, house->loop, SEGMENT / 2)) < (TINE__SEGMENTS - 1) * SEGMENT)
        tine__stream_retire(&house->stream, first, SEGMENT / 2);
    tine__stream_retire(&house->stream, first, SEGMENT / 2);
    first = publish(house, house->loop, SEGMENT);
    ck_assert_uint_eq(first, (uint64_t)(TINE__SEGMENTS + 2) * SEGMENT);
    ck_assert_ptr_eq(enter(house, first), house->loop);
    ck_assert_ptr_eq(enter(house, first + SEGMENT - 1), house->loop);
    ck_assert_ptr_null(enter(house, first - 1));
    ck_assert_ptr_eq(enter(house, oldest), house->call);
    house_free(house);
}

TEST(the_directory_is_full_when_each_of_its_segments_has_a_ticket_left)
{
    struct house *house = house_new();
    uint64_t first = 0;

    for (uint64_t i = 0; i < TINE__SEGMENTS; i++) {
        first = publish(house, house->loop, SEGMENT);
        tine__stream_retire(&house->stream, first, SEGMENT - 1);
    }
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine__stream_reserve(&house->stream, 1), -EAGAIN);
    tine__stream_retire(&house->stream, first + SEGMENT - 1, 1);
    first = publish(house, house->loop, 1);
    ck_assert_ptr_eq(enter(house, first), house->loop);
    house_free(house);
}

TEST(wake_takes_sleepers_off_the_list_and_rings_them)
{
    struct house *house = house_new();
    struct tine__pool_shm *pool = house->pool;

    atomic_store(&pool->sleeping[0], 3);
    tine__stream_wake(pool, 1);
    ck_assert_int_eq(__builtin_popcountll(pool->sleeping[0]), 1);
    ck_assert_uint_eq(tine__worker_at(pool, 0)->doorbell + tine__worker_at(pool, 1)->doorbell, 1);
    tine__stream_wake(pool, 5);
    ck_assert_uint_eq(pool->sleeping[0], 0);
    ck_assert_uint_eq(tine__worker_at(pool, 0)->doorbell, 1);
    ck_assert_uint_eq(tine__worker_at(pool, 1)->doorbell, 1);
    house_free(house);
}

TEST(a_spinning_worker_saves_a_wake_up)
{
    struct house *house = house_new();

    atomic_store(&house->pool->spinning[0], 1);
    atomic_store(&house->pool->sleeping[0], 2);
    tine__stream_wake(house->pool, 1);
    ck_assert_uint_eq(house->pool->sleeping[0], 2);
    tine__stream_wake(house->pool, 2);
    ck_assert_uint_eq(house->pool->sleeping[0], 0);
    house_free(house);
}

SUITE_OF_POOLS("pool/stream")
