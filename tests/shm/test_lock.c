/* SPDX-License-Identifier: MIT */
/* tine_lock: who may take and release it, and what the next one hears of a death. */
#include <tine/lock.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "shm/held.h"
#include "shm/lock.h"
#include "tests/shm/lock_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static struct scene *scene_new(void)
{
    return scene_with(NULL);
}

/* ---- arguments ------------------------------------------------------------------------------- */

TEST(memory_that_is_no_lock_is_refused)
{
    tine_lock lock = {{0}};
    tine_lock_counts counts;

    ck_assert_rc(tine_lock_acquire(&lock, 0), -EINVAL);
    ck_assert_rc(tine_lock_release(&lock), -EINVAL);
    ck_assert_rc(tine_lock_recover(&lock), -EINVAL);
    ck_assert_rc(tine_lock_locked(&lock), -EINVAL);
    ck_assert_rc(tine_lock_holder(&lock, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_lock_stats(&lock, &counts), -EINVAL);
    memset(&lock, 0xff, sizeof lock);
    ck_assert_rc(tine_lock_acquire(&lock, 0), -EINVAL);
    ck_assert_rc(tine_rlock_init((tine_rlock *)(void *)&lock, NULL), 0);
    ck_assert_rc(tine_lock_acquire(&lock, 0), -EINVAL);
}

TEST(null_is_refused)
{
    tine_lock lock;

    ck_assert_rc(tine_lock_init(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_lock_acquire(NULL, TINE_FOREVER), -EINVAL);
    ck_assert_rc(tine_lock_release(NULL), -EINVAL);
    ck_assert_rc(tine_lock_recover(NULL), -EINVAL);
    ck_assert_rc(tine_lock_locked(NULL), -EINVAL);
    ck_assert_rc(tine_lock_holder(NULL, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_lock_stats(NULL, NULL), -EINVAL);
    tine_lock_fini(NULL);
    ck_assert_rc(tine_lock_init(&lock, NULL), 0);
    ck_assert_rc(tine_lock_stats(&lock, NULL), -EINVAL);
    tine_lock_fini(&lock);
}

TEST(options_of_the_future_are_refused)
{
    tine_lock lock;

    ck_assert_rc(tine_lock_init(&lock, &(tine_lock_options){.flags = 1u << 31}), -EINVAL);
    ck_assert_rc(tine_lock_init(&lock, &(tine_lock_options){.reserved0 = 1}), -E2BIG);
    for (int i = 0; i < 3; i++) {
        tine_lock_options options = {.flags = 0};

        options.reserved[i] = 1;
        ck_assert_rc(tine_lock_init(&lock, &options), -E2BIG);
    }
    ck_assert_rc(tine_lock_init(&lock, &(tine_lock_options){.flags = 0}), 0);
    tine_lock_fini(&lock);
}

TEST(an_ended_lock_is_none)
{
    tine_lock lock;

    ck_assert_rc(tine_lock_init(&lock, NULL), 0);
    ck_assert_rc(tine_lock_acquire(&lock, 0), 0);
    tine_lock_fini(&lock);
    ck_assert(!tine__held_within(&lock, sizeof lock));
    ck_assert_rc(tine_lock_acquire(&lock, 0), -EINVAL);
    ck_assert_rc(tine_lock_init(&lock, NULL), 0);
    ck_assert_rc(tine_lock_acquire(&lock, 0), 0);
    ck_assert_rc(tine_lock_release(&lock), 0);
    tine_lock_fini(&lock);
}

/* ---- one thread ------------------------------------------------------------------------------ */

TEST(the_holder_alone_may_release_and_may_not_take_it_again)
{
    struct scene *scene = scene_new();
    tine_lock *lock = &scene->lock;

    ck_assert_rc(tine_lock_locked(lock), 0);
    ck_assert_rc(tine_lock_release(lock), -EPERM);
    ck_assert_rc(tine_lock_recover(lock), -EPERM);
    ck_assert_rc(tine_lock_acquire(lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_lock_locked(lock), 1);
    ck_assert_rc(tine_lock_acquire(lock, TINE_FOREVER), -EDEADLK);
    ck_assert_rc(tine_lock_acquire(lock, TINE_MS(1)), -EDEADLK);
    ck_assert_rc(tine_lock_acquire(lock, 0), -EDEADLK);
    ck_assert_rc(tine_lock_recover(lock), -EINVAL);
    ck_assert_rc(tine_lock_release(lock), 0);
    ck_assert_rc(tine_lock_locked(lock), 0);
    ck_assert_rc(tine_lock_release(lock), -EPERM);
}

TEST(the_holder_is_named_while_it_holds)
{
    struct scene *scene = scene_new();
    pid_t pid = -7, tid = -8;

    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 0);
    ck_assert_int_eq(pid, -7);
    ck_assert_int_eq(tid, -8);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 1);
    ck_assert_int_eq(pid, getpid());
    ck_assert_int_eq(tid, getpid());
    ck_assert_rc(tine_lock_holder(&scene->lock, NULL, NULL), 1);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 0);
}

TEST(no_thread_holds_more_than_1024_locks)
{
    tine_lock *locks = shared_memory((TINE__HELD_MAX + 1) * sizeof *locks);

    if (suite_under_tsan())
        SKIP("the sanitizer bears 64 locks");
    for (int i = 0; i <= TINE__HELD_MAX; i++)
        ck_assert_rc(tine_lock_init(&locks[i], NULL), 0);
    for (int i = 0; i < TINE__HELD_MAX; i++)
        ck_assert_rc(tine_lock_acquire(&locks[i], 0), 0);
    ck_assert_rc(tine_lock_acquire(&locks[TINE__HELD_MAX], 0), -ENOLCK);
    ck_assert_rc(tine_lock_locked(&locks[TINE__HELD_MAX]), 0);
    ck_assert_rc(tine_lock_acquire(&locks[7], 0), -EDEADLK);
    ck_assert_rc(tine_lock_release(&locks[7]), 0);
    ck_assert_rc(tine_lock_acquire(&locks[TINE__HELD_MAX], 0), 0);
    for (int i = 0; i <= TINE__HELD_MAX; i++)
        ck_assert_rc(tine_lock_release(&locks[i]), i == 7 ? -EPERM : 0);
}

/* ---- several --------------------------------------------------------------------------------- */

static void hold_until_end(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), 0);
    gate_raise(scene->held);
    gate_await(scene->end, 1);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

