/* SPDX-License-Identifier: MIT */
#include "ipc/frame.h"

#include <errno.h>
#include <string.h>

#include <tine/pipe.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

static uint32_t quick = 1;

static struct tine__frame_rules rules(int32_t check)
{
    struct tine__frame_rules made;

    tine__frame_rules_make(&made, check, 1 << 20);
    made.quick = quick;
    return made;
}

/* A record on its way: header and payload behind one another. */
struct record {
    uint8_t header[TINE__FRAME_BYTES];
    uint8_t payload[70000];
};

static struct record record;

static void encode(const struct tine__frame_rules *rules, size_t size)
{
    struct tine__frame frame = {
        .length = size,
        .sequence = UINT64_C(0x0123456789abcdef),
        .epoch = 77,
        .type = TINE__FRAME_INLINE,
        .descriptors = 3,
    };
    struct iovec payload = {record.payload, size};

    for (size_t i = 0; i < size; i++)
        record.payload[i] = (uint8_t)random_u64();
    tine__frame_encode(record.header, &frame, rules, &payload, 1);
}

static int decode(const struct tine__frame_rules *rules, size_t size, struct tine__frame *frame)
{
    struct iovec payload = {record.payload, size};
    int rc = tine__frame_decode(record.header, TINE__FRAME_BYTES + size, rules, frame);

    return rc < 0 ? rc : tine__frame_verify(record.header, frame, rules, &payload, 1);
}

TEST(what_was_encoded_is_decoded, .loop_end = 2)
{
    static const size_t sizes[] = {0, 1, 63, 64, 256, 257, 4096, 4097, 65536};

    quick = (uint32_t)loop_index;
    for (int32_t check = TINE_CHECK_DEFAULT; check <= TINE_CHECK_FULL; check++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct tine__frame_rules r = rules(check);
            struct tine__frame frame;

            encode(&r, sizes[i]);
            ck_assert_rc(decode(&r, sizes[i], &frame), 0);
            ck_assert_uint_eq(frame.length, sizes[i]);
            ck_assert_uint_eq(frame.sequence, UINT64_C(0x0123456789abcdef));
            ck_assert_uint_eq(frame.epoch, 77);
            ck_assert_uint_eq(frame.descriptors, 3);
            ck_assert_uint_eq(frame.type, TINE__FRAME_INLINE);
        }
}

/* A payload in parts has the same tag as one in a piece. */
TEST(the_tag_does_not_depend_on_the_parts)
{
    for (size_t size = 256; size < 10000; size += 777) {
        struct tine__frame_rules r = rules(TINE_CHECK_FULL);
        struct iovec parts[2] = {{record.payload, 256}, {record.payload + 256, size - 256}};
        struct tine__frame frame;

        encode(&r, size);
        ck_assert_rc(decode(&r, size, &frame), 0);
        ck_assert_rc(tine__frame_verify(record.header, &frame, &r, parts, 2), 0);
    }
}

TEST(any_flipped_bit_under_the_tag_shows, .loop_end = 2)
{
    static const size_t sizes[] = {0, 5, 256, 300};

    quick = (uint32_t)loop_index;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct tine__frame_rules r = rules(TINE_CHECK_DEFAULT);
        uint8_t *bytes = record.header;

        encode(&r, sizes[i]);
        for (size_t bit = 0; bit < 8 * (TINE__FRAME_BYTES + sizes[i]); bit++) {
            struct tine__frame frame;

            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ck_assert_int_lt(decode(&r, sizes[i], &frame), 0);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

TEST(the_rules_say_how_much_is_checked, .loop_end = 2)
{
    static const struct {
        int32_t check;
        size_t size;
        int rc;
    } cases[] = {
        {TINE_CHECK_HEADER, 100, 0},
        {TINE_CHECK_DEFAULT, 100, TINE_ECHECKSUM},
        {TINE_CHECK_DEFAULT, 4096, TINE_ECHECKSUM},
        {TINE_CHECK_DEFAULT, 4097, 0},
        {TINE_CHECK_FULL, 4097, TINE_ECHECKSUM},
    };

    quick = (uint32_t)loop_index;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tine__frame_rules r = rules(cases[i].check);
        struct tine__frame frame;

        encode(&r, cases[i].size);
        record.payload[cases[i].size - 1] ^= 1;
        ck_assert_rc(decode(&r, cases[i].size, &frame), cases[i].rc);
    }
}

TEST(a_record_of_another_connection_is_refused, .loop_end = 2)
{
    struct tine__frame_rules here = rules(0), there = rules(0);
    struct tine__frame frame;

    here.quick = there.quick = (uint32_t)loop_index;
    encode(&here, 1000);
    ck_assert_rc(decode(&there, 1000, &frame), TINE_ECHECKSUM);
    encode(&here, 10);
    ck_assert_rc(decode(&there, 10, &frame), TINE_ECHECKSUM);
}

/* What the header says is checked before anything else, and nothing is written. */
static void expect_refusal(const struct tine__frame_rules *r, size_t size, int rc)
{
    struct tine__frame frame, before;

    memset(&frame, 0x5a, sizeof frame);
    before = frame;
    ck_assert_rc(tine__frame_decode(record.header, size, r, &frame), rc);
    ck_assert_mem_eq(&frame, &before, sizeof frame);
}

TEST(headers_that_make_no_sense_are_refused)
{
    struct tine__frame_rules r = rules(0);
    struct tine__frame_wire *wire = (struct tine__frame_wire *)record.header;

    encode(&r, 10);
    for (size_t size = 0; size < TINE__FRAME_BYTES + 20; size++)
        if (size != TINE__FRAME_BYTES + 10)
            expect_refusal(&r, size, TINE_EFORMAT);
    wire->version = 2;
    expect_refusal(&r, TINE__FRAME_BYTES + 10, -EPROTO);
    wire->version = 1;
    wire->type = 3;
    expect_refusal(&r, TINE__FRAME_BYTES + 10, TINE_EFORMAT);
    wire->type = TINE__FRAME_BLOCK; /* whose payload has 16 bytes */
    expect_refusal(&r, TINE__FRAME_BYTES + 10, TINE_EFORMAT);
    wire->type = TINE__FRAME_INLINE;
    wire->descriptors = TINE__FRAME_DESCRIPTORS + 1;
    expect_refusal(&r, TINE__FRAME_BYTES + 10, TINE_EFORMAT);
    wire->descriptors = 0;
    wire->length = (1 << 20) + 1;
    expect_refusal(&r, TINE__FRAME_STREAM, TINE_EFORMAT);
    wire->length = UINT64_MAX;
    expect_refusal(&r, TINE__FRAME_BYTES + 10, TINE_EFORMAT);
    wire->magic++;
    expect_refusal(&r, TINE__FRAME_BYTES + 10, TINE_EFORMAT);
}

TEST(a_block_is_named_with_its_generation)
{
    uint8_t payload[sizeof(struct tine__frame_block_wire)];
    struct tine__frame_block named = {31, 0xfffffff0, 0x1122334455667788}, read;

    tine__frame_put_block(payload, &named);
    tine__frame_get_block(payload, &read);
    ck_assert_uint_eq(read.slot, named.slot);
    ck_assert_uint_eq(read.generation, named.generation);
    ck_assert_uint_eq(read.tag, named.tag);
}

SUITE("ipc/frame")
