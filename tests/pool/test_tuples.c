/* SPDX-License-Identifier: MIT */
/* Tuples: found, counted, and read from any one of them on. */
#include "pool/tuples.h"

#include <stdlib.h>
#include <string.h>

#include <tine/error.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

#define COUNT (5 * TINE__MARK_EVERY + 7)

/* Tuples (i, so many bytes): some of a shape, some larger than any shape. */
static tine_buffer mixed_tuples(void)
{
    static const char filling[100];
    tine_buffer args = {0};

    for (int64_t i = 0; i < COUNT; i++)
        ck_assert_rc(
            tine_pack(&args, "[qy]", i, filling, i / 20 % 2 == 0 ? 0 : (size_t)random_below(100)),
            0);
    return args;
}

/* What a job has of them. */
static struct tine__job_shm job_of(const tine_buffer *args, const struct tine__tuple_marks *marks)
{
    return (struct tine__job_shm){.in = TINE__ADDRESS(args->data),
                                  .in_size = args->size,
                                  .marks = TINE__ADDRESS(marks->offsets)};
}

static int64_t number_of(const void *bytes, size_t size)
{
    int64_t number = -1;

    ck_assert_rc(tine_unpack(bytes, size, "[qy]", &number, NULL, NULL), 0);
    return number;
}

TEST(reading_begins_at_any_tuple)
{
    tine_buffer args = mixed_tuples();
    struct tine__tuple_marks marks = {0};
    struct tine__tuples tuples;
    struct tine__job_shm job;
    const void *bytes;
    size_t size;

    ck_assert_rc(tine__tuples_find(&marks, &args), 0);
    ck_assert_uint_eq(marks.count, COUNT);
    job = job_of(&args, &marks);
    for (uint64_t first = 0; first < COUNT; first++) {
        tine__tuples_seek(&tuples, &job, first);
        for (uint64_t i = first; i < COUNT; i++) {
            ck_assert_rc(tine__tuples_next(&tuples, &bytes, &size), 0);
            ck_assert_int_eq(number_of(bytes, size), (int64_t)i);
        }
        ck_assert_rc(tine__tuples_next(&tuples, &bytes, &size), TINE_EFORMAT);
    }
    free(marks.offsets);
    tine_buffer_free(&args);
}

TEST(nothing_is_no_tuples)
{
    struct tine__tuple_marks marks = {0};

    ck_assert_rc(tine__tuples_find(&marks, &(tine_buffer){0}), 0);
    ck_assert_uint_eq(marks.count, 0);
    ck_assert_ptr_null(marks.offsets);
}

TEST(tuples_cut_short_are_refused_wherever_it_is)
{
    tine_buffer args = mixed_tuples();
    struct tine__tuple_marks whole = {0};
    size_t size = args.size;

    ck_assert_rc(tine__tuples_find(&whole, &args), 0);
    for (size_t cut = 1; cut < 6; cut++) {
        struct tine__tuple_marks marks = {0};

        args.size = size - cut;
        ck_assert_rc(tine__tuples_find(&marks, &args), TINE_EFORMAT);
        free(marks.offsets);
    }
    free(whole.offsets);
    tine_buffer_free(&args);
}

/* A task may have done this meanwhile. */
TEST(what_was_written_over_is_not_read_beyond_its_end)
{
    tine_buffer args = mixed_tuples();
    struct tine__tuple_marks marks = {0};
    struct tine__tuples tuples;
    struct tine__job_shm job;
    const void *bytes;
    size_t size;

    ck_assert_rc(tine__tuples_find(&marks, &args), 0);
    job = job_of(&args, &marks);
    memset(args.data + marks.offsets[1], 0xdd, 5); /* an array of that many items */
    tine__tuples_seek(&tuples, &job, TINE__MARK_EVERY - 1);
    ck_assert_rc(tine__tuples_next(&tuples, &bytes, &size), 0);
    ck_assert_rc(tine__tuples_next(&tuples, &bytes, &size), TINE_EFORMAT);
    tine__tuples_seek(&tuples, &job, TINE__MARK_EVERY + 3);
    ck_assert_rc(tine__tuples_next(&tuples, &bytes, &size), TINE_EFORMAT);
    free(marks.offsets);
    tine_buffer_free(&args);
}

SUITE("pool/tuples")
