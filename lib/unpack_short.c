/* SPDX-License-Identifier: MIT */
/*
 * Unpacking of messages that are a few numbers and short strings, as most arguments and results
 * are: in one pass.
 *
 * Values are read into a list and stored from there, once everything has been found to fit. This
 * pass only ever says yes. Whatever it does not like, a letter, a form of a number, the bytes or
 * the count, is left to the two passes of lib/unpack.c, which decide what is wrong, if anything is.
 * So it may know as little as it likes, but what it accepts must be what they accept:
 * tests/lib/test_codec_short.c holds it against them.
 */
#include "lib/codec.h"

#include "lib/msgpack_head.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "narrow numbers are stored by their first bytes");

/* A reading costs as much as its state moves between registers and memory, so all of it is one
   function in the end. */
#define INLINE static inline __attribute__((always_inline))

enum {
    VALUES_MAX = 16,
    DEPTH_MAX = 4,
    OTHER = 1, /* nothing for the short way */
};

/* What the letters known here ask for. */
struct letter {
    uint64_t max;  /* of an integer; where it has a sign, the least is -max - 1 */
    uint8_t width; /* of the C type; 0: not known here */
    bool integer, has_sign, text;
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
    ['s'] = {.width = sizeof(char *), .text = true},
};

struct value {
    uint64_t bits; /* of a number; of a string first its address in the message, then of its copy */
    uint32_t width;  /* of the C type */
    uint32_t length; /* of a string + 1; 0: a number */
};

struct outer {
    uint64_t count; /* of the array that was entered */
    uint64_t items; /* seen before it, itself included */
};

struct reading {
    const uint8_t *at;
    const uint8_t *end;
    struct value *next;  /* behind the last one read */
    uint64_t items;      /* of this array, seen so far */
    struct outer *outer; /* behind the innermost */
    bool has_texts;
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

/* Those with a head of one byte. */
INLINE bool read_text(struct reading *reading, uint64_t *value)
{
    uint32_t length = *reading->at & 0x1f;

    if ((*reading->at & 0xe0) != 0xa0 || (size_t)(reading->end - reading->at) <= length ||
        memchr(reading->at + 1, '\0', length) != NULL)
        return false;
    *value = (uint64_t)(uintptr_t)(reading->at + 1);
    reading->next->length = length + 1;
    reading->at += 1 + length;
    reading->has_texts = true;
    return true;
}

INLINE bool read_value(struct reading *reading, const struct letter *letter)
{
    uint64_t *value = &reading->next->bits;

    if (reading->at == reading->end)
        return false;
    reading->next->width = letter->width;
    reading->next->length = 0;
    if (letter->integer)
        return read_integer(reading, letter, value);
    if (letter->text)
        return read_text(reading, value);
    if (letter->width == sizeof(double))
        return read_floating(reading, 0xcb, sizeof(double), value);
    if (letter->width == sizeof(float))
        return read_floating(reading, 0xca, sizeof(float), value);
    return read_bool(reading, value);
}

INLINE void store(void *output, const struct value *value)
{
    if (output == NULL)
        return;
    if (value->width == 8)
        memcpy(output, &value->bits, 8);
    else if (value->width == 4)
        memcpy(output, &value->bits, 4);
    else if (value->width == 2)
        memcpy(output, &value->bits, 2);
    else
        memcpy(output, &value->bits, 1);
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

INLINE bool read_letters(struct reading *reading, const char *format, const struct value *last,
                         const struct outer *outermost, const struct outer *innermost)
{
    for (; *format != '\0'; format++) {
        const struct letter *letter = &letters[(unsigned char)*format];

        if (letter->width != 0) {
            if (reading->next == last || !read_value(reading, letter))
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

static bool copy_text(struct value *value, struct tine__texts *texts)
{
    const void *bytes = (const void *)(uintptr_t)value->bits;

    value->bits = (uint64_t)(uintptr_t)tine__text_copy(bytes, value->length - 1, texts);
    return value->bits != 0;
}

static void free_copies(const struct value *first, const struct value *end)
{
    for (; first < end; first++)
        if (first->length > 0)
            free((void *)(uintptr_t)first->bits); /* of the one that failed: NULL */
}

/* Exchanges strings for copies of them, where they are wanted. All, or none: -ENOMEM. */
static int copy_texts(struct value *first, const struct value *end, va_list args,
                      struct tine__texts *texts)
{
    struct tine__texts made = {0};
    struct value *value;
    va_list outputs;
    bool copied = true, owned = tine__texts_owned(texts);

    va_copy(outputs, args);
    for (value = first; value < end && copied; value++) {
        if (va_arg(outputs, void *) == NULL)
            value->length = 0;
        if (value->length > 0)
            copied = copy_text(value, owned ? &made : NULL);
    }
    va_end(outputs);
    if (!copied && !owned)
        free_copies(first, value);
    else if (!copied)
        tine__texts_free(&made);
    else if (owned)
        tine__texts_move(&made, texts);
    return copied ? 0 : -ENOMEM;
}

/* 0, -ENOMEM, or OTHER: nothing was done, and nothing is decided. */
INLINE int unpack_list(const uint8_t *bytes, size_t size, const char *format, bool tuple,
                       va_list args, struct tine__texts *texts)
{
    struct value values[VALUES_MAX];
    struct outer outer[1 + DEPTH_MAX]; /* the first for the tuple, or for nothing */
    struct reading reading = {.at = bytes, .end = bytes + size, .next = values, .outer = outer};
    int rc = 0;

    if (tuple && !enter(&reading))
        return OTHER;
    reading.outer = outer + 1;
    if (!read_letters(&reading, format, values + VALUES_MAX, outer + 1, outer + 1 + DEPTH_MAX))
        return OTHER;
    if (tuple && outer[0].count != reading.items)
        return OTHER;
    if (reading.has_texts)
        rc = copy_texts(values, reading.next, args, texts);
    for (const struct value *value = values; rc == 0 && value < reading.next; value++)
        store(va_arg(args, void *), value);
    return rc;
}

/* The same for a single number, as most results are. */
INLINE bool read_one(const uint8_t *bytes, size_t size, const struct letter *letter,
                     struct value *value)
{
    struct reading reading = {.at = bytes, .end = bytes + size, .next = value};

    return read_value(&reading, letter) && reading.at == reading.end;
}

/* Out of line, for a single number needs no such frame. */
static __attribute__((noinline)) int unpack_several(const void *bytes, size_t size,
                                                    const char *format, bool tuple, va_list args,
                                                    struct tine__texts *texts)
{
    int rc = unpack_list(bytes, size, format, tuple, args, texts);

    return rc == OTHER ? tine__vunpack_anything(bytes, size, format, tuple, args, texts) : rc;
}

int tine__vunpack(const void *bytes, size_t size, const char *format, bool tuple, va_list args,
                  struct tine__texts *texts)
{
    const struct letter *letter;
    struct value value;

    if (format == NULL || bytes == NULL)
        return tine__vunpack_anything(bytes, size, format, tuple, args, texts);
    letter = &letters[(unsigned char)format[0]];
    if (tuple || letter->width == 0 || letter->text || format[1] != '\0' ||
        !read_one(bytes, size, letter, &value))
        return unpack_several(bytes, size, format, tuple, args, texts);
    store(va_arg(args, void *), &value);
    return 0;
}
