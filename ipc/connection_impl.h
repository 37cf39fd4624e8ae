/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_CONNECTION_IMPL_H
#define TINE_IPC_CONNECTION_IMPL_H

/* What the files of ipc/connection share; see ipc/connection.c. */

#include <errno.h>
#include <stdatomic.h>

#include "ipc/connection.h"
#include "lib/futex_lock.h"

struct tine_connection {
    struct tine__transport *transport;
    bool readable, writable;
    _Atomic uint64_t generation; /* of the process that the following belongs to */
    struct tine__futex_lock lock;
    struct kept *_Atomic first;     /* messages that did not fit; changed under the lock */
    struct tine__incoming borrowed; /* what the last tine_connection_recv() gave pointers into */
    tine_buffer *_Atomic scratch;   /* taken by who packs */
};

/* The timeout 0 has a code of its own. */
static inline int said_at_once(int rc, int64_t timeout_ns)
{
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

/* May this process receive by it, or send? Then what the handle keeps is its own. -EINVAL,
   -EBADF */
int tine__connection_check_reading(tine_connection *connection);
int tine__connection_check_writing(const tine_connection *connection);

/* The next message as a whole, kept or new; checks first. To be given to drop, or its parts. */
int tine__connection_receive(tine_connection *connection, int64_t timeout_ns,
                             struct tine__incoming *message);
/* As that, but one that has descriptors with it is kept: -EOPNOTSUPP. */
int tine__connection_receive_bare(tine_connection *connection, int64_t timeout_ns,
                                  struct tine__incoming *message);
int tine__connection_send(tine_connection *connection, const struct tine__outgoing *message,
                          int64_t timeout_ns);

void tine__incoming_close_descriptors(struct tine__incoming *message);
void tine__scratch_free(tine_buffer *scratch);

#endif
