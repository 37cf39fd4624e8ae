/* SPDX-License-Identifier: MIT */
/* Waiting and notifying: who is woken, in which order, with which lock; the rest of the rules. */
#include <tine/heap.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "tests/shm/condition_help.h"
#include "tests/shm/heap_help.h"

HEAP_BEFORE_TESTS

#define WAITERS 4

static void start_waiters(struct scene *scene, struct child *children, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        children[i] = child_start(wait_once, scene);
        await_waiting(scene, i + 1);
    }
}

static void join(struct child *children, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        child_join(&children[i]);
}

TEST(without_the_lock_nothing_is_done)
{
    struct scene *scene = scene_new();

    ck_assert_rc(tine_condition_wait(&scene->condition, 0), -EPERM);
    ck_assert_rc(tine_condition_notify(&scene->condition, 1), -EPERM);
    ck_assert_rc(tine_condition_notify_all(&scene->condition), -EPERM);
}

static bool count_calls(void *context)
{
    return ++*(uint32_t *)context == 0;
}

TEST(what_is_no_condition_is_refused)
{
    struct scene *scene = scene_new();
    uint32_t calls = 0;

    ck_assert_rc(tine_condition_wait(NULL, 0), -EINVAL);
    ck_assert_rc(tine_condition_wait_for(NULL, count_calls, &calls, 0), -EINVAL);
    ck_assert_rc(tine_condition_notify(NULL, 1), -EINVAL);
    ck_assert_rc(tine_condition_notify_all(NULL), -EINVAL);
    take(scene);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, NULL, NULL, 0), -EINVAL);
    give(scene);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, count_calls, &calls, 0), -EPERM);
    ck_assert_uint_eq(calls, 0);
    tine_condition_fini(&scene->condition);
    tine_condition_fini(&scene->condition);
    tine_condition_fini(NULL);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, 0), -EINVAL);
    ck_assert_rc(tine_condition_notify(&scene->condition, 1), -EINVAL);
}

TEST(wrong_arguments_of_init_are_refused)
{
    struct scene *scene = scene_new();
    tine_condition *condition = &scene->condition;
    tine_rlock *rlock = (tine_rlock *)(void *)&scene->lock;

    ck_assert_rc(tine_condition_init(NULL, &scene->lock, NULL), -EINVAL);
    ck_assert_rc(tine_condition_init(condition, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_condition_init_rlock(condition, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_condition_init_rlock(condition, rlock, NULL), -EINVAL);
    ck_assert_rc(
        tine_condition_init((tine_condition *)((uintptr_t)condition + 4), &scene->lock, NULL),
        -EINVAL);
    ck_assert_rc(
        tine_condition_init(condition, &scene->lock, &(tine_condition_options){.flags = 1}),
        -EINVAL);
    ck_assert_rc(
        tine_condition_init(condition, &scene->lock, &(tine_condition_options){.slots = 65537}),
        -EINVAL);
    ck_assert_rc(tine_condition_init(condition, &scene->lock,
                                     &(tine_condition_options){.reserved = {0, 0, 1}}),
                 -E2BIG);
    tine_lock_fini(&scene->lock);
    ck_assert_rc(tine_condition_init(condition, &scene->lock, NULL), -EINVAL);
    take(scene_new());
}

TEST(a_wait_times_out_and_holds_the_lock_again)
{
    struct scene *scene = scene_new();
    int64_t begin = tine__now_ns();

    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(60)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    ck_assert_rc(tine_condition_wait(&scene->condition, 0), -EAGAIN);
    ck_assert_uint_eq(inside(scene)->top, 0);
    give(scene);
}

TEST(who_waits_longest_is_notified_first)
{
    struct scene *scene = scene_new();
    struct child children[WAITERS];

    start_waiters(scene, children, WAITERS);
    for (uint32_t i = 0; i < WAITERS; i++) {
        notify(scene, 1, 1);
        ck_assert_eventually(scene->returned == i + 1);
        ck_assert_uint_eq(scene->order[i], i);
    }
    join(children, WAITERS);
    ck_assert_uint_eq(inside(scene)->top, 0);
}

TEST(notify_wakes_as_many_as_it_says_and_the_rest_is_lost)
{
    struct scene *scene = scene_new();
    struct child children[WAITERS];

    notify(scene, 5, 0);
    start_waiters(scene, children, WAITERS);
    notify(scene, 0, 0);
    notify(scene, WAITERS - 1, WAITERS - 1);
    ck_assert_eventually(scene->returned == WAITERS - 1);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_WAITING), 1);
    notify(scene, UINT32_MAX, 1);
    join(children, WAITERS);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), -ETIMEDOUT);
}

