/* SPDX-License-Identifier: MIT */
/*
 * Connections: the calls that all transports have in common. What goes over the wire, and how one
 * waits, is the transport's (ipc/transport.h); this file packs and unpacks, and keeps what could
 * not be handed out.
 *
 * A handle is private to its process. Messages that it keeps belong to the process that received
 * them: a forked child's copy of the handle begins without (`generation`). Any number of threads
 * may call at once: kept messages are under `lock`, all else is the transport's.
 */
#include "ipc/connection_impl.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/copy.h"
#include "lib/fork.h"

#define ADOPTING ((uint64_t)1 << 63) /* beside the generation of the process that does */

/* A message that did not fit, in the order in which they came. */
struct kept {
    struct tine__incoming message;
    struct kept *next;
};

_Static_assert(sizeof(tine_pipe_options) == 64, "released size");

/* ---- what the handle keeps ------------------------------------------------------------------- */

void tine__incoming_close_descriptors(struct tine__incoming *message)
{
    for (uint32_t i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
}

static void drop(struct tine__incoming *message)
{
    tine__incoming_close_descriptors(message);
    tine__incoming_release(message);
}

static void drop_all(tine_connection *connection)
{
    struct kept *kept = atomic_exchange_explicit(&connection->first, NULL, memory_order_relaxed);

    while (kept != NULL) {
        struct kept *next = kept->next;

        drop(&kept->message);
        free(kept);
        kept = next;
    }
    tine__incoming_release(&connection->borrowed);
}

/*
 * In a forked child, at its first call. Its threads may come at once; a child forked meanwhile has
 * nobody who would finish, and begins anew.
 */
static void adopt_slow(tine_connection *connection, uint64_t generation)
{
    uint64_t seen = atomic_load_explicit(&connection->generation, memory_order_acquire);

    while (seen != generation) {
        if (seen == (generation | ADOPTING)) {
            sched_yield();
        } else if (atomic_compare_exchange_strong_explicit(
                       &connection->generation, &seen, generation | ADOPTING, memory_order_acquire,
                       memory_order_relaxed)) {
            connection->lock = (struct tine__futex_lock){0};
            drop_all(connection);
            /* pairs with the acquire in adopt() */
            atomic_store_explicit(&connection->generation, generation, memory_order_release);
            return;
        }
        seen = atomic_load_explicit(&connection->generation, memory_order_acquire);
    }
}

static inline void adopt(tine_connection *connection)
{
    uint64_t generation = tine__fork_generation_fast();

    if (atomic_load_explicit(&connection->generation, memory_order_acquire) != generation)
        adopt_slow(connection, generation);
}

/* 0; -ENOMEM: it is gone. The message is given. */
static int keep(tine_connection *connection, struct tine__incoming *message)
{
    struct kept *kept = malloc(sizeof *kept), *last;

    if (kept == NULL) {
        drop(message);
        return -ENOMEM;
    }
    kept->message = *message;
    kept->next = NULL;
    tine__futex_lock(&connection->lock);
    last = atomic_load_explicit(&connection->first, memory_order_relaxed);
    while (last != NULL && last->next != NULL)
        last = last->next;
    if (last != NULL)
        last->next = kept;
    else
        atomic_store_explicit(&connection->first, kept, memory_order_relaxed);
    tine__futex_unlock(&connection->lock);
    return 0;
}

static __attribute__((noinline)) int take_first(tine_connection *connection, size_t room,
                                                struct tine__incoming *message, size_t *size)
{
    struct kept *kept;
    int rc = 0;

    tine__futex_lock(&connection->lock);
    kept = atomic_load_explicit(&connection->first, memory_order_relaxed);
    if (kept == NULL) {
        rc = -ENOENT;
    } else if (kept->message.size > room) {
        *size = kept->message.size;
        rc = -EMSGSIZE;
    } else {
        *message = kept->message;
        atomic_store_explicit(&connection->first, kept->next, memory_order_relaxed);
    }
    tine__futex_unlock(&connection->lock);
    if (rc == 0)
        free(kept);
    return rc;
}

/* The first kept message: 0; -ENOENT: there is none; -EMSGSIZE: larger than room, *size says so. */
static inline int take_kept(tine_connection *connection, size_t room,
                            struct tine__incoming *message, size_t *size)
{
    /* relaxed: who keeps it and who asks are the same thread, or have no order between them */
    if (atomic_load_explicit(&connection->first, memory_order_relaxed) == NULL)
        return -ENOENT;
    return take_first(connection, room, message, size);
}

static bool keeps_descriptors(tine_connection *connection)
{
    const struct kept *kept;
    bool yes;

    if (atomic_load_explicit(&connection->first, memory_order_relaxed) == NULL)
        return false;
    tine__futex_lock(&connection->lock);
    kept = atomic_load_explicit(&connection->first, memory_order_relaxed);
    yes = kept != NULL && kept->message.fd_count > 0;
    tine__futex_unlock(&connection->lock);
    return yes;
}

bool tine__connection_keeps(tine_connection *connection)
{
    adopt(connection);
    return atomic_load_explicit(&connection->first, memory_order_relaxed) != NULL;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static inline int check_reading(tine_connection *connection)
{
    if (connection == NULL)
        return -EINVAL;
    if (!connection->readable)
        return -EBADF;
    adopt(connection);
    return 0;
}

int tine__connection_check_reading(tine_connection *connection)
{
    return check_reading(connection);
}

static bool is_vain(int rc)
{
    return rc == TINE_EEOF || rc == -ETIMEDOUT;
}

/*
 * The next message, kept or new; a new one perhaps in memory of the caller's: message->into and
 * room. -EMSGSIZE: the next one is kept, and larger than fits, as *size says. While this one
 * waited, another thread may have kept what was to come, so the end is not said before that is
 * looked at.
 */
static int receive(tine_connection *connection, int64_t timeout_ns, size_t fits,
                   struct tine__incoming *message, size_t *size)
{
    struct tine__transport *transport = connection->transport;
    int rc = take_kept(connection, fits, message, size), kept;

    if (rc != -ENOENT)
        return rc;
    rc = transport->ops->receive(transport, message, tine__transport_deadline(timeout_ns));
    kept = is_vain(rc) ? take_kept(connection, fits, message, size) : -ENOENT;
    return kept != -ENOENT ? kept : said_at_once(rc, timeout_ns);
}

int tine__connection_receive(tine_connection *connection, int64_t timeout_ns,
                             struct tine__incoming *message)
{
    int rc = tine__connection_check_reading(connection);

    message->into = NULL; /* the rest is the transport's to fill */
    message->room = 0;
    return rc < 0 ? rc : receive(connection, timeout_ns, SIZE_MAX, message, NULL);
}

/* A stranger's are closed, or it could have this process come back to them for ever. */
int tine__connection_receive_bare(tine_connection *connection, int64_t timeout_ns,
                                  struct tine__incoming *message)
{
    int rc = tine__connection_check_reading(connection);

    if (rc == 0 && keeps_descriptors(connection))
        return -EOPNOTSUPP;
    rc = tine__connection_receive(connection, timeout_ns, message);
    if (rc < 0 || message->fd_count == 0)
        return rc;
    if (!connection->transport->family) {
        tine__incoming_close_descriptors(message);
        return 0;
    }
    rc = keep(connection, message);
    return rc < 0 ? rc : -EOPNOTSUPP;
}

int tine_connection_recv_bytes_into(tine_connection *connection, void *buffer, size_t room,
                                    int64_t timeout_ns, size_t *size)
{
    struct tine__incoming message;
    int rc = size == NULL || (buffer == NULL && room > 0) ? -EINVAL : check_reading(connection);

    if (rc < 0)
        return rc;
    message.into = buffer;
    message.room = room;
    rc = receive(connection, timeout_ns, room, &message, size);
    if (rc < 0)
        return rc;
    if (message.size > room) {
        rc = keep(connection, &message);
        if (rc == 0)
            *size = message.size;
        return rc < 0 ? rc : -EMSGSIZE;
    }
    if (message.size > 0 && message.data != buffer)
        tine__copy(buffer, message.data, message.size);
    drop(&message);
    *size = message.size;
    return 0;
}

int tine_connection_recv_bytes(tine_connection *connection, int64_t timeout_ns, void **bytes,
                               size_t *size)
{
    struct tine__incoming message;
    int rc = bytes == NULL || size == NULL
                 ? -EINVAL
                 : tine__connection_receive(connection, timeout_ns, &message);
    void *copy;

    if (rc < 0)
        return rc;
    copy = malloc(message.size > 0 ? message.size : 1);
    if (copy == NULL) {
        (void)keep(connection, &message);
        return -ENOMEM;
    }
    if (message.size > 0)
        tine__copy(copy, message.data, message.size);
    drop(&message);
    *bytes = copy;
    *size = message.size;
    return 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

int tine__connection_check_writing(const tine_connection *connection)
{
    if (connection == NULL)
        return -EINVAL;
    return connection->writable ? 0 : -EBADF;
}

int tine__connection_send(tine_connection *connection, const struct tine__outgoing *message,
                          int64_t timeout_ns)
{
    struct tine__transport *transport = connection->transport;

    return said_at_once(
        transport->ops->send(transport, message, tine__transport_deadline(timeout_ns)), timeout_ns);
}

int tine_connection_send_bytes(tine_connection *connection, const void *bytes, size_t size,
                               int64_t timeout_ns)
{
    int rc = bytes == NULL && size > 0 ? -EINVAL : tine__connection_check_writing(connection);

    return rc < 0 ? rc
                  : tine__connection_send(connection,
                                          &(struct tine__outgoing){.data = bytes, .size = size},
                                          timeout_ns);
}

/* ---- the handle itself ----------------------------------------------------------------------- */

void tine__scratch_free(tine_buffer *scratch)
{
    tine_buffer_free(scratch);
    free(scratch);
}

bool tine__connection_unsent(tine_connection *connection)
{
    struct tine__transport *transport = connection->transport;

    return transport->ops->unsent != NULL && transport->ops->unsent(transport);
}

bool tine_connection_readable(const tine_connection *connection)
{
    return connection != NULL && connection->readable;
}

bool tine_connection_writable(const tine_connection *connection)
{
    return connection != NULL && connection->writable;
}

void tine_connection_close(tine_connection *connection)
{
    tine_buffer *scratch;

    if (connection == NULL)
        return;
    drop_all(connection);
    scratch = atomic_load_explicit(&connection->scratch, memory_order_acquire);
    if (scratch != NULL)
        tine__scratch_free(scratch);
    connection->transport->ops->close(connection->transport);
    free(connection);
}

int tine__connection_open(tine_connection **connection, struct tine__transport *transport,
                          bool readable, bool writable)
{
    tine_connection *made = calloc(1, sizeof *made);

    if (made == NULL) {
        transport->ops->close(transport);
        return -ENOMEM;
    }
    made->transport = transport;
    made->readable = readable;
    made->writable = writable;
    atomic_init(&made->generation, tine__fork_generation_fast());
    *connection = made;
    return 0;
}
