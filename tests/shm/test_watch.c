/* SPDX-License-Identifier: MIT */
/* Watches and bells: who changes something tells all who watch it, and no death keeps others from
   that. */
#include "shm/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/event.h>
#include <tine/heap.h>
#include <tine/time.h>

#include "lib/sys_poll.h"
#include "shm/event.h"
#include "shm/heap.h"
#include "shm/pollable.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

#define WATCHERS 3
#define MANY     3000

static tine_event *event_new(void)
{
    tine_event *event = tine_alloc(sizeof *event);

    ck_assert_ptr_nonnull(event);
    ck_assert_rc(tine_event_init(event, NULL), 0);
    return event;
}

static struct tine__waiters_shm *point_of(tine_event *event)
{
    return &((struct tine__event_shm *)event)->waiters;
}

static bool has_rung(int fd)
{
    struct pollfd set = {.fd = fd, .events = POLLIN};

    return tine__sys_poll(&set, 1, 0) == 1;
}

static void await_ring(int fd)
{
    struct pollfd set = {.fd = fd, .events = POLLIN};

    ck_assert_int_eq(tine__sys_poll(&set, 1, TINE_FOREVER), 1);
}

static struct tine__bell bell_new(void)
{
    struct tine__bell bell;

    ck_assert_ok(tine__bell_open(&bell));
    return bell;
}

static _Atomic uint64_t *enter(const struct tine__bell *bell, tine_event *event)
{
    _Atomic uint64_t *slot;

    ck_assert_ok(tine__watch_enter(bell, point_of(event), &slot));
    return slot;
}

/* Entries that stand in the table for the event. */
static int entries_of(tine_event *event)
{
    struct tine__watch_walk walk = tine__watch_walk(point_of(event));
    uint32_t tag;
    int count = 0;

    while (tine__watch_next(&walk, &tag) != NULL)
        count++;
    return count;
}

TEST(a_change_rings_who_watches)
{
    tine_event *event = event_new();
    struct tine__bell bell = bell_new();
    _Atomic uint64_t *slot = enter(&bell, event);

    tine__bell_silence(&bell, true);
    tine__waiters_watch(point_of(event));
    ck_assert(!has_rung(bell.fd));
    ck_assert_rc(tine_event_set(event), 0);
    ck_assert(has_rung(bell.fd));
    tine__bell_silence(&bell, true);
    ck_assert(!has_rung(bell.fd));
    ck_assert_rc(tine_event_set(event), 0); /* nobody has armed since */
    ck_assert(!has_rung(bell.fd));
    tine__watch_leave(slot);
    tine__waiters_watch(point_of(event));
    ck_assert_rc(tine_event_set(event), 0);
    ck_assert(!has_rung(bell.fd));
    tine__bell_close(&bell);
    tine_free(event);
}

TEST(one_bell_serves_many_points)
{
    tine_event **events = malloc(MANY * sizeof(*events));
    _Atomic uint64_t **slots = malloc(MANY * sizeof(*slots));
    struct tine__bell bell = bell_new();

    for (int i = 0; i < MANY; i++) {
        events[i] = event_new();
        slots[i] = enter(&bell, events[i]);
    }
    for (int i = 0; i < MANY; i++) {
        tine__waiters_watch(point_of(events[i]));
        ck_assert_int_eq(entries_of(events[i]), 1);
        ck_assert_rc(tine_event_set(events[i]), 0);
        ck_assert(has_rung(bell.fd));
        tine__bell_silence(&bell, true);
    }
    for (int i = 0; i < MANY; i++) {
        tine__watch_leave(slots[i]);
        ck_assert_int_eq(entries_of(events[i]), 0);
        tine_free(events[i]);
    }
    tine__bell_close(&bell);
    free(slots);
    free(events);
}

TEST(many_bells_are_rung_by_one_change)
{
    tine_event *event = event_new();
    struct tine__bell bells[100];
    _Atomic uint64_t *slots[100];

    for (int i = 0; i < 100; i++) {
        bells[i] = bell_new();
        slots[i] = enter(&bells[i], event);
    }
    tine__waiters_watch(point_of(event));
    ck_assert_rc(tine_event_set(event), 0);
    for (int i = 0; i < 100; i++) {
        ck_assert(has_rung(bells[i].fd));
        tine__watch_leave(slots[i]);
        tine__bell_close(&bells[i]);
    }
    tine_free(event);
}

