/* SPDX-License-Identifier: MIT */
/*
 * Somebody stands still under the lock of a LIFO or PRIORITY queue. Every call that has a timeout
 * keeps it, shutdown and join do not need the lock, and when he goes on all is as if he had never
 * stood.
 */
#include "tests/ipc/queue_help.h"

#include <errno.h>

#include "tests/support/children.h"
#include "tests/support/wait.h"

struct scene {
    tine_queue *queue;
    struct gate *stands, *go;
    struct child child;
};

static void repair_nothing(void *unused)
{
    (void)unused;
}

static void stand_under_the_lock(void *context)
{
    struct scene *scene = context;
    struct tine__robust *lock = &scene->queue->shm->ranking.lock;

    ck_assert_ok(tine__robust_lock(lock, repair_nothing, NULL));
    gate_raise(scene->stands);
    gate_await(scene->go, 1);
    tine__robust_unlock(lock);
}

/* With items 1 to `items`. */
static struct scene *scene_new(int32_t order, int64_t items)
{
    struct scene *scene = shared_memory(sizeof *scene);

    *scene = (struct scene){.stands = gate_new(), .go = gate_new()};
    scene->queue = queue_new((tine_queue_options){.order = order, .maxsize = 9, .joinable = 1});
    for (int64_t i = 1; i <= items; i++)
        put(scene->queue, i);
    scene->child = child_start(stand_under_the_lock, scene);
    gate_await(scene->stands, 1);
    return scene;
}

static void let_go_on(struct scene *scene)
{
    gate_raise(scene->go);
    child_join(&scene->child);
}

static const int32_t orders[] = {TINE_LIFO, TINE_PRIORITY};

TEST(puts_and_gets_keep_their_timeouts, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 1);
    int64_t begun = tine__now_ns();

    ck_assert_rc(tine_queue_put(scene->queue, TINE_MS(5), "q", (int64_t)2), -ETIMEDOUT);
    ck_assert_rc(tine_queue_get(scene->queue, TINE_MS(5), "q", NULL), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begun, TINE_MS(10));
    ck_assert_rc(tine_queue_put_nowait(scene->queue, "q", (int64_t)2), -EAGAIN);
    ck_assert_rc(tine_queue_get_nowait(scene->queue, "q", NULL), -EAGAIN);
    ck_assert_int_eq(tine_queue_qsize(scene->queue), 1);
    let_go_on(scene);
    put(scene->queue, 2);
    ck_assert_int_eq(get(scene->queue) + get(scene->queue), 3);
    tine_queue_close(scene->queue);
}

TEST(joins_keep_their_timeouts, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 1);

    ck_assert_rc(tine_queue_join(scene->queue, 0, NULL), -EAGAIN);
    ck_assert_rc(tine_queue_join(scene->queue, TINE_MS(5), NULL), -ETIMEDOUT);
    let_go_on(scene);
    get(scene->queue);
    ck_assert_ok(tine_queue_task_done(scene->queue));
    ck_assert_ok(tine_queue_join(scene->queue, TINE_FOREVER, NULL));
    tine_queue_close(scene->queue);
}

TEST(where_all_is_done_join_says_so, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 0);

    ck_assert_ok(tine_queue_join(scene->queue, TINE_FOREVER, NULL));
    let_go_on(scene);
    tine_queue_close(scene->queue);
}

/* As if killed after its item was QUEUED, and before it was in the array; but it stands. */
TEST(an_item_that_somebody_is_just_putting_is_joined_for, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 0);
    struct tine__ranking_shm *ranking = &scene->queue->shm->ranking;
    struct tine__slot_shm *slot = tine__queue_slot(scene->queue, 0);
    uint64_t word = tine__slot_word(slot);

    ranking->puts++;
    ck_assert_ok(tine_queue_join(scene->queue, 0, NULL));
    slot->word = tine__word_next(word, TINE__ITEM_QUEUED, 0);
    ck_assert_rc(tine_queue_join(scene->queue, 0, NULL), -EAGAIN);
    slot->word = word;
    ranking->puts++;
    let_go_on(scene);
    tine_queue_close(scene->queue);
}

TEST(shutdown_does_not_wait, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 1);

    ck_assert_ok(tine_queue_shutdown(scene->queue, 0));
    ck_assert_rc(tine_queue_put(scene->queue, TINE_FOREVER, "q", (int64_t)2), -ESHUTDOWN);
    let_go_on(scene);
    ck_assert_int_eq(get(scene->queue), 1);
    ck_assert_rc(tine_queue_get(scene->queue, TINE_FOREVER, "q", NULL), -ESHUTDOWN);
    tine_queue_close(scene->queue);
}

/* He may have been let in before the shutdown: that nothing comes any more is not said while he
   stands. */
TEST(gets_are_not_told_that_nothing_comes_while_somebody_may_be_putting, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 0);

    ck_assert_ok(tine_queue_shutdown(scene->queue, 0));
    ck_assert_rc(tine_queue_get(scene->queue, TINE_MS(5), "q", NULL), -ETIMEDOUT);
    ck_assert_rc(tine_queue_get_nowait(scene->queue, "q", NULL), -EAGAIN);
    let_go_on(scene);
    ck_assert_rc(tine_queue_get(scene->queue, TINE_FOREVER, "q", NULL), -ESHUTDOWN);
    tine_queue_close(scene->queue);
}

/* What the shutdown could not drop, whoever joins does. */
TEST(nor_does_an_immediate_shutdown, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 3);

    ck_assert_ok(tine_queue_shutdown(scene->queue, 1));
    ck_assert_rc(tine_queue_get(scene->queue, TINE_FOREVER, "q", NULL), -ESHUTDOWN);
    ck_assert_rc(tine_queue_join(scene->queue, TINE_MS(5), NULL), -ETIMEDOUT);
    ck_assert_int_eq(tine_queue_qsize(scene->queue), 3);
    let_go_on(scene);
    ck_assert_ok(tine_queue_join(scene->queue, TINE_FOREVER, NULL));
    ck_assert_int_eq(tine_queue_qsize(scene->queue), 0);
    tine_queue_close(scene->queue);
}

static void take_one(void *context)
{
    struct scene *scene = context;

    get(scene->queue);
    gate_raise(scene->stands);
    pause();
}

/* Though the ranking cannot be looked at. */
TEST(the_dead_are_swept_meanwhile, .loop_end = 2)
{
    struct scene *scene = scene_new(orders[loop_index], 1);
    struct child child;

    let_go_on(scene);
    child = child_start(take_one, scene);
    gate_await(scene->stands, 2);
    scene->go = gate_new();
    scene->child = child_start(stand_under_the_lock, scene);
    gate_await(scene->stands, 3);
    child_kill(&child);
    ck_assert_eventually(tine__queue_look(scene->queue, true) &&
                         tine_queue_qsize(scene->queue) == 1);
    let_go_on(scene);
    ck_assert_int_eq(get(scene->queue), 1);
    tine_queue_close(scene->queue);
}

SUITE("ipc/queue_stopped")
