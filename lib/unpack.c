/* SPDX-License-Identifier: MIT */
/*
 * tine_unpack: msgpack bytes and a format to C values.
 *
 * Two passes over the same walk. The first checks every byte and every letter and makes the copies
 * that `s` asks for, so it is the one that can fail; the second stores, and cannot. Only heads are
 * read twice. What the format leaves open, `v`, is checked by the prescan; everything else has the
 * shape of the format, whatever the bytes claim.
 */
#include "lib/codec.h"

#include <tine/error.h>

#include "lib/checked.h"
#include "lib/function.h"
#include "lib/handle.h"
#include "lib/msgpack_head.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

/* A copy of a string. The caller's own starts at the link, which only the first pass needs. */
struct tine__text {
    struct tine__text *next;
    char bytes[];
};

struct frame {
    uint64_t left; /* items due before its bracket closes */
    char close;
};

struct walk {
    const uint8_t *at;
    const uint8_t *end;
    const char *format;
    struct tine__text **text_end; /* where the next copy is linked in, or found again */
    bool storing;
    bool texts_owned;                      /* a handle frees the copies, not the caller */
    struct tine__descriptors *descriptors; /* NULL: no `F` here */
    bool family;                           /* `c` is allowed */
    unsigned depth;
    struct frame frames[1 + TINE__FORMAT_DEPTH];
    va_list args;
};

/* ---- copies of strings ----------------------------------------------------------------------- */

static void free_texts(struct tine__text *text)
{
    while (text != NULL) {
        struct tine__text *next = text->next;

        free(text);
        text = next;
    }
}

void tine__texts_free(struct tine__texts *texts)
{
    free_texts(texts->first);
    texts->first = NULL;
}

void tine__texts_move(struct tine__texts *from, struct tine__texts *to)
{
    struct tine__text **end = &from->first;

    while (*end != NULL)
        end = &(*end)->next;
    *end = to->first;
    to->first = from->first;
    from->first = NULL;
}

