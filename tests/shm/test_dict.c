/* SPDX-License-Identifier: MIT */
/* What the calls of the dictionary mean, in one process and in many at once. */
#include <tine/dict.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/dict_impl.h"
#include "tests/shm/dict_help.h"
#include "tests/shm/heap_help.h"
#include "tests/support/random.h"

HEAP_BEFORE_TESTS

/* The number in such a key. */
static int number_of(const tine_dict_item *item)
{
    char text[32] = "";

    memcpy(text, item->key, item->key_len);
    return atoi(text + strlen("key "));
}

/* ---- one process ----------------------------------------------------------------------------- */

TEST(what_was_put_is_got)
{
    tine_dict *dict = open_dict();
    int64_t number;
    double real;
    char *text;

    ck_assert_ok(tine_dict_put(dict, "a", "qd", (int64_t)7, 7.5));
    ck_assert_ok(tine_dict_put(dict, "b", "s", "seven"));
    ck_assert_ok(tine_dict_get(dict, "a", "qd", &number, &real));
    ck_assert_int_eq(number, 7);
    ck_assert_double_eq(real, 7.5);
    ck_assert_ok(tine_dict_get(dict, "b", "s", &text));
    ck_assert_str_eq(text, "seven");
    free(text);
    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)8));
    ck_assert_int_eq(number_at(dict, "a"), 8);
    ck_assert_int_eq(tine_dict_count(dict), 2);
    tine_dict_close(dict);
}

TEST(a_key_that_is_not_there_is_told)
{
    tine_dict *dict = open_dict();
    tine_buffer buffer = {0};
    int64_t number = 3;

    ck_assert_rc(tine_dict_get(dict, "a", "q", &number), -ENOENT);
    ck_assert_rc(tine_dict_get_packed(dict, "a", 1, &buffer), -ENOENT);
    ck_assert_rc(tine_dict_pop(dict, "a", 1, &buffer), -ENOENT);
    ck_assert_rc(tine_dict_remove(dict, "a", 1), -ENOENT);
    ck_assert_rc(tine_dict_contains(dict, "a", 1), 0);
    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)1));
    ck_assert_rc(tine_dict_contains(dict, "a", 1), 1);
    ck_assert_ok(tine_dict_remove(dict, "a", TINE_KEY_STRING));
    ck_assert_rc(tine_dict_remove(dict, "a", 1), -ENOENT);
    ck_assert_rc(tine_dict_get(dict, "a", "q", &number), -ENOENT);
    ck_assert_int_eq(number, 3);
    ck_assert_uint_eq(buffer.size, 0);
    tine_buffer_free(&buffer);
    tine_dict_close(dict);
}

TEST(a_key_is_any_bytes_also_none)
{
    static const size_t lengths[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 70000};
    tine_dict *dict = open_dict();
    char *key = calloc(1, 70000);
    tine_buffer buffer = {0};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        ck_assert_ok(tine_dict_put_packed(dict, key, lengths[i], &(char){(char)i}, 1));
    ck_assert_int_eq(tine_dict_count(dict), sizeof lengths / sizeof *lengths);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tine_buffer_clear(&buffer);
        ck_assert_ok(tine_dict_get_packed(dict, key, lengths[i], &buffer));
        ck_assert(buffer.size == 1 && buffer.data[0] == i);
    }
    ck_assert_rc(tine_dict_contains(dict, "", TINE_KEY_STRING), 1);
    ck_assert_rc(tine_dict_contains(dict, NULL, 0), 1);
    tine_buffer_free(&buffer);
    free(key);
    tine_dict_close(dict);
}

