/* SPDX-License-Identifier: MIT */
/* Messages in bytes and back: the machines, without a socket. */
#include "ipc/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

enum kind { CLEAR, BOXES, PYTHON, KINDS };

struct line {
    struct tine__stream_rules from, to;
    struct tine__stream_out out;
    struct tine__stream_in in;
};

static void line_begin(struct line *line, enum kind kind)
{
    struct tine__session session = {.encrypted = kind == BOXES};
    struct tine__frame_rules rules = {.length_max = 64 << 20, .check = 2};

    memset(line, 0, sizeof *line);
    tine__mac_key_make(&rules.key);
    line->from = (struct tine__stream_rules){.python = kind == PYTHON, .send = rules};
    line->to = (struct tine__stream_rules){.python = kind == PYTHON, .receive = rules};
    if (kind == BOXES) { /* send_key and receive_key are both zeros */
        ck_assert_rc(tine__encryption_open(&line->from.encryption, &session), 0);
        ck_assert_rc(tine__encryption_open(&line->to.encryption, &session), 0);
    }
    ck_assert_rc(tine__stream_out_init(&line->out, &line->from), 0);
    tine__stream_in_init(&line->in, &line->to);
}

static void line_end(struct line *line)
{
    tine__stream_out_fini(&line->out);
    tine__stream_in_fini(&line->in);
    tine__encryption_close(line->from.encryption);
    tine__encryption_close(line->to.encryption);
}

/* Feeds all of it, or until it says something. How many were taken. */
static size_t feed(struct tine__stream_in *in, const uint8_t *bytes, size_t size, int *rc)
{
    size_t fed = 0;

    *rc = 0;
    while (fed < size && *rc == 0) {
        size_t room;
        void *space;

        *rc = tine__stream_space(in, &space, &room);
        if (*rc < 0)
            break;
        ck_assert_uint_gt(room, 0);
        if (room > size - fed)
            room = size - fed;
        memcpy(space, bytes + fed, room);
        fed += room;
        *rc = tine__stream_received(in, room);
    }
    return fed;
}

/* All that the machine has to send, malloced. */
static uint8_t *drain(struct tine__stream_out *out, size_t *size)
{
    struct iovec parts[2];
    uint8_t *bytes = NULL;
    int count;

    *size = 0;
    while ((count = tine__stream_parts(out, parts)) > 0) {
        for (int i = 0; i < count; i++) {
            bytes = realloc(bytes, *size + parts[i].iov_len);
            memcpy(bytes + *size, parts[i].iov_base, parts[i].iov_len);
            *size += parts[i].iov_len;
        }
        tine__stream_sent(out, parts[0].iov_len + (count > 1 ? parts[1].iov_len : 0));
    }
    ck_assert(tine__stream_idle(out));
    return bytes;
}

static uint8_t *random_message(size_t size)
{
    uint8_t *message = malloc(size > 0 ? size : 1);

    for (size_t i = 0; i < size; i++)
        message[i] = (uint8_t)(i * 2654435761U >> 13);
    return message;
}

static const size_t sizes[] = {0,     1,     63,    64,    255,    256,    257,     4096,   4097,
                               65495, 65496, 65497, 65536, 131032, 131033, 1000000, 5 << 20};
#define SIZES (sizeof sizes / sizeof sizes[0])

TEST(messages_arrive_as_they_were, .loop_end = KINDS)
{
    struct line line;

    line_begin(&line, (enum kind)loop_index);
    for (size_t i = 0; i < SIZES; i++) {
        uint8_t *message = random_message(sizes[i]), *bytes;
        size_t size;
        int rc;

        ck_assert_rc(tine__stream_put(&line.out, message, sizes[i], 0), 0);
        bytes = drain(&line.out, &size);
        ck_assert_uint_eq(feed(&line.in, bytes, size, &rc), size);
        ck_assert_rc(rc, 1);
        ck_assert_uint_eq(line.in.size, sizes[i]);
        ck_assert(sizes[i] == 0 || memcmp(line.in.message, message, sizes[i]) == 0);
        tine__stream_drop(&line.in);
        free(bytes);
        free(message);
    }
    ck_assert_rc(tine__stream_ended(&line.in), TINE_EEOF);
    line_end(&line);
}

