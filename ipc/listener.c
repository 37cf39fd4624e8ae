/* SPDX-License-Identifier: MIT */
/*
 * Listeners, and dialling them.
 *
 * accept() serves all clients that are not known yet, while it waits: each is an arrival with its
 * own handshake and deadline, and an epoll set tells which has said something. Nothing here waits
 * for one of them. There are at most ARRIVALS; who comes then replaces one of them, see first_to_yield().
 * So what strangers can cost is bounded, and who answers gets in between any number of those who
 * don't. Between two calls of accept the arrivals rest; the epoll set is readable when one of them,
 * or a new one, is worth a call.
 *
 * Where descriptors or memory run out, new clients wait in the kernel's queue for PAUSE_NS.
 *
 * Private to the process. The lock is one between its threads, held through accept: a second thread
 * that accepts waits for the first to get its client. A forked child may only close its copy: it
 * has no key, and the epoll set is shared with its parent.
 */
#include <tine/listener.h>

#include <tine/error.h>
#include <tine/time.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/address.h"
#include "ipc/connection.h"
#include "ipc/auth_handshake.h"
#include "ipc/transport_stream.h"
#include "lib/auto.h"
#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/log.h"
#include "lib/random.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "lib/waitable.h"

#define ARRIVALS          16
#define ADMIT_MAX         4 /* new clients at a time, between two looks at the others */
#define PAUSE_NS          TINE_MS(100)
#define GRACE_NS          TINE_MS(10) /* how long an arrival is safe from later ones */
#define BACKLOG_DEFAULT   128
#define MODE_DEFAULT      0600
#define MODES             0777
#define HANDSHAKE_DEFAULT TINE_SEC(5)
#define MESSAGE_DEFAULT   ((uint64_t)64 << 20)
#define RANDOM_NAME_BYTES 16
#define NEW_CLIENT        ARRIVALS /* in epoll's data: the listening socket; less: an arrival */
#define TIMER             (ARRIVALS + 1) /* likewise */
#define WATCHED           (ARRIVALS + 2)

_Static_assert(sizeof(tine_listener_options) == 120, "its size never changes");
_Static_assert(sizeof(tine_dial_options) == 112, "its size never changes");

/* What both sides of a connection are asked for. */
struct terms {
    struct tine__secret *key;
    uint64_t message_bytes_max;
    int32_t protocol, encryption, check;
    bool any_user;
};

/* A client whose handshake is under way. */
struct arrival {
    int fd; /* -1: none */
    uint64_t number, peer;
    tine__deadline deadline, grace;
    struct tine__auth auth;
};

struct tine_listener {
    int fd, epoll, timer;
    uint64_t generation;
    struct tine__futex_lock lock;
    struct terms terms;
    int64_t handshake_timeout_ns;
    struct tine__address_file file;
    char *address;
    bool paused;          /* no new clients are accepted: */
    bool crowded;         /* until a place is free, */
    tine__deadline pause; /* at most until then */
    tine__deadline alarm; /* of the timer, between calls of accept */
    uint64_t came;        /* clients so far */
    struct arrival arrivals[ARRIVALS];
};

/* ---- terms ----------------------------------------------------------------------------------- */

static int check_reserved(const uint8_t *bytes, size_t count, const uint64_t *words,
                          size_t word_count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return -E2BIG;
    for (size_t i = 0; i < word_count; i++)
        if (words[i] != 0)
            return -E2BIG;
    return 0;
}

static int check_terms(const struct terms *terms, const void *key, size_t key_size,
                       const struct tine__address *address)
{
    bool exposed = address->family != AF_UNIX || terms->any_user;

    if (terms->protocol < TINE_PROTOCOL_NATIVE || terms->protocol > TINE_PROTOCOL_PYTHON ||
        terms->encryption < TINE_ENCRYPT_AUTO || terms->encryption > TINE_ENCRYPT_NEVER ||
        terms->check < TINE_CHECK_DEFAULT || terms->check > TINE_CHECK_FULL)
        return -EINVAL;
    if (key == NULL && (key_size > 0 || exposed))
        return -EINVAL;
    if (terms->protocol == TINE_PROTOCOL_PYTHON && terms->encryption == TINE_ENCRYPT_ALWAYS)
        return -EINVAL;
    return 0;
}

