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
#include "ipc/connection.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>

#include "ipc/handles.h"
#include "ipc/transport_ring.h"
#include "ipc/transport_socket.h"
#include "ipc/transport_stream.h"
#include "lib/codec.h"
#include "lib/copy.h"
#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/waitable.h"

#define SCRATCH_MAX 65536 /* bytes of the packing buffer that is kept for the next message */

#define ADOPTING ((uint64_t)1 << 63) /* beside the generation of the process that does */

/* A message that did not fit, in the order in which they came. */
struct kept {
    struct tine__incoming message;
    struct kept *next;
};

struct tine_connection {
    struct tine__transport *transport;
    bool readable, writable;
    _Atomic uint64_t generation; /* of the process that the following belongs to */
    struct tine__futex_lock lock;
    struct kept *_Atomic first;     /* changed under the lock */
    struct tine__incoming borrowed; /* what the last tine_connection_recv() gave pointers into */
    tine_buffer *_Atomic scratch;   /* taken by who packs */
};

_Static_assert(sizeof(tine_pipe_options) == 64, "released size");
_Static_assert(sizeof(tine_message) == 64, "released size");

/* ---- what the handle keeps ------------------------------------------------------------------- */

static void close_descriptors(struct tine__incoming *message)
{
    for (uint32_t i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
}

static void drop(struct tine__incoming *message)
{
    close_descriptors(message);
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

/* The first kept message: 0; -ENOENT: there is none; -EMSGSIZE: larger than room, *size says so. */
static int take_kept(tine_connection *connection, size_t room, struct tine__incoming *message,
                     size_t *size)
{
    struct kept *kept;
    int rc = 0;

    /* relaxed: who keeps it and who asks are the same thread, or have no order between them */
    if (atomic_load_explicit(&connection->first, memory_order_relaxed) == NULL)
        return -ENOENT;
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

bool tine__connection_keeps(tine_connection *connection)
{
    adopt(connection);
    return atomic_load_explicit(&connection->first, memory_order_relaxed) != NULL;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int check_reading(tine_connection *connection)
{
    if (connection == NULL)
        return -EINVAL;
    if (!connection->readable)
        return -EBADF;
    adopt(connection);
    return 0;
}

/* The timeout 0 has a code of its own. */
static int said_at_once(int rc, int64_t timeout_ns)
{
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
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

/* The next message as a whole, kept or new. */
static int receive_any(tine_connection *connection, int64_t timeout_ns,
                       struct tine__incoming *message)
{
    int rc = check_reading(connection);

    message->into = NULL; /* the rest is the transport's to fill */
    message->room = 0;
    return rc < 0 ? rc : receive(connection, timeout_ns, SIZE_MAX, message, NULL);
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
    int rc =
        bytes == NULL || size == NULL ? -EINVAL : receive_any(connection, timeout_ns, &message);
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

/* ---- in place -------------------------------------------------------------------------------- */

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
    int rc = message == NULL ? -EINVAL : receive_any(connection, timeout_ns, &incoming);

    if (rc < 0)
        return rc;
    close_descriptors(&incoming);
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

/* ---- values ---------------------------------------------------------------------------------- */

/* Does the format have letters that give pointers into the message? */
static bool borrows(const char *format)
{
    return strpbrk(format, "yva") != NULL;
}

static void lend(tine_connection *connection, const struct tine__incoming *message)
{
    struct tine__incoming before;

    tine__futex_lock(&connection->lock);
    before = connection->borrowed;
    connection->borrowed = *message;
    tine__futex_unlock(&connection->lock);
    tine__incoming_release(&before);
}

/* `F` and `o` in what has come: number i is the i-th descriptor that came beside it. */
struct fetching {
    struct tine__descriptors hooks;
    struct tine__incoming *message;
    bool taken[TINE__DESCRIPTORS_MAX];
};

static int fetch(struct tine__descriptors *hooks, uint64_t number, int *fd)
{
    struct fetching *fetching = (struct fetching *)hooks;

    if (number >= fetching->message->fd_count)
        return TINE_EFORMAT;
    fetching->taken[number] = true;
    *fd = fetching->message->fds[number];
    return 0;
}

static int borrow(struct tine__descriptors *hooks, uint64_t number, int *fd)
{
    const struct fetching *fetching = (const struct fetching *)hooks;

    if (number >= fetching->message->fd_count)
        return TINE_EFORMAT;
    *fd = fetching->message->fds[number];
    return 0;
}

static int unpack(const tine_connection *connection, struct tine__incoming *message,
                  const char *format, va_list args)
{
    struct fetching fetching = {
        .hooks = {.fetch = fetch, .borrow = borrow, .handle_kinds = tine__handle_kinds},
        .message = message,
    };
    struct tine__texts texts = {
        .descriptors = connection->transport->descriptors ? &fetching.hooks : NULL,
        .family = connection->transport->family,
        .given_away = true,
    };
    int rc = tine__vunpack(message->data, message->size, format, false, args, &texts);

    if (rc == 0)
        tine__handles_hand_over(&fetching.hooks);
    else
        tine__handles_close(&fetching.hooks);
    for (uint32_t i = 0; i < message->fd_count; i++)
        if (rc < 0 || !fetching.taken[i])
            close(message->fds[i]);
    message->fd_count = 0;
    return rc;
}

/* What a stranger sends as an offset would become a pointer into this family's heap. */
static bool may_be_asked(const tine_connection *connection, const char *format)
{
    return format != NULL &&
           (connection == NULL || connection->transport->family || strchr(format, 'p') == NULL);
}

int tine_connection_recv(tine_connection *connection, int64_t timeout_ns, const char *format, ...)
{
    static const struct tine__incoming nothing;
    struct tine__incoming message;
    va_list args;
    int rc =
        may_be_asked(connection, format) ? receive_any(connection, timeout_ns, &message) : -EINVAL;

    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = unpack(connection, &message, format, args);
    va_end(args);
    if (rc == 0 && borrows(format)) {
        lend(connection, &message);
        return 0;
    }
    tine__incoming_release(&message);
    if (connection->borrowed.release != NULL)
        lend(connection, &nothing);
    return rc;
}

static tine_buffer *take_scratch(tine_connection *connection)
{
    tine_buffer *scratch =
        atomic_exchange_explicit(&connection->scratch, NULL, memory_order_acquire);

    return scratch != NULL ? scratch : calloc(1, sizeof *scratch);
}

static void free_scratch(tine_buffer *scratch)
{
    tine_buffer_free(scratch);
    free(scratch);
}

static void give_scratch(tine_connection *connection, tine_buffer *scratch)
{
    if (scratch->capacity > SCRATCH_MAX)
        tine_buffer_free(scratch);
    tine_buffer_clear(scratch);
    free_scratch(atomic_exchange_explicit(&connection->scratch, scratch, memory_order_acq_rel));
}

/* ---- sending --------------------------------------------------------------------------------- */

static int check_writing(const tine_connection *connection)
{
    if (connection == NULL)
        return -EINVAL;
    return connection->writable ? 0 : -EBADF;
}

static int send_message(tine_connection *connection, const struct tine__outgoing *message,
                        int64_t timeout_ns)
{
    struct tine__transport *transport = connection->transport;

    return said_at_once(
        transport->ops->send(transport, message, tine__transport_deadline(timeout_ns)), timeout_ns);
}

int tine_connection_send_bytes(tine_connection *connection, const void *bytes, size_t size,
                               int64_t timeout_ns)
{
    int rc = bytes == NULL && size > 0 ? -EINVAL : check_writing(connection);

    return rc < 0 ? rc
                  : send_message(connection, &(struct tine__outgoing){.data = bytes, .size = size},
                                 timeout_ns);
}

/* `F` and `o` in what is sent: descriptors travel beside the bytes, which say which is which. */
struct keeping {
    struct tine__descriptors hooks;
    uint32_t count;
    int fds[TINE__DESCRIPTORS_MAX];
};

static int keep_descriptor(struct tine__descriptors *hooks, int fd, uint64_t *number)
{
    struct keeping *keeping = (struct keeping *)hooks;

    if (keeping->count == TINE__DESCRIPTORS_MAX)
        return -EMFILE;
    keeping->fds[keeping->count] = fd;
    *number = keeping->count++;
    return 0;
}

int tine_connection_send(tine_connection *connection, int64_t timeout_ns, const char *format, ...)
{
    struct keeping keeping = {
        .hooks = {.keep = keep_descriptor, .handle_kinds = tine__handle_kinds}};
    struct tine__arguments args;
    tine_buffer *scratch;
    int rc = check_writing(connection);

    if (rc < 0)
        return rc;
    scratch = take_scratch(connection);
    if (scratch == NULL)
        return -ENOMEM;
    args.descriptors = connection->transport->descriptors ? &keeping.hooks : NULL;
    va_start(args.list, format);
    rc = tine__pack(scratch, format, false, &args);
    va_end(args.list);
    if (rc == 0)
        rc = send_message(
            connection,
            &(struct tine__outgoing){scratch->data, scratch->size, keeping.fds, keeping.count},
            timeout_ns);
    give_scratch(connection, scratch);
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
    int rc = message == NULL || data == NULL ? -EINVAL : check_writing(connection);
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
    int rc = message == NULL ? -EINVAL : check_writing(connection);
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

/* ---- the rest -------------------------------------------------------------------------------- */

int tine_connection_poll(tine_connection *connection, int64_t timeout_ns)
{
    int rc = check_reading(connection);

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
    int rc = waitable->events == TINE_READABLE ? check_reading(connection) : -EINVAL;

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
        free_scratch(scratch);
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

/* ---- as a value ------------------------------------------------------------------------------ */

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
         : parts->fd_count == TINE__RING_FDS
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
