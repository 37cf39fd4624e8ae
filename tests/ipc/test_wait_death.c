/* SPDX-License-Identifier: MIT */
/* tine_wait(): waiters, and those whom they wait for, die. */
#include <tine/wait.h>

#include <unistd.h>

#include <tine/event.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "shm/event.h"
#include "tests/ipc/wait_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- deaths ---------------------------------------------------------------------------------- */

static void acquire_and_pause(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_semaphore_acquire(scene->semaphore, TINE_FOREVER), 0);
    gate_raise(scene->begun);
    pause();
}

TEST(a_permit_of_the_dead_is_found)
{
    struct scene scene = scene_new();
    tine_waitable on[3];
    struct child child;

    ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    child = child_start(acquire_and_pause, &scene);
    gate_await(scene.begun, 1);
    entries_of(&scene, on);
    ck_assert_rc(tine_wait(on, 3, TINE_MS(10)), 0);
    child_kill(&child);
    ck_assert_rc(tine_wait(on, 3, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    scene_free(&scene);
}

TEST(a_setter_that_told_nobody_is_made_good)
{
    struct scene scene = scene_new();
    struct child child = child_start(wait_for_all_kinds, &scene);

    gate_await(scene.begun, 1);
    ck_assert_eventually(proc_asleep(child.pid));
    atomic_fetch_add(&((struct tine__event_shm *)scene.event)->changes, 1);
    child_join(&child);
    scene_free(&scene);
}

TEST(killed_waiters_keep_nobody_waiting, .kills = 50, .loop_end = 10)
{
    struct scene scene = scene_new();
    struct child children[4];

    for (int i = 0; i < 4; i++)
        children[i] = child_start(wait_for_all_kinds, &scene);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
        child_kill(&children[i]);
    }
    ck_assert_rc(tine_event_set(scene.event), 0);
    child_join(&children[3]);
    scene_free(&scene);
}

static struct scene stepped;

static void set_stepped(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_set(stepped.event), 0);
}

static struct child waiter;

static void start_waiter(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_clear(stepped.event), 0);
    waiter = child_start(wait_for_all_kinds, &stepped);
    ck_assert_eventually(proc_asleep(waiter.pid) &&
                         ((struct tine__event_shm *)stepped.event)->waiters.waiting != 0);
}

/* If the flag is set, the waiter returns, whether it was rung for or not. */
static void check_waiter(long steps, pid_t victim, void *context)
{
    (void)steps;
    (void)victim;
    (void)context;
    if (tine_event_is_set(stepped.event) == 0)
        ck_assert_rc(tine_event_set(stepped.event), 0);
    child_join(&waiter);
}

TEST(a_setter_killed_after_every_instruction, .timeout_s = 300)
{
    stepped = scene_new();
    step_kill_everywhere(
        &(struct step){.before = start_waiter, .run = set_stepped, .check = check_waiter}, 20);
    scene_free(&stepped);
}

static void wait_a_moment(void *context)
{
    tine_waitable on[3];

    (void)context;
    entries_of(&stepped, on);
    ck_assert_rc(tine_wait(on, 3, TINE_MS(1)), 0);
}

static void check_nothing_left(long steps, pid_t victim, void *context)
{
    tine_waitable on = tine_event_waitable(stepped.event);

    (void)steps;
    (void)victim;
    (void)context;
    ck_assert_rc(tine_event_set(stepped.event), 0);
    ck_assert_rc(tine_wait(&on, 1, 0), 1);
    ck_assert_rc(tine_event_clear(stepped.event), 0);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(1)), 0);
}

TEST(a_waiter_killed_after_every_system_call, .timeout_s = 300)
{
    stepped = scene_new();
    step_kill_everywhere(
        &(struct step){.run = wait_a_moment, .check = check_nothing_left, .system_calls = true},
        40);
    scene_free(&stepped);
}

SUITE("ipc/wait_death")
