/* SPDX-License-Identifier: MIT */
/* Waiting for many objects of many kinds at once, and descriptors of them for other loops. */
#include <tine/wait.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tine/event.h>
#include <tine/heap.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "tests/ipc/wait_help.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define MANY 1000

static _Atomic unsigned interruptions;

/* ---- descriptors ----------------------------------------------------------------------------- */

TEST(all_descriptors_that_are_ready_are_marked)
{
    tine_waitable on[4];
    int fds[4][2];

    for (int i = 0; i < 4; i++) {
        pair_new(fds[i]);
        on[i] = tine_fd_waitable(fds[i][0], TINE_READABLE);
    }
    ck_assert_rc(tine_wait(on, 4, 0), 0);
    write_byte(fds[1][1]);
    write_byte(fds[3][1]);
    ck_assert_rc(tine_wait(on, 4, TINE_FOREVER), 2);
    ck_assert_uint_eq(on[0].ready, 0);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    ck_assert_uint_eq(on[2].ready, 0);
    ck_assert_uint_eq(on[3].ready, TINE_READABLE);
    for (int i = 0; i < 4; i++)
        pair_free(fds[i]);
}

TEST(what_is_asked_for_is_what_is_told)
{
    tine_waitable on[2];
    int fds[2];

    pair_new(fds);
    on[0] = tine_fd_waitable(fds[0], TINE_READABLE | TINE_WRITABLE);
    on[1] = tine_fd_waitable(fds[0], TINE_READABLE); /* the same descriptor once more */
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[0].ready, TINE_WRITABLE);
    write_byte(fds[1]);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 2);
    ck_assert_uint_eq(on[0].ready, TINE_READABLE | TINE_WRITABLE);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    pair_free(fds);
}

TEST(a_closed_peer_is_ready)
{
    tine_waitable on;
    int fds[2];

    pair_new(fds);
    on = tine_fd_waitable(fds[0], TINE_READABLE);
    close(fds[1]);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_uint_eq(on.ready, TINE_READABLE | TINE_HUNGUP);
    close(fds[0]);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1); /* as in Python */
    ck_assert_uint_eq(on.ready, TINE_NOFD);
}

static void exit_at_once(void *context)
{
    (void)context;
}

TEST(a_process_is_ready_when_it_has_ended)
{
    struct child child = child_start(exit_at_once, NULL);
    int fd = tine__sys_pidfd_open(child.pid);
    tine_waitable on = tine_fd_waitable(fd, TINE_READABLE);

    ck_assert_int_ge(fd, 0);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    child_join(&child);
    close(fd);
}

/* ---- time, arguments ------------------------------------------------------------------------- */

TEST(it_ends_with_its_timeout)
{
    tine_event *event = event_new();
    tine_waitable on[2] = {tine_event_waitable(event)};
    int64_t begin = tine__now_ns();
    int fds[2];

    ck_assert_rc(tine_wait(on, 2, 0), 0);
    ck_assert_rc(tine_wait(on, 2, TINE_MS(110)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(110));
    pair_new(fds);
    on[0] = tine_fd_waitable(fds[0], TINE_READABLE);
    begin = tine__now_ns();
    ck_assert_rc(tine_wait(on, 1, TINE_MS(70)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(70));
    begin = tine__now_ns();
    ck_assert_rc(tine_wait(NULL, 0, TINE_MS(20)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(20));
    pair_free(fds);
    tine_free(event);
}

static void interrupt_for_ever(void *context)
{
    for (;; sched_yield())
        (void)kill(*(pid_t *)context, SIGUSR1);
}

static void count_signal(int signal)
{
    (void)signal;
    interruptions++;
}

TEST(signals_do_not_shorten_it, .own_signals = true)
{
    pid_t *self = shared_memory(sizeof *self);
    tine_event *event = event_new();
    tine_waitable on = tine_event_waitable(event);
    int64_t begin = tine__now_ns();
    struct child child;

    *self = getpid();
    ck_assert(signal(SIGUSR1, count_signal) != SIG_ERR);
    child = child_start(interrupt_for_ever, self);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(60)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    child_kill(&child);
    ck_assert_uint_gt(interruptions, 0);
    tine_free(event);
}

TEST(what_cannot_be_waited_for_is_refused)
{
    tine_event *event = event_new();
    tine_waitable on[3] = {tine_event_waitable(event), {.ready = 77}};

    on[0].ready = 55;
    ck_assert_rc(tine_wait(NULL, 1, 0), -EINVAL);
    ck_assert_rc(tine_wait(NULL, 0, TINE_FOREVER), -EINVAL);
    ck_assert_rc(tine_wait(&on[1], 2, TINE_FOREVER), -EINVAL); /* entries to be passed over */
    on[2] = tine_fd_waitable(-1, TINE_READABLE);
    ck_assert_rc(tine_wait(on, 3, 0), -EBADF);
    ck_assert_rc(tine_waitable_fd(&on[2]), -EBADF);
    for (uint32_t events = 0; events < 16; events += 4) {
        on[2] = tine_fd_waitable(0, events);
        ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    }
    on[2] = tine_event_waitable(NULL);
    ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    on[2] = tine_semaphore_waitable(NULL);
    ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    ck_assert_rc(tine_waitable_fd(&on[2]), -EINVAL);
    ck_assert_rc(tine_waitable_fd(&on[1]), -EINVAL);
    ck_assert_rc(tine_waitable_fd(NULL), -EINVAL);
    ck_assert_uint_eq(on[0].ready, 55);
    ck_assert_uint_eq(on[1].ready, 77);
    tine_event_fini(event);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), -EINVAL);
    tine_waitable_close(-1);
    tine_waitable_close(12345);
    tine_free(event);
}

/* ---- objects in memory ----------------------------------------------------------------------- */

TEST(objects_of_all_kinds_wake)
{
    struct scene scene = scene_new();
    struct child child = child_start(wait_for_all_kinds, &scene);
    uint32_t done = 0;

    gate_await(scene.begun, 1);
    for (int i = 0; i < 50; i++) {
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
        gate_await(scene.done, ++done);
        write_byte(scene.fds[1]);
        gate_await(scene.done, ++done);
    }
    ck_assert_rc(tine_event_set(scene.event), 0);
    child_join(&child);
    scene_free(&scene);
}

TEST(several_waiters_share_what_there_is)
{
    struct scene scene = scene_new();
    struct child children[4];

    for (int i = 0; i < 4; i++)
        children[i] = child_start(wait_for_all_kinds, &scene);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 200; i++)
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    gate_await(scene.done, 200);
    ck_assert_rc(tine_semaphore_value(scene.semaphore), 0);
    ck_assert_rc(tine_event_set(scene.event), 0);
    for (int i = 0; i < 4; i++)
        child_join(&children[i]);
    scene_free(&scene);
}

