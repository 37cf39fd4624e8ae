/* SPDX-License-Identifier: MIT */
/*
 * A dictionary without memory: allocations that fail, the k-th for every k until all goes well, and
 * a heap that is really full. The program is linked so that allocations from the family heap and
 * growing buffers come here first (ld --wrap).
 */
#include <tine/dict.h>
#include <tine/heap.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/failing.h"

__attribute__((constructor)) static void open_small_heap_first(void)
{
    if (setenv("TINE_HEAP_SIZE", "4M", 1) != 0 || tine__heap_open() < 0)
        _exit(99);
}

FAILING(tine_alloc, (size_t size), (size))
FAILING(tine_calloc, (size_t count, size_t size), (count, size))
FAILING(tine_aligned_alloc, (size_t alignment, size_t size), (alignment, size))
FAILING(realloc, (void *block, size_t size), (block, size))

static const char *name(uint64_t number)
{
    static char text[32];

    snprintf(text, sizeof text, "key %" PRIu64, number);
    return text;
}

enum { KEYS = 60, CALLS = 9 };

/* The n-th call of a day in the dictionary's life; 0, or what it could not do. */
static int call(tine_dict *dict, int n)
{
    static char bytes[1000];
    tine_buffer buffer = {0};
    tine_dict_iter iters[9];
    int rc = 0, held = 0;

    switch (n) {
    case 0: /* grows twice */
        for (uint64_t i = 0; i < KEYS && rc == 0; i++)
            rc = tine_dict_put(dict, name(i), "q", (int64_t)i);
        break;
    case 1:
        rc = tine_dict_put(dict, "large", "y", bytes, sizeof bytes);
        break;
    case 2:
        rc = tine_dict_get_packed(dict, "large", 5, &buffer);
        break;
    case 3:
        rc = tine_dict_pop(dict, "large", 5, &buffer);
        break;
    case 4:
        rc = tine_dict_add(dict, "sum", 1, NULL);
        break;
    case 5:
        rc = tine_dict_setdefault(dict, "default", "y", bytes, sizeof bytes);
        rc = rc > 0 ? 0 : rc;
        break;
    case 6:
        rc = tine_dict_remove(dict, "default", TINE_KEY_STRING);
        break;
    case 7: /* more seats than there are */
        while (held < 9 && rc == 0)
            rc = tine_dict_iter_init(&iters[held++], dict);
        for (int i = 0; i < held - (rc < 0); i++)
            tine_dict_iter_fini(&iters[i]);
        break;
    default:
        rc = tine_dict_clear(dict);
    }
    tine_buffer_free(&buffer);
    return rc;
}

/* Each call works in the end, whichever of its allocations has failed before. */
static void live_with_failures(tine_dict *dict)
{
    int64_t number;

    for (int n = 0; n < CALLS; n++) {
        int rc = -ENOMEM;

        for (int k = 1; rc != 0; k++) {
            failing.failed = 0;
            failing.until = k;
            rc = call(dict, n);
            failing.until = 0;
            ck_assert_msg(rc == 0 || (rc == -ENOMEM && failing.failed > 0), "call %d: %s", n,
                          tine_errname(rc));
        }
        for (uint64_t i = 0; n < CALLS - 1 && i < KEYS; i++) {
            ck_assert_ok(tine_dict_get(dict, name(i), "q", &number));
            ck_assert_int_eq(number, (int64_t)i);
        }
    }
    ck_assert_int_eq(tine_dict_count(dict), 0);
}

TEST(each_allocation_in_turn_fails, .loop_end = 2)
{
    uint64_t base = heap_counts().used_blocks;
    tine_dict *dict = NULL;

    failing.stays = loop_index == 1;
    for (int k = 1; dict == NULL; k++) {
        int rc;

        failing.failed = 0;
        failing.until = k;
        rc = tine_dict_open(&dict, NULL);
        failing.until = 0;
        ck_assert_int_eq(rc, dict == NULL ? -ENOMEM : 0);
        if (dict == NULL)
            ck_assert_uint_eq(heap_counts().used_blocks, base);
    }
    live_with_failures(dict);
    tine_dict_close(dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
    assert_heap_sound();
}

TEST(a_full_heap_is_told_and_the_dictionary_is_whole)
{
    tine_buffer value = {0}, back = {0};
    static char bytes[10000];
    uint64_t put = 0, base = heap_counts().used_blocks;
    tine_dict *dict;
    int rc;

    ck_assert_ok(tine_pack(&value, "y", bytes, sizeof bytes));
    ck_assert_ok(tine_dict_open(&dict, NULL));
    while ((rc = tine_dict_put_packed(dict, name(put), TINE_KEY_STRING, value.data, value.size)) ==
           0)
        put++;
    ck_assert_rc(rc, -ENOMEM);
    ck_assert_uint_ge(put, 200);
    ck_assert_uint_eq((uint64_t)tine_dict_count(dict), put);
    for (uint64_t i = 0; i < put; i++) {
        tine_buffer_clear(&back);
        ck_assert_ok(tine_dict_get_packed(dict, name(i), TINE_KEY_STRING, &back));
        ck_assert_mem_eq(back.data, value.data, value.size);
    }
    for (uint64_t i = 0; i < put; i++) { /* what is removed makes room, and so on for ever */
        ck_assert_ok(tine_dict_remove(dict, name(i), TINE_KEY_STRING));
        if (i >= put / 2)
            ck_assert_ok(
                tine_dict_put_packed(dict, name(i + put), TINE_KEY_STRING, value.data, value.size));
    }
    tine_buffer_free(&value);
    tine_buffer_free(&back);
    tine_dict_close(dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
    assert_heap_sound();
}

TEST(what_waits_to_be_freed_is_freed_when_memory_is_short)
{
    size_t size = 900000;
    char *bytes = calloc(1, size);
    tine_dict *dict;

    ck_assert_ptr_nonnull(bytes);
    ck_assert_ok(tine_dict_open(&dict, NULL));
    for (int i = 0; i < 50; i++)
        ck_assert_ok(tine_dict_put(dict, "a", "y", bytes, size));
    free(bytes);
    tine_dict_close(dict);
}

SUITE("shm/dict_faults")
