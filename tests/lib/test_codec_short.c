/* SPDX-License-Identifier: MIT */
/*
 * The short ways of pack and unpack beside the long ones, over random formats, values and bytes:
 * whatever a short way accepts is accepted by the long one, with the same result.
 */
#include "lib/codec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

enum {
    SLOTS = 24,
    FORMAT_MAX = SLOTS, /* letters, so that slots suffice */
    BYTES_MAX = 256,
    ROUNDS = 100000,
};

/* ---- unpacking ------------------------------------------------------------------------------- */

typedef int unpack(const void *bytes, size_t size, const char *format, bool tuple, va_list args,
                   struct tine__texts *texts);

static int call(unpack *function, const void *bytes, size_t size, bool tuple, const char *format,
                ...)
{
    struct tine__texts texts = {0};
    va_list args;
    int rc;

    va_start(args, format);
    rc = function(bytes, size, format, tuple, args, &texts);
    va_end(args);
    return rc;
}

#define S4(slots, i) &(slots)[i], &(slots)[(i) + 1], &(slots)[(i) + 2], &(slots)[(i) + 3]

static int unpack_into(uint64_t *slots, unpack *function, const uint8_t *bytes, size_t size,
                       const char *format, bool tuple)
{
    memset(slots, 0xa5, SLOTS * sizeof *slots);
    return call(function, bytes, size, tuple, format, S4(slots, 0), S4(slots, 4), S4(slots, 8),
                S4(slots, 12), S4(slots, 16), S4(slots, 20));
}

static void compare(const uint8_t *bytes, size_t size, const char *format, bool tuple)
{
    uint64_t slots[SLOTS], expected[SLOTS];
    int rc = unpack_into(expected, tine__vunpack_anything, bytes, size, format, tuple);

    ck_assert_rc(unpack_into(slots, tine__vunpack, bytes, size, format, tuple), rc);
    ck_assert_msg(memcmp(slots, expected, sizeof slots) == 0, "\"%s\" gave other values", format);
}

/* A head of some kind and what may belong to it, now and then nonsense. */
static size_t draw_value(uint8_t *at)
{
    static const uint8_t heads[] = {0xc0, 0xc2, 0xc3, 0xca, 0xcb, 0xcc, 0xcd, 0xce,
                                    0xcf, 0xd0, 0xd1, 0xd2, 0xd3, 0x90, 0x92, 0xa1};
    static const uint8_t widths[] = {0, 0, 0, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 0, 0, 1};
    uint64_t kind = random_below(24), number = random_u64() >> random_below(64);

    if (kind >= sizeof heads) {
        at[0] = (uint8_t)random_u64();
        return 1;
    }
    at[0] = heads[kind];
    for (unsigned i = 0; i < widths[kind]; i++)
        at[1 + i] = (uint8_t)(number >> (8 * (widths[kind] - 1 - i)));
    if (at[0] == 0xca)
        at[2] |= 0x40; /* no signalling NaN: on the long way it becomes a quiet one */
    return 1U + widths[kind];
}

/* Letters that a value may be read by, nearly always one that fits. */
static char draw_letter(uint8_t head)
{
    static const char integers[] = "bBhHiIqQ", any[] = "?bBhHiIqQfdn[]{} !";

    if (random_below(16) == 0)
        return any[random_below(sizeof any - 1)];
    if (head == 0xc0)
        return 'n';
    if (head == 0xc2 || head == 0xc3)
        return '?';
    if (head == 0xca || head == 0xcb)
        return head == 0xca ? 'f' : 'd';
    if ((head & 0xf0) == 0x90)
        return '[';
    return integers[random_below(sizeof integers - 1)];
}

