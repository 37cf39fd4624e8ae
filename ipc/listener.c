/* SPDX-License-Identifier: MIT */
/*
 * Listeners: opening, closing and what they say of themselves. Accepting is in
 * ipc/listener_accept.c, the other side in ipc/dial.c.
 *
 * Private to the process. A forked child may only close its copy: it has no key, and the epoll set
 * is shared with its parent.
 */
#include "ipc/listener_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/fork.h"
#include "lib/random.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "lib/waitable.h"

#define BACKLOG_DEFAULT   128
#define MODE_DEFAULT      0600
#define MODES             0777
#define HANDSHAKE_DEFAULT TINE_SEC(5)
#define RANDOM_NAME_BYTES 16

_Static_assert(sizeof(tine_listener_options) == 120, "its size never changes");

/* Where nobody else is; nothing is left of it when it closes or dies. */
static void random_address(char *text, size_t size)
{
    uint8_t bytes[RANDOM_NAME_BYTES];
    int length = snprintf(text, size, "unix:@tine-");

    tine__random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        length += snprintf(text + length, size - (size_t)length, "%02x", bytes[i]);
}

static int set_up(tine_listener *listener, const char *text, const tine_listener_options *options)
{
    struct tine__address_wish wish = {.mode = options->mode == 0 ? MODE_DEFAULT : options->mode,
                                      .backlog = options->backlog == 0 ? BACKLOG_DEFAULT
                                                                       : (int)options->backlog};
    char found[TINE__ADDRESS_TEXT];
    struct tine__address address;
    int rc = tine__address_parse(text, &address);

    if (rc == 0)
        rc = tine__terms_check(&listener->terms, options->key, options->key_size, &address);
    if (rc == 0)
        rc = tine__terms_take_key(&listener->terms, options->key, options->key_size);
    if (rc == 0)
        rc = listener->epoll = tine__sys_epoll();
    if (rc >= 0)
        rc = listener->timer = tine__sys_timer();
    if (rc >= 0)
        rc = tine__sys_epoll_add(listener->epoll, listener->timer, TINE__LISTENER_TIMER);
    if (rc >= 0)
        rc = listener->fd = tine__address_listen(&address, &wish, &listener->file);
    if (rc >= 0)
        rc = tine__sys_epoll_add(listener->epoll, listener->fd, TINE__LISTENER_SOCKET);
    if (rc < 0)
        return rc;
    tine__address_text(listener->fd, false, found);
    listener->address = strdup(found[0] == '\0' ? text : found);
    return listener->address == NULL ? -ENOMEM : 0;
}

static tine_listener *new_listener(const tine_listener_options *options)
{
    tine_listener *listener = calloc(1, sizeof *listener);

    if (listener == NULL)
        return NULL;
    listener->fd = listener->epoll = listener->timer = listener->file.directory = -1;
    listener->alarm = TINE__NEVER;
    listener->generation = tine__fork_generation();
    listener->terms = (struct tine__terms){.message_bytes_max = options->message_bytes_max,
                                           .protocol = options->protocol,
                                           .encryption = options->encryption,
                                           .check = options->check,
                                           .any_user = options->any_user};
    listener->handshake_timeout_ns =
        options->handshake_timeout_ns == 0 ? HANDSHAKE_DEFAULT : options->handshake_timeout_ns;
    for (int i = 0; i < TINE__ARRIVALS; i++)
        listener->arrivals[i].fd = -1;
    return listener;
}

int tine_listener_open(tine_listener **listener, const char *address,
                       const tine_listener_options *options)
{
    static const tine_listener_options defaults;
    char own[TINE__ADDRESS_TEXT];
    tine_listener *made;
    int rc;

    if (options == NULL)
        options = &defaults;
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (listener == NULL || (options->mode & ~(uint32_t)MODES) != 0 ||
        options->backlog > INT32_MAX || options->handshake_timeout_ns < 0)
        return -EINVAL;
    made = new_listener(options);
    if (made == NULL)
        return -ENOMEM;
    if (address == NULL)
        random_address(own, sizeof own);
    rc = set_up(made, address == NULL ? own : address, options);
    if (rc < 0)
        tine_listener_close(made);
    else
        *listener = made;
    return rc;
}

const char *tine_listener_address(const tine_listener *listener)
{
    return listener == NULL ? NULL : listener->address;
}

int tine_listener_fileno(const tine_listener *listener)
{
    return listener == NULL ? -EINVAL : listener->epoll;
}

static int waitable_fd(const tine_waitable *waitable)
{
    return waitable->events == TINE_READABLE ? tine_listener_fileno(waitable->object) : -EINVAL;
}

static const struct tine__waitable_kind waitable_kind = {.descriptor = waitable_fd};

tine_waitable tine_listener_waitable(tine_listener *listener)
{
    return (tine_waitable){.kind = &waitable_kind, .object = listener, .events = TINE_READABLE};
}

void tine_listener_close(tine_listener *listener)
{
    if (listener == NULL)
        return;
    if (listener->generation == tine__fork_generation_fast())
        tine__address_file_remove(&listener->file);
    else
        tine__address_file_forget(&listener->file);
    /* Without unwatching: in a forked child the epoll set is the parent's, too. */
    for (int i = 0; i < TINE__ARRIVALS; i++) {
        if (listener->arrivals[i].fd >= 0)
            close(listener->arrivals[i].fd);
        tine__auth_end(&listener->arrivals[i].auth);
    }
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->epoll >= 0)
        close(listener->epoll);
    if (listener->timer >= 0)
        close(listener->timer);
    tine__secret_close(listener->terms.key);
    free(listener->address);
    free(listener);
}
