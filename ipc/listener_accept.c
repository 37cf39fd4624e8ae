/* SPDX-License-Identifier: MIT */
/*
 * Accepting: all clients that are not known yet are served at once, while accept() waits. Each is
 * an arrival with its own handshake and deadline, and an epoll set tells which has said something.
 * Nothing here waits for one of them. There are at most TINE__ARRIVALS; who comes then replaces one
 * of them, see first_to_yield(). So what strangers can cost is bounded, and who answers gets in
 * between any number of those who don't. Between two calls of accept the arrivals rest; the epoll
 * set is readable when one of them, or a new one, is worth a call.
 *
 * Where descriptors or memory run out, new clients wait in the kernel's queue for PAUSE_NS.
 *
 * Private to the process. The lock is one between its threads, held through accept: a second thread
 * that accepts waits for the first to get its client.
 */
#include "ipc/listener_impl.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/time.h>

#include "ipc/auth_handshake.h"
#include "ipc/transport.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"

#define ADMIT_MAX 4 /* new clients at a time, between two looks at the others */
#define PAUSE_NS  TINE_MS(100)
#define GRACE_NS  TINE_MS(10) /* how long an arrival is safe from later ones */

/* ---- arrivals -------------------------------------------------------------------------------- */

static int watch(const tine_listener *listener, int fd, uint32_t what)
{
    return tine__sys_epoll_add(listener->epoll, fd, what);
}

