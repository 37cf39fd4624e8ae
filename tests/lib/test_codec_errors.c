/* SPDX-License-Identifier: MIT */
/* What tine_pack and tine_unpack refuse, with which code, and that nothing is changed by it. */
#include "lib/codec.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

/* A refused call leaves the buffer as it was. */
#define REFUSED(expected, ...)                                                                     \
    do {                                                                                           \
        tine_buffer refused_ = {0};                                                                \
                                                                                                   \
        ck_assert_rc(tine_pack(&refused_, "s", "before"), 0);                                      \
        ck_assert_rc(tine_pack(&refused_, __VA_ARGS__), expected);                                 \
        ck_assert_uint_eq(refused_.size, 7);                                                       \
        ck_assert_mem_eq(refused_.data,                                                            \
                         "\xa6"                                                                    \
                         "before",                                                                 \
                         7);                                                                       \
        tine_buffer_free(&refused_);                                                               \
    } while (0)

#define UNPACK(text, ...) tine_unpack(text, sizeof text - 1, __VA_ARGS__)

static const char *const bad_formats[] = {
    "x",  "[",  "{",   "]",     "}", "[}", "{]", "[[]", "[]]",  "a", "ax", "as",
    "qw", "[q", "{n}", "{nnn}", "o", "c",  "F",  "z",   "\x80", "-", "\n",
};

TEST(pack_refuses_bad_formats, .loop_end = sizeof bad_formats / sizeof bad_formats[0])
{
    double x[4] = {0};

    REFUSED(-EINVAL, bad_formats[loop_index], x, (size_t)0, x, (size_t)0);
    REFUSED(-EINVAL, NULL);
}

TEST(unpack_refuses_bad_formats, .loop_end = sizeof bad_formats / sizeof bad_formats[0])
{
    const char *format = bad_formats[loop_index];
    uint64_t slots[4];

    if (strcmp(format, "{n}") == 0 || strcmp(format, "{nnn}") == 0)
        return; /* no map has this shape: TINE_EFORMAT, below */
    for (size_t i = 0; i < 3; i++) {
        static const char *const inputs[] = {"\x07", "\x91\x07", "\x91\x90"};
        int rc = tine_unpack(inputs[i], strlen(inputs[i]), format, &slots[0], &slots[1], &slots[2],
                             &slots[3]);

        ck_assert(rc == -EINVAL || rc == TINE_EFORMAT);
    }
    ck_assert_rc(UNPACK("\x07", NULL), -EINVAL);
    ck_assert_rc(tine_unpack(NULL, 1, "q", &slots[0]), -EINVAL);
}

TEST(unpack_tells_bad_formats_from_bad_bytes)
{
    int64_t q;

    ck_assert_rc(UNPACK("\x07", "x", &q), -EINVAL);
    ck_assert_rc(UNPACK("", "x", &q), -EINVAL);
    ck_assert_rc(UNPACK("\x91\x07", "[q", &q), -EINVAL);
    ck_assert_rc(UNPACK("\x91\x07", "[q}", &q), -EINVAL);
    ck_assert_rc(UNPACK("\x07", "q]", &q), -EINVAL);
    ck_assert_rc(UNPACK("\xc4\0", "a", &q), -EINVAL);
    ck_assert_rc(UNPACK("\x81\x01\x01", "{n}", &q), TINE_EFORMAT);
}

TEST(narrow_letters_are_range_checked_when_packing)
{
    REFUSED(-ERANGE, "b", 128);
    REFUSED(-ERANGE, "b", -129);
    REFUSED(-ERANGE, "B", 256);
    REFUSED(-ERANGE, "B", -1);
    REFUSED(-ERANGE, "h", 32768);
    REFUSED(-ERANGE, "h", -32769);
    REFUSED(-ERANGE, "H", 65536);
    REFUSED(-ERANGE, "H", -1);
    REFUSED(-ERANGE, "f", 1e39);
    REFUSED(-ERANGE, "[sb]", "first", 1000);
}

