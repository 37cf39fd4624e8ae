/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of put, get, task_done and the sweep of the dead: an item is in
 * the queue once or not at all, none but the victim's own is ever missing, and with leases none at
 * all.
 */
#include "tests/ipc/queue_help.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/wait.h"

#define POINTS 8
#define FEW    4 /* where there are thousands of instructions */

/* What it reads from /proc takes thousands of instructions that concern no shared memory. */
bool __wrap_tine__owner_word_lives(uint64_t word);
bool __wrap_tine__owner_word_lives(uint64_t word)
{
    return kill(tine__owner_word_pid(word), 0) == 0;
}

enum { STANDING = 3, VICTIM = 1000, RECORD_MAX = 400 };

struct record {
    int64_t number;
    char rest[RECORD_MAX - sizeof(int64_t)];
};

struct scene {
    tine_queue *queue;
    tine_queue_options options;
    size_t size;     /* of a record: inline or in a block */
    uint64_t blocks; /* of the heap, when the queue was empty */
    int64_t victim;  /* which of them the victim had, -1: none */
    bool fifo;
};

static void put_record(struct scene *scene, int64_t number)
{
    struct record record = {.number = number};

    memset(record.rest, (int)number, sizeof record.rest);
    ck_assert_ok(tine_queue_put_bytes(scene->queue, &record, scene->size, number, TINE_FOREVER));
}

/* Its number; -1: there is none. */
static int64_t get_record(struct scene *scene)
{
    struct record record;
    size_t size;
    int rc = tine_queue_get_bytes(scene->queue, &record, sizeof record, 0, &size);

    if (rc == -EAGAIN)
        return -1;
    ck_assert_ok(rc);
    ck_assert_uint_eq(size, scene->size);
    for (size_t i = 0; i < size - sizeof record.number; i++)
        ck_assert_int_eq(record.rest[i], (char)record.number);
    return record.number;
}

static void done(struct scene *scene)
{
    if (scene->options.joinable)
        ck_assert_ok(tine_queue_task_done(scene->queue));
}

/* ---- before ---------------------------------------------------------------------------------- */

static void fill(void *context)
{
    for (int64_t i = 0; i < STANDING; i++)
        put_record(context, i);
}

static void get_without_done(void *context)
{
    ck_assert_int_ge(get_record(context), 0);
}

/* Somebody has died with an item, and nobody has noticed. */
static void let_one_die_with_an_item(void *context)
{
    struct child child;

    fill(context);
    child = child_start(get_without_done, context);
    child_join(&child);
}

/* … and now it has been returned. */
static void let_one_be_returned(void *context)
{
    struct scene *scene = context;

    let_one_die_with_an_item(context);
    tine__queue_look(scene->queue, true);
}

/* ---- the victim ------------------------------------------------------------------------------ */

static void enter(void *context)
{
    struct scene *scene = context;

    ck_assert_int_gt(tine__queue_enter(scene->queue), 0);
}

static void enter_and_get(void *context)
{
    enter(context);
    get_without_done(context);
}

/* What is stepped through is the library alone. */
static struct record victims;

static void enter_with_record(void *context)
{
    enter(context);
    tine_free(tine_alloc(sizeof victims)); /* the heap's first time takes long */
    victims.number = VICTIM;
    memset(victims.rest, (char)VICTIM, sizeof victims.rest);
}

static void victim_puts(void *context)
{
    struct scene *scene = context;

    (void)!tine_queue_put_bytes(scene->queue, &victims, scene->size, VICTIM, TINE_FOREVER);
}

static void victim_gets(void *context)
{
    struct scene *scene = context;
    size_t size;

    (void)!tine_queue_get_bytes(scene->queue, &victims, sizeof victims, 0, &size);
}

static void victim_is_done(void *context)
{
    struct scene *scene = context;

    tine_queue_task_done(scene->queue);
}

static void victim_looks(void *context)
{
    struct scene *scene = context;

    tine__queue_look(scene->queue, true);
}

