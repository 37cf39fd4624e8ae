/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a connection: one call that polls, and the entries for tine_wait(). A message that
 * the handle keeps makes it ready, although its descriptor knows nothing of it.
 */
#include "ipc/connection_impl.h"

#include "lib/waitable.h"

int tine_connection_poll(tine_connection *connection, int64_t timeout_ns)
{
    int rc = tine__connection_check_reading(connection);

    if (rc < 0)
        return rc;
    if (tine__connection_keeps(connection))
        return 1;
    rc = connection->transport->ops->poll(connection->transport,
                                          tine__transport_deadline(timeout_ns));
    /* meanwhile another thread may have kept one */
    return rc == 0 && tine__connection_keeps(connection) ? 1 : rc;
}

int tine_connection_fileno(const tine_connection *connection)
{
    return connection == NULL ? -EINVAL : connection->transport->ops->fd(connection->transport);
}

/* Kept messages are known here only; the rest is the transport's. */
static int waitable_ready(const tine_waitable *waitable, bool look)
{
    tine_connection *connection = waitable->object;
    int rc =
        waitable->events == TINE_READABLE ? tine__connection_check_reading(connection) : -EINVAL;

    (void)look;
    if (rc < 0)
        return rc;
    return tine__connection_keeps(connection) ? TINE_READABLE : 0;
}

static int waitable_fd(const tine_waitable *waitable)
{
    return tine_connection_fileno(waitable->object);
}

static const struct tine__waitable_kind waitable_kind = {.ready = waitable_ready,
                                                         .descriptor = waitable_fd};

/* Of a transport without a descriptor. */
static int point_ready(const tine_waitable *waitable, bool look)
{
    tine_connection *connection = waitable->object;
    int rc = waitable_ready(waitable, look);

    if (rc != 0)
        return rc;
    rc = connection->transport->ops->poll(connection->transport, TINE__AT_ONCE);
    return rc > 0 ? (int)TINE_READABLE : rc;
}

static int point_points(const tine_waitable *waitable, const void *points[TINE__POINTS_MAX])
{
    tine_connection *connection = waitable->object;

    points[0] = connection->transport->ops->point(connection->transport);
    return 1;
}

static void point_arm(const tine_waitable *waitable)
{
    tine_connection *connection = waitable->object;

    connection->transport->ops->arm(connection->transport);
}

static void point_fence(const tine_waitable *waitable)
{
    tine_connection *connection = waitable->object;

    connection->transport->ops->fence(connection->transport);
}

static const struct tine__waitable_kind point_kind = {
    .ready = point_ready, .points = point_points, .arm = point_arm, .fence = point_fence};

tine_waitable tine_connection_waitable(tine_connection *connection)
{
    bool has_point =
        connection != NULL && connection->readable && connection->transport->ops->point != NULL;

    return (tine_waitable){.kind = has_point ? &point_kind : &waitable_kind,
                           .object = connection,
                           .events = TINE_READABLE};
}
