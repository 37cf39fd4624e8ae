/* SPDX-License-Identifier: MIT */
/*
 * Connections as values (`oc`): what a handle consists of is its transport's, but for the
 * directions that it may be used in.
 */
#include "ipc/connection_impl.h"

#include <tine/error.h>

#include "ipc/transport_ring.h"
#include "ipc/transport_socket.h"
#include "ipc/transport_stream.h"

enum { READABLE = 1, WRITABLE = 2 }; /* words[3] */

static int give_connection(const void *handle, struct tine__handle_parts *parts)
{
    const tine_connection *connection = handle;
    struct tine__transport *transport = connection->transport;

    parts->words[3] = (connection->readable ? READABLE : 0) | (connection->writable ? WRITABLE : 0);
    return transport->ops->give != NULL ? transport->ops->give(transport, parts) : -ENOTSUP;
}

static int take_connection(const struct tine__handle_parts *parts, void **handle)
{
    bool readable = parts->words[3] & READABLE, writable = parts->words[3] & WRITABLE;
    struct tine__transport *transport;
    tine_connection *connection;
    int rc;

    if (parts->words[3] > (READABLE | WRITABLE))
        return TINE_EFORMAT;
    rc = parts->words[2] == TINE__STREAM_PARTS ? tine__transport_stream_take(parts, &transport)
         : tine__transport_ring_gave(parts)
             ? tine__transport_ring_take(parts, readable, writable, &transport)
             : tine__transport_socket_take(parts, &transport);
    if (rc == 0)
        rc = tine__connection_open(&connection, transport, readable, writable);
    if (rc == 0)
        *handle = connection;
    return rc;
}

static void close_connection(void *handle)
{
    tine_connection_close(handle);
}

const struct tine__handle_kind tine__connection_kind = {
    .letter = 'c', .give = give_connection, .take = take_connection, .close = close_connection};
