/* SPDX-License-Identifier: MIT */
/* tine_array: types, bounds, ranges, and copies under the lock. */
#include <tine/array.h>
#include <tine/heap.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

static tine_array *array_new(int type, size_t count)
{
    tine_array *array;

    ck_assert_rc(tine_array_open(&array, type, count, NULL), 0);
    return array;
}

TEST(options_are_checked)
{
    tine_array *array = NULL;
    tine_rlock lock;

    ck_assert_rc(tine_array_open(NULL, 'd', 1, NULL), -EINVAL);
    ck_assert_rc(tine_array_open(&array, 'x', 1, NULL), -EINVAL);
    ck_assert_rc(tine_array_open(&array, 0, 1, NULL), -EINVAL);
    ck_assert_rc(tine_array_open(&array, 'd', 1, &(tine_array_options){.size = 8}), -EINVAL);
    ck_assert_rc(
        tine_array_open(&array, 'd', 1, &(tine_array_options){.lock = &lock, .no_lock = true}),
        -EINVAL);
    ck_assert_rc(tine_array_open(&array, 'd', 1, &(tine_array_options){.reserved = {0, 1}}),
                 -E2BIG);
    ck_assert_rc(tine_array_open(&array, 'd', SIZE_MAX / 4, NULL), -EOVERFLOW);
    ck_assert_rc(tine_array_open(&array, 'b', SIZE_MAX, NULL), -EOVERFLOW);
    ck_assert_rc(tine_array_open(&array, 'b', SIZE_MAX - 100, NULL), -EOVERFLOW);
    ck_assert_rc(tine_array_open(&array, 'd', SIZE_MAX / 32, NULL), -ENOMEM);
    ck_assert_ptr_null(array);
}

TEST(what_is_no_array_is_refused)
{
    uint64_t memory[16] = {0};
    tine_array *none = (tine_array *)(void *)memory;
    int64_t number;

    ck_assert_rc(tine_array_get_int(none, 0, &number), -EINVAL);
    ck_assert_rc(tine_array_set_int(NULL, 0, 1), -EINVAL);
    ck_assert_rc(tine_array_read(none, 0, 0, 0, &number), -EINVAL);
    ck_assert_rc(tine_array_write(NULL, 0, 0, &number, 0), -EINVAL);
    ck_assert_rc(tine_array_copy(none, 0, &none), -EINVAL);
    ck_assert_ptr_null(tine_array_data(none));
    ck_assert_ptr_null(tine_array_lock(NULL));
    ck_assert_uint_eq(tine_array_count(none), 0);
    tine_array_close(none);
    tine_array_close(NULL);
}

TEST(it_is_zero_and_aligned_also_on_used_memory)
{
    static const size_t counts[] = {0, 1, 7, 1000, 9000, 300000};

    for (size_t i = 0; i < 2 * sizeof counts / sizeof counts[0]; i++) {
        size_t count = counts[i / 2];
        tine_array *array = array_new('d', count);
        double *data = tine_array_data(array);

        ck_assert_uint_eq(tine_array_count(array), count);
        ck_assert_uint_eq((uintptr_t)data % 64, 0);
        for (size_t k = 0; k < count; k++)
            if (data[k] != 0)
                ck_abort_msg("element %zu of %zu is %g", k, count, data[k]);
        memset(data, 0xff, count * sizeof *data);
        tine_array_close(array);
    }
}

static const struct range {
    int letter;
    size_t size;
    int64_t min, max;
} ranges[] = {
    {'?', 1, 0, 1},          {'b', 1, INT8_MIN, INT8_MAX},
    {'B', 1, 0, UINT8_MAX},  {'h', 2, INT16_MIN, INT16_MAX},
    {'H', 2, 0, UINT16_MAX}, {'i', 4, INT32_MIN, INT32_MAX},
    {'I', 4, 0, UINT32_MAX}, {'q', 8, INT64_MIN, INT64_MAX},
    {'Q', 8, 0, INT64_MAX},
};
#define RANGES ((int)(sizeof ranges / sizeof ranges[0]))