TEST(values_may_be_none_and_many_and_large)
{
    tine_dict *dict = open_dict();
    tine_buffer buffer = {0}, back = {0};
    size_t size = 3000000;
    char *bytes = malloc(size);

    memset(bytes, 7, size);
    ck_assert_ok(tine_dict_put(dict, "none", ""));
    ck_assert_ok(tine_dict_get(dict, "none", ""));
    ck_assert_ok(tine_dict_put_packed(dict, "none at all", TINE_KEY_STRING, NULL, 0));
    ck_assert_ok(tine_pack(&buffer, "y", bytes, size));
    ck_assert_ok(tine_dict_put_packed(dict, "large", 5, buffer.data, buffer.size));
    ck_assert_ok(tine_pack(&back, "q", (int64_t)1)); /* what is in a buffer stays */
    ck_assert_ok(tine_dict_get_packed(dict, "large", 5, &back));
    ck_assert_uint_eq(back.size, 1 + buffer.size);
    ck_assert_mem_eq(back.data + 1, buffer.data, buffer.size);
    ck_assert_rc(tine_dict_put_packed(dict, "large", 5, "\x91", 1), TINE_EFORMAT);
    ck_assert_rc(tine_dict_contains(dict, "large", 5), 1);
    tine_buffer_free(&buffer);
    tine_buffer_free(&back);
    free(bytes);
    tine_dict_close(dict);
}

TEST(formats_that_borrow_are_refused_and_wrong_ones_told)
{
    tine_dict *dict = open_dict();
    const void *bytes;
    size_t size;
    int8_t small = 5;
    char *text = NULL;

    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)1000));
    ck_assert_rc(tine_dict_get(dict, "a", "v", &bytes, &size), -EINVAL);
    ck_assert_rc(tine_dict_get(dict, "a", "y", &bytes, &size), -EINVAL);
    ck_assert_rc(tine_dict_get(dict, "a", "aq", &bytes, &size), -EINVAL);
    ck_assert_rc(tine_dict_get(dict, "a", "b", &small), -ERANGE);
    ck_assert_rc(tine_dict_get(dict, "a", "s", &text), TINE_EFORMAT);
    ck_assert_rc(tine_dict_get(dict, "a", "!"), -EINVAL);
    ck_assert_int_eq(small, 5);
    ck_assert_rc(tine_dict_put(dict, "a", "!"), -EINVAL);
    ck_assert_int_eq(number_at(dict, "a"), 1000);
    tine_dict_close(dict);
}

