/* SPDX-License-Identifier: MIT */
/*
 * tine_pack: a format and C values to msgpack bytes in a tine_buffer.
 *
 * The bytes are made by msgpack-c: its packer is a template over "append these bytes to that
 * target", which the library instantiates with a callback (8 ns an element), and this file with a
 * plain copy to a cursor (1 ns). So this is the only file that includes msgpack-c. Reading is not
 * through msgpack-c, see lib/prescan.c; tests/lib/test_codec_msgpack.c holds both against it.
 *
 * Letters whose bytes have a bound are packed in runs: room for one is looked for before it, so the
 * stores need no checks, and the cursor is a local that stays in a register. A container's head is
 * one byte until its bracket closes; only one of more than 15 items has its bytes moved up for a
 * longer head.
 */
#include "lib/codec.h"

#include <tine/error.h>

#include "lib/function.h"
#include "lib/handle.h"

#include <errno.h>
#include <endian.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* What msgpack-c writes to: a cursor with room behind it. */
static inline int append(uint8_t **at, const void *bytes, size_t size)
{
    memcpy(*at, bytes, size);
    *at += size;
    return 0;
}

#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>
#include <msgpack/pack_define.h>
#define msgpack_pack_inline_func(name)                static inline int msgpack_pack##name
#define msgpack_pack_inline_func_cint(name)           static inline int msgpack_pack##name
#define msgpack_pack_inline_func_fixint(name)         static inline int msgpack_pack_fix##name
#define msgpack_pack_user                             uint8_t **
#define msgpack_pack_append_buffer(user, bytes, size) return append(user, bytes, size)
#include <msgpack/pack_template.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "`a` borrows arrays from the bytes, which are little-endian");

/* The cursor stays in a register only as long as nobody has its address. */
#define INLINE static inline __attribute__((always_inline))

enum {
    SHORT_MAX = 31, /* the longest string whose head is one byte */
    SHORT_ARRAY_MAX = 15,
    ROOM = 40, /* bytes always there for a head, a number, a pointer or a short string */
    OTHER = 1, /* put_simple: not a letter of mine */
};

struct writer {
    uint8_t *at;
    uint8_t *end;
    tine_buffer *out;
};

/* A bracket that is still open; the outermost one is not written. */
struct frame {
    size_t head;    /* where its head byte is */
    uint64_t items; /* so far */
    char close;     /* the bracket that ends it; 0: the end of the format */
};

struct packer {
    struct writer writer;
    const char *format;
    const char *text; /* taken from the arguments, but too long for put_simple */
    struct tine__arguments *args;
    struct frame *frame; /* the innermost */
    struct frame frames[1 + TINE__FORMAT_DEPTH];
};

static size_t written(const struct writer *writer)
{
    return (size_t)(writer->at - writer->out->data);
}

/* Makes room for `more` bytes and a head behind them. */
static int grow(struct writer *writer, size_t more)
{
    tine_buffer *out = writer->out;
    size_t before = out->size, size = written(writer);
    int rc;

    if (more > SIZE_MAX - ROOM)
        return -ENOMEM;
    out->size = size; /* what reserve has to keep */
    rc = tine__buffer_reserve(out, more + ROOM);
    out->size = before;
    writer->at = out->data + size;
    writer->end = out->data + out->capacity;
    return rc;
}

static inline int room(struct writer *writer, size_t more)
{
    size_t left = (size_t)(writer->end - writer->at);

    if (left >= ROOM && left - ROOM >= more)
        return 0;
    return grow(writer, more);
}

/* ---- letters whose size has no bound --------------------------------------------------------- */

/* Bytes behind their head. */
static int put_body(struct writer *writer, const void *bytes, size_t size)
{
    int rc = room(writer, size);

    if (rc == 0 && size > 0)
        append(&writer->at, bytes, size);
    return rc;
}

static int put_string(struct writer *writer, const char *text)
{
    size_t size = strlen(text);

    if (size > UINT32_MAX)
        return -EOVERFLOW;
    msgpack_pack_str(&writer->at, size);
    return put_body(writer, text, size);
}

