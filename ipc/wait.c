/* SPDX-License-Identifier: MIT */
/*
 * Waiting for many objects at once.
 *
 * What has a descriptor is polled; what lies in the family heap rings the one bell (shm/watch.c)
 * that a call hangs up for all of them, once it has seen that nothing is ready. So a wake-up costs
 * one poll, and a look at each object in memory. Every 50 ms all objects are looked at as whoever
 * sleeps does, for the sake of those who died before they rang, or of what another thread has taken
 * from a descriptor. What lies elsewhere, or cannot be watched because no descriptor or memory is
 * left, is looked at again after 50 µs, doubling up to 5 ms.
 *
 * All state is the call's own. A kill leaves a bell and its entries to the next sweep. Entries are
 * written at the end only, when nothing can fail any more.
 */
#include <tine/wait.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "lib/checked.h"
#include "lib/clock.h"
#include "lib/sys_poll.h"
#include "lib/waitable.h"
#include "shm/fence.h"
#include "shm/pollable.h"
#include "shm/spin.h"
#include "shm/waiters.h"
#include "shm/watch.h"

#define FEW          16 /* entries for which the stack has room */
#define SLICE_MIN_NS 50000
#define SLICE_MAX_NS 5000000

_Static_assert(TINE__POINTS_MAX == TINE__POLLABLE_POINTS, "an object has one descriptor for all");
_Static_assert(sizeof(tine_waitable) == 48, "tine/wait.h");

/* What a call knows of an entry. */
struct seat {
    _Atomic uint64_t *slots[TINE__POINTS_MAX]; /* entered in the table of watches */
    size_t poll;                               /* its number among those polled, or NOT_POLLED */
    uint32_t ready;
};

#define NOT_POLLED SIZE_MAX

struct waiting {
    const tine_waitable *waitables;
    size_t n;
    struct seat *seats;
    struct pollfd *fds; /* room for one more: the bell */
    size_t polled;
    struct tine__bell bell;
    bool has_bell;
    bool in_memory; /* some have no descriptor, so they are looked at */
    bool unwatched; /* nobody rings for some of those */
    bool knowing;   /* some know more than their descriptor says */
};

/* ---- plain descriptors ----------------------------------------------------------------------- */

static int plain_descriptor(const tine_waitable *waitable)
{
    return waitable->fd < 0 ? -EBADF : waitable->fd;
}

static const struct tine__waitable_kind plain = {.descriptor = plain_descriptor};

tine_waitable tine_fd_waitable(int fd, uint32_t events)
{
    return (tine_waitable){.kind = &plain, .fd = fd, .events = events};
}

static bool is_sound(const tine_waitable *waitable)
{
    return (waitable->object != NULL || waitable->kind == &plain) && waitable->events != 0 &&
           (waitable->events & ~(TINE_READABLE | TINE_WRITABLE)) == 0;
}

static short polled_for(uint32_t events)
{
    return (short)((events & TINE_READABLE ? POLLIN : 0) | (events & TINE_WRITABLE ? POLLOUT : 0));
}