TEST(bells_are_used_again)
{
    struct tine__bell bell = bell_new();
    uint32_t number = bell.tag >> 8;

    for (int i = 0; i < 600; i++) { /* more than the generation can tell */
        tine__bell_close(&bell);
        bell = bell_new();
        ck_assert_uint_eq(bell.tag >> 8, number);
    }
    tine__bell_close(&bell);
}

/* The program closes what it does not know, and opens something else under that number. */
TEST(a_kept_bell_that_was_closed_is_not_used)
{
    struct tine__bell bell = bell_new();
    int fd = bell.fd, fds[2];
    char byte = 0;

    tine__bell_close(&bell);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert(fds[0] == fd || fds[1] == fd);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    bell = bell_new();
    ck_assert_int_ne(bell.fd, fd);
    tine__bell_close(&bell);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    close(fds[0]);
    close(fds[1]);
}

static void take_own_bell(void *context)
{
    struct tine__bell bell, *parents = context;
    int copy = parents->fd;

    bell = bell_new();
    ck_assert_ptr_ne(bell.shared, parents->shared);
    ck_assert(bell.fd == copy || fcntl(copy, F_GETFD) < 0); /* the inherited copy is closed */
    tine__bell_close(&bell);
}

TEST(a_forked_child_does_not_use_its_parents_bell)
{
    struct tine__bell bell = bell_new(), kept = bell;
    struct child child;

    tine__bell_close(&bell);
    child = child_start(take_own_bell, &kept);
    child_join(&child);
    bell = bell_new();
    ck_assert_int_eq(bell.fd, kept.fd);
    ck_assert_ptr_eq(bell.shared, kept.shared);
    tine__bell_close(&bell);
}

/* The address of a bell can be read in /proc/net/unix. */
TEST(strangers_cannot_ring)
{
    struct tine__bell bell = bell_new();
    uint64_t address = bell.shared->address;

    for (uint64_t guess = 0; guess < 100; guess++)
        ck_assert_rc(tine__sys_ring(-1, address, guess), 0);
    ck_assert(!has_rung(bell.fd));
    tine__bell_close(&bell);
}

TEST(what_is_not_in_the_heap_cannot_be_watched)
{
    struct tine__bell bell = bell_new();
    const void *points[1] = {shared_memory(64)};
    _Atomic uint64_t *slot;

    ck_assert_rc(tine__watch_enter(&bell, points[0], &slot), -ENOTSUP);
    ck_assert_rc(tine__pollable_open(points, 1), -ENOTSUP);
    tine__watch_ring(points[0]);
    tine__bell_close(&bell);
}

/* ---- several processes ----------------------------------------------------------------------- */

struct scene {
    tine_event *event;
    struct gate *ready, *rung;
    int fd;
};

static struct scene scene_new(void)
{
    return (struct scene){event_new(), gate_new(), gate_new(), -1};
}

static void watch_once(void *context)
{
    struct scene *scene = context;
    struct tine__bell bell = bell_new();
    _Atomic uint64_t *slot = enter(&bell, scene->event);

    tine__bell_silence(&bell, true);
    tine__waiters_watch(point_of(scene->event));
    gate_raise(scene->ready);
    await_ring(bell.fd);
    gate_raise(scene->rung);
    tine__watch_leave(slot);
    tine__bell_close(&bell);
}

TEST(every_process_that_watches_is_told)
{
    struct scene scene = scene_new();
    struct child children[WATCHERS];

    for (int i = 0; i < WATCHERS; i++)
        children[i] = child_start(watch_once, &scene);
    gate_await(scene.ready, WATCHERS);
    ck_assert_rc(tine_event_set(scene.event), 0);
    for (int i = 0; i < WATCHERS; i++)
        child_join(&children[i]);
    ck_assert_int_eq(entries_of(scene.event), 0);
    tine_free(scene.event);
}

TEST(a_killed_watcher_is_swept_out)
{
    struct scene scene = scene_new();
    struct child victims[WATCHERS], child;

    for (int i = 0; i < WATCHERS; i++)
        victims[i] = child_start(watch_once, &scene);
    gate_await(scene.ready, WATCHERS);
    for (int i = 0; i < WATCHERS; i++)
        child_kill(&victims[i]);
    ck_assert_int_eq(entries_of(scene.event), WATCHERS);
    child = child_start(watch_once, &scene);
    gate_await(scene.ready, WATCHERS + 1);
    ck_assert_rc(tine_event_set(scene.event), 0); /* rings the dead in vain, and says so */
    child_join(&child);
    ck_assert_eventually((tine__watch_look(), entries_of(scene.event) == 0));
    tine_free(scene.event);
}