TEST(bad_arguments_are_refused)
{
    tine_dict_options options = {.reserved = {1}};
    tine_dict *dict = NULL;
    tine_dict_counts counts;
    tine_dict_iter iter;
    tine_dict_item item;
    int64_t number;

    ck_assert_rc(tine_dict_open(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_dict_open(&dict, &options), -E2BIG);
    options = (tine_dict_options){.reserved32 = 1};
    ck_assert_rc(tine_dict_open(&dict, &options), -E2BIG);
    options = (tine_dict_options){.flags = 1};
    ck_assert_rc(tine_dict_open(&dict, &options), -EINVAL);
    options = (tine_dict_options){.capacity = UINT64_MAX};
    ck_assert_rc(tine_dict_open(&dict, &options), -ENOMEM);
    options = (tine_dict_options){.capacity = UINT64_C(1) << 39};
    ck_assert_rc(tine_dict_open(&dict, &options), -ENOMEM);
    ck_assert_ptr_null(dict);
    dict = open_dict();
    ck_assert_rc(tine_dict_put(NULL, "a", "q", (int64_t)1), -EINVAL);
    ck_assert_rc(tine_dict_put(dict, NULL, "q", (int64_t)1), -EINVAL);
    ck_assert_rc(tine_dict_put(dict, "a", NULL), -EINVAL);
    ck_assert_rc(tine_dict_get(dict, "a", NULL), -EINVAL);
    ck_assert_rc(tine_dict_get(dict, NULL, "q", &number), -EINVAL);
    ck_assert_rc(tine_dict_put_packed(dict, NULL, 1, "", 0), -EINVAL);
    ck_assert_rc(tine_dict_put_packed(dict, "a", 1, NULL, 1), -EINVAL);
    ck_assert_rc(tine_dict_contains(dict, "a", (size_t)1 << 33), -EMSGSIZE);
    ck_assert_rc(tine_dict_get_packed(dict, "a", 1, NULL), -EINVAL);
    ck_assert_rc(tine_dict_pop(dict, "a", 1, NULL), -EINVAL);
    ck_assert_rc(tine_dict_update(dict, "a", 1, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_dict_count(NULL), -EINVAL);
    ck_assert_rc(tine_dict_stats(dict, NULL), -EINVAL);
    ck_assert_rc(tine_dict_stats(NULL, &counts), -EINVAL);
    ck_assert_rc(tine_dict_iter_init(&iter, NULL), -EINVAL);
    ck_assert_rc(tine_dict_iter_next(NULL, &item), -EINVAL);
    tine_dict_iter_fini(NULL);
    tine_dict_close(dict);
    tine_dict_close(NULL);
}

TEST(setdefault_sets_once)
{
    tine_dict *dict = open_dict();

    ck_assert_rc(tine_dict_setdefault(dict, "a", "q", (int64_t)1), 1);
    ck_assert_rc(tine_dict_setdefault(dict, "a", "q", (int64_t)2), 0);
    ck_assert_rc(tine_dict_setdefault_packed(dict, "a", 1, "\3", 1), 0);
    ck_assert_int_eq(number_at(dict, "a"), 1);
    ck_assert_ok(tine_dict_remove(dict, "a", 1));
    ck_assert_rc(tine_dict_setdefault_packed(dict, "a", 1, "\3", 1), 1);
    ck_assert_int_eq(number_at(dict, "a"), 3);
    tine_dict_close(dict);
}

TEST(add_counts_from_nothing_and_refuses_what_is_no_integer)
{
    tine_dict *dict = open_dict();
    int64_t total = 0;

    ck_assert_ok(tine_dict_add(dict, "a", 5, &total));
    ck_assert_ok(tine_dict_add(dict, "a", -7, &total));
    ck_assert_int_eq(total, -2);
    ck_assert_ok(tine_dict_add(dict, "a", 1, NULL));
    ck_assert_ok(tine_dict_put(dict, "b", "q", INT64_MAX));
    ck_assert_rc(tine_dict_add(dict, "b", 1, &total), -EOVERFLOW);
    ck_assert_ok(tine_dict_put(dict, "c", "s", "text"));
    ck_assert_rc(tine_dict_add(dict, "c", 1, &total), TINE_EFORMAT);
    ck_assert_int_eq(total, -2);
    tine_dict_close(dict);
}

static int give_up(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    (void)value;
    (void)value_len;
    ck_assert_ok(tine_pack(out, "q", (int64_t)1));
    return *(int *)context;
}

static int pack_rubbish(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    (void)value;
    (void)value_len;
    (void)context;
    ck_assert_ok(tine_pack(out, "q", (int64_t)1000));
    out->size--;
    return 0;
}

/* Changes the key behind its own back, once: so it is called again. */
static int interfere(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    int64_t before = 0;
    int *runs = context;
    tine_dict *dict = *(tine_dict **)(runs + 2);

    if (value != NULL)
        ck_assert_ok(tine_unpack(value, value_len, "q", &before));
    if ((*runs)++ == 0)
        ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)100));
    return tine_pack(out, "q", before + 1);
}

TEST(update_passes_on_a_refusal_and_runs_again_when_others_were_quicker)
{
    struct {
        int runs, unused;
        tine_dict *dict;
    } context = {0, 0, open_dict()};
    tine_dict *dict = context.dict;

    ck_assert_rc(tine_dict_update(dict, "a", 1, give_up, &(int){-EDOM}), -EDOM);
    ck_assert_rc(tine_dict_update(dict, "a", 1, give_up, &(int){3}), -EINVAL);
    ck_assert_rc(tine_dict_update(dict, "a", 1, pack_rubbish, NULL), TINE_EFORMAT);
    ck_assert_rc(tine_dict_contains(dict, "a", 1), 0);
    ck_assert_ok(tine_dict_update(dict, "a", 1, interfere, &context));
    ck_assert_int_eq(context.runs, 2);
    ck_assert_int_eq(number_at(dict, "a"), 101);
    tine_dict_close(dict);
}

