/* SPDX-License-Identifier: MIT */
/*
 * tine_reader over any bytes, beside msgpack-c. What the reader accepts, msgpack-c unpacks to the
 * same values and the same last byte; what msgpack-c alone accepts is beyond the limits.
 */
#include <tine/codec.h>
#include <tine/error.h>

#include <msgpack.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum {
    VISITS_MAX = 4096, /* values looked at: bounds the time for one input */
};

static void same_number(tine_reader *reader, const msgpack_object *object)
{
    int64_t negative;
    uint64_t positive;
    double floating;

    if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER) {
        REQUIRE(tine_reader_int(reader, &negative) == 0 && negative == object->via.i64);
    } else if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        REQUIRE(tine_reader_uint(reader, &positive) == 0 && positive == object->via.u64);
    } else {
        REQUIRE(tine_reader_double(reader, &floating) == 0);
        REQUIRE(memcmp(&floating, &object->via.f64, sizeof floating) == 0 ||
                (floating != floating && object->via.f64 != object->via.f64));
    }
}

static void same_span(tine_reader *reader, const msgpack_object *object)
{
    const void *bytes;
    const char *text;
    size_t size;
    int type;

    if (object->type == MSGPACK_OBJECT_STR) {
        REQUIRE(tine_reader_string(reader, &text, &size) == 0 && size == object->via.str.size);
        REQUIRE(size == 0 || memcmp(text, object->via.str.ptr, size) == 0);
    } else if (object->type == MSGPACK_OBJECT_BIN) {
        REQUIRE(tine_reader_bytes(reader, &bytes, &size) == 0 && size == object->via.bin.size);
        REQUIRE(size == 0 || memcmp(bytes, object->via.bin.ptr, size) == 0);
    } else {
        REQUIRE(object->type == MSGPACK_OBJECT_EXT);
        REQUIRE(tine_reader_ext(reader, &type, &bytes, &size) == 0);
        REQUIRE(type == object->via.ext.type && size == object->via.ext.size);
        REQUIRE(size == 0 || memcmp(bytes, object->via.ext.ptr, size) == 0);
    }
}

static void same(tine_reader *reader, const msgpack_object *object, int *visits);

/* Halfway through the visits the rest of each container is left unread. */
static void same_inside(tine_reader *reader, const msgpack_object *object, int *visits)
{
    size_t count;

    if (object->type == MSGPACK_OBJECT_ARRAY) {
        REQUIRE(tine_reader_array(reader, &count) == 0 && count == object->via.array.size);
        for (size_t i = 0; i<count && * visits> 0; i++)
            same(reader, &object->via.array.ptr[i], visits);
    } else {
        REQUIRE(tine_reader_map(reader, &count) == 0 && count == object->via.map.size);
        for (size_t i = 0; i<count && * visits> 0; i++) {
            same(reader, &object->via.map.ptr[i].key, visits);
            same(reader, &object->via.map.ptr[i].val, visits);
        }
    }
    REQUIRE(*visits <= 0 || tine_reader_type(reader) == TINE_TYPE_END);
    REQUIRE(tine_reader_leave(reader) == 0);
}

static void same(tine_reader *reader, const msgpack_object *object, int *visits)
{
    bool flag;

    --*visits;
    switch ((int)object->type) {
    case MSGPACK_OBJECT_NIL:
        REQUIRE(tine_reader_nil(reader) == 0);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        REQUIRE(tine_reader_bool(reader, &flag) == 0 && flag == object->via.boolean);
        break;
    case MSGPACK_OBJECT_ARRAY:
    case MSGPACK_OBJECT_MAP:
        same_inside(reader, object, visits);
        break;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
    case MSGPACK_OBJECT_EXT:
        same_span(reader, object);
        break;
    default:
        same_number(reader, object);
    }
}

/* Calls in an order that the bytes choose, whatever comes next: only the sticky error may stop
 * them. */
static void wander(const uint8_t *data, size_t size)
{
    tine_reader reader;
    const void *bytes;
    const char *text;
    size_t count;
    int64_t number;
    double floating;
    int type;

    if (tine_reader_init(&reader, data, size, NULL) < 0)
        return;
    for (size_t i = 0; i < size && tine_reader_error(&reader) == 0; i++) {
        switch ((data[size - 1 - i] ^ data[i]) % 9) {
        case 0:
            tine_reader_int(&reader, &number);
            break;
        case 1:
            tine_reader_double(&reader, &floating);
            break;
        case 2:
            tine_reader_string(&reader, &text, &count);
            break;
        case 3:
            tine_reader_bytes(&reader, &bytes, &count);
            break;
        case 4:
            tine_reader_ext(&reader, &type, &bytes, &count);
            break;
        case 5:
            tine_reader_array(&reader, &count);
            break;
        case 6:
            tine_reader_map(&reader, &count);
            break;
        case 7:
            tine_reader_leave(&reader);
            break;
        default:
            tine_reader_skip(&reader);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tine_reader reader;
    int visits = VISITS_MAX;
    size_t offset = 0;

    wander(data, size);
    if (tine_reader_init(&reader, data, size, NULL) < 0) {
        REQUIRE(tine_reader_type(&reader) == TINE_EFORMAT);
        return 0;
    }
    while (offset < size && visits > 0) {
        msgpack_unpacked unpacked;

        msgpack_unpacked_init(&unpacked);
        REQUIRE(msgpack_unpack_next(&unpacked, (const char *)data, size, &offset) ==
                MSGPACK_UNPACK_SUCCESS);
        same(&reader, &unpacked.data, &visits);
        REQUIRE(reader.at == data + offset || visits <= 0);
        msgpack_unpacked_destroy(&unpacked);
    }
    REQUIRE(tine_reader_error(&reader) == 0);
    return 0;
}