static int take_key(struct terms *terms, const void *key, size_t key_size)
{
    if (terms->message_bytes_max == 0)
        terms->message_bytes_max = MESSAGE_DEFAULT;
    return key == NULL ? 0 : tine__secret_open(&terms->key, key, key_size);
}

static bool wants_encryption(const struct terms *terms, int fd)
{
    if (terms->protocol == TINE_PROTOCOL_PYTHON || terms->encryption == TINE_ENCRYPT_NEVER)
        return false;
    return terms->encryption == TINE_ENCRYPT_ALWAYS || !tine__address_is_local(fd);
}

/* What leaves the machine in clear has nothing else that finds damage. */
static int32_t wanted_check(const struct terms *terms, int fd)
{
    if (terms->check == TINE_CHECK_DEFAULT && !tine__address_is_local(fd))
        return TINE_CHECK_FULL;
    return terms->check;
}

/* Is the other end's user one that may be there? */
static int check_user(const struct terms *terms, int fd)
{
    uid_t user;
    int rc = tine__address_peer_user(fd, &user);

    if (rc == -ENOTSUP || terms->any_user)
        return 0;
    if (rc < 0)
        return rc;
    return user == geteuid() ? 0 : -EACCES;
}

static int begin_handshake(struct tine__auth *auth, const struct terms *terms, int fd,
                           bool listener)
{
    struct tine__auth_terms wish = {.key = terms->key,
                                    .limit = terms->message_bytes_max,
                                    .listener = listener,
                                    .python = terms->protocol == TINE_PROTOCOL_PYTHON,
                                    .encrypt = wants_encryption(terms, fd),
                                    .check = wanted_check(terms, fd)};

    tine__address_tune(fd);
    return tine__auth_begin(auth, &wish);
}

/* The handshake is over: the socket is given, also on failure. */
static int make_connection(tine_connection **connection, const struct terms *terms, int fd,
                           struct tine__auth *auth)
{
    struct tine__transport *transport;
    int rc =
        tine__transport_stream(&transport, fd, &auth->session,
                               terms->protocol == TINE_PROTOCOL_PYTHON, terms->message_bytes_max);

    tine__auth_end(auth);
    return rc < 0 ? rc : tine__connection_open(connection, transport, true, true);
}

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
static void drop(const tine_listener *listener, struct arrival *arrival)
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

static void drop_saying(tine_listener *listener, struct arrival *arrival, const char *why)
{
    log_drop(listener, arrival->fd, why);
    drop(listener, arrival);
}

static void drop_late(tine_listener *listener)
{
    int64_t now = tine__now_ns();

    for (int i = 0; i < ARRIVALS; i++)
        if (listener->arrivals[i].fd >= 0 && listener->arrivals[i].deadline <= now)
            drop_saying(listener, &listener->arrivals[i],
                        "it did not finish its handshake in time");
}

static struct arrival *free_place(tine_listener *listener)
{
    for (int i = 0; i < ARRIVALS; i++)
        if (listener->arrivals[i].fd < 0)
            return &listener->arrivals[i];
    return NULL;
}

static unsigned places_of(const tine_listener *listener, uint64_t peer)
{
    unsigned places = 0;

    for (int i = 0; i < ARRIVALS; i++)
        places += listener->arrivals[i].peer == peer;
    return places;
}

/* Whether a gives way before b. */
static bool yields(const tine_listener *listener, const struct arrival *a, const struct arrival *b)
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
static struct arrival *first_to_yield(tine_listener *listener)
{
    struct arrival *first = &listener->arrivals[0];

    for (int i = 1; i < ARRIVALS; i++)
        if (yields(listener, &listener->arrivals[i], first))
            first = &listener->arrivals[i];
    return first;
}

/* 1: *connection is there, 0: not (yet), negative: it cannot be had. */
static int move(tine_listener *listener, struct arrival *arrival, tine_connection **connection)
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
    rc = make_connection(connection, &listener->terms, fd, &arrival->auth);
    return rc < 0 ? rc : 1;
}

/* The socket is given. 0, or negative: it is dropped. */
static int place(tine_listener *listener, int fd, struct arrival **place)
{
    struct arrival *arrival;
    int rc = check_user(&listener->terms, fd);

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
    rc = begin_handshake(&arrival->auth, &listener->terms, fd, true);
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
    listener->paused = watch(listener, listener->fd, NEW_CLIENT) < 0;
    listener->crowded = false;
    listener->pause = tine__deadline_after(PAUSE_NS);
}

