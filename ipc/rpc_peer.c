/* SPDX-License-Identifier: MIT */
/*
 * One client of a server: how much it may cost, what it is owed, and what is watched for it.
 *
 * Nothing here waits. An answer goes out at once, from whatever thread, or stands in the queue
 * (`first`) until the socket has room, which the server's epoll set tells. A client with too many
 * unanswered requests, or too many bytes of requests and answers, is not read any more until that
 * is better: it waits, nobody else does. One that takes nothing of its answers for send_timeout_ns
 * is dropped.
 *
 * Requests outlive the client, for whoever has them may answer at any time: they lose it when it is
 * dropped. The lock is held for a moment, never while functions of the user's run. In a forked
 * child the lock may be somebody's for ever, so nothing is done there but giving memory back.
 */
#include "ipc/rpc_peer.h"

#include <tine/error.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ipc/connection.h"
#include "lib/fork.h"
#include "lib/sys_poll.h"

/* ---- what is watched ------------------------------------------------------------------------- */

static bool is_hungry_locked(const struct tine__rpc_peer *peer)
{
    return peer->requests < peer->limits.requests && peer->bytes < peer->limits.bytes;
}

bool tine__rpc_peer_hungry(struct tine__rpc_peer *peer)
{
    bool hungry;

    tine__futex_lock(&peer->lock);
    hungry = is_hungry_locked(peer);
    tine__futex_unlock(&peer->lock);
    return hungry;
}

static bool is_owed_locked(const struct tine__rpc_peer *peer)
{
    return peer->first != NULL || tine__connection_unsent(peer->connection);
}

static void stall_locked(struct tine__rpc_peer *peer, bool unsent)
{
    tine__deadline stalled = atomic_load_explicit(&peer->stalled, memory_order_relaxed);

    if (unsent == (stalled != TINE__NEVER))
        return;
    stalled = unsent ? tine__deadline_after(peer->limits.send_timeout_ns) : TINE__NEVER;
    atomic_store_explicit(&peer->stalled, stalled, memory_order_relaxed);
    if (unsent) /* the server has to look at its clock again */
        (void)tine__sys_timer_set(peer->timer, 1);
}