static uint32_t what_is_so(short revents)
{
    return (revents & POLLIN ? TINE_READABLE : 0) | (revents & POLLOUT ? TINE_WRITABLE : 0) |
           (revents & (POLLHUP | POLLERR) ? TINE_HUNGUP : 0) | (revents & POLLNVAL ? TINE_NOFD : 0);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* How many points it has, written to points. */
static int points_of(const tine_waitable *waitable, const void *points[TINE__POINTS_MAX])
{
    const struct tine__waitable_kind *kind = waitable->kind;

    return kind == NULL || kind->points == NULL ? 0 : kind->points(waitable, points);
}

/* The descriptor to poll; -ENOTSUP: it has none; another code: it is none. */
static int descriptor_of(const tine_waitable *waitable)
{
    return waitable->kind->descriptor == NULL ? -ENOTSUP : waitable->kind->descriptor(waitable);
}

/* Of those without a descriptor, and of those that know more than their descriptor. */
static int look_at(const struct waiting *waiting, size_t i, bool look)
{
    const tine_waitable *waitable = &waiting->waitables[i];
    int ready;

    if (waitable->kind == NULL || waitable->kind->ready == NULL)
        return 0;
    ready = waitable->kind->ready(waitable, look);
    if (ready >= 0)
        waiting->seats[i].ready = (uint32_t)ready;
    return ready;
}

/* How many are ready of all that lie in memory, or a negative code. */
static int64_t look_at_all(const struct waiting *waiting, bool look)
{
    int64_t count = 0;

    for (size_t i = 0; i < waiting->n; i++) {
        int ready = look_at(waiting, i, look);

        if (ready < 0)
            return ready;
        count += ready > 0;
    }
    return count;
}

/* Brings together what the last poll and the last look have said. */
static int count_ready(const struct waiting *waiting)
{
    int count = 0;

    for (size_t i = 0; i < waiting->n; i++) {
        struct seat *seat = &waiting->seats[i];

        if (seat->poll != NOT_POLLED)
            seat->ready |= what_is_so(waiting->fds[seat->poll].revents);
        count += seat->ready != 0;
    }
    return count;
}

static int poll_at_once(const struct waiting *waiting)
{
    return waiting->polled == 0 ? 0 : tine__sys_poll(waiting->fds, waiting->polled, 0);
}

/* Everything has been looked at; polled: the descriptors, too. */
static int conclude(const struct waiting *waiting, bool polled)
{
    int rc = polled ? 0 : poll_at_once(waiting);

    return rc < 0 ? rc : count_ready(waiting);
}

/* How many are ready now, or a negative code. */
static int test(const struct waiting *waiting, bool look)
{
    int64_t rc = look_at_all(waiting, look);

    return rc < 0 ? (int)rc : conclude(waiting, false);
}

/* ---- watching -------------------------------------------------------------------------------- */

static int enter(struct waiting *waiting, size_t i)
{
    const void *points[TINE__POINTS_MAX];
    int count = points_of(&waiting->waitables[i], points), rc = 0;

    for (int k = 0; k < count && rc == 0; k++)
        rc = tine__watch_enter(&waiting->bell, points[k], &waiting->seats[i].slots[k]);
    return rc;
}

static void watch_all(struct waiting *waiting)
{
    waiting->has_bell = tine__bell_open(&waiting->bell) == 0;
    waiting->unwatched |= !waiting->has_bell;
    for (size_t i = 0; i < waiting->n && waiting->has_bell; i++)
        waiting->unwatched |= enter(waiting, i) < 0;
    if (waiting->has_bell)
        waiting->fds[waiting->polled] = (struct pollfd){.fd = waiting->bell.fd, .events = POLLIN};
}

static void fence_all(const struct waiting *waiting)
{
    if (tine__fence_heavy())
        return;
    for (size_t i = 0; i < waiting->n; i++)
        if (waiting->seats[i].slots[0] != NULL && waiting->waitables[i].kind->fence != NULL)
            waiting->waitables[i].kind->fence(&waiting->waitables[i]);
}

static void arm_all(const struct waiting *waiting)
{
    bool fence = false;

    if (!waiting->has_bell)
        return;
    tine__bell_silence(&waiting->bell, waiting->fds[waiting->polled].revents != 0);
    for (size_t i = 0; i < waiting->n; i++) {
        if (waiting->seats[i].slots[0] == NULL)
            continue;
        waiting->waitables[i].kind->arm(&waiting->waitables[i]);
        fence |= waiting->waitables[i].kind->fence != NULL;
    }
    if (fence)
        fence_all(waiting);
}

static void unwatch_all(struct waiting *waiting)
{
    if (!waiting->has_bell)
        return;
    for (size_t i = 0; i < waiting->n; i++)
        for (int k = 0; k < TINE__POINTS_MAX; k++)
            if (waiting->seats[i].slots[k] != NULL)
                tine__watch_leave(waiting->seats[i].slots[k]);
    tine__bell_close(&waiting->bell);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until something happens to a descriptor or the bell, or the slice is over: how many descriptors
   are ready. */
static int sleep_on_all(const struct waiting *waiting, int64_t ns)
{
    size_t count = waiting->polled + (waiting->has_bell ? 1 : 0);
    int rc = tine__sys_poll(waiting->fds, count, ns);

    return rc > 0 && waiting->has_bell && waiting->fds[waiting->polled].revents != 0 ? rc - 1 : rc;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int sleep_among_objects(struct waiting *waiting, tine__deadline deadline)
{
    int64_t next_look = tine__now_ns() + TINE__LOOK_NS, slice = SLICE_MIN_NS;
    bool polled = false;
    int rc = 0;

    for (bool look = false;; look = tine__now_ns() >= next_look, polled = true) {
        int64_t left = tine__deadline_left(deadline), found;

        arm_all(waiting);
        found = look_at_all(waiting, look || left == 0);
        if (found != 0 || rc != 0 || left == 0)
            return found < 0 ? (int)found : rc < 0 ? rc : conclude(waiting, polled);
        if (look) {
            tine__watch_look();
            next_look = tine__now_ns() + TINE__LOOK_NS;
        }
        rc = sleep_on_all(waiting, least(left, waiting->unwatched ? slice : TINE__LOOK_NS));
        slice = least(2 * slice, SLICE_MAX_NS);
    }
}

/* How many are ready, or a negative code. */
static int64_t spin_for_few(const struct waiting *waiting)
{
    static struct tine__spin spin; /* how long it paid lately, of all waits of this process */
    struct tine__spinning spinning;
    int64_t found;

    if (waiting->n > FEW)
        return 0;
    for (tine__spin_begin(&spin, &spinning, 0); tine__spin_on(&spinning);) {
        found = look_at_all(waiting, false);
        if (found != 0) {
            tine__spin_hit(&spin, &spinning);
            return found;
        }
    }
    tine__spin_missed(&spin, &spinning);
    return 0;
}

/*
 * All have descriptors. What makes one of the knowing ready may be taken from its descriptor by
 * another thread, which tells nobody here.
 */
static int sleep_on_descriptors(const struct waiting *waiting, tine__deadline deadline)
{
    for (;;) {
        int64_t left = tine__deadline_left(deadline), found;
        int64_t slice = waiting->knowing ? least(left, TINE__LOOK_NS) : left;
        int rc = tine__sys_poll(waiting->fds, waiting->polled, slice == INT64_MAX ? -1 : slice);

        if (rc < 0)
            return rc;
        found = rc > 0 || !waiting->knowing ? 0 : look_at_all(waiting, true);
        if (found < 0)
            return (int)found;
        if (rc > 0 || found > 0 || left == slice)
            return count_ready(waiting);
    }
}

static int wait_long(struct waiting *waiting, tine__deadline deadline)
{
    int64_t found;
    int rc;

    if (!waiting->in_memory)
        return sleep_on_descriptors(waiting, deadline);
    found = spin_for_few(waiting);
    if (found != 0)
        return found < 0 ? (int)found : conclude(waiting, false);
    watch_all(waiting);
    rc = sleep_among_objects(waiting, deadline);
    unwatch_all(waiting);
    return rc;
}

/* ---- public ---------------------------------------------------------------------------------- */

static int take_seat(struct waiting *waiting, size_t i)
{
    const tine_waitable *waitable = &waiting->waitables[i];
    const void *points[TINE__POINTS_MAX];
    int fd, count;

    waiting->seats[i] = (struct seat){.poll = NOT_POLLED};
    if (waitable->kind == NULL)
        return 0;
    if (!is_sound(waitable))
        return -EINVAL;
    fd = descriptor_of(waitable);
    if (fd < 0 && fd != -ENOTSUP)
        return fd;
    count = points_of(waitable, points);
    waiting->in_memory |= fd < 0 || count > 0;
    waiting->unwatched |= fd < 0 && count == 0;
    if (fd < 0)
        return 0;
    waiting->knowing |= waitable->kind->ready != NULL;
    waiting->seats[i].poll = waiting->polled;
    waiting->fds[waiting->polled++] =
        (struct pollfd){.fd = fd, .events = polled_for(waitable->events)};
    return 0;
}

static int wait_seated(struct waiting *waiting, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = 0;

    for (size_t i = 0; i < waiting->n && rc == 0; i++)
        rc = take_seat(waiting, i);
    if (rc == 0 && waiting->polled == 0 && !waiting->in_memory && timeout_ns < 0)
        rc = -EINVAL; /* it would never return */
    if (rc == 0)
        rc = test(waiting, timeout_ns == 0);
    if (rc == 0 && timeout_ns != 0)
        rc = wait_long(waiting, deadline);
    return rc;
}

int tine_wait(tine_waitable *waitables, size_t n, int64_t timeout_ns)
{
    struct seat few_seats[FEW];
    struct pollfd few_fds[FEW + 1];
    struct waiting waiting = {.waitables = waitables, .n = n, .seats = few_seats, .fds = few_fds};
    int rc;

    if ((waitables == NULL && n > 0) || n >= INT32_MAX)
        return -EINVAL;
    if (n > FEW) {
        waiting.seats = malloc(n * sizeof *waiting.seats);
        waiting.fds = malloc((n + 1) * sizeof *waiting.fds);
    }
    rc = waiting.seats == NULL || waiting.fds == NULL ? -ENOMEM : wait_seated(&waiting, timeout_ns);
    for (size_t i = 0; i < n && rc >= 0; i++)
        waitables[i].ready = waiting.seats[i].ready;
    if (n > FEW) {
        free(waiting.seats);
        free(waiting.fds);
    }
    return rc;
}

/* The object is watched from here on; what it is now counts as a change. */
static int watch_alone(const tine_waitable *waitable, bool ready)
{
    const void *points[TINE__POINTS_MAX];
    int count = points_of(waitable, points), fd;

    if (count == 0)
        return ready ? tine__pollable_open(NULL, 0) : -ENOTSUP;
    fd = tine__pollable_open(points, (size_t)count);
    if (fd < 0)
        return fd;
    waitable->kind->arm(waitable);
    if (waitable->kind->fence != NULL)
        waitable->kind->fence(waitable);
    if (waitable->kind->ready(waitable, false) != 0)
        tine__watch_ring(points[0]);
    return fd;
}

int tine_waitable_fd(const tine_waitable *waitable)
{
    int fd, rc;

    if (waitable == NULL || waitable->kind == NULL || !is_sound(waitable))
        return -EINVAL;
    fd = descriptor_of(waitable);
    if (fd != -ENOTSUP)
        return fd;
    rc = waitable->kind->ready(waitable, false);
    return rc < 0 ? rc : watch_alone(waitable, rc > 0);
}

void tine_waitable_close(int fd)
{
    (void)tine__pollable_close(fd);
}
