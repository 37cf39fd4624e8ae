/* SPDX-License-Identifier: MIT */
#include "lib/checked.h"

#include <stdint.h>

#include "tests/support/suite.h"

TEST(sums_and_products_that_fit_are_exact)
{
    size_t result;

    ck_assert(tine__add_size(SIZE_MAX - 5, 5, &result));
    ck_assert_uint_eq(result, SIZE_MAX);
    ck_assert(tine__mul_size(SIZE_MAX, 1, &result));
    ck_assert_uint_eq(result, SIZE_MAX);
    ck_assert(tine__mul_size(0, SIZE_MAX, &result));
    ck_assert_uint_eq(result, 0);
}

TEST(sums_and_products_that_do_not_fit_are_refused)
{
    size_t result;

    ck_assert(!tine__add_size(SIZE_MAX, 1, &result));
    ck_assert(!tine__mul_size(SIZE_MAX / 2 + 1, 2, &result));
    ck_assert(!tine__mul_size((size_t)1 << 32, (size_t)1 << 32, &result));
}

TEST(rounding_up_is_exact_or_refused)
{
    size_t result;

    ck_assert(tine__round_up(0, 64, &result));
    ck_assert_uint_eq(result, 0);
    ck_assert(tine__round_up(64, 64, &result));
    ck_assert_uint_eq(result, 64);
    ck_assert(tine__round_up(65, 64, &result));
    ck_assert_uint_eq(result, 128);
    ck_assert(tine__round_up(SIZE_MAX - 63, 64, &result));
    ck_assert_uint_eq(result, SIZE_MAX - 63);
    ck_assert(!tine__round_up(SIZE_MAX - 62, 64, &result));
}

SUITE("lib/checked")
