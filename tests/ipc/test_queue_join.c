/* SPDX-License-Identifier: MIT */
/* Queues: task_done and join, shutdown. */
#include <tine/queue.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ipc/queue_help.h"
#include "tests/ipc/queue_kinds.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

/* ---- task_done and join ---------------------------------------------------------------------- */

TEST(join_waits_for_task_done, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);
    uint64_t lost = 99;

    if (!kinds[loop_index].joinable) {
        ck_assert_rc(tine_queue_task_done(queue), -EINVAL);
        ck_assert_rc(tine_queue_join(queue, 0, NULL), -EINVAL);
    } else {
        ck_assert_ok(tine_queue_join(queue, TINE_FOREVER, NULL));
        put(queue, 1);
        put(queue, 2);
        ck_assert_rc(tine_queue_join(queue, 0, NULL), -EAGAIN);
        ck_assert_rc(tine_queue_task_done(queue), -EOVERFLOW); /* nobody has one */
        get(queue);
        get(queue);
        ck_assert_rc(tine_queue_join(queue, TINE_MS(1), &lost), -ETIMEDOUT);
        ck_assert_uint_eq(lost, 0);
        ck_assert_ok(tine_queue_task_done(queue));
        ck_assert_rc(tine_queue_join(queue, 0, NULL), -EAGAIN);
        ck_assert_ok(tine_queue_task_done(queue));
        ck_assert_ok(tine_queue_join(queue, 0, NULL));
        ck_assert_rc(tine_queue_task_done(queue), -EOVERFLOW);
    }
    tine_queue_close(queue);
}

static void consume_all(void *context)
{
    struct scene *scene = context;
    int64_t number;

    while (tine_queue_get(scene->queue, TINE_FOREVER, "q", &number) == 0)
        ck_assert_ok(tine_queue_task_done(scene->queue));
    tine_queue_close(scene->queue);
}

TEST(a_joiner_is_woken_each_time, .loop_end = KINDS)
{
    struct scene scene = {.queue = queue_new(kinds[loop_index])};
    struct child child;

    if (kinds[loop_index].joinable) {
        child = child_start(consume_all, &scene);
        for (int round = 0; round < 300; round++) {
            for (int i = 0; i < round % 7; i++)
                put(scene.queue, i);
            ck_assert_ok(tine_queue_join(scene.queue, TINE_FOREVER, NULL));
        }
        ck_assert_ok(tine_queue_shutdown(scene.queue, 0));
        child_join(&child);
    }
    tine_queue_close(scene.queue);
}

static void get_one_and_pause(void *context)
{
    struct scene *scene = context;

    get(scene->queue);
    gate_raise(scene->gate);
    gate_await(scene->gate, 2);
    ck_assert_rc(tine_queue_task_done(scene->queue), -ECANCELED);
    ck_assert_rc(tine_queue_task_done(scene->queue), -EOVERFLOW);
}

/* As in Python, any process may say done for what another has got. */
TEST(another_process_may_say_done)
{
    struct scene scene = {.queue = queue_new((tine_queue_options){.joinable = 1}),
                          .gate = gate_new()};
    struct child child;

    put(scene.queue, 1);
    child = child_start(get_one_and_pause, &scene);
    gate_await(scene.gate, 1);
    ck_assert_rc(tine_queue_join(scene.queue, 0, NULL), -EAGAIN);
    ck_assert_ok(tine_queue_task_done(scene.queue));
    ck_assert_ok(tine_queue_join(scene.queue, 0, NULL));
    ck_assert_rc(tine_queue_task_done(scene.queue), -EOVERFLOW);
    gate_raise(scene.gate);
    child_join(&child);
    tine_queue_close(scene.queue);
}

/* The same slots are used again, although those who got the items never say done. */
TEST(slots_done_for_by_others_are_used_again)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1}), other;

    other = *queue; /* a handle with a list of its own */
    other.leases = (struct tine__leases){.first = 0};
    for (int i = 0; i < 1000; i++) {
        put(queue, i);
        ck_assert_int_eq(get(queue), i);
        ck_assert_ok(tine_queue_task_done(&other));
    }
    ck_assert_uint_eq(tine__slots_total(&queue->shm->slots), TINE__SLOTS_FIRST);
    free(other.leases.all);
    tine_queue_close(queue);
}

