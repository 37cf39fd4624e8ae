/* SPDX-License-Identifier: MIT */
/*
 * tine_unpack with any format over any bytes: 1 byte of choices, a format up to its NUL, the
 * values.
 *
 * Every letter takes pointers only, so one row of slots serves all formats. They are filled with a
 * pattern: a failure must leave it as it was. What a success hands out must lie inside the bytes.
 * The short way must say what the long one says. Descriptors and handles are pretended ones, of
 * which none may be left or given back twice.
 */
#include "lib/codec.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "lib/handle.h"
#include "tests/fuzz/fuzz.h"

enum {
    SLOTS = 12,
};

static uint64_t slots[SLOTS];

static void fill(void)
{
    memset(slots, 0xa5, sizeof slots);
}

/* Slots that a format takes; more than there are for one that cannot be run. */
static size_t slots_of(const char *format)
{
    size_t count = 0;

    for (; *format != '\0'; format++) {
        if (strchr("?bBhHiIqQfdspcFo", *format) != NULL)
            count++;
        else if (strchr("yva", *format) != NULL)
            count += 2;
        if (strchr("ao", *format) != NULL && format[1] != '\0')
            format++;
    }
    return count;
}

/* ---- descriptors that are numbers, and a handle that is its first word ----------------------- */

static int handles; /* made and not closed */

static int fetch(struct tine__descriptors *self, uint64_t number, int *fd)
{
    (void)self;
    if (number > 15)
        return -EBADF;
    *fd = (int)number;
    return 0;
}

static int take(const struct tine__handle_parts *parts, void **handle)
{
    REQUIRE(parts->fd_count >= 1 && parts->fd_count <= TINE__HANDLE_FDS);
    for (uint32_t i = 0; i < parts->fd_count; i++)
        REQUIRE(parts->fds[i] >= 0 && parts->fds[i] <= 15);
    if (parts->words[0] == 13)
        return -ENOMEM;
    handles++;
    *handle = (void *)(uintptr_t)parts->words[0];
    return 0;
}

static void close_handle(void *handle)
{
    (void)handle;
    handles--;
}

static const struct tine__handle_kind kind_k = {.letter = 'k', .take = take, .close = close_handle};
static const struct tine__handle_kind kind_q = {.letter = 'q', .take = take, .close = close_handle};
static const struct tine__handle_kind *const kinds[] = {&kind_k, &kind_q, NULL};

static struct tine__descriptors pretended = {
    .fetch = fetch, .borrow = fetch, .handle_kinds = kinds};

/* ---- any format over any bytes --------------------------------------------------------------- */

typedef int unpack(const void *bytes, size_t size, const char *format, bool tuple, va_list args,
                   struct tine__texts *texts);

static int run(unpack *function, const uint8_t *bytes, size_t size, bool tuple,
               struct tine__texts *texts, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = function(bytes, size, format, tuple, args, texts);
    va_end(args);
    return rc;
}

static void check_spans(const char *format, const uint8_t *bytes, size_t size)
{
    size_t slot = 0;

    for (; *format != '\0'; format++) {
        if (strchr("yv", *format) != NULL) {
            const uint8_t *start = (const uint8_t *)(uintptr_t)slots[slot];

            REQUIRE(start >= bytes && slots[slot + 1] <= (size_t)(bytes + size - start));
        }
        if (*format == 's')
            REQUIRE(strlen((const char *)(uintptr_t)slots[slot]) < size);
        slot += strchr("yva", *format) != NULL ? 2 : strchr("[]{}n ", *format) != NULL ? 0 : 1;
        if (strchr("ao", *format) != NULL)
            format++;
    }
}

static int run_on_slots(unpack *function, const uint8_t *bytes, size_t size, bool tuple,
                        struct tine__texts *texts, const char *format)
{
    fill();
    return run(function, bytes, size, tuple, texts, format, &slots[0], &slots[1], &slots[2],
               &slots[3], &slots[4], &slots[5], &slots[6], &slots[7], &slots[8], &slots[9],
               &slots[10], &slots[11]);
}

/* Texts are other copies; a signalling NaN becomes a quiet one on the long way. */
static void compare(const uint8_t *bytes, size_t size, bool tuple,
                    const struct tine__texts *allowed, const char *format, int rc)
{
    struct tine__texts texts = {.family = allowed->family, .descriptors = allowed->descriptors};
    uint64_t before[SLOTS];

    memcpy(before, slots, sizeof slots);
    REQUIRE(run_on_slots(tine__vunpack_anything, bytes, size, tuple, &texts, format) == rc);
    REQUIRE(strpbrk(format, "sf") != NULL || memcmp(before, slots, sizeof slots) == 0);
    tine__texts_free(&texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tine__texts texts = {0};
    const uint8_t *end = size > 0 ? memchr(data + 1, '\0', size - 1) : NULL;
    const char *format = (const char *)data + 1;
    bool tuple;
    int rc;

    if (end == NULL || slots_of(format) > SLOTS)
        return 0;
    tuple = data[0] & 1;
    texts.family = data[0] & 2;
    texts.descriptors = data[0] & 4 ? &pretended : NULL;
    data = end + 1;
    size -= (size_t)(data - (const uint8_t *)format) + 1;
    rc = run_on_slots(tine__vunpack, data, size, tuple, &texts, format);
    if (rc == 0)
        check_spans(format, data, size);
    else
        for (size_t i = 0; i < SLOTS; i++)
            REQUIRE(slots[i] == UINT64_C(0xa5a5a5a5a5a5a5a5));
    compare(data, size, tuple, &texts, format, rc);
    tine__texts_free(&texts);
    tine__handles_close(&pretended);
    REQUIRE(handles == 0);
    return 0;
}
