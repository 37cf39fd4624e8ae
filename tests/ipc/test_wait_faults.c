/* SPDX-License-Identifier: MIT */
/*
 * Waiting when the system gives nothing: every call that may fail is made to fail, the k-th for
 * every k until all goes well. The program is linked so that these calls come here first (ld --wrap).
 * A wait that cannot have a bell or a table looks again and again; nothing is left behind.
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
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define ENTRIES 40 /* more than the stack has room for */

/* Its descriptor is no leak of a test's. */
__attribute__((constructor)) static void open_heap_first(void)
{
    if (tine__heap_open() < 0)
        _exit(99);
}

static int until_failure; /* 0: none fails */

static bool fails(void)
{
    return until_failure > 0 && --until_failure == 0;
}

#define WRAP(type, name, failure, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails() ? failure : __real_##name arguments;                                        \
    }

WRAP(void *, malloc, NULL, (size_t size), (size))
WRAP(void *, tine_aligned_alloc, NULL, (size_t alignment, size_t size), (alignment, size))
WRAP(int, tine__sys_bell, -EMFILE, (uint64_t number), (number))
WRAP(int, tine__sys_epoll, -EMFILE, (void), ())
WRAP(int, tine__sys_timer, -ENFILE, (void), ())
WRAP(int, tine__sys_timer_set, -EINVAL, (int fd, int64_t ns), (fd, ns))
WRAP(int, tine__sys_epoll_add, -ENOSPC, (int epoll, int fd, uint64_t cookie), (epoll, fd, cookie))
WRAP(int, tine__sys_poll, -ENOMEM, (struct pollfd * fds, size_t count, int64_t timeout_ns),
     (fds, count, timeout_ns))

struct scene {
    tine_event *events[ENTRIES];
    tine_waitable on[ENTRIES];
    int fds[2];
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

/* What a wait of nothing returns when its k-th call fails; *all_went_well: it did not make as many. */
static int wait_with_failure(struct scene *scene, int k, bool *all_went_well)
{
    int rc;

    until_failure = k;
    rc = tine_wait(scene->on, ENTRIES, TINE_MS(1));
    *all_went_well = until_failure > 0;
    until_failure = 0;
    return rc;
}

TEST(a_wait_bears_or_reports_every_failure)
{
    struct scene *scene = scene_new();
    bool all_went_well = false;
    int before = descriptors(), k;

    for (k = 1; !all_went_well; k++) {
        int rc = wait_with_failure(scene, k, &all_went_well);

        ck_assert_msg(rc == 0 || rc == -ENOMEM, "call %d fails: %s", k, tine_errname(rc));
        ck_assert_uint_eq(scene->on[0].ready, rc == 0 ? 0 : 99);
        scene->on[0].ready = 99;
        ck_assert_int_eq(descriptors(), before);
    }
    ck_assert_int_ge(k, 8);
    scene_free(scene);
}

static void set_last(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_event_set(scene->events[ENTRIES - 2]), 0);
}

/* No bell can be hung up: the change is seen all the same. */
TEST(without_a_bell_changes_are_seen)
{
    struct scene *scene = scene_new();

    for (int k = 1; k < 12; k++) {
        struct child child = child_start(set_last, scene);
        int rc;

        until_failure = k;
        rc = tine_wait(scene->on, ENTRIES, TINE_FOREVER);
        until_failure = 0;
        ck_assert_msg(rc == 1 || rc == -ENOMEM, "call %d fails: %s", k, tine_errname(rc));
        child_join(&child);
        ck_assert_rc(tine_event_clear(scene->events[ENTRIES - 2]), 0);
    }
    scene_free(scene);
}

TEST(a_descriptor_that_cannot_be_made_leaves_nothing)
{
    struct scene *scene = scene_new();
    int before = descriptors(), fd = -1, k;

    for (k = 1; fd < 0; k++) {
        until_failure = k;
        fd = tine_waitable_fd(&scene->on[0]);
        until_failure = 0;
        ck_assert_int_eq(descriptors(), fd < 0 ? before : descriptors());
        ck_assert(fd >= 0 || fd == -ENOMEM || fd == -EMFILE || fd == -ENFILE || fd == -ENOSPC ||
                  fd == -EINVAL);
    }
    ck_assert_int_ge(k, 8);
    ck_assert_rc(tine_event_set(scene->events[0]), 0);
    ck_assert_int_eq(tine__sys_poll_in(fd, 0), 1);
    tine_waitable_close(fd);
    ck_assert_int_eq(descriptors(), before);
    scene_free(scene);
}

SUITE("ipc/wait_faults")
