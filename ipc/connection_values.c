/* SPDX-License-Identifier: MIT */
/*
 * Messages of values: packed by a format when they are sent, unpacked when they are received.
 * Descriptors and handles (`F`, `o`) travel beside the bytes, which number them.
 *
 * What the letters `y v a` point into stays with the handle until the next message of values, so a
 * thread that shares the handle with others must not use them.
 */
#include "ipc/connection_impl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>

#include "ipc/handles.h"
#include "lib/codec.h"

#define SCRATCH_MAX 65536 /* bytes of the packing buffer that is kept for the next message */

/* ---- receiving ------------------------------------------------------------------------------- */

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

/* Each once: the receiver will close what it gets. */
static int fetch(struct tine__descriptors *hooks, uint64_t number, int *fd)
{
    struct fetching *fetching = (struct fetching *)hooks;

    if (number >= fetching->message->fd_count || (!hooks->storing && fetching->taken[number]))
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

/* A handle is made of shared memory as well, which strangers do not have. */
static const struct tine__handle_kind *const *kinds_of(const tine_connection *connection)
{
    return connection->transport->family ? tine__handle_kinds : NULL;
}

static int unpack(const tine_connection *connection, struct tine__incoming *message,
                  const char *format, va_list args)
{
    struct fetching fetching = {
        .hooks = {.fetch = fetch, .borrow = borrow, .handle_kinds = kinds_of(connection)},
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
    int rc = may_be_asked(connection, format)
                 ? tine__connection_receive(connection, timeout_ns, &message)
                 : -EINVAL;

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

/* ---- sending --------------------------------------------------------------------------------- */

static tine_buffer *take_scratch(tine_connection *connection)
{
    tine_buffer *scratch =
        atomic_exchange_explicit(&connection->scratch, NULL, memory_order_acquire);

    return scratch != NULL ? scratch : calloc(1, sizeof *scratch);
}

static void give_scratch(tine_connection *connection, tine_buffer *scratch)
{
    if (scratch->capacity > SCRATCH_MAX)
        tine_buffer_free(scratch);
    tine_buffer_clear(scratch);
    tine__scratch_free(
        atomic_exchange_explicit(&connection->scratch, scratch, memory_order_acq_rel));
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
    struct keeping keeping = {.hooks = {.keep = keep_descriptor}};
    struct tine__arguments args;
    tine_buffer *scratch;
    int rc = tine__connection_check_writing(connection);

    if (rc < 0)
        return rc;
    scratch = take_scratch(connection);
    if (scratch == NULL)
        return -ENOMEM;
    keeping.hooks.handle_kinds = kinds_of(connection);
    args.descriptors = connection->transport->descriptors ? &keeping.hooks : NULL;
    va_start(args.list, format);
    rc = tine__pack(scratch, format, false, &args);
    va_end(args.list);
    if (rc == 0)
        rc = tine__connection_send(
            connection,
            &(struct tine__outgoing){scratch->data, scratch->size, keeping.fds, keeping.count},
            timeout_ns);
    give_scratch(connection, scratch);
    return rc;
}