TEST(elements_keep_to_type_bounds_and_range, .loop_end = RANGES)
{
    const struct range *range = &ranges[loop_index];
    tine_array *array = array_new(range->letter, 3);
    char *data = tine_array_data(array);
    int64_t number;
    double floating;

    ck_assert_rc(tine_array_set_int(array, 1, range->min), 0);
    ck_assert_rc(tine_array_get_int(array, 1, &number), 0);
    ck_assert_int_eq(number, range->min);
    ck_assert_rc(tine_array_set_int(array, 1, range->max), 0);
    ck_assert_rc(tine_array_get_int(array, 1, &number), 0);
    ck_assert_int_eq(number, range->max);
    for (size_t i = 0; i < range->size; i++)
        ck_assert(data[i] == 0 && data[2 * range->size + i] == 0);
    if (range->max < INT64_MAX)
        ck_assert_rc(tine_array_set_int(array, 1, range->max + 1), -ERANGE);
    if (range->min > INT64_MIN)
        ck_assert_rc(tine_array_set_int(array, 1, range->min - 1), -ERANGE);
    ck_assert_rc(tine_array_set_int(array, 3, 0), -ERANGE);
    ck_assert_rc(tine_array_get_int(array, SIZE_MAX, &number), -ERANGE);
    ck_assert_rc(tine_array_get_double(array, 1, &floating), -EINVAL);
    ck_assert_rc(tine_array_set_double(array, 1, 1), -EINVAL);
    ck_assert_rc(tine_array_get_int(array, 1, NULL), -EINVAL);
    tine_array_close(array);
}

TEST(unsigned_and_floating_elements)
{
    tine_array *large = array_new('Q', 2), *wide = array_new('d', 2), *narrow = array_new('f', 2);
    uint64_t number;
    double floating;

    ck_assert_rc(tine_array_set_uint(large, 1, UINT64_MAX), 0);
    ck_assert_rc(tine_array_get_uint(large, 1, &number), 0);
    ck_assert_uint_eq(number, UINT64_MAX);
    ck_assert_rc(tine_array_get_int(large, 1, (int64_t *)&number), -ERANGE);
    ck_assert_rc(tine_array_set_double(wide, 1, 1e300), 0);
    ck_assert(((double *)tine_array_data(wide))[1] == 1e300);
    ck_assert_rc(tine_array_set_double(narrow, 1, 0.5), 0);
    ck_assert(((float *)tine_array_data(narrow))[1] == 0.5f);
    ck_assert_rc(tine_array_get_double(narrow, 1, &floating), 0);
    ck_assert(floating == 0.5);
    ck_assert_rc(tine_array_set_double(narrow, 1, 1e300), -ERANGE);
    ck_assert_rc(tine_array_set_uint(wide, 1, 1), -EINVAL);
    tine_array_close(large);
    tine_array_close(wide);
    tine_array_close(narrow);
}

TEST(slices_are_copied_in_and_out)
{
    tine_array *array = array_new('h', 10), *copy;
    int16_t in[4] = {1, 2, 3, 4}, out[4] = {0};

    ck_assert_rc(tine_array_write(array, 6, 4, in, TINE_FOREVER), 0);
    ck_assert_rc(tine_array_read(array, 6, 4, 0, out), 0);
    ck_assert_mem_eq(in, out, sizeof in);
    ck_assert_rc(tine_array_write(array, 7, 4, in, 0), -ERANGE);
    ck_assert_rc(tine_array_read(array, 11, 0, 0, out), -ERANGE);
    ck_assert_rc(tine_array_read(array, 2, SIZE_MAX, 0, out), -ERANGE);
    ck_assert_rc(tine_array_read(array, 10, 0, 0, out), 0);
    ck_assert_rc(tine_array_read(array, 0, 1, 0, NULL), -EINVAL);
    ck_assert_rc(tine_array_write(array, 0, 1, NULL, 0), -EINVAL);
    ck_assert_rc(tine_array_copy(array, TINE_FOREVER, &copy), 0);
    ck_assert_mem_eq(tine_array_data(copy), tine_array_data(array), 20);
    ck_assert_ptr_ne(tine_array_lock(copy), tine_array_lock(array));
    ck_assert_rc(tine_array_copy(array, 0, NULL), -EINVAL);
    tine_array_close(array);
    tine_array_close(copy);
}