TEST(bytes_may_come_and_go_in_any_pieces, .loop_end = KINDS)
{
    struct line line;

    line_begin(&line, (enum kind)loop_index);
    for (int round = 0; round < 300; round++) {
        size_t size = random_below(3) == 0 ? random_below(200000) : random_below(300), got = 0;
        uint8_t *message = random_message(size);
        struct iovec parts[2];
        int rc = 0;

        ck_assert_rc(tine__stream_put(&line.out, message, size, 0), 0);
        while (tine__stream_parts(&line.out, parts) > 0) {
            size_t piece = 1 + random_below(parts[0].iov_len);

            ck_assert_rc(rc, 0);
            ck_assert_uint_eq(feed(&line.in, parts[0].iov_base, piece, &rc), piece);
            tine__stream_sent(&line.out, piece);
            got += piece;
            if (random_below(20) == 0) { /* from here on it is a copy */
                ck_assert_rc(tine__stream_keep(&line.out), 0);
            }
        }
        ck_assert_rc(rc, 1);
        ck_assert_uint_ge(got, size);
        ck_assert_uint_eq(line.in.size, size);
        ck_assert(size == 0 || memcmp(line.in.message, message, size) == 0);
        if (round % 2 == 0)
            free(tine__stream_take(&line.in));
        else
            tine__stream_drop(&line.in);
        free(message);
    }
    line_end(&line);
}

TEST(messages_go_where_the_receiver_wants_them, .loop_end = KINDS)
{
    static uint8_t target[70000], message[70000];
    struct line line;

    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 7 >> 2);
    line_begin(&line, (enum kind)loop_index);
    for (int round = 0; round < 200; round++) {
        size_t size = random_below(sizeof message + 1), sent, cut;
        uint8_t *bytes;
        bool aimed;
        int rc;

        ck_assert_rc(tine__stream_put(&line.out, message, size, 0), 0);
        bytes = drain(&line.out, &sent);
        cut = random_below(sent);
        memset(target, 0, sizeof target);
        tine__stream_aim(&line.in, target, random_below(2 * sizeof target));
        feed(&line.in, bytes, cut, &rc);
        ck_assert_rc(rc, 0);
        if (random_below(2) == 0)
            ck_assert_rc(tine__stream_unaim(&line.in), 0);
        feed(&line.in, bytes + cut, sent - cut, &rc);
        ck_assert_rc(rc, 1);
        aimed = line.in.in_target;
        ck_assert_uint_eq(line.in.size, size);
        ck_assert(size == 0 || memcmp(aimed ? target : line.in.message, message, size) == 0);
        ck_assert(size == 0 || !aimed || size <= line.in.target_room);
        tine__stream_drop(&line.in);
        ck_assert_rc(tine__stream_unaim(&line.in), 0);
        free(bytes);
    }
    line_end(&line);
}

TEST(what_is_cut_is_no_message, .loop_end = KINDS)
{
    for (size_t cut = 1;; cut++) {
        struct line line;
        uint8_t *bytes;
        size_t size;
        int rc;

        line_begin(&line, (enum kind)loop_index);
        ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), 0);
        bytes = drain(&line.out, &size);
        if (cut < size) {
            feed(&line.in, bytes, cut, &rc);
            ck_assert_rc(rc, 0);
            /* the start of a direction is no part of a message */
            ck_assert_rc(tine__stream_ended(&line.in),
                         loop_index == BOXES && cut == TINE__BOX_START ? TINE_EEOF : -EBADMSG);
        }
        free(bytes);
        line_end(&line);
        if (cut >= size)
            break;
    }
}

/* In clear the length is believed until the message is there; no bit passes for good. */
TEST(a_flipped_bit_is_seen, .loop_end = 2)
{
    for (size_t bit = 0;; bit++) {
        struct line line;
        uint8_t *bytes;
        size_t size;
        int rc;

        line_begin(&line, (enum kind)loop_index);
        ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), 0);
        bytes = drain(&line.out, &size);
        if (bit < 8 * size) {
            bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
            feed(&line.in, bytes, size, &rc);
            if (rc == 0)
                rc = tine__stream_ended(&line.in);
            ck_assert_msg(rc == TINE_EFORMAT || rc == TINE_ECHECKSUM || rc == -EPROTO ||
                              rc == -EBADMSG,
                          "bit %zu gives %d", bit, rc);
        }
        free(bytes);
        line_end(&line);
        if (bit >= 8 * size)
            break;
    }
}

TEST(a_message_is_not_heard_twice, .loop_end = 2)
{
    struct line line;
    uint8_t *bytes;
    size_t size, start = loop_index == BOXES ? TINE__BOX_START : 0;
    int rc;

    line_begin(&line, (enum kind)loop_index);
    ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), 0);
    bytes = drain(&line.out, &size);
    feed(&line.in, bytes, size, &rc);
    ck_assert_rc(rc, 1);
    tine__stream_drop(&line.in);
    feed(&line.in, bytes + start, size - start, &rc);
    ck_assert_rc(rc, loop_index == BOXES ? TINE_ECHECKSUM : -EBADMSG);
    free(bytes);
    line_end(&line);
}