TEST(narrow_letters_are_range_checked_when_unpacking)
{
    static const struct {
        const char *bytes;
        size_t size;
        char letter;
    } cases[] = {
        {"\xcc\x80", 2, 'b'},
        {"\xd1\xff\x7f", 3, 'b'},
        {"\xcd\x01\0", 3, 'B'},
        {"\xff", 1, 'B'},
        {"\xcd\x80\0", 3, 'h'},
        {"\xd2\xff\xff\x7f\xff", 5, 'h'},
        {"\xce\0\x01\0\0", 5, 'H'},
        {"\xff", 1, 'H'},
        {"\xce\x80\0\0\0", 5, 'i'},
        {"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", 9, 'i'},
        {"\xcf\0\0\0\x01\0\0\0\0", 9, 'I'},
        {"\xff", 1, 'I'},
        {"\xcf\x80\0\0\0\0\0\0\0", 9, 'q'},
        {"\xff", 1, 'Q'},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t before = UINT64_MAX / 3, out = before;
        const char format[] = {cases[i].letter, '\0'};

        ck_assert_rc(tine_unpack(cases[i].bytes, cases[i].size, format, &out), -ERANGE);
        ck_assert(out == before);
    }
}

TEST(pack_refuses_null_where_something_must_be)
{
    REFUSED(-EINVAL, "s", NULL);
    REFUSED(-EINVAL, "y", NULL, (size_t)1);
    REFUSED(-EINVAL, "ad", NULL, (size_t)1);
    REFUSED(-EINVAL, "v", NULL, (size_t)1);
    ck_assert_rc(tine_pack(NULL, "n"), -EINVAL);
}

TEST(nothing_is_something_with_size_zero)
{
    tine_buffer buffer = {0};

    ck_assert_rc(tine_pack(&buffer, "yad", NULL, (size_t)0, NULL, (size_t)0), 0);
    ck_assert_uint_eq(buffer.size, 4);
    ck_assert_rc(tine_unpack(NULL, 0, ""), 0);
    ck_assert_rc(tine_unpack(NULL, 0, "n"), TINE_EFORMAT);
    tine_buffer_free(&buffer);
}

TEST(pack_refuses_what_msgpack_cannot_hold)
{
    static const char byte;

    REFUSED(-EOVERFLOW, "y", &byte, (size_t)UINT32_MAX + 1);
    REFUSED(-EOVERFLOW, "ad", &byte, (size_t)UINT32_MAX / 8 + 1);
    REFUSED(-EOVERFLOW, "aB", &byte, SIZE_MAX);
}

TEST(pack_takes_only_whole_values_for_v)
{
    REFUSED(TINE_EFORMAT, "v", "", (size_t)0);
    REFUSED(TINE_EFORMAT, "v", "\x01\x02", (size_t)2);
    REFUSED(TINE_EFORMAT, "v", "\x92\x01", (size_t)2);
    REFUSED(TINE_EFORMAT, "v", "\xc1", (size_t)1);
}

TEST(pack_refuses_a_buffer_that_was_never_initialised)
{
    tine_buffer buffer;

    memset(&buffer, 0xa5, sizeof buffer);
    ck_assert_rc(tine_pack(&buffer, "n"), -EINVAL);
    buffer = (tine_buffer){.size = 1};
    ck_assert_rc(tine_pack(&buffer, "n"), -EINVAL);
    buffer = (tine_buffer){.capacity = 1};
    ck_assert_rc(tine_pack(&buffer, "n"), -EINVAL);
}

TEST(brackets_nest_to_32)
{
    char format[2 * 33 + 1] = {0}, bytes[33];
    tine_buffer buffer = {0};

    memset(format, '[', 32);
    memset(format + 32, ']', 32);
    ck_assert_rc(tine_pack(&buffer, format), 0);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, format), 0);
    memset(format, '[', 33);
    memset(format + 33, ']', 33);
    REFUSED(-ELOOP, format);
    memset(bytes, 0x91, sizeof bytes);
    ck_assert_rc(tine_unpack(bytes, sizeof bytes, format), -ELOOP);
    tine_buffer_free(&buffer);
}

TEST(unpack_refuses_other_types)
{
    /* one value of each type, and the letters that take it */
    static const struct {
        const char *bytes;
        size_t size;
        const char *takers;
    } cases[] = {
        {"\xc0", 1, "np"},
        {"\xc3", 1, "?"},
        {"\x05", 1, "bBhHiIqQfd"},
        {"\xff", 1, "bhiqfd"},
        {"\xca\x3f\x80\0\0", 5, "fd"},
        {"\xa1x", 2, "sy"},
        {"\xc4\x01x", 3, "y"},
        {"\xd4\x05x", 3, ""},
    };
    static const char letters[] = "?bBhHiIqQfdsynp";
    uint64_t out[2];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (const char *letter = letters; *letter != '\0'; letter++) {
            const char format[] = {*letter, '\0'};
            bool takes = strchr(cases[i].takers, *letter) != NULL;
            int rc = tine_unpack(cases[i].bytes, cases[i].size, format, &out[0], &out[1]);

            ck_assert_msg((rc == 0) == takes, "case %zu letter %c: %d", i, *letter, rc);
            ck_assert(takes || rc == TINE_EFORMAT ||
                      (rc == -ERANGE && cases[i].bytes[0] == '\xff'));
            if (rc == 0 && *letter == 's')
                free((void *)(uintptr_t)out[0]);
        }
}

