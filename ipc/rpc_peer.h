/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_RPC_PEER_H
#define TINE_IPC_RPC_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tine/pipe.h>
#include <tine/rpc.h>

#include "ipc/rpc_message.h"
#include "lib/clock.h"
#include "lib/futex_lock.h"

/* What one client may cost. */
struct tine__rpc_limits {
    uint32_t requests; /* unanswered */
    uint64_t bytes;    /* of requests and of answers on their way */
    int64_t send_timeout_ns;
};

/* An answer that had no room in the socket. */
struct tine__rpc_unsent {
    struct tine__rpc_unsent *next;
    uint64_t id;
    tine_buffer message;
};

/*
 * A client of a server. The server has a reference, and each of its requests.
 *
 *     field                       written by                       read by
 *     connection, fd, epoll       the server's thread, under lock  that thread; others under lock
 *     all others up to `stalled`  under lock                       under lock
 *     stalled                     under lock                       anybody (atomic; relaxed, a look
 *                                                                  that is late does no harm)
 *     next, previous              the server's thread              that thread
 */
struct tine__rpc_peer {
    struct tine__rpc_limits limits;
    uint64_t generation;
    _Atomic uint32_t references;
    struct tine__futex_lock lock;
    tine_connection *connection; /* NULL: the client is gone */
    int fd, epoll, timer;        /* the last two: the server's; while the client is there */
    uint32_t watched;            /* events */
    uint32_t requests;
    uint64_t bytes;
    tine_rpc_request *unanswered;
    struct tine__rpc_unsent *first, **end;
    _Atomic tine__deadline stalled; /* when it has taken nothing for too long; TINE__NEVER */
    struct tine__rpc_peer *next, *previous;
};

struct tine_rpc_request {
    struct tine__rpc_peer *peer; /* a reference */
    tine_rpc_request *next, *previous;
    _Atomic uint32_t references; /* who is to answer, and the server while it calls the function */
    _Atomic bool answered;
    _Atomic bool cancelled; /* nobody wants the answer: the client has said so, or is gone */
    bool notice;
    uint64_t id;
    uint64_t bytes; /* that it counts for */
    void *message;
    const void *args;
    size_t args_size;
    struct tine__texts texts;
};

/* The connection is given on success. 0, -ENOMEM, or what epoll says. */
int tine__rpc_peer_open(struct tine__rpc_peer **peer, tine_connection *connection, int epoll,
                        int timer, const struct tine__rpc_limits *limits);
void tine__rpc_peer_unreference(struct tine__rpc_peer *peer);
/* Ends the connection; requests that are still unanswered lose their client. */
void tine__rpc_peer_drop(struct tine__rpc_peer *peer);

/*
 * The next message as a request; the message is given. 1: to be called, in *request, which has two
 * references; 0: nothing to call; TINE_EFORMAT, -ENOMEM: the client is to be dropped.
 */
int tine__rpc_peer_take(struct tine__rpc_peer *peer, void *message, size_t size,
                        tine_rpc_request **request, struct tine__rpc_message *decoded);
/* May another message be received? */
bool tine__rpc_peer_hungry(struct tine__rpc_peer *peer);

/*
 * The request's answer is sent, or waits for room; the message is taken out of the buffer. 0, also
 * if nobody wants it; -EMSGSIZE (too large for the client), -ENOMEM: it is still to be answered.
 */
int tine__rpc_peer_answer(tine_rpc_request *request, tine_buffer *message);
/* There can be no answer: the request is given up, and its client with it. */
void tine__rpc_peer_give_up(tine_rpc_request *request);
/* There may be room. 0, or a negative code: the client is to be dropped. */
int tine__rpc_peer_flush(struct tine__rpc_peer *peer);

void tine__rpc_request_unreference(tine_rpc_request *request);
/* What the function's code means: an answer, unless there is one. */
void tine__rpc_request_fail(tine_rpc_request *request, int code, const char *text);

#endif