TEST(another_process_holds_it)
{
    struct scene *scene = scene_new();
    struct child child = child_start(hold_until_end, scene);
    int64_t begin = tine__now_ns();
    pid_t pid, tid;

    gate_await(scene->held, 1);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_MS(3)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, 3000000);
    ck_assert_rc(tine_lock_release(&scene->lock), -EPERM);
    ck_assert_rc(tine_lock_recover(&scene->lock), -EPERM);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, &tid), 1);
    ck_assert_int_eq(pid, child.pid);
    gate_raise(scene->end);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_SEC(600)), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    child_join(&child);
}

static void count_up(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 10000; i++) {
        ck_assert_rc(tine_lock_acquire(&scene->lock, i % 2 ? TINE_FOREVER : TINE_SEC(600)), 0);
        scene->count++;
        ck_assert_rc(tine_lock_release(&scene->lock), 0);
    }
}

static void *count_in_thread(void *context)
{
    count_up(context);
    return NULL;
}

static void count_in_two_threads(void *context)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, count_in_thread, context), 0);
    count_up(context);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

TEST(threads_and_processes_exclude_each_other)
{
    struct scene *scene = scene_new();
    struct child children[2];
    tine_lock_counts counts;

    for (int i = 0; i < 2; i++)
        children[i] = child_start(count_in_two_threads, scene);
    count_in_two_threads(scene);
    for (int i = 0; i < 2; i++)
        child_join(&children[i]);
    ck_assert_uint_eq(scene->count, 60000);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.acquisitions, 60000);
    ck_assert_uint_le(counts.contended, 60000);
    ck_assert_uint_eq(counts.deaths, 0);
}

