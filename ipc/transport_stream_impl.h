/* SPDX-License-Identifier: MIT */
/* What the files of the stream transport share: the handle, and whose turn it is. */
#ifndef TINE_IPC_TRANSPORT_STREAM_IMPL_H
#define TINE_IPC_TRANSPORT_STREAM_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/stream.h"
#include "ipc/transport.h"
#include "lib/futex_lock.h"

/*
 * field          written by                                     order
 * send, receive  whoever begins an operation: CAS from its own  relaxed: guards nothing
 *                count to one more                              but private state
 * copies         who travels: one more                            relaxed: a number
 */
struct tine__turns_shm {
    _Atomic uint64_t send, receive;
    _Atomic uint64_t copies; /* that have their place */
};

struct tine__direction {
    struct tine__futex_lock lock;
    uint64_t turn; /* where this process left the counter */
    bool stale;    /* forked in the middle of an operation */
};

/* Descriptors. */
struct tine__beside {
    uint32_t count;
    int fds[TINE__DESCRIPTORS_MAX];
};

enum {
    TINE__NO_REST,
    TINE__REST,       /* waits for room in the socket */
    TINE__REST_LATER, /* waits for memory, or until fewer descriptors are under way */
};

struct tine__stream_end {
    struct tine__transport base;
    int fd;
    int send_verdict;      /* -EPIPE: nothing can be sent any more */
    _Atomic uint32_t rest; /* of a message: TINE__NO_REST … */
    _Atomic bool ended;    /* receiving has come to its end, good or bad */
    _Atomic uint64_t generation;
    struct tine__turns_shm *turns;
    int travel_fd; /* of the turns' memfd; -1: it has not travelled */
    struct tine__direction sending, receiving;
    struct tine__stream_rules rules;
    struct tine__stream_in in;
    struct tine__stream_out out;
    struct tine__beside come;  /* with the first byte of the message that is being received */
    struct tine__beside going; /* with that of the message in out; encrypted, they are our own */
};

/*
 * A handle without turns and machines yet, to be closed by its ops. The socket is given, also on
 * failure. NULL: no memory
 */
struct tine__stream_end *tine__stream_end_make(int fd, bool python);
/* Ours, and locked afterwards, if 0. -ETIMEDOUT, TINE_EFORKED */
int tine__stream_begin(struct tine__stream_end *end, struct tine__direction *direction,
                       tine__deadline deadline);

/* The op (ipc/transport.h). -EBUSY: in the middle of a message, or another thread is inside. */
int tine__stream_give(struct tine__transport *self, struct tine__handle_parts *parts);

#endif
