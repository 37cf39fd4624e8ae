/* SPDX-License-Identifier: MIT */
/* Shapes: never another answer than the prescan's, whatever was measured before. */
#include "lib/shape.h"

#include <tine/codec.h>
#include <tine/error.h>

#include <string.h>

#include "lib/codec.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

enum {
    ROUNDS = 200000,
};

static bool is_array(const uint8_t *at, size_t left)
{
    return left > 0 && ((at[0] & 0xf0) == 0x90 || at[0] == 0xdc || at[0] == 0xdd);
}

/* What tine__shape_size has to say. */
static int size_by_prescan(const uint8_t *at, size_t left, size_t *size)
{
    if (!is_array(at, left))
        return TINE_EFORMAT;
    return tine__value_size(at, left, &tine__limits_depth_only, size);
}

static void compare(struct tine__shape *shape, const uint8_t *at, size_t left)
{
    size_t size = 1, expected = 1;
    int rc = size_by_prescan(at, left, &expected);

    ck_assert_rc(tine__shape_size(shape, at, left, &size), rc);
    ck_assert_uint_eq(size, expected);
}

static void pack_random(tine_buffer *buffer)
{
    int64_t number = (int64_t)(random_u64() >> random_below(64));
    char text[] = "abcdefghijklmnopqrstuvwxyz";

    text[random_below(sizeof text)] = '\0';
    tine_buffer_clear(buffer);
    switch (random_below(6)) {
    case 0:
        ck_assert_rc(tine_pack(buffer, "[qq]", number, -number), 0);
        break;
    case 1:
        ck_assert_rc(tine_pack(buffer, "[?nd]", (int)(number & 1), 0.5), 0);
        break;
    case 2:
        ck_assert_rc(tine_pack(buffer, "[sq]", text, number), 0);
        break;
    case 3:
        ck_assert_rc(tine_pack(buffer, "[[f]{sq}[]]", 0.5, text, -number), 0);
        break;
    case 4:
        ck_assert_rc(tine_pack(buffer, "[y]", text, (size_t)random_below(26)), 0);
        break;
    default:
        ck_assert_rc(tine_pack(buffer, "[ ]"), 0);
        break;
    }
}

/* Values of few kinds, so that one often follows another of its shape; damaged now and then. */
TEST(sizes_are_those_of_the_prescan, .timeout_s = 60)
{
    static uint8_t bytes[256];
    tine_buffer buffer = {0};
    struct tine__shape shape;

    tine__shape_init(&shape);
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 4 == 0)
            pack_random(&buffer);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(round + (int)i);
        memcpy(bytes, buffer.data, buffer.size);
        if (round % 4 == 3)
            bytes[random_below(buffer.size)] = (uint8_t)random_u64();
        if (round % 16 == 1)
            tine__shape_init(&shape);
        compare(&shape, bytes, random_below(8) == 0 ? random_below(40) : sizeof bytes);
    }
    tine_buffer_free(&buffer);
}

/* Every byte of a value, changed to everything, after its shape was learnt. */
TEST(a_changed_head_is_another_shape)
{
    static const char *const formats[] = {"[qq]", "[?n]", "[sq]", "[[q]{qq}]"};
    uint8_t bytes[64] = {0};
    tine_buffer buffer = {0};
    struct tine__shape shape;
    size_t size;

    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        tine_buffer_clear(&buffer);
        if (formats[f][1] == 's')
            ck_assert_rc(tine_pack(&buffer, formats[f], "text", INT64_C(-300)), 0);
        else if (formats[f][1] == '?')
            ck_assert_rc(tine_pack(&buffer, formats[f], 1), 0);
        else
            ck_assert_rc(tine_pack(&buffer, formats[f], INT64_C(1), INT64_C(70000), INT64_C(-1)),
                         0);
        memcpy(bytes, buffer.data, buffer.size);
        for (size_t at = 0; at < buffer.size; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                tine__shape_init(&shape);
                ck_assert_rc(tine__shape_size(&shape, bytes, sizeof bytes, &size), 0);
                bytes[at] = (uint8_t)byte;
                compare(&shape, bytes, sizeof bytes);
                bytes[at] = buffer.data[at];
            }
    }
    tine_buffer_free(&buffer);
}

TEST(only_arrays_have_sizes)
{
    struct tine__shape shape;
    uint8_t bytes[64] = {0};

    tine__shape_init(&shape);
    for (unsigned byte = 0; byte < 256; byte++) {
        bytes[0] = (uint8_t)byte;
        compare(&shape, bytes, sizeof bytes);
        compare(&shape, bytes, 1);
        compare(&shape, bytes, 0);
    }
}

SUITE("lib/shape")
