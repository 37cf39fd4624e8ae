/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_STREAM_H
#define TINE_IPC_TRANSPORT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/auth.h"
#include "ipc/transport.h"

/*
 * A connected stream socket, not blocking, as a transport: after the handshake that gave the
 * session. limit: of received messages; sent ones have the session's. The socket is given, also on
 * failure. -ENOMEM
 */
int tine__transport_stream(struct tine__transport **transport, int fd,
                           const struct tine__session *session, bool python, uint64_t limit);

/* In words[2] of the parts of such a handle. */
#define TINE__STREAM_PARTS UINT64_C(0x6d6165727473)

/* Another handle of a stream, from what ops->give() said. TINE_EFORMAT, -ENOMEM, -EMFILE */
int tine__transport_stream_take(const struct tine__handle_parts *parts,
                                struct tine__transport **transport);

#endif
