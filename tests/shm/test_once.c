/* SPDX-License-Identifier: MIT */
/* What one has done, nobody does again: threads, processes, failures, recursion, deaths. */
#include "shm/once.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/time.h>

#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/held.h"
#include "shm/owner.h"
#include "tests/shm/heap_help.h"
#include "tests/shm/once_help.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

#define CALLERS 4

static struct scene *scene_new(void)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->entered = gate_new();
    scene->go = gate_new();
    scene->asked = gate_new();
    return scene;
}

static struct tine__once_shm *inside(struct scene *scene)
{
    return (struct tine__once_shm *)&scene->once;
}

static int count(void *context)
{
    struct scene *scene = context;

    scene->calls++;
    return scene->fail-- > 0 ? -EIO : 7;
}

static int count_when_told(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->entered);
    gate_await(scene->go, 1);
    return count(scene);
}

static void run_when_told(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_once_run(&scene->once, count_when_told, scene, TINE_FOREVER), 0);
}

static void run_count(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->asked);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, TINE_FOREVER), 0);
}

static void *run_count_thread(void *context)
{
    run_count(context);
    return NULL;
}

TEST(the_second_call_does_nothing)
{
    struct scene *scene = scene_new();

    ck_assert_rc(tine_once_run(&scene->once, count, scene, TINE_FOREVER), 0);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), 0);
    ck_assert_uint_eq(scene->calls, 1);
    ck_assert_uint_eq(inside(scene)->waiters.turn, 0);
}

TEST(the_initialiser_is_ready)
{
    static struct scene scene;

    scene.once = (tine_once)TINE_ONCE_INIT;
    ck_assert_rc(tine_once_run(&scene.once, count, &scene, 0), 0);
    ck_assert_uint_eq(scene.calls, 1);
}

TEST(wrong_arguments_are_refused)
{
    struct scene *scene = scene_new();

    ck_assert_rc(tine_once_run(NULL, count, scene, 0), -EINVAL);
    ck_assert_rc(tine_once_run(&scene->once, NULL, scene, 0), -EINVAL);
    scene->once.opaque[0] = 0x123456789abcdef3;
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EINVAL);
    scene->once.opaque[0] = 0x4000;
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EINVAL);
    ck_assert_uint_eq(scene->calls, 0);
}

TEST(processes_and_threads_agree, .loop_end = 20)
{
    struct scene *scene = scene_new();
    struct child children[CALLERS];
    pthread_t threads[CALLERS];

    for (int i = 0; i < CALLERS; i++)
        children[i] = child_start(i == 0 ? run_when_told : run_count, scene);
    for (int i = 0; i < CALLERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_count_thread, scene), 0);
    gate_await(scene->asked, 2 * CALLERS - 1);
    gate_raise(scene->go);
    for (int i = 0; i < CALLERS; i++) {
        child_join(&children[i]);
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(the_second_waits_for_the_first)
{
    struct scene *scene = scene_new();
    struct child first = child_start(run_when_told, scene), second;

    gate_await(scene->entered, 1);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EAGAIN);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, TINE_MS(60)), -ETIMEDOUT);
    second = child_start(run_count, scene);
    ck_assert_eventually(inside(scene)->waiters.waiting != 0);
    gate_raise(scene->go);
    child_join(&first);
    child_join(&second);
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(a_failure_is_its_callers_and_the_next_one_tries)
{
    struct scene *scene = scene_new();

    scene->fail = 2;
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EIO);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EIO);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), 0);
    ck_assert_uint_eq(scene->calls, 3);
}

static void fail_when_told(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_once_run(&scene->once, count_when_told, scene, TINE_FOREVER), -EIO);
}

