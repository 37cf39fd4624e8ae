/* SPDX-License-Identifier: MIT */
/* Handles as values: taken once, closed or handed over, and nothing else accepted. */
#include "lib/handle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec.h"
#include "tests/support/suite.h"

/* A context that keeps numbers for pretended descriptors: fd 100 + i has number 7000 + i. */
struct context {
    struct tine__descriptors hooks;
    int kept, borrowed;
    int fails_at; /* which borrowing, from 1 */
};

static int keep(struct tine__descriptors *self, int fd, uint64_t *number)
{
    struct context *context = (struct context *)self;

    context->kept++;
    *number = 6900 + (uint64_t)fd;
    return fd == 199 ? -EMFILE : 0;
}

static int borrow(struct tine__descriptors *self, uint64_t number, int *fd)
{
    struct context *context = (struct context *)self;

    if (++context->borrowed == context->fails_at)
        return -EBADF;
    *fd = (int)(number - 6900);
    return 0;
}

/* A handle of one word and two descriptors. */
struct lamp {
    uint64_t word;
    int fds[2];
};

static int lamps; /* made and not closed */

static int give_lamp(const void *handle, struct tine__handle_parts *parts)
{
    const struct lamp *lamp = handle;

    parts->words[0] = lamp->word;
    memcpy(parts->fds, lamp->fds, sizeof lamp->fds);
    parts->fd_count = 2;
    return lamp->word == 13 ? -EBADF : 0;
}

static int take_lamp(const struct tine__handle_parts *parts, void **handle)
{
    struct lamp *lamp;

    if (parts->fd_count != 2)
        return TINE_EFORMAT;
    lamp = malloc(sizeof *lamp);
    ck_assert_ptr_nonnull(lamp);
    lamp->word = parts->words[0];
    memcpy(lamp->fds, parts->fds, sizeof lamp->fds);
    lamps++;
    *handle = lamp;
    return 0;
}

static void close_lamp(void *handle)
{
    lamps--;
    free(handle);
}

static const struct tine__handle_kind lamp_kind = {
    .letter = 'L', .give = give_lamp, .take = take_lamp, .close = close_lamp};
static const struct tine__handle_kind other_kind = {
    .letter = 'M', .give = give_lamp, .take = take_lamp, .close = close_lamp};
static const struct tine__handle_kind *const kinds[] = {&other_kind, &lamp_kind, NULL};

static struct context context_new(void)
{
    return (struct context){.hooks = {.keep = keep, .borrow = borrow, .handle_kinds = kinds}};
}

static int pack(struct context *context, tine_buffer *out, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = &context->hooks};
    int rc;

    va_start(args.list, format);
    rc = tine__pack(out, format, false, &args);
    va_end(args.list);
    return rc;
}

static int unpack(struct context *context, const tine_buffer *in, const char *format, ...)
{
    struct tine__texts texts = {.descriptors = context != NULL ? &context->hooks : NULL};
    va_list args;
    int rc;

    va_start(args, format);
    rc = tine__vunpack(in->data, in->size, format, false, args, &texts);
    va_end(args);
    return rc;
}

static const struct lamp sent = {.word = 42, .fds = {100, 101}};

static tine_buffer packed_lamp(void)
{
    struct context context = context_new();
    tine_buffer buffer = {0};

    ck_assert_rc(pack(&context, &buffer, "[oLq]", &sent, (int64_t)9), 0);
    ck_assert_int_eq(context.kept, 2);
    return buffer;
}

TEST(a_handle_arrives_with_its_words_and_descriptors)
{
    tine_buffer buffer = packed_lamp();
    struct context context = context_new();
    struct lamp *lamp = NULL, *again = NULL;
    int64_t number = 0;

    ck_assert_rc(unpack(&context, &buffer, "[oLq]", &lamp, &number), 0);
    ck_assert_uint_eq(lamp->word, 42);
    ck_assert_int_eq(lamp->fds[0], 100);
    ck_assert_int_eq(lamp->fds[1], 101);
    ck_assert_int_eq(number, 9);
    ck_assert_rc(unpack(&context, &buffer, "[oLq]", &again, &number), 0);
    ck_assert_ptr_eq(again, lamp);
    ck_assert_int_eq(lamps, 1);
    tine__handles_close(&context.hooks);
    ck_assert_int_eq(lamps, 0);
    tine_buffer_free(&buffer);
}

TEST(a_handle_that_is_handed_over_outlives_the_context)
{
    tine_buffer buffer = packed_lamp();
    struct context context = context_new();
    struct lamp *lamp = NULL;

    ck_assert_rc(unpack(&context, &buffer, "[oLq]", &lamp, NULL), 0);
    tine__handles_hand_over(&context.hooks);
    tine__handles_close(&context.hooks);
    ck_assert_int_eq(lamps, 1);
    close_lamp(lamp);
    tine_buffer_free(&buffer);
}

