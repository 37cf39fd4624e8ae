/* SPDX-License-Identifier: MIT */
#include "lib/clock.h"

#include <limits.h>
#include <time.h>
#include <tine/time.h>

#include "tests/support/suite.h"

TEST(a_deadline_lies_a_timeout_after_now)
{
    int64_t before = tine__now_ns();
    tine__deadline deadline = tine__deadline_after(TINE_SEC(5));

    ck_assert_int_ge(deadline, before + TINE_SEC(5));
    ck_assert_int_le(deadline, tine__now_ns() + TINE_SEC(5));
}

TEST(every_negative_timeout_is_for_ever)
{
    ck_assert_int_eq(tine__deadline_after(TINE_FOREVER), TINE__NEVER);
    ck_assert_int_eq(tine__deadline_after(INT64_MIN), TINE__NEVER);
    ck_assert(!tine__deadline_passed(TINE__NEVER));
    ck_assert_int_eq(tine__deadline_left(TINE__NEVER), INT64_MAX);
}

TEST(a_timeout_beyond_the_clock_is_for_ever)
{
    ck_assert_int_eq(tine__deadline_after(INT64_MAX), TINE__NEVER);
}

TEST(a_zero_timeout_has_passed_at_once)
{
    tine__deadline deadline = tine__deadline_after(0);

    ck_assert(tine__deadline_passed(deadline));
    ck_assert_int_eq(tine__deadline_left(deadline), 0);
}

TEST(what_is_left_shrinks_and_never_falls_below_zero)
{
    tine__deadline deadline = tine__deadline_after(TINE_MS(2));
    int64_t last = tine__deadline_left(deadline), left;

    while ((left = tine__deadline_left(deadline)) > 0) {
        ck_assert_int_le(left, last);
        ck_assert(left <= TINE_MS(2));
        last = left;
    }
    ck_assert_int_eq(left, 0);
    ck_assert(tine__deadline_passed(deadline));
}

TEST(milliseconds_are_rounded_up)
{
    int left = tine__deadline_left_ms(tine__deadline_after(TINE_SEC(2) + 1));

    ck_assert_int_ge(left, 1);
    ck_assert_int_le(left, 2001);
    ck_assert_int_eq(tine__deadline_left_ms(tine__deadline_after(0)), 0);
    ck_assert_int_eq(tine__deadline_left_ms(tine__deadline_after(INT64_MAX / 2)), INT32_MAX);
    ck_assert_int_eq(tine__deadline_left_ms(TINE__NEVER), -1);
}

TEST(a_timespec_keeps_every_nanosecond)
{
    struct timespec spec = tine__timespec(TINE_SEC(7) + 123456789);

    ck_assert_int_eq(spec.tv_sec, 7);
    ck_assert_int_eq(spec.tv_nsec, 123456789);
    spec = tine__timespec(INT64_MAX);
    ck_assert_int_ge(spec.tv_sec, INT_MAX);
    ck_assert_int_lt(spec.tv_nsec, 1000000000);
}

TEST(the_unit_macros_agree)
{
    ck_assert_int_eq(TINE_SEC(1), TINE_MS(1000));
    ck_assert_int_eq(TINE_MS(1), TINE_US(1000));
    ck_assert_int_eq(TINE_US(1), TINE_NS(1000));
}

SUITE("lib/clock")