TEST(who_waits_tries_after_a_failure)
{
    struct scene *scene = scene_new();
    struct child first = child_start(fail_when_told, scene), second;

    scene->fail = 1;
    gate_await(scene->entered, 1);
    second = child_start(run_count, scene);
    ck_assert_eventually(inside(scene)->waiters.waiting != 0);
    gate_raise(scene->go);
    child_join(&first);
    child_join(&second);
    ck_assert_uint_eq(scene->calls, 2);
}

static int recurse(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_once_run(&scene->once, recurse, scene, TINE_FOREVER), -EDEADLK);
    return count(scene);
}

TEST(recursion_is_refused)
{
    struct scene *scene = scene_new();

    ck_assert_rc(tine_once_run(&scene->once, recurse, scene, TINE_FOREVER), 0);
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(after_a_death_the_function_runs_again)
{
    struct scene *scene = scene_new();
    struct child first = child_start(run_and_stay, scene), second;

    gate_await(scene->entered, 1);
    second = child_start(run_count, scene);
    ck_assert_eventually(inside(scene)->waiters.waiting != 0);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), -EAGAIN);
    child_kill(&first);
    child_join(&second);
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(who_comes_after_a_death_takes_over_without_waiting)
{
    struct scene *scene = scene_new();
    struct child first = child_start(run_and_stay, scene);

    gate_await(scene->entered, 1);
    child_kill(&first);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), 0);
    ck_assert_uint_eq(scene->calls, 1);
}

/* Bits 24 to 51 are the start time: another process had our pid. */
TEST(a_pid_used_again_is_not_taken_for_the_runner)
{
    struct scene *scene = scene_new();

    atomic_store(&inside(scene)->state,
                 (tine__owner_word() ^ (uint64_t)5 << 24) | TINE__ONCE_RUNNING);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), 0);
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(a_runner_of_another_pid_namespace_is_waited_for)
{
    struct scene *scene = scene_new();

    atomic_store(&inside(scene)->state,
                 (tine__owner_word() ^ (uint64_t)5 << 52) | TINE__ONCE_RUNNING);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, TINE_MS(60)), -ETIMEDOUT);
    ck_assert_uint_eq(scene->calls, 0);
}

static int fork_inside(void *context)
{
    struct scene *scene = context;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        return 0;
    child_join(&(struct child){.pid = pid});
    ck_assert_uint_eq(inside(scene)->state, tine__owner_word() | TINE__ONCE_RUNNING);
    return count(scene);
}

TEST(a_child_forked_inside_ends_nothing)
{
    struct scene *scene = scene_new();
    pid_t self = getpid();
    int rc = tine_once_run(&scene->once, fork_inside, scene, TINE_FOREVER);

    if (getpid() != self) {
        ck_assert_rc(rc, TINE_EFORKED);
        _exit(0);
    }
    ck_assert_rc(rc, 0);
    ck_assert_uint_eq(scene->calls, 1);
}

TEST(one_memory_at_two_addresses)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int fd = tine__sys_memfd("test-once");
    struct scene *views[2];

    ck_assert_ok(fd);
    ck_assert_rc(tine__sys_resize(fd, size), 0);
    for (int i = 0; i < 2; i++) {
        views[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(views[i], MAP_FAILED);
    }
    close(fd);
    ck_assert_rc(tine_once_run(&views[0]->once, count, views[0], 0), 0);
    ck_assert_rc(tine_once_run(&views[1]->once, count, views[1], 0), 0);
    ck_assert_uint_eq(views[1]->calls, 1);
    for (int i = 0; i < 2; i++)
        munmap(views[i], size);
}

TEST(in_the_family_heap)
{
    struct scene *scene = tine_calloc(1, sizeof *scene);
    struct child child;

    ck_assert_ptr_nonnull(scene);
    scene->asked = gate_new();
    child = child_start(run_count, scene);
    child_join(&child);
    ck_assert_rc(tine_once_run(&scene->once, count, scene, 0), 0);
    ck_assert_uint_eq(scene->calls, 1);
    tine_free(scene);
}

SUITE("shm/once")
