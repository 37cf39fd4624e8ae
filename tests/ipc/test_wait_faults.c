/* SPDX-License-Identifier: MIT */
/*
 * Waiting when the system gives nothing: every function that may fail is made to fail at its k-th
 * call, for every k until all goes well. The program is linked so that these calls come here first
 * (ld --wrap). A wait that cannot have a bell or a table looks again and again; nothing is left
 * behind.
 */
#include <tine/wait.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/event.h>
#include <tine/heap.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "shm/heap.h"
#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

#define ENTRIES 40 /* more than the stack has room for */

HEAP_BEFORE_TESTS

/* In the order in which they are called first, for what they have made stays for the next time. */
enum { MALLOC, ALIGNED_ALLOC, BELL, EPOLL, TIMER, EPOLL_ADD, TIMER_SET, POLL, FUNCTIONS };

static int failing;       /* one of these */
static int until_failure; /* calls of it; 0: none fails */

static bool fails(int function)
{
    return function == failing && until_failure > 0 && --until_failure == 0;
}

WRAP(fails(MALLOC), void *, malloc, NULL, (size_t size), (size))
WRAP(fails(ALIGNED_ALLOC), void *, tine_aligned_alloc, NULL, (size_t alignment, size_t size),
     (alignment, size))
WRAP(fails(BELL), int, tine__sys_bell, -EMFILE, (uint64_t number, uint64_t secret),
     (number, secret))
WRAP(fails(EPOLL), int, tine__sys_epoll, -EMFILE, (void), ())
WRAP(fails(TIMER), int, tine__sys_timer, -ENFILE, (void), ())
WRAP(fails(EPOLL_ADD), int, tine__sys_epoll_add, -ENOSPC, (int epoll, int fd, uint64_t cookie),
     (epoll, fd, cookie))
WRAP(fails(TIMER_SET), int, tine__sys_timer_set, -EINVAL, (int fd, int64_t ns), (fd, ns))
WRAP(fails(POLL), int, tine__sys_poll, -ENOMEM,
     (struct pollfd * fds, size_t count, int64_t timeout_ns), (fds, count, timeout_ns))

struct scene {
    tine_event *events[ENTRIES];
    tine_waitable on[ENTRIES];
    int fds[2];
    int failures;
};

static struct scene *scene_new(void)
{
    struct scene *scene = shared_memory(sizeof *scene);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, scene->fds), 0);
    for (int i = 0; i < ENTRIES; i++) {
        scene->events[i] = tine_alloc(sizeof *scene->events[i]);
        ck_assert_rc(tine_event_init(scene->events[i], NULL), 0);
        scene->on[i] = tine_event_waitable(scene->events[i]);
        scene->on[i].ready = 99;
    }
    scene->on[ENTRIES - 1] = tine_fd_waitable(scene->fds[0], TINE_READABLE);
    return scene;
}

static void scene_free(struct scene *scene)
{
    for (int i = 0; i < ENTRIES; i++)
        tine_free(scene->events[i]);
    close(scene->fds[0]);
    close(scene->fds[1]);
}

static int descriptors(void)
{
    int fd = dup(STDERR_FILENO);

    ck_assert_int_ge(fd, 0);
    close(fd);
    return fd; /* the lowest that is free */
}

/* A bell stays open for the next wait. */
static void assert_none_left(int before)
{
    ck_assert_int_ge(descriptors(), before);
    ck_assert_int_le(descriptors(), before + 1);
}

/* Makes the k-th call fail; true when it was made. */
static bool wait_in_vain(struct scene *scene, int k)
{
    bool failed;
    int rc;

    until_failure = k;
    rc = tine_wait(scene->on, ENTRIES, TINE_MS(1));
    failed = until_failure == 0;
    until_failure = 0;
    ck_assert_msg(rc == 0 || rc == -ENOMEM, "function %d fails: %s", failing, tine_errname(rc));
    ck_assert_uint_eq(scene->on[0].ready, rc == 0 ? 0 : 99);
    scene->on[0].ready = 99;
    return failed;
}

/* In a process of its own, which keeps no bell from before. */
static void wait_with_failures(void *context)
{
    struct scene *scene = context;
    int before = descriptors();

    for (int k = 1; wait_in_vain(scene, k); k++) {
        scene->failures++;
        assert_none_left(before);
    }
}

static void in_a_child_each(void (*body)(void *), struct scene *scene)
{
    for (failing = 0; failing < FUNCTIONS; failing++) {
        struct child child = child_start(body, scene);

        child_join(&child);
    }
}

/* What was allocated for the table stays for the next test, so that may fail or not. */
TEST(a_wait_bears_or_reports_every_failure)
{
    struct scene *scene = scene_new();

    in_a_child_each(wait_with_failures, scene);
    ck_assert_int_ge(scene->failures, 2 + 1 + 2); /* of malloc, the bell, poll */
    scene_free(scene);
}

static void set_last(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_event_set(scene->events[ENTRIES - 2]), 0);
}

/* Neither a bell nor a table can be had: the change is seen all the same. */
TEST(without_a_bell_changes_are_seen, .loop_end = 3)
{
    struct scene *scene = scene_new();
    struct child child;

    failing = loop_index == 0 ? BELL : ALIGNED_ALLOC;
    until_failure = loop_index == 2 ? 2 : 1;
    child = child_start(set_last, scene);
    ck_assert_rc(tine_wait(scene->on, ENTRIES, TINE_FOREVER), 1);
    until_failure = 0;
    child_join(&child);
    scene_free(scene);
}

static int make_in_vain(struct scene *scene, int k)
{
    int fd;

    until_failure = k;
    fd = tine_waitable_fd(&scene->on[0]);
    until_failure = 0;
    return fd;
}

static void make_with_failures(void *context)
{
    struct scene *scene = context;
    int before = descriptors(), fd;

    for (int k = 1; (fd = make_in_vain(scene, k)) < 0; k++) {
        scene->failures++;
        assert_none_left(before);
    }
    ck_assert_rc(tine_event_set(scene->events[0]), 0);
    ck_assert_int_eq(tine__sys_poll_in(fd, 0), 1);
    ck_assert_rc(tine_event_clear(scene->events[0]), 0);
    tine_waitable_close(fd);
    assert_none_left(before);
}

TEST(a_descriptor_that_cannot_be_made_leaves_nothing)
{
    struct scene *scene = scene_new();

    in_a_child_each(make_with_failures, scene);
    ck_assert_int_ge(scene->failures, 1 + 1 + 1 + 2 + 1); /* the bell, epoll, timer, both in it */
    scene_free(scene);
}

SUITE("ipc/wait_faults")