static void victim_joins(void *context)
{
    struct scene *scene = context;

    (void)!tine_queue_join(scene->queue, 0, NULL);
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void assert_slots_free(struct scene *scene, long steps)
{
    for (uint32_t i = 0, n = tine__queue_slots(scene->queue); i < n; i++) {
        uint64_t word = tine__slot_word(tine__queue_slot(scene->queue, i));

        ck_assert_msg(tine__word_is(word, TINE__ITEM_FREE),
                      "killed after %ld instructions: slot %u is left in state %u", steps, i,
                      (unsigned)tine__word_state(word));
    }
}

/* Everything that stands there comes out, once, and in order if nothing was returned. */
static void check(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    int64_t number, last = -1, sum = 0, count = 0;
    bool missing;

    (void)victim;
    tine__queue_look(scene->queue, true);
    while ((number = get_record(scene)) >= 0) {
        ck_assert_msg(!scene->fifo || number > last,
                      "killed after %ld instructions: %jd came after %jd", steps, (intmax_t)number,
                      (intmax_t)last);
        last = number;
        sum += number == VICTIM ? 0 : number + 1;
        count++;
        done(scene);
    }
    missing = sum != STANDING * (STANDING + 1) / 2;
    ck_assert_msg(!missing || scene->victim >= 0,
                  "killed after %ld instructions: %jd came, sum %jd", steps, (intmax_t)count,
                  (intmax_t)sum);
    if (missing)
        ck_assert_int_eq(sum, STANDING * (STANDING + 1) / 2 - scene->victim - 1);
    ck_assert_int_eq(tine_queue_qsize(scene->queue), 0);
    if (scene->options.joinable)
        ck_assert_ok(tine_queue_join(scene->queue, 0, NULL));
    assert_slots_free(scene, steps);
    ck_assert_uint_le(heap_blocks(), scene->blocks + 1); /* at most the one in hand */
    scene->blocks = heap_blocks();
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Orders, with and without leases, small and large items. */
static struct scene scene_new(int index)
{
    struct scene scene = {.size = index % 2 == 0 ? 40 : 300, .victim = -1};

    scene.options.joinable = index / 2 % 2;
    scene.options.order = index / 4 == 0 ? TINE_FIFO : TINE_PRIORITY;
    scene.queue = queue_new(scene.options);
    scene.fifo = true; /* smallest priority first is the same here */
    /* so that what the first use makes is there */
    enter(&scene);
    fill(&scene);
    for (int i = 0; i < STANDING; i++) {
        get_without_done(&scene);
        done(&scene);
    }
    scene.blocks = heap_blocks();
    return scene;
}

#define SCENES 8

#define STEP_TEST(name, points, victim_item, needs_leases, ...)                                    \
    TEST(name, .timeout_s = 300, .loop_end = SCENES)                                               \
    {                                                                                              \
        struct scene scene = scene_new(loop_index);                                                \
                                                                                                   \
        if (scene.options.joinable || !(needs_leases)) {                                           \
            scene.victim =                                                                         \
                scene.options.joinable && (victim_item) == 0 ? -1 : (victim_item) % 100;           \
            step_kill_everywhere(&(struct step){.check = check, .context = &scene, __VA_ARGS__},   \
                                 POINTS);                                                          \
        }                                                                                          \
        tine_queue_close(scene.queue);                                                             \
    }

/* The number of the item that may be missing; 100: item 0, even if it was leased; -1: none. */
STEP_TEST(killed_in_put, POINTS, -1, false, .before = fill, .prepare = enter_with_record,
          .run = victim_puts)
STEP_TEST(killed_in_get, POINTS, 0, false, .before = fill, .prepare = enter, .run = victim_gets)
STEP_TEST(killed_in_task_done, POINTS, 100, true, .before = fill, .prepare = enter_and_get,
          .run = victim_is_done)
STEP_TEST(killed_in_a_look_for_the_dead, FEW, 0, false, .before = let_one_die_with_an_item,
          .prepare = enter, .run = victim_looks)
STEP_TEST(killed_in_get_of_what_was_returned, POINTS, 0, true, .before = let_one_be_returned,
          .prepare = enter, .run = victim_gets)
STEP_TEST(killed_in_join, FEW, -1, true, .before = fill, .prepare = enter, .run = victim_joins)

/* ---- lost items are counted once ------------------------------------------------------------- */

static void check_lost(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    uint64_t lost = 0;
    int64_t number, sum = 0;

    (void)victim;
    tine__queue_look(scene->queue, true);
    while ((number = get_record(scene)) >= 0) {
        sum += number;
        done(scene);
    }
    ck_assert_int_eq(sum, 1 + 2);
    ck_assert_ok(tine_queue_join(scene->queue, 0, &lost));
    ck_assert_msg(lost == ++scene->blocks, "killed after %ld instructions: %ju counted, %ju lost",
                  steps, (uintmax_t)lost, (uintmax_t)scene->blocks);
    assert_slots_free(scene, steps);
}

TEST(killed_while_counting_a_loss, .timeout_s = 300)
{
    struct scene scene = {.options = {.joinable = 1, .lose = 1}, .size = 40};

    scene.queue = queue_new(scene.options);
    step_kill_everywhere(&(struct step){.before = let_one_die_with_an_item,
                                        .prepare = enter,
                                        .run = victim_looks,
                                        .check = check_lost,
                                        .context = &scene},
                         2 * POINTS);
    tine_queue_close(scene.queue);
}

/* ---- growing, shutting down ------------------------------------------------------------------ */

#define MANY (2 * TINE__SLOTS_FIRST)

static void put_many(void *context)
{
    for (int64_t i = 0; i < TINE__SLOTS_FIRST; i++)
        put_record(context, i);
}

static void new_queue(void *context)
{
    struct scene *scene = context;

    tine_queue_close(scene->queue);
    scene->queue = queue_new(scene->options);
    put_many(context);
}

/* As many come out as went in, in order. */
static void check_growth(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    int64_t number;

    (void)victim;
    tine__queue_look(scene->queue, true);
    for (int64_t i = 0; i < TINE__SLOTS_FIRST; i++)
        put_record(context, MANY + i);
    for (int64_t i = 0; i < TINE__SLOTS_FIRST; i++)
        ck_assert_msg(get_record(scene) == i, "killed after %ld instructions: no %jd", steps,
                      (intmax_t)i);
    for (int64_t i = 0; i < TINE__SLOTS_FIRST; i++) {
        number = get_record(scene);
        ck_assert_int_eq(number == VICTIM ? get_record(scene) : number, MANY + i);
    }
    number = get_record(scene);
    ck_assert(number == -1 || number == VICTIM);
}

TEST(killed_in_a_put_for_which_the_table_grows, .timeout_s = 300, .loop_end = 2)
{
    struct scene scene = {.size = 40};

    scene.options.order = loop_index == 0 ? TINE_FIFO : TINE_PRIORITY;
    scene.queue = queue_new(scene.options);
    step_kill_everywhere(&(struct step){.before = new_queue,
                                        .prepare = enter_with_record,
                                        .run = victim_puts,
                                        .check = check_growth,
                                        .context = &scene},
                         FEW);
    tine_queue_close(scene.queue);
}

SUITE("ipc/queue_step")
