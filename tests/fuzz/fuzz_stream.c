/* SPDX-License-Identifier: MIT */
/*
 * Streams of messages: any bytes in pieces of any size, and real streams with one bit changed. What
 * is set aside stays below twice what has come and 64 KiB; a changed stream that carries tags gives
 * no message that was not sent. The first two bytes choose.
 */
#include <tine/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/stream.h"
#include "tests/fuzz/fuzz.h"

enum kind { CLEAR, BOXES, PYTHON };

#define LIMIT      ((uint64_t)1 << 40)
#define STREAM_MAX 400000
#define TARGET     40 /* bytes, in memory of the receiver's */

static struct tine__stream_rules make_rules(enum kind kind)
{
    struct tine__frame_rules frame = {.length_max = LIMIT, .check = kind == BOXES ? 1 : 2};
    struct tine__stream_rules rules = {.python = kind == PYTHON, .send = frame, .receive = frame};
    struct tine__session session = {.encrypted = true};

    if (kind == BOXES)
        REQUIRE(tine__encryption_open(&rules.encryption, &session) == 0);
    return rules;
}

static size_t received; /* of this input */

static void check_memory(const struct tine__stream_in *in)
{
    REQUIRE(in->capacity <= 2 * received + TINE__STREAM_FIRST);
    REQUIRE(in->size <= (in->in_target ? in->target_room : in->capacity));
}

/* Feeds bytes in pieces; each message is given to seen(). The verdict, or 0. */
static int feed(struct tine__stream_in *in, const uint8_t *bytes, size_t size, size_t piece,
                void (*seen)(const struct tine__stream_in *in, void *context), void *context)
{
    size_t fed = 0;

    while (fed < size) {
        size_t room;
        void *space;
        int rc = tine__stream_space(in, &space, &room);

        if (rc < 0)
            return rc;
        REQUIRE(room > 0);
        if (room > piece)
            room = piece;
        if (room > size - fed)
            room = size - fed;
        memcpy(space, bytes + fed, room);
        fed += room;
        rc = tine__stream_received(in, room);
        received += room;
        check_memory(in);
        REQUIRE(rc == 0 || rc == 1 || rc == TINE_EFORMAT || rc == TINE_ECHECKSUM || rc == -EPROTO ||
                rc == -EBADMSG);
        if (rc == 1) {
            seen(in, context);
            tine__stream_drop(in);
        }
    }
    return in->stage == TINE__STREAM_BROKEN ? in->verdict : 0;
}

static void touch(const struct tine__stream_in *in, void *context)
{
    volatile uint8_t *last = context;

    if (in->size > 0)
        *last = (in->in_target ? in->target : in->message)[in->size - 1];
}

/* The first half with a target, from which the second has to be saved. */
static void feed_raw(enum kind kind, size_t piece, const uint8_t *data, size_t size)
{
    struct tine__stream_rules rules = make_rules(kind);
    uint8_t *target = malloc(TARGET), last;
    struct tine__stream_in in;

    REQUIRE(target != NULL);
    tine__stream_in_init(&in, &rules);
    tine__stream_aim(&in, target, TARGET);
    feed(&in, data, size / 2, piece, touch, &last);
    REQUIRE(tine__stream_unaim(&in) == 0);
    free(target);
    feed(&in, data + size / 2, size - size / 2, piece, touch, &last);
    REQUIRE(tine__stream_ended(&in) < 0);
    tine__stream_in_fini(&in);
    tine__encryption_close(rules.encryption);
}

/* Two messages: the data, and all of it but its first byte. */
static size_t write_stream(const struct tine__stream_rules *rules, const uint8_t *data, size_t size,
                           uint8_t *stream)
{
    struct tine__stream_out out;
    struct iovec parts[2];
    size_t written = 0;

    REQUIRE(tine__stream_out_init(&out, rules) == 0);
    for (size_t i = 0; i < 2; i++) {
        REQUIRE(tine__stream_put(&out, data + i, size - i) == 0);
        while (tine__stream_parts(&out, parts) > 0) {
            REQUIRE(written + parts[0].iov_len <= STREAM_MAX);
            memcpy(stream + written, parts[0].iov_base, parts[0].iov_len);
            written += parts[0].iov_len;
            tine__stream_sent(&out, parts[0].iov_len);
        }
    }
    tine__stream_out_fini(&out);
    return written;
}

struct expected {
    const uint8_t *data;
    size_t size, count;
};

static void compare(const struct tine__stream_in *in, void *context)
{
    struct expected *expected = context;

    REQUIRE(expected->count < 2);
    REQUIRE(in->size == expected->size - expected->count);
    REQUIRE(in->size == 0 || memcmp(in->message, expected->data + expected->count, in->size) == 0);
    expected->count++;
}

static void feed_changed(enum kind kind, size_t piece, const uint8_t *data, size_t size)
{
    static uint8_t stream[STREAM_MAX];
    struct tine__stream_rules out = make_rules(kind), rules = make_rules(kind);
    size_t place = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16, written;
    struct expected expected = {data + 3, size - 3, 0};
    struct tine__stream_in in;

    written = write_stream(&out, data + 3, size - 3, stream);
    if (place != 0)
        stream[place / 8 % written] ^= (uint8_t)(1U << place % 8);
    tine__stream_in_init(&in, &rules);
    if (kind == PYTHON) { /* no tags: only memory is watched */
        uint8_t last;

        feed(&in, stream, written, piece, touch, &last);
    } else {
        int rc = feed(&in, stream, written, piece, compare, &expected);

        REQUIRE(place == 0 ? rc == 0 && expected.count == 2 : expected.count < 2);
    }
    tine__stream_in_fini(&in);
    tine__encryption_close(out.encryption);
    tine__encryption_close(rules.encryption);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum kind kind;
    size_t piece;

    if (size < 6 || size > STREAM_MAX / 4)
        return 0;
    received = 0;
    kind = (enum kind)(data[0] % 3);
    piece = data[1] == 0 ? SIZE_MAX : data[1];
    if ((data[0] & 0x80) != 0)
        feed_changed(kind, piece, data + 2, size - 2);
    else
        feed_raw(kind, piece, data + 2, size - 2);
    return 0;
}
