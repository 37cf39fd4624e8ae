/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction: a victim is single-stepped n instructions into a call of the
 * dictionary and killed there. Then nobody else may be held up, every key that the victim did not
 * touch has its value, the one that it did has the old or the new, and when the dictionary is
 * closed all its blocks but one at most are free. By default some points of each call, spread
 * evenly over it; TINE_STEPS=all takes every one.
 */
#include <tine/dict.h>
#include <tine/heap.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shm/dict_impl.h"
#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/step.h"

HEAP_BEFORE_TESTS

enum {
    POINTS = 24,
    KEYS = 24,   /* as many as fill a new dictionary to 3/4: one more makes it grow */
    BIG = 1000,  /* bytes of a value that is not kept for its key when it is removed */
    TIDIES = 32, /* retired blocks after which a call looks what can be freed */
};

/* A call on "victim's", and what goes before: in the survivor, then in the victim. */
struct operation {
    void (*setup)(tine_dict *dict);
    void (*prepare)(tine_dict *dict);
    void (*run)(tine_dict *dict);
    unsigned blocks; /* that can be lost at most */
};

static const char mine[] = "victim's";
static tine_buffer big;

static void make_big(void)
{
    static char bytes[BIG];

    if (big.size == 0)
        ck_assert_ok(tine_pack(&big, "y", bytes, sizeof bytes));
}

static const char *name(int number)
{
    static char text[16];

    snprintf(text, sizeof text, "key %d", number);
    return text;
}

/* ---- before the call ------------------------------------------------------------------------- */

static void nothing(tine_dict *dict)
{
    (void)dict;
}

static void be_seated(tine_dict *dict)
{
    ck_assert_rc(tine_dict_contains(dict, name(0), TINE_KEY_STRING), 1);
    tine_free(tine_alloc(48));
    tine_free(tine_alloc(64));
}

static void have_mine(tine_dict *dict)
{
    ck_assert_ok(tine_dict_put(dict, mine, "q", INT64_C(-1)));
}

static void have_big(tine_dict *dict)
{
    make_big();
    ck_assert_ok(tine_dict_put_packed(dict, mine, TINE_KEY_STRING, big.data, big.size));
}

static void have_mine_dead(tine_dict *dict)
{
    have_mine(dict);
    ck_assert_ok(tine_dict_remove(dict, mine, TINE_KEY_STRING));
}

static void fill_up(tine_dict *dict)
{
    for (int i = KEYS / 2; i < KEYS; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "qq", (int64_t)i, -(int64_t)i));
}

static void begin_migration(tine_dict *dict)
{
    struct dict_call call;

    fill_up(dict);
    have_mine(dict);
    ck_assert_ok(tine__dict_enter(&call, dict));
    ck_assert(tine__dict_grow(&call, tine__dict_current(&call)));
    tine__dict_leave(&call);
}

static void replace_until_tidy(tine_dict *dict)
{
    for (int i = 0; i < TIDIES - 1; i++)
        ck_assert_ok(tine_dict_put(dict, mine, "q", (int64_t)i));
}

/* Two advances of the epoch are due: the call frees what was retired before the first. */
static void replace_until_free(tine_dict *dict)
{
    for (int i = 0; i < 3 * TIDIES - 1; i++)
        ck_assert_ok(tine_dict_put(dict, mine, "q", (int64_t)i));
}

static void remove_until_rebuilt(tine_dict *dict)
{
    struct dict_table_shm *table = tine__dict_whole(dict);

    have_mine(dict);
    atomic_store(&table->dead, (int64_t)(table->capacity / 2 - 1));
}

static void take_all_seats(tine_dict *dict)
{
    static tine_dict_iter iters[DICT_SEATS];

    for (int i = 0; i < DICT_SEATS; i++)
        ck_assert_ok(tine_dict_iter_init(&iters[i], dict));
}

/* A process that is dead between its CAS and the retiring of what it replaced. */
static void die_publishing(void *context)
{
    tine_dict *dict = context;
    struct dict_key key = tine__dict_key(dict, mine, strlen(mine));
    struct dict_entry_shm *entry;
    struct dict_place place;
    struct dict_call call;
    uint64_t expected;

    ck_assert_ok(tine__dict_enter(&call, dict));
    ck_assert_ok(tine__dict_locate(&call, &key, true, &place));
    entry = tine__dict_make(&call, &key, "\1", 1);
    atomic_store(&call.seat->old, place.word & CELL_ADDRESS);
    atomic_store(&call.seat->target, (uint64_t)(uintptr_t)place.cell);
    expected = place.word;
    ck_assert(atomic_compare_exchange_strong(place.cell, &expected, dict_word(entry, key.hash)));
}

