/* SPDX-License-Identifier: MIT */
/*
 * The serving side of request and reply: named functions, called in whatever thread is in
 * tine_rpc_server_run(), for the clients of one listener.
 *
 * One epoll set watches the listener, the clients (ipc/rpc_peer.c) and a timer, which rings for
 * clients that take nothing, and for tine_rpc_server_stop(). The set is what an outside loop
 * watches, too. A turn takes a few messages of each client, so none keeps the others waiting; what
 * one sends that makes no sense costs it its connection.
 *
 * Private to the process. The table of functions and the list of clients belong to the thread in
 * run, one at a time (`running`); other threads meet it in the clients only, under their locks, and
 * in `stopped` and the timer. A forked child may only close its copy: the epoll set is shared with
 * its parent.
 */
#include <tine/rpc.h>

#include <tine/error.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ipc/address.h"
#include "ipc/rpc_peer.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "lib/waitable.h"

#define EVENTS               64
#define TURN_MESSAGES        16    /* of one client in a turn, */
#define TURN_BYTES           65536 /* or so many bytes of them */
#define ADMIT_MAX            16    /* new clients in a turn */
#define PEERS_DEFAULT        256
#define REQUESTS_DEFAULT     1024
#define BYTES_DEFAULT        ((uint64_t)64 << 20)
#define SEND_TIMEOUT_DEFAULT TINE_SEC(30)
#define UNKNOWN              ((tine__deadline)-1) /* what the timer is set to */

_Static_assert(sizeof(tine_rpc_server_options) == 64, "its size never changes");

struct entry {
    char *name;
    size_t size;
    tine_rpc_function *function;
    void *context;
};

struct tine_rpc_server {
    tine_listener *listener;
    uint64_t generation;
    int epoll, timer;
    tine__deadline timer_due;
    _Atomic bool running, stopped;
    struct tine__rpc_limits limits;
    uint32_t peers_max, peer_count;
    bool listening; /* the listener is in the epoll set */
    struct tine__rpc_peer *peers;
    struct entry *entries; /* sorted */
    size_t entry_count, entry_room;
    int served; /* in this run */
};

/* ---- functions ------------------------------------------------------------------------------- */