TEST(unpacking_gives_the_same_either_way, .timeout_s = 60)
{
    uint8_t bytes[BYTES_MAX];
    char format[FORMAT_MAX + 1];

    for (int round = 0; round < ROUNDS; round++) {
        size_t letters = random_below(FORMAT_MAX / 2), size = 0, length = 0;
        bool tuple = random_below(2) == 0;

        if (tuple)
            bytes[size++] = (uint8_t)(0x90 | (random_below(8) != 0 ? letters & 15 : 3));
        for (size_t i = 0; i < letters; i++) {
            size_t at = size;

            size += draw_value(bytes + size);
            format[length] = draw_letter(bytes[at]);
            if (format[length++] == '[' && bytes[at] == 0x90)
                format[length++] = ']';
        }
        format[length] = '\0';
        compare(bytes, size, format, tuple);
        if (size > 0)
            compare(bytes, random_below(size), format, tuple);
    }
}

/* ---- strings --------------------------------------------------------------------------------- */

/* Two strings and a number between them. Bit i of `wanted`: output i is not NULL. */
struct mixed {
    char *first, *second;
    int64_t number;
};

static int unpack_mixed(unpack *function, const tine_buffer *in, struct tine__texts *texts,
                        const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = function(in->data, in->size, format, false, args, texts);
    va_end(args);
    return rc;
}

static int unpack_wanted(unpack *function, const tine_buffer *in, struct tine__texts *texts,
                         unsigned wanted, struct mixed *mixed)
{
    *mixed = (struct mixed){.number = -1};
    return unpack_mixed(function, in, texts, "[sqs]", wanted & 1 ? &mixed->first : NULL,
                        wanted & 2 ? &mixed->number : NULL, wanted & 4 ? &mixed->second : NULL);
}

static void assert_same_text(const char *text, const char *expected)
{
    ck_assert((text == NULL) == (expected == NULL));
    if (text != NULL)
        ck_assert_str_eq(text, expected);
}

static void compare_mixed(const tine_buffer *in, bool owned, unsigned wanted)
{
    struct tine__texts texts[2] = {{0}, {0}};
    struct mixed mixed, expected;
    int rc = unpack_wanted(tine__vunpack_anything, in, owned ? &texts[0] : NULL, wanted, &expected);

    ck_assert_rc(unpack_wanted(tine__vunpack, in, owned ? &texts[1] : NULL, wanted, &mixed), rc);
    assert_same_text(mixed.first, expected.first);
    assert_same_text(mixed.second, expected.second);
    ck_assert_int_eq(mixed.number, expected.number);
    tine__texts_free(&texts[0]);
    tine__texts_free(&texts[1]);
    if (owned)
        return;
    free(mixed.first);
    free(mixed.second);
    free(expected.first);
    free(expected.second);
}

TEST(strings_come_out_the_same_either_way)
{
    char first[48], second[48];
    tine_buffer buffer = {0};

    for (unsigned round = 0; round < 48 * 48; round++) {
        memset(first, 'f', sizeof first);
        memset(second, 's', sizeof second);
        first[round % 48] = '\0';
        second[round / 48] = '\0';
        tine_buffer_clear(&buffer);
        ck_assert_rc(tine_pack(&buffer, "[sqs]", first, (int64_t)round, second), 0);
        compare_mixed(&buffer, round % 2 == 0, round / 2 % 8);
        buffer.data[random_below(buffer.size)] = round % 3 == 0 ? 0 : (uint8_t)random_u64();
        compare_mixed(&buffer, round % 2 == 0, 7);
        buffer.size = random_below(buffer.size);
        compare_mixed(&buffer, round % 2 == 0, 7);
    }
    tine_buffer_free(&buffer);
}

/* ---- nested arrays --------------------------------------------------------------------------- */