static void have_dead_publisher(tine_dict *dict)
{
    struct child child;

    have_mine(dict);
    child = child_start(die_publishing, dict);
    child_join(&child);
}

/* All other seats are taken. */
static void have_no_seat_but_the_publishers(tine_dict *dict)
{
    static tine_dict_iter iters[DICT_SEATS - 2];

    have_dead_publisher(dict);
    for (int i = 0; i < DICT_SEATS - 2; i++)
        ck_assert_ok(tine_dict_iter_init(&iters[i], dict));
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void put(tine_dict *dict)
{
    ck_assert_ok(tine_dict_put_packed(dict, mine, strlen(mine), "\1", 1));
}

static void put_big(tine_dict *dict)
{
    ck_assert_ok(tine_dict_put_packed(dict, mine, strlen(mine), big.data, big.size));
}

static void setdefault(tine_dict *dict)
{
    ck_assert_ok(tine_dict_setdefault_packed(dict, mine, strlen(mine), "\1", 1));
}

static void add(tine_dict *dict)
{
    ck_assert_ok(tine_dict_add(dict, mine, 2, NULL));
}

static void get(tine_dict *dict)
{
    int64_t first, second;

    ck_assert_ok(tine_dict_get(dict, name(3), "qq", &first, &second));
}

static void remove_mine(tine_dict *dict)
{
    ck_assert_ok(tine_dict_remove(dict, mine, strlen(mine)));
}

static void pop(tine_dict *dict)
{
    tine_buffer buffer = {0};

    ck_assert_ok(tine_dict_pop(dict, mine, strlen(mine), &buffer));
    tine_buffer_free(&buffer);
}

static void iterate(tine_dict *dict)
{
    tine_dict_iter iter;
    tine_dict_item item;

    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    while (tine_dict_iter_next(&iter, &item) == 1)
        ;
    tine_dict_iter_fini(&iter);
}

static void open_another(tine_dict *dict)
{
    tine_dict *another;

    (void)dict;
    ck_assert_ok(tine_dict_open(&another, NULL));
}

/* ---- the survivor ---------------------------------------------------------------------------- */

static void check_others(tine_dict *dict)
{
    int64_t first, second;

    for (int i = 0; i < KEYS / 2; i++) {
        ck_assert_ok(tine_dict_get(dict, name(i), "qq", &first, &second));
        ck_assert(first == i && second == -first);
    }
}

static ssize_t count_by_iteration(tine_dict *dict)
{
    tine_dict_iter iter;
    tine_dict_item item;
    ssize_t count = 0;

    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    while (tine_dict_iter_next(&iter, &item) == 1)
        count++;
    tine_dict_iter_fini(&iter);
    return count;
}

/* Its old value, its new one, or none: not a part of one. */
static void check_mine(tine_dict *dict)
{
    tine_buffer value = {0};
    int rc = tine_dict_get_packed(dict, mine, strlen(mine), &value);

    if (rc == 0)
        ck_assert_ok(tine_unpack(value.data, value.size, "v", NULL, NULL));
    else
        ck_assert_rc(rc, -ENOENT);
    tine_buffer_free(&value);
}

/* The survivor uses the dictionary in all ways, long enough to meet what the dead one left. */
static void use(tine_dict *dict)
{
    check_others(dict);
    check_mine(dict);
    ck_assert_int_eq(tine_dict_count(dict), count_by_iteration(dict));
    for (int i = 0; i < 4 * TIDIES; i++)
        ck_assert_ok(tine_dict_put(dict, mine, "q", (int64_t)i));
    for (int i = 0; i < 2 * KEYS; i++)
        ck_assert_ok(tine_dict_put(dict, name(KEYS + i), "n"));
    ck_assert_ok(tine_dict_remove(dict, mine, TINE_KEY_STRING));
    check_others(dict);
    ck_assert_int_eq(tine_dict_count(dict), count_by_iteration(dict));
}

static tine_dict *new_dict(const struct operation *operation)
{
    tine_dict *dict;

    ck_assert_ok(tine_dict_open(&dict, NULL));
    for (int i = 0; i < KEYS / 2; i++)
        ck_assert_ok(tine_dict_put(dict, name(i), "qq", (int64_t)i, -(int64_t)i));
    operation->setup(dict);
    return dict;
}

/* ---- around the victim ----------------------------------------------------------------------- */

struct scene {
    const struct operation *operation;
    tine_dict *dict;
    uint64_t blocks; /* in use before */
};

static void set_up(void *context)
{
    struct scene *scene = context;

    scene->blocks = heap_counts().used_blocks;
    scene->dict = new_dict(scene->operation);
}

static void prepare(void *context)
{
    const struct scene *scene = context;

    scene->operation->prepare(scene->dict);
}

static void run(void *context)
{
    const struct scene *scene = context;

    scene->operation->run(scene->dict);
}

/* A victim that stands there holds up nobody either. */
static void use_beside(long steps, void *context)
{
    if (steps % 3 == 0)
        use(((struct scene *)context)->dict);
}

static void check(long steps, pid_t victim, void *context)
{
    const struct scene *scene = context;
    uint64_t after;

    if (steps % 2 == 0) /* the heap may have swept the dead before we meet him, or not */
        ck_assert_rc(tine__heap_sweep_process(victim), 0);
    use(scene->dict);
    tine_dict_close(scene->dict);
    ck_assert_rc(tine__owner_sweep_dead(), 0);
    assert_heap_sound();
    after = heap_counts().used_blocks;
    ck_assert_msg(after <= scene->blocks + scene->operation->blocks,
                  "killed after %ld instructions: %jd blocks lost", steps,
                  (intmax_t)(after - scene->blocks));
    ck_assert_uint_eq(heap_counts().bad_frees, 0);
}

static void kill_everywhere(const struct operation *operation)
{
    struct scene scene = {.operation = operation};

    step_kill_everywhere(&(struct step){.before = set_up,
                                        .prepare = prepare,
                                        .run = run,
                                        .meanwhile = use_beside,
                                        .check = check,
                                        .context = &scene},
                         POINTS);
}

#define STEP_TEST(test, before, then, call, blocks)                                                \
    TEST(test, .timeout_s = 900)                                                                   \
    {                                                                                              \
        kill_everywhere(&(struct operation){before, then, call, blocks});                          \
    }

STEP_TEST(killed_in_the_first_call_of_a_process, nothing, nothing, get, 1)
STEP_TEST(killed_in_the_first_put_of_a_process, nothing, nothing, put, 1)
STEP_TEST(killed_in_a_get, nothing, be_seated, get, 1)
STEP_TEST(killed_in_a_put_of_a_new_key, nothing, be_seated, put, 1)
STEP_TEST(killed_in_a_put_of_a_known_key, have_mine, be_seated, put, 1)
STEP_TEST(killed_in_a_put_of_a_removed_key, have_mine_dead, be_seated, put, 1)
STEP_TEST(killed_in_a_put_that_replaces_much, have_big, be_seated, put, 1)
STEP_TEST(killed_in_a_put_of_much, nothing, have_big, put_big, 1)
STEP_TEST(killed_in_a_put_that_advances_the_epoch, have_mine, replace_until_tidy, put, 1)
STEP_TEST(killed_in_a_put_that_frees, have_mine, replace_until_free, put, 1)
STEP_TEST(killed_in_a_setdefault, nothing, be_seated, setdefault, 1)
STEP_TEST(killed_in_an_addition, have_mine, be_seated, add, 1)
STEP_TEST(killed_in_a_put_that_grows_the_table, fill_up, be_seated, put, 1)
STEP_TEST(killed_in_a_put_that_helps_a_migration, begin_migration, be_seated, put, 1)
STEP_TEST(killed_in_a_get_during_a_migration, begin_migration, be_seated, get, 1)
STEP_TEST(killed_in_a_remove, have_mine, be_seated, remove_mine, 1)
STEP_TEST(killed_in_a_remove_of_much, have_big, be_seated, remove_mine, 1)
STEP_TEST(killed_in_a_remove_that_rebuilds_the_table, remove_until_rebuilt, be_seated, remove_mine,
          1)
STEP_TEST(killed_in_a_pop, have_mine, be_seated, pop, 1)
STEP_TEST(killed_in_an_iteration, fill_up, be_seated, iterate, 1)
STEP_TEST(killed_when_more_seats_are_needed, nothing, take_all_seats, put, 1)
STEP_TEST(killed_while_adopting_a_dead_publisher, have_dead_publisher, replace_until_free, put, 1)
STEP_TEST(killed_while_taking_the_seat_of_a_dead_publisher, have_no_seat_but_the_publishers,
          nothing, put, 1)
STEP_TEST(killed_in_opening, nothing, be_seated, open_another, 2)

SUITE("shm/dict_step")
