/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_H
#define TINE_IPC_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/clock.h"
#include "lib/handle.h"

/*
 * What carries the messages of a connection: whole ones, each with up to 16 descriptors beside it.
 * A transport is private to its process; a forked child's copy is a handle of its own, to be closed
 * there. Any number of threads and processes may call it at once: a message is sent and received as
 * a whole or not at all.
 *
 *     transport_socket   AF_UNIX SOCK_SEQPACKET inside the family
 *     transport_ring     shared memory inside the family; a socket for descriptors
 *     transport_stream   a stream socket, outside of the family; descriptors on unix sockets
 */
struct tine__transport;

enum { TINE__DESCRIPTORS_MAX = 16 };

/* A message to be sent. Borrowed during the call. */
struct tine__outgoing {
    const void *data;
    size_t size;
    const int *fds;
    uint32_t fd_count;
};

/*
 * A message that has come. The receiver sets into and room (or zeroes them), and nothing else; then
 * data == into, and release is NULL, if the message fitted there. Else it lies where release(), to
 * be called once and before the transport is closed, gives it back. The descriptors are the
 * receiver's, CLOEXEC.
 */
struct tine__incoming {
    void *into;
    size_t room;
    const void *data;
    size_t size;
    void (*release)(struct tine__incoming *message);
    struct tine__transport *holder; /* for release */
    uint64_t token;                 /* likewise */
    uint32_t fd_count;
    int fds[TINE__DESCRIPTORS_MAX];
};

/*
 * send     0; -ETIMEDOUT, -EPIPE (nobody can receive any more), -EMSGSIZE (larger than allowed),
 *          -ENOMEM, -EOPNOTSUPP (descriptors, where none can go along)
 * receive  0; -ETIMEDOUT, TINE_EEOF (nobody can send any more, and all that was sent is received);
 *          TINE_EFORMAT, TINE_ECHECKSUM, -EPROTO (that one message is lost; of a stream
 *          all that follow, too); -EMFILE (no room for its descriptors: it is lost)
 * loan     data: memory for a message of that size, where its receiver can read it; release() gives
 *          it back. As send, and -ENOTSUP: there is none such; NULL: never
 * send_loan  as send, of a loan of this process's, of which size may have become smaller; else
 *          -EINVAL. 0: it is sent, and not to be released; else it is as before
 * poll     1: receive would not wait (a message, the end, or one that somebody else is quicker to
 *          take), 0: not before the deadline
 * fd       to be polled for POLLIN by others, never read; -ENOTSUP: there is none, but a point
 * point    where a change is rung when there may be something to receive: in the family heap
 * arm      from the next fence on that is done (tine__waiters_watch)
 * fence    tine__fence_heavy() does it for all, or this for one, where that fails; then poll
 * unsent   true: a part of a message whose send has ended waits for room, and goes out with the
 *          next calls; NULL: never
 * give     what a handle of the same end consists of, to travel to another process (words[3] is
 *          left to the connection); NULL: it cannot
 * close    gives this process's handle back
 *
 * A deadline of TINE__AT_ONCE has passed already: try once, without looking at the clock. Nobody
 * sleeps for longer than TINE__LOOK_NS without looking whether those whom it waits for still live.
 */
struct tine__transport_ops {
    int (*send)(struct tine__transport *self, const struct tine__outgoing *message,
                tine__deadline deadline);
    int (*receive)(struct tine__transport *self, struct tine__incoming *message,
                   tine__deadline deadline);
    int (*loan)(struct tine__transport *self, size_t size, tine__deadline deadline,
                struct tine__incoming *message);
    int (*send_loan)(struct tine__transport *self, const struct tine__incoming *message,
                     tine__deadline deadline);
    int (*poll)(struct tine__transport *self, tine__deadline deadline);
    int (*fd)(struct tine__transport *self);
    const void *(*point)(
        struct tine__transport *self); /* NULL, as arm, where there is a descriptor */
    void (*arm)(struct tine__transport *self);
    void (*fence)(struct tine__transport *self);
    bool (*unsent)(struct tine__transport *self);
    int (*give)(struct tine__transport *self, struct tine__handle_parts *parts);
    void (*close)(struct tine__transport *self);
};

/* In front of what the transport needs for itself. */
struct tine__transport {
    const struct tine__transport_ops *ops;
    bool family; /* the other end is in the family: pointers and functions mean the same there */
    bool descriptors; /* it carries them */
};

#define TINE__AT_ONCE ((tine__deadline)0)

static inline tine__deadline tine__transport_deadline(int64_t timeout_ns)
{
    return timeout_ns == 0 ? TINE__AT_ONCE : tine__deadline_after(timeout_ns);
}

static inline void tine__incoming_release(struct tine__incoming *message)
{
    void (*release)(struct tine__incoming * message) = message->release;

    message->release = NULL; /* first, for a child that is forked meanwhile */
    if (release != NULL)
        release(message);
}

#endif
