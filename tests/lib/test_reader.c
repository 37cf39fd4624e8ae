/* SPDX-License-Identifier: MIT */
#include <tine/codec.h>

#include <errno.h>
#include <string.h>

#include "tests/support/suite.h"

#define INIT(reader, text) tine_reader_init(reader, text, sizeof text - 1, NULL)

TEST(values_of_every_type_are_read_in_order)
{
    static const char bytes[] = "\xc0\xc3\x05\xff\xca\x3f\xc0\0\0\xa2xy\xc4\x01z\xd4\x09w";
    tine_reader reader;
    const char *text;
    const void *data;
    size_t size;
    bool flag = false;
    int64_t number = 0;
    double floating = 0;
    int type = 0;

    ck_assert_rc(INIT(&reader, bytes), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_NIL);
    ck_assert_rc(tine_reader_nil(&reader), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_BOOL);
    ck_assert_rc(tine_reader_bool(&reader, &flag), 0);
    ck_assert(flag);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_INT);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_int_eq(number, 5);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_INT);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_int_eq(number, -1);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_FLOAT);
    ck_assert_rc(tine_reader_double(&reader, &floating), 0);
    ck_assert(floating == 1.5);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_STRING);
    ck_assert_rc(tine_reader_string(&reader, &text, &size), 0);
    ck_assert(size == 2 && memcmp(text, "xy", 2) == 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_BYTES);
    ck_assert_rc(tine_reader_bytes(&reader, &data, &size), 0);
    ck_assert(size == 1 && memcmp(data, "z", 1) == 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_EXT);
    ck_assert_rc(tine_reader_ext(&reader, &type, &data, &size), 0);
    ck_assert(type == 9 && size == 1 && memcmp(data, "w", 1) == 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_END);
    ck_assert_rc(tine_reader_error(&reader), 0);
}

TEST(integers_of_both_signs_meet_their_range)
{
    tine_reader reader;
    uint64_t positive = 0;
    int64_t number = 11;

    ck_assert_rc(INIT(&reader, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), 0);
    ck_assert_rc(tine_reader_uint(&reader, &positive), 0);
    ck_assert(positive == UINT64_MAX);
    ck_assert_rc(INIT(&reader, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), -ERANGE);
    ck_assert_int_eq(number, 11);
    ck_assert_rc(INIT(&reader, "\xff"), 0);
    ck_assert_rc(tine_reader_uint(&reader, &positive), -ERANGE);
}

