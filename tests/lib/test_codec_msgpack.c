/* SPDX-License-Identifier: MIT */
/*
 * The codec beside msgpack-c, with random values: what either writes, the other reads the same; and
 * byte for byte the same shortest form.
 */
#include <tine/codec.h>

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

/* Of every size alike, not nearly always of the largest. */
static uint64_t random_number(void)
{
    return random_u64() >> random_below(64);
}

struct sample {
    int64_t q;
    uint64_t Q;
    int h;
    double d;
    float f;
    bool flag;
    char text[600];
    uint8_t bytes[600];
    size_t size;
};

static void draw(struct sample *sample)
{
    size_t length = random_below(random_below(10) == 0 ? 599 : 40);

    sample->q = (int64_t)random_number();
    if (random_below(2) == 0)
        sample->q = -sample->q;
    sample->Q = random_number();
    sample->h = (int16_t)random_number();
    sample->d = (double)sample->q / 3;
    sample->f = (float)sample->h / 7;
    sample->flag = random_below(2) != 0;
    for (size_t i = 0; i < length; i++)
        sample->text[i] = (char)(1 + random_below(255));
    sample->text[length] = '\0';
    sample->size = random_below(600);
    for (size_t i = 0; i < sample->size; i++)
        sample->bytes[i] = (uint8_t)random_u64();
}

static const char sample_format[] = "[q{sQ}h[df]?nsy]";

static void pack_peer(msgpack_packer *peer, const struct sample *sample)
{
    size_t length = strlen(sample->text);

    msgpack_pack_array(peer, 8);
    msgpack_pack_int64(peer, sample->q);
    msgpack_pack_map(peer, 1);
    msgpack_pack_str(peer, 3);
    msgpack_pack_str_body(peer, "key", 3);
    msgpack_pack_uint64(peer, sample->Q);
    msgpack_pack_int(peer, sample->h);
    msgpack_pack_array(peer, 2);
    msgpack_pack_double(peer, sample->d);
    msgpack_pack_float(peer, sample->f);
    if (sample->flag)
        msgpack_pack_true(peer);
    else
        msgpack_pack_false(peer);
    msgpack_pack_nil(peer);
    msgpack_pack_str(peer, length);
    msgpack_pack_str_body(peer, sample->text, length);
    msgpack_pack_bin(peer, sample->size);
    msgpack_pack_bin_body(peer, sample->bytes, sample->size);
}

static void check_unpacked(const char *data, size_t size, const struct sample *sample)
{
    int64_t q;
    uint64_t Q;
    int16_t h;
    double d;
    float f;
    bool flag;
    char *text;
    const void *bytes;
    size_t bytes_size;

    ck_assert_rc(tine_unpack(data, size, sample_format, &q, NULL, &Q, &h, &d, &f, &flag, &text,
                             &bytes, &bytes_size),
                 0);
    ck_assert(q == sample->q && Q == sample->Q && h == sample->h && flag == sample->flag);
    ck_assert(d == sample->d && f == sample->f);
    ck_assert_str_eq(text, sample->text);
    ck_assert_uint_eq(bytes_size, sample->size);
    ck_assert(bytes_size == 0 || memcmp(bytes, sample->bytes, bytes_size) == 0);
    free(text);
}

TEST(random_values_agree_in_both_directions)
{
    tine_buffer buffer = {0};
    msgpack_sbuffer peer_buffer;
    msgpack_packer peer;
    struct sample sample;

    msgpack_sbuffer_init(&peer_buffer);
    msgpack_packer_init(&peer, &peer_buffer, msgpack_sbuffer_write);
    for (int round = 0; round < 20000; round++) {
        draw(&sample);
        tine_buffer_clear(&buffer);
        ck_assert_rc(tine_pack(&buffer, sample_format, sample.q, "key", sample.Q, sample.h,
                               sample.d, (double)sample.f, sample.flag, sample.text, sample.bytes,
                               sample.size),
                     0);
        msgpack_sbuffer_clear(&peer_buffer);
        pack_peer(&peer, &sample);
        ck_assert_uint_eq(buffer.size, peer_buffer.size);
        ck_assert_mem_eq(buffer.data, peer_buffer.data, buffer.size);
        check_unpacked(peer_buffer.data, peer_buffer.size, &sample);
    }
    msgpack_sbuffer_destroy(&peer_buffer);
    tine_buffer_free(&buffer);
}

/* A random tree, made by msgpack-c; how many values it has. */
static size_t grow(msgpack_packer *peer, unsigned depth)
{
    uint64_t choice = random_below(depth == 0 ? 4 : 6);
    size_t children, values = 1;

    if (choice == 0)
        msgpack_pack_int64(peer, (int64_t)random_u64() >> random_below(64));
    else if (choice == 1)
        msgpack_pack_double(peer, (double)random_number());
    else if (choice == 2)
        msgpack_pack_str_with_body(peer, "some text of many bytes", random_below(23));
    else if (choice == 3)
        msgpack_pack_bin_with_body(peer, "some bytes", random_below(10));
    else {
        children = random_below(choice == 4 ? 20 : 10);
        if (choice == 4)
            msgpack_pack_array(peer, children);
        else
            msgpack_pack_map(peer, children);
        for (size_t i = 0; i < (choice == 4 ? children : 2 * children); i++)
            values += grow(peer, depth - 1);
    }
    return values;
}

static size_t walk(tine_reader *reader)
{
    size_t count, values = 1;
    int type = tine_reader_type(reader);

    if (type != TINE_TYPE_ARRAY && type != TINE_TYPE_MAP) {
        ck_assert_rc(tine_reader_skip(reader), 0);
        return 1;
    }
    ck_assert_rc(type == TINE_TYPE_ARRAY ? tine_reader_array(reader, &count)
                                         : tine_reader_map(reader, &count),
                 0);
    while (tine_reader_type(reader) != TINE_TYPE_END)
        values += walk(reader);
    ck_assert_rc(tine_reader_leave(reader), 0);
    return values;
}

TEST(the_reader_finds_every_value_of_a_random_tree)
{
    msgpack_sbuffer buffer;
    msgpack_packer peer;
    tine_reader reader;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&peer, &buffer, msgpack_sbuffer_write);
    for (int round = 0; round < 500; round++) {
        size_t values;

        msgpack_sbuffer_clear(&buffer);
        values = grow(&peer, 4);
        ck_assert_rc(
            tine_reader_init(&reader, buffer.data, buffer.size, &(tine_limits){.elements = values}),
            0);
        ck_assert_uint_eq(walk(&reader), values);
        ck_assert_rc(tine_reader_type(&reader), TINE_TYPE_END);
        if (values > 1)
            ck_assert_rc(tine_reader_init(&reader, buffer.data, buffer.size,
                                          &(tine_limits){.elements = values - 1}),
                         TINE_EFORMAT);
    }
    msgpack_sbuffer_destroy(&buffer);
}

SUITE("lib/codec beside msgpack-c")
