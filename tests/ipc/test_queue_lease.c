/* SPDX-License-Identifier: MIT */
/* Leases: what comes back when its consumer dies, is late or leaves, how often, and where it
   ends. */
#include <tine/queue.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shm/owner.h"
#include "tests/ipc/queue_help.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

static const int32_t orders[] = {TINE_FIFO, TINE_LIFO, TINE_PRIORITY};
#define ORDERS 3

struct scene {
    tine_queue *queue;
    struct gate *gate;
    uint32_t phase;
};

static struct scene scene_new(tine_queue_options options)
{
    return (struct scene){.queue = queue_new(options), .gate = gate_new()};
}

static void get_and_exit(void *context)
{
    struct scene *scene = context;

    get(scene->queue);
}

/* A consumer that ends with one item. */
static void lose_a_consumer(struct scene *scene)
{
    struct child child = child_start(get_and_exit, scene);

    child_join(&child);
}

static int64_t get_item(tine_queue *queue, int deliveries)
{
    tine_queue_item *item;
    int64_t number;

    ck_assert_ok(tine_queue_get_item(queue, TINE_FOREVER, &item));
    ck_assert_ok(tine_queue_item_unpack(item, "q", &number));
    ck_assert_int_eq(tine_queue_item_deliveries(item), deliveries);
    ck_assert_ok(tine_queue_item_done(item));
    tine_queue_item_free(item);
    return number;
}

TEST(what_a_dead_consumer_had_comes_first, .loop_end = ORDERS)
{
    struct scene scene =
        scene_new((tine_queue_options){.order = orders[loop_index], .joinable = 1});

    for (int64_t i = 0; i < 4; i++)
        put(scene.queue, 1);
    put(scene.queue, 1);
    lose_a_consumer(&scene);
    lose_a_consumer(&scene);
    tine__queue_look(scene.queue, true);
    ck_assert_int_eq(tine_queue_qsize(scene.queue), 5);
    get_item(scene.queue, 2);
    get_item(scene.queue, 2);
    get_item(scene.queue, 1);
    ck_assert_rc(tine_queue_join(scene.queue, 0, NULL), -EAGAIN);
    get_item(scene.queue, 1);
    get_item(scene.queue, 1);
    ck_assert_ok(tine_queue_join(scene.queue, 0, NULL));
    tine_queue_close(scene.queue);
}

TEST(returned_items_keep_their_order)
{
    struct scene scene = scene_new((tine_queue_options){.joinable = 1});

    for (int64_t i = 0; i < 6; i++)
        put(scene.queue, i);
    lose_a_consumer(&scene);
    lose_a_consumer(&scene);
    lose_a_consumer(&scene);
    tine__queue_look(scene.queue, true);
    for (int64_t i = 0; i < 6; i++)
        ck_assert_int_eq(get_item(scene.queue, i < 3 ? 2 : 1), i);
    tine_queue_close(scene.queue);
}

/* By priority they take their places again. */
TEST(returned_items_are_ranked_again)
{
    struct scene scene = scene_new((tine_queue_options){.order = TINE_PRIORITY, .joinable = 1});

    for (int64_t i = 5; i < 8; i++)
        ck_assert_ok(tine_queue_put_priority(scene.queue, i, 0, "q", i));
    lose_a_consumer(&scene);
    ck_assert_ok(tine_queue_put_priority(scene.queue, 1, 0, "q", (int64_t)1));
    tine__queue_look(scene.queue, true);
    ck_assert_int_eq(get_item(scene.queue, 1), 1);
    ck_assert_int_eq(get_item(scene.queue, 2), 5);
    ck_assert_int_eq(get_item(scene.queue, 1), 6);
    tine_queue_close(scene.queue);
}

TEST(without_leases_an_item_is_gone_with_its_consumer, .loop_end = ORDERS)
{
    struct scene scene = scene_new((tine_queue_options){.order = orders[loop_index]});

    put(scene.queue, 1);
    put(scene.queue, 1);
    lose_a_consumer(&scene);
    tine__queue_look(scene.queue, true);
    ck_assert_int_eq(tine_queue_qsize(scene.queue), 1);
    get(scene.queue);
    ck_assert_int_eq(tine_queue_empty(scene.queue), 1);
    tine_queue_close(scene.queue);
}

