/* SPDX-License-Identifier: MIT */
/* The codec without memory: each allocation fails in turn, nothing is changed and nothing leaks. */
#include "lib/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fork.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wrap.h"

/* The linker sends the library's calls here (--wrap). */
static int calls_until_failure = -1; /* negative: none fails */

/* A result code while allocation n fails, counted from 0. libcheck allocates as well, so only here.
 */
#define FAILING(n, rc, call)                                                                       \
    do {                                                                                           \
        calls_until_failure = (n);                                                                 \
        rc = (call);                                                                               \
        calls_until_failure = -1;                                                                  \
    } while (0)

static bool fails(void)
{
    return calls_until_failure >= 0 && calls_until_failure-- == 0;
}

WRAP(fails(), void *, malloc, NULL, (size_t size), (size))
/* a sanitizer's realloc ends the program where libc's refuses */
WRAP(fails() || size > PTRDIFF_MAX / 2, void *, realloc, NULL, (void *block, size_t size),
     (block, size))

TEST(pack_fails_cleanly_at_every_growth)
{
    static const char text[] = "a string that makes the buffer grow again and again and again";
    int failures = 0;

    for (int n = 0;; n++) {
        tine_buffer buffer = {0};
        size_t before;
        int rc = 0;

        calls_until_failure = n;
        for (int i = 0; rc == 0 && i < 100; i++) {
            before = buffer.size;
            rc = tine_pack(&buffer, "[sqsd]", text, (int64_t)i, text, 1.0);
        }
        calls_until_failure = -1;
        if (rc == 0) {
            tine_buffer_free(&buffer);
            break;
        }
        failures++;
        ck_assert_rc(rc, -ENOMEM);
        ck_assert_uint_eq(buffer.size, before);
        ck_assert_rc(tine_pack(&buffer, "s", text), 0); /* and it goes on */
        tine_buffer_free(&buffer);
    }
    ck_assert_int_gt(failures, 3);
}

static int unpack_with(struct tine__texts *texts, const tine_buffer *in, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = tine__vunpack(in->data, in->size, format, false, args, texts);
    va_end(args);
    return rc;
}

TEST(unpack_fails_cleanly_at_every_copy)
{
    static const char format[] = "[sqss]";
    tine_buffer buffer = {0};
    char *text[3] = {NULL};
    int64_t q = 11;
    int rc;

    ck_assert_rc(tine_pack(&buffer, format, "one", (int64_t)2, "", "three"), 0);
    for (int n = 0; n < 3; n++) {
        struct tine__texts texts = {0};

        FAILING(n, rc,
                tine_unpack(buffer.data, buffer.size, format, &text[0], &q, &text[1], &text[2]));
        ck_assert_rc(rc, -ENOMEM);
        FAILING(n, rc, unpack_with(&texts, &buffer, format, &text[0], &q, &text[1], &text[2]));
        ck_assert_rc(rc, -ENOMEM);
        ck_assert(text[0] == NULL && text[1] == NULL && text[2] == NULL && q == 11);
        ck_assert_ptr_null(texts.first);
    }
    FAILING(0, rc, tine_unpack(buffer.data, buffer.size, format, NULL, &q, NULL, NULL));
    ck_assert_rc(rc, 0); /* dropped strings need no copy */
    FAILING(3, rc, tine_unpack(buffer.data, buffer.size, format, &text[0], &q, &text[1], &text[2]));
    ck_assert_rc(rc, 0);
    for (int i = 0; i < 3; i++)
        free(text[i]);
    tine_buffer_free(&buffer);
}

static void pack_a_function(void *unused)
{
    tine_any_function *function = (tine_any_function *)pack_a_function;
    tine_buffer buffer = {0};
    int rc = -1;

    (void)unused;
    ck_assert_rc(tine__buffer_reserve(&buffer, 200), 0);
    for (int n = 0; rc < 0; n++) {
        FAILING(n, rc, tine_pack(&buffer, "c", function));
        if (n < 2)
            ck_assert_rc(rc, -ENOMEM); /* of the table of loaded objects: made, and grown */
        if (rc < 0)
            ck_assert_uint_eq(buffer.size, 0);
    }
    tine_buffer_free(&buffer);
}

/* One process asks the loader, the other the kernel. */
TEST(functions_fail_cleanly)
{
    struct child child;

    ck_assert_uint_eq(tine__fork_generation(), 1);
    child = child_start(pack_a_function, NULL);
    child_join(&child);
    pack_a_function(NULL);
}

TEST(pickle_fails_cleanly)
{
    tine_buffer buffer = {0};
    int rc;

    FAILING(0, rc, tine_pickle(&buffer, "\x01", 1));
    ck_assert_rc(rc, -ENOMEM);
    ck_assert_ptr_null(buffer.data);
    ck_assert_uint_eq(buffer.size, 0);
}

TEST(a_size_that_overflows_is_no_memory)
{
    tine_buffer buffer = {0};

    ck_assert_rc(tine_pack(&buffer, "n"), 0);
    ck_assert_rc(tine__buffer_reserve(&buffer, SIZE_MAX), -ENOMEM);
    ck_assert_rc(tine__buffer_reserve(&buffer, SIZE_MAX / 2), -ENOMEM);
    ck_assert_uint_eq(buffer.size, 1);
    tine_buffer_free(&buffer);
}

/* Checking bytes, walking them and opening a pickle never allocate. */
TEST(hostile_bytes_cost_no_memory)
{
    char bomb[155];
    const void *value;
    size_t size;
    tine_reader reader;
    int rc;

    for (size_t i = 0; i < sizeof bomb; i += 5)
        memcpy(bomb + i, "\xdd\x10\0\0\0", 5);
    FAILING(0, rc, tine_reader_init(&reader, bomb, sizeof bomb, NULL));
    ck_assert_rc(rc, TINE_EFORMAT);
    FAILING(0, rc, tine_unpickle(bomb, sizeof bomb, NULL, &value, &size));
    ck_assert_rc(rc, TINE_EFORMAT);
    FAILING(0, rc, tine_unpack(bomb, sizeof bomb, "v", &value, &size));
    ck_assert_rc(rc, TINE_EFORMAT);
    FAILING(0, rc, tine_unpack("\xdb\xff\xff\xff\xff", 5, "s", &value));
    ck_assert_rc(rc, TINE_EFORMAT);
}

TEST(a_lent_buffer_is_left_when_it_is_too_small)
{
    uint8_t lent[64] = {0}, few[16] = {0};
    tine_buffer buffer = tine__buffer_lent(lent, sizeof lent);

    ck_assert_rc(tine_pack(&buffer, "q", (int64_t)7), 0);
    ck_assert_ptr_eq(buffer.data, lent);
    calls_until_failure = 0;
    ck_assert_rc(tine_pack(&buffer, "y", lent, sizeof lent), -ENOMEM);
    calls_until_failure = -1;
    ck_assert_ptr_eq(buffer.data, lent);
    ck_assert_rc(tine_pack(&buffer, "y", lent, sizeof lent), 0);
    ck_assert_ptr_ne(buffer.data, lent);
    ck_assert_uint_eq(buffer.size, 1 + 2 + sizeof lent);
    ck_assert_uint_eq(buffer.data[0], 7);
    tine_buffer_free(&buffer);
    buffer = tine__buffer_lent(few, sizeof few);
    tine_buffer_free(&buffer); /* of what is not its own nothing is freed */
    ck_assert_uint_eq(buffer.capacity, 0);
}

SUITE("lib/codec memory")
