/* SPDX-License-Identifier: MIT */
/* Shareable lists: Python reads what tine writes, and the other way round. */
#include <tine/shareable_list.h>

#include <tine/codec.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/shm/shareable_help.h"
#include "tests/support/python.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define TEXT_MAX 80 /* of random strings */

/* ---- Python ---------------------------------------------------------------------------------- */

/* A character of 1, 2, 3 or 4 bytes. */
static size_t random_character(char *to)
{
    static const char *const some[] = {"a", "\u00e4", "\u20ac", "\U0001f600", "\x01"};
    const char *chosen = some[random_below(5)];

    memcpy(to, chosen, strlen(chosen));
    return strlen(chosen);
}

static tine_shareable_item random_text(char *text)
{
    size_t size = 0, wanted = (size_t)random_below(TEXT_MAX - 4);
    bool is_string = random_below(2) == 0;

    while (size < wanted)
        if (is_string)
            size += random_character(text + size);
        else
            text[size++] = (char)random_u64();
    if (random_below(4) == 0 && size > 0)
        text[size - 1] = is_string && (text[size - 1] & 0x80) != 0 ? text[size - 1] : '\0';
    return (tine_shareable_item){.type = is_string ? TINE_SHAREABLE_STR : TINE_SHAREABLE_BYTES,
                                 .size = size,
                                 .value.bytes = text};
}

static tine_shareable_item random_item(char *text)
{
    double number = 0;
    uint64_t bits;

    switch (random_below(6)) {
    case 0:
        return tine_shareable_none();
    case 1:
        return tine_shareable_bool(random_below(2) == 1);
    case 2:
        return tine_shareable_int((int64_t)random_u64() >> random_below(64));
    case 3:
        do {
            bits = random_u64();
            memcpy(&number, &bits, sizeof number);
        } while (isnan(number));
        return tine_shareable_float(number);
    default:
        return random_text(text);
    }
}

/* The item as an expression of Python. */
static void write_literal(FILE *to, const tine_shareable_item *item)
{
    const unsigned char *bytes = item->value.bytes;

    switch (item->type) {
    case TINE_SHAREABLE_NONE:
        fputs("None", to);
        break;
    case TINE_SHAREABLE_BOOL:
        fputs(item->value.boolean ? "True" : "False", to);
        break;
    case TINE_SHAREABLE_INT:
        fprintf(to, "%" PRId64, item->value.integer);
        break;
    case TINE_SHAREABLE_FLOAT:
        fprintf(to, "float.fromhex('%a')", item->value.number);
        break;
    default:
        fputs("bytes.fromhex('", to);
        for (size_t i = 0; i < item->size; i++)
            fprintf(to, "%02x", bytes[i]);
        fputs(item->type == TINE_SHAREABLE_STR ? "').decode()" : "')", to);
    }
}

static char *literal(const tine_shareable_item *items, size_t n)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    ck_assert_ptr_nonnull(to);
    fputc('[', to);
    for (size_t i = 0; i < n; i++) {
        write_literal(to, &items[i]);
        fputs(", ", to);
    }
    fputc(']', to);
    fclose(to);
    return text;
}

enum { ITEMS_MAX = 40, ROUNDS = 60 };

struct random_list {
    char texts[ITEMS_MAX][TEXT_MAX];
    tine_shareable_item items[ITEMS_MAX];
    size_t n;
    char *literal;
};

static void draw(struct random_list *list)
{
    list->n = 1 + (size_t)random_below(ITEMS_MAX);
    for (size_t i = 0; i < list->n; i++)
        list->items[i] = random_item(list->texts[i]);
    list->literal = literal(list->items, list->n);
}

/* What Python makes of a value that ends in NULs. */
#define STRIPPED                                                                                   \
    "lambda v: v.rstrip('\\0' if isinstance(v, str) else b'\\0') "                                 \
    "if isinstance(v, (str, bytes)) else v"

TEST(python_reads_random_lists_of_tine)
{
    static struct random_list random;
    struct python python;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    python_do(&python, "strip = " STRIPPED);
    python_do(&python, "typed = lambda v: [(type(x).__name__, repr(x)) for x in v]");
    for (int round = 0; round < ROUNDS; round++) {
        tine_shareable_list *list;

        draw(&random);
        list = create(random.items, random.n);
        python_do(&python, "list_ = ShareableList(name='%s')", name_of("l"));
        python_do(&python, "expected = %s", random.literal);
        ck_assert_str_eq(python_ask(&python, "typed(list_) == typed(map(strip, expected)) or "
                                             "(list(list_), expected)"),
                         "True");
        /* and whatever Python puts there fits as it did */
        python_do(&python, "for i, v in enumerate(expected): list_[i] = strip(v)");
        ck_assert_str_eq(python_ask(&python, "typed(list_) == typed(map(strip, expected))"),
                         "True");
        python_do(&python, "list_.shm.close()");
        free(random.literal);
        end(list);
    }
    python_end(&python);
}