/* For one more. False: there is none; or all who are there are so new that it waits. */
static bool make_room(tine_listener *listener)
{
    struct arrival *first;

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
        struct arrival *arrival;

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
    for (int i = 0; i < ARRIVALS; i++)
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

/* Milliseconds for epoll_wait, rounded up. */
static int milliseconds(tine__deadline deadline)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);

    if (left < 0)
        return -1;
    left = left / TINE_MS(1) + (left % TINE_MS(1) != 0);
    return left < INT32_MAX ? (int)left : INT32_MAX;
}

static int serve(tine_listener *listener, const struct epoll_event *event,
                 tine_connection **connection)
{
    struct arrival *arrival;

    if (event->data.u64 == NEW_CLIENT)
        return listener->paused ? 0 : admit(listener, connection);
    arrival = &listener->arrivals[event->data.u64];
    return arrival->fd < 0 ? 0 : move(listener, arrival, connection);
}

/* One round: known clients first, so that no number of new ones keeps them waiting. */
static int turn(tine_listener *listener, tine__deadline deadline, tine_connection **connection)
{
    struct epoll_event events[WATCHED];
    int count, rc = 0;

    end_pause(listener);
    count =
        epoll_wait(listener->epoll, events, WATCHED, milliseconds(next_event(listener, deadline)));
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count && rc == 0; i++)
        if (events[i].data.u64 < ARRIVALS)
            rc = serve(listener, &events[i], connection);
    drop_late(listener);
    for (int i = 0; i < count && rc == 0; i++)
        if (events[i].data.u64 == NEW_CLIENT)
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

/* ---- open and close -------------------------------------------------------------------------- */

/* Where nobody else is; nothing is left of it when it closes or dies. */
static void random_address(char *text, size_t size)
{
    uint8_t bytes[RANDOM_NAME_BYTES];
    int length = snprintf(text, size, "unix:@tine-");

    tine__random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        length += snprintf(text + length, size - (size_t)length, "%02x", bytes[i]);
}

static int set_up(tine_listener *listener, const char *text, const tine_listener_options *options)
{
    struct tine__address_wish wish = {.mode = options->mode == 0 ? MODE_DEFAULT : options->mode,
                                      .backlog = options->backlog == 0 ? BACKLOG_DEFAULT
                                                                       : (int)options->backlog};
    char found[TINE__ADDRESS_TEXT];
    struct tine__address address;
    int rc = tine__address_parse(text, &address);

    if (rc == 0)
        rc = check_terms(&listener->terms, options->key, options->key_size, &address);
    if (rc == 0)
        rc = take_key(&listener->terms, options->key, options->key_size);
    if (rc == 0)
        rc = listener->epoll = tine__sys_epoll();
    if (rc >= 0)
        rc = listener->timer = tine__sys_timer();
    if (rc >= 0)
        rc = watch(listener, listener->timer, TIMER);
    if (rc >= 0)
        rc = listener->fd = tine__address_listen(&address, &wish, &listener->file);
    if (rc >= 0)
        rc = watch(listener, listener->fd, NEW_CLIENT);
    if (rc < 0)
        return rc;
    tine__address_text(listener->fd, false, found);
    listener->address = strdup(found[0] == '\0' ? text : found);
    return listener->address == NULL ? -ENOMEM : 0;
}

static tine_listener *new_listener(const tine_listener_options *options)
{
    tine_listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL)
        return NULL;
    listener->fd = listener->epoll = listener->timer = listener->file.directory = -1;
    listener->alarm = TINE__NEVER;
    listener->generation = tine__fork_generation();
    listener->terms = (struct terms){.message_bytes_max = options->message_bytes_max,
                                     .protocol = options->protocol,
                                     .encryption = options->encryption,
                                     .check = options->check,
                                     .any_user = options->any_user};
    listener->handshake_timeout_ns =
        options->handshake_timeout_ns == 0 ? HANDSHAKE_DEFAULT : options->handshake_timeout_ns;
    for (int i = 0; i < ARRIVALS; i++)
        listener->arrivals[i].fd = -1;
    return listener;
}

