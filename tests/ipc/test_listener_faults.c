/* SPDX-License-Identifier: MIT */
/*
 * Listeners and dialling without memory, descriptors or luck: the k-th call of one thread fails,
 * for every k until all goes well. The program is linked so that calls come here first (ld --wrap).
 */
#include <tine/listener.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ipc/address.h"
#include "ipc/auth_secret.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "tests/ipc/meet.h"
#include "tests/support/failing.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

static void fail_at(int call)
{
    failing.until = call;
    failing.failed = 0;
}

FAILING(malloc, (size_t size), (size))
FAILING(calloc, (size_t count, size_t size), (count, size))
FAILING(realloc, (void *block, size_t size), (block, size))
FAILING_AS(char *, strdup, NULL, (const char *text), (text))
FAILING_AS(void *, mmap, (errno = ENOMEM, MAP_FAILED),
           (void *address, size_t size, int prot, int flags, int fd, off_t offset),
           (address, size, prot, flags, fd, offset))
FAILING_AS(int, tine__sys_socket, -EMFILE, (int domain, int type), (domain, type))
FAILING_AS(int, tine__sys_accept, -EMFILE, (int fd), (fd))
FAILING_AS(int, tine__sys_epoll, -EMFILE, (void), ())
FAILING_AS(int, tine__sys_epoll_add, -ENOMEM, (int epoll, int fd, uint64_t cookie),
           (epoll, fd, cookie))
FAILING_AS(int, tine__sys_timer, -EMFILE, (void), ())
FAILING_AS(int, tine__sys_open_directory, -ENFILE, (const char *path), (path))
FAILING_AS(int, tine__sys_poll_in, -ENOMEM, (int fd, int64_t timeout_ns), (fd, timeout_ns))
FAILING_AS(int, tine__sys_poll_out, -ENOMEM, (int fd, int64_t timeout_ns), (fd, timeout_ns))
FAILING_AS(int, tine__sys_poll, -ENOMEM, (struct pollfd * fds, size_t count, int64_t timeout_ns),
           (fds, count, timeout_ns))

#define KEY .key = "0123456789abcdef", .key_size = 16

static const struct {
    const char *address;
    int encryption;
} places[] = {{NULL, 0}, {"tcp://127.0.0.1:0", 0}, {"tcp://127.0.0.1:0", TINE_ENCRYPT_ALWAYS}};
#define PLACES ((int)(sizeof places / sizeof places[0]))

TEST(a_listener_opens_or_leaves_nothing)
{
    struct files files;
    char address[300];
    int rc = -1;

    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    for (int call = 1; rc != 0; call++) {
        tine_listener_options options = {KEY};
        tine_listener *listener = NULL;

        fail_at(call);
        rc = tine_listener_open(&listener, address, &options);
        fail_at(0);
        ck_assert_msg(rc == 0 || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE, "call %d: %d",
                      call, rc);
        ck_assert((rc == 0) == (listener != NULL));
        ck_assert((rc == 0) == (access(address + 5, F_OK) == 0));
        tine_listener_close(listener);
        ck_assert_int_lt(call, 100);
    }
    files_end(&files);
}

struct host {
    tine_listener *listener;
    _Atomic bool over;
};

static void *accept_all(void *context)
{
    struct host *host = context;
    tine_connection *connection;

    while (!host->over)
        if (tine_listener_accept(host->listener, TINE_MS(1), &connection) == 0)
            tine_connection_close(connection);
    return NULL;
}

TEST(a_dial_connects_or_leaves_nothing, .loop_end = PLACES)
{
    tine_listener_options options = {KEY, .encryption = places[loop_index].encryption};
    tine_dial_options dial = {KEY};
    struct host host = {.over = false};
    pthread_t thread;
    int rc = -1;

    ck_assert_rc(tine_listener_open(&host.listener, places[loop_index].address, &options), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, accept_all, &host), 0);
    for (int call = 1; rc != 0; call++) {
        tine_connection *connection = NULL;

        fail_at(call);
        rc = tine_dial(&connection, tine_listener_address(host.listener), &dial);
        rc = rc == 0 && failing.failed > 0 ? 1 : rc; /* not all calls matter */
        fail_at(0);
        ck_assert_msg(rc >= 0 || rc == -ENOMEM || rc == -EMFILE, "call %d: %d", call, rc);
        ck_assert((rc >= 0) == (connection != NULL));
        tine_connection_close(connection);
        ck_assert_int_lt(call, 100);
    }
    host.over = true;
    pthread_join(thread, NULL);
    tine_listener_close(host.listener);
}

/* Some failures cost the client, or a pause; the listener is well after each. */
TEST(accept_survives_what_fails, .loop_end = PLACES)
{
    tine_listener_options options = {KEY, .encryption = places[loop_index].encryption};
    tine_dial_options dial = {KEY};
    tine_listener *listener;
    bool done = false;

    ck_assert_rc(tine_listener_open(&listener, places[loop_index].address, &options), 0);
    for (int call = 1; !done; call++) {
        tine_connection *connection = NULL;
        struct dialling dialling;
        int rc;

        dialling_start(&dialling, listener, &dial);
        fail_at(call);
        rc = tine_listener_accept(listener, TINE_MS(300), &connection);
        done = rc == 0 && failing.failed == 0;
        fail_at(0);
        ck_assert_msg(rc == 0 || rc == -ENOMEM || rc == -ETIMEDOUT, "call %d: %d", call, rc);
        ck_assert((rc == 0) == (connection != NULL));
        tine_connection_close(connection);
        while (!dialling.over) /* a slow machine, or a pause: its dial may still be under way */
            if (tine_listener_accept(listener, TINE_MS(2), &connection) == 0)
                tine_connection_close(connection);
        rc = dialling_end(&dialling);
        ck_assert_msg(rc == 0 || rc == -ECONNRESET, "dial after call %d: %d", call, rc);
        if (rc == 0)
            tine_connection_close(dialling.connection);
        ck_assert_int_lt(call, 100);
    }
    tine_listener_close(listener);
}

/* A message that could not be received for want of memory is received later. */
TEST(messages_wait_for_memory, .loop_end = PLACES)
{
    tine_listener_options options = {KEY, .encryption = places[loop_index].encryption};
    tine_connection *a, *b;
    tine_listener *listener;
    static char bytes[2000];
    bool done = false;

    ck_assert_rc(tine_listener_open(&listener, places[loop_index].address, &options), 0);
    for (int call = 1; !done; call++) {
        tine_message message;
        int rc;

        meet(listener, &(tine_dial_options){KEY}, &a, &b);
        ck_assert_rc(tine_connection_send_bytes(a, bytes, sizeof bytes, TINE_FOREVER), 0);
        fail_at(call);
        rc = tine_connection_recv_view(b, TINE_FOREVER, &message);
        done = rc == 0 && failing.failed == 0;
        fail_at(0);
        ck_assert_msg(rc == 0 || rc == -ENOMEM, "call %d: %d", call, rc);
        if (rc == -ENOMEM)
            rc = tine_connection_recv_view(b, TINE_FOREVER, &message);
        /* a box that has been opened is lost with its memory, and with it the stream */
        ck_assert_msg(rc == 0 || (rc == -ENOMEM && loop_index == 2), "call %d: %d", call, rc);
        if (rc == 0) {
            ck_assert_uint_eq(message.size, sizeof bytes);
            tine_message_release(&message);
        }
        tine_connection_close(a);
        tine_connection_close(b);
        ck_assert_int_lt(call, 100);
    }
    tine_listener_close(listener);
}

SUITE("ipc/listener_faults")