static void unwatch(const tine_listener *listener, int fd)
{
    (void)epoll_ctl(listener->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* Unwatched first: where a forked child has a copy of the socket, the epoll set would keep it. */
static void drop(const tine_listener *listener, struct tine__arrival *arrival)
{
    unwatch(listener, arrival->fd);
    close(arrival->fd);
    arrival->fd = -1;
    tine__auth_end(&arrival->auth);
}

static void log_drop(const tine_listener *listener, int fd, const char *why)
{
    char peer[TINE__ADDRESS_TEXT];

    if (!tine__log_wanted(TINE_LOG_WARNING))
        return;
    tine__address_text(fd, true, peer);
    tine__log_warning("listener %s: a client%s%s is dropped: %s", listener->address,
                      peer[0] == '\0' ? "" : " at ", peer, why);
}

static void drop_saying(tine_listener *listener, struct tine__arrival *arrival, const char *why)
{
    log_drop(listener, arrival->fd, why);
    drop(listener, arrival);
}

static void drop_late(tine_listener *listener)
{
    int64_t now = tine__now_ns();

    for (int i = 0; i < TINE__ARRIVALS; i++)
        if (listener->arrivals[i].fd >= 0 && listener->arrivals[i].deadline <= now)
            drop_saying(listener, &listener->arrivals[i],
                        "it did not finish its handshake in time");
}

static struct tine__arrival *free_place(tine_listener *listener)
{
    for (int i = 0; i < TINE__ARRIVALS; i++)
        if (listener->arrivals[i].fd < 0)
            return &listener->arrivals[i];
    return NULL;
}

static unsigned places_of(const tine_listener *listener, uint64_t peer)
{
    unsigned places = 0;

    for (int i = 0; i < TINE__ARRIVALS; i++)
        places += listener->arrivals[i].peer == peer;
    return places;
}

/* Whether a gives way before b. */
static bool yields(const tine_listener *listener, const struct tine__arrival *a,
                   const struct tine__arrival *b)
{
    unsigned places_a = places_of(listener, a->peer), places_b = places_of(listener, b->peer);

    if (places_a != places_b)
        return places_a > places_b;
    if (a->auth.heard != b->auth.heard)
        return !a->auth.heard;
    return a->number < b->number;
}

/*
 * Who gives way when all places are taken: one of the peer that has most of them, so that a crowd
 * pushes out its own, however slow the others are; of these one that has said nothing; the oldest.
 */
static struct tine__arrival *first_to_yield(tine_listener *listener)
{
    struct tine__arrival *first = &listener->arrivals[0];

    for (int i = 1; i < TINE__ARRIVALS; i++)
        if (yields(listener, &listener->arrivals[i], first))
            first = &listener->arrivals[i];
    return first;
}

/* 1: *connection is there, 0: not (yet), negative: it cannot be had. */
static int move(tine_listener *listener, struct tine__arrival *arrival,
                tine_connection **connection)
{
    int fd, rc = tine__handshake_move(arrival->fd, &arrival->auth);

    if (rc == 0)
        return 0;
    if (rc < 0) {
        drop_saying(listener, arrival, arrival->auth.reason);
        return 0;
    }
    fd = arrival->fd;
    arrival->fd = -1;
    unwatch(listener, fd);
    rc = tine__terms_connect(connection, &listener->terms, fd, &arrival->auth);
    return rc < 0 ? rc : 1;
}

/* The socket is given. 0, or negative: it is dropped. */
static int place(tine_listener *listener, int fd, struct tine__arrival **place)
{
    struct tine__arrival *arrival;
    int rc = tine__terms_check_user(&listener->terms, fd);

    if (rc < 0) {
        log_drop(listener, fd, "it is another user's");
        close(fd);
        return rc;
    }
    arrival = free_place(listener); /* make_room() has seen to it */
    arrival->fd = fd;
    arrival->number = listener->came++;
    arrival->peer = tine__address_peer(fd);
    arrival->deadline = tine__deadline_after(listener->handshake_timeout_ns);
    arrival->grace = tine__deadline_after(GRACE_NS);
    rc = tine__terms_begin(&arrival->auth, &listener->terms, fd, true);
    if (rc == 0)
        rc = watch(listener, fd, (uint32_t)(arrival - listener->arrivals));
    if (rc < 0)
        drop_saying(listener, arrival, tine_strerror(rc));
    *place = arrival;
    return rc;
}

/* ---- the listening socket -------------------------------------------------------------------- */

static void pause_until(tine_listener *listener, tine__deadline until)
{
    unwatch(listener, listener->fd);
    listener->paused = true;
    listener->pause = until;
}

static void pause_for_want(tine_listener *listener, int error)
{
    tine__log_warning("listener %s: clients wait for %d ms: %s", listener->address,
                      (int)(PAUSE_NS / TINE_MS(1)), tine_strerror(error));
    listener->crowded = false;
    pause_until(listener, tine__deadline_after(PAUSE_NS));
}

static void end_pause(tine_listener *listener)
{
    if (!listener->paused || (!tine__deadline_passed(listener->pause) &&
                              !(listener->crowded && free_place(listener) != NULL)))
        return;
    listener->paused = watch(listener, listener->fd, TINE__LISTENER_SOCKET) < 0;
    listener->crowded = false;
    listener->pause = tine__deadline_after(PAUSE_NS);
}

/* For one more. False: there is none; or all who are there are so new that it waits. */
static bool make_room(tine_listener *listener)
{
    struct tine__arrival *first;

    if (free_place(listener) != NULL)
        return true;
    if (tine__sys_poll_in(listener->fd, 0) <= 0)
        return false;
    first = first_to_yield(listener);
    if (!tine__deadline_passed(first->grace)) {
        listener->crowded = true;
        pause_until(listener, first->grace);
        return false;
    }
    drop_saying(listener, first, "others came, and it had not finished its handshake");
    return true;
}

/* Some of those who wait in the kernel's queue; results as of move(). */
static int admit(tine_listener *listener, tine_connection **connection)
{
    for (int i = 0; i < ADMIT_MAX && make_room(listener); i++) {
        int fd = tine__sys_accept(listener->fd), rc;
        struct tine__arrival *arrival;

        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
            pause_for_want(listener, fd);
        if (fd < 0) /* others are the peer's, such as -EPROTO: the next one may be well */
            return 0;
        if (place(listener, fd, &arrival) < 0)
            continue;
        rc = move(listener, arrival, connection);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- accept ---------------------------------------------------------------------------------- */

/* Until when there is nothing to do, unless somebody says something. */
static tine__deadline next_event(const tine_listener *listener, tine__deadline deadline)
{
    if (listener->paused && listener->pause < deadline)
        deadline = listener->pause;
    for (int i = 0; i < TINE__ARRIVALS; i++)
        if (listener->arrivals[i].fd >= 0 && listener->arrivals[i].deadline < deadline)
            deadline = listener->arrivals[i].deadline;
    return deadline;
}

/*
 * Between two calls somebody else may wait for the epoll set: it becomes readable when time has
 * something to do, too. Within a call the timer is off.
 */
static void set_alarm(tine_listener *listener, tine__deadline alarm)
{
    int64_t left = alarm == TINE__NEVER ? 0 : tine__deadline_left(alarm);

    if (alarm == listener->alarm)
        return;
    if (alarm != TINE__NEVER && left == 0)
        left = 1; /* zero would be never */
    listener->alarm = alarm;
    (void)tine__sys_timer_set(listener->timer, left);
}

static int serve(tine_listener *listener, const struct epoll_event *event,
                 tine_connection **connection)
{
    struct tine__arrival *arrival;

    if (event->data.u64 == TINE__LISTENER_SOCKET)
        return listener->paused ? 0 : admit(listener, connection);
    arrival = &listener->arrivals[event->data.u64];
    return arrival->fd < 0 ? 0 : move(listener, arrival, connection);
}

/* One round: known clients first, so that no number of new ones keeps them waiting. */
static int turn(tine_listener *listener, tine__deadline deadline, tine_connection **connection)
{
    struct epoll_event events[TINE__LISTENER_WATCHED];
    int count, rc = 0;

    end_pause(listener);
    count = epoll_wait(listener->epoll, events, TINE__LISTENER_WATCHED,
                       tine__deadline_left_ms(next_event(listener, deadline)));
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count && rc == 0; i++)
        if (events[i].data.u64 < TINE__ARRIVALS)
            rc = serve(listener, &events[i], connection);
    drop_late(listener);
    for (int i = 0; i < count && rc == 0; i++)
        if (events[i].data.u64 == TINE__LISTENER_SOCKET)
            rc = serve(listener, &events[i], connection);
    return rc;
}

static int accept_locked(tine_listener *listener, tine__deadline deadline,
                         tine_connection **connection)
{
    int rc;

    for (;;) {
        bool last = tine__deadline_passed(deadline);

        rc = turn(listener, deadline, connection);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        if (last)
            return -ETIMEDOUT;
    }
}

int tine_listener_accept(tine_listener *listener, int64_t timeout_ns, tine_connection **connection)
{
    tine__deadline deadline = tine__transport_deadline(timeout_ns);
    int rc;

    if (listener == NULL || connection == NULL)
        return -EINVAL;
    if (listener->generation != tine__fork_generation_fast())
        return TINE_EFORKED;
    rc = tine__futex_lock_until(&listener->lock, deadline);
    if (rc == 0) {
        set_alarm(listener, TINE__NEVER);
        rc = accept_locked(listener, deadline, connection);
        set_alarm(listener, next_event(listener, TINE__NEVER));
        tine__futex_unlock(&listener->lock);
    }
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}