/* ---- places ---------------------------------------------------------------------------------- */

struct views {
    tine_lock *one, *other; /* the same lock at two addresses */
    _Atomic uint64_t *count;
};

/* Atomic, for a sanitizer takes the lock at two addresses for two; but in two steps. */
static void count_at(tine_lock *lock, _Atomic uint64_t *count)
{
    for (int i = 0; i < 3000; i++) {
        ck_assert_rc(tine_lock_acquire(lock, TINE_FOREVER), 0);
        *count = *count + 1;
        ck_assert_rc(tine_lock_release(lock), 0);
    }
}

static void count_at_other(void *context)
{
    struct views *views = context;

    count_at(views->other, views->count);
}

static void *count_at_other_in_thread(void *context)
{
    count_at_other(context);
    return NULL;
}

TEST(it_may_lie_at_different_addresses)
{
    int fd = memfd_create("lock", MFD_CLOEXEC);
    struct views views = {.count = shared_memory(sizeof *views.count)};
    struct child child;
    pthread_t thread;
    pid_t pid;

    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    views.one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    views.other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_rc(tine_lock_init(views.one, NULL), 0);
    ck_assert_rc(tine_lock_acquire(views.one, 0), 0);
    ck_assert_rc(tine_lock_acquire(views.other, 0), -EDEADLK);
    ck_assert_rc(tine_lock_holder(views.other, &pid, NULL), 1);
    ck_assert_int_eq(pid, getpid());
    ck_assert_rc(tine_lock_release(views.one), 0);
    child = child_start(count_at_other, &views);
    ck_assert_int_eq(pthread_create(&thread, NULL, count_at_other_in_thread, &views), 0);
    count_at(views.one, views.count);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    child_join(&child);
    ck_assert_uint_eq(*views.count, 9000);
    munmap(views.one, 4096);
    munmap(views.other, 4096);
}

/* As process 1 of a pid namespace of its own. */
static void count_in_namespace(void *context)
{
    struct scene *scene = context;
    struct child child;

    if (unshare(CLONE_NEWPID) < 0) {
        scene->result = -EPERM;
        return;
    }
    child = child_start(count_up, scene);
    child_join(&child);
}

TEST(processes_with_one_pid_in_two_namespaces_exclude_each_other)
{
    struct scene *scene = scene_new();
    struct child children[2];

    for (int i = 0; i < 2; i++)
        children[i] = child_start(count_in_namespace, scene);
    for (int i = 0; i < 2; i++)
        child_join(&children[i]);
    if (scene->result == -EPERM)
        SKIP("no right to make pid namespaces");
    ck_assert_uint_eq(scene->count, 20000);
}

/* ---- statistics ------------------------------------------------------------------------------ */

static struct tine__lock_shm *inside(struct scene *scene)
{
    return (struct tine__lock_shm *)(void *)&scene->lock;
}

static void take_times(struct scene *scene, int times)
{
    for (int i = 0; i < times; i++) {
        ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
        ck_assert_rc(tine_lock_release(&scene->lock), 0);
    }
}

TEST(one_hold_in_256_is_timed)
{
    struct scene *scene = scene_new();
    tine_lock_counts counts;
    int64_t begin;

    take_times(scene, 255);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_int_eq(counts.longest_ns, 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    begin = tine__now_ns();
    while (tine__now_ns() < begin + 2000000)
        ;
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    take_times(scene, 256);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_int_ge(counts.longest_ns, 2000000);
    ck_assert_uint_eq(counts.acquisitions, 512);
    ck_assert_uint_eq(counts.contended, 0);
}

TEST(acquisitions_are_counted_beyond_32_bits)
{
    struct scene *scene = scene_new();
    tine_lock_counts counts;
    pid_t pid;

    inside(scene)->taken = UINT32_MAX - 2;
    take_times(scene, 5);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.acquisitions, (uint64_t)UINT32_MAX + 3);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_lock_holder(&scene->lock, &pid, NULL), 1);
    ck_assert_int_eq(pid, getpid());
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

