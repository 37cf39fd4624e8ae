/* SPDX-License-Identifier: MIT */
/* tine_pack and tine_unpack: what goes in comes out, and nothing else gets in. */
#include <tine/codec.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static void assert_bytes(const tine_buffer *buffer, const char *expected, size_t size)
{
    ck_assert_uint_eq(buffer->size, size);
    ck_assert_mem_eq(buffer->data, expected, size);
}

#define ASSERT_BYTES(buffer, text) assert_bytes(buffer, text, sizeof text - 1)

/* Unpacks the bytes of a string literal. */
#define UNPACK(text, ...) tine_unpack(text, sizeof text - 1, __VA_ARGS__)

TEST(the_example_of_the_header_holds)
{
    tine_buffer buffer = {0};
    int64_t i = 0;
    char *text = NULL;
    double x = 0;

    ck_assert_rc(tine_pack(&buffer, "[qsd]", (int64_t)7, "seven", 7.0), 0);
    ASSERT_BYTES(&buffer, "\x93\x07\xa5seven\xcb\x40\x1c\0\0\0\0\0\0");
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "[qsd]", &i, &text, &x), 0);
    ck_assert_int_eq(i, 7);
    ck_assert_str_eq(text, "seven");
    ck_assert_double_eq(x, 7.0);
    free(text);
    tine_buffer_free(&buffer);
}

TEST(values_are_packed_in_their_shortest_form)
{
    tine_buffer buffer = {0};

    ck_assert_rc(tine_pack(&buffer, "qqqqq", (int64_t)127, (int64_t)128, (int64_t)256,
                           (int64_t)65536, INT64_C(1) << 32),
                 0);
    ASSERT_BYTES(&buffer, "\x7f\xcc\x80\xcd\x01\0\xce\0\x01\0\0\xcf\0\0\0\x01\0\0\0\0");
    tine_buffer_clear(&buffer);
    ck_assert_rc(
        tine_pack(&buffer, "qqqq", (int64_t)-32, (int64_t)-33, (int64_t)-129, (int64_t)-32769), 0);
    ASSERT_BYTES(&buffer, "\xe0\xd0\xdf\xd1\xff\x7f\xd2\xff\xff\x7f\xff");
    tine_buffer_clear(&buffer);
    ck_assert_rc(tine_pack(&buffer, "??n", true, false), 0);
    ASSERT_BYTES(&buffer, "\xc3\xc2\xc0");
    tine_buffer_free(&buffer);
}

TEST(integers_of_every_width_come_back)
{
    int8_t b;
    uint8_t B;
    int16_t h;
    uint16_t H;
    int32_t i;
    uint32_t I;
    int64_t q;
    uint64_t Q;
    tine_buffer buffer = {0};

    ck_assert_rc(tine_pack(&buffer, "[bBhHiIqQ]", INT8_MIN, UINT8_MAX, INT16_MIN, UINT16_MAX,
                           INT32_MIN, UINT32_MAX, INT64_MIN, UINT64_MAX),
                 0);
    ck_assert_rc(
        tine_unpack(buffer.data, buffer.size, "[bBhHiIqQ]", &b, &B, &h, &H, &i, &I, &q, &Q), 0);
    ck_assert(b == INT8_MIN && B == UINT8_MAX && h == INT16_MIN && H == UINT16_MAX);
    ck_assert(i == INT32_MIN && I == UINT32_MAX && q == INT64_MIN && Q == UINT64_MAX);
    tine_buffer_free(&buffer);
}

TEST(floating_numbers_come_back_bit_for_bit)
{
    static const double samples[] = {0.0, -0.0, 1.5, DBL_MAX, DBL_TRUE_MIN, INFINITY, -INFINITY};
    tine_buffer buffer = {0};
    double d;
    float f;

    for (size_t n = 0; n < sizeof samples / sizeof samples[0]; n++) {
        tine_buffer_clear(&buffer);
        ck_assert_rc(tine_pack(&buffer, "d", samples[n]), 0);
        ck_assert_rc(tine_unpack(buffer.data, buffer.size, "d", &d), 0);
        ck_assert_mem_eq(&d, &samples[n], sizeof d);
    }
    tine_buffer_clear(&buffer);
    ck_assert_rc(tine_pack(&buffer, "fd", (double)FLT_MIN, (double)NAN), 0);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "fd", &f, &d), 0);
    ck_assert(f == FLT_MIN && isnan(d));
    tine_buffer_free(&buffer);
}

TEST(bytes_and_values_are_borrowed_from_the_input)
{
    static const char input[] = "\x92\xc4\x03xyz\x92\x01\x02";
    const void *bytes, *value;
    size_t size, value_size;

    ck_assert_rc(UNPACK(input, "[yv]", &bytes, &size, &value, &value_size), 0);
    ck_assert_ptr_eq(bytes, input + 3);
    ck_assert_uint_eq(size, 3);
    ck_assert_ptr_eq(value, input + 6);
    ck_assert_uint_eq(value_size, 3);
}

TEST(arrays_of_every_letter_are_one_bin, .loop_end = 10)
{
    static const char letters[] = "bBhHiIqQfd";
    static const size_t widths[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    const char format[] = {'a', letters[loop_index], '\0'};
    uint64_t elements[5] = {1, 2, 3, 4, 5};
    tine_buffer buffer = {0};
    const void *out = NULL;
    size_t count = 0;

    ck_assert_rc(tine_pack(&buffer, format, (void *)elements, (size_t)5), 0);
    ck_assert_uint_eq(buffer.size, 2 + 5 * widths[loop_index]);
    ck_assert_uint_eq(buffer.data[0], 0xc4);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, format, &out, &count), 0);
    ck_assert_uint_eq(count, 5);
    ck_assert_mem_eq(out, elements, 5 * widths[loop_index]);
    tine_buffer_free(&buffer);
}

SUITE("lib/codec")