char *tine__text_copy(const void *bytes, size_t length, struct tine__texts *texts)
{
    struct tine__text *text = NULL;
    char *copy;

    if (!tine__texts_owned(texts)) {
        copy = malloc(length + 1);
    } else {
        text = malloc(sizeof *text + length + 1);
        copy = text == NULL ? NULL : text->bytes;
    }
    if (copy == NULL)
        return NULL;
    if (text != NULL) {
        text->next = texts->first;
        texts->first = text;
    }
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

static int make_text(struct walk *walk, size_t length)
{
    size_t size;
    struct tine__text *text;

    if (!tine__add_size(length, sizeof *text + 1, &size))
        return -ENOMEM;
    text = malloc(size);
    if (text == NULL)
        return -ENOMEM;
    text->next = NULL;
    *walk->text_end = text;
    walk->text_end = &text->next;
    return 0;
}

/* The copy made for this string in the first pass, filled. */
static char *take_text(struct walk *walk, const uint8_t *bytes, size_t length)
{
    struct tine__text *text = *walk->text_end;
    char *copy = walk->texts_owned ? text->bytes : (char *)text;

    if (walk->texts_owned)
        walk->text_end = &text->next;
    else
        *walk->text_end = text->next;
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

/* ---- numbers --------------------------------------------------------------------------------- */

#define STORE(type, number)                                                                        \
    do {                                                                                           \
        type *output = va_arg(walk->args, type *);                                                 \
        if (rc == 0 && walk->storing && output != NULL)                                            \
            *output = (type)(number);                                                              \
        return rc;                                                                                 \
    } while (0)

static int get_signed(struct walk *walk, char letter, const struct tine__head *head)
{
    int64_t value = 0;
    int rc;

    switch (letter) {
    case 'b':
        rc = tine__head_to_signed(head, INT8_MIN, INT8_MAX, &value);
        STORE(int8_t, value);
    case 'h':
        rc = tine__head_to_signed(head, INT16_MIN, INT16_MAX, &value);
        STORE(int16_t, value);
    case 'i':
        rc = tine__head_to_signed(head, INT32_MIN, INT32_MAX, &value);
        STORE(int32_t, value);
    default: /* q */
        rc = tine__head_to_signed(head, INT64_MIN, INT64_MAX, &value);
        STORE(int64_t, value);
    }
}

static int get_unsigned(struct walk *walk, char letter, const struct tine__head *head)
{
    uint64_t value = 0;
    int rc;

    switch (letter) {
    case 'B':
        rc = tine__head_to_unsigned(head, UINT8_MAX, &value);
        STORE(uint8_t, value);
    case 'H':
        rc = tine__head_to_unsigned(head, UINT16_MAX, &value);
        STORE(uint16_t, value);
    case 'I':
        rc = tine__head_to_unsigned(head, UINT32_MAX, &value);
        STORE(uint32_t, value);
    default: /* Q */
        rc = tine__head_to_unsigned(head, UINT64_MAX, &value);
        STORE(uint64_t, value);
    }
}

static int get_floating(struct walk *walk, char letter, const struct tine__head *head)
{
    bool narrow = letter == 'f';
    double value = 0;
    int rc =
        tine__head_to_double(head, (int64_t)1 << (narrow ? FLT_MANT_DIG : DBL_MANT_DIG), &value);

    if (rc == 0 && narrow && isfinite(value) && fabs(value) > FLT_MAX) {
        rc = -ERANGE;
        value = 0;
    }
    if (narrow)
        STORE(float, value);
    STORE(double, value);
}

/* ---- what points into the bytes -------------------------------------------------------------- */

static int get_bool(struct walk *walk, const struct tine__head *head)
{
    int rc = head->kind == TINE__BOOL ? 0 : TINE_EFORMAT;

    STORE(bool, head->number);
}

static int get_string(struct walk *walk, const struct tine__head *head)
{
    char **output = va_arg(walk->args, char **);
    const uint8_t *bytes = walk->at;
    size_t length = (size_t)head->number;

    if (walk->storing) {
        if (output != NULL)
            *output = take_text(walk, bytes, length);
        return 0;
    }
    if (head->kind != TINE__STR || memchr(bytes, '\0', length) != NULL)
        return TINE_EFORMAT;
    return output != NULL ? make_text(walk, length) : 0;
}

static int get_span(struct walk *walk, const uint8_t *bytes, size_t count)
{
    const void **output = va_arg(walk->args, const void **);
    size_t *output_count = va_arg(walk->args, size_t *);

    if (walk->storing && output != NULL)
        *output = bytes;
    if (walk->storing && output_count != NULL)
        *output_count = count;
    return 0;
}

static int get_bytes(struct walk *walk, const struct tine__head *head)
{
    if (head->kind != TINE__BIN && head->kind != TINE__STR)
        return TINE_EFORMAT;
    return get_span(walk, walk->at, (size_t)head->number);
}

static int get_array(struct walk *walk, const struct tine__head *head)
{
    size_t width = tine__letter_width(*walk->format);

    if (width == 0)
        return -EINVAL;
    walk->format++;
    if (head->kind != TINE__BIN || head->number % width != 0)
        return TINE_EFORMAT;
    return get_span(walk, walk->at, (size_t)head->number / width);
}

static int get_value(struct walk *walk)
{
    const uint8_t *start = walk->at;
    size_t size;
    int rc = tine__value_size(start, (size_t)(walk->end - start), &tine__limits_depth_only, &size);

    if (rc < 0)
        return rc;
    walk->at += size;
    return get_span(walk, start, size);
}

static int get_pointer(struct walk *walk, const struct tine__head *head)
{
    const struct tine__pointers *hooks = tine__codec_pointers();
    void *pointer = NULL;
    uint64_t offset;
    int rc = 0;

    if (head->kind == TINE__EXT && head->ext_type == TINE__EXT_POINTER && head->number == 8) {
        memcpy(&offset, walk->at, sizeof offset);
        if (hooks == NULL || hooks->pointer_at(le64toh(offset), &pointer) < 0)
            rc = TINE_EFORMAT;
    } else if (head->kind != TINE__NIL) {
        rc = TINE_EFORMAT;
    }
    STORE(void *, pointer);
}

/* Fetched by the first pass; the second is given the same again. */
static int get_descriptor(struct walk *walk, const struct tine__head *head)
{
    int *output = va_arg(walk->args, int *);
    uint64_t number;
    int fd, rc;

    if (walk->descriptors == NULL)
        return -EINVAL;
    if (head->kind != TINE__EXT || head->ext_type != TINE__EXT_DESCRIPTOR || head->number != 8)
        return TINE_EFORMAT;
    if (output == NULL)
        return 0;
    memcpy(&number, walk->at, sizeof number);
    rc = walk->descriptors->fetch(walk->descriptors, le64toh(number), &fd);
    if (rc == 0 && walk->storing)
        *output = fd;
    return rc;
}

/* Found by both passes: the second misses only what another thread unloads meanwhile. */
static int get_function(struct walk *walk, const struct tine__head *head)
{
    tine_any_function **output = va_arg(walk->args, tine_any_function **), *function = NULL;
    int rc = 0;

    if (!walk->family)
        return -EINVAL;
    if (head->kind == TINE__EXT && head->ext_type == TINE__EXT_FUNCTION)
        rc = tine__function_resolve(walk->at, (size_t)head->number, &function);
    else if (head->kind != TINE__NIL)
        rc = TINE_EFORMAT;
    if (rc == 0 && walk->storing && output != NULL)
        *output = function;
    return rc;
}

/* As a descriptor: the second pass is given the same again. */
static int get_handle(struct walk *walk, const struct tine__head *head)
{
    void **output = va_arg(walk->args, void **), *handle = NULL;
    char letter = *walk->format;
    int rc = 0;

    if (letter == '\0' || walk->descriptors == NULL)
        return -EINVAL;
    walk->format++;
    if (head->kind == TINE__EXT && head->ext_type == TINE__EXT_HANDLE) {
        if (output != NULL)
            rc = tine__handle_unpack(walk->descriptors, letter, walk->at, (size_t)head->number,
                                     &handle);
    } else if (head->kind != TINE__NIL) {
        rc = TINE_EFORMAT;
    }
    if (rc == 0 && walk->storing && output != NULL)
        *output = handle;
    return rc;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int enter(struct walk *walk, enum tine__kind kind, const struct tine__head *head)
{
    if (head->kind != kind)
        return TINE_EFORMAT;
    if (walk->depth == TINE__FORMAT_DEPTH)
        return -ELOOP;
    walk->frames[++walk->depth] =
        (struct frame){.left = tine__head_children(head), .close = kind == TINE__MAP ? '}' : ']'};
    return 0;
}

static int leave(struct walk *walk, char close)
{
    const struct frame *frame = &walk->frames[walk->depth];

    if (walk->depth == 0 || frame->close != close)
        return -EINVAL;
    walk->depth--;
    return frame->left == 0 ? 0 : TINE_EFORMAT;
}

static int get_letter(struct walk *walk, char letter, const struct tine__head *head)
{
    switch (letter) {
    case '?':
        return get_bool(walk, head);
    case 'b':
    case 'h':
    case 'i':
    case 'q':
        return get_signed(walk, letter, head);
    case 'B':
    case 'H':
    case 'I':
    case 'Q':
        return get_unsigned(walk, letter, head);
    case 'f':
    case 'd':
        return get_floating(walk, letter, head);
    case 's':
        return get_string(walk, head);
    case 'y':
        return get_bytes(walk, head);
    case 'a':
        return get_array(walk, head);
    case 'p':
        return get_pointer(walk, head);
    case 'c':
        return get_function(walk, head);
    case 'F':
        return get_descriptor(walk, head);
    case 'o':
        return get_handle(walk, head);
    case 'n':
        return head->kind == TINE__NIL ? 0 : TINE_EFORMAT;
    case '[':
        return enter(walk, TINE__ARRAY, head);
    case '{':
        return enter(walk, TINE__MAP, head);
    default:
        return -EINVAL;
    }
}

/* There is no value for this letter: the bytes are at fault, unless it is no letter at all. */
static int no_value(char letter)
{
    return strchr("?bBhHiIqQfdsyvnapcFo[{", letter) != NULL ? TINE_EFORMAT : -EINVAL;
}

/* One letter other than a closing bracket. */
static int get_item(struct walk *walk, char letter)
{
    struct frame *frame = &walk->frames[walk->depth];
    struct tine__head head;
    int rc;

    if (frame->left == 0)
        return no_value(letter);
    frame->left--;
    if (letter == 'v')
        return get_value(walk);
    if (!tine__head_read(walk->at, (size_t)(walk->end - walk->at), &head))
        return no_value(letter);
    walk->at += head.size;
    rc = get_letter(walk, letter, &head);
    walk->at += tine__head_payload(&head);
    return rc;
}

static int walk_letters(struct walk *walk)
{
    int rc = 0;

    while (rc == 0 && *walk->format != '\0') {
        char letter = *walk->format++;

        if (letter == ']' || letter == '}')
            rc = leave(walk, letter);
        else if (letter != ' ')
            rc = get_item(walk, letter);
    }
    if (rc < 0)
        return rc;
    if (walk->depth > 0)
        return -EINVAL;
    return walk->at == walk->end ? 0 : TINE_EFORMAT;
}

static int run_pass(struct walk *walk, const void *bytes, size_t size, const char *format,
                    bool tuple, va_list args)
{
    struct tine__head head;
    int rc;

    walk->at = bytes != NULL ? bytes : (const void *)""; /* NULL + 0 is undefined */
    walk->end = walk->at + size;
    walk->format = format;
    walk->depth = 0;
    walk->frames[0] = (struct frame){.left = UINT64_MAX};
    if (tuple) {
        if (!tine__head_read(walk->at, size, &head) || head.kind != TINE__ARRAY)
            return TINE_EFORMAT;
        walk->at += head.size;
        walk->frames[0].left = head.number;
    }
    if (walk->descriptors != NULL)
        walk->descriptors->storing = walk->storing;
    va_copy(walk->args, args);
    rc = walk_letters(walk);
    va_end(walk->args);
    if (rc == 0 && tuple && walk->frames[0].left > 0)
        return TINE_EFORMAT;
    return rc;
}

int tine__vunpack_anything(const void *bytes, size_t size, const char *format, bool tuple,
                           va_list args, struct tine__texts *texts)
{
    struct tine__text *copies = NULL;
    struct walk walk;
    int rc;

    if (format == NULL || (bytes == NULL && size > 0))
        return -EINVAL;
    walk.texts_owned = tine__texts_owned(texts);
    walk.descriptors = texts != NULL ? texts->descriptors : NULL;
    walk.family = texts != NULL && texts->family;
    walk.text_end = &copies;
    walk.storing = false;
    rc = run_pass(&walk, bytes, size, format, tuple, args);
    if (rc < 0) {
        free_texts(copies);
        return rc;
    }
    walk.text_end = &copies;
    walk.storing = true;
    rc = run_pass(&walk, bytes, size, format, tuple, args);
    if (walk.texts_owned) {
        *walk.text_end = texts->first;
        texts->first = copies;
    }
    return rc;
}

int tine_vunpack(const void *bytes, size_t size, const char *format, va_list args)
{
    return tine__vunpack(bytes, size, format, false, args, NULL);
}

int tine__vunpack_family(const void *bytes, size_t size, const char *format, va_list args)
{
    struct tine__texts texts = {.family = true, .given_away = true};

    return tine__vunpack(bytes, size, format, false, args, &texts);
}

int tine_unpack(const void *bytes, size_t size, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = tine__vunpack(bytes, size, format, false, args, NULL);
    va_end(args);
    return rc;
}
