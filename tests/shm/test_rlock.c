/* SPDX-License-Identifier: MIT */
/* tine_rlock: how deep its holder is, and what is left of that after his death. */
#include <tine/lock.h>

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "shm/lock.h"
#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

struct scene {
    tine_rlock lock;
    uint64_t count;
    struct gate *held;
    struct gate *end;
};

static struct scene *scene_new(void)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->held = gate_new();
    scene->end = gate_new();
    ck_assert_rc(tine_rlock_init(&scene->lock, NULL), 0);
    return scene;
}

static struct tine__lock_shm *inside(struct scene *scene)
{
    return (struct tine__lock_shm *)(void *)&scene->lock;
}

TEST(what_is_no_rlock_is_refused)
{
    tine_rlock none = {{0}};
    tine_lock_counts counts;

    ck_assert_rc(tine_rlock_init(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_rlock_init(&none, &(tine_rlock_options){.flags = 1}), -EINVAL);
    ck_assert_rc(tine_rlock_init(&none, &(tine_rlock_options){.reserved0 = 1}), -E2BIG);
    ck_assert_rc(tine_rlock_init(&none, &(tine_rlock_options){.reserved = {0, 0, 1}}), -E2BIG);
    for (tine_rlock *lock = &none; lock != NULL; lock = NULL) {
        ck_assert_rc(tine_rlock_acquire(lock, TINE_FOREVER), -EINVAL);
        ck_assert_rc(tine_rlock_release(lock), -EINVAL);
        ck_assert_rc(tine_rlock_recover(lock), -EINVAL);
        ck_assert_rc(tine_rlock_locked(lock), -EINVAL);
        ck_assert_rc(tine_rlock_depth(lock), -EINVAL);
        ck_assert_rc(tine_rlock_holder(lock, NULL, NULL), -EINVAL);
        ck_assert_rc(tine_rlock_stats(lock, &counts), -EINVAL);
    }
    tine_rlock_fini(NULL);
    ck_assert_rc(tine_rlock_acquire(NULL, 0), -EINVAL);
    ck_assert_rc(tine_rlock_stats(NULL, &counts), -EINVAL);
}

TEST(it_is_free_after_as_many_releases_as_acquires)
{
    struct scene *scene = scene_new();
    tine_lock_counts counts;
    pid_t pid, tid;

    for (int64_t depth = 0; depth < 5; depth++) {
        ck_assert_rc(tine_rlock_depth(&scene->lock), depth);
        ck_assert_rc(tine_rlock_acquire(&scene->lock, depth % 2 ? TINE_FOREVER : 0), 0);
    }
    ck_assert_rc(tine_rlock_holder(&scene->lock, &pid, &tid), 1);
    ck_assert_int_eq(pid, getpid());
    ck_assert_int_eq(tid, getpid());
    for (int64_t depth = 5; depth > 0; depth--) {
        ck_assert_rc(tine_rlock_locked(&scene->lock), 1);
        ck_assert_rc(tine_rlock_depth(&scene->lock), depth);
        ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    }
    ck_assert_rc(tine_rlock_locked(&scene->lock), 0);
    ck_assert_rc(tine_rlock_holder(&scene->lock, &pid, &tid), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), -EPERM);
    ck_assert_rc(tine_rlock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.acquisitions, 1);
    tine_rlock_fini(&scene->lock);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), -EINVAL);
}

TEST(depth_does_not_overflow)
{
    struct scene *scene = scene_new();

    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    inside(scene)->depth = UINT32_MAX;
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), -EOVERFLOW);
    ck_assert_rc(tine_rlock_depth(&scene->lock), UINT32_MAX);
    tine_rlock_fini(&scene->lock);
}

static void count_up(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 5000; i++) {
        ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
        ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
        scene->count++;
        ck_assert_rc(tine_rlock_release(&scene->lock), 0);
        scene->count++;
        ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    }
}

static void *count_in_thread(void *context)
{
    count_up(context);
    return NULL;
}

TEST(threads_and_processes_exclude_each_other)
{
    struct scene *scene = scene_new();
    struct child child = child_start(count_up, scene);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, count_in_thread, scene), 0);
    count_up(scene);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    child_join(&child);
    ck_assert_uint_eq(scene->count, 30000);
}

static void hold_deep_for_ever(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    gate_raise(scene->held);
    pause();
}

TEST(who_follows_a_dead_holder_has_it_once)
{
    struct scene *scene = scene_new();
    struct child child = child_start(hold_deep_for_ever, scene);

    gate_await(scene->held, 1);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_rlock_release(&scene->lock), -EPERM);
    ck_assert_rc(tine_rlock_recover(&scene->lock), -EPERM);
    ck_assert_rc(tine_rlock_depth(&scene->lock), 0);
    child_kill(&child);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_rlock_depth(&scene->lock), 1);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_recover(&scene->lock), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
}

TEST(the_last_release_without_recovery_loses_it)
{
    struct scene *scene = scene_new();
    struct child child = child_start(hold_deep_for_ever, scene);

    gate_await(scene->held, 1);
    child_kill(&child);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_release(&scene->lock), 0);
    ck_assert_rc(tine_rlock_acquire(&scene->lock, TINE_FOREVER), -ENOTRECOVERABLE);
}

/* ---- what conditions use --------------------------------------------------------------------- */

TEST(all_of_it_is_released_and_had_again)
{
    struct scene *scene = scene_new();
    struct tine__lock_shm *lock = inside(scene);
    uint32_t depth = 7;

    ck_assert(!tine__lock_is_mine(lock));
    ck_assert_rc(tine__lock_release_all(lock, &depth), -EPERM);
    ck_assert_uint_eq(depth, 7);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_rlock_acquire(&scene->lock, 0), 0);
    ck_assert(tine__lock_is_mine(lock));
    ck_assert_uint_eq(tine__lock_holder(lock), tine__owner_word());
    ck_assert_rc(tine__lock_release_all(lock, &depth), 0);
    ck_assert_uint_eq(depth, 3);
    ck_assert_uint_eq(tine__lock_holder(lock), 0);
    ck_assert_rc(tine_rlock_locked(&scene->lock), 0);
    ck_assert_rc(tine__lock_reacquire(lock, depth, TINE_FOREVER), 0);
    ck_assert_rc(tine_rlock_depth(&scene->lock), 3);
    tine_rlock_fini(&scene->lock);
    ck_assert(!tine__lock_usable(lock));
    ck_assert(!tine__lock_usable(NULL));
    ck_assert_rc(tine__lock_release_all(lock, &depth), -EINVAL);
    ck_assert_rc(tine__lock_reacquire(lock, depth, TINE_FOREVER), -EINVAL);
}

SUITE("shm/rlock")