static int compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* The first entry that is not before the name. */
static size_t find(const tine_rpc_server *server, const char *name, size_t size)
{
    size_t low = 0, high = server->entry_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct entry *entry = &server->entries[middle];

        if (compare(entry->name, entry->size, name, size) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const tine_rpc_server *server, size_t at, const char *name, size_t size)
{
    return at < server->entry_count &&
           compare(server->entries[at].name, server->entries[at].size, name, size) == 0;
}

static int make_room(tine_rpc_server *server)
{
    size_t room = server->entry_room == 0 ? 8 : 2 * server->entry_room;
    struct entry *moved;

    if (server->entry_count < server->entry_room)
        return 0;
    moved = realloc(server->entries, room * sizeof *moved);
    if (moved == NULL)
        return -ENOMEM;
    server->entries = moved;
    server->entry_room = room;
    return 0;
}

static int insert(tine_rpc_server *server, size_t at, const struct entry *entry)
{
    int rc = make_room(server);

    if (rc < 0)
        return rc;
    memmove(&server->entries[at + 1], &server->entries[at],
            (server->entry_count - at) * sizeof *entry);
    server->entries[at] = *entry;
    server->entry_count++;
    return 0;
}

int tine_rpc_server_add(tine_rpc_server *server, const char *name, tine_rpc_function *function,
                        void *context)
{
    struct entry entry = {.function = function, .context = context};
    size_t at;
    int rc;

    if (server == NULL || function == NULL || !tine__rpc_is_name(name))
        return -EINVAL;
    entry.size = strlen(name);
    at = find(server, name, entry.size);
    if (is_at(server, at, name, entry.size))
        return -EEXIST;
    entry.name = strdup(name);
    if (entry.name == NULL)
        return -ENOMEM;
    rc = insert(server, at, &entry);
    if (rc < 0)
        free(entry.name);
    return rc;
}

/* ---- clients --------------------------------------------------------------------------------- */

/* While there are as many clients as may be, others wait in the listener. */
static void listen_or_not(tine_rpc_server *server)
{
    bool wanted = server->peer_count < server->peers_max;
    int fd = tine_listener_fileno(server->listener);

    if (wanted == server->listening)
        return;
    if (wanted)
        server->listening = tine__sys_epoll_add(server->epoll, fd, 0) == 0;
    else
        server->listening = epoll_ctl(server->epoll, EPOLL_CTL_DEL, fd, NULL) < 0;
}

static void log_drop(const tine_rpc_server *server, const struct tine__rpc_peer *peer,
                     const char *why)
{
    char text[TINE__ADDRESS_TEXT];

    if (!tine__log_wanted(TINE_LOG_WARNING))
        return;
    tine__address_text(peer->fd, true, text);
    tine__log_warning("rpc server %s: a client%s%s is dropped: %s",
                      tine_listener_address(server->listener), text[0] == '\0' ? "" : " at ", text,
                      why);
}

static void drop(tine_rpc_server *server, struct tine__rpc_peer *peer)
{
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    if (peer->previous != NULL)
        peer->previous->next = peer->next;
    else
        server->peers = peer->next;
    server->peer_count--;
    tine__rpc_peer_drop(peer);
}

static void admit(tine_rpc_server *server, tine_connection *connection)
{
    struct tine__rpc_peer *peer;
    int rc = tine__rpc_peer_open(&peer, connection, server->epoll, server->timer, &server->limits);

    if (rc < 0) {
        tine__log_warning("rpc server %s: a client is dropped: %s",
                          tine_listener_address(server->listener), tine_strerror(rc));
        tine_connection_close(connection);
        return;
    }
    peer->next = server->peers;
    if (peer->next != NULL)
        peer->next->previous = peer;
    server->peers = peer;
    server->peer_count++;
}

static void admit_all(tine_rpc_server *server)
{
    tine_connection *connection;

    for (int i = 0; i < ADMIT_MAX && server->peer_count < server->peers_max; i++) {
        if (tine_listener_accept(server->listener, 0, &connection) < 0)
            return; /* nobody, or what the listener's own log says */
        admit(server, connection);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static void call(tine_rpc_server *server, tine_rpc_request *request,
                 const struct tine__rpc_message *message)
{
    size_t at = find(server, message->name, message->name_size);
    int rc;

    if (is_at(server, at, message->name, message->name_size)) {
        rc = server->entries[at].function(request, server->entries[at].context);
        if (rc < 0)
            tine__rpc_request_fail(request, rc, tine_strerror(rc));
    } else {
        tine__rpc_request_fail(request, -ENOSYS, "there is no function of this name");
    }
    tine__rpc_request_unreference(request);
    if (server->served < INT32_MAX)
        server->served++;
}

/* 0: no more just now; 1: there may be more; negative: the client is to be dropped */
static int serve_one(tine_rpc_server *server, struct tine__rpc_peer *peer, size_t *taken)
{
    struct tine__rpc_message decoded;
    tine_rpc_request *request = NULL;
    size_t size = 0;
    void *message;
    int rc;

    if (!tine__rpc_peer_hungry(peer))
        return 0;
    rc = tine_connection_recv_bytes(peer->connection, 0, &message, &size);
    if (rc == 0)
        rc = tine__rpc_peer_take(peer, message, size, &request, &decoded);
    else if (rc == -EAGAIN)
        return 0;
    if (rc == 1)
        call(server, request, &decoded);
    *taken += size;
    return rc < 0 ? rc : 1;
}

static bool has_stopped(const tine_rpc_server *server)
{
    return atomic_load_explicit(&server->stopped, memory_order_seq_cst);
}

static int serve(tine_rpc_server *server, struct tine__rpc_peer *peer)
{
    size_t taken = 0;
    int rc = 1;

    for (int i = 0; i < TURN_MESSAGES && rc > 0 && taken < TURN_BYTES && !has_stopped(server); i++)
        rc = serve_one(server, peer, &taken);
    return rc;
}

static void drop_saying(tine_rpc_server *server, struct tine__rpc_peer *peer, int rc)
{
    if (rc != TINE_EEOF)
        log_drop(server, peer, tine_strerror(rc));
    drop(server, peer);
}

/* Something has happened to a client. */
static void move(tine_rpc_server *server, struct tine__rpc_peer *peer, uint32_t events)
{
    int rc = 0;

    if (events & EPOLLOUT)
        rc = tine__rpc_peer_flush(peer);
    if (rc == 0 && (events & EPOLLIN))
        rc = serve(server, peer);
    else if (rc == 0 && (events & (EPOLLHUP | EPOLLERR)))
        rc = TINE_EEOF; /* it is not read for now, and it is gone: nobody is left to answer to */
    if (rc < 0)
        drop_saying(server, peer, rc);
}

/* ---- time ------------------------------------------------------------------------------------ */

static tine__deadline next_due(const tine_rpc_server *server)
{
    tine__deadline due = TINE__NEVER, stalled;

    for (const struct tine__rpc_peer *peer = server->peers; peer != NULL; peer = peer->next) {
        stalled = atomic_load_explicit(&peer->stalled, memory_order_relaxed);
        if (stalled < due)
            due = stalled;
    }
    return due;
}

static void set_timer(tine_rpc_server *server)
{
    tine__deadline due = next_due(server);
    int64_t left;

    while (due != server->timer_due) {
        left = due == TINE__NEVER ? 0 : tine__deadline_left(due);
        if (due != TINE__NEVER && left == 0)
            left = 1; /* 0 would switch it off */
        if (tine__sys_timer_set(server->timer, left) < 0)
            return;
        server->timer_due = due;
        due = next_due(server); /* for who has set the timer meanwhile, to have it looked at */
    }
}

static void drop_stalled(tine_rpc_server *server)
{
    int64_t now = tine__now_ns();
    struct tine__rpc_peer *next;

    for (struct tine__rpc_peer *peer = server->peers; peer != NULL; peer = next) {
        next = peer->next;
        if (atomic_load_explicit(&peer->stalled, memory_order_relaxed) <= now) {
            log_drop(server, peer, "it does not take its answers");
            drop(server, peer);
        }
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/*
 * Each client stands in the set once, so no event of a turn is of a client that another has
 * dropped; the timer's work is done behind them all.
 */
static void handle(tine_rpc_server *server, const struct epoll_event *events, int count)
{
    bool ring = false;

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == server)
            ring = true;
        else if (events[i].data.ptr != NULL)
            move(server, events[i].data.ptr, events[i].events);
    }
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr == NULL)
            admit_all(server);
    if (!ring)
        return;
    server->timer_due = UNKNOWN;
    drop_stalled(server);
}

/* Waits until the deadline for something to do. 0, or what epoll says. */
static int turn(tine_rpc_server *server, tine__deadline deadline)
{
    struct epoll_event events[EVENTS];
    int count;

    set_timer(server);
    if (has_stopped(server)) /* after the timer is set: see tine_rpc_server_stop() */
        return 0;
    count = epoll_wait(server->epoll, events, EVENTS, tine__deadline_left_ms(deadline));
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    handle(server, events, count);
    listen_or_not(server);
    return 0;
}

int tine_rpc_server_run(tine_rpc_server *server, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc;

    if (server == NULL)
        return -EINVAL;
    if (server->generation != tine__fork_generation_fast())
        return TINE_EFORKED;
    if (atomic_exchange_explicit(&server->running, true, memory_order_acquire))
        return -EBUSY;
    server->served = 0;
    do
        rc = turn(server, deadline);
    while (rc == 0 && !has_stopped(server) && !tine__deadline_passed(deadline));
    if (atomic_exchange_explicit(&server->stopped, false, memory_order_seq_cst))
        server->timer_due = UNKNOWN;
    set_timer(server);
    rc = rc < 0 ? rc : server->served;
    /* pairs with the acquire of the next one */
    atomic_store_explicit(&server->running, false, memory_order_release);
    return rc;
}

/* The server sets its timer and looks at the flag then: it sees the flag, or the timer rings. */
void tine_rpc_server_stop(tine_rpc_server *server)
{
    if (server == NULL || server->generation != tine__fork_generation_fast())
        return;
    atomic_store_explicit(&server->stopped, true, memory_order_seq_cst);
    (void)tine__sys_timer_set(server->timer, 1);
}

int tine_rpc_server_fileno(const tine_rpc_server *server)
{
    return server == NULL ? -EINVAL : server->epoll;
}

static int waitable_fd(const tine_waitable *waitable)
{
    return waitable->events == TINE_READABLE ? tine_rpc_server_fileno(waitable->object) : -EINVAL;
}

static const struct tine__waitable_kind waitable_kind = {.descriptor = waitable_fd};

tine_waitable tine_rpc_server_waitable(tine_rpc_server *server)
{
    return (tine_waitable){.kind = &waitable_kind, .object = server, .events = TINE_READABLE};
}

/* ---- open and close -------------------------------------------------------------------------- */

static int set_up(tine_rpc_server *server)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = server};

    server->epoll = tine__sys_epoll();
    if (server->epoll < 0)
        return server->epoll;
    server->timer = tine__sys_timer();
    if (server->timer < 0)
        return server->timer;
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->timer, &event) < 0)
        return -errno;
    listen_or_not(server);
    return server->listening ? 0 : -ENOMEM;
}

