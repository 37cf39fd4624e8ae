/* SPDX-License-Identifier: MIT */
/*
 * Unpacking of messages that are a few numbers, as most arguments and results are: in one pass.
 *
 * Values are read into a list and stored from there, once everything has been found to fit. This
 * pass only ever says yes. Whatever it does not like, a letter, a form of a number, the bytes or the
 * count, is left to the two passes of lib/unpack.c, which decide what is wrong, if anything is. So
 * it may know as little as it likes, but what it accepts must be what they accept:
 * tests/lib/test_codec_short.c holds it against them.
 */
#include "lib/codec.h"

#include "lib/msgpack_head.h"

#include <limits.h>
#include <stdarg.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "narrow numbers are stored by their first bytes");

/* A reading costs as much as its state moves between registers and memory, so all of it is one
   function in the end. */
#define INLINE static inline __attribute__((always_inline))

enum {
    NUMBERS_MAX = 16,
    DEPTH_MAX = 4,
};

/* What the letters known here ask for. */
struct letter {
    uint64_t max;  /* of an integer; where it has a sign, the least is -max - 1 */
    uint8_t width; /* of the C type; 0: not known here */
    bool integer, has_sign;
};

static const struct letter letters[UCHAR_MAX + 1] = {
    ['b'] = {.width = 1, .integer = true, .has_sign = true, .max = INT8_MAX},
    ['h'] = {.width = 2, .integer = true, .has_sign = true, .max = INT16_MAX},
    ['i'] = {.width = 4, .integer = true, .has_sign = true, .max = INT32_MAX},
    ['q'] = {.width = 8, .integer = true, .has_sign = true, .max = INT64_MAX},
    ['B'] = {.width = 1, .integer = true, .max = UINT8_MAX},
    ['H'] = {.width = 2, .integer = true, .max = UINT16_MAX},
    ['I'] = {.width = 4, .integer = true, .max = UINT32_MAX},
    ['Q'] = {.width = 8, .integer = true, .max = UINT64_MAX},
    ['f'] = {.width = sizeof(float)},
    ['d'] = {.width = sizeof(double)},
    ['?'] = {.width = sizeof(bool)},
};

struct number {
    uint64_t bits;
    size_t width; /* of its C type */
};

struct outer {
    uint64_t count; /* of the array that was entered */
    uint64_t items; /* seen before it, itself included */
};

struct reading {
    const uint8_t *at;
    const uint8_t *end;
    struct number *next; /* behind the last one read */
    uint64_t items;      /* of this array, seen so far */
    struct outer *outer; /* behind the innermost */
};

/* ---- numbers --------------------------------------------------------------------------------- */

/* Forms whose value is behind the type byte, with a sign of its own or without. */
INLINE bool read_wide(struct reading *reading, size_t width, bool has_sign, uint64_t *value)
{
    unsigned shift = 64 - 8 * (unsigned)width;

    if ((size_t)(reading->end - reading->at) <= width)
        return false;
    *value = tine__load_be(reading->at + 1, width);
    if (has_sign)
        *value = (uint64_t)((int64_t)(*value << shift) >> shift);
    reading->at += 1 + width;
    return true;
}

/* One comparison with each width, so that each is read by instructions of its own. */
INLINE bool read_form(struct reading *reading, uint64_t *value)
{
    switch (*reading->at) {
    case 0xcc:
        return read_wide(reading, 1, false, value);
    case 0xcd:
        return read_wide(reading, 2, false, value);
    case 0xce:
        return read_wide(reading, 4, false, value);
    case 0xcf:
        return read_wide(reading, 8, false, value);
    case 0xd0:
        return read_wide(reading, 1, true, value);
    case 0xd1:
        return read_wide(reading, 2, true, value);
    case 0xd2:
        return read_wide(reading, 4, true, value);
    case 0xd3:
        return read_wide(reading, 8, true, value);
    default:
        return false;
    }
}

