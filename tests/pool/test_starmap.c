/* SPDX-License-Identifier: MIT */
/* starmap: result i belongs to tuple i, whatever became of the others. */
#include <tine/pool.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define WORKERS 3
#define GIB     (UINT64_C(1) << 30)

/* Tuples (i, text of i) for i = 0 … n-1. */
static tine_buffer tuples(int64_t n)
{
    tine_buffer args = {0};
    char text[24];

    for (int64_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%" PRId64, i);
        ck_assert_rc(tine_pack(&args, "[qs]", i, text), 0);
    }
    return args;
}

/* (i, text) gives [2 i, text + "!"]; a multiple of 10 but 0 fails where the context says so. */
static int twice(tine_call *call)
{
    char longer[32];
    const char *text;
    int64_t number;
    int rc = tine_args(call, "qs", &number, &text);

    if (rc < 0)
        return rc;
    if (tine_call_index(call) != (size_t)number)
        return -EPROTO;
    if (tine_call_context(call) != NULL && number % 10 == 0 && number > 0)
        return tine_fail(call, -EDOM, "%" PRId64 " ends with 0", number);
    snprintf(longer, sizeof longer, "%s!", text);
    return tine_return(call, "[qs]", 2 * number, longer);
}

static void assert_twice(const tine_results *results, size_t i)
{
    char expected[32];
    const char *text;
    int64_t number;

    snprintf(expected, sizeof expected, "%zu!", i);
    ck_assert_rc(tine_results_get(results, i, "[qs]", &number, &text), 0);
    ck_assert_int_eq(number, 2 * (int64_t)i);
    ck_assert_str_eq(text, expected);
}

static const struct shape {
    int32_t workers;
    int64_t n;
    uint64_t chunk;
} shapes[] = {
    {1, 1, 0}, {3, 2, 0}, {3, 1000, 0}, {3, 1000, 1}, {3, 1000, 7}, {3, 1000, 5000},
};

TEST(results_stand_at_their_index, .loop_end = sizeof shapes / sizeof shapes[0])
{
    const struct shape *shape = &shapes[loop_index];
    tine_pool *pool = pool_of(shape->workers);
    tine_buffer args = tuples(shape->n);
    tine_results *results;

    ck_assert_rc(
        tine_pool_starmap(&results, pool, twice, &args, &(tine_job_options){.chunk = shape->chunk}),
        0);
    tine_buffer_free(&args);
    ck_assert_uint_eq(tine_results_count(results), (size_t)shape->n);
    for (size_t i = 0; i < (size_t)shape->n; i++)
        assert_twice(results, i);
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(no_tuples_give_no_results)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    int64_t number;

    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &(tine_buffer){0}, NULL), 0);
    ck_assert_uint_eq(tine_results_count(results), 0);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), -EINVAL);
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(tuples_in_the_heap_are_read_in_place)
{
    tine_pool *pool = pool_of(2);
    tine_buffer args = tuples(100), moved = args;
    tine_results *results;

    moved.data = tine_alloc(args.size);
    ck_assert_ptr_nonnull(moved.data);
    memcpy(moved.data, args.data, args.size);
    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &moved, NULL), 0);
    tine_free(moved.data);
    assert_twice(results, 99);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(a_million_tuples, .timeout_s = 60)
{
    tine_pool *pool = pool_of(2);
    int64_t n = is_instrumented() ? 30000 : 1000000;
    tine_buffer args = tuples(n);
    tine_results *results;

    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &args, NULL), 0);
    ck_assert_uint_eq(tine_results_count(results), (size_t)n);
    for (size_t i = 0; i < (size_t)n; i += 97)
        assert_twice(results, i);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

/* Gives a string that is as long as its argument says. */
static int repeat(tine_call *call)
{
    static const char text[] = "....................................................";
    int64_t length;
    int rc = tine_args(call, "q", &length);

    return rc < 0 ? rc : tine_return(call, "s", text + sizeof text - 1 - length);
}