TEST(unpack_refuses_other_counts)
{
    int64_t a = 11, b = 22;

    ck_assert_rc(UNPACK("\x92\x01\x02", "[q]", &a), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x92\x01\x02", "[qqq]", &a, &b, &a), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x81\x01\x02", "{qqqq}", &a, &b, &a, &b), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x81\x01\x02", "[qq]", &a, &b), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x92\x01\x02", "{qq}", &a, &b), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x01\x02", "q", &a), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\x01", "qq", &a, &b), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xc4\x07xxxxxxx", "ad", &a, &b), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xa8xxxxxxxx", "ad", &a, &b), TINE_EFORMAT);
    ck_assert(a == 11 && b == 22);
}

TEST(unpack_writes_all_or_nothing)
{
    int64_t q = 11;
    double d = 22;
    char *text = NULL;
    const void *bytes = NULL;
    size_t size = 33;

    ck_assert_rc(UNPACK("\x94\x01\xa1x\xc4\x01y\xc3", "[qsyd]", &q, &text, &bytes, &size, &d),
                 TINE_EFORMAT);
    ck_assert(q == 11 && d == 22 && text == NULL && bytes == NULL && size == 33);
}

TEST(strings_with_a_nul_inside_are_for_y)
{
    const void *bytes;
    char *text = NULL;
    size_t size;

    ck_assert_rc(UNPACK("\xa3"
                        "a\0b",
                        "s", &text),
                 TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xa1\0", "s", &text), TINE_EFORMAT);
    ck_assert_ptr_null(text);
    ck_assert_rc(UNPACK("\xa3"
                        "a\0b",
                        "y", &bytes, &size),
                 0);
    ck_assert_uint_eq(size, 3);
    ck_assert_mem_eq(bytes, "a\0b", 3);
}

TEST(every_truncation_is_refused)
{
    tine_buffer buffer = {0};
    double x[3] = {1, 2, 3};
    uint64_t slots[12];

    ck_assert_rc(tine_pack(&buffer, "[qsd{sI}yad?f]", INT64_MIN,
                           "some text that is longer than 31 bytes", 1.5, "key", 70000U, "bytes",
                           (size_t)5, x, (size_t)3, true, 2.5),
                 0);
    for (size_t size = 0; size < buffer.size; size++) {
        uint8_t *exact = malloc(size > 0 ? size : 1); /* so that a sanitizer sees a byte too far */

        ck_assert_ptr_nonnull(exact);
        memcpy(exact, buffer.data, size);
        ck_assert_rc(tine_unpack(exact, size, "[qsd{sI}yad?f]", &slots[0], &slots[1], &slots[2],
                                 &slots[3], &slots[4], &slots[5], &slots[6], &slots[7], &slots[8],
                                 &slots[9], &slots[10]),
                     TINE_EFORMAT);
        free(exact);
    }
    tine_buffer_free(&buffer);
}

TEST(lengths_beyond_the_bytes_are_refused)
{
    const void *bytes;
    size_t size;
    char *text;

    ck_assert_rc(UNPACK("\xdb\xff\xff\xff\xff", "s", &text), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xc6\xff\xff\xff\xff", "y", &bytes, &size), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xdd\xff\xff\xff\xff", "v", &bytes, &size), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xc1", "v", &bytes, &size), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xc1", "n"), TINE_EFORMAT);
}

/* ---- p --------------------------------------------------------------------------------------- */

static uint8_t heap[64];

static int offset_of(const void *pointer, uint64_t *offset)
{
    const uint8_t *place = pointer;

    if (place < heap || place >= heap + sizeof heap)
        return -EINVAL;
    *offset = (uint64_t)(place - heap);
    return 0;
}

static int pointer_at(uint64_t offset, void **pointer)
{
    if (offset >= sizeof heap)
        return -EINVAL;
    *pointer = heap + offset;
    return 0;
}

