/* SPDX-License-Identifier: MIT */
/* Shareable lists: values, room, what Python loses and tine does not, and Python beside it. */
#include <tine/shareable_list.h>

#include <tine/codec.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/shm/shareable_help.h"
#include "tests/support/children.h"
#include "tests/support/python.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static char *bytes_of(const tine_shareable_list *list)
{
    return tine_shm_data(tine_shareable_list_shm(list));
}

static void set(tine_shareable_list *list, size_t index, tine_shareable_item item)
{
    ck_assert_rc(tine_shareable_list_set(list, index, &item), 0);
    assert_item(list, index, &item);
}

/* ---- values ---------------------------------------------------------------------------------- */

TEST(every_type_is_what_it_was)
{
    const tine_shareable_item items[] = {
        tine_shareable_none(),
        tine_shareable_bool(true),
        tine_shareable_bool(false),
        tine_shareable_int(0),
        tine_shareable_int(INT64_MIN),
        tine_shareable_int(INT64_MAX),
        tine_shareable_float(-0.0),
        tine_shareable_float(DBL_MAX),
        tine_shareable_float(-INFINITY),
        tine_shareable_str(""),
        tine_shareable_str("exactly8"),
        tine_shareable_str("\u20ac\u20ac\u20ac\u20ac \U0001f600"),
        tine_shareable_bytes("", 0),
        tine_shareable_bytes("a\0b\0", 4),
        tine_shareable_bytes("\0\0\0\0\0\0\0\0", 8),
        tine_shareable_bytes("\xff\x80", 2),
        {.type = TINE_SHAREABLE_STR, .size = 3, .value.bytes = "x\0\0"},
    };
    const size_t n = sizeof items / sizeof items[0];
    tine_shareable_list *a = create(items, n), *b = attach();

    ck_assert_uint_eq(tine_shareable_list_len(b), n);
    for (size_t i = 0; i < n; i++)
        assert_item(b, i, &items[i]);
    detach(b);
    end(a);
}

TEST(an_empty_list_is_a_list)
{
    tine_shareable_list *a = create(NULL, 0), *b = attach();
    tine_shareable_item item = tine_shareable_none();
    size_t found = 7;

    ck_assert_uint_eq(tine_shareable_list_len(b), 0);
    ck_assert_rc(tine_shareable_list_get(b, 0, NULL, &item), -ERANGE);
    ck_assert_rc(tine_shareable_list_index(b, &item, &found), -ENOENT);
    ck_assert_uint_eq(found, 7);
    ck_assert_rc(tine_shareable_list_count(b, &item, &found), 0);
    ck_assert_uint_eq(found, 0);
    detach(b);
    end(a);
}

TEST(an_item_takes_any_type_that_fits_into_its_room)
{
    const tine_shareable_item items[] = {tine_shareable_str("123456789"), tine_shareable_int(1)};
    tine_shareable_list *list = create(items, 2);
    tine_shareable_item long_one = tine_shareable_str("12345678901234567");

    set(list, 0, tine_shareable_int(-5));
    set(list, 0, tine_shareable_bytes("1234567890123456", 16));
    set(list, 0, tine_shareable_none());
    set(list, 0, tine_shareable_str("a\0b"));
    ck_assert_rc(tine_shareable_list_set(list, 0, &long_one), -EMSGSIZE);
    assert_item(list, 0, &(tine_shareable_item){TINE_SHAREABLE_STR, 0, 1, {.bytes = "a"}});
    set(list, 1, tine_shareable_str("12345678"));
    set(list, 1, tine_shareable_bytes("1234567\0", 8));
    set(list, 1, tine_shareable_bytes("\0", 1));
    set(list, 1, tine_shareable_float(0.5));
    set(list, 1, tine_shareable_bool(true));
    assert_item(list, 0, &(tine_shareable_item){TINE_SHAREABLE_STR, 0, 1, {.bytes = "a"}});
    end(list);
}