/* Small results lie elsewhere than large ones. */
TEST(results_of_all_sizes_stand_side_by_side, .loop_end = 2)
{
    tine_job_options options = {.chunk = loop_index == 0 ? 0 : 5};
    tine_pool *pool = pool_of(WORKERS);
    tine_buffer args = {0};
    tine_results *results;
    const char *text;

    for (int64_t i = 0; i < 500; i++)
        ck_assert_rc(tine_pack(&args, "[q]", i % 50), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, repeat, &args, &options), 0);
    for (size_t i = 0; i < 500; i++) {
        ck_assert_rc(tine_results_get(results, i, "s", &text), 0);
        ck_assert_uint_eq(strlen(text), i % 50);
    }
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

/* ---- failures -------------------------------------------------------------------------------- */

TEST(failing_tuples_cost_themselves_only)
{
    tine_pool *pool = pool_of(WORKERS);
    tine_buffer args = tuples(100);
    tine_results *results = NULL;
    tine_failure failure;
    tine_job_options options = {.context = "x", .context_size = 2, .failure = &failure};

    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &args, &options), TINE_EREMOTE);
    ck_assert_uint_eq(failure.index, 10);
    ck_assert_uint_eq(failure.count, 1);
    ck_assert_int_eq(failure.error, -EDOM);
    ck_assert_str_eq(failure.message, "10 ends with 0");
    ck_assert_uint_eq(tine_results_count(results), 100);
    for (size_t i = 0; i < 100; i++)
        if (i % 10 == 0 && i > 0)
            ck_assert_rc(tine_results_get(results, i, "n"), TINE_EREMOTE);
        else
            assert_twice(results, i);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(after_fail_fast_the_rest_is_cancelled)
{
    tine_pool *pool = pool_of(1);
    tine_buffer args = tuples(100);
    tine_results *results = NULL;
    tine_job_options options = {.context = "x", .context_size = 2, .fail_fast = 1};

    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &args, &options), TINE_EREMOTE);
    for (size_t i = 0; i < 10; i++)
        assert_twice(results, i);
    ck_assert_rc(tine_results_get(results, 10, "n"), TINE_EREMOTE);
    for (size_t i = 11; i < 100; i++)
        ck_assert_rc(tine_results_get(results, i, "n"), -ECANCELED);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

/* Item 3 gives bytes that are no value, item 5 gives too many of them. */
static int misbehave(tine_call *call)
{
    static const uint8_t large[2000] = {0xc5, 1997 >> 8, 1997 & 0xff};

    if (tine_call_index(call) == 3)
        return tine_return_packed(call, "\xc1\xc1\xc1", 3);
    if (tine_call_index(call) == 5)
        return tine_return_packed(call, large, sizeof large);
    return twice(call);
}

static void assert_misbehaved(tine_pool *pool, const tine_buffer *args, int code, size_t index,
                              uint64_t bytes_max)
{
    tine_results *results = NULL;
    tine_failure failure;
    tine_job_options options = {.result_bytes_max = bytes_max, .failure = &failure, .chunk = 4};

    ck_assert_rc(tine_pool_starmap(&results, pool, misbehave, args, &options), code);
    ck_assert_int_eq(failure.code, code);
    ck_assert_uint_eq(failure.index, index);
    ck_assert_ptr_nonnull(results);
    ck_assert_rc(tine_results_get(results, index, "n"), code);
    for (size_t i = 0; i < 10; i++)
        if (i != 3 && i != 5)
            assert_twice(results, i);
    tine_results_close(results);
}