TEST(arrays_and_maps_are_entered_and_left)
{
    tine_reader reader;
    const char *key;
    size_t count = 0, length;
    int64_t sum = 0;

    ck_assert_rc(INIT(&reader, "\x82\xa1x\x93\x01\x02\x03\xa1y\x90\x07"), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_MAP);
    ck_assert_rc(tine_reader_map(&reader, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_rc(tine_reader_string(&reader, &key, &length), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_ARRAY);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_uint_eq(count, 3);
    for (int64_t number = 0; tine_reader_type(&reader) != TINE_TYPE_END; sum += number)
        ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_int_eq(sum, 6);
    ck_assert_rc(tine_reader_leave(&reader), 0);
    ck_assert_rc(tine_reader_skip(&reader), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_END);
    ck_assert_rc(tine_reader_leave(&reader), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_END);
    ck_assert_rc(tine_reader_leave(&reader), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_INT);
}

TEST(leaving_skips_what_was_not_read)
{
    tine_reader reader;
    size_t count;
    int64_t number = 0;

    ck_assert_rc(INIT(&reader, "\x93\x92\x01\x92\x02\x03\xa1x\x91\xc0\x07"), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_rc(tine_reader_leave(&reader), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_STRING);
    ck_assert_rc(tine_reader_leave(&reader), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_int_eq(number, 7);
}

TEST(a_value_can_be_taken_packed)
{
    static const char bytes[] = "\x92\x92\x01\x02\x03";
    tine_reader reader;
    const void *value;
    size_t count, size;

    ck_assert_rc(INIT(&reader, bytes), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_rc(tine_reader_value(&reader, &value, &size), 0);
    ck_assert_ptr_eq(value, bytes + 1);
    ck_assert_uint_eq(size, 3);
    ck_assert_rc(tine_reader_skip(&reader), 0);
    ck_assert_rc(tine_reader_value(&reader, &value, &size), TINE_EFORMAT);
}

TEST(the_first_failure_sticks)
{
    tine_reader reader;
    const char *text = NULL;
    const void *data = NULL;
    size_t size = 11;
    bool flag = false;
    int64_t number = 22;
    uint64_t positive = 33;
    double floating = 44;
    int type = 55;

    ck_assert_rc(INIT(&reader, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), -ERANGE);
    ck_assert_rc(tine_reader_type(&reader), -ERANGE);
    ck_assert_rc(tine_reader_nil(&reader), -ERANGE);
    ck_assert_rc(tine_reader_bool(&reader, &flag), -ERANGE);
    ck_assert_rc(tine_reader_int(&reader, &number), -ERANGE);
    ck_assert_rc(tine_reader_uint(&reader, &positive), -ERANGE);
    ck_assert_rc(tine_reader_double(&reader, &floating), -ERANGE);
    ck_assert_rc(tine_reader_string(&reader, &text, &size), -ERANGE);
    ck_assert_rc(tine_reader_bytes(&reader, &data, &size), -ERANGE);
    ck_assert_rc(tine_reader_ext(&reader, &type, &data, &size), -ERANGE);
    ck_assert_rc(tine_reader_array(&reader, &size), -ERANGE);
    ck_assert_rc(tine_reader_map(&reader, &size), -ERANGE);
    ck_assert_rc(tine_reader_leave(&reader), -ERANGE);
    ck_assert_rc(tine_reader_skip(&reader), -ERANGE);
    ck_assert_rc(tine_reader_value(&reader, &data, &size), -ERANGE);
    ck_assert_rc(tine_reader_error(&reader), -ERANGE);
    ck_assert(!flag && number == 22 && positive == 33 && floating == 44 && type == 55);
    ck_assert(text == NULL && data == NULL && size == 11);
}

TEST(the_wrong_type_is_refused)
{
    static const char bytes[] = "\xa1x";
    tine_reader reader;
    const void *data;
    size_t size;
    bool flag;
    int64_t number;
    uint64_t positive;
    double floating;
    int type;

    for (int i = 0; i < 9; i++) {
        ck_assert_rc(INIT(&reader, bytes), 0);
        ck_assert_rc(i == 0   ? tine_reader_nil(&reader)
                     : i == 1 ? tine_reader_bool(&reader, &flag)
                     : i == 2 ? tine_reader_int(&reader, &number)
                     : i == 3 ? tine_reader_uint(&reader, &positive)
                     : i == 4 ? tine_reader_double(&reader, &floating)
                     : i == 5 ? tine_reader_bytes(&reader, &data, &size)
                     : i == 6 ? tine_reader_ext(&reader, &type, &data, &size)
                     : i == 7 ? tine_reader_array(&reader, &size)
                              : tine_reader_map(&reader, &size),
                     TINE_EFORMAT);
    }
}

TEST(reading_past_an_end_is_refused)
{
    tine_reader reader;
    size_t count;
    int64_t number;

    ck_assert_rc(INIT(&reader, ""), 0);
    ck_assert_int_eq(tine_reader_type(&reader), TINE_TYPE_END);
    ck_assert_rc(tine_reader_int(&reader, &number), TINE_EFORMAT);
    ck_assert_rc(INIT(&reader, "\x90\x01"), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), TINE_EFORMAT);
    ck_assert_rc(INIT(&reader, "\x01"), 0);
    ck_assert_rc(tine_reader_leave(&reader), TINE_EFORMAT);
}

TEST(bytes_beyond_the_limits_are_refused_at_once)
{
    tine_reader reader;

    ck_assert_rc(INIT(&reader, "\x92\x01"), TINE_EFORMAT);
    ck_assert_rc(tine_reader_type(&reader), TINE_EFORMAT);
    ck_assert_rc(tine_reader_skip(&reader), TINE_EFORMAT);
    ck_assert_rc(INIT(&reader, "\xdd\x10\0\0\0"), TINE_EFORMAT);
    ck_assert_rc(tine_reader_init(&reader, "\x01\x02", 2, &(tine_limits){.elements = 1}),
                 TINE_EFORMAT);
    ck_assert_rc(tine_reader_init(&reader, NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_reader_error(&reader), -EINVAL);
    ck_assert_rc(tine_reader_init(&reader, "\x01", 1, &(tine_limits){.reserved[0] = 1}), -E2BIG);
}

TEST(the_deepest_nesting_is_walked)
{
    uint8_t bytes[TINE_DEPTH_MAX];
    tine_reader reader;
    size_t count;

    memset(bytes, 0x91, sizeof bytes);
    bytes[sizeof bytes - 1] = 0x90;
    ck_assert_rc(
        tine_reader_init(&reader, bytes, sizeof bytes, &(tine_limits){.depth = TINE_DEPTH_MAX}), 0);
    for (int i = 0; i < TINE_DEPTH_MAX; i++)
        ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_rc(tine_reader_skip(&reader), TINE_EFORMAT);
}

SUITE("lib/reader")
