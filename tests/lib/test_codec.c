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

TEST(maps_and_nested_arrays_come_back)
{
    tine_buffer buffer = {0};
    char *key, *text;
    int64_t q[3];

    ck_assert_rc(tine_pack(&buffer, "{s[q[qq]] ss}", "numbers", (int64_t)1, (int64_t)-2, (int64_t)3,
                           "text", ""),
                 0);
    ASSERT_BYTES(&buffer, "\x82\xa7numbers\x92\x01\x92\xfe\x03\xa4text\xa0");
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "{s[q[qq]] ss}", NULL, &q[0], &q[1], &q[2],
                             &key, &text),
                 0);
    ck_assert(q[0] == 1 && q[1] == -2 && q[2] == 3);
    ck_assert_str_eq(key, "text");
    ck_assert_str_eq(text, "");
    free(key);
    free(text);
    tine_buffer_free(&buffer);
}

/* One container of `count` booleans, so many that its head needs more than one byte. */
static void pack_many(tine_buffer *buffer, size_t count, const char *brackets)
{
    char *format = malloc(count + 3);

    ck_assert_ptr_nonnull(format);
    memset(format, 'n', count + 2);
    format[0] = brackets[0];
    format[count + 1] = brackets[1];
    format[count + 2] = '\0';
    ck_assert_rc(tine_pack(buffer, format), 0);
    ck_assert_rc(tine_unpack(buffer->data, buffer->size, format), 0);
    free(format);
}

TEST(heads_grow_with_the_number_of_items)
{
    static const size_t counts[] = {0, 1, 15, 16, 65535, 65536};
    static const size_t heads[] = {1, 1, 1, 3, 3, 5};
    tine_buffer buffer = {0};

    for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
        tine_buffer_clear(&buffer);
        pack_many(&buffer, counts[n], "[]");
        ck_assert_uint_eq(buffer.size, heads[n] + counts[n]);
        tine_buffer_clear(&buffer);
        pack_many(&buffer, 2 * counts[n], "{}");
        ck_assert_uint_eq(buffer.size, heads[n] + 2 * counts[n]);
    }
    tine_buffer_free(&buffer);
}

TEST(strings_of_every_head_come_back)
{
    static const size_t lengths[] = {0, 1, 30, 31, 32, 33, 255, 256, 65535, 65536, 1000000};
    static const size_t heads[] = {1, 1, 1, 1, 2, 2, 2, 3, 3, 5, 5};
    char *text = malloc(1000001), *out;
    tine_buffer buffer = {0};

    ck_assert_ptr_nonnull(text);
    for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
        memset(text, 'x', lengths[n]);
        text[lengths[n]] = '\0';
        tine_buffer_clear(&buffer);
        ck_assert_rc(tine_pack(&buffer, "s", text), 0);
        ck_assert_uint_eq(buffer.size, heads[n] + lengths[n]);
        ck_assert_rc(tine_unpack(buffer.data, buffer.size, "s", &out), 0);
        ck_assert_str_eq(out, text);
        free(out);
    }
    free(text);
    tine_buffer_free(&buffer);
}

TEST(pack_appends_and_keeps_what_was_there)
{
    tine_buffer buffer = {0};
    int64_t a, b;

    for (int64_t n = 0; n < 1000; n++)
        ck_assert_rc(tine_pack(&buffer, "q", n), 0);
    for (size_t at = 0; at < 128; at++)
        ck_assert_uint_eq(buffer.data[at], at);
    tine_buffer_clear(&buffer);
    ck_assert_rc(tine_pack(&buffer, "q", (int64_t)1), 0);
    ck_assert_rc(tine_pack(&buffer, ""), 0);
    ck_assert_rc(tine_pack(&buffer, "q", (int64_t)2), 0);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "qq", &a, &b), 0);
    ck_assert(a == 1 && b == 2);
    tine_buffer_free(&buffer);
    ck_assert_ptr_null(buffer.data);
    tine_buffer_free(NULL);
}