TEST(pop_gives_the_value_and_removes_the_key)
{
    tine_dict *dict = open_dict();
    tine_buffer buffer = {0};
    int64_t first, second;

    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)5));
    ck_assert_ok(tine_pack(&buffer, "q", (int64_t)4));
    ck_assert_ok(tine_dict_pop(dict, "a", 1, &buffer));
    ck_assert_rc(tine_dict_pop(dict, "a", 1, &buffer), -ENOENT);
    ck_assert_ok(tine_unpack(buffer.data, buffer.size, "qq", &first, &second));
    ck_assert(first == 4 && second == 5);
    tine_buffer_free(&buffer);
    tine_dict_close(dict);
}

/* ---- against a model ------------------------------------------------------------------------- */

enum { MODEL_KEYS = 400, NOTHING = -1 };

static void check_model(tine_dict *dict, const int64_t *model)
{
    static int64_t seen[MODEL_KEYS];
    int64_t number;
    ssize_t keys = 0;
    tine_dict_iter iter;
    tine_dict_item item;

    for (int i = 0; i < MODEL_KEYS; i++) {
        int rc = tine_dict_get(dict, name((uint64_t)i), "q", &number);

        ck_assert_rc(rc, model[i] == NOTHING ? -ENOENT : 0);
        if (rc == 0)
            ck_assert_int_eq(number, model[i]);
        keys += rc == 0;
        seen[i] = NOTHING;
    }
    ck_assert_int_eq(tine_dict_count(dict), keys);
    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    while (tine_dict_iter_next(&iter, &item) == 1) {
        int i = number_of(&item);

        ck_assert_int_eq(seen[i], NOTHING);
        ck_assert_ok(tine_unpack(item.value, item.value_len, "q", &seen[i]));
    }
    tine_dict_iter_fini(&iter);
    ck_assert_mem_eq(seen, model, sizeof seen);
}

/* One random change of a random key, in both. */
static void change_both(tine_dict *dict, int64_t *model)
{
    size_t i = random_below(MODEL_KEYS);
    int64_t *number = &model[i], value = (int64_t)random_below(1000);
    const char *key = name(i);

    switch (random_below(5)) {
    case 0:
        ck_assert_ok(tine_dict_put(dict, key, "q", value));
        *number = value;
        break;
    case 1:
        ck_assert_rc(tine_dict_setdefault(dict, key, "q", value), *number == NOTHING);
        *number = *number == NOTHING ? value : *number;
        break;
    case 2:
        ck_assert_ok(tine_dict_add(dict, key, value, &value));
        ck_assert(value >= 0);
        *number = value;
        break;
    default:
        ck_assert_rc(tine_dict_remove(dict, key, TINE_KEY_STRING),
                     *number == NOTHING ? -ENOENT : 0);
        *number = NOTHING;
    }
}

TEST(random_changes_agree_with_a_model)
{
    uint64_t base = heap_counts().used_blocks;
    tine_dict *dict = open_dict();
    int64_t model[MODEL_KEYS];

    for (int i = 0; i < MODEL_KEYS; i++)
        model[i] = NOTHING;
    for (int i = 0; i < 60000; i++) {
        change_both(dict, model);
        if (i % 3000 == 0)
            check_model(dict, model);
    }
    check_model(dict, model);
    ck_assert_ok(tine_dict_clear(dict));
    ck_assert_int_eq(tine_dict_count(dict), 0);
    tine_dict_close(dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
    ck_assert_uint_eq(heap_counts().bad_frees, 0);
}

TEST(room_is_made_at_once_for_the_keys_that_are_announced)
{
    tine_dict_counts counts;
    tine_dict *dict;

    ck_assert_ok(tine_dict_open(&dict, &(tine_dict_options){.capacity = 1000}));
    for (uint64_t i = 0; i < 1000; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "n"));
    ck_assert_ok(tine_dict_stats(dict, &counts));
    ck_assert_uint_eq(counts.resizes, 0);
    ck_assert_uint_eq(counts.keys, 1000);
    for (uint64_t i = 1000; i < 2000; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "n"));
    ck_assert_ok(tine_dict_stats(dict, &counts));
    ck_assert_uint_eq(counts.resizes, 1);
    ck_assert_int_eq(tine_dict_count(dict), 2000);
    tine_dict_close(dict);
}

