/* SPDX-License-Identifier: MIT */
/*
 * Messages where they lie: received ones that are read in place, and loans that are built where
 * their receiver will read them. A tine_message hides what the transport needs to give the memory
 * back; whoever has it may do so, and a forked child's copy of one that lies in a block does
 * nothing (ipc/blocks.c).
 */
#include "ipc/connection_impl.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(tine_message) == 64, "released size");

/* What tine_message.opaque holds. */
struct hidden {
    void (*release)(struct tine__incoming *message);
    struct tine__transport *holder;
    uint64_t token;
};

_Static_assert(sizeof(struct hidden) <= sizeof((tine_message *)0)->opaque, "tine/pipe.h");

static void show(tine_message *message, const struct tine__incoming *incoming)
{
    struct hidden hidden = {incoming->release, incoming->holder, incoming->token};

    *message = (tine_message){.data = incoming->data, .size = incoming->size};
    memcpy(message->opaque, &hidden, sizeof hidden);
}

static struct tine__incoming behind(const tine_message *message)
{
    struct hidden hidden;

    memcpy(&hidden, message->opaque, sizeof hidden);
    return (struct tine__incoming){
        .data = message->data,
        .size = message->size,
        .release = hidden.release,
        .holder = hidden.holder,
        .token = hidden.token,
    };
}

int tine_connection_recv_view(tine_connection *connection, int64_t timeout_ns,
                              tine_message *message)
{
    struct tine__incoming incoming;
    int rc = message == NULL ? -EINVAL
                             : tine__connection_receive_bare(connection, timeout_ns, &incoming);

    if (rc < 0)
        return rc;
    show(message, &incoming);
    return 0;
}

void tine_message_release(tine_message *message)
{
    struct tine__incoming incoming;

    if (message == NULL)
        return;
    incoming = behind(message);
    *message = (tine_message){.data = NULL};
    tine__incoming_release(&incoming);
}

int tine_connection_recv_reader(tine_connection *connection, const tine_limits *limits,
                                int64_t timeout_ns, tine_message *message, tine_reader *reader)
{
    tine_message received;
    int rc = message == NULL || reader == NULL
                 ? -EINVAL
                 : tine_connection_recv_view(connection, timeout_ns, &received);

    if (rc < 0)
        return rc;
    rc = tine_reader_init(reader, received.data, received.size, limits);
    if (rc < 0)
        tine_message_release(&received);
    else
        *message = received;
    return rc;
}

/* ---- built in place -------------------------------------------------------------------------- */

/* Where the transport has no better place: copied when it is sent. */
static void release_own(struct tine__incoming *message)
{
    free((void *)(uintptr_t)message->data);
}

static int loan_own(size_t size, struct tine__incoming *message)
{
    message->data = malloc(size > 0 ? size : 1);
    message->size = size;
    message->release = release_own;
    message->token = size;
    return message->data != NULL ? 0 : -ENOMEM;
}

int tine_connection_loan(tine_connection *connection, size_t size, int64_t timeout_ns,
                         tine_message *message, void **data)
{
    int rc = message == NULL || data == NULL ? -EINVAL : tine__connection_check_writing(connection);
    struct tine__transport *transport;
    struct tine__incoming incoming;

    if (rc < 0)
        return rc;
    transport = connection->transport;
    incoming.holder = transport;
    rc = transport->ops->loan == NULL
             ? -ENOTSUP
             : said_at_once(transport->ops->loan(transport, size,
                                                 tine__transport_deadline(timeout_ns), &incoming),
                            timeout_ns);
    if (rc == -ENOTSUP)
        rc = loan_own(size, &incoming);
    if (rc < 0)
        return rc;
    show(message, &incoming);
    *data = (void *)(uintptr_t)incoming.data;
    return 0;
}

int tine_connection_send_loan(tine_connection *connection, tine_message *message,
                              int64_t timeout_ns)
{
    int rc = message == NULL ? -EINVAL : tine__connection_check_writing(connection);
    struct tine__transport *transport;
    struct tine__incoming incoming;

    if (rc < 0)
        return rc;
    transport = connection->transport;
    incoming = behind(message);
    if (incoming.release == NULL || incoming.holder != transport)
        return -EINVAL;
    if (incoming.release == release_own) {
        rc = incoming.size > incoming.token
                 ? -EINVAL
                 : tine_connection_send_bytes(connection, incoming.data, incoming.size, timeout_ns);
        if (rc == 0)
            tine__incoming_release(&incoming);
    } else {
        rc = transport->ops->send_loan == NULL
                 ? -EINVAL
                 : said_at_once(transport->ops->send_loan(transport, &incoming,
                                                          tine__transport_deadline(timeout_ns)),
                                timeout_ns);
    }
    if (rc == 0)
        *message = (tine_message){.data = NULL};
    return rc;
}