/* ---- death ----------------------------------------------------------------------------------- */

static void hold_for_ever(void *context)
{
    struct scene *scene = context;
    int rc = tine_lock_acquire(&scene->lock, TINE_FOREVER);

    ck_assert(rc == 0 || rc == -EOWNERDEAD);
    gate_raise(scene->held);
    pause();
}

static void kill_holder(struct scene *scene)
{
    uint32_t held = scene->held->raised;
    struct child child = child_start(hold_for_ever, scene);

    gate_await(scene->held, held + 1);
    child_kill(&child);
}

TEST(one_next_holder_hears_of_a_death)
{
    struct scene *scene = scene_new();
    tine_lock_counts counts;

    kill_holder(scene);
    ck_assert_rc(tine_lock_locked(&scene->lock), 1);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EOWNERDEAD);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EDEADLK);
    ck_assert_rc(tine_lock_recover(&scene->lock), 0);
    ck_assert_rc(tine_lock_recover(&scene->lock), -EINVAL);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_stats(&scene->lock, &counts), 0);
    ck_assert_uint_eq(counts.deaths, 1);
    ck_assert_uint_eq(counts.acquisitions, 3);
}

TEST(a_death_before_recovery_is_heard_of_again)
{
    struct scene *scene = scene_new();

    kill_holder(scene);
    kill_holder(scene);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_rc(tine_lock_recover(&scene->lock), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

TEST(a_release_without_recovery_loses_the_lock_for_all)
{
    struct scene *scene = scene_new();
    struct child waiters[3];

    kill_holder(scene);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -EOWNERDEAD);
    for (int i = 0; i < 3; i++)
        waiters[i] = child_start(acquire_and_report, scene);
    gate_await(scene->waits, 3);
    for (int i = 0; i < 3; i++)
        ck_assert_eventually(proc_asleep(waiters[i].pid));
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
    for (int i = 0; i < 3; i++)
        child_join(&waiters[i]);
    ck_assert_rc(scene->result, -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_release(&scene->lock), -ENOTRECOVERABLE);
    ck_assert_rc(tine_lock_locked(&scene->lock), 0);
}

TEST(a_waiting_process_hears_of_the_death)
{
    struct scene *scene = scene_new();
    struct child holder = child_start(hold_for_ever, scene), waiter;

    gate_await(scene->held, 1);
    waiter = child_start(acquire_and_report, scene);
    ck_assert_eventually(proc_asleep(waiter.pid) && scene->waits->raised == 1);
    child_kill(&holder);
    child_join(&waiter); /* it ends holding the lock in its turn */
    ck_assert_rc(scene->result, -EOWNERDEAD);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_SEC(600)), -EOWNERDEAD);
}

static void *hold_in_thread(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), 0);
    return NULL;
}

TEST(a_thread_that_ends_while_it_holds_is_dead)
{
    struct scene *scene = scene_new();
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, hold_in_thread, scene), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_SEC(600)), -EOWNERDEAD);
    ck_assert_rc(tine_lock_recover(&scene->lock), 0);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

static void be_no_holder(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_lock_release(&scene->lock), -EPERM);
    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), -EAGAIN);
}

TEST(a_forked_child_does_not_hold_what_its_parent_holds)
{
    struct scene *scene = scene_new();
    struct child child;

    ck_assert_rc(tine_lock_acquire(&scene->lock, 0), 0);
    child = child_start(be_no_holder, scene);
    child_join(&child);
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

SUITE("shm/lock")