/* ---- memory ---------------------------------------------------------------------------------- */

TEST(what_was_replaced_is_freed)
{
    tine_dict *dict = open_dict();
    char *bytes = calloc(1, 100000);
    tine_buffer buffer = {0};
    uint64_t blocks, used;

    ck_assert_ok(tine_pack(&buffer, "y", bytes, (size_t)100000));
    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)1));
    blocks = heap_counts().used_blocks;
    used = heap_counts().used_bytes;
    for (int i = 0; i < 100000; i++)
        ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)i));
    ck_assert_uint_le(heap_counts().used_blocks, blocks + 200);
    for (int i = 0; i < 300; i++)
        ck_assert_ok(tine_dict_put_packed(dict, "b", 1, buffer.data, buffer.size));
    ck_assert_uint_le(heap_counts().used_bytes, used + 2000000);
    tine_buffer_free(&buffer);
    free(bytes);
    tine_dict_close(dict);
}

TEST(removed_keys_give_their_memory_back)
{
    tine_dict *dict = open_dict();
    uint64_t blocks = heap_counts().used_blocks, used;
    char *bytes = calloc(1, 100000);

    for (uint64_t i = 0; i < 20000; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "q", (int64_t)1));
    ck_assert_ok(tine_dict_clear(dict));
    for (uint64_t i = 0; i < 200000; i++) { /* as a queue does */
        ck_assert_ok(tine_dict_put(dict, name(i), "q", (int64_t)1));
        ck_assert_ok(tine_dict_remove(dict, name(i), TINE_KEY_STRING));
    }
    ck_assert_uint_le(heap_counts().used_blocks, blocks + 25000);
    used = heap_counts().used_bytes;
    for (uint64_t i = 0; i < 1000; i++) { /* a large one goes at once */
        ck_assert_ok(tine_dict_put(dict, name(i), "y", bytes, (size_t)100000));
        ck_assert_ok(tine_dict_remove(dict, name(i), TINE_KEY_STRING));
    }
    ck_assert_uint_le(heap_counts().used_bytes, used + 4000000);
    ck_assert_int_eq(tine_dict_count(dict), 0);
    free(bytes);
    tine_dict_close(dict);
}

TEST(an_open_iteration_keeps_what_it_shows)
{
    tine_dict *dict = open_dict();
    tine_dict_iter iter;
    tine_dict_item item;
    int64_t number;

    ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)42));
    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    ck_assert_rc(tine_dict_iter_next(&iter, &item), 1);
    for (int i = 0; i < 1000; i++)
        ck_assert_ok(tine_dict_put(dict, "a", "q", (int64_t)i));
    ck_assert_ok(tine_unpack(item.value, item.value_len, "q", &number));
    ck_assert_int_eq(number, 42);
    ck_assert_rc(tine_dict_iter_next(&iter, &item), 0);
    tine_dict_iter_fini(&iter);
    ck_assert_rc(tine_dict_iter_next(&iter, &item), -EINVAL);
    tine_dict_iter_fini(&iter);
    tine_dict_close(dict);
}

TEST(iteration_shows_each_key_once_while_the_dictionary_grows)
{
    tine_dict *dict = open_dict();
    int seen[200] = {0};
    tine_dict_iter iter;
    tine_dict_item item;
    uint64_t more = 200;

    for (uint64_t i = 0; i < 200; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "n"));
    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    while (tine_dict_iter_next(&iter, &item) == 1) {
        int i = number_of(&item);

        if (i < 200)
            seen[i]++;
        for (int k = 0; k < 30; k++)
            ck_assert_ok(tine_dict_put(dict, name(more++), "n"));
    }
    tine_dict_iter_fini(&iter);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(seen[i], 1);
    tine_dict_close(dict);
}

SUITE("shm/dict")
