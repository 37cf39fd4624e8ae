/* SPDX-License-Identifier: MIT */
/*
 * Why arguments do not fit the format that asks for them, in words for who wrote the two.
 *
 * tine_unpack (lib/unpack.c) only says that they don't, and is fast. This walks over the same heads
 * again, stops at the first that is of another kind than its letter, or out of its range, and says
 * so. It reads nothing but heads, trusts none of them, and keeps nothing.
 */
#include "lib/explain.h"

#include <float.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <tine/error.h>

#include "lib/codec.h"
#include "lib/msgpack_head.h"

struct level {
    uint64_t left; /* values due before its bracket closes */
    uint64_t count;
};

struct walk {
    const uint8_t *at, *end;
    const char *letter; /* of the format, and how many characters it has */
    int length;
    unsigned depth;
    struct level levels[1 + TINE__FORMAT_DEPTH];
    uint64_t argument; /* which one, from 1 */
    char *text;
    size_t room;
};

/* ---- words ----------------------------------------------------------------------------------- */

static const char *name_extension(int type)
{
    switch (type) {
    case TINE__EXT_POINTER:
        return "a pointer";
    case TINE__EXT_DESCRIPTOR:
        return "a descriptor";
    case TINE__EXT_FUNCTION:
        return "a function";
    case TINE__EXT_HANDLE:
        return "a tine object";
    default:
        return "an extension value";
    }
}

static const char *name(const struct tine__head *head)
{
    static const char *const names[] = {
        [TINE__NIL] = "nil",         [TINE__BOOL] = "a bool",
        [TINE__UINT] = "an integer", [TINE__NEGATIVE] = "an integer",
        [TINE__FLOAT32] = "a float", [TINE__FLOAT64] = "a double",
        [TINE__STR] = "a string",    [TINE__BIN] = "bytes",
        [TINE__ARRAY] = "an array",  [TINE__MAP] = "a map"};

    return head->kind == TINE__EXT ? name_extension(head->ext_type) : names[head->kind];
}

/* Always false. */
TINE_PRINTF(2, 3) static bool say(const struct walk *walk, const char *format, ...)
{
    int length = snprintf(walk->text, walk->room, "argument %" PRIu64 ": '%.*s' wanted, ",
                          walk->argument, walk->length, walk->letter);
    va_list args;

    va_start(args, format);
    if (length > 0 && (size_t)length < walk->room)
        vsnprintf(walk->text + length, walk->room - (size_t)length, format, args);
    va_end(args);
    return false;
}

static bool say_range(const struct walk *walk, const struct tine__head *head)
{
    if (head->kind == TINE__UINT)
        return say(walk, "found %" PRIu64 ", which is out of its range", head->number);
    if (head->kind == TINE__NEGATIVE)
        return say(walk, "found %" PRId64 ", which is out of its range", (int64_t)head->number);
    return say(walk, "found a double that is out of its range");
}

/* ---- does a value fit its letter? ------------------------------------------------------------ */

static int fit_integer(char letter, const struct tine__head *head)
{
    static const char letters[] = "bhiq", unsigned_letters[] = "BHIQ";
    const char *found = strchr(letters, letter);
    uint64_t value;
    int64_t number;
    int bits;

    if (found == NULL) {
        bits = 8 << (strchr(unsigned_letters, letter) - unsigned_letters);
        return tine__head_to_unsigned(head, UINT64_MAX >> (64 - bits), &value);
    }
    bits = 8 << (found - letters);
    return tine__head_to_signed(head, INT64_MIN >> (64 - bits), INT64_MAX >> (64 - bits), &number);
}

static int fit_floating(char letter, const struct tine__head *head)
{
    double value = 0;
    int digits = letter == 'f' ? FLT_MANT_DIG : DBL_MANT_DIG;
    int rc = tine__head_to_double(head, (int64_t)1 << digits, &value);

    if (rc == 0 && letter == 'f' && value - value == 0 && (value > FLT_MAX || value < -FLT_MAX))
        return -ERANGE;
    return rc;
}

static bool is_extension(const struct tine__head *head, int type)
{
    return head->kind == TINE__EXT && head->ext_type == type;
}