TEST(numbers_are_found_across_their_types_as_in_python)
{
    const int64_t odd = (INT64_C(1) << 53) + 1;
    const tine_shareable_item items[] = {
        tine_shareable_str("1"),      tine_shareable_bytes("1", 1),
        tine_shareable_float(1),      tine_shareable_bool(true),
        tine_shareable_int(1),        tine_shareable_none(),
        tine_shareable_float(NAN),    tine_shareable_float((double)odd),
        tine_shareable_int(odd),      tine_shareable_bool(false),
        tine_shareable_float(0x1p63), tine_shareable_int(INT64_MAX)};
    const struct {
        tine_shareable_item item;
        size_t index, count;
    } cases[] = {
        {tine_shareable_int(1), 2, 3},        {tine_shareable_bool(true), 2, 3},
        {tine_shareable_float(1), 2, 3},      {tine_shareable_str("1"), 0, 1},
        {tine_shareable_bytes("1", 1), 1, 1}, {tine_shareable_none(), 5, 1},
        {tine_shareable_int(odd), 8, 1},      {tine_shareable_int(odd - 1), 7, 1},
        {tine_shareable_float(0), 9, 1},      {tine_shareable_int(INT64_MAX), 11, 1},
        {tine_shareable_float(NAN), 99, 0},   {tine_shareable_str("2"), 99, 0},
        {tine_shareable_str(""), 99, 0},
    };
    tine_shareable_list *list = create(items, sizeof items / sizeof items[0]);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t index = 99, count = 99;
        int rc = tine_shareable_list_index(list, &cases[i].item, &index);

        ck_assert_rc(rc, cases[i].count > 0 ? 0 : -ENOENT);
        ck_assert_rc(tine_shareable_list_count(list, &cases[i].item, &count), 0);
        ck_assert_msg(index == cases[i].index && count == cases[i].count,
                      "case %zu: index %zu, count %zu", i, index, count);
    }
    end(list);
}

TEST(a_list_that_exists_is_attached_on_request)
{
    const tine_shareable_item items[] = {tine_shareable_int(5), tine_shareable_str("five")};
    tine_shareable_list *a = create(items, 2), *b = NULL;

    ck_assert_rc(tine_shareable_list_create(&b, name_of("l"), items, 2, NULL), -EEXIST);
    ck_assert_ptr_null(b);
    set(a, 0, tine_shareable_int(6));
    ck_assert_rc(tine_shareable_list_create(&b, name_of("l"), items, 2,
                                            &(tine_shm_options){.exist_ok = true}),
                 1);
    assert_item(b, 0, &(tine_shareable_item){TINE_SHAREABLE_INT, 0, 0, {.integer = 6}});
    detach(b);
    end(a);
}

/* ---- refusals -------------------------------------------------------------------------------- */

TEST(bad_items_are_refused)
{
    static const char long_text[10000000];
    const struct {
        tine_shareable_item item;
        int rc;
    } cases[] = {
        {{.type = 6}, -EINVAL},
        {{.type = -1}, -EINVAL},
        {{.type = TINE_SHAREABLE_INT, .reserved = 1}, -EINVAL},
        {{.type = TINE_SHAREABLE_BYTES, .size = 1}, -EINVAL},
        {tine_shareable_str("\xff"), -EINVAL},
        {tine_shareable_str("\xc0\x80"), -EINVAL},
        {tine_shareable_str("\xe2\x82"), -EINVAL},
        {tine_shareable_str("\xed\xa0\x80"), -EINVAL},
        {tine_shareable_str("\xf4\x90\x80\x80"), -EINVAL},
        {tine_shareable_bytes(long_text, 9999992), -EMSGSIZE},
        {tine_shareable_bytes(long_text, 1000000), -EMSGSIZE},
    };
    const tine_shareable_item good = tine_shareable_str("12345678");
    tine_shareable_list *list = create(&good, 1), *other = NULL;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_rc(tine_shareable_list_create(&other, name_of("m"), &cases[i].item, 1, NULL),
                     cases[i].rc);
        ck_assert_rc(tine_shareable_list_set(list, 0, &cases[i].item), cases[i].rc);
    }
    ck_assert_ptr_null(other);
    assert_item(list, 0, &good);
    end(list);
}