TEST(claims_cost_nothing)
{
    struct line line;
    uint8_t claim[12] = {0x7f, 0xff, 0xff, 0xff};
    size_t room;
    void *space;
    int rc;

    line_begin(&line, PYTHON);
    line.to.receive.length_max = UINT64_MAX;
    feed(&line.in, claim, 4, &rc);
    ck_assert_rc(rc, 0);
    ck_assert_rc(tine__stream_space(&line.in, &space, &room), 0);
    ck_assert_uint_eq(room, TINE__STREAM_FIRST);
    memset(space, 0, room);
    ck_assert_rc(tine__stream_received(&line.in, room), 0);
    ck_assert_rc(tine__stream_space(&line.in, &space, &room), 0);
    ck_assert_uint_eq(line.in.capacity, 2 * TINE__STREAM_FIRST);
    line_end(&line);
}

static int hear_claim(const uint8_t *claim, size_t size, uint64_t limit)
{
    struct line line;
    int rc;

    line_begin(&line, PYTHON);
    line.to.receive.length_max = limit;
    feed(&line.in, claim, size, &rc);
    if (rc == 0) {
        ck_assert_int_eq(line.in.stage, TINE__STREAM_BODY);
        rc = line.in.length > INT32_MAX ? 2 : 1;
    }
    line_end(&line);
    return rc;
}

/* Longer than 2 GiB - 1: ff ff ff ff and eight bytes. Shorter ones must not be written so. */
TEST(pythons_lengths)
{
    static const uint8_t long_form[12] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80},
                         short_in_long[12] = {0xff, 0xff, 0xff, 0xff, 0,    0,
                                              0,    0,    0x7f, 0xff, 0xff, 0xff},
                         absurd[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         negative[4] = {0xff, 0xff, 0xff, 0xfe}, minus[4] = {0x80},
                         most[4] = {0x7f, 0xff, 0xff, 0xff}, beyond[4] = {0, 0, 0, 11};

    ck_assert_rc(hear_claim(long_form, 12, UINT64_MAX), 2);
    ck_assert_rc(hear_claim(long_form, 12, 1 << 30), TINE_EFORMAT);
    ck_assert_rc(hear_claim(short_in_long, 12, UINT64_MAX), TINE_EFORMAT);
    ck_assert_rc(hear_claim(absurd, 12, UINT64_MAX), TINE_EFORMAT);
    ck_assert_rc(hear_claim(negative, 4, UINT64_MAX), TINE_EFORMAT);
    ck_assert_rc(hear_claim(minus, 4, UINT64_MAX), TINE_EFORMAT);
    ck_assert_rc(hear_claim(most, 4, UINT64_MAX), 1);
    ck_assert_rc(hear_claim(beyond, 4, 10), TINE_EFORMAT);
}

TEST(what_the_peer_does_not_take_is_not_sent, .loop_end = KINDS)
{
    struct line line;

    line_begin(&line, (enum kind)loop_index);
    line.from.send.length_max = 9;
    ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), -EMSGSIZE);
    ck_assert(tine__stream_idle(&line.out));
    ck_assert_rc(tine__stream_put(&line.out, "0123456789", 9, 0), 0);
    line_end(&line);
}

/* A message that was taken back leaves no gap. */
TEST(what_was_not_begun_can_be_withdrawn)
{
    static const enum kind kinds[] = {CLEAR, PYTHON};

    for (int i = 0; i < 2; i++) {
        struct line line;
        uint8_t *bytes;
        size_t size;
        int rc;

        line_begin(&line, kinds[i]);
        ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), 0);
        ck_assert(tine__stream_withdraw(&line.out));
        ck_assert(tine__stream_idle(&line.out));
        ck_assert_rc(tine__stream_put(&line.out, "abc", 3, 0), 0);
        bytes = drain(&line.out, &size);
        feed(&line.in, bytes, size, &rc);
        ck_assert_rc(rc, 1);
        ck_assert_uint_eq(line.in.size, 3);
        free(bytes);
        ck_assert_rc(tine__stream_put(&line.out, "0123456789", 10, 0), 0);
        tine__stream_sent(&line.out, 1);
        ck_assert(!tine__stream_withdraw(&line.out));
        line_end(&line);
    }
}

TEST(random_bytes_are_no_message, .loop_end = 2)
{
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[200];
        struct line line;
        int rc;

        line_begin(&line, (enum kind)loop_index);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random_u64();
        feed(&line.in, bytes, sizeof bytes, &rc);
        ck_assert_int_ne(rc, 1);
        line_end(&line);
    }
}

SUITE("ipc/stream")
