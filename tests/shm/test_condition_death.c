/* SPDX-License-Identifier: MIT */
/*
 * The table of deaths in doc/locking.md, row by row: who dies where, what the others get. (Random
 * instants are in tests/kill/kill_condition.c, every instruction in test_condition_step.c.)
 */
#include <pthread.h>
#include <unistd.h>

#include "lib/sys.h"
#include "tests/shm/condition_help.h"

/* Two that wait, the first longer; the first is `body`. */
static void two_wait(struct scene *scene, void (*body)(void *), struct child *first,
                     struct child *second)
{
    *first = child_start(body, scene);
    await_waiting(scene, 1);
    *second = child_start(wait_once, scene);
    await_waiting(scene, 2);
}

TEST(a_dead_waiter_takes_no_notification_along)
{
    struct scene *scene = scene_new();
    struct child first, second;

    two_wait(scene, wait_once, &first, &second);
    child_kill(&first);
    notify(scene, 1, 1);
    child_join(&second);
    ck_assert_uint_eq(scene->recovered, 0);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_FREE), TINE_CONDITION_SLOTS);
}

TEST(one_killed_after_its_notification_passes_it_on)
{
    struct scene *scene = scene_new();
    struct child first, second;

    two_wait(scene, wait_once, &first, &second);
    child_stop(&first);
    notify(scene, 1, 1);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_NOTIFIED), 1);
    child_kill(&first);
    child_join(&second);
}

TEST(the_time_of_another_does_not_end_before_it_has_looked)
{
    struct scene *scene = scene_new();
    struct child first = child_start(wait_once, scene);

    await_waiting(scene, 1);
    child_stop(&first);
    notify(scene, 1, 1);
    child_kill(&first);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), 0);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), -ETIMEDOUT);
}

TEST(a_notification_passes_by_all_the_dead)
{
    struct scene *scene = scene_new();
    struct child dead[5], living;

    for (uint32_t i = 0; i < 5; i++) {
        dead[i] = child_start(wait_once, scene);
        await_waiting(scene, i + 1);
    }
    living = child_start(wait_once, scene);
    await_waiting(scene, 6);
    for (int i = 0; i < 5; i++)
        child_kill(&dead[i]);
    notify(scene, 1, 1);
    child_join(&living);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_FREE), TINE_CONDITION_SLOTS);
}

TEST(who_died_holding_the_lock_after_its_wait_wakes_the_others)
{
    struct scene *scene = scene_new();
    struct child first, second, third;

    two_wait(scene, wait_and_stay, &first, &second);
    third = child_start(wait_once, scene);
    ck_assert_eventually(slots(scene, TINE__SLOT_WAITING) == 3);
    notify(scene, 1, 1);
    gate_await(scene->woken, 1);
    child_kill(&first);
    child_join(&second);
    child_join(&third);
    ck_assert_uint_eq(scene->recovered, 1);
}

TEST(any_holders_death_wakes_all_that_wait)
{
    struct scene *scene = scene_new();
    struct child first, second, holder;

    two_wait(scene, wait_once, &first, &second);
    holder = child_start(take_and_stay, scene);
    gate_await(scene->woken, 1);
    child_kill(&holder);
    child_join(&first);
    child_join(&second);
    ck_assert_uint_eq(scene->recovered, 1);
}

TEST(a_death_that_another_has_repaired_wakes_all_that_wait)
{
    struct scene *scene = scene_new();
    struct child first, second, holder;

    two_wait(scene, wait_once, &first, &second);
    holder = child_start(take_and_stay, scene);
    gate_await(scene->woken, 1);
    child_stop(&first);
    child_stop(&second);
    child_kill(&holder);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_lock_recover(&scene->lock), 0);
    give(scene);
    child_continue(&first);
    child_continue(&second);
    child_join(&first);
    child_join(&second);
    ck_assert_uint_eq(scene->recovered, 0);
}

static void find_it_lost(void *context)
{
    struct scene *scene = context;

    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), -ENOTRECOVERABLE);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), -EPERM);
}

TEST(a_lock_that_is_lost_ends_all_waits)
{
    struct scene *scene = scene_new();
    struct child waiter = child_start(find_it_lost, scene), holder;

    await_waiting(scene, 1);
    holder = child_start(take_and_stay, scene);
    gate_await(scene->woken, 1);
    child_stop(&waiter);
    child_kill(&holder);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    give(scene);
    child_continue(&waiter);
    child_join(&waiter);
}

TEST(waiting_without_a_repair_loses_the_lock)
{
    struct scene *scene = scene_new();
    struct child holder = child_start(take_and_stay, scene);

    gate_await(scene->woken, 1);
    child_kill(&holder);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), -ENOTRECOVERABLE);
}

