/* SPDX-License-Identifier: MIT */
/*
 * Descriptors for shared objects: an epoll descriptor over a bell (shm/watch.c) and a timer.
 *
 * The bell is rung by whoever changes what is watched; the timer makes up for those who are killed
 * or stopped before they ring. Both are level-triggered; a vain try silences the bell and sets the
 * timer anew, in this order: drain, `rung` = 0, arm, try again; so a change before the second try
 * is seen by it, and one after it rings.
 *
 * All that belongs to one stands in its bell's record, so a try finds it by the point it tries, in
 * the table of watches, without a lock (tries may happen in signal handlers). `uses` counts those
 * who have the descriptors in hand, and 1 for the opener; who takes it to 0 closes them. A try that
 * comes upon a record at the moment of its reuse is told by the generation.
 *
 * Descriptors are numbers that a program may have closed and opened anew: what epoll gives must
 * bear our cookies, and what it no longer has (closed behind our back) it does not give. A forked
 * child inherits the descriptors, but they stand for the parent's; it makes its own.
 */
#include "shm/pollable.h"

#include <errno.h>
#include <unistd.h>

#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "shm/heap.h"
#include "shm/owner.h"
#include "shm/watch.h"

_Atomic uint32_t tine__pollables;

enum { BELL, TIMER };

/* What epoll calls the two. */
static uint64_t cookie(const struct tine__bell_shm *bell, int which)
{
    return (atomic_load_explicit(&bell->address, memory_order_relaxed) & ~(uint64_t)1) |
           (uint64_t)which;
}

static bool is_mine(const struct tine__bell_shm *bell)
{
    return atomic_load_explicit(&bell->owner, memory_order_acquire) == tine__owner_word();
}

static bool pin(struct tine__bell_shm *bell)
{
    uint32_t uses = atomic_load_explicit(&bell->uses, memory_order_relaxed);

    while (uses != 0)
        /* acquire: pairs with the release in publish */
        if (atomic_compare_exchange_weak_explicit(&bell->uses, &uses, uses + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void close_all(struct tine__bell_shm *shared)
{
    struct tine__bell bell = {shared, shared->tag, shared->socket};

    close(atomic_exchange_explicit(&shared->epoll, -1, memory_order_relaxed));
    close(shared->timer);
    atomic_fetch_sub_explicit(&tine__pollables, 1, memory_order_relaxed);
    tine__bell_close(&bell);
}

static void unpin(struct tine__bell_shm *bell)
{
    if (atomic_fetch_sub_explicit(&bell->uses, 1, memory_order_acq_rel) == 1)
        close_all(bell);
}

/* All descriptors of the machine say so at the same instants: the CPU wakes once for many. */
static int64_t next_look_ns(void)
{
    int64_t now = tine__now_ns(), unit = TINE__LOOK_NS / 2;

    return (now / unit + 2) * unit - now;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* The descriptors, as far as there are any; -1: not (yet). */
struct parts {
    struct tine__bell bell;
    int epoll, timer;
    _Atomic uint64_t *slots[TINE__POLLABLE_POINTS];
};

static void drop(struct parts *parts)
{
    for (int i = 0; i < TINE__POLLABLE_POINTS; i++)
        if (parts->slots[i] != NULL)
            tine__watch_leave(parts->slots[i]);
    if (parts->epoll >= 0)
        close(parts->epoll);
    if (parts->timer >= 0)
        close(parts->timer);
    tine__bell_close(&parts->bell);
}

/* Without points there is nothing that could change: readable at once, for ever. */
static int open_descriptors(struct parts *parts, bool points)
{
    int rc;

    parts->epoll = tine__sys_epoll();
    if (parts->epoll < 0)
        return parts->epoll;
    parts->timer = tine__sys_timer();
    if (parts->timer < 0)
        return parts->timer;
    rc = tine__sys_epoll_add(parts->epoll, parts->bell.fd, cookie(parts->bell.shared, BELL));
    if (rc == 0)
        rc = tine__sys_epoll_add(parts->epoll, parts->timer, cookie(parts->bell.shared, TIMER));
    if (rc == 0)
        rc = tine__sys_timer_set(parts->timer, points ? next_look_ns() : 1);
    return rc;
}

static void publish(const struct parts *parts)
{
    struct tine__bell_shm *shared = parts->bell.shared;

    atomic_store_explicit(&shared->epoll, parts->epoll, memory_order_relaxed);
    shared->timer = parts->timer;
    shared->socket = parts->bell.fd;
    for (int i = 0; i < TINE__POLLABLE_POINTS; i++)
        atomic_store_explicit(&shared->slots[i], parts->slots[i], memory_order_relaxed);
    atomic_fetch_add_explicit(&tine__pollables, 1, memory_order_relaxed);
    /* release: pairs with the acquire in pin */
    atomic_store_explicit(&shared->uses, 1, memory_order_release);
}

int tine__pollable_open(const void *const *points, size_t count)
{
    struct parts parts = {.epoll = -1, .timer = -1};
    int rc;

    for (size_t i = 0; i < count; i++)
        if (!tine__heap_contains(points[i], sizeof(uint32_t)))
            return -ENOTSUP;
    rc = tine__bell_open(&parts.bell);
    if (rc < 0)
        return rc;
    rc = open_descriptors(&parts, count > 0);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = tine__watch_enter(&parts.bell, points[i], &parts.slots[i]);
    if (rc < 0) {
        drop(&parts);
        return rc;
    }
    publish(&parts);
    return parts.epoll;
}

/* ---- use ------------------------------------------------------------------------------------- */

static void silence(struct tine__bell_shm *bell)
{
    struct tine__bell held = {bell, bell->tag, bell->socket};
    uint64_t cookies[2];
    int count = tine__sys_epoll_look(bell->epoll, cookies, 2);
    bool rung = false;

    for (int i = 0; i < count; i++) {
        rung = rung || cookies[i] == cookie(bell, BELL);
        if (cookies[i] == cookie(bell, TIMER))
            (void)tine__sys_timer_set(bell->timer, next_look_ns());
    }
    tine__bell_silence(&held, rung);
}

bool tine__pollable_quiet(const void *point)
{
    struct tine__watch_walk walk = tine__watch_walk(point);
    struct tine__bell_shm *bell;
    bool found = false;
    uint32_t tag;

    while ((bell = tine__watch_next(&walk, &tag)) != NULL) {
        if (!is_mine(bell) || !pin(bell))
            continue;
        if ((atomic_load_explicit(&bell->generation, memory_order_relaxed) & 0xff) ==
            (tag & 0xff)) {
            silence(bell);
            found = true;
        }
        unpin(bell);
    }
    return found;
}

int tine__pollable_close(int fd)
{
    struct tine__bell_shm *bell;

    if (fd < 0 || atomic_load_explicit(&tine__pollables, memory_order_relaxed) == 0)
        return -EBADF;
    for (uint32_t i = 0; (bell = tine__bell_at(i)) != NULL; i++) {
        if (atomic_load_explicit(&bell->epoll, memory_order_relaxed) != fd || !is_mine(bell) ||
            !pin(bell))
            continue;
        if (atomic_load_explicit(&bell->epoll, memory_order_relaxed) == fd && is_mine(bell)) {
            for (int k = 0; k < TINE__POLLABLE_POINTS; k++) {
                _Atomic uint64_t *slot =
                    atomic_exchange_explicit(&bell->slots[k], NULL, memory_order_relaxed);

                if (slot != NULL)
                    tine__watch_leave(slot);
            }
            unpin(bell); /* the opener's */
            unpin(bell);
            return 0;
        }
        unpin(bell);
    }
    return -EBADF;
}
