/* SPDX-License-Identifier: MIT */
/* Reductions: the order of the parts is fixed, and a failure leaves the accumulator. */
#include <tine/pool.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define WORKERS 3

static int sum_reciprocals(size_t begin, size_t end, void *accumulator, void *context)
{
    double *sum = accumulator;

    (void)context;
    for (size_t i = begin; i < end; i++)
        *sum += 1.0 / (double)(i + 1);
    return 0;
}

static void add_double(void *into, const void *from, void *context)
{
    (void)context;
    *(double *)into += *(const double *)from;
}

static double reciprocals(tine_pool *pool, size_t n, uint64_t chunk)
{
    double sum = 0;

    ck_assert_rc(tine_pool_reduce(pool, n, sum_reciprocals, add_double, &sum, sizeof sum,
                                  &(tine_job_options){.chunk = chunk}),
                 0);
    return sum;
}

TEST(reduce_repeats_bit_by_bit)
{
    tine_pool *pool = pool_of(WORKERS), *same = pool_of(WORKERS);
    double first = reciprocals(pool, 100003, 0), chunked = reciprocals(pool, 100003, 17);

    ck_assert_double_eq_tol(first, 12.09017613, 1e-6);
    for (int i = 0; i < 50; i++) {
        double again = reciprocals(i % 2 == 0 ? pool : same, 100003, 0);
        double again_chunked = reciprocals(pool, 100003, 17);

        ck_assert_mem_eq(&again, &first, sizeof first);
        ck_assert_mem_eq(&again_chunked, &chunked, sizeof chunked);
    }
    tine_pool_close(pool);
    tine_pool_close(same);
}

TEST(reduce_of_nothing_leaves_the_accumulator)
{
    tine_pool *pool = pool_of(2);
    double sum = 7;

    ck_assert_rc(tine_pool_reduce(pool, 0, sum_reciprocals, add_double, &sum, sizeof sum, NULL), 0);
    ck_assert_double_eq(sum, 7);
    tine_pool_close(pool);
}

/* Concatenates the indices as text, to show the order: 0,1,2,… */
struct text {
    size_t length;
    char bytes[500];
};

static int append(size_t begin, size_t end, void *accumulator, void *context)
{
    struct text *text = accumulator;

    (void)context;
    for (size_t i = begin; i < end; i++)
        text->length += (size_t)snprintf(text->bytes + text->length,
                                         sizeof text->bytes - text->length, "%zu,", i);
    return 0;
}

static void join_texts(void *into, const void *from, void *context)
{
    struct text *text = into;
    const struct text *more = from;

    ck_assert_str_eq(context, "the context");
    memcpy(text->bytes + text->length, more->bytes, more->length + 1);
    text->length += more->length;
}

TEST(reduce_combines_in_the_order_of_the_ranges)
{
    tine_pool *pool = pool_of(WORKERS);
    tine_job_options options = {.context = "the context", .context_size = 12};

    for (uint64_t chunk = 0; chunk < 5; chunk++) {
        struct text text = {0}, serial = {0};

        options.chunk = chunk;
        (void)append(0, 100, &serial, NULL);
        ck_assert_rc(tine_pool_reduce(pool, 100, append, join_texts, &text, sizeof text, &options),
                     0);
        ck_assert_str_eq(text.bytes, serial.bytes);
    }
    tine_pool_close(pool);
}

TEST(reduce_of_fewer_indices_than_workers)
{
    static const double expected[] = {1, 1.5, 11.0 / 6, 25.0 / 12};
    tine_pool *pool = pool_of(16);

    for (size_t n = 1; n < 5; n++)
        ck_assert_double_eq_tol(reciprocals(pool, n, 0), expected[n - 1], 1e-12);
    tine_pool_close(pool);
}

static int fail_reduction(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)end, (void)context;
    *(double *)accumulator = 99;
    return begin == 0 ? -EIO : 0;
}

TEST(a_failed_reduction_leaves_the_accumulator)
{
    tine_pool *pool = pool_of(2);
    double sum = 7;

    ck_assert_rc(tine_pool_reduce(pool, 100, fail_reduction, add_double, &sum, sizeof sum, NULL),
                 TINE_EREMOTE);
    ck_assert_double_eq(sum, 7);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/reduce")