static int no_init(void *data, size_t size, void *context)
{
    (void)data, (void)size, (void)context;
    return 0;
}

TEST(bad_arguments_are_refused)
{
    const tine_shareable_item item = tine_shareable_str("x");
    tine_shareable_list *list = create(&item, 1), *other = NULL;
    tine_shareable_item found = tine_shareable_int(3);
    size_t index = 0;

    ck_assert_rc(tine_shareable_list_create(NULL, name_of("m"), &item, 1, NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_create(&other, name_of("m"), NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_create(&other, name_of("m"), &item, 1,
                                            &(tine_shm_options){.init = no_init}),
                 -EINVAL);
    ck_assert_rc(tine_shareable_list_attach(NULL, name_of("l"), NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_attach(&other, name_of("m"), NULL), -ENOENT);
    ck_assert_ptr_null(other);
    ck_assert_rc(tine_shareable_list_get(list, 0, NULL, &found), -EINVAL);
    ck_assert_rc(tine_shareable_list_get(list, 1, NULL, &found), -ERANGE);
    ck_assert_rc(tine_shareable_list_get(list, SIZE_MAX, NULL, &found), -ERANGE);
    ck_assert_rc(tine_shareable_list_get(list, 0, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_get(NULL, 0, NULL, &found), -EINVAL);
    ck_assert_rc(tine_shareable_list_set(NULL, 0, &item), -EINVAL);
    ck_assert_rc(tine_shareable_list_set(list, 0, NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_set(list, 1, &item), -ERANGE);
    ck_assert_rc(tine_shareable_list_index(list, NULL, &index), -EINVAL);
    ck_assert_rc(tine_shareable_list_count(list, &item, NULL), -EINVAL);
    ck_assert_rc(tine_shareable_list_count(NULL, &item, &index), -EINVAL);
    ck_assert_int_eq(found.value.integer, 3);
    ck_assert_uint_eq(tine_shareable_list_len(NULL), 0);
    ck_assert_ptr_null(tine_shareable_list_shm(NULL));
    ck_assert_rc(tine_shareable_list_detach(NULL), 0);
    end(list);
}

TEST(a_read_only_list_is_not_set)
{
    const tine_shareable_item item = tine_shareable_str("x");
    tine_shareable_list *a = create(&item, 1), *b;

    ck_assert_rc(
        tine_shareable_list_attach(&b, name_of("l"), &(tine_shm_options){.read_only = true}), 0);
    ck_assert_rc(tine_shareable_list_set(b, 0, &item), -EACCES);
    assert_item(b, 0, &item);
    detach(b);
    end(a);
}

/* A value that the creator leaves half written. */
TEST(an_item_whose_writer_died_is_told_until_it_is_set_again)
{
    const tine_shareable_item items[] = {tine_shareable_str("x"), tine_shareable_int(1)};
    tine_shareable_list *list = create(items, 2);
    tine_shareable_item item;
    tine_buffer buffer = {0};
    size_t count;

    memset(bytes_of(list) + 8 * 4 + 16, 0, 8); /* the format of the first */
    ck_assert_rc(tine_shareable_list_get(list, 0, &buffer, &item), TINE_EFORMAT);
    ck_assert_rc(tine_shareable_list_count(list, &items[0], &count), TINE_EFORMAT);
    assert_item(list, 1, &items[1]);
    set(list, 0, items[0]);
    tine_buffer_free(&buffer);
    end(list);
}

static void overwrite(tine_shareable_list *list)
{
    tine_shareable_item item;
    tine_shareable_list *other;
    tine_buffer buffer = {0};
    size_t index;

    for (size_t i = 0; i < tine_shareable_list_len(list); i++) {
        tine_shareable_item text = tine_shareable_str("12345");

        (void)!tine_shareable_list_get(list, i, &buffer, &item);
        (void)!tine_shareable_list_set(list, i, &text);
    }
    item = tine_shareable_str("");
    (void)!tine_shareable_list_index(list, &item, &index);
    if (tine_shareable_list_attach(&other, name_of("l"), NULL) == 0)
        detach(other);
    tine_buffer_free(&buffer);
}

/* Whoever can write to the segment can lie in it; behind it is a page without access. */
TEST(lies_in_the_segment_lead_nowhere)
{
    const tine_shareable_item items[] = {tine_shareable_str("abcdefghi"), tine_shareable_int(1),
                                         tine_shareable_none(), tine_shareable_float(2)};
    tine_shareable_list *list;
    size_t size;
    char *bytes;

    ck_assert_rc(tine_shareable_list_create(&list, name_of("l"), items, 4,
                                            &(tine_shm_options){.reserve = 65536}),
                 0);
    size = tine_shm_size(tine_shareable_list_shm(list));
    bytes = bytes_of(list);
    for (int round = 0; round < 20000; round++) {
        char saved[256];
        size_t at = 8 * (size_t)random_below(size / 8), width = 1 + (size_t)random_below(8);
        uint64_t lie = random_below(2) == 0 ? random_u64() : random_below(300);

        memcpy(saved, bytes, size);
        memcpy(bytes + at, &lie, width);
        overwrite(list);
        memcpy(bytes, saved, size);
    }
    end(list);
}

TEST(what_is_no_list_is_refused)
{
    tine_shareable_list *list = NULL;
    tine_shm *shm;
    uint64_t *words;

    ck_assert_rc(tine_shm_create(&shm, name_of("l"), 15, NULL), 0);
    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), TINE_EFORMAT);
    ck_assert_rc(tine_shm_grow(shm, 400), 0);
    words = tine_shm_data(shm);
    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), TINE_EFORMAT);
    words[0] = 1;
    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), TINE_EFORMAT);
    words[2] = 400;
    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), TINE_EFORMAT);
    words[0] = UINT64_MAX;
    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), TINE_EFORMAT);
    ck_assert_ptr_null(list);
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