TEST(descriptors_travel_only_to_tasks)
{
    int fd = -7;

    REFUSED(-EINVAL, "F", 2);
    REFUSED(-EINVAL, "[qF]", (int64_t)1, 2);
    ck_assert_rc(UNPACK("\xd7\x02\x05\0\0\0\0\0\0\0", "F", &fd), -EINVAL);
    ck_assert_int_eq(fd, -7);
}

TEST(pointers_travel_only_inside_the_heap)
{
    static const struct tine__pointers hooks = {.offset_of = offset_of, .pointer_at = pointer_at};
    tine_buffer buffer = {0};
    void *a = NULL, *b = heap;

    REFUSED(-EINVAL, "p", &heap[5]); /* no heap yet */
    ck_assert_rc(UNPACK("\xd7\x01\x05\0\0\0\0\0\0\0", "p", &a), TINE_EFORMAT);
    tine__codec_set_pointers(&hooks);
    ck_assert_rc(tine_pack(&buffer, "[pp]", &heap[5], NULL), 0);
    ck_assert_uint_eq(buffer.size, 12);
    ck_assert_mem_eq(buffer.data, "\x92\xd7\x01\x05\0\0\0\0\0\0\0\xc0", 12);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "[pp]", &a, &b), 0);
    ck_assert_ptr_eq(a, &heap[5]);
    ck_assert_ptr_null(b);
    REFUSED(-EINVAL, "p", &buffer);
    ck_assert_rc(UNPACK("\xd7\x01\x40\0\0\0\0\0\0\0", "p", &a), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xd7\x02\x05\0\0\0\0\0\0\0", "p", &a), TINE_EFORMAT);
    ck_assert_rc(UNPACK("\xd6\x01\x05\0\0\0", "p", &a), TINE_EFORMAT);
    ck_assert_ptr_eq(a, &heap[5]);
    tine_buffer_free(&buffer);
}

/* ---- tuples ---------------------------------------------------------------------------------- */

static int pack_tuple(tine_buffer *out, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = NULL};
    int rc;

    va_start(args.list, format);
    rc = tine__pack(out, format, true, &args);
    va_end(args.list);
    return rc;
}

static int unpack_tuple(const tine_buffer *in, struct tine__texts *texts, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = tine__vunpack(in->data, in->size, format, true, args, texts);
    va_end(args);
    return rc;
}

TEST(tuples_are_arrays_without_brackets)
{
    tine_buffer buffer = {0};
    struct tine__texts texts = {0};
    char *first = NULL, *second = NULL, *again = NULL;
    int64_t q = 0;

    ck_assert_rc(pack_tuple(&buffer, "sqs", "one", (int64_t)2, "a longer one than a pointer"), 0);
    ck_assert_uint_eq(buffer.data[0], 0x93);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "sqs", &first, &q, &second), 0);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "sqs", &again, NULL, NULL), 0);
    ck_assert_str_eq(first, "one");
    ck_assert_str_eq(again, "one");
    ck_assert_str_eq(second, "a longer one than a pointer");
    ck_assert_int_eq(q, 2);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "sq", &again, &q), TINE_EFORMAT);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "sqsq", &again, &q, &again, &q), TINE_EFORMAT);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "sqs]", &again, &q, &again), -EINVAL);
    tine__texts_free(&texts);
    ck_assert_ptr_null(texts.first);
    tine_buffer_clear(&buffer);
    ck_assert_rc(tine_pack(&buffer, "q", (int64_t)1), 0);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "q", &q), TINE_EFORMAT);
    tine_buffer_free(&buffer);
}

TEST(a_tuple_may_be_empty_or_long)
{
    tine_buffer buffer = {0};
    struct tine__texts texts = {0};

    ck_assert_rc(pack_tuple(&buffer, ""), 0);
    ck_assert_rc(unpack_tuple(&buffer, &texts, ""), 0);
    ck_assert_uint_eq(buffer.size, 1);
    tine_buffer_clear(&buffer);
    ck_assert_rc(pack_tuple(&buffer, "nnnnnnnnnnnnnnnnnnnn"), 0);
    ck_assert_uint_eq(buffer.size, 23);
    ck_assert_rc(unpack_tuple(&buffer, &texts, "nnnnnnnnnnnnnnnnnnnn"), 0);
    tine_buffer_free(&buffer);
}

SUITE("lib/codec errors")