TEST(after_too_many_deliveries_it_is_a_dead_letter, .loop_end = ORDERS)
{
    struct scene scene = scene_new(
        (tine_queue_options){.order = orders[loop_index], .joinable = 1, .deliveries_max = 2});
    tine_queue_item *items[4];
    int64_t number;

    put(scene.queue, 7);
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_queue_dead_letters(scene.queue, items, 4), 0);
        lose_a_consumer(&scene);
        tine__queue_look(scene.queue, true);
    }
    ck_assert_int_eq(tine_queue_empty(scene.queue), 1);
    ck_assert_ok(tine_queue_join(scene.queue, 0, NULL));
    ck_assert_rc(tine_queue_dead_letters(scene.queue, items, 4), 1);
    ck_assert_ok(tine_queue_item_unpack(items[0], "q", &number));
    ck_assert_int_eq(number, 7);
    ck_assert_int_eq(tine_queue_item_deliveries(items[0]), 2);
    ck_assert_rc(tine_queue_item_done(items[0]), -EOVERFLOW);
    tine_queue_item_free(items[0]);
    ck_assert_rc(tine_queue_dead_letters(scene.queue, items, 4), 0);
    tine_queue_close(scene.queue);
}

TEST(what_is_lost_is_counted, .loop_end = ORDERS)
{
    struct scene scene =
        scene_new((tine_queue_options){.order = orders[loop_index], .joinable = 1, .lose = 1});
    uint64_t lost = 0;

    for (int64_t i = 0; i < 5; i++)
        put(scene.queue, i);
    for (int i = 0; i < 3; i++)
        lose_a_consumer(&scene);
    ck_assert_rc(tine_queue_join(scene.queue, TINE_US(1), &lost), -ETIMEDOUT);
    ck_assert_uint_eq(lost, 3);
    get_item(scene.queue, 1);
    get_item(scene.queue, 1);
    ck_assert_ok(tine_queue_join(scene.queue, TINE_FOREVER, &lost));
    ck_assert_uint_eq(lost, 3);
    tine_queue_close(scene.queue);
}

/* ---- leases that end by time ----------------------------------------------------------------- */

static void be_late(void *context)
{
    struct scene *scene = context;

    get(scene->queue);
    gate_raise(scene->gate);
    gate_await(scene->gate, 2);
    ck_assert_rc(tine_queue_task_done(scene->queue), -ECANCELED);
}

TEST(whoever_is_late_loses_the_item_to_the_next)
{
    struct scene scene = scene_new((tine_queue_options){.joinable = 1, .lease_ns = TINE_MS(60)});
    struct child child;
    int64_t begun = tine__now_ns();
    int rc;

    put(scene.queue, 1);
    child = child_start(be_late, &scene);
    gate_await(scene.gate, 1);
    rc = tine_queue_get_nowait(scene.queue, "q", NULL);
    if (rc == 0) { /* this process was as late as that */
        ck_assert_ok(tine_queue_task_done(scene.queue));
    } else {
        ck_assert_rc(rc, -EAGAIN);
        ck_assert_int_eq(get_item(scene.queue, 2), 1);
    }
    ck_assert_int_ge(tine__now_ns() - begun, TINE_MS(60) - TINE_US(10));
    ck_assert_ok(tine_queue_join(scene.queue, 0, NULL));
    gate_raise(scene.gate);
    child_join(&child);
    tine_queue_close(scene.queue);
}

/* Killed, or stopped, before it could write down when its lease ends. */
TEST(a_lease_whose_end_was_not_written_ends_as_well)
{
    struct scene scene = scene_new((tine_queue_options){.joinable = 1, .lease_ns = TINE_MS(1)});

    put(scene.queue, 1);
    get(scene.queue);
    tine__queue_slot(scene.queue, 0)->expiry = 0;
    ck_assert_int_eq(get_item(scene.queue, 2), 1);
    ck_assert_rc(tine_queue_task_done(scene.queue), -ECANCELED);
    tine_queue_close(scene.queue);
}

