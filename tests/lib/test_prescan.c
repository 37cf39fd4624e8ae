/* SPDX-License-Identifier: MIT */
/* The check before everything: what it takes, what it costs, where its limits lie. */
#include "lib/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

/* One value with each head of msgpack. */
static const struct {
    const char *bytes;
    size_t size;
} values[] = {
    {"\x00", 1},
    {"\x7f", 1},
    {"\x80", 1},
    {"\x81\x01\x02", 3},
    {"\x90", 1},
    {"\x91\xc0", 2},
    {"\xa0", 1},
    {"\xa3xyz", 4},
    {"\xc0", 1},
    {"\xc2", 1},
    {"\xc3", 1},
    {"\xc4\x02xy", 4},
    {"\xc5\0\x02xy", 5},
    {"\xc6\0\0\0\x02xy", 7},
    {"\xc7\x02\x05xy", 5},
    {"\xc8\0\x02\x05xy", 6},
    {"\xc9\0\0\0\x02\x05xy", 8},
    {"\xca\0\0\0\0", 5},
    {"\xcb\0\0\0\0\0\0\0\0", 9},
    {"\xcc\0", 2},
    {"\xcd\0\0", 3},
    {"\xce\0\0\0\0", 5},
    {"\xcf\0\0\0\0\0\0\0\0", 9},
    {"\xd0\0", 2},
    {"\xd1\0\0", 3},
    {"\xd2\0\0\0\0", 5},
    {"\xd3\0\0\0\0\0\0\0\0", 9},
    {"\xd4\x05x", 3},
    {"\xd5\x05xx", 4},
    {"\xd6\x05xxxx", 6},
    {"\xd7\x05xxxxxxxx", 10},
    {"\xd8\x05xxxxxxxxxxxxxxxx", 18},
    {"\xd9\x02xy", 4},
    {"\xda\0\x02xy", 5},
    {"\xdb\0\0\0\x02xy", 7},
    {"\xdc\0\x02\x01\x02", 5},
    {"\xdd\0\0\0\x02\x01\x02", 7},
    {"\xde\0\x01\x01\x02", 5},
    {"\xdf\0\0\0\x01\x01\x02", 7},
    {"\xe0", 1},
    {"\xff", 1},
};

TEST(every_head_is_known_and_measured, .loop_end = sizeof values / sizeof values[0])
{
    size_t size = values[loop_index].size, found = 99;
    char followed[32];

    ck_assert_rc(tine__value_size(values[loop_index].bytes, size, NULL, &found), 0);
    ck_assert_uint_eq(found, size);
    memcpy(followed, values[loop_index].bytes, size);
    followed[size] = (char)0xc1; /* what follows is not looked at */
    ck_assert_rc(tine__value_size(followed, size + 1, NULL, &found), 0);
    ck_assert_uint_eq(found, size);
    ck_assert_rc(tine__prescan(followed, size + 1, NULL, &found), TINE_EFORMAT);
}

TEST(every_truncation_of_every_head_is_refused, .loop_end = sizeof values / sizeof values[0])
{
    for (size_t size = 0; size < values[loop_index].size; size++) {
        char *exact = malloc(size > 0 ? size : 1);
        size_t found = 99;

        ck_assert_ptr_nonnull(exact);
        memcpy(exact, values[loop_index].bytes, size);
        ck_assert_rc(tine__value_size(exact, size, NULL, &found), TINE_EFORMAT);
        ck_assert_uint_eq(found, 99);
        free(exact);
    }
}

TEST(values_behind_one_another_are_counted)
{
    char bytes[512];
    size_t size = 0, count = sizeof values / sizeof values[0], found = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(bytes + size, values[i].bytes, values[i].size);
        size += values[i].size;
    }
    ck_assert_rc(tine__prescan(bytes, size, NULL, &found), 0);
    ck_assert_uint_eq(found, count);
    ck_assert_rc(tine__prescan(NULL, 0, NULL, &found), 0);
    ck_assert_uint_eq(found, 0);
    ck_assert_rc(tine__prescan(NULL, 1, NULL, &found), -EINVAL);
}

TEST(the_byte_that_msgpack_never_uses_is_refused)
{
    size_t found;

    ck_assert_rc(tine__value_size("\xc1", 1, NULL, &found), TINE_EFORMAT);
    ck_assert_rc(tine__value_size("\x92\x01\xc1", 3, NULL, &found), TINE_EFORMAT);
}