INLINE bool read_integer(struct reading *reading, const struct letter *letter, uint64_t *value)
{
    uint8_t byte = *reading->at;

    if (byte < 0x80 || byte >= 0xe0) { /* the value itself, and in every range but for its sign */
        reading->at++;
        *value = (uint64_t)(int64_t)(int8_t)byte;
        return byte < 0x80 || letter->has_sign;
    }
    if (!read_form(reading, value))
        return false;
    if (byte == 0xcf || (int64_t)*value >= 0)
        return *value <= letter->max;
    return letter->has_sign && *value >= ~letter->max;
}

/* Only in the letter's own width: other forms need looks at ranges. */
INLINE bool read_floating(struct reading *reading, uint8_t byte, size_t width, uint64_t *value)
{
    return *reading->at == byte && read_wide(reading, width, false, value);
}

INLINE bool read_bool(struct reading *reading, uint64_t *value)
{
    *value = *reading->at & 1;
    return (*reading->at++ & 0xfe) == 0xc2;
}

INLINE bool read_number(struct reading *reading, const struct letter *letter)
{
    uint64_t *value = &reading->next->bits;

    if (reading->at == reading->end)
        return false;
    reading->next->width = letter->width;
    if (letter->integer)
        return read_integer(reading, letter, value);
    if (letter->width == sizeof(double))
        return read_floating(reading, 0xcb, sizeof(double), value);
    if (letter->width == sizeof(float))
        return read_floating(reading, 0xca, sizeof(float), value);
    return read_bool(reading, value);
}

INLINE void store(void *output, const struct number *number)
{
    if (output == NULL)
        return;
    if (number->width == 8)
        memcpy(output, &number->bits, 8);
    else if (number->width == 4)
        memcpy(output, &number->bits, 4);
    else if (number->width == 2)
        memcpy(output, &number->bits, 2);
    else
        memcpy(output, &number->bits, 1);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Short ones only. */
INLINE bool enter(struct reading *reading)
{
    if (reading->at == reading->end || (*reading->at & 0xf0) != 0x90)
        return false;
    *reading->outer++ = (struct outer){.count = *reading->at++ & 0x0f, .items = reading->items + 1};
    reading->items = 0;
    return true;
}

/* Where the format has more items than the array, they were read from behind it: it shows here. */
INLINE bool leave(struct reading *reading)
{
    reading->outer--;
    if (reading->outer->count != reading->items)
        return false;
    reading->items = reading->outer->items;
    return true;
}

/* ---- the one pass ---------------------------------------------------------------------------- */

INLINE bool read_letters(struct reading *reading, const char *format, const struct number *last,
                         const struct outer *outermost, const struct outer *innermost)
{
    for (; *format != '\0'; format++) {
        const struct letter *letter = &letters[(unsigned char)*format];

        if (letter->width != 0) {
            if (reading->next == last || !read_number(reading, letter))
                return false;
            reading->next++;
            reading->items++;
        } else if (*format == '[') {
            if (reading->outer == innermost || !enter(reading))
                return false;
        } else if (*format != ']' || reading->outer == outermost || !leave(reading)) {
            return false;
        }
    }
    return reading->at == reading->end && reading->outer == outermost;
}

/* true: unpacked. false: nothing was done, and nothing is decided. */
INLINE bool unpack_numbers(const uint8_t *bytes, size_t size, const char *format, bool tuple,
                           va_list args)
{
    struct number numbers[NUMBERS_MAX];
    struct outer outer[1 + DEPTH_MAX]; /* the first for the tuple, or for nothing */
    struct reading reading = {.at = bytes, .end = bytes + size, .next = numbers, .outer = outer};

    if (tuple && !enter(&reading))
        return false;
    reading.outer = outer + 1;
    if (!read_letters(&reading, format, numbers + NUMBERS_MAX, outer + 1, outer + 1 + DEPTH_MAX))
        return false;
    if (tuple && outer[0].count != reading.items)
        return false;
    for (const struct number *number = numbers; number < reading.next; number++)
        store(va_arg(args, void *), number);
    return true;
}

int tine__vunpack(const void *bytes, size_t size, const char *format, bool tuple, va_list args,
                  struct tine__texts *texts)
{
    if (format != NULL && size > 0 && bytes != NULL &&
        unpack_numbers(bytes, size, format, tuple, args))
        return 0;
    return tine__vunpack_anything(bytes, size, format, tuple, args, texts);
}