TEST(garbage_is_the_fault_of_its_item)
{
    tine_pool *pool = pool_of(2);
    tine_buffer args = tuples(10);

    assert_misbehaved(pool, &args, TINE_EFORMAT, 3, 0);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(too_large_a_result_is_the_fault_of_its_item)
{
    tine_pool *pool = pool_of(2);
    tine_buffer args = tuples(10);
    tine_results *results = NULL;
    tine_job_options options = {.result_bytes_max = 1999};

    ck_assert_rc(tine_pool_starmap(&results, pool, misbehave, &args, &options), TINE_EFORMAT);
    ck_assert_rc(tine_results_get(results, 5, "n"), TINE_ELIMIT);
    tine_results_close(results);
    options.result_bytes_max = 2000;
    ck_assert_rc(tine_pool_starmap(&results, pool, misbehave, &args, &options), TINE_EFORMAT);
    ck_assert_rc(tine_results_get(results, 3, "n"), TINE_EFORMAT);
    ck_assert_rc(tine_results_get(results, 5, "q", &(int64_t){0}), TINE_EFORMAT);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

/* Writes over the arguments of those behind it. */
static int run_wild(tine_call *call)
{
    const void *bytes;
    size_t size;
    int rc = tine_args_packed(call, &bytes, &size);

    if (rc == 0 && tine_call_index(call) == 10)
        memset((char *)bytes + size, 0xdd, 8); /* NOLINT: what a wild pointer does */
    return rc < 0 ? rc : twice(call);
}

TEST(a_task_that_writes_over_arguments_spoils_its_chunk_only)
{
    tine_buffer args = tuples(100);
    tine_job_options options = {.chunk = 20};
    tine_pool *pool = pool_of(1);
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_starmap(&results, pool, run_wild, &args, &options), TINE_EFORMAT);
    for (size_t i = 0; i < 11; i++)
        assert_twice(results, i);
    ck_assert_rc(tine_results_get(results, 19, "n"), -ECANCELED);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Gives back the bytes it was given. */
static int echo(tine_call *call)
{
    const void *bytes;
    size_t size;
    int rc = tine_args(call, "y", &bytes, &size);

    return rc < 0 ? rc : tine_return(call, "y", bytes, size);
}

static void echo_bytes(tine_pool *pool, size_t size, uint64_t bytes_max)
{
    tine_job_options options = {.result_bytes_max = bytes_max};
    unsigned char *bytes = malloc(size + 1);
    tine_results *results;
    const void *back;
    size_t back_size;

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 >> 3);
    ck_assert_rc(tine_pool_apply(&results, pool, echo, &options, "y", bytes, size), 0);
    ck_assert_rc(tine_results_get(results, 0, "y", &back, &back_size), 0);
    ck_assert_uint_eq(back_size, size);
    ck_assert(memcmp(back, bytes, size) == 0);
    tine_results_close(results);
    free(bytes);
}

TEST(arguments_and_results_of_any_size)
{
    static const size_t sizes[] = {0,   1,   30,    31,    32,    62,      63,     64,
                                   255, 256, 65535, 65536, 70000, 1 << 20, 5000001};
    tine_pool *pool = pool_of(2);
    uint64_t before = heap_bytes();

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        echo_bytes(pool, sizes[i], 0);
    ck_assert_uint_le(heap_bytes(), before + 16384); /* tickets, and what is known of the task */
    tine_pool_close(pool);
}

/* A packed value of exactly so many bytes. */
static int return_packed_size(tine_call *call)
{
    uint64_t size;
    uint8_t *bytes;
    int rc = tine_args(call, "Q", &size);

    if (rc < 0)
        return rc;
    bytes = calloc(1, size);
    if (bytes == NULL)
        return -ENOMEM;
    bytes[0] = 0xc6; /* bin 32 */
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)((size - 5) >> (24 - 8 * i));
    rc = tine_return_packed(call, bytes, size);
    free(bytes);
    return rc;
}

static void assert_limit(tine_pool *pool, uint64_t given, uint64_t limit)
{
    tine_job_options options = {.result_bytes_max = given};
    tine_results *results = NULL;
    const void *bytes;
    size_t size;

    ck_assert_rc(tine_pool_apply(&results, pool, return_packed_size, &options, "Q", limit + 1),
                 TINE_ELIMIT);
    ck_assert_ptr_null(results);
    ck_assert_rc(tine_pool_apply(&results, pool, return_packed_size, &options, "Q", limit), 0);
    ck_assert_rc(tine_results_packed(results, 0, &bytes, &size), 0);
    ck_assert_uint_eq(size, limit);
    tine_results_close(results);
}

TEST(a_result_may_have_as_many_bytes_as_the_job_allows)
{
    tine_pool *pool = pool_of(1);

    assert_limit(pool, 100, 100);
    assert_limit(pool, 100000, 100000);
    tine_pool_close(pool);
}