/* ---- concurrency ----------------------------------------------------------------------------- */

struct writers {
    struct gate *gate;
    _Atomic bool stop;
};

/* Numbers that share no bit: a mixture would show. */
static void write_strings(void *context)
{
    struct writers *writers = context;
    tine_shareable_list *list = attach();
    const tine_shareable_item items[] = {tine_shareable_str("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                                         tine_shareable_str("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"),
                                         tine_shareable_int(-1), tine_shareable_int(0)};

    gate_raise(writers->gate);
    for (size_t i = 0; !writers->stop; i++) {
        if (tine_shareable_list_set(list, 0, &items[i % 2]) < 0 ||
            tine_shareable_list_set(list, 1, &items[2 + i % 2]) < 0)
            ck_abort_msg("not set");
    }
    ck_assert_rc(tine_shareable_list_detach(list), 0);
}

TEST(numbers_are_whole_while_they_are_set)
{
    const tine_shareable_item items[] = {tine_shareable_str("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                                         tine_shareable_int(0)};
    struct writers *writers = shared_memory(sizeof *writers);
    tine_shareable_list *list = create(items, 2);
    tine_shareable_item item;
    struct child child;
    tine_buffer buffer = {0};

    writers->gate = gate_new();
    child = child_start(write_strings, writers);
    gate_await(writers->gate, 1);
    for (int i = 0; i < 100000; i++) {
        int rc = tine_shareable_list_get(list, 1, NULL, &item);

        if (rc != 0 || (item.value.integer != 0 && item.value.integer != -1))
            ck_abort_msg("integer: %d", rc);
        rc = tine_shareable_list_get(list, 0, &buffer, &item);
        if (rc != 0 && rc != TINE_EFORMAT)
            ck_abort_msg("string: %d", rc);
    }
    writers->stop = true;
    child_join(&child);
    tine_buffer_free(&buffer);
    end(list);
}

SUITE("shm/shareable_list")