TEST(packed_values_nest_in_others)
{
    tine_buffer inner = {0}, outer = {0};
    int64_t q = 0;

    ck_assert_rc(tine_pack(&inner, "[q]", (int64_t)5), 0);
    ck_assert_rc(tine_pack(&outer, "[v]", (void *)inner.data, inner.size), 0);
    ck_assert_rc(tine_unpack(outer.data, outer.size, "[[q]]", &q), 0);
    ck_assert_int_eq(q, 5);
    tine_buffer_free(&inner);
    tine_buffer_free(&outer);
}

TEST(numbers_fit_by_value_whatever_their_width)
{
    int8_t b = 0;
    uint8_t B = 0;
    int64_t q = 0;

    ck_assert_rc(UNPACK("\xcf\0\0\0\0\0\0\0\x05", "b", &b), 0);
    ck_assert_int_eq(b, 5);
    ck_assert_rc(UNPACK("\xd3\0\0\0\0\0\0\0\xff", "B", &B), 0);
    ck_assert_int_eq(B, 255);
    ck_assert_rc(UNPACK("\xd3\xff\xff\xff\xff\xff\xff\xff\xff", "q", &q), 0);
    ck_assert_int_eq(q, -1);
}

TEST(floating_letters_take_integers_that_they_hold)
{
    double d = 0;
    float f = 0;

    ck_assert_rc(UNPACK("\xce\x01\0\0\0", "f", &f), 0);
    ck_assert(f == 16777216.0F);
    ck_assert_rc(UNPACK("\xce\x01\0\0\x01", "f", &f), -ERANGE);
    ck_assert_rc(UNPACK("\xe0", "d", &d), 0);
    ck_assert(d == -32);
    ck_assert_rc(UNPACK("\xcf\0\x20\0\0\0\0\0\0", "d", &d), 0);
    ck_assert(d == 9007199254740992.0);
    ck_assert_rc(UNPACK("\xcf\0\x20\0\0\0\0\0\x01", "d", &d), -ERANGE);
    ck_assert_rc(UNPACK("\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", "f", &f), 0);
    ck_assert(f == (float)3.141592653589793);
    ck_assert_rc(UNPACK("\xcb\x7f\xef\xff\xff\xff\xff\xff\xff", "f", &f), -ERANGE);
    ck_assert_rc(UNPACK("\xcb\x7f\xf0\0\0\0\0\0\0", "f", &f), 0);
    ck_assert(isinf(f));
}

TEST(null_outputs_check_and_drop)
{
    int64_t last = 0;

    ck_assert_rc(UNPACK("\x97\x01\xa1x\xc4\x01y\xc0\xc3\xca\0\0\0\0\x09", "[qsyp?dq]", NULL, NULL,
                        NULL, NULL, NULL, NULL, NULL, &last),
                 0);
    ck_assert_int_eq(last, 9);
    ck_assert_rc(UNPACK("\xcd\x01\0", "b", NULL), -ERANGE);
}

TEST(unaligned_arrays_are_handed_out_as_they_lie)
{
    double in[3] = {1, 2, 3}, copy[3];
    const void *out;
    size_t count;

    for (int shift = 0; shift < 8; shift++) {
        tine_buffer buffer = {0};
        char pad[9] = "xxxxxxxx";

        pad[shift] = '\0';
        ck_assert_rc(tine_pack(&buffer, "[sad]", pad, in, (size_t)3), 0);
        ck_assert_rc(tine_unpack(buffer.data, buffer.size, "[sad]", NULL, &out, &count), 0);
        ck_assert_uint_eq(count, 3);
        memcpy(copy, out, sizeof copy);
        ck_assert_mem_eq(copy, in, sizeof in);
        tine_buffer_free(&buffer);
    }
}

SUITE("lib/codec")