static int check_options(const tine_rpc_server_options *options)
{
    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    return options->send_timeout_ns < 0 ? -EINVAL : 0;
}

static void take_options(tine_rpc_server *server, const tine_rpc_server_options *options)
{
    struct tine__rpc_limits *limits = &server->limits;

    server->peers_max = options->clients_max == 0 ? PEERS_DEFAULT : options->clients_max;
    limits->requests = options->requests_max == 0 ? REQUESTS_DEFAULT : options->requests_max;
    limits->bytes = options->bytes_max == 0 ? BYTES_DEFAULT : options->bytes_max;
    limits->send_timeout_ns =
        options->send_timeout_ns == 0 ? SEND_TIMEOUT_DEFAULT : options->send_timeout_ns;
}

int tine_rpc_server_open(tine_rpc_server **server, tine_listener *listener,
                         const tine_rpc_server_options *options)
{
    static const tine_rpc_server_options defaults;
    tine_rpc_server *made;
    int rc = options == NULL ? 0 : check_options(options);

    if (rc < 0)
        return rc;
    if (server == NULL || listener == NULL)
        return -EINVAL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->generation = tine__fork_generation();
    made->epoll = made->timer = -1;
    made->timer_due = TINE__NEVER;
    made->listener = listener;
    take_options(made, options == NULL ? &defaults : options);
    rc = set_up(made);
    if (rc < 0) {
        made->listener = NULL; /* it is still the caller's */
        tine_rpc_server_close(made);
    } else {
        *server = made;
    }
    return rc;
}

void tine_rpc_server_close(tine_rpc_server *server)
{
    if (server == NULL)
        return;
    while (server->peers != NULL)
        drop(server, server->peers);
    tine_listener_close(server->listener);
    if (server->timer >= 0)
        close(server->timer);
    if (server->epoll >= 0)
        close(server->epoll);
    for (size_t i = 0; i < server->entry_count; i++)
        free(server->entries[i].name);
    free(server->entries);
    free(server);
}