struct deep_scene {
    tine_rlock lock;
    tine_condition condition;
    struct gate *entered;
};

static void hold_for_ever(void *context)
{
    struct deep_scene *scene = context;

    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    gate_raise(scene->entered);
    for (;;)
        pause();
}

static void find_dead_three_deep(void *context)
{
    struct deep_scene *scene = context;

    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    gate_raise(scene->entered);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_rlock_recover(&scene->lock), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), -EPERM);
}

TEST(a_death_restores_the_depth_too)
{
    struct deep_scene *scene = shared_memory(sizeof *scene);
    struct child waiter, holder;

    ck_assert_rc(tine_rlock_init(&scene->lock, NULL), 0);
    ck_assert_rc(tine_condition_init_rlock(&scene->condition, &scene->lock, NULL), 0);
    scene->entered = gate_new();
    waiter = child_start(find_dead_three_deep, scene);
    gate_await(scene->entered, 1);
    holder = child_start(hold_for_ever, scene);
    gate_await(scene->entered, 2);
    child_kill(&holder);
    child_join(&waiter);
}

static void *end_holding(void *context)
{
    struct scene *scene = context;

    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), 0);
    return NULL;
}

/* Its process lives on. */
TEST(a_thread_that_ends_holding_the_lock_is_found)
{
    struct scene *scene = scene_new();
    struct child second;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, end_holding, scene), 0);
    await_waiting(scene, 1);
    second = child_start(wait_once, scene);
    await_waiting(scene, 2);
    notify(scene, 1, 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    child_join(&second);
    ck_assert_uint_eq(scene->recovered, 1);
}

/* As if its notifier had died before the wake-up. */
TEST(a_notification_without_a_wakeup_is_found)
{
    struct scene *scene = scene_new();
    struct child child = child_start(wait_once, scene);

    ck_assert_eventually(slots(scene, TINE__SLOT_ASLEEP) == 1);
    atomic_fetch_sub(&inside(scene)->slots[0].word, TINE__SLOT_ASLEEP - TINE__SLOT_NOTIFIED);
    child_join(&child);
}

/* Until the first slot is taken for the second time. */
static void await_second_claim(struct scene *scene)
{
    ck_assert_eventually((inside(scene)->slots[0].word | TINE__SLOT_ASLEEP) ==
                         2 * TINE__SLOT_GENERATION + TINE__SLOT_ASLEEP);
    take(scene);
    give(scene);
}

TEST(slots_of_the_dead_are_taken_again)
{
    struct scene *scene = scene_init(shared_memory(sizeof *scene), 2);
    struct child dead, notified, living;

    two_wait(scene, wait_once, &notified, &dead);
    child_stop(&notified);
    notify(scene, 1, 1);
    child_kill(&notified);
    child_kill(&dead);
    living = child_start(wait_once, scene);
    await_second_claim(scene);
    notify(scene, 2, 1);
    child_join(&living);
}

/* The dead one's notification goes to the second, which looks later than the third needs a slot. */
TEST(who_needs_a_slot_passes_a_notification_on)
{
    struct scene *scene = scene_init(shared_memory(sizeof *scene), 2);
    struct child first, second, third;

    two_wait(scene, wait_once, &first, &second);
    child_stop(&first);
    child_stop(&second);
    notify(scene, 1, 1);
    child_kill(&first);
    third = child_start(wait_once, scene);
    await_second_claim(scene);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_NOTIFIED), 1);
    child_continue(&second);
    child_join(&second);
    ck_assert_uint_eq(scene->returned, 1);
    notify(scene, 1, 1);
    child_join(&third);
}

/* A slot as another process would have left it. */
static void forge(struct scene *scene, uint64_t owner, uint32_t state)
{
    struct tine__condition_slot_shm *slot = &inside(scene)->slots[0];

    slot->owner = owner;
    slot->word = TINE__SLOT_GENERATION + state;
    inside(scene)->top = 1;
}

/* Bits 24 to 51 are the start time: another process had our pid. */
TEST(a_pid_used_again_is_not_taken_for_the_waiter)
{
    struct scene *scene = scene_new();

    forge(scene, tine__owner_word() ^ (uint64_t)5 << 24, TINE__SLOT_NOTIFIED);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), 0);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_FREE), TINE_CONDITION_SLOTS);
}

TEST(a_waiter_of_another_pid_namespace_is_left_alone)
{
    struct scene *scene = scene_new();

    forge(scene, tine__owner_word() ^ (uint64_t)5 << 52, TINE__SLOT_NOTIFIED);
    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_NOTIFIED), 1);
}

SUITE("shm/condition_death")