static void open_and_wait(void *context)
{
    struct scene *scene = context;
    const void *points[1] = {point_of(scene->event)};

    ck_assert_int_ge(tine__pollable_open(points, 1), 0);
    tine__waiters_watch(point_of(scene->event));
    gate_raise(scene->ready);
    pause();
}

static bool is_swept(tine_event *event)
{
    tine__watch_look();
    return entries_of(event) == 0;
}

/* Or else who has the bell next would take the dead one's descriptors for its own. */
TEST(a_bell_that_was_swept_has_no_users)
{
    struct scene scene = scene_new();
    struct child victim = child_start(open_and_wait, &scene);
    struct tine__watch_walk walk;
    struct tine__bell_shm *bell;
    uint32_t tag;

    gate_await(scene.ready, 1);
    walk = tine__watch_walk(point_of(scene.event));
    bell = tine__watch_next(&walk, &tag);
    ck_assert_ptr_nonnull(bell);
    ck_assert_uint_eq(bell->uses, 1);
    child_kill(&victim);
    ck_assert_rc(tine_event_set(scene.event), 0);
    ck_assert_eventually(is_swept(scene.event));
    ck_assert_eventually(bell->owner == 0);
    ck_assert_uint_eq(bell->uses, 0);
    tine_free(scene.event);
}

static void leave_bells(void *context)
{
    (void)context;
    for (int i = 0; i < 200; i++)
        bell_new();
}

/* Their bells are found when new ones are wanted, although nobody rang them. */
TEST(bells_of_the_dead_are_used_again)
{
    uint32_t highest = 0;

    for (int i = 0; i < 20; i++) {
        struct child child = child_start(leave_bells, NULL);
        struct tine__bell bell;

        child_join(&child);
        bell = bell_new();
        highest = bell.tag >> 8 > highest ? bell.tag >> 8 : highest;
        tine__bell_close(&bell);
    }
    ck_assert_uint_lt(highest, 20 * 200);
}

/* ---- descriptors for outside loops ----------------------------------------------------------- */

static int pollable_new(tine_event *event)
{
    const void *points[1] = {point_of(event)};
    int fd = tine__pollable_open(points, 1);

    ck_assert_ok(fd);
    tine__waiters_watch(point_of(event));
    return fd;
}

TEST(a_pollable_is_readable_until_a_try_fails)
{
    tine_event *event = event_new();
    int fd = pollable_new(event);

    ck_assert_rc(tine_event_set(event), 0);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine_event_is_set(event), 1);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine_event_clear(event), 0);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine_event_is_set(event), 0);
    ck_assert_rc(tine_event_wait(event, 0), -EAGAIN);
    ck_assert_rc(tine_event_set(event), 0);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine__pollable_close(fd), 0);
    ck_assert_rc(tine__pollable_close(fd), -EBADF);
    ck_assert_int_eq(entries_of(event), 0);
    tine_free(event);
}

/* As if who set it had been killed before it rang. */
TEST(a_pollable_is_readable_again_for_the_look)
{
    tine_event *event = event_new();
    int fd = pollable_new(event);

    atomic_fetch_add(&((struct tine__event_shm *)event)->changes, 1);
    await_ring(fd);
    ck_assert_rc(tine_event_is_set(event), 1);
    ck_assert_rc(tine_event_clear(event), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_event_is_set(event), 0);
        await_ring(fd);
    }
    ck_assert_rc(tine__pollable_close(fd), 0);
    tine_free(event);
}

static void poll_in_child(void *context)
{
    struct scene *scene = context;
    int fd = pollable_new(scene->event);

    gate_raise(scene->ready);
    do
        await_ring(fd);
    while (tine_event_is_set(scene->event) == 0);
    gate_await(scene->rung, 1); /* the other one's try must not make ours quiet */
    ck_assert(has_rung(fd));
    ck_assert_rc(tine__pollable_close(fd), 0);
}

TEST(the_try_of_one_process_leaves_those_of_others_readable)
{
    struct scene scene = scene_new();
    struct child child = child_start(poll_in_child, &scene);
    int fd = pollable_new(scene.event);

    gate_await(scene.ready, 1);
    ck_assert_rc(tine_event_set(scene.event), 0);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine_event_clear(scene.event), 0);
    ck_assert_rc(tine_event_is_set(scene.event), 0);
    ck_assert_rc(tine_event_set(scene.event), 0);
    gate_raise(scene.rung);
    child_join(&child);
    ck_assert_rc(tine__pollable_close(fd), 0);
    tine_free(scene.event);
}

