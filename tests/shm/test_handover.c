/* SPDX-License-Identifier: MIT */
/* A lock that another may release: whose it is, and what the end of that process means. */
#include <tine/lock.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "shm/lock.h"
#include "shm/owner.h"
#include "tests/shm/lock_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static struct scene *scene_new(void)
{
    return scene_with(&(tine_lock_options){.flags = TINE_LOCK_HANDOVER});
}

static struct tine__lock_shm *inside(struct scene *scene)
{
    return (struct tine__lock_shm *)(void *)&scene->lock;
}

static void acquire_and_end(void *context)
{
    struct scene *scene = context;
    int rc = tine_lock_acquire(&scene->lock, TINE_FOREVER);

    scene->result = rc;
    gate_raise(scene->held);
    gate_await(scene->end, 1);
}

TEST(anybody_releases_it)
{
    struct scene *scene = scene_new();
    struct child child = child_start(acquire_and_end, scene);
    pid_t pid, tid;

    gate_await(scene->held, 1);
    ck_assert_rc(tine_lock_locked(&scene->lock), 1);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 1);
    ck_assert_int_eq(pid, child.pid);
    ck_assert_int_eq(tid, 0);
    ck_assert_rc(tine_lock_recover(&scene->lock), -EPERM);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_locked(&scene->lock), 0);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), -EPERM);
    gate_raise(scene->end);
    child_join(&child);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_lock_recover(&scene->lock), -EINVAL);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

TEST(its_holder_waits_for_it_like_anybody)
{
    struct scene *scene = scene_new();
    int64_t begin = tine__now_ns();

    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_MS(3)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, 3000000);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    tine_lock_fini(&scene->lock);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EINVAL);
}

static void *release_in_thread(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    return NULL;
}

TEST(another_thread_lets_its_holder_go_on)
{
    struct scene *scene = scene_new();
    tine_lock_counts counts;
    pthread_t thread;

    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_in_thread, scene), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_SEC(600)), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.acquisitions, 2);
}

static void count_up(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 5000; i++) {
        ck_assert_rc(tine_lock_acquire(&scene->lock, i % 2 ? TINE_FOREVER : TINE_SEC(600)), 0);
        scene->count++;
        ck_assert_rc(tine_lock_release(&scene->lock), 0);
    }
}

TEST(processes_exclude_each_other)
{
    struct scene *scene = scene_new();
    struct child children[3];

    for (int i = 0; i < 3; i++)
        children[i] = child_start(count_up, scene);
    for (int i = 0; i < 3; i++)
        child_join(&children[i]);
    ck_assert_uint_eq(scene->count, 15000);
}

TEST(one_next_holder_hears_of_a_process_that_ended)
{
    struct scene *scene = scene_new();
    struct child child = child_start(acquire_and_end, scene);
    tine_lock_counts counts;

    gate_raise(scene->end);
    child_join(&child);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EOWNERDEAD);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_lock_recover(&scene->lock), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.deaths, 1);
}

TEST(a_waiter_finds_the_death)
{
    struct scene *scene = scene_new();
    struct child holder = child_start(acquire_and_end, scene), waiter;

    gate_await(scene->held, 1);
    waiter = child_start(acquire_and_report, scene);
    ck_assert_eventually(proc_asleep(waiter.pid) && scene->waits->raised == 1);
    child_kill(&holder);
    child_join(&waiter);
    ck_assert_rc(scene->result, -EOWNERDEAD);
}

TEST(a_death_before_recovery_is_heard_of_again)
{
    struct scene *scene = scene_new();

    for (int i = 0; i < 3; i++) {
        struct child child = child_start(acquire_and_end, scene);

        gate_await(scene->held, (uint32_t)i + 1);
        ck_assert_rc(scene->result, i == 0 ? 0 : -EOWNERDEAD);
        child_kill(&child);
    }
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_SEC(600)), -EOWNERDEAD);
}

TEST(a_release_without_recovery_loses_it_for_all)
{
    struct scene *scene = scene_new();
    struct child child = child_start(acquire_and_end, scene), waiters[3];

    gate_await(scene->held, 1);
    child_kill(&child);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    for (int i = 0; i < 3; i++)
        waiters[i] = child_start(acquire_and_report, scene);
    gate_await(scene->waits, 3);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    for (int i = 0; i < 3; i++)
        child_join(&waiters[i]);
    ck_assert_rc(scene->result, -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_release(&scene->lock), -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_recover(&scene->lock), -EPERM);
    ck_assert_rc(tine_lock_locked(&scene->lock), 0);
}

TEST(a_process_with_the_pid_of_the_dead_is_not_taken_for_him)
{
    struct scene *scene = scene_new();
    uint64_t forged = tine__owner_word() ^ (uint64_t)1 << 30; /* started at another time */

    atomic_store(&inside(scene)->process, forged);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EOWNERDEAD);
    atomic_store(&inside(scene)->process, forged ^ (uint64_t)1 << 60); /* of another namespace */
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_MS(2)), -ETIMEDOUT);
}

SUITE("shm/handover")
