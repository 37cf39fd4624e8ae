/* SPDX-License-Identifier: MIT */
/* Maps over C arrays: in place in the heap, copied elsewhere, each item for itself. */
#include <tine/pool.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define WORKERS 3

struct number {
    int32_t value;
    char pad[3]; /* an odd size, so that a wrong stride shows */
};

static int square(const void *in, void *out, void *context)
{
    struct number number, result = {.pad = "ok"};

    (void)context;
    memcpy(&number, in, sizeof number);
    result.value = number.value * number.value;
    memcpy(out, &result, sizeof result);
    return number.value < 0 ? -EDOM : 0;
}

static void fill(struct number *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        numbers[i] = (struct number){.value = (int32_t)(i % 40000)};
}

/* One assertion for all: each costs a system call. */
static void assert_squares(const struct number *numbers, size_t n)
{
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        wrong += numbers[i].value != (int32_t)((i % 40000) * (i % 40000)) ||
                 strcmp(numbers[i].pad, "ok") != 0;
    ck_assert_uint_eq(wrong, 0);
}

static void map_squares(tine_pool *pool, struct number *in, struct number *out, size_t n)
{
    tine_map map = {.item = square,
                    .in = in,
                    .in_size = sizeof *in,
                    .out = out,
                    .out_size = sizeof *out,
                    .n = n};

    fill(in, n);
    ck_assert_rc(tine_pool_map(pool, &map, NULL), 0);
    assert_squares(out, n);
}

static const size_t map_sizes[] = {1, 2, 5, 1000, 100003};

TEST(map_of_arrays_in_the_heap_outside_and_equal, .loop_end = 5)
{
    tine_pool *pool = pool_of(WORKERS);
    size_t n = map_sizes[loop_index], bytes = n * sizeof(struct number);
    struct number *heap_in = tine_alloc(bytes), *heap_out = tine_alloc(bytes);
    struct number *in = malloc(bytes), *out = calloc(1, bytes);

    ck_assert(heap_in != NULL && heap_out != NULL && in != NULL && out != NULL);
    map_squares(pool, heap_in, heap_out, n);
    map_squares(pool, in, out, n);
    map_squares(pool, in, heap_out, n);
    map_squares(pool, heap_in, out, n);
    map_squares(pool, heap_in, heap_in, n);
    map_squares(pool, in, in, n);
    tine_free(heap_in);
    tine_free(heap_out);
    free(in);
    free(out);
    tine_pool_close(pool);
}

TEST(map_in_the_heap_copies_nothing)
{
    tine_pool *pool = pool_of(2);
    size_t n = 1000000;
    struct number *numbers = tine_alloc(n * sizeof *numbers);
    tine_map map = {.item = square,
                    .in = numbers,
                    .in_size = sizeof *numbers,
                    .out = numbers,
                    .out_size = sizeof *numbers,
                    .n = n};
    tine_future *future;
    uint64_t before;

    fill(numbers, n);
    before = heap_bytes();
    ck_assert_rc(tine_pool_map_async(&future, pool, &map, NULL), 0);
    ck_assert_uint_lt(heap_bytes(), before + n);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    assert_squares(numbers, n);
    tine_future_close(future);
    tine_free(numbers);
    tine_pool_close(pool);
}

/* A global is no use here: items know their index from their own input. */
static int only_in(const void *in, void *out, void *context)
{
    struct tally *tally = *(struct tally **)context;

    ck_assert_ptr_null(out);
    atomic_fetch_add(&tally->times[*(const uint32_t *)in], 1);
    return 0;
}

TEST(map_without_output)
{
    tine_pool *pool = pool_of(2);
    struct tally *tally = tally_new(1000);
    static uint32_t numbers[1000];
    tine_map map = {.item = only_in, .in = numbers, .in_size = 4, .n = 1000};

    for (uint32_t i = 0; i < 1000; i++)
        numbers[i] = i;
    ck_assert_rc(
        tine_pool_map(pool, &map,
                      &(tine_job_options){.context = &tally, .context_size = sizeof tally}),
        0);
    tally_assert_once(tally);
    tine_pool_close(pool);
    tine_free(tally);
}

static int only_out(const void *in, void *out, void *context)
{
    (void)context;
    ck_assert_ptr_null(in);
    *(uint16_t *)out = 0xabcd;
    return 0;
}

TEST(map_without_input)
{
    tine_pool *pool = pool_of(2);
    uint16_t out[777] = {0};
    tine_map map = {.item = only_out, .out = out, .out_size = 2, .n = 777};

    ck_assert_rc(tine_pool_map(pool, &map, NULL), 0);
    for (size_t i = 0; i < 777; i++)
        ck_assert_uint_eq(out[i], 0xabcd);
    tine_pool_close(pool);
}

TEST(map_of_nothing)
{
    tine_pool *pool = pool_of(2);

    ck_assert_rc(tine_pool_map(pool, &(tine_map){.item = square}, NULL), 0);
    tine_pool_close(pool);
}

TEST(in_map_a_failing_item_costs_itself_only)
{
    tine_pool *pool = pool_of(WORKERS);
    static struct number in[1000], out[1000];
    tine_map map = {.item = square,
                    .in = in,
                    .in_size = sizeof *in,
                    .out = out,
                    .out_size = sizeof *out,
                    .n = 1000};
    tine_failure failure;

    fill(in, 1000);
    in[998].value = -1;
    in[500].value = -1;
    in[501].value = -1;
    ck_assert_rc(tine_pool_map(pool, &map, &(tine_job_options){.failure = &failure}), TINE_EREMOTE);
    ck_assert_uint_eq(failure.index, 500);
    ck_assert_uint_eq(failure.count, 1);
    ck_assert_int_eq(failure.error, -EDOM);
    assert_squares(out, 500);
    for (size_t i = 502; i < 1000; i++)
        ck_assert(i == 998 || out[i].value == (int32_t)(i * i));
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/map")