static void *wait_in_thread(void *context)
{
    wait_for_all_kinds(context);
    return NULL;
}

TEST(threads_wait_each_with_its_own_bell)
{
    struct scene scene = scene_new();
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, &scene), 0);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 100; i++)
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    gate_await(scene.done, 100);
    ck_assert_rc(tine_event_set(scene.event), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    scene_free(&scene);
}

/* A third each of events, semaphores, descriptors; every seventh is made ready. */
static void make_many(tine_waitable *on, int (*fds)[2])
{
    for (int i = 0; i < MANY; i++) {
        pair_new(fds[i]);
        if (i % 3 == 0)
            on[i] = tine_event_waitable(event_new());
        else if (i % 3 == 1)
            on[i] = tine_semaphore_waitable(semaphore_new(0));
        else
            on[i] = tine_fd_waitable(fds[i][0], TINE_READABLE);
    }
}

static void make_ready(const tine_waitable *on, int (*fds)[2], int i)
{
    if (i % 3 == 0)
        ck_assert_rc(tine_event_set(on[i].object), 0);
    else if (i % 3 == 1)
        ck_assert_rc(tine_semaphore_release(on[i].object), 0);
    else
        write_byte(fds[i][1]);
}

struct many {
    tine_waitable on[MANY];
    int fds[MANY][2];
};

static void make_last_ready(void *context)
{
    struct many *many = context;

    make_ready(many->on, many->fds, MANY - 1);
    make_ready(many->on, many->fds, MANY - 2);
}

TEST(a_thousand_objects_of_several_kinds)
{
    struct rlimit files = {.rlim_cur = 0};
    struct many *many = shared_memory(sizeof *many);
    struct child child;
    int expected = 0;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    if (files.rlim_cur < 2 * MANY + 50)
        SKIP("too few descriptors");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    make_many(many->on, many->fds);
    child = child_start(make_last_ready, many);
    ck_assert_int_ge(tine_wait(many->on, MANY, TINE_FOREVER), 1);
    child_join(&child);
    ck_assert_rc(tine_wait(many->on, MANY, TINE_FOREVER), 2);
    ck_assert(many->on[MANY - 1].ready && many->on[MANY - 2].ready);
    for (int i = 0; i < MANY - 2; i += 7)
        make_ready(many->on, many->fds, i);
    for (int i = 0; i < MANY; i++)
        expected += i >= MANY - 2 || i % 7 == 0;
    ck_assert_rc(tine_wait(many->on, MANY, TINE_FOREVER), expected);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(many->on[i].ready != 0, i >= MANY - 2 || i % 7 == 0);
        pair_free(many->fds[i]);
        tine_free(many->on[i].object);
    }
}

/* ---- outside of the heap --------------------------------------------------------------------- */

static void set_after_gate(void *context)
{
    struct scene *scene = context;

    gate_await(scene->begun, 1);
    ck_assert_rc(tine_event_set(scene->event), 0);
}

TEST(an_event_in_other_memory_is_waited_for_too)
{
    struct scene scene = {.event = shared_memory(sizeof *scene.event), .begun = gate_new()};
    tine_waitable on;
    struct child child;

    ck_assert_rc(tine_event_init(scene.event, NULL), 0);
    on = tine_event_waitable(scene.event);
    ck_assert_rc(tine_waitable_fd(&on), -ENOTSUP);
    child = child_start(set_after_gate, &scene);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(30)), 0);
    gate_raise(scene.begun);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    child_join(&child);
}

/* With no descriptor left there is no bell: it looks again and again. */
TEST(without_descriptors_it_waits_all_the_same)
{
    struct scene scene = scene_new();
    struct rlimit files, none;
    tine_waitable on[3];
    struct child child = child_start(set_after_gate, &scene);

    entries_of(&scene, on);
    getrlimit(RLIMIT_NOFILE, &files);
    none = (struct rlimit){3, files.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    gate_raise(scene.begun);
    ck_assert_int_ge(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_int_lt(tine_waitable_fd(&on[0]), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert(on[0].ready);
    child_join(&child);
    scene_free(&scene);
}

SUITE("ipc/wait")
