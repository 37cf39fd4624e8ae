/* SPDX-License-Identifier: MIT */
/* Outcomes: kept whole whatever their size, found by index, freed with their job. */
#include "pool/outcome.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define N     300
#define CHUNK 70
#define UNITS ((N + CHUNK - 1) / CHUNK)

static struct tine__job_shm *job_new(void)
{
    struct tine__job_shm *job = calloc(1, sizeof *job);

    ck_assert_ptr_nonnull(job);
    job->n = N;
    job->chunk = CHUNK;
    job->units = UNITS;
    job->out = TINE__ADDRESS(malloc(N * sizeof(struct tine__outcome_shm)));
    job->tags = TINE__ADDRESS(malloc(N));
    job->blocks = TINE__ADDRESS(malloc(UNITS * sizeof(uint64_t)));
    ck_assert(job->out != 0 && job->tags != 0 && job->blocks != 0);
    tine__outcomes_init(job);
    return job;
}

static void job_free(struct tine__job_shm *job)
{
    tine__outcomes_free(job);
    free(TINE__AT(void, job->out));
    free(TINE__AT(void, job->tags));
    free(TINE__AT(void, job->blocks));
    free(job);
}

/* Bytes of no meaning: outcomes do not look at them. */
static void put_bytes(struct tine__job_shm *job, uint64_t index, size_t size)
{
    tine_buffer value = {.data = malloc(size), .size = size, .capacity = size};

    ck_assert_ptr_nonnull(value.data);
    memset(value.data, (int)(index & 0xff), size);
    ck_assert_rc(tine__outcome_put(job, index / CHUNK, index, &value), 0);
    free(value.data);
}

static void assert_bytes(const struct tine__job_shm *job, uint64_t index, size_t expected)
{
    const unsigned char *bytes;
    const void *found = NULL;
    size_t size = 0;

    ck_assert(tine__outcome_is_there(job, index));
    ck_assert_rc(tine__outcome_find(job, index, &found, &size), 0);
    ck_assert_uint_eq(size, expected);
    bytes = found;
    for (size_t i = 0; i < size; i++)
        ck_assert_uint_eq(bytes[i], index & 0xff);
}

static size_t size_of(uint64_t index)
{
    return index == 100 ? 3000000 : 1 + index % 40;
}

TEST(values_of_any_size_stand_at_their_index)
{
    struct tine__job_shm *job = job_new();
    uint64_t blocks = heap_blocks();

    for (uint64_t i = 0; i < N; i++)
        put_bytes(job, i, size_of(i));
    for (uint64_t i = 0; i < N; i++)
        assert_bytes(job, i, size_of(i));
    ck_assert_uint_gt(heap_blocks(), blocks);
    job_free(job);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(without_an_outcome_there_is_none)
{
    struct tine__job_shm *job = job_new();
    const void *bytes;
    size_t size;

    put_bytes(job, 1, 16);
    put_bytes(job, 2, 17);
    for (uint64_t i = 0; i < N; i++)
        if (i != 1 && i != 2) {
            ck_assert(!tine__outcome_is_there(job, i));
            ck_assert_rc(tine__outcome_find(job, i, &bytes, &size), 1);
        }
    job_free(job);
}

TEST(failures_are_outcomes)
{
    struct tine__job_shm *job = job_new();
    const void *bytes;
    size_t size;

    tine__outcome_fail(job, 5, TINE_EWORKER);
    tine__outcome_fail(job, 6, -ENOMEM);
    ck_assert(tine__outcome_is_there(job, 5));
    ck_assert_rc(tine__outcome_find(job, 5, &bytes, &size), TINE_EWORKER);
    ck_assert_rc(tine__outcome_find(job, 6, &bytes, &size), -ENOMEM);
    job_free(job);
}

/* As after a worker that died before it could say so. */
TEST(an_outcome_may_be_written_over_before_it_is_published)
{
    struct tine__job_shm *job = job_new();

    put_bytes(job, 0, 30);
    TINE__AT(uint8_t, job->tags)[0] = 0;
    put_bytes(job, 0, 20);
    assert_bytes(job, 0, 20);
    job_free(job);
}

SUITE_OF_POOLS("pool/outcome")
