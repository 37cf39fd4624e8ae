/* SPDX-License-Identifier: MIT */
/*
 * tine_reader: values one by one, in the order in which they lie.
 *
 * The prescan has passed over all bytes at init, so from then on every head is whole and nesting
 * fits left[]; the heads are still read with their bounds, because the decoder is the same.
 * left[depth] counts the values due in the innermost container, left[0] those at the top.
 */
#include "lib/codec.h"

#include "lib/msgpack_head.h"

#include <tine/error.h>

#include <float.h>

static int fail(tine_reader *reader, int rc)
{
    reader->error = rc;
    return rc;
}

int tine_reader_init(tine_reader *reader, const void *bytes, size_t size, const tine_limits *limits)
{
    size_t values = 0;
    int rc = tine__prescan(bytes, size, limits, &values);

    reader->at = bytes != NULL ? bytes : (const void *)""; /* NULL + 0 is undefined */
    reader->end = reader->at + (rc == 0 ? size : 0);
    reader->error = rc;
    reader->depth = 0;
    reader->left[0] = values;
    return rc;
}

int tine_reader_error(const tine_reader *reader)
{
    return reader->error;
}

/* Reads the next head without taking it. */
static int peek(const tine_reader *reader, struct tine__head *head)
{
    if (reader->error < 0)
        return reader->error;
    if (reader->left[reader->depth] == 0)
        return TINE_EFORMAT;
    if (!tine__head_read(reader->at, (size_t)(reader->end - reader->at), head))
        return TINE_EFORMAT;
    return 0;
}

/* Takes the value whose head this is; what is inside a container comes next. */
static const uint8_t *take(tine_reader *reader, const struct tine__head *head)
{
    const uint8_t *payload = reader->at + head->size;

    reader->at = payload + tine__head_payload(head);
    reader->left[reader->depth]--;
    return payload;
}

static int take_kind(tine_reader *reader, enum tine__kind kind, struct tine__head *head,
                     const uint8_t **payload)
{
    int rc = peek(reader, head);

    if (rc == 0 && head->kind != kind)
        rc = TINE_EFORMAT;
    if (rc < 0)
        return fail(reader, rc);
    *payload = take(reader, head);
    return 0;
}

int tine_reader_type(const tine_reader *reader)
{
    static const int types[] = {
        [TINE__NIL] = TINE_TYPE_NIL,       [TINE__BOOL] = TINE_TYPE_BOOL,
        [TINE__UINT] = TINE_TYPE_INT,      [TINE__NEGATIVE] = TINE_TYPE_INT,
        [TINE__FLOAT32] = TINE_TYPE_FLOAT, [TINE__FLOAT64] = TINE_TYPE_FLOAT,
        [TINE__STR] = TINE_TYPE_STRING,    [TINE__BIN] = TINE_TYPE_BYTES,
        [TINE__EXT] = TINE_TYPE_EXT,       [TINE__ARRAY] = TINE_TYPE_ARRAY,
        [TINE__MAP] = TINE_TYPE_MAP,
    };
    struct tine__head head;
    int rc;

    if (reader->error == 0 && reader->left[reader->depth] == 0)
        return TINE_TYPE_END;
    rc = peek(reader, &head);
    return rc < 0 ? rc : types[head.kind];
}

int tine_reader_nil(tine_reader *reader)
{
    struct tine__head head;
    const uint8_t *payload;

    return take_kind(reader, TINE__NIL, &head, &payload);
}

int tine_reader_bool(tine_reader *reader, bool *value)
{
    struct tine__head head;
    const uint8_t *payload;
    int rc = take_kind(reader, TINE__BOOL, &head, &payload);

    if (rc == 0)
        *value = head.number != 0;
    return rc;
}

int tine_reader_int(tine_reader *reader, int64_t *value)
{
    struct tine__head head;
    int rc = peek(reader, &head);

    if (rc == 0)
        rc = tine__head_to_signed(&head, INT64_MIN, INT64_MAX, value);
    if (rc < 0)
        return fail(reader, rc);
    take(reader, &head);
    return 0;
}

int tine_reader_uint(tine_reader *reader, uint64_t *value)
{
    struct tine__head head;
    int rc = peek(reader, &head);

    if (rc == 0)
        rc = tine__head_to_unsigned(&head, UINT64_MAX, value);
    if (rc < 0)
        return fail(reader, rc);
    take(reader, &head);
    return 0;
}

int tine_reader_double(tine_reader *reader, double *value)
{
    struct tine__head head;
    int rc = peek(reader, &head);

    if (rc == 0)
        rc = tine__head_to_double(&head, (int64_t)1 << DBL_MANT_DIG, value);
    if (rc < 0)
        return fail(reader, rc);
    take(reader, &head);
    return 0;
}

int tine_reader_string(tine_reader *reader, const char **text, size_t *length)
{
    struct tine__head head;
    const uint8_t *payload;
    int rc = take_kind(reader, TINE__STR, &head, &payload);

    if (rc == 0) {
        *text = (const char *)payload;
        *length = (size_t)head.number;
    }
    return rc;
}

int tine_reader_bytes(tine_reader *reader, const void **bytes, size_t *size)
{
    struct tine__head head;
    const uint8_t *payload;
    int rc = take_kind(reader, TINE__BIN, &head, &payload);

    if (rc == 0) {
        *bytes = payload;
        *size = (size_t)head.number;
    }
    return rc;
}

int tine_reader_ext(tine_reader *reader, int *type, const void **bytes, size_t *size)
{
    struct tine__head head;
    const uint8_t *payload;
    int rc = take_kind(reader, TINE__EXT, &head, &payload);

    if (rc == 0) {
        *type = head.ext_type;
        *bytes = payload;
        *size = (size_t)head.number;
    }
    return rc;
}

static int enter(tine_reader *reader, enum tine__kind kind, size_t *count)
{
    struct tine__head head;
    const uint8_t *payload;
    int rc = take_kind(reader, kind, &head, &payload);

    if (rc < 0)
        return rc;
    reader->left[++reader->depth] = tine__head_children(&head);
    *count = (size_t)head.number;
    return 0;
}

int tine_reader_array(tine_reader *reader, size_t *count)
{
    return enter(reader, TINE__ARRAY, count);
}

int tine_reader_map(tine_reader *reader, size_t *count)
{
    return enter(reader, TINE__MAP, count);
}

int tine_reader_value(tine_reader *reader, const void **bytes, size_t *size)
{
    size_t value_size;
    int rc = reader->error;

    if (rc == 0 && reader->left[reader->depth] == 0)
        rc = TINE_EFORMAT;
    if (rc == 0)
        rc = tine__value_size(reader->at, (size_t)(reader->end - reader->at),
                              &tine__limits_depth_only, &value_size);
    if (rc < 0)
        return fail(reader, rc);
    *bytes = reader->at;
    *size = value_size;
    reader->at += value_size;
    reader->left[reader->depth]--;
    return 0;
}

int tine_reader_skip(tine_reader *reader)
{
    const void *bytes;
    size_t size;

    return tine_reader_value(reader, &bytes, &size);
}

int tine_reader_leave(tine_reader *reader)
{
    if (reader->error < 0)
        return reader->error;
    if (reader->depth == 0)
        return fail(reader, TINE_EFORMAT);
    while (reader->left[reader->depth] > 0)
        if (tine_reader_skip(reader) < 0)
            return reader->error;
    reader->depth--;
    return 0;
}