static void *wait_in_thread(void *context)
{
    wait_once(context);
    return NULL;
}

TEST(notify_all_wakes_threads_and_processes)
{
    struct scene *scene = scene_new();
    struct child children[WAITERS];
    pthread_t threads[WAITERS];

    start_waiters(scene, children, WAITERS);
    for (uint32_t i = 0; i < WAITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, scene), 0);
    await_waiting(scene, 2 * WAITERS);
    take(scene);
    ck_assert_rc(tine_condition_notify_all(&scene->condition), 2 * WAITERS);
    ck_assert_rc(tine_condition_notify_all(&scene->condition), 0);
    ck_assert_uint_eq(scene->returned, 0); /* before the lock is released */
    give(scene);
    join(children, WAITERS);
    for (uint32_t i = 0; i < WAITERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(scene->returned, 2 * WAITERS);
}

/* Those notified are stopped, and cannot acknowledge anything. */
TEST(a_notifier_waits_for_nobody)
{
    struct scene *scene = scene_new();
    struct child children[2];

    start_waiters(scene, children, 2);
    for (int i = 0; i < 2; i++)
        child_stop(&children[i]);
    notify(scene, 1, 1);
    notify(scene, 2, 1);
    notify(scene, 2, 0);
    for (int i = 0; i < 2; i++)
        child_continue(&children[i]);
    join(children, 2);
}

/* ---- wait_for -------------------------------------------------------------------------------- */

static bool have_item(void *context)
{
    return ((struct scene *)context)->items > 0;
}

static void take_item(void *context)
{
    struct scene *scene = context;

    take(scene);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, have_item, scene, scene->timeout_ns),
                 0);
    scene->items--;
    scene->returned++;
    give(scene);
}

static void put(struct scene *scene, uint32_t items)
{
    take(scene);
    scene->items += items;
    ck_assert_ok(tine_condition_notify_all(&scene->condition));
    give(scene);
}

TEST(what_is_true_already_is_not_waited_for)
{
    struct scene *scene = scene_new();

    scene->items = 1;
    take(scene);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, have_item, scene, 0), 0);
    ck_assert_uint_eq(inside(scene)->next_ticket, 0);
    give(scene);
}

TEST(wait_for_goes_on_until_it_is_true)
{
    struct scene *scene = scene_new();
    struct child children[2];

    for (uint32_t i = 0; i < 2; i++) {
        children[i] = child_start(take_item, scene);
        await_waiting(scene, i + 1);
    }
    put(scene, 0);
    await_waiting(scene, 2);
    ck_assert_uint_eq(scene->returned, 0);
    put(scene, 1);
    ck_assert_eventually(scene->returned == 1);
    await_waiting(scene, 1);
    put(scene, 1);
    join(children, 2);
}

TEST(wait_for_asks_at_last_when_the_time_is_over)
{
    struct scene *scene = scene_new();
    int64_t begin = tine__now_ns();
    uint32_t calls = 0;

    take(scene);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, count_calls, &calls, TINE_MS(60)),
                 -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    ck_assert_uint_eq(calls, 2);
    ck_assert_rc(tine_condition_wait_for(&scene->condition, count_calls, &calls, 0), -EAGAIN);
    ck_assert_uint_eq(calls, 4);
    give(scene);
}

/* ---- recursive locks ------------------------------------------------------------------------- */

struct deep_scene {
    tine_condition condition;
    tine_rlock lock;
    struct gate *entered;
};

static struct deep_scene *deep_scene_new(void)
{
    struct deep_scene *scene = shared_memory(sizeof *scene);

    ck_assert_rc(tine_rlock_init(&scene->lock, NULL), 0);
    ck_assert_rc(tine_condition_init_rlock(&scene->condition, &scene->lock, NULL), 0);
    scene->entered = gate_new();
    return scene;
}

static void wait_three_deep(void *context)
{
    struct deep_scene *scene = context;

    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    gate_raise(scene->entered);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), -EPERM);
}

