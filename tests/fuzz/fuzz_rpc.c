/* SPDX-License-Identifier: MIT */
/*
 * Messages of request and reply out of any bytes, beside msgpack-c. What is accepted is one array
 * of the right shape to msgpack-c as well, what was taken out of it lies in it, and writing that
 * again gives a message that says the same.
 */
#include "ipc/rpc_message.h"

#include <tine/error.h>

#include <msgpack.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static const uint8_t *begin, *end;

static void lies_within(const void *at, size_t size)
{
    const uint8_t *bytes = at;

    REQUIRE(bytes >= begin && bytes <= end && size <= (size_t)(end - bytes));
}

static void check_shape(const msgpack_object *object, const struct tine__rpc_message *message)
{
    const msgpack_object *items = object->via.array.ptr;
    bool answer = message->kind == TINE__RPC_ANSWER;

    REQUIRE(object->type == MSGPACK_OBJECT_ARRAY);
    REQUIRE(object->via.array.size == (message->kind >= TINE__RPC_NOTICE ? 3 : 4));
    REQUIRE(items[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER);
    REQUIRE(items[0].via.u64 ==
            (message->kind == TINE__RPC_CANCEL ? TINE__RPC_NOTICE : message->kind));
    if (message->kind <= TINE__RPC_ANSWER)
        REQUIRE(items[1].via.u64 == message->id);
    if (message->kind == TINE__RPC_CANCEL)
        REQUIRE(items[2].via.array.ptr[0].via.u64 == message->id);
    if (answer)
        REQUIRE(message->failed == (items[2].type != MSGPACK_OBJECT_NIL));
    else
        REQUIRE(items[object->via.array.size - 1].type == MSGPACK_OBJECT_ARRAY);
}

static void check_place(const struct tine__rpc_message *message)
{
    size_t one;

    lies_within(message->value, message->value_size);
    REQUIRE(tine__value_size(message->value, message->value_size, &tine__limits_depth_only, &one) ==
                0 &&
            one == message->value_size);
    if (message->kind != TINE__RPC_ANSWER)
        lies_within(message->name, message->name_size);
    else if (message->failed && message->text_size > 0)
        lies_within(message->text, message->text_size);
    REQUIRE(message->code <= 0);
}

static void check_again(const struct tine__rpc_message *message)
{
    struct tine__rpc_message again;
    tine_buffer buffer = {.data = NULL};

    if (message->kind == TINE__RPC_CANCEL)
        REQUIRE(tine__rpc_put_cancel(&buffer, message->id) == 0);
    else if (message->kind == TINE__RPC_ANSWER && !message->failed)
        REQUIRE(tine__rpc_put_packed(&buffer, message->id, message->value, message->value_size) ==
                0);
    else
        return;
    REQUIRE(tine__rpc_decode(buffer.data, buffer.size, &again) == 0);
    REQUIRE(again.kind == message->kind && again.id == message->id && !again.failed);
    if (message->kind == TINE__RPC_ANSWER)
        REQUIRE(again.value_size == message->value_size &&
                memcmp(again.value, message->value, again.value_size) == 0);
    tine_buffer_free(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tine__rpc_message message;
    msgpack_unpacked unpacked;
    size_t offset = 0;
    int rc = tine__rpc_decode(data, size, &message);

    REQUIRE(rc == 0 || rc == TINE_EFORMAT);
    if (rc < 0)
        return 0;
    begin = data;
    end = data + size;
    msgpack_unpacked_init(&unpacked);
    rc = msgpack_unpack_next(&unpacked, (const char *)data, size, &offset);
    if (rc == MSGPACK_UNPACK_SUCCESS) {
        REQUIRE(offset == size);
        check_shape(&unpacked.data, &message);
    } else {
        REQUIRE(rc == MSGPACK_UNPACK_NOMEM_ERROR); /* deeper than its 32 levels */
    }
    check_place(&message);
    check_again(&message);
    msgpack_unpacked_destroy(&unpacked);
    return 0;
}
