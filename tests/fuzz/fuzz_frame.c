/* SPDX-License-Identifier: MIT */
/*
 * Records of a pipe. The first byte chooses: any bytes to the decoder, under rules made of the next
 * ones; what passes it, with a tag that fits; any bytes as a record to
 * a real pipe; any name of a block to a table with one message on its way.
 */
#include <tine/error.h>
#include <tine/heap.h>
#include <tine/pipe.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "ipc/blocks.h"
#include "ipc/frame.h"
#include "tests/fuzz/fuzz.h"

static void require_code(int rc)
{
    REQUIRE(rc == 0 || rc == TINE_EFORMAT || rc == TINE_ECHECKSUM || rc == -EPROTO);
}

/* What passes is a record that the encoder would make of the same frame and payload. */
static void decode(const uint8_t *data, size_t size, struct tine__frame_rules *rules)
{
    struct tine__frame frame = {.type = 0x77}, before = frame;
    uint8_t header[TINE__FRAME_BYTES];
    struct iovec payload = {NULL, 0};
    int rc = tine__frame_decode(data, size, rules, &frame);

    require_code(rc);
    if (rc < 0) {
        REQUIRE(memcmp(&frame, &before, sizeof frame) == 0);
        return;
    }
    REQUIRE(size >= TINE__FRAME_BYTES && frame.length <= rules->length_max);
    payload =
        (struct iovec){(void *)(uintptr_t)(data + TINE__FRAME_BYTES), size - TINE__FRAME_BYTES};
    require_code(tine__frame_verify(data, &frame, rules, &payload, 1));
    tine__frame_encode(header, &frame, rules, &payload, 1);
    REQUIRE(memcmp(header + 8, data + 8, sizeof header - 8) == 0);
    REQUIRE(tine__frame_decode(header, size, rules, &frame) == 0);
    REQUIRE(tine__frame_verify(header, &frame, rules, &payload, 1) == 0);
}

static void decode_under_rules(const uint8_t *data, size_t size)
{
    struct tine__frame_rules rules = {.length_max = 1 << 16, .quick = size & 1};

    if (size < 2)
        return;
    rules.check = data[0] % 3;
    rules.length_max >>= data[1] % 17;
    decode(data + 2, size - 2, &rules);
}

static void send_to_pipe(const uint8_t *data, size_t size)
{
    static tine_connection *a, *b;
    tine_message message;
    int rc;

    if (a == NULL)
        REQUIRE(tine_pipe(&a, &b, NULL) == 0);
    if (size == 0 || size > 60000)
        return; /* an empty record is the end, for the kernel */
    REQUIRE(send(tine_connection_fileno(a), data, size, 0) == (ssize_t)size);
    rc = tine_connection_recv_view(b, 0, &message);
    /*
     * The fuzzer sees the tags that are compared, and may have learned the right one: 0, or -EMFILE
     * if the record speaks of descriptors, which were left out then.
     */
    REQUIRE(rc == 0 || rc == -EMFILE || rc == TINE_EFORMAT || rc == TINE_ECHECKSUM ||
            rc == -EPROTO);
    if (rc == 0)
        tine_message_release(&message);
    REQUIRE(tine_connection_poll(b, 0) == 0);
}

static void name_block(const uint8_t *data, size_t size)
{
    static struct tine__blocks_shm *blocks;
    static struct tine__block sent, got;
    struct tine__frame_block named;
    uint64_t length;

    if (blocks == NULL) {
        blocks = tine_aligned_alloc(64, sizeof *blocks);
        REQUIRE(blocks != NULL);
        memset(blocks, 0, sizeof *blocks);
        tine__blocks_init(blocks, 1);
    }
    if (sent.slot == NULL) {
        REQUIRE(tine__blocks_take(blocks, 100, &sent) == 0);
        tine__blocks_fly(&sent);
    }
    if (size < 24)
        return;
    tine__frame_get_block(data, &named);
    memcpy(&length, data + 16, sizeof length);
    if (tine__blocks_accept(blocks, named.slot, named.generation, length, &got) == 0) {
        REQUIRE(got.slot == sent.slot && named.generation == sent.generation && length == 100);
        tine__blocks_release(blocks, &got);
        sent.slot = NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        decode_under_rules(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        send_to_pipe(data + 1, size - 1);
    else
        name_block(data + 1, size - 1);
    return 0;
}