TEST(a_recursive_lock_is_released_whole_and_restored)
{
    struct deep_scene *scene = deep_scene_new();
    struct child child = child_start(wait_three_deep, scene);

    gate_await(scene->entered, 1);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_condition_notify(&scene->condition, 1), 1);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    child_join(&child);
}

TEST(a_timeout_restores_the_depth_too)
{
    struct deep_scene *scene = deep_scene_new();

    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_condition_notify(&scene->condition, 1), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_condition_notify(&scene->condition, 1), -EPERM);
}

/* ---- places ---------------------------------------------------------------------------------- */

TEST(more_than_its_slots_cannot_wait)
{
    struct scene *scene = scene_init(shared_memory(sizeof *scene), 2);
    struct child children[2];

    start_waiters(scene, children, 2);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), -ENOLCK);
    ck_assert_rc(tine_condition_notify_all(&scene->condition), 2); /* the lock is still held */
    give(scene);
    join(children, 2);
}

TEST(a_sized_condition_takes_many)
{
    enum { MANY = 100 };
    size_t size = sizeof(struct scene) + TINE_CONDITION_SIZE(MANY);
    struct scene *scene = scene_init(shared_memory(size), MANY);
    pthread_t threads[MANY];

    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, scene), 0);
    await_waiting(scene, MANY);
    notify(scene, UINT32_MAX, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
}

TEST(one_memory_at_two_addresses)
{
    int fd = tine__sys_memfd("test-condition");
    struct scene *views[2];
    pthread_t thread;

    ck_assert_ok(fd);
    ck_assert_rc(tine__sys_resize(fd, sizeof(struct scene)), 0);
    for (int i = 0; i < 2; i++) {
        views[i] = mmap(NULL, sizeof(struct scene), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(views[i], MAP_FAILED);
    }
    close(fd);
    scene_init(views[0], 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, views[0]), 0);
    await_waiting(views[1], 1);
    notify(views[1], 1, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++)
        munmap(views[i], sizeof(struct scene));
}

TEST(in_the_family_heap)
{
    struct scene *scene = tine_calloc(1, sizeof *scene);
    struct child child;

    ck_assert_ptr_nonnull(scene);
    scene_init(scene, 0);
    child = child_start(wait_once, scene);
    await_waiting(scene, 1);
    notify(scene, 1, 1);
    child_join(&child);
    tine_free(scene);
}

TEST(memory_of_an_ended_condition_takes_a_new_one)
{
    struct scene *scene = scene_new();

    for (int i = 0; i < 3; i++) {
        struct child child;

        tine_condition_fini(&scene->condition);
        ck_assert_rc(tine_condition_init(&scene->condition, &scene->lock, NULL), 0);
        child = child_start(wait_once, scene);
        await_waiting(scene, 1);
        notify(scene, 1, 1);
        child_join(&child);
    }
}

/* Generations begin anew; the slot keeps its turn. */
TEST(generations_wrap_around)
{
    struct scene *scene = scene_new();

    inside(scene)->slots[0].word = (uint32_t)-8;
    for (int i = 0; i < 4; i++) {
        struct child child = child_start(wait_once, scene);

        await_waiting(scene, 1);
        notify(scene, 1, 1);
        child_join(&child);
        take(scene);
        ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), -ETIMEDOUT);
        give(scene);
    }
    ck_assert_uint_lt(inside(scene)->slots[0].word, 100);
}

/* ---- under load ------------------------------------------------------------------------------ */

static void hand_over(void *context)
{
    struct scene *scene = context;

    for (uint32_t i = 0; i < 2000; i++) {
        take(scene);
        ck_assert_rc(tine_condition_wait_for(&scene->condition, have_item, scene, TINE_FOREVER), 0);
        scene->items--;
        give(scene);
    }
}

TEST(one_notification_an_item_serves_all)
{
    struct scene *scene = scene_new();
    struct child children[WAITERS];

    for (uint32_t i = 0; i < WAITERS; i++)
        children[i] = child_start(hand_over, scene);
    for (uint32_t i = 0; i < 2000 * WAITERS; i++) {
        take(scene);
        scene->items++;
        ck_assert_ok(tine_condition_notify(&scene->condition, 1));
        give(scene);
    }
    join(children, WAITERS);
    ck_assert_uint_eq(scene->items, 0);
}

SUITE("shm/condition")