TEST(elements_may_be_structs)
{
    struct point {
        double x, y, z;
    } points[2] = {{1, 2, 3}, {4, 5, 6}};
    tine_array *array, *copy;
    int64_t number;

    ck_assert_rc(tine_array_open(&array, 0, 5, &(tine_array_options){.size = sizeof points[0]}), 0);
    ck_assert_rc(tine_array_write(array, 3, 2, points, 0), 0);
    ck_assert(((struct point *)tine_array_data(array))[4].y == 5);
    ck_assert_rc(tine_array_get_int(array, 0, &number), -EINVAL);
    ck_assert_rc(tine_array_copy(array, 0, &copy), 0);
    ck_assert(((struct point *)tine_array_data(copy))[3].z == 3);
    tine_array_close(array);
    tine_array_close(copy);
}

struct scene {
    tine_array *array;
    struct gate *ready, *end;
};

static void hold_lock(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_rlock_acquire(tine_array_lock(scene->array), 0), 0);
    gate_raise(scene->ready);
    gate_await(scene->end, 1);
}

TEST(slices_wait_for_the_lock_and_hear_of_a_death)
{
    struct scene scene = {array_new('q', 4), gate_new(), gate_new()};
    struct child child = child_start(hold_lock, &scene);
    tine_array *copy = NULL;
    int64_t number = 3;

    gate_await(scene.ready, 1);
    ck_assert_rc(tine_array_write(scene.array, 0, 1, &number, 0), -EAGAIN);
    ck_assert_rc(tine_array_read(scene.array, 0, 1, TINE_MS(1), &number), -ETIMEDOUT);
    ck_assert_rc(tine_array_copy(scene.array, 0, &copy), -EAGAIN);
    ck_assert_rc(tine_array_set_int(scene.array, 0, 5), 0); /* one element takes no lock */
    child_kill(&child);
    ck_assert_rc(tine_array_read(scene.array, 0, 1, TINE_SEC(600), &number), -EOWNERDEAD);
    ck_assert_int_eq(number, 3);
    ck_assert_ptr_null(copy);
    ck_assert_rc(tine_rlock_recover(tine_array_lock(scene.array)), 0);
    ck_assert_rc(tine_array_read(scene.array, 0, 1, 0, &number), 0);
    ck_assert_int_eq(number, 5);
    ck_assert_rc(tine_rlock_release(tine_array_lock(scene.array)), 0);
    tine_array_close(scene.array);
}

TEST(the_lock_is_a_given_one_or_none)
{
    tine_rlock *lock = tine_alloc(sizeof *lock);
    tine_array *given, *none, *copy;
    int64_t number = 1;

    ck_assert_rc(tine_rlock_init(lock, NULL), 0);
    ck_assert_rc(tine_array_open(&given, 'q', 2, &(tine_array_options){.lock = lock}), 0);
    ck_assert_rc(tine_array_open(&none, 'q', 2, &(tine_array_options){.no_lock = true}), 0);
    ck_assert_ptr_eq(tine_array_lock(given), lock);
    ck_assert_ptr_null(tine_array_lock(none));
    ck_assert_rc(tine_array_write(given, 0, 1, &number, 0), 0);
    ck_assert_rc(tine_array_write(none, 0, 1, &number, 0), 0);
    ck_assert_rc(tine_array_copy(none, 0, &copy), 0);
    ck_assert_ptr_null(tine_array_lock(copy));
    tine_array_close(given);
    tine_array_close(none);
    tine_array_close(copy);
    ck_assert_rc(tine_rlock_locked(lock), 0);
    tine_free(lock);
}

SUITE("shm/array")
