/* SPDX-License-Identifier: MIT */
/* tine_value: numbers in one step, structs in two slots, what deaths leave of both. */
#include <tine/heap.h>
#include <tine/value.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

#define KILLS 50

static tine_value *value_new(int type)
{
    tine_value *value;

    ck_assert_rc(tine_value_open(&value, type, NULL), 0);
    return value;
}

static int64_t int_of(const tine_value *value)
{
    int64_t number;

    ck_assert_rc(tine_value_load_int(value, &number), 0);
    return number;
}

/* ---- arguments ------------------------------------------------------------------------------- */

TEST(options_are_checked)
{
    tine_value *value = NULL;
    tine_rlock lock;

    ck_assert_rc(tine_value_open(NULL, 'q', NULL), -EINVAL);
    ck_assert_rc(tine_value_open(&value, 'x', NULL), -EINVAL);
    ck_assert_rc(tine_value_open(&value, 0, NULL), -EINVAL);
    ck_assert_rc(tine_value_open(&value, 'q', &(tine_value_options){.size = 8}), -EINVAL);
    ck_assert_rc(
        tine_value_open(&value, 'q', &(tine_value_options){.lock = &lock, .no_lock = true}),
        -EINVAL);
    ck_assert_rc(tine_value_open(&value, 'q', &(tine_value_options){.reserved = {1}}), -E2BIG);
    ck_assert_rc(tine_value_open(&value, 'q', &(tine_value_options){.reserved0 = {true}}), -E2BIG);
    ck_assert_rc(tine_value_open(&value, 0, &(tine_value_options){.size = SIZE_MAX}), -ENOMEM);
    ck_assert_rc(tine_value_open(&value, 0, &(tine_value_options){.size = SIZE_MAX / 2}), -ENOMEM);
    ck_assert_ptr_null(value);
    tine_value_close(NULL);
}

