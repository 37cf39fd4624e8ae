/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_SOCKET_IMPL_H
#define TINE_IPC_TRANSPORT_SOCKET_IMPL_H

/* What the files of ipc/transport_socket share; see ipc/transport_socket.c. */

#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ipc/end.h"
#include "ipc/transport_socket.h"

struct socket_end {
    struct tine__end end;
    int fd;
    const struct tine__frame_rules *rules; /* of what both ends share */
    _Atomic uint32_t sequence;
};

/* One record, whole. */
struct buffer {
    uint8_t header[TINE__FRAME_BYTES];
    uint8_t payload[TINE__RECORD_MAX];
};

_Static_assert(sizeof(struct buffer) == TINE__FRAME_BYTES + TINE__RECORD_MAX, "no padding");

static inline struct socket_end *socket_of(struct tine__transport *transport)
{
    return (struct socket_end *)transport;
}

/* May the call itself wait? Else it is made without waiting, and wait_for() comes after it. */
static inline int waiting_flag(tine__deadline deadline)
{
    const int64_t slice_ns =
        TINE__LOOK_NS + TINE__LOOK_NS / 5; /* a blocking call may be that late */

    return deadline != TINE__AT_ONCE && tine__deadline_left(deadline) >= slice_ns ? 0
                                                                                  : MSG_DONTWAIT;
}

/* A frame's sequence is a number, and in bit 32 which end has sent it. */
static inline uint64_t sequence_of(uint64_t number, uint32_t side)
{
    return number >> 32 << 33 | (uint64_t)side << 32 | (uint32_t)number;
}

static inline uint64_t number_of(const struct tine__frame *frame)
{
    return frame->sequence >> 33 << 32 | (uint32_t)frame->sequence;
}

static inline uint32_t sender_of(const struct tine__frame *frame)
{
    return (uint32_t)(frame->sequence >> 32) & 1;
}

/* At most TINE__LOOK_NS: 0 (try again), or -ETIMEDOUT. */
int tine__socket_wait(const struct socket_end *end, short events, tine__deadline deadline);

/* The calls of struct tine__transport_ops. */
int tine__socket_send(struct tine__transport *transport, const struct tine__outgoing *message,
                      tine__deadline deadline);
int tine__socket_loan(struct tine__transport *transport, size_t size, tine__deadline deadline,
                      struct tine__incoming *message);
int tine__socket_send_loan(struct tine__transport *transport, const struct tine__incoming *message,
                           tine__deadline deadline);
int tine__socket_receive(struct tine__transport *transport, struct tine__incoming *message,
                         tine__deadline deadline);
int tine__socket_poll(struct tine__transport *transport, tine__deadline deadline);
void tine__socket_look_out(struct tine__end *end); /* as struct tine__end_kind says */

#endif