TEST(no_handle_is_made_that_nobody_wants_or_that_does_not_fit)
{
    tine_buffer buffer = packed_lamp();
    struct context context = context_new();
    struct lamp *lamp = NULL;
    char *text = NULL;

    ck_assert_rc(unpack(&context, &buffer, "[oLq]", NULL, NULL), 0);
    ck_assert_rc(unpack(&context, &buffer, "[oMq]", &lamp, NULL), TINE_EFORMAT);
    ck_assert_rc(unpack(&context, &buffer, "[oXq]", &lamp, NULL), -EINVAL);
    ck_assert_rc(unpack(&context, &buffer, "[oqo", &lamp, NULL), -EINVAL);
    ck_assert_rc(unpack(&context, &buffer, "[Fq]", &lamp, NULL), TINE_EFORMAT);
    ck_assert_rc(unpack(NULL, &buffer, "[oLq]", &lamp, NULL), -EINVAL);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "[oLq]", &lamp, NULL), -EINVAL);
    ck_assert_int_eq(lamps, 0);
    /* made by the first pass, and then something else did not fit: the context still has it */
    ck_assert_rc(unpack(&context, &buffer, "[oLs]", &lamp, &text), TINE_EFORMAT);
    ck_assert(lamp == NULL && text == NULL);
    ck_assert_int_eq(lamps, 1);
    tine__handles_close(&context.hooks);
    ck_assert_int_eq(lamps, 0);
    tine_buffer_free(&buffer);
}

TEST(no_handle_is_nil)
{
    struct context context = context_new();
    tine_buffer buffer = {0};
    struct lamp *lamp = (struct lamp *)&context;

    ck_assert_rc(pack(&context, &buffer, "oL", NULL), 0);
    ck_assert_uint_eq(buffer.size, 1);
    ck_assert_rc(unpack(&context, &buffer, "oL", &lamp), 0);
    ck_assert_ptr_null(lamp);
    tine_buffer_free(&buffer);
}

TEST(packing_fails_where_handles_cannot_travel)
{
    static const struct lamp closed = {.word = 13}, full = {.word = 1, .fds = {100, 199}};
    struct context context = context_new();
    tine_buffer buffer = {0};

    ck_assert_rc(tine_pack(&buffer, "oL", &sent), -EINVAL);
    ck_assert_rc(pack(&context, &buffer, "oX", &sent), -EINVAL);
    ck_assert_rc(pack(&context, &buffer, "o", &sent), -EINVAL);
    ck_assert_rc(pack(&context, &buffer, "oL", &closed), -EBADF);
    ck_assert_rc(pack(&context, &buffer, "oL", &full), -EMFILE);
    context.hooks.handle_kinds = NULL;
    ck_assert_rc(pack(&context, &buffer, "oL", &sent), -EINVAL);
    ck_assert_uint_eq(buffer.size, 0);
    tine_buffer_free(&buffer);
}

/* ---- hostile bytes, and descriptors that do not come ----------------------------------------- */

static int unpack_wire(const struct tine__handle_wire *wire, size_t size, int fails_at)
{
    struct context context = context_new();
    void *handle = NULL;
    int rc;

    context.fails_at = fails_at;
    rc = tine__handle_unpack(&context.hooks, 'L', wire, size, &handle);
    ck_assert((handle == NULL) == (rc < 0));
    tine__handles_close(&context.hooks);
    ck_assert_int_eq(lamps, 0);
    return rc;
}

TEST(malformed_bytes_are_refused)
{
    static const struct tine__handle_wire good = {
        .letter = 'L', .fd_count = 2, .numbers = {7000, 7001}};
    struct tine__handle_wire wire;

    ck_assert_rc(unpack_wire(&good, sizeof good, 0), 0);
    for (size_t size = 0; size < sizeof good; size++)
        ck_assert_rc(unpack_wire(&good, size, 0), TINE_EFORMAT);
    for (int count = 0; count < 256; count++) {
        wire = good;
        wire.fd_count = (uint8_t)count;
        ck_assert_rc(unpack_wire(&wire, sizeof wire, 0), count == 2 ? 0 : TINE_EFORMAT);
    }
    wire = good;
    wire.unused[5] = 1;
    ck_assert_rc(unpack_wire(&wire, sizeof wire, 0), TINE_EFORMAT);
    wire = good;
    wire.letter = 'M';
    ck_assert_rc(unpack_wire(&wire, sizeof wire, 0), TINE_EFORMAT);
    ck_assert_rc(unpack_wire(&good, sizeof good, 1), -EBADF);
    ck_assert_rc(unpack_wire(&good, sizeof good, 2), -EBADF);
}

SUITE("lib/handle")