static const struct nest {
    const char *format;
    const char *bytes;
    size_t size;
    bool tuple;
} nests[] = {
    {"[q[q[q]]]", "\x92\x01\x92\x02\x91\x03", 6, false},
    {"[[]q[]]", "\x93\x90\x01\x90", 4, false},
    {"[[[[q]]]]", "\x91\x91\x91\x91\x01", 5, false},
    {"[[[[[q]]]]]", "\x91\x91\x91\x91\x91\x01", 6, false},
    {"[q]q", "\x91\x01\x02", 3, false},
    {"[qq]", "\x91\x01\x02", 3, false}, /* more than the array has, but not than the bytes */
    {"[q]q", "\x92\x01\x02", 3, false},
    {"[qq]q", "\x91\x01\x02\x03", 4, false},
    {"q[q]", "\x92\x01\x91\x02", 4, true},
    {"qq", "\x91\x01\x02", 3, true},
    {"q", "\x92\x01\x02", 3, true},
    {"q]", "\x91\x01", 2, true},
    {"q[", "\x92\x01\x90", 3, true},
    {"", "\x90", 1, true},
    {"", "\x91", 1, true},
    {"[qqqqqqqqqqqqqqq]", "\x9f\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16, false},
    {"[qqqqqqqqqqqqqqqq]", "\xdc\0\x10\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20", 19, false},
    {"qqqqqqqqqqqqqqqqq", "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21", 17, false},
};

TEST(arrays_are_counted_the_same_either_way, .loop_end = sizeof nests / sizeof nests[0])
{
    const struct nest *nest = &nests[loop_index];

    compare((const uint8_t *)nest->bytes, nest->size, nest->format, nest->tuple);
}

/* ---- packing --------------------------------------------------------------------------------- */

static const char *const pack_formats[] = {
    "q",          "[qq]",     "[q[dq]Q]", "[[[[q]]]d]", "[[[[[q]]]]]d",       "{qd}",
    "[?bBhHiIq]", "[qqdffd]", "nq[n]",    "[nnnnnnnn]", "[qqqqqqqqqqqqqqqq]", "[]q[]",
    "[q",         "q]",       "[q}",      "!",
};

/* Every letter takes a number, and more are there than any format names. */
static int pack_numbers(tine_buffer *buffer, const char *format, const int64_t *n)
{
    if (strpbrk(format, "df") == NULL && strpbrk(format, "bB") == NULL)
        return tine_pack(buffer, format, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[0], n[1],
                         n[2], n[3], n[4], n[5], n[6], n[7]);
    if (strpbrk(format, "bB") != NULL)
        return tine_pack(buffer, format, (int)(n[0] & 1), (int)n[1], (int)n[2], (int)n[3],
                         (int)n[4], (int32_t)n[5], (uint32_t)n[6], n[7]);
    if (strstr(format, "[qqdffd]") != NULL)
        return tine_pack(buffer, format, n[0], n[1], (double)n[2], (double)n[3], 1e300, 0.5);
    if (strstr(format, "[q[dq]Q]") != NULL)
        return tine_pack(buffer, format, n[0], (double)n[1], n[2], (uint64_t)n[3]);
    return tine_pack(buffer, format, n[0], (double)n[1]);
}

static void compare_packing(const char *format, const int64_t *numbers, size_t before)
{
    static const char filling[BYTES_MAX];
    tine_buffer buffer = {0}, expected = {0};
    char spaced[40];
    int rc;

    snprintf(spaced, sizeof spaced, " %s", format); /* a space is nothing for the short way */
    ck_assert_rc(tine_pack(&buffer, "y", filling, before), 0);
    ck_assert_rc(tine_pack(&expected, "y", filling, before), 0);
    rc = pack_numbers(&expected, spaced, numbers);
    ck_assert_rc(pack_numbers(&buffer, format, numbers), rc);
    ck_assert_uint_eq(buffer.size, expected.size);
    ck_assert_int_eq(memcmp(buffer.data, expected.data, buffer.size), 0);
    tine_buffer_free(&buffer);
    tine_buffer_free(&expected);
}

TEST(packing_gives_the_same_either_way, .timeout_s = 60)
{
    int64_t numbers[8];

    for (int round = 0; round < ROUNDS / 4; round++) {
        for (int i = 0; i < 8; i++) {
            numbers[i] = (int64_t)(random_u64() >> random_below(64));
            if (random_below(2) == 0)
                numbers[i] = -numbers[i];
        }
        compare_packing(pack_formats[random_below(sizeof pack_formats / sizeof pack_formats[0])],
                        numbers, random_below(200));
    }
}

SUITE("lib/codec_short")