static int put_bytes(struct writer *writer, const void *bytes, size_t size)
{
    if (bytes == NULL && size > 0)
        return -EINVAL;
    if (size > UINT32_MAX)
        return -EOVERFLOW;
    msgpack_pack_bin(&writer->at, size);
    return put_body(writer, bytes, size);
}

static int put_value(struct writer *writer, const void *bytes, size_t size)
{
    size_t value_size;
    int rc = tine__value_size(bytes, size, &tine__limits_depth_only, &value_size);

    if (rc < 0)
        return rc;
    if (value_size != size)
        return TINE_EFORMAT;
    return put_body(writer, bytes, size);
}

static int put_array(struct writer *writer, char letter, const void *elements, size_t count)
{
    size_t width = tine__letter_width(letter);

    if (width == 0)
        return -EINVAL;
    if (count > UINT32_MAX / width)
        return -EOVERFLOW;
    return put_bytes(writer, elements, count * width);
}

static int put_ext(struct writer *writer, int8_t type, uint64_t number)
{
    number = htole64(number);
    msgpack_pack_ext(&writer->at, sizeof number, type);
    return append(&writer->at, &number, sizeof number);
}

static int put_pointer(struct writer *writer, const void *pointer)
{
    const struct tine__pointers *hooks = tine__codec_pointers();
    uint64_t offset;

    if (pointer == NULL)
        return msgpack_pack_nil(&writer->at);
    if (hooks == NULL || hooks->offset_of(pointer, &offset) < 0)
        return -EINVAL;
    return put_ext(writer, TINE__EXT_POINTER, offset);
}

static int put_function(struct writer *writer, tine_any_function *function)
{
    struct tine__function_wire wire;
    int rc;

    if (function == NULL)
        return msgpack_pack_nil(&writer->at);
    rc = tine__function_describe(function, &wire);
    if (rc < 0)
        return rc;
    msgpack_pack_ext(&writer->at, sizeof wire, TINE__EXT_FUNCTION);
    return put_body(writer, &wire, sizeof wire);
}

static int put_descriptor(struct packer *packer, int fd)
{
    struct tine__descriptors *descriptors = packer->args->descriptors;
    uint64_t number;
    int rc = descriptors == NULL ? -EINVAL : descriptors->keep(descriptors, fd, &number);

    return rc < 0 ? rc : put_ext(&packer->writer, TINE__EXT_DESCRIPTOR, number);
}

static int put_handle(struct packer *packer, char letter, const void *handle)
{
    struct tine__handle_wire wire;
    int rc;

    if (handle == NULL)
        return msgpack_pack_nil(&packer->writer.at);
    rc = tine__handle_pack(packer->args->descriptors, letter, handle, &wire);
    if (rc < 0)
        return rc;
    msgpack_pack_ext(&packer->writer.at, sizeof wire, TINE__EXT_HANDLE);
    return put_body(&packer->writer, &wire, sizeof wire);
}

/* ---- brackets -------------------------------------------------------------------------------- */

static inline void push_frame(struct frame **frame, size_t head, char close)
{
    (*frame)++;
    (*frame)->head = head;
    (*frame)->items = 0;
    (*frame)->close = close;
}

static int open_bracket(struct packer *packer, char close)
{
    if (packer->frame == &packer->frames[TINE__FORMAT_DEPTH])
        return -ELOOP;
    push_frame(&packer->frame, written(&packer->writer), close);
    packer->writer.at++;
    return 0;
}

/* Writes the head of the items that came since the bracket opened. */
static int put_head(struct packer *packer, const struct frame *frame)
{
    struct writer *writer = &packer->writer;
    uint8_t *head = writer->out->data + frame->head;
    uint64_t count = frame->close == '}' ? frame->items / 2 : frame->items;
    size_t extra = 0;

    if (count > UINT32_MAX)
        return -EOVERFLOW;
    if (count > 15) {
        extra = count > UINT16_MAX ? 4 : 2;
        memmove(head + 1 + extra, head + 1, (size_t)(writer->at - head) - 1);
        writer->at += extra;
    }
    return frame->close == '}' ? msgpack_pack_map(&head, count) : msgpack_pack_array(&head, count);
}

static int close_bracket(struct packer *packer, char close)
{
    const struct frame *frame = packer->frame;

    if (frame->close != close) /* nor has the outermost one */
        return -EINVAL;
    if (close == '}' && frame->items % 2 != 0)
        return -EINVAL; /* a key without its value */
    packer->frame--;
    return put_head(packer, frame);
}

