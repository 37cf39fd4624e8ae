/* SPDX-License-Identifier: MIT */
/* The envelope: its bytes are what doc/wire.md says, and nothing damaged gets through. */
#include "lib/pickle.h"

#include <tine/codec.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

static tine_buffer make(const char *value, size_t size)
{
    tine_buffer pickle = {0};

    ck_assert_rc(tine_pickle(&pickle, value, size), 0);
    return pickle;
}

#define MAKE(text) make(text, sizeof text - 1)

static int open_pickle(const void *bytes, size_t size, const tine_limits *limits)
{
    const void *value = NULL;
    size_t value_size = 99;
    int rc = tine_unpickle(bytes, size, limits, &value, &value_size);

    ck_assert(rc == 0 || (value == NULL && value_size == 99));
    return rc;
}

/* The digest made right again, so that only the field changed can be at fault. */
static void seal(tine_buffer *pickle)
{
    tine__digest(pickle->data, 16, pickle->data + 48, pickle->size - 48, pickle->data + 16);
}

TEST(a_value_comes_back)
{
    tine_buffer pickle = MAKE("\x93\x01\x02\x03");
    const void *value = NULL;
    size_t size = 0;

    ck_assert_uint_eq(pickle.size, 52);
    ck_assert_rc(tine_unpickle(pickle.data, pickle.size, NULL, &value, &size), 0);
    ck_assert_ptr_eq(value, pickle.data + 48);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(value, "\x93\x01\x02\x03", 4);
    tine_buffer_free(&pickle);
}

TEST(the_bytes_never_change)
{
    tine_buffer pickle = MAKE("\xa4tine");

    ck_assert_mem_eq(pickle.data, "\x8btn\n\x01\0\0\0\x05\0\0\0\0\0\0\0", 16);
    ck_assert_mem_eq(pickle.data + 16,
                     "\x9b\xa8\xf1\x13\x2b\x1b\xdf\x29\x4b\xd4\x3a\xa3\xb5\xea\x87\x5f"
                     "\xaa\xe0\xa5\x1c\x0a\x6b\xed\x4b\xfb\x91\x34\x5b\x45\xc2\xbd\xb3",
                     32);
    ck_assert_mem_eq(pickle.data + 48, "\xa4tine", 5);
    tine_buffer_free(&pickle);
}

TEST(pickles_are_appended)
{
    tine_buffer pickles = MAKE("\x01");

    ck_assert_rc(tine_pickle(&pickles, "\x02", 1), 0);
    ck_assert_rc(open_pickle(pickles.data, 49, NULL), 0);
    ck_assert_rc(open_pickle(pickles.data + 49, 49, NULL), 0);
    ck_assert_rc(open_pickle(pickles.data, 98, NULL), TINE_EFORMAT);
    tine_buffer_free(&pickles);
}

TEST(only_one_whole_value_is_pickled)
{
    tine_buffer out = {0}, wild;

    ck_assert_rc(tine_pickle(&out, "\x01\x02", 2), TINE_EFORMAT);
    ck_assert_rc(tine_pickle(&out, "", 0), TINE_EFORMAT);
    ck_assert_rc(tine_pickle(&out, NULL, 0), TINE_EFORMAT);
    ck_assert_rc(tine_pickle(&out, NULL, 1), -EINVAL);
    ck_assert_uint_eq(out.size, 0);
    memset(&wild, 0xa5, sizeof wild);
    ck_assert_rc(tine_pickle(&wild, "\x01", 1), -EINVAL);
    tine_buffer_free(&out);
}

TEST(every_truncation_is_noticed)
{
    tine_buffer pickle = MAKE("\x93\x01\x02\x03");

    for (size_t size = 0; size < pickle.size; size++) {
        uint8_t *exact = malloc(size > 0 ? size : 1);

        ck_assert_ptr_nonnull(exact);
        memcpy(exact, pickle.data, size);
        ck_assert_rc(open_pickle(exact, size, NULL), -EBADMSG);
        free(exact);
    }
    tine_buffer_free(&pickle);
}

TEST(every_flipped_bit_is_noticed)
{
    tine_buffer pickle = MAKE("\x93\x01\xa5seven\xcb\x40\x1c\0\0\0\0\0\0");

    for (size_t bit = 0; bit < 8 * pickle.size; bit++) {
        int rc;

        pickle.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        rc = open_pickle(pickle.data, pickle.size, NULL);
        if (bit < 8 * 4)
            ck_assert_rc(rc, TINE_EFORMAT);
        else if (bit < 8 * 8)
            ck_assert_rc(rc, -EPROTO);
        else if (bit < 8 * 16)
            ck_assert(rc == -EBADMSG || rc == TINE_EFORMAT);
        else
            ck_assert_rc(rc, TINE_ECHECKSUM);
        pickle.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), 0);
    tine_buffer_free(&pickle);
}

TEST(other_versions_are_refused_as_such)
{
    tine_buffer pickle = MAKE("\x01");

    pickle.data[4] = 2;
    seal(&pickle);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), -EPROTO);
    pickle.data[4] = 1;
    pickle.data[7] = 0x80;
    seal(&pickle);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), -EPROTO);
    pickle.data[7] = 0;
    seal(&pickle);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), 0);
    tine_buffer_free(&pickle);
}

TEST(a_sealed_envelope_does_not_make_its_value_right)
{
    tine_buffer pickle = MAKE("\x92\x01\x02");

    pickle.data[48] = 0x93;
    seal(&pickle);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), TINE_EFORMAT);
    pickle.data[48] = 0x91;
    seal(&pickle);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, NULL), TINE_EFORMAT);
    tine_buffer_free(&pickle);
}

TEST(limits_hold_for_the_value)
{
    tine_buffer pickle = MAKE("\x92\x01\x91\x02");

    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.bytes = 4}), 0);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.bytes = 3}), TINE_EFORMAT);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.elements = 3}),
                 TINE_EFORMAT);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.depth = 1}), TINE_EFORMAT);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.depth = 65}), -EINVAL);
    ck_assert_rc(open_pickle(pickle.data, pickle.size, &(tine_limits){.reserved[1] = 1}), -E2BIG);
    tine_buffer_free(&pickle);
}

TEST(null_arguments_are_refused)
{
    tine_buffer pickle = MAKE("\x01");
    const void *value;
    size_t size;

    ck_assert_rc(tine_unpickle(NULL, 0, NULL, &value, &size), -EINVAL);
    ck_assert_rc(tine_unpickle(pickle.data, pickle.size, NULL, NULL, &size), -EINVAL);
    ck_assert_rc(tine_unpickle(pickle.data, pickle.size, NULL, &value, NULL), -EINVAL);
    tine_buffer_free(&pickle);
}

SUITE("lib/pickle")
