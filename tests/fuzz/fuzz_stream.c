/* SPDX-License-Identifier: MIT */
/*
 * Streams of messages: any bytes in pieces of any size, and real streams with one bit changed. What
 * is set aside stays below twice what has come and 64 KiB; a changed stream that carries tags gives
 * no message that was not sent, nor one with other descriptors beside it than it says. And a real
 * socket, with real descriptors beside any bytes, none of which stays open. The first two bytes
 * choose.
 */
#include <tine/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/stream.h"
#include "ipc/transport_stream.h"
#include "lib/rights.h"
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

/* What is told of descriptors where a message begins: none, a constant number, or what the byte
   says. */
struct beside {
    enum { NONE, SAME, ANY } kind;
    uint32_t count;
    bool told; /* of this message */
};

static struct beside beside;

static void tell(struct tine__stream_in *in, uint8_t byte)
{
    bool started;
    int rc;

    if (beside.kind == NONE || beside.told || !tine__stream_between(in, &started))
        return;
    rc = beside.kind == SAME ? tine__stream_beside(in, beside.count, false)
                             : tine__stream_beside(in, byte & 31, (byte & 32) != 0);
    REQUIRE(rc == 0 || rc == TINE_EFORMAT);
    beside.told = true;
}

static void check_beside(const struct tine__stream_in *in)
{
    if (in->rules->python)
        return;
    REQUIRE(in->beside_cut ? in->beside < in->frame.descriptors
                           : in->beside == in->frame.descriptors);
    REQUIRE(in->beside <= TINE__FRAME_DESCRIPTORS);
}

/* Feeds bytes in pieces; each message is given to seen(). The verdict, or 0. */
static int feed(struct tine__stream_in *in, const uint8_t *bytes, size_t size, size_t piece,
                void (*seen)(const struct tine__stream_in *in, void *context), void *context)
{
    size_t fed = 0;

    while (fed < size) {
        size_t room;
        void *space;
        int rc;

        tell(in, bytes[fed]);
        rc = tine__stream_space(in, &space, &room);
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
            check_beside(in);
            seen(in, context);
            tine__stream_drop(in);
            beside.told = false;
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
                           uint32_t says, uint8_t *stream)
{
    struct tine__stream_out out;
    struct iovec parts[2];
    size_t written = 0;

    REQUIRE(tine__stream_out_init(&out, rules) == 0);
    for (size_t i = 0; i < 2; i++) {
        REQUIRE(tine__stream_put(&out, data + i, size - i, says) == 0);
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

/* lies: one more comes than it says. */
static void feed_changed(enum kind kind, size_t piece, bool lies, const uint8_t *data, size_t size)
{
    static uint8_t stream[STREAM_MAX];
    struct tine__stream_rules out = make_rules(kind), rules = make_rules(kind);
    size_t place = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16, written;
    struct expected expected = {data + 3, size - 3, 0};
    struct tine__stream_in in;

    written = write_stream(&out, data + 3, size - 3, data[2] % 17, stream);
    beside = (struct beside){.kind = kind == PYTHON ? NONE : SAME, .count = data[2] % 17 + lies};
    if (place != 0)
        stream[place / 8 % written] ^= (uint8_t)(1U << place % 8);
    tine__stream_in_init(&in, &rules);
    if (kind == PYTHON) { /* no tags: only memory is watched */
        uint8_t last;

        feed(&in, stream, written, piece, touch, &last);
    } else {
        int rc = feed(&in, stream, written, piece, compare, &expected);

        REQUIRE(place == 0 && !lies ? rc == 0 && expected.count == 2 : expected.count < 2);
        REQUIRE(!lies || expected.count == 0);
    }
    tine__stream_in_fini(&in);
    tine__encryption_close(out.encryption);
    tine__encryption_close(rules.encryption);
}

/* ---- a real socket --------------------------------------------------------------------------- */

static void put(int fd, const void *bytes, size_t size, uint32_t count)
{
    const int fds[4] = {fd, fd, fd, fd};
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union tine__rights rights;

    tine__rights_attach(&message, &rights, fds, count);
    (void)!sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void put_message(int fd, struct tine__stream_out *out, const uint8_t *data, size_t size,
                        uint32_t says, uint32_t count)
{
    struct iovec parts[2];

    REQUIRE(tine__stream_put(out, data, size, says) == 0);
    while (tine__stream_parts(out, parts) > 0) {
        put(fd, parts[0].iov_base, parts[0].iov_len, count);
        tine__stream_sent(out, parts[0].iov_len);
        count = 0;
    }
}

/* Until nothing more comes. False: the end, of whatever kind. */
static bool take_all(struct tine__transport *transport)
{
    struct tine__incoming message = {.into = NULL};
    int rc;

    while ((rc = transport->ops->receive(transport, &message, TINE__AT_ONCE)) == 0) {
        for (uint32_t i = 0; i < message.fd_count; i++)
            close(message.fds[i]);
        tine__incoming_release(&message);
    }
    REQUIRE(rc == -ETIMEDOUT || rc == TINE_EFORMAT || rc == TINE_ECHECKSUM || rc == -EPROTO ||
            rc == -EBADMSG || rc == -EMFILE);
    return rc == -ETIMEDOUT || rc == -EMFILE;
}

/* Each step: a byte that says how many bytes and descriptors, and whether they are a message's. */
static void play(int fd, struct tine__transport *transport, struct tine__stream_out *out,
                 const uint8_t *data, size_t size)
{
    while (size > 2) {
        size_t count = data[0] & 31;
        uint32_t sent = data[0] >> 5 & 3;

        if (count > size - 2)
            count = size - 2;
        if ((data[0] & 0x80) != 0)
            put_message(fd, out, data + 2, count, (data[1] & 4) != 0 ? sent : data[1] & 3, sent);
        else if (count > 0)
            put(fd, data + 2, count, sent);
        if (!take_all(transport))
            return;
        data += 2 + count;
        size -= 2 + count;
    }
}

static void feed_socket(enum kind kind, const uint8_t *data, size_t size)
{
    struct tine__session session = {.peer_limit = LIMIT, .encrypted = kind == BOXES};
    struct tine__stream_rules rules = make_rules(kind);
    struct tine__transport *transport;
    struct tine__stream_out out;
    int fds[2], lowest = dup(STDERR_FILENO), after;

    REQUIRE(lowest >= 0 && close(lowest) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    rules.send.check = kind == BOXES ? 1 : 0;
    REQUIRE(tine__stream_out_init(&out, &rules) == 0);
    REQUIRE(tine__transport_stream(&transport, fds[1], &session, kind == PYTHON, LIMIT) == 0);
    play(fds[0], transport, &out, data, size);
    transport->ops->close(transport);
    close(fds[0]);
    tine__stream_out_fini(&out);
    tine__encryption_close(rules.encryption);
    after = dup(STDERR_FILENO);
    REQUIRE(after == lowest); /* as all that were opened are above it */
    close(after);
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
    beside = (struct beside){.kind = (data[0] & 0x20) != 0 && kind != PYTHON ? ANY : NONE};
    if ((data[0] & 0x80) != 0)
        feed_changed(kind, piece, (data[0] & 0x40) != 0 && kind != PYTHON, data + 2, size - 2);
    else if ((data[0] & 0x40) != 0)
        feed_socket(kind, data + 1, size - 1);
    else
        feed_raw(kind, piece, data + 2, size - 2);
    return 0;
}
