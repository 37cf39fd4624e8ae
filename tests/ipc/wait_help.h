/* SPDX-License-Identifier: MIT */
/* What the tests of tine_wait() share: objects of several kinds. */
#ifndef TINE_TESTS_IPC_WAIT_HELP_H
#define TINE_TESTS_IPC_WAIT_HELP_H

#include <tine/wait.h>

#include <sys/socket.h>
#include <unistd.h>

#include <tine/event.h>
#include <tine/heap.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "shm/heap.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

static inline tine_event *event_new(void)
{
    tine_event *event = tine_alloc(sizeof *event);

    ck_assert_ptr_nonnull(event);
    ck_assert_rc(tine_event_init(event, NULL), 0);
    return event;
}

static inline tine_semaphore *semaphore_new(int64_t value)
{
    tine_semaphore *semaphore = tine_alloc(sizeof *semaphore);

    ck_assert_ptr_nonnull(semaphore);
    ck_assert_rc(tine_semaphore_init(semaphore, value, NULL), 0);
    return semaphore;
}

static inline void pair_new(int fds[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void pair_free(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static inline void write_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

struct scene {
    tine_event *event;
    tine_semaphore *semaphore;
    struct gate *begun, *done;
    int fds[2];
    int error;
};

static inline struct scene scene_new(void)
{
    struct scene scene = {event_new(), semaphore_new(0), gate_new(), gate_new(), {-1, -1}, 0};

    pair_new(scene.fds);
    return scene;
}

static inline void scene_free(struct scene *scene)
{
    pair_free(scene->fds);
    tine_free(scene->event);
    tine_free(scene->semaphore);
}

static inline void entries_of(const struct scene *scene, tine_waitable on[3])
{
    on[0] = tine_event_waitable(scene->event);
    on[1] = tine_semaphore_waitable(scene->semaphore);
    on[2] = tine_fd_waitable(scene->fds[0], TINE_READABLE);
}

/* Ends when the event is set; takes permits and bytes until then. */
static inline void wait_for_all_kinds(void *context)
{
    struct scene *scene = context;
    tine_waitable on[3];
    char byte;

    entries_of(scene, on);
    gate_raise(scene->begun);
    do {
        ck_assert_int_ge(tine_wait(on, 3, TINE_FOREVER), 1);
        if (on[1].ready && tine_semaphore_acquire(scene->semaphore, 0) == 0)
            gate_raise(scene->done);
        if (on[2].ready && recv(scene->fds[0], &byte, 1, MSG_DONTWAIT) == 1)
            gate_raise(scene->done);
    } while (!on[0].ready);
}

#endif