/* ---- letters of at most ROOM bytes: their cursor is a local of the loop, and so in a register  */

INLINE int put_narrow(uint8_t **at, int value, int min, int max)
{
    if (value < min || value > max)
        return -ERANGE;
    return msgpack_pack_int32(at, value);
}

INLINE int put_float(uint8_t **at, double value)
{
    if (isfinite(value) && fabs(value) > FLT_MAX)
        return -ERANGE;
    return msgpack_pack_float(at, (float)value);
}

/* Most strings are keys and names: copied while their end is looked for, without a call. */
INLINE bool put_short(uint8_t **at, const char *text)
{
    size_t size;

    for (size = 0; size <= SHORT_MAX && text[size] != '\0'; size++)
        (*at)[1 + size] = (uint8_t)text[size];
    if (size > SHORT_MAX)
        return false;
    msgpack_pack_str(at, size); /* the one byte left free */
    *at += size;
    return true;
}

/* 0 done, OTHER: none of these letters; or a long string, which then stands in *text. */
INLINE int put_simple(uint8_t **at, char letter, struct tine__arguments *args, const char **text)
{
    switch (letter) {
    case '?':
        return va_arg(args->list, int) != 0 ? msgpack_pack_true(at) : msgpack_pack_false(at);
    case 'b':
        return put_narrow(at, va_arg(args->list, int), INT8_MIN, INT8_MAX);
    case 'B':
        return put_narrow(at, va_arg(args->list, int), 0, UINT8_MAX);
    case 'h':
        return put_narrow(at, va_arg(args->list, int), INT16_MIN, INT16_MAX);
    case 'H':
        return put_narrow(at, va_arg(args->list, int), 0, UINT16_MAX);
    case 'i':
        return msgpack_pack_int32(at, va_arg(args->list, int32_t));
    case 'I':
        return msgpack_pack_uint32(at, va_arg(args->list, uint32_t));
    case 'q':
        return msgpack_pack_int64(at, va_arg(args->list, int64_t));
    case 'Q':
        return msgpack_pack_uint64(at, va_arg(args->list, uint64_t));
    case 'f':
        return put_float(at, va_arg(args->list, double));
    case 'd':
        return msgpack_pack_double(at, va_arg(args->list, double));
    case 'n':
        return msgpack_pack_nil(at);
    case 's':
        *text = va_arg(args->list, const char *);
        if (*text == NULL)
            return -EINVAL;
        return put_short(at, *text) ? 0 : OTHER;
    default:
        return OTHER;
    }
}

/* Arrays whose head is one byte, as most are; false: another bracket, or none. */
INLINE bool put_bracket(uint8_t **at, char letter, struct packer *packer, struct frame **frame)
{
    uint8_t *head;

    if (letter == '[' && *frame < &packer->frames[TINE__FORMAT_DEPTH]) {
        (*frame)->items++;
        push_frame(frame, (size_t)(*at - packer->writer.out->data), ']');
        (*at)++;
        return true;
    }
    if (letter != ']' || (*frame)->close != ']' || (*frame)->items > SHORT_ARRAY_MAX)
        return false;
    head = packer->writer.out->data + (*frame)->head;
    msgpack_pack_array(&head, (*frame)->items);
    (*frame)--;
    return true;
}

/* As many of them as come, and as there is room for. 0 room is needed, OTHER, or negative. */
static inline int pack_simple(struct packer *packer)
{
    uint8_t *at = packer->writer.at;
    const uint8_t *last = packer->writer.end - ROOM;
    struct tine__arguments *args = packer->args;
    struct frame *frame = packer->frame;
    const char *format = packer->format;
    int rc = 0;

    for (; at <= last; format++) {
        if (put_bracket(&at, *format, packer, &frame))
            continue;
        rc = put_simple(&at, *format, args, &packer->text);
        if (rc != 0)
            break;
        frame->items++;
    }
    packer->frame = frame;
    packer->writer.at = at;
    packer->format = format;
    return rc;
}

/* ---- all letters ----------------------------------------------------------------------------- */