static int nested(size_t depth, const tine_limits *limits)
{
    uint8_t bytes[128];
    size_t found;

    memset(bytes, 0x91, depth);
    bytes[depth - 1] = 0x90;
    return tine__value_size(bytes, depth, limits, &found);
}

TEST(depth_has_a_limit)
{
    ck_assert_rc(nested(32, NULL), 0);
    ck_assert_rc(nested(33, NULL), TINE_EFORMAT);
    ck_assert_rc(nested(1, &(tine_limits){.depth = 1}), 0);
    ck_assert_rc(nested(2, &(tine_limits){.depth = 1}), TINE_EFORMAT);
    ck_assert_rc(nested(64, &(tine_limits){.depth = TINE_DEPTH_MAX}), 0);
    ck_assert_rc(nested(65, &(tine_limits){.depth = TINE_DEPTH_MAX}), TINE_EFORMAT);
}

/* An array of n nils: n + 1 elements. */
static int wide(uint32_t n, const tine_limits *limits)
{
    uint8_t *bytes = malloc(5 + (size_t)n);
    size_t found;
    int rc;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 0xc0, 5 + (size_t)n);
    for (unsigned i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    bytes[0] = 0xdd;
    rc = tine__value_size(bytes, 5 + (size_t)n, limits, &found);
    free(bytes);
    return rc;
}

TEST(elements_have_a_limit)
{
    ck_assert_rc(wide(65535, NULL), 0);
    ck_assert_rc(wide(65536, NULL), TINE_EFORMAT);
    ck_assert_rc(wide(1000000, &(tine_limits){.elements = 1000001}), 0);
    ck_assert_rc(wide(1000000, &(tine_limits){.elements = 1000000}), TINE_EFORMAT);
    ck_assert_rc(wide(1000000, &(tine_limits){.elements = UINT64_MAX}), 0);
}

TEST(elements_are_counted_over_all_values)
{
    size_t found;

    ck_assert_rc(tine__prescan("\x01\x02\x91\x03", 4, &(tine_limits){.elements = 4}, &found), 0);
    ck_assert_rc(tine__prescan("\x01\x02\x91\x03", 4, &(tine_limits){.elements = 3}, &found),
                 TINE_EFORMAT);
    ck_assert_rc(tine__prescan("\x81\x01\x02", 3, &(tine_limits){.elements = 3}, &found), 0);
    ck_assert_rc(tine__prescan("\x81\x01\x02", 3, &(tine_limits){.elements = 2}, &found),
                 TINE_EFORMAT);
}

TEST(bytes_have_a_limit)
{
    size_t found;

    ck_assert_rc(tine__value_size("\xa3xyz\x01", 5, &(tine_limits){.bytes = 4}, &found), 0);
    ck_assert_rc(tine__value_size("\xa3xyz\x01", 5, &(tine_limits){.bytes = 3}, &found),
                 TINE_EFORMAT);
    ck_assert_rc(tine__prescan("\xa3xyz\x01", 5, &(tine_limits){.bytes = 5}, &found), 0);
    ck_assert_rc(tine__prescan("\xa3xyz\x01", 5, &(tine_limits){.bytes = 4}, &found), TINE_EFORMAT);
}

TEST(bad_limits_are_refused)
{
    size_t found;

    ck_assert_rc(tine__value_size("\x01", 1, &(tine_limits){.depth = 65}, &found), -EINVAL);
    ck_assert_rc(tine__value_size("\x01", 1, &(tine_limits){.flags = 1}, &found), -EINVAL);
    ck_assert_rc(tine__value_size("\x01", 1, &(tine_limits){.reserved[4] = 1}, &found), -E2BIG);
    ck_assert_rc(tine__prescan("\x01", 1, &(tine_limits){.reserved[0] = 1}, &found), -E2BIG);
}

/* 155 bytes, for which msgpack-c 4.0 reserves 254 GB. */
TEST(a_bomb_ends_at_its_first_head)
{
    char bomb[155];
    size_t found;

    for (size_t i = 0; i < sizeof bomb; i += 5)
        memcpy(bomb + i, "\xdd\x10\0\0\0", 5);
    ck_assert_rc(tine__value_size(bomb, sizeof bomb, NULL, &found), TINE_EFORMAT);
    ck_assert_rc(tine__value_size(bomb, sizeof bomb, &tine__limits_depth_only, &found),
                 TINE_EFORMAT);
    ck_assert_rc(tine__value_size("\xdf\xff\xff\xff\xff", 5, &tine__limits_depth_only, &found),
                 TINE_EFORMAT);
}

SUITE("lib/prescan")
