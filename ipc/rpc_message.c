/* SPDX-License-Identifier: MIT */
/*
 * The messages of request and reply, as bytes: those of msgpack-rpc, so that its other
 * implementations can be the peer, with one agreement about errors and one about cancelling
 * (doc/wire.md). The only file that knows them.
 *
 * Bytes come from anywhere. They are checked as a whole before anything is taken out of them, and
 * nothing is allocated here. Functions, descriptors, handles and pointers are never taken or given:
 * formats with their letters are refused on both sides.
 */
#include "ipc/rpc_message.h"

#include <tine/error.h>

#include <errno.h>
#include <string.h>

#define ARRAY_OF_3     0x93 /* msgpack's fixarray */
#define ARRAY_OF_4     0x94
#define NAME_MAX_BYTES 255
#define OWN_NAMES      "tine."
#define CANCEL_NAME    OWN_NAMES "cancel"

bool tine__rpc_is_name(const char *name)
{
    size_t size = name == NULL ? 0 : strnlen(name, NAME_MAX_BYTES + 1);

    return size > 0 && size <= NAME_MAX_BYTES && strncmp(name, OWN_NAMES, strlen(OWN_NAMES)) != 0;
}

bool tine__rpc_is_format(const char *format)
{
    return format != NULL && strpbrk(format, "pcFo") == NULL;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int put_byte(tine_buffer *out, uint8_t byte)
{
    int rc = tine__buffer_reserve(out, 1);

    if (rc == 0)
        out->data[out->size++] = byte;
    return rc;
}

static int put_arguments(tine_buffer *out, const char *format, struct tine__arguments *args)
{
    return tine__rpc_is_format(format) ? tine__pack(out, format, true, args) : -EINVAL;
}

int tine__rpc_put_request(tine_buffer *out, uint64_t id, const char *name, const char *format,
                          struct tine__arguments *args)
{
    int rc = tine__rpc_is_name(name) ? put_byte(out, ARRAY_OF_4) : -EINVAL;

    if (rc == 0)
        rc = tine_pack(out, "BQs", TINE__RPC_REQUEST, id, name);
    return rc < 0 ? rc : put_arguments(out, format, args);
}

int tine__rpc_put_notice(tine_buffer *out, const char *name, const char *format,
                         struct tine__arguments *args)
{
    int rc = tine__rpc_is_name(name) ? put_byte(out, ARRAY_OF_3) : -EINVAL;

    if (rc == 0)
        rc = tine_pack(out, "Bs", TINE__RPC_NOTICE, name);
    return rc < 0 ? rc : put_arguments(out, format, args);
}

int tine__rpc_put_cancel(tine_buffer *out, uint64_t id)
{
    return tine_pack(out, "[Bs[Q]]", TINE__RPC_NOTICE, CANCEL_NAME, id);
}

static int put_success(tine_buffer *out, uint64_t id)
{
    int rc = put_byte(out, ARRAY_OF_4);

    return rc < 0 ? rc : tine_pack(out, "BQn", TINE__RPC_ANSWER, id);
}

static bool is_one_value(const void *bytes, size_t size)
{
    size_t one;

    return tine__value_size(bytes, size, &tine__limits_depth_only, &one) == 0 && one == size;
}

int tine__rpc_put_result(tine_buffer *out, uint64_t id, const char *format,
                         struct tine__arguments *args)
{
    int rc = tine__rpc_is_format(format) ? put_success(out, id) : -EINVAL;
    size_t head = out->size;

    if (rc == 0)
        rc = tine__pack(out, format, false, args);
    if (rc < 0)
        return rc;
    return is_one_value(out->data + head, out->size - head) ? 0 : -EINVAL;
}

int tine__rpc_put_packed(tine_buffer *out, uint64_t id, const void *value, size_t size)
{
    int rc = put_success(out, id);

    return rc < 0 ? rc : tine_pack(out, "v", value, size);
}

int tine__rpc_put_error(tine_buffer *out, uint64_t id, int32_t code, const char *text)
{
    return tine_pack(out, "[BQ[is]n]", TINE__RPC_ANSWER, id, code, text);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int take_arguments(tine_reader *reader, struct tine__rpc_message *message)
{
    if (tine_reader_type(reader) != TINE_TYPE_ARRAY)
        return TINE_EFORMAT;
    return tine_reader_value(reader, &message->value, &message->value_size);
}

static int take_request(tine_reader *reader, struct tine__rpc_message *message)
{
    tine_reader_uint(reader, &message->id);
    tine_reader_string(reader, &message->name, &message->name_size);
    return take_arguments(reader, message);
}

static int take_notice(tine_reader *reader, struct tine__rpc_message *message)
{
    int rc;

    tine_reader_string(reader, &message->name, &message->name_size);
    rc = take_arguments(reader, message);
    if (rc < 0 || message->name_size != strlen(CANCEL_NAME) ||
        memcmp(message->name, CANCEL_NAME, message->name_size) != 0)
        return rc;
    message->kind = TINE__RPC_CANCEL;
    return tine_unpack(message->value, message->value_size, "[Q]", &message->id) < 0 ? TINE_EFORMAT
                                                                                     : 0;
}

/* [code, text]; of other implementations a text, or what they like. The rest is skipped. */
static void take_error(tine_reader *reader, struct tine__rpc_message *message)
{
    int type = tine_reader_type(reader);
    int64_t code;
    size_t count;

    if (type == TINE_TYPE_ARRAY) {
        tine_reader_array(reader, &count);
        if (tine_reader_type(reader) == TINE_TYPE_INT && tine_reader_int(reader, &code) == 0 &&
            code < 0 && code >= INT32_MIN)
            message->code = (int32_t)code;
        if (tine_reader_type(reader) == TINE_TYPE_STRING)
            tine_reader_string(reader, &message->text, &message->text_size);
        tine_reader_leave(reader);
    } else if (type == TINE_TYPE_STRING) {
        tine_reader_string(reader, &message->text, &message->text_size);
    } else {
        tine_reader_skip(reader);
    }
}

static int take_answer(tine_reader *reader, struct tine__rpc_message *message)
{
    tine_reader_uint(reader, &message->id);
    message->failed = tine_reader_type(reader) != TINE_TYPE_NIL;
    if (message->failed)
        take_error(reader, message);
    else
        tine_reader_nil(reader);
    return tine_reader_value(reader, &message->value, &message->value_size);
}

static int take(tine_reader *reader, size_t count, struct tine__rpc_message *message)
{
    if (message->kind == TINE__RPC_REQUEST && count == 4)
        return take_request(reader, message);
    if (message->kind == TINE__RPC_ANSWER && count == 4)
        return take_answer(reader, message);
    if (message->kind == TINE__RPC_NOTICE && count == 3)
        return take_notice(reader, message);
    return TINE_EFORMAT;
}

int tine__rpc_decode(const void *bytes, size_t size, struct tine__rpc_message *message)
{
    struct tine__rpc_message decoded = {.text = ""};
    tine_reader reader;
    uint64_t kind = UINT64_MAX;
    size_t count = 0;

    tine_reader_init(&reader, bytes, size, &tine__limits_depth_only);
    tine_reader_array(&reader, &count);
    tine_reader_uint(&reader, &kind);
    if (tine_reader_error(&reader) < 0 || kind > TINE__RPC_NOTICE)
        return TINE_EFORMAT;
    decoded.kind = (enum tine__rpc_kind)kind;
    if (take(&reader, count, &decoded) < 0)
        return TINE_EFORMAT;
    tine_reader_leave(&reader);
    if (tine_reader_error(&reader) < 0 || tine_reader_type(&reader) != TINE_TYPE_END)
        return TINE_EFORMAT;
    *message = decoded;
    return 0;
}