TEST(what_is_no_value_or_of_another_sort_is_refused)
{
    tine_value none = {.kind = 1}, *number = value_new('i'), *floating = value_new('d');
    int64_t i = 7;
    uint64_t u = 7;
    double d = 7;
    char bytes[8];

    ck_assert_rc(tine_value_load_int(&none, &i), -EINVAL);
    ck_assert_rc(tine_value_load_int(NULL, &i), -EINVAL);
    ck_assert_rc(tine_value_load_int(number, NULL), -EINVAL);
    ck_assert_rc(tine_value_load_double(number, &d), -EINVAL);
    ck_assert_rc(tine_value_load_int(floating, &i), -EINVAL);
    ck_assert_rc(tine_value_load_uint(floating, &u), -EINVAL);
    ck_assert_rc(tine_value_store_int(floating, 1), -EINVAL);
    ck_assert_rc(tine_value_store_uint(floating, 1), -EINVAL);
    ck_assert_rc(tine_value_store_double(number, 1), -EINVAL);
    ck_assert_rc(tine_value_add_int(floating, 1, NULL), -EINVAL);
    ck_assert_rc(tine_value_add_int(NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_value_add_double(number, 1, NULL), -EINVAL);
    ck_assert_rc(tine_value_exchange_int(number, 1, NULL), -EINVAL);
    ck_assert_rc(tine_value_exchange_double(number, 1, &d), -EINVAL);
    ck_assert_rc(tine_value_compare_exchange_int(number, NULL, 1), -EINVAL);
    ck_assert_rc(tine_value_compare_exchange_double(number, &d, 1), -EINVAL);
    ck_assert_rc(tine_value_read(number, bytes), -EINVAL);
    ck_assert_rc(tine_value_write(number, bytes, 0), -EINVAL);
    ck_assert_ptr_null(tine_value_lock(&none));
    ck_assert(i == 7 && u == 7 && d == 7);
    tine_value_close(number);
    tine_value_close(floating);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static const struct range {
    int letter;
    int64_t min, max;
} ranges[] = {
    {'?', 0, 1},          {'b', INT8_MIN, INT8_MAX},
    {'B', 0, UINT8_MAX},  {'h', INT16_MIN, INT16_MAX},
    {'H', 0, UINT16_MAX}, {'i', INT32_MIN, INT32_MAX},
    {'I', 0, UINT32_MAX}, {'q', INT64_MIN, INT64_MAX},
    {'Q', 0, INT64_MAX},
};
#define RANGES ((int)(sizeof ranges / sizeof ranges[0]))

TEST(integers_keep_to_their_range, .loop_end = RANGES)
{
    const struct range *range = &ranges[loop_index];
    tine_value *value = value_new(range->letter);
    int64_t sum = 99;

    ck_assert_int_eq(int_of(value), 0);
    ck_assert_rc(tine_value_store_int(value, range->max), 0);
    ck_assert_int_eq(int_of(value), range->max);
    ck_assert_rc(tine_value_store_int(value, range->min), 0);
    ck_assert_int_eq(int_of(value), range->min);
    if (range->letter != 'q') {
        ck_assert_rc(tine_value_store_int(value, range->min - 1), -ERANGE);
        ck_assert_rc(tine_value_add_int(value, -1, &sum), -ERANGE);
    }
    if (range->letter != 'q' && range->letter != 'Q') {
        ck_assert_rc(tine_value_store_int(value, range->max + 1), -ERANGE);
        ck_assert_rc(tine_value_store_uint(value, (uint64_t)range->max + 1), -ERANGE);
        ck_assert_rc(tine_value_store_int(value, range->max), 0);
        ck_assert_rc(tine_value_add_int(value, 1, &sum), -ERANGE);
        ck_assert_int_eq(int_of(value), range->max);
    }
    ck_assert_int_eq(sum, 99);
    ck_assert_rc(tine_value_store_int(value, 0), 0);
    ck_assert_rc(tine_value_add_int(value, 1, &sum), 0);
    ck_assert_int_eq(sum, 1);
    ck_assert_rc(tine_value_add_int(value, -1, NULL), 0);
    ck_assert_int_eq(int_of(value), 0);
    tine_value_close(value);
}

TEST(large_unsigned_numbers_are_themselves)
{
    tine_value *value = value_new('Q');
    int64_t i = 5;
    uint64_t u;

    ck_assert_rc(tine_value_store_uint(value, UINT64_MAX), 0);
    ck_assert_rc(tine_value_load_uint(value, &u), 0);
    ck_assert_uint_eq(u, UINT64_MAX);
    ck_assert_rc(tine_value_load_int(value, &i), -ERANGE);
    ck_assert_rc(tine_value_exchange_int(value, 1, &i), -ERANGE);
    ck_assert_rc(tine_value_compare_exchange_int(value, &i, 1), -ERANGE);
    ck_assert_rc(tine_value_add_int(value, 1, NULL), -ERANGE);
    ck_assert_rc(tine_value_add_int(value, INT64_MIN, NULL), 0);
    ck_assert_int_eq(int_of(value), INT64_MAX);
    ck_assert_rc(tine_value_add_int(value, 1, &i), -ERANGE); /* the sum is none that fits */
    ck_assert_int_eq(i, 5);
    tine_value_close(value);
    value = value_new('q');
    ck_assert_rc(tine_value_store_int(value, -1), 0);
    ck_assert_rc(tine_value_load_uint(value, &u), -ERANGE);
    ck_assert_rc(tine_value_store_int(value, INT64_MAX), 0);
    ck_assert_rc(tine_value_add_checked(value, 1, NULL), -ERANGE);
    ck_assert_rc(tine_value_add_int(value, 1, &i), 0);
    ck_assert_int_eq(i, INT64_MIN);
    tine_value_close(value);
}

TEST(integers_are_exchanged)
{
    tine_value *value = value_new('h');
    int64_t number = 1;

    ck_assert_rc(tine_value_exchange_int(value, -5, &number), 0);
    ck_assert_int_eq(number, 0);
    ck_assert_rc(tine_value_exchange_int(value, 40000, &number), -ERANGE);
    number = 3;
    ck_assert_rc(tine_value_compare_exchange_int(value, &number, 9), 0);
    ck_assert_int_eq(number, -5);
    ck_assert_rc(tine_value_compare_exchange_int(value, &number, 9), 1);
    ck_assert_int_eq(int_of(value), 9);
    ck_assert_rc(tine_value_compare_exchange_int(value, &number, 40000), -ERANGE);
    tine_value_close(value);
}

TEST(floating_point_numbers_keep_to_their_range)
{
    tine_value *wide = value_new('d'), *narrow = value_new('f');
    double number = 0.5;

    ck_assert_rc(tine_value_store_double(narrow, 0.1), 0);
    ck_assert_rc(tine_value_load_double(narrow, &number), 0);
    ck_assert(number == (double)0.1f);
    ck_assert_rc(tine_value_store_double(narrow, 1e300), -ERANGE);
    ck_assert_rc(tine_value_store_double(narrow, (double)INFINITY), 0);
    ck_assert_rc(tine_value_store_double(narrow, (double)FLT_MAX), 0);
    ck_assert_rc(tine_value_add_double(narrow, (double)FLT_MAX, NULL), -ERANGE);
    ck_assert_rc(tine_value_add_double(wide, 0.25, NULL), 0);
    ck_assert_rc(tine_value_add_double(wide, 0.5, &number), 0);
    ck_assert(number == 0.75);
    ck_assert_rc(tine_value_exchange_double(wide, -1.5, &number), 0);
    ck_assert(number == 0.75);
    ck_assert_rc(tine_value_compare_exchange_double(wide, &number, 3), 0);
    ck_assert(number == -1.5);
    ck_assert_rc(tine_value_compare_exchange_double(wide, &number, 3), 1);
    ck_assert_rc(tine_value_load_double(wide, &number), 0);
    ck_assert(number == 3);
    tine_value_close(wide);
    tine_value_close(narrow);
}

struct sums {
    tine_value *integer, *small, *floating;
};

static void add_up(void *context)
{
    struct sums *sums = context;

    for (int i = 0; i < 5000; i++) {
        ck_assert_rc(tine_value_add_int(sums->integer, 1, NULL), 0);
        ck_assert_rc(tine_value_add_int(sums->small, 1, NULL), 0);
        ck_assert_rc(tine_value_add_double(sums->floating, 0.5, NULL), 0);
    }
}

TEST(no_addition_of_any_process_is_lost)
{
    struct sums sums = {value_new('q'), value_new('i'), value_new('d')};
    struct child children[4];
    double number;

    for (int i = 0; i < 4; i++)
        children[i] = child_start(add_up, &sums);
    for (int i = 0; i < 4; i++)
        child_join(&children[i]);
    ck_assert_int_eq(int_of(sums.integer), 20000);
    ck_assert_int_eq(int_of(sums.small), 20000);
    ck_assert_rc(tine_value_load_double(sums.floating, &number), 0);
    ck_assert(number == 10000);
    tine_value_close(sums.integer);
    tine_value_close(sums.small);
    tine_value_close(sums.floating);
}

/* ---- structs --------------------------------------------------------------------------------- */

#define CELLS 33

struct record {
    uint64_t cells[CELLS]; /* all equal */
    char odd[3];
};

static struct record record_of(uint64_t number)
{
    struct record record;

    memset(&record, (int)number, sizeof record);
    for (int i = 0; i < CELLS; i++)
        record.cells[i] = number;
    return record;
}

static uint64_t read_whole(const tine_value *value)
{
    struct record record;

    ck_assert_rc(tine_value_read(value, &record), 0);
    for (int i = 1; i < CELLS; i++)
        ck_assert_uint_eq(record.cells[i], record.cells[0]);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(record.odd[i], (char)record.cells[0]);
    return record.cells[0];
}

static tine_value *struct_new(tine_rlock *lock, bool no_lock)
{
    tine_value *value;

    ck_assert_rc(
        tine_value_open(
            &value, 0,
            &(tine_value_options){.size = sizeof(struct record), .lock = lock, .no_lock = no_lock}),
        0);
    return value;
}

static void write_number(tine_value *value, uint64_t number)
{
    struct record record = record_of(number);

    ck_assert_rc(tine_value_write(value, &record, TINE_SEC(600)), 0);
}

TEST(structs_are_written_as_a_whole)
{
    tine_value *value = struct_new(NULL, false), *copy;
    int64_t number;
    char byte;

    ck_assert_uint_eq(read_whole(value), 0);
    for (uint64_t i = 1; i < 10; i++) {
        write_number(value, i);
        ck_assert_uint_eq(read_whole(value), i);
    }
    ck_assert_rc(tine_value_load_int(value, &number), -EINVAL);
    ck_assert_rc(tine_value_read(value, NULL), -EINVAL);
    ck_assert_rc(tine_value_write(value, NULL, 0), -EINVAL);
    ck_assert_rc(tine_value_read(NULL, &byte), -EINVAL);
    ck_assert_rc(tine_value_copy(&copy, value), 0);
    write_number(value, 11);
    ck_assert_uint_eq(read_whole(copy), 9);
    ck_assert_ptr_ne(tine_value_lock(copy), tine_value_lock(value));
    write_number(copy, 12);
    ck_assert_uint_eq(read_whole(copy), 12);
    tine_value_close(value);
    tine_value_close(copy);
}

TEST(numbers_are_copied)
{
    tine_value *value = value_new('b'), *copy;

    ck_assert_rc(tine_value_store_int(value, -3), 0);
    ck_assert_rc(tine_value_copy(&copy, value), 0);
    ck_assert_int_eq(int_of(copy), -3);
    ck_assert_rc(tine_value_store_int(copy, 200), -ERANGE);
    ck_assert_rc(tine_value_copy(NULL, value), -EINVAL);
    ck_assert_rc(tine_value_copy(&copy, NULL), -EINVAL);
    tine_value_close(value);
    tine_value_close(copy);
}

TEST(the_lock_is_its_own_or_a_given_one_or_none)
{
    tine_rlock *lock = tine_alloc(sizeof *lock);
    tine_value *given, *none = struct_new(NULL, true), *own = struct_new(NULL, false);

    ck_assert_rc(tine_rlock_init(lock, NULL), 0);
    given = struct_new(lock, false);
    ck_assert_ptr_eq(tine_value_lock(given), lock);
    ck_assert_ptr_null(tine_value_lock(none));
    ck_assert_rc(tine_rlock_acquire(tine_value_lock(own), 0), 0);
    write_number(own, 1); /* in one's own hold */
    ck_assert_rc(tine_rlock_release(tine_value_lock(own)), 0);
    write_number(none, 2);
    ck_assert_uint_eq(read_whole(none), 2);
    tine_value_close(given);
    tine_value_close(none);
    tine_value_close(own);
    ck_assert_rc(tine_rlock_acquire(lock, 0), 0);
    ck_assert_rc(tine_rlock_release(lock), 0);
    tine_free(lock);
}

struct scene {
    tine_value *value;
    struct gate *ready, *end;
};

static void hold_lock(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_rlock_acquire(tine_value_lock(scene->value), 0), 0);
    gate_raise(scene->ready);
    gate_await(scene->end, 1);
}

TEST(writers_wait_for_the_lock_and_readers_do_not)
{
    struct scene scene = {struct_new(NULL, false), gate_new(), gate_new()};
    struct child child = child_start(hold_lock, &scene);
    struct record record = record_of(1);

    gate_await(scene.ready, 1);
    ck_assert_rc(tine_value_write(scene.value, &record, 0), -EAGAIN);
    ck_assert_rc(tine_value_write(scene.value, &record, TINE_MS(2)), -ETIMEDOUT);
    ck_assert_uint_eq(read_whole(scene.value), 0);
    child_kill(&child);
    ck_assert_rc(tine_value_write(scene.value, &record, 0), -EOWNERDEAD);
    ck_assert_uint_eq(read_whole(scene.value), 0);
    ck_assert_rc(tine_rlock_depth(tine_value_lock(scene.value)), 1);
    ck_assert_rc(tine_rlock_recover(tine_value_lock(scene.value)), 0);
    ck_assert_rc(tine_value_write(scene.value, &record, 0), 0);
    ck_assert_rc(tine_rlock_release(tine_value_lock(scene.value)), 0);
    ck_assert_uint_eq(read_whole(scene.value), 1);
    tine_value_close(scene.value);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void write_or_recover(tine_value *value, uint64_t number)
{
    struct record record = record_of(number);
    int rc = tine_value_write(value, &record, TINE_SEC(600));

    if (rc == -EOWNERDEAD) {
        ck_assert_rc(tine_rlock_recover(tine_value_lock(value)), 0);
        ck_assert_rc(tine_value_write(value, &record, 0), 0);
        rc = tine_rlock_release(tine_value_lock(value));
    }
    ck_assert_rc(rc, 0);
}

static void write_for_ever(void *context)
{
    struct scene *scene = context;

    for (uint64_t i = 0;; i++) {
        write_or_recover(scene->value, i);
        gate_raise(scene->ready);
    }
}

TEST(no_reader_ever_sees_half_of_what_a_killed_writer_wrote, .kills = KILLS, .timeout_s = 60)
{
    struct scene scene = {struct_new(NULL, false), gate_new(), gate_new()};
    size_t kills = kills_wanted(KILLS);
    struct child writers[2];

    for (int i = 0; i < 2; i++)
        writers[i] = child_start(write_for_ever, &scene);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &writers[random_below(2)];

        gate_await(scene.ready, scene.ready->raised + 1);
        for (uint64_t reads = random_below(2000); reads > 0; reads--)
            read_whole(scene.value);
        child_kill(victim);
        read_whole(scene.value);
        *victim = child_start(write_for_ever, &scene);
    }
    for (int i = 0; i < 2; i++)
        child_kill(&writers[i]);
    write_or_recover(scene.value, 1);
    ck_assert_uint_eq(read_whole(scene.value), 1);
    tine_value_close(scene.value);
}

static void have_written(void *context)
{
    write_number(*(tine_value **)context, 7);
}

static void write_eight(void *context)
{
    write_number(*(tine_value **)context, 8);
}

static void set_back(void *context)
{
    write_or_recover(*(tine_value **)context, 6);
}

static void check_whole(long steps, pid_t victim, void *context)
{
    uint64_t number = read_whole(*(tine_value **)context);

    (void)victim;
    ck_assert_msg(number == 7 || number == 8, "%ju after %ld steps", (uintmax_t)number, steps);
    write_or_recover(*(tine_value **)context, 9);
    ck_assert_uint_eq(read_whole(*(tine_value **)context), 9);
}

TEST(a_writer_killed_after_any_instruction_leaves_the_old_or_the_new, .timeout_s = 300)
{
    tine_value *value = struct_new(NULL, false);

    step_kill_everywhere(&(struct step){.before = set_back,
                                        .prepare = have_written,
                                        .run = write_eight,
                                        .check = check_whole,
                                        .context = &value},
                         40);
    tine_value_close(value);
}

SUITE("shm/value")