static int put_item(struct packer *packer, char letter)
{
    struct writer *writer = &packer->writer;
    const void *bytes;

    switch (letter) {
    case 's':
        return put_string(writer, packer->text);
    case 'y':
        bytes = va_arg(packer->args->list, const void *);
        return put_bytes(writer, bytes, va_arg(packer->args->list, size_t));
    case 'v':
        bytes = va_arg(packer->args->list, const void *);
        return put_value(writer, bytes, va_arg(packer->args->list, size_t));
    case 'o':
        letter = *packer->format;
        if (letter == '\0')
            return -EINVAL;
        packer->format++;
        return put_handle(packer, letter, va_arg(packer->args->list, const void *));
    case 'a':
        letter = *packer->format;
        if (letter == '\0')
            return -EINVAL;
        packer->format++;
        bytes = va_arg(packer->args->list, const void *);
        return put_array(writer, letter, bytes, va_arg(packer->args->list, size_t));
    case 'p':
        return put_pointer(writer, va_arg(packer->args->list, const void *));
    case 'c':
        return put_function(writer, va_arg(packer->args->list, tine_any_function *));
    case 'F':
        return put_descriptor(packer, va_arg(packer->args->list, int));
    case '[':
        return open_bracket(packer, ']');
    case '{':
        return open_bracket(packer, '}');
    default:
        return -EINVAL;
    }
}

static int pack_letters(struct packer *packer)
{
    for (;;) {
        char letter;
        int rc = room(&packer->writer, 0);

        if (rc == 0)
            rc = pack_simple(packer);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        letter = *packer->format++;
        if (letter == '\0')
            return packer->frame > packer->frames ? -EINVAL : 0;
        if (letter == ' ')
            continue;
        if (letter == ']' || letter == '}') {
            rc = close_bracket(packer, letter);
        } else {
            packer->frame->items++;
            rc = put_item(packer, letter);
        }
        if (rc < 0)
            return rc;
    }
}

static __attribute__((noinline)) int pack_several(tine_buffer *out, const char *format, bool tuple,
                                                  struct tine__arguments *args)
{
    struct packer packer;
    int rc;

    rc = tine__buffer_has_room(out, ROOM) ? 0 : tine__buffer_reserve(out, ROOM);
    if (rc < 0)
        return rc;
    packer.writer =
        (struct writer){.at = out->data + out->size, .end = out->data + out->capacity, .out = out};
    packer.format = format;
    packer.args = args;
    packer.frame = packer.frames;
    packer.frames[0] = (struct frame){.head = out->size};
    if (tuple)
        packer.writer.at++;
    rc = pack_letters(&packer);
    if (rc == 0 && tuple)
        rc = put_head(&packer, &packer.frames[0]);
    if (rc == 0)
        out->size = written(&packer.writer);
    return rc;
}

/* A single number, as most results are, needs no packer: 0, OTHER, or negative. */
static inline int pack_one(tine_buffer *out, char letter, struct tine__arguments *args)
{
    uint8_t *at = out->data + out->size;
    const char *text;
    int rc = put_simple(&at, letter, args, &text);

    if (rc == 0)
        out->size = (size_t)(at - out->data);
    return rc;
}

int tine__pack(tine_buffer *out, const char *format, bool tuple, struct tine__arguments *args)
{
    int rc = OTHER;

    if (format == NULL)
        return -EINVAL;
    /* no string: a long one would be taken from the arguments */
    if (!tuple && format[0] != '\0' && format[0] != 's' && format[1] == '\0' &&
        tine__buffer_has_room(out, ROOM))
        rc = pack_one(out, format[0], args);
    return rc == OTHER ? pack_several(out, format, tuple, args) : rc;
}

int tine_vpack(tine_buffer *out, const char *format, va_list args)
{
    struct tine__arguments copy;
    int rc;

    copy.descriptors = NULL;
    va_copy(copy.list, args);
    rc = tine__pack(out, format, false, &copy);
    va_end(copy.list);
    return rc;
}

int tine_pack(tine_buffer *out, const char *format, ...)
{
    struct tine__arguments args;
    int rc;

    args.descriptors = NULL;
    va_start(args.list, format);
    rc = tine__pack(out, format, false, &args);
    va_end(args.list);
    return rc;
}