/* After every change of what the client has or is owed. */
static void watch_locked(struct tine__rpc_peer *peer)
{
    bool unsent = is_owed_locked(peer);
    struct epoll_event event = {.data.ptr = peer};

    event.events =
        (is_hungry_locked(peer) ? (uint32_t)EPOLLIN : 0) | (unsent ? (uint32_t)EPOLLOUT : 0);
    stall_locked(peer, unsent);
    if (event.events == peer->watched)
        return;
    if (epoll_ctl(peer->epoll, EPOLL_CTL_MOD, peer->fd, &event) == 0)
        peer->watched = event.events;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void forget_locked(tine_rpc_request *request)
{
    struct tine__rpc_peer *peer = request->peer;

    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        peer->unanswered = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    peer->requests--;
    peer->bytes -= request->bytes;
}

/* 0; -ENOMEM: the buffer is as before */
static int queue_locked(struct tine__rpc_peer *peer, uint64_t id, tine_buffer *message)
{
    struct tine__rpc_unsent *unsent = malloc(sizeof *unsent);

    if (unsent == NULL)
        return -ENOMEM;
    *unsent = (struct tine__rpc_unsent){.id = id, .message = *message};
    *message = (tine_buffer){.data = NULL};
    *peer->end = unsent;
    peer->end = &unsent->next;
    peer->requests++;
    peer->bytes += unsent->message.size;
    return 0;
}

static void unqueue_locked(struct tine__rpc_peer *peer)
{
    struct tine__rpc_unsent *unsent = peer->first;

    peer->first = unsent->next;
    if (peer->first == NULL)
        peer->end = &peer->first;
    peer->requests--;
    peer->bytes -= unsent->message.size;
    tine_buffer_free(&unsent->message);
    free(unsent);
}

/* 0: it is sent, or queued; or the code that says why it can't be answered so */
static int send_locked(struct tine__rpc_peer *peer, uint64_t id, tine_buffer *message)
{
    int rc = -EAGAIN;

    if (peer->first == NULL)
        rc = tine_connection_send_bytes(peer->connection, message->data, message->size, 0);
    if (rc == -EAGAIN)
        rc = queue_locked(peer, id, message);
    /* Others mean that the client is gone: whoever reads from it is told. */
    return rc == -EMSGSIZE || rc == -ENOMEM ? rc : 0;
}

int tine__rpc_peer_answer(tine_rpc_request *request, tine_buffer *message)
{
    struct tine__rpc_peer *peer = request->peer;
    int rc = 0;

    tine__futex_lock(&peer->lock);
    if (peer->connection != NULL) {
        if (!atomic_load_explicit(&request->cancelled, memory_order_relaxed) && !request->notice)
            rc = send_locked(peer, request->id, message);
        if (rc == 0)
            forget_locked(request);
        watch_locked(peer);
    }
    tine__futex_unlock(&peer->lock);
    return rc;
}

void tine__rpc_peer_give_up(tine_rpc_request *request)
{
    struct tine__rpc_peer *peer = request->peer;

    tine__futex_lock(&peer->lock);
    if (peer->connection != NULL) {
        forget_locked(request);
        (void)shutdown(peer->fd, SHUT_RDWR); /* the server's thread finds the end */
    }
    tine__futex_unlock(&peer->lock);
    tine__rpc_request_unreference(request);
}

/* The first of the queue is more than the client takes: it is told so instead. */
static int apologise_locked(struct tine__rpc_peer *peer)
{
    struct tine__rpc_unsent *unsent = peer->first;
    size_t before = unsent->message.size;
    int rc;

    tine_buffer_clear(&unsent->message);
    rc = tine__rpc_put_error(&unsent->message, unsent->id, -EMSGSIZE, tine_strerror(-EMSGSIZE));
    peer->bytes -= before;
    peer->bytes += unsent->message.size;
    return unsent->message.size < before ? rc : -EMSGSIZE;
}

static int flush_locked(struct tine__rpc_peer *peer)
{
    int rc = 0;

    while (peer->first != NULL && rc == 0) {
        const tine_buffer *message = &peer->first->message;

        rc = tine_connection_send_bytes(peer->connection, message->data, message->size, 0);
        if (rc == 0)
            unqueue_locked(peer);
        else if (rc == -EMSGSIZE)
            rc = apologise_locked(peer);
    }
    if (tine__connection_unsent(peer->connection))
        (void)!tine_connection_poll(peer->connection, 0); /* sends on what it can */
    return rc == -EAGAIN ? 0 : rc;
}

int tine__rpc_peer_flush(struct tine__rpc_peer *peer)
{
    int rc;

    tine__futex_lock(&peer->lock);
    rc = flush_locked(peer);
    /* There was room, so it takes what it gets: from here on it has its time anew. */
    if (is_owed_locked(peer))
        atomic_store_explicit(&peer->stalled, tine__deadline_after(peer->limits.send_timeout_ns),
                              memory_order_relaxed);
    watch_locked(peer);
    tine__futex_unlock(&peer->lock);
    return rc;
}

/* ---- requests -------------------------------------------------------------------------------- */

void tine__rpc_request_unreference(tine_rpc_request *request)
{
    if (atomic_fetch_sub_explicit(&request->references, 1, memory_order_acq_rel) > 1)
        return;
    tine__rpc_peer_unreference(request->peer);
    tine__texts_free(&request->texts);
    free(request->message);
    free(request);
}

static void add_request(struct tine__rpc_peer *peer, tine_rpc_request *request)
{
    tine__futex_lock(&peer->lock);
    request->next = peer->unanswered;
    if (request->next != NULL)
        request->next->previous = request;
    peer->unanswered = request;
    peer->requests++;
    peer->bytes += request->bytes;
    watch_locked(peer);
    tine__futex_unlock(&peer->lock);
}

static int make_request(struct tine__rpc_peer *peer, void *message, size_t size,
                        const struct tine__rpc_message *decoded, tine_rpc_request **request)
{
    tine_rpc_request *made = calloc(1, sizeof *made);

    if (made == NULL)
        return -ENOMEM;
    atomic_fetch_add_explicit(&peer->references, 1, memory_order_relaxed);
    atomic_init(&made->references, 2);
    made->peer = peer;
    made->notice = decoded->kind == TINE__RPC_NOTICE;
    made->id = decoded->id;
    made->bytes = size;
    made->message = message;
    made->args = decoded->value;
    made->args_size = decoded->value_size;
    add_request(peer, made);
    *request = made;
    return 1;
}

static void cancel(struct tine__rpc_peer *peer, uint64_t id)
{
    tine__futex_lock(&peer->lock);
    for (tine_rpc_request *request = peer->unanswered; request != NULL; request = request->next)
        if (request->id == id && !request->notice)
            atomic_store_explicit(&request->cancelled, true, memory_order_relaxed);
    tine__futex_unlock(&peer->lock);
}

int tine__rpc_peer_take(struct tine__rpc_peer *peer, void *message, size_t size,
                        tine_rpc_request **request, struct tine__rpc_message *decoded)
{
    int rc = tine__rpc_decode(message, size, decoded);

    if (rc == 0 && decoded->kind == TINE__RPC_CANCEL)
        cancel(peer, decoded->id);
    else if (rc == 0)
        rc = decoded->kind == TINE__RPC_ANSWER
                 ? TINE_EFORMAT /* it was asked nothing */
                 : make_request(peer, message, size, decoded, request);
    if (rc <= 0)
        free(message);
    return rc;
}

/* ---- coming and going ------------------------------------------------------------------------ */

void tine__rpc_peer_unreference(struct tine__rpc_peer *peer)
{
    if (atomic_fetch_sub_explicit(&peer->references, 1, memory_order_acq_rel) > 1)
        return;
    free(peer);
}

int tine__rpc_peer_open(struct tine__rpc_peer **peer, tine_connection *connection, int epoll,
                        int timer, const struct tine__rpc_limits *limits)
{
    struct tine__rpc_peer *made = calloc(1, sizeof *made);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = made};

    if (made == NULL)
        return -ENOMEM;
    made->limits = *limits;
    made->generation = tine__fork_generation();
    atomic_init(&made->references, 1);
    made->connection = connection;
    made->fd = tine_connection_fileno(connection);
    made->epoll = epoll;
    made->timer = timer;
    made->watched = event.events;
    made->end = &made->first;
    atomic_init(&made->stalled, TINE__NEVER);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, made->fd, &event) < 0) {
        int rc = -errno;

        free(made);
        return rc;
    }
    *peer = made;
    return 0;
}

static void drop_locked(struct tine__rpc_peer *peer)
{
    while (peer->first != NULL)
        unqueue_locked(peer);
    for (tine_rpc_request *request = peer->unanswered; request != NULL; request = request->next)
        atomic_store_explicit(&request->cancelled, true, memory_order_relaxed);
    peer->unanswered = NULL;
    /* Unwatched first: a socket that a forked child has, too, would stay in the epoll set. */
    epoll_ctl(peer->epoll, EPOLL_CTL_DEL, peer->fd, NULL);
    tine_connection_close(peer->connection);
    peer->connection = NULL;
}

void tine__rpc_peer_drop(struct tine__rpc_peer *peer)
{
    if (peer->generation != tine__fork_generation_fast()) {
        tine_connection_close(peer->connection);
        tine__rpc_peer_unreference(peer);
        return;
    }
    tine__futex_lock(&peer->lock);
    drop_locked(peer);
    tine__futex_unlock(&peer->lock);
    tine__rpc_peer_unreference(peer);
}