static void use_of_parent(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_event_is_set(scene->event), 0);
    ck_assert_rc(tine__pollable_close(scene->fd), -EBADF);
}

TEST(a_forked_child_leaves_the_parents_alone)
{
    struct scene scene = scene_new();
    int fd = pollable_new(scene.event);
    struct child child;

    scene.fd = fd;
    ck_assert_rc(tine_event_set(scene.event), 0);
    ck_assert_rc(tine_event_clear(scene.event), 0);
    child = child_start(use_of_parent, &scene);
    child_join(&child);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine__pollable_close(fd), 0);
    tine_free(scene.event);
}

TEST(ten_thousand_pollables_one_after_the_other)
{
    tine_event *event = event_new();

    for (int i = 0; i < 10000; i++)
        ck_assert_rc(tine__pollable_close(pollable_new(event)), 0);
    ck_assert_int_eq(entries_of(event), 0);
    tine_free(event);
}

/* ---- signals --------------------------------------------------------------------------------- */

static tine_event *handled;

static void set_in_handler(int signal)
{
    (void)signal;
    if (tine_event_set(handled) != 0 || tine_event_is_set(handled) != 1)
        abort();
}

TEST(a_signal_handler_may_ring, .own_signals = true)
{
    tine_event *event = event_new();
    int fd = pollable_new(event);

    handled = event;
    ck_assert(signal(SIGUSR1, set_in_handler) != SIG_ERR);
    errno = 77;
    ck_assert_int_eq(raise(SIGUSR1), 0);
    ck_assert_int_eq(errno, 77);
    ck_assert(has_rung(fd));
    ck_assert_rc(tine__pollable_close(fd), 0);
    tine_free(event);
}

/* ---- every instruction ----------------------------------------------------------------------- */

#define POINTS 30

static struct scene stepped;

static void set_stepped(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_set(stepped.event), 0);
}

static struct tine__bell stepped_bell;

static void arm_stepped(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_clear(stepped.event), 0);
    tine__bell_silence(&stepped_bell, true);
    tine__waiters_watch(point_of(stepped.event));
}

/* Whoever was killed in its ring: the next one's arrives, after the silence of a look. */
static void check_ring(long steps, pid_t victim, void *context)
{
    (void)victim;
    if (tine_event_is_set(stepped.event) == 1 && !has_rung(stepped_bell.fd))
        ck_assert_uint_le(point_of(stepped.event)->waiting, TINE__WAITERS_WATCHED);
    arm_stepped(context);
    ck_assert_rc(tine_event_set(stepped.event), 0);
    ck_assert_msg(has_rung(stepped_bell.fd), "killed after %ld instructions: no ring", steps);
}

TEST(killed_in_a_change_that_rings, .timeout_s = 300)
{
    _Atomic uint64_t *slot;

    stepped = scene_new();
    stepped_bell = bell_new();
    slot = enter(&stepped_bell, stepped.event);
    step_kill_everywhere(
        &(struct step){.before = arm_stepped, .run = set_stepped, .check = check_ring}, POINTS);
    tine__watch_leave(slot);
    tine__bell_close(&stepped_bell);
    tine_free(stepped.event);
}

static void watch_and_leave(void *context)
{
    struct tine__bell bell = bell_new();
    _Atomic uint64_t *slot = enter(&bell, stepped.event);

    (void)context;
    tine__bell_silence(&bell, true);
    tine__waiters_watch(point_of(stepped.event));
    tine__watch_leave(slot);
    tine__bell_close(&bell);
}

/* Nothing is left of the dead once somebody has rung and looked. */
static void check_swept(long steps, pid_t victim, void *context)
{
    (void)victim;
    (void)context;
    tine__waiters_watch(point_of(stepped.event));
    ck_assert_rc(tine_event_set(stepped.event), 0);
    if (entries_of(stepped.event) != 0)
        ck_assert_eventually((tine__watch_look(), entries_of(stepped.event) == 0));
    watch_and_leave(NULL);
    ck_assert_msg(entries_of(stepped.event) == 0, "killed after %ld instructions", steps);
}

TEST(killed_while_it_begins_and_ends_to_watch, .timeout_s = 300)
{
    stepped = scene_new();
    watch_and_leave(NULL);
    step_kill_everywhere(&(struct step){.run = watch_and_leave, .check = check_swept}, POINTS / 3);
    tine_free(stepped.event);
}

SUITE("shm/watch")