TEST(leases_end_while_others_join)
{
    struct scene scene =
        scene_new((tine_queue_options){.joinable = 1, .lease_ns = TINE_MS(1), .lose = 1});
    uint64_t lost;

    put(scene.queue, 1);
    get(scene.queue);
    ck_assert_ok(tine_queue_join(scene.queue, TINE_FOREVER, &lost));
    ck_assert_uint_eq(lost, 1);
    tine_queue_close(scene.queue);
}

/* ---- the dead leave nothing ------------------------------------------------------------------ */

static void put_into_the_full_queue(void *context)
{
    struct scene *scene = context;
    static const char bytes[500];

    gate_raise(scene->gate);
    (void)!tine_queue_put_bytes(scene->queue, bytes, sizeof bytes, 0, TINE_FOREVER);
}

TEST(a_producer_killed_while_it_waits_for_room_leaves_nothing, .loop_end = ORDERS)
{
    struct scene scene =
        scene_new((tine_queue_options){.order = orders[loop_index], .maxsize = 1, .joinable = 1});

    put(scene.queue, 1);
    for (uint32_t i = 1; i <= 20; i++) {
        struct child child = child_start(put_into_the_full_queue, &scene);

        gate_await(scene.gate, i);
        child_kill(&child);
    }
    tine__queue_look(scene.queue, true);
    get_item(scene.queue, 1);
    ck_assert_int_eq(tine_queue_empty(scene.queue), 1);
    for (uint32_t i = 0; i < tine__queue_slots(scene.queue); i++)
        ck_assert(
            tine__word_is(tine__slot_word(tine__queue_slot(scene.queue, i)), TINE__ITEM_FREE));
    tine_queue_close(scene.queue);
}

/* Though it may be left asleep until half the queue is free. */
TEST(one_place_is_enough_for_a_producer_that_waits, .loop_end = ORDERS)
{
    struct scene scene =
        scene_new((tine_queue_options){.order = orders[loop_index], .maxsize = 40});
    struct child child;

    for (int64_t i = 0; i < 40; i++)
        put(scene.queue, i);
    for (uint32_t i = 1; i <= 10; i++) {
        child = child_start(put_into_the_full_queue, &scene);
        gate_await(scene.gate, i);
        ck_assert_ok(tine_queue_get_bytes(scene.queue, (char[500]){0}, 500, 0, &(size_t){0}));
        child_join(&child);
    }
    tine_queue_close(scene.queue);
}

/* More processes, one after the other, than there are numbers in one chunk. */
TEST(numbers_of_processes_are_used_again)
{
    struct scene scene = scene_new((tine_queue_options){.joinable = 1});

    for (int64_t i = 0; i < 3 * TINE__PARTIES_CHUNK; i++) {
        put(scene.queue, i);
        lose_a_consumer(&scene);
        if (i % 16 == 0)
            tine__queue_look(scene.queue, true);
    }
    tine__queue_look(scene.queue, true);
    ck_assert_uint_eq(scene.queue->shm->parties.chunks[1], 0);
    ck_assert_int_eq(tine_queue_qsize(scene.queue), 3 * TINE__PARTIES_CHUNK);
    tine_queue_close(scene.queue);
}

/* A sweeper that was stopped over a dead process whose number another has by now leaves that
   alone. */
TEST(a_late_sweeper_harms_nobody)
{
    struct scene scene = scene_new((tine_queue_options){.joinable = 1});
    uint32_t party;

    put(scene.queue, 1);
    get(scene.queue);
    party = scene.queue->party;
    ck_assert(tine__parties_is(&scene.queue->shm->parties, party, tine__owner_word()));
    ck_assert(!tine__parties_is(&scene.queue->shm->parties, party, tine__owner_word() + 4));
    tine__parties_forget(&scene.queue->shm->parties, party, tine__owner_word() + 4);
    ck_assert(tine__parties_is(&scene.queue->shm->parties, party, tine__owner_word()));
    ck_assert_ok(tine_queue_task_done(scene.queue));
    tine_queue_close(scene.queue);
}

SUITE("ipc/queue_lease")