static bool is_kind(char letter, const struct tine__head *head)
{
    switch (letter) {
    case '?':
        return head->kind == TINE__BOOL;
    case 's':
        return head->kind == TINE__STR;
    case 'y':
        return head->kind == TINE__BIN || head->kind == TINE__STR;
    case 'a':
        return head->kind == TINE__BIN;
    case 'n':
        return head->kind == TINE__NIL;
    case 'p':
        return head->kind == TINE__NIL || is_extension(head, TINE__EXT_POINTER);
    case 'c':
        return head->kind == TINE__NIL || is_extension(head, TINE__EXT_FUNCTION);
    case 'o':
        return head->kind == TINE__NIL || is_extension(head, TINE__EXT_HANDLE);
    case 'F':
        return is_extension(head, TINE__EXT_DESCRIPTOR);
    case '[':
        return head->kind == TINE__ARRAY;
    default: /* { */
        return head->kind == TINE__MAP;
    }
}

/* 0, TINE_EFORMAT (of another kind), -ERANGE. */
static int fit(char letter, const struct tine__head *head)
{
    if (strchr("bBhHiIqQ", letter) != NULL)
        return fit_integer(letter, head);
    if (letter == 'f' || letter == 'd')
        return fit_floating(letter, head);
    return is_kind(letter, head) ? 0 : TINE_EFORMAT;
}

/* ---- the walk: false where there is no going on ---------------------------------------------- */

static bool say_none_left(const struct walk *walk)
{
    if (walk->depth > 0)
        return say(walk, "found the end of what it is in");
    return say(walk, "there are only %" PRIu64, walk->levels[0].count);
}

static bool open_bracket(struct walk *walk, const struct tine__head *head)
{
    uint64_t count = tine__head_children(head);

    if (walk->depth == TINE__FORMAT_DEPTH)
        return false;
    walk->levels[++walk->depth] = (struct level){.left = count, .count = count};
    return true;
}

static bool close_bracket(struct walk *walk)
{
    struct tine__head head;

    if (walk->depth == 0)
        return false;
    if (walk->levels[walk->depth--].left == 0)
        return true;
    return tine__head_read(walk->at, (size_t)(walk->end - walk->at), &head) &&
           say(walk, "found %s", name(&head));
}

static bool pass_value(struct walk *walk)
{
    size_t size;

    if (tine__value_size(walk->at, (size_t)(walk->end - walk->at), &tine__limits_depth_only,
                         &size) < 0)
        return false;
    walk->at += size;
    return true;
}

static bool pass_letter(struct walk *walk)
{
    struct level *level = &walk->levels[walk->depth];
    char letter = *walk->letter;
    struct tine__head head;
    int rc;

    walk->argument += walk->depth == 0;
    if (level->left == 0)
        return say_none_left(walk);
    level->left--;
    if (letter == 'v')
        return pass_value(walk);
    if (!tine__head_read(walk->at, (size_t)(walk->end - walk->at), &head))
        return false;
    rc = fit(letter, &head);
    if (rc < 0)
        return rc == -ERANGE ? say_range(walk, &head) : say(walk, "found %s", name(&head));
    walk->at += head.size + tine__head_payload(&head);
    return strchr("[{", letter) == NULL || open_bracket(walk, &head);
}

static bool pass(struct walk *walk)
{
    char letter = *walk->letter;

    walk->length = strchr("ao", letter) != NULL && walk->letter[1] != '\0' ? 2 : 1;
    if (letter == ' ')
        return true;
    if (letter == ']' || letter == '}')
        return close_bracket(walk);
    if (strchr("?bBhHiIqQfdsyvnapcFo[{", letter) == NULL) {
        walk->argument += walk->depth == 0;
        return say(walk, "which is no letter of a format");
    }
    return pass_letter(walk);
}

void tine__explain_arguments(const void *bytes, size_t size, const char *format, char *text,
                             size_t room)
{
    struct walk walk = {.at = bytes, .letter = format, .text = text, .room = room};
    struct tine__head head;

    text[0] = '\0';
    if (bytes == NULL || !tine__head_read(bytes, size, &head) || head.kind != TINE__ARRAY)
        return;
    walk.at += head.size;
    walk.end = (const uint8_t *)bytes + size;
    walk.levels[0] = (struct level){.left = head.number, .count = head.number};
    for (; *walk.letter != '\0'; walk.letter += walk.length)
        if (!pass(&walk))
            return;
    if (walk.depth == 0 && walk.levels[0].left > 0)
        snprintf(text, room, "%" PRIu64 " arguments wanted, there are %" PRIu64, walk.argument,
                 head.number);
}