int tine_listener_open(tine_listener **listener, const char *address,
                       const tine_listener_options *options)
{
    static const tine_listener_options defaults;
    char own[TINE__ADDRESS_TEXT];
    tine_listener *made;
    int rc;

    if (options == NULL)
        options = &defaults;
    rc = check_reserved(options->reserved8, sizeof options->reserved8, options->reserved,
                        sizeof options->reserved / sizeof options->reserved[0]);
    if (rc < 0)
        return rc;
    if (listener == NULL || (options->mode & ~(uint32_t)MODES) != 0 ||
        options->backlog > INT32_MAX || options->handshake_timeout_ns < 0)
        return -EINVAL;
    made = new_listener(options);
    if (made == NULL)
        return -ENOMEM;
    if (address == NULL)
        random_address(own, sizeof own);
    rc = set_up(made, address == NULL ? own : address, options);
    if (rc < 0)
        tine_listener_close(made);
    else
        *listener = made;
    return rc;
}

const char *tine_listener_address(const tine_listener *listener)
{
    return listener == NULL ? NULL : listener->address;
}

int tine_listener_fileno(const tine_listener *listener)
{
    return listener == NULL ? -EINVAL : listener->epoll;
}

static int waitable_fd(const tine_waitable *waitable)
{
    return waitable->events == TINE_READABLE ? tine_listener_fileno(waitable->object) : -EINVAL;
}

static const struct tine__waitable_kind waitable_kind = {.descriptor = waitable_fd};

tine_waitable tine_listener_waitable(tine_listener *listener)
{
    return (tine_waitable){.kind = &waitable_kind, .object = listener, .events = TINE_READABLE};
}

void tine_listener_close(tine_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->generation == tine__fork_generation_fast())
        tine__address_file_remove(&listener->file);
    else
        tine__address_file_forget(&listener->file);
    /* Without unwatching: in a forked child the epoll set is the parent's, too. */
    for (int i = 0; i < ARRIVALS; i++) {
        if (listener->arrivals[i].fd >= 0)
            close(listener->arrivals[i].fd);
        tine__auth_end(&listener->arrivals[i].auth);
    }
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->epoll >= 0)
        close(listener->epoll);
    if (listener->timer >= 0)
        close(listener->timer);
    tine__secret_close(listener->terms.key);
    free(listener->address);
    free(listener);
}

/* ---- dial ------------------------------------------------------------------------------------ */

static int greet(int fd, const struct terms *terms, struct tine__auth *auth,
                 tine__deadline deadline)
{
    int rc = check_user(terms, fd);

    if (rc == 0)
        rc = begin_handshake(auth, terms, fd, false);
    if (rc == 0)
        rc = tine__handshake_run(fd, auth, deadline);
    return rc;
}

static int dial(tine_connection **connection, const char *text, const struct terms *terms,
                const struct tine__address *address, tine__deadline deadline)
{
    TINE__AUTO_FD fd = tine__address_connect(address, deadline);
    struct tine__auth auth = {.reason = NULL};
    int rc;

    if (fd < 0)
        return fd;
    rc = greet(fd, terms, &auth, deadline);
    if (rc < 0) {
        tine__log_warning("dial %s: the listener is not taken: %s", text,
                          auth.reason == NULL ? tine_strerror(rc) : auth.reason);
        tine__auth_end(&auth);
        return rc;
    }
    return make_connection(connection, terms, tine__take_fd(&fd), &auth);
}

int tine_dial(tine_connection **connection, const char *address, const tine_dial_options *options)
{
    static const tine_dial_options defaults;
    struct tine__address parsed;
    struct terms terms;
    tine__deadline deadline;
    int rc;

    if (options == NULL)
        options = &defaults;
    deadline = tine__deadline_after(options->timeout_ns == 0 ? -1 : options->timeout_ns);
    rc = check_reserved(options->reserved8, sizeof options->reserved8, options->reserved,
                        sizeof options->reserved / sizeof options->reserved[0]);
    if (rc < 0)
        return rc;
    if (connection == NULL)
        return -EINVAL;
    terms = (struct terms){.message_bytes_max = options->message_bytes_max,
                           .protocol = options->protocol,
                           .encryption = options->encryption,
                           .check = options->check,
                           .any_user = options->any_user};
    rc = tine__address_parse(address, &parsed);
    if (rc == 0)
        rc = check_terms(&terms, options->key, options->key_size, &parsed);
    if (rc == 0)
        rc = take_key(&terms, options->key, options->key_size);
    if (rc == 0)
        rc = dial(connection, address, &terms, &parsed, deadline);
    tine__secret_close(terms.key);
    return rc;
}
