/* SPDX-License-Identifier: MIT */
/* What the tests of listeners share: what the log says, strangers, and the ways to meet. */
#ifndef TINE_TESTS_IPC_LISTENER_HELP_H
#define TINE_TESTS_IPC_LISTENER_HELP_H

#include <tine/listener.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <tine/log.h>

#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KEY .key = "0123456789abcdef0123456789abcdef", .key_size = 32

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

static char lines[8192];

static inline void keep_line(int level, const char *text, void *context)
{
    size_t length;

    (void)level;
    (void)context;
    pthread_mutex_lock(&log_mutex);
    length = strlen(lines);
    snprintf(lines + length, sizeof lines - length, "%s\n", text);
    pthread_mutex_unlock(&log_mutex);
}

static inline void log_begin(void)
{
    tine_log_set_sink(keep_line, NULL);
    tine_log_set_level(TINE_LOG_WARNING);
}

#define ck_assert_logged(words)                                                                    \
    ck_assert_msg(strstr(lines, words) != NULL, "the log says \"%s\"", lines)

/* Until the listener has hung up; how many bytes came before. */
static inline size_t await_end(int fd)
{
    char bytes[512];
    size_t came = 0;
    ssize_t count;

    do {
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_SEC(600)), 1);
        count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count > 0)
            came += (size_t)count;
    } while (count > 0);
    return came;
}

static inline void accept_nobody(tine_listener *listener, int64_t timeout_ns)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(listener, timeout_ns, &connection),
                 timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT);
}

/* The same, while it serves. */
static inline void await_drop(tine_listener *listener, int fd)
{
    char bytes[512];
    ssize_t count;

    while ((count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0 ||
           (count < 0 && (errno == EAGAIN || errno == EINTR)))
        accept_nobody(listener, TINE_MS(5));
}

/* Until the dial is over: what it has said. */
static inline int refuse(tine_listener *listener, struct dialling *dialling)
{
    while (!dialling->over)
        accept_nobody(listener, TINE_MS(5));
    return dialling_end(dialling);
}

/* The listener is well: a client gets in, and is heard. */
static inline void check_well(tine_listener *listener, const tine_dial_options *options)
{
    tine_connection *a, *b;
    int64_t number;

    meet(listener, options, &a, &b);
    ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(42)), 0);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 42);
    tine_connection_close(a);
    tine_connection_close(b);
}

#define ADDRESSES 4
#define WAYS      4 /* of talking, at an address */

static inline tine_listener_options listener_way(int way)
{
    return (tine_listener_options){KEY, .protocol = way == 3,
                                   .encryption = way == 1 ? TINE_ENCRYPT_ALWAYS : 0};
}

static inline tine_dial_options dial_way(int way)
{
    return (tine_dial_options){KEY, .protocol = way == 3,
                               .encryption = way == 2 ? TINE_ENCRYPT_ALWAYS : 0};
}

static inline const char *address_of(int index)
{
    const char *const addresses[ADDRESSES] = {NULL, own_address(), "tcp://127.0.0.1:0",
                                              "tcp://[::1]:0"};

    return addresses[index];
}

/* False: there is no IPv6 here. */
static inline bool meet_somehow(int index, tine_connection **a, tine_connection **b)
{
    tine_listener_options options = listener_way(index % WAYS);
    tine_dial_options dial = dial_way(index % WAYS);
    tine_listener *listener;
    int rc = tine_listener_open(&listener, address_of(index / WAYS), &options);

    if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT)
        return false;
    ck_assert_rc(rc, 0);
    meet(listener, &dial, a, b);
    tine_listener_close(listener);
    return true;
}

static inline void echo(tine_connection *from, tine_connection *to, const uint8_t *bytes,
                        size_t size)
{
    void *received;
    size_t count;

    ck_assert_rc(tine_connection_send_bytes(from, bytes, size, TINE_FOREVER), 0);
    ck_assert_rc(tine_connection_recv_bytes(to, TINE_FOREVER, &received, &count), 0);
    ck_assert_uint_eq(count, size);
    ck_assert(size == 0 || memcmp(received, bytes, size) == 0);
    free(received);
}

#endif