TEST(tine_reads_random_lists_of_python)
{
    static struct random_list random;
    struct python python;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    /* Python reserves a byte for each character: enough when each is reserved four. */
    python_do(&python, "room = lambda v: v + 'xxx' * len(v) if isinstance(v, str) else v");
    for (int round = 0; round < ROUNDS; round++) {
        tine_shareable_list *list;

        draw(&random);
        python_do(&python, "expected = %s", random.literal);
        python_do(&python,
                  "list_ = ShareableList(map(room, expected) and [room(v) for v in expected], "
                  "name='%s')",
                  name_of("l"));
        python_do(&python, "for i, v in enumerate(expected): list_[i] = v");
        list = attach();
        ck_assert_uint_eq(tine_shareable_list_len(list), random.n);
        for (size_t i = 0; i < random.n; i++) {
            tine_shareable_item *item = &random.items[i];

            if (item->type >= TINE_SHAREABLE_STR) /* Python's loss, not to be had back */
                while (item->size > 0 && ((const char *)item->value.bytes)[item->size - 1] == '\0')
                    item->size--;
            assert_item(list, i, item);
        }
        python_do(&python, "list_.shm.close()");
        free(random.literal);
        end(list);
    }
    python_end(&python);
}

/* Without values that Python would lose or cut, the two make the same bytes. */
TEST(the_bytes_are_those_of_python)
{
    const tine_shareable_item items[] = {tine_shareable_int(-7),
                                         tine_shareable_float(2.5),
                                         tine_shareable_bool(true),
                                         tine_shareable_str("twelve bytes"),
                                         tine_shareable_bytes("\x01\x02", 2),
                                         tine_shareable_none(),
                                         tine_shareable_str(""),
                                         tine_shareable_bool(false)};
    const size_t n = sizeof items / sizeof items[0];
    char *text = literal(items, n);
    tine_shareable_list *list = create(items, n);
    struct python python;

    if (!python_start(&python, NULL)) {
        free(text);
        end(list);
        SKIP("no python3");
    }
    python_do(&python, "list_ = ShareableList(%s)", text);
    python_do(&python, "theirs = ShareableList(name='%s')", name_of("l"));
    ck_assert_str_eq(python_ask(&python, "bytes(list_.shm.buf) == bytes(theirs.shm.buf)"), "True");
    ck_assert_str_eq(python_ask(&python, "list_.format == theirs.format"), "True");
    python_do(&python, "list_.shm.close(); list_.shm.unlink(); theirs.shm.close()");
    python_end(&python);
    free(text);
    end(list);
}

TEST(an_item_that_ended_in_nul_takes_longer_values_from_python)
{
    const tine_shareable_item item = tine_shareable_bytes("abcd\0\0", 6);
    tine_shareable_list *list = create(&item, 1);
    struct python python;

    if (!python_start(&python, NULL)) {
        end(list);
        SKIP("no python3");
    }
    python_do(&python, "list_ = ShareableList(name='%s')", name_of("l"));
    ck_assert_str_eq(python_ask(&python, "list_[0]"), "b'abcd'");
    python_do(&python, "list_[0] = b'12345678'");
    ck_assert_str_eq(python_ask(&python, "list_[0]"), "b'12345678'");
    assert_item(list, 0, &(tine_shareable_item){TINE_SHAREABLE_BYTES, 0, 8, {.bytes = "12345678"}});
    python_do(&python, "list_.shm.close()");
    python_end(&python);
    end(list);
}

TEST(a_string_that_python_cut_is_told)
{
    struct python python;
    tine_shareable_list *list;
    tine_shareable_item item;
    tine_buffer buffer = {0};
    int rc;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    python_do(&python, "list_ = ShareableList(['\\u20ac' * 4, 1], name='%s')", name_of("l"));
    list = attach();
    rc = tine_shareable_list_get(list, 0, &buffer,
                                 &item); /* a Python that has the fix does not cut */
    ck_assert(rc == TINE_EFORMAT || (rc == 0 && item.size == 12));
    assert_item(list, 1, &(tine_shareable_item){TINE_SHAREABLE_INT, 0, 0, {.integer = 1}});
    python_do(&python, "list_.shm.close()");
    python_end(&python);
    tine_buffer_free(&buffer);
    end(list);
}

SUITE("shm/shareable_list_python")