TEST(an_item_in_hand_can_be_read_after_it_is_done)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    tine_queue_item *item;
    static char large[3000];
    size_t size;

    memset(large, 7, sizeof large);
    ck_assert_ok(tine_queue_put_bytes(queue, large, sizeof large, 5, 0));
    ck_assert_ok(tine_queue_get_item(queue, 0, &item));
    ck_assert_ok(tine_queue_item_done(item));
    ck_assert_ok(tine_queue_join(queue, 0, NULL));
    for (int64_t i = 0; i < 200; i++)
        put(queue, i);
    ck_assert_mem_eq(tine_queue_item_bytes(item, &size), large, sizeof large);
    ck_assert_uint_eq(size, sizeof large);
    ck_assert_int_eq(tine_queue_item_priority(item), 5);
    ck_assert_int_eq(tine_queue_item_deliveries(item), 1);
    ck_assert_rc(tine_queue_item_done(item), -EOVERFLOW);
    tine_queue_item_free(item);
    tine_queue_item_free(NULL);
    tine_queue_close(queue);
}

TEST(task_done_means_the_callers_first_item)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    tine_queue_item *items[3];

    for (int64_t i = 0; i < 3; i++)
        put(queue, i);
    for (int i = 0; i < 3; i++)
        ck_assert_ok(tine_queue_get_item(queue, 0, &items[i]));
    ck_assert_ok(tine_queue_item_done(items[1]));
    ck_assert_ok(tine_queue_task_done(queue));
    ck_assert_rc(tine_queue_item_done(items[0]), -EOVERFLOW);
    ck_assert_rc(tine_queue_item_done(items[1]), -EOVERFLOW);
    ck_assert_ok(tine_queue_item_done(items[2]));
    for (int i = 0; i < 3; i++)
        tine_queue_item_free(items[i]);
    ck_assert_ok(tine_queue_join(queue, 0, NULL));
    tine_queue_close(queue);
}

/* ---- shutdown -------------------------------------------------------------------------------- */

TEST(shutdown_lets_the_rest_out, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);

    put(queue, 1);
    put(queue, 2);
    ck_assert_ok(tine_queue_shutdown(queue, 0));
    ck_assert_ok(tine_queue_shutdown(queue, 0));
    ck_assert_rc(tine_queue_put_nowait(queue, "q", (int64_t)3), -ESHUTDOWN);
    get(queue);
    get(queue);
    assert_nothing(queue, -ESHUTDOWN);
    ck_assert_rc(tine_queue_get(queue, TINE_FOREVER, "q", NULL), -ESHUTDOWN);
    tine_queue_close(queue);
}

TEST(immediate_shutdown_drops_the_rest, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);

    put(queue, 1);
    put(queue, 2);
    get(queue);
    ck_assert_ok(tine_queue_shutdown(queue, 1));
    assert_nothing(queue, -ESHUTDOWN);
    ck_assert_int_eq(tine_queue_qsize(queue), 0);
    if (kinds[loop_index].joinable) {
        ck_assert_rc(tine_queue_join(queue, 0, NULL), -EAGAIN); /* the leased one */
        ck_assert_ok(tine_queue_task_done(queue));
        ck_assert_ok(tine_queue_join(queue, 0, NULL));
    }
    ck_assert_rc(tine_queue_shutdown(queue, 2), -EINVAL);
    tine_queue_close(queue);
}

static void get_until_shutdown(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->gate);
    ck_assert_rc(tine_queue_get(scene->queue, TINE_FOREVER, "q", NULL), -ESHUTDOWN);
}

static void put_until_shutdown(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->gate);
    ck_assert_rc(tine_queue_put(scene->queue, TINE_FOREVER, "q", (int64_t)2), -ESHUTDOWN);
}

TEST(shutdown_wakes_those_who_wait, .loop_end = KINDS)
{
    struct scene scene = {.gate = gate_new()};
    tine_queue_options options = kinds[loop_index];
    struct child getter, putter;

    scene.queue = queue_new(options);
    getter = child_start(get_until_shutdown, &scene);
    gate_await(scene.gate, 1);
    ck_assert_ok(tine_queue_shutdown(scene.queue, 0));
    child_join(&getter);
    tine_queue_close(scene.queue);

    options.maxsize = 1;
    scene.queue = queue_new(options);
    put(scene.queue, 1);
    putter = child_start(put_until_shutdown, &scene);
    gate_await(scene.gate, 2);
    ck_assert_ok(tine_queue_shutdown(scene.queue, 0));
    child_join(&putter);
    tine_queue_close(scene.queue);
}

SUITE("ipc/queue_join")