/* The packed result has a head of 5 bytes: it is exactly as large as it may be by default. */
TEST(an_argument_and_a_result_of_a_gibibyte, .timeout_s = 120)
{
    tine_results *results = NULL;
    tine_pool *pool;

    if (is_instrumented())
        SKIP("too slow with instrumented code");
    if (!has_memory(8 * GIB))
        SKIP("less than 8 GiB of memory are free");
    pool = pool_of(1);
    echo_bytes(pool, GIB - 5, 0);
    ck_assert_rc(tine_pool_apply(&results, pool, return_packed_size, NULL, "Q", GIB + 1),
                 TINE_ELIMIT);
    ck_assert_ptr_null(results);
    tine_pool_close(pool);
}

/* ---- bad input ------------------------------------------------------------------------------- */

static int never(tine_call *call)
{
    (void)call;
    ck_abort_msg("was run");
    return 0;
}

static const struct bad_args {
    const char *bytes;
    size_t size;
} bad_args[] = {
    {"\x01", 1},                 /* not an array */
    {"\x90\x01", 2},             /* the second is none */
    {"\x91", 1},                 /* cut short */
    {"\x90\xc1", 2},             /* no value at all */
    {"\xdd\xff\xff\xff\xff", 5}, /* claims more than there is */
    {"\x80", 1},                 /* a map */
};

TEST(arguments_that_are_no_arrays_are_refused, .loop_end = sizeof bad_args / sizeof bad_args[0])
{
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_of(1);
    uint8_t bytes[16];
    tine_buffer args = {.data = bytes, .size = bad_args[loop_index].size};
    tine_results *results = NULL;
    tine_future *future = NULL;

    memcpy(bytes, bad_args[loop_index].bytes, args.size);
    ck_assert_rc(tine_pool_starmap(&results, pool, never, &args, NULL), TINE_EFORMAT);
    ck_assert_rc(tine_pool_starmap_async(&future, pool, never, &args, NULL), TINE_EFORMAT);
    ck_assert_ptr_null(results);
    ck_assert_ptr_null(future);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(null_and_bad_arguments_are_refused)
{
    tine_pool *pool = pool_of(1);
    tine_buffer args = tuples(1), none = {.size = 1};
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_starmap(NULL, pool, never, &args, NULL), -EINVAL);
    ck_assert_rc(tine_pool_starmap(&results, NULL, never, &args, NULL), -EINVAL);
    ck_assert_rc(tine_pool_starmap(&results, pool, NULL, &args, NULL), -EINVAL);
    ck_assert_rc(tine_pool_starmap(&results, pool, never, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_starmap(&results, pool, never, &none, NULL), -EINVAL);
    ck_assert_rc(tine_pool_apply(NULL, pool, never, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, NULL, never, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, NULL, NULL, ""), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, never, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, never, NULL, "!"), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, never, &(tine_job_options){.flags = 1u << 31}, ""),
                 -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, never, &(tine_job_options){.reserved = {1}}, ""),
                 -E2BIG);
    ck_assert_ptr_null(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(results_refuse_bad_questions)
{
    tine_pool *pool = pool_of(1);
    tine_buffer args = tuples(2);
    tine_results *results;
    const void *bytes;
    int64_t number;
    size_t size;

    ck_assert_rc(tine_pool_starmap(&results, pool, twice, &args, NULL), 0);
    ck_assert_uint_eq(tine_results_count(NULL), 0);
    ck_assert_rc(tine_results_get(NULL, 0, "q", &number), -EINVAL);
    ck_assert_rc(tine_results_get(results, 0, NULL), -EINVAL);
    ck_assert_rc(tine_results_get(results, 0, "!"), -EINVAL);
    ck_assert_rc(tine_results_get(results, 2, "q", &number), -EINVAL);
    ck_assert_rc(tine_results_get(results, SIZE_MAX, "q", &number), -EINVAL);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), TINE_EFORMAT);
    ck_assert_rc(tine_results_packed(NULL, 0, &bytes, &size), -EINVAL);
    ck_assert_rc(tine_results_packed(results, 0, NULL, &size), -EINVAL);
    ck_assert_rc(tine_results_packed(results, 0, &bytes, NULL), -EINVAL);
    ck_assert_rc(tine_results_packed(results, 2, &bytes, &size), -EINVAL);
    tine_results_close(results);
    tine_results_close(NULL);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/starmap")
