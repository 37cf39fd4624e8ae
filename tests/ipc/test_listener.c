/* SPDX-License-Identifier: MIT */
#include <tine/listener.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/sys.h"
#include "tests/ipc/listener_help.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

/* ---- what the log says ----------------------------------------------------------------------- */

/* ---- strangers ------------------------------------------------------------------------------- */

/* ---- who meets ------------------------------------------------------------------------------- */

TEST(two_meet_and_talk, .loop_end = ADDRESSES * WAYS)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4096, 16384, 65536, 65537};
    static uint8_t bytes[65537];
    tine_connection *a, *b;

    if (!meet_somehow(loop_index, &a, &b))
        SKIP("no IPv6 here");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        echo(a, b, bytes, sizes[i]);
        echo(b, a, bytes, sizes[i]);
    }
    tine_connection_close(a);
    ck_assert_rc(tine_connection_poll(b, TINE_FOREVER), 1);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", NULL), TINE_EEOF);
    tine_connection_close(b);
}

struct burst {
    tine_connection *connection;
    size_t size;
    int rc;
};

static void *send_large(void *context)
{
    struct burst *burst = context;
    uint8_t *bytes = malloc(burst->size);

    for (size_t i = 0; i < burst->size; i++)
        bytes[i] = (uint8_t)(i >> 5);
    burst->rc = tine_connection_send_bytes(burst->connection, bytes, burst->size, TINE_FOREVER);
    free(bytes);
    return NULL;
}

TEST(large_messages_arrive, .loop_end = WAYS)
{
    struct burst burst = {.size = 20000000};
    tine_connection *a, *b;
    pthread_t thread;
    uint8_t *bytes;
    size_t size;

    meet_somehow(loop_index, &a, &b);
    burst.connection = a;
    ck_assert_int_eq(pthread_create(&thread, NULL, send_large, &burst), 0);
    ck_assert_rc(tine_connection_recv_bytes(b, TINE_FOREVER, (void **)&bytes, &size), 0);
    pthread_join(thread, NULL);
    ck_assert_rc(burst.rc, 0);
    ck_assert_uint_eq(size, burst.size);
    for (size_t i = 0; i < size; i += 97)
        ck_assert_uint_eq(bytes[i], (uint8_t)(i >> 5));
    free(bytes);
    tine_connection_close(a);
    tine_connection_close(b);
}

#define SENDERS  4
#define MESSAGES 300

static void *send_many(void *context)
{
    struct burst *burst = context;
    uint8_t bytes[3000];

    memset(bytes, (int)burst->size, sizeof bytes);
    for (int i = 0; i < MESSAGES && burst->rc == 0; i++)
        burst->rc =
            tine_connection_send_bytes(burst->connection, bytes, burst->size * 700, TINE_FOREVER);
    return NULL;
}

TEST(many_threads_send_whole_messages, .loop_end = WAYS)
{
    struct burst bursts[SENDERS];
    pthread_t threads[SENDERS];
    tine_connection *a, *b;
    int came[SENDERS + 1] = {0};

    meet_somehow(loop_index, &a, &b);
    for (size_t i = 0; i < SENDERS; i++) {
        bursts[i] = (struct burst){.connection = a, .size = i + 1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, &bursts[i]), 0);
    }
    for (int i = 0; i < SENDERS * MESSAGES; i++) {
        uint8_t bytes[3000];
        size_t size;

        ck_assert_rc(tine_connection_recv_bytes_into(b, bytes, sizeof bytes, TINE_FOREVER, &size),
                     0);
        ck_assert_uint_eq(size % 700, 0);
        for (size_t j = 0; j < size; j++)
            ck_assert_uint_eq(bytes[j], size / 700);
        came[size / 700]++;
    }
    for (size_t i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_rc(bursts[i].rc, 0);
        ck_assert_int_eq(came[i + 1], MESSAGES);
    }
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(another_key_is_refused, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options right = {KEY, .protocol = loop_index},
                      wrong = {.key = "x", .key_size = 1, .protocol = loop_index};
    struct dialling dialling;
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    dialling_start(&dialling, listener, &wrong);
    ck_assert_rc(refuse(listener, &dialling), -EACCES);
    ck_assert_logged("is dropped");
    check_well(listener, &right);
    tine_listener_close(listener);
}

TEST(who_has_a_key_and_who_has_none_do_not_meet)
{
    struct dialling dialling;
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    dialling_start(&dialling, listener, &(tine_dial_options){KEY});
    ck_assert_rc(refuse(listener, &dialling), -EACCES);
    check_well(listener, NULL);
    tine_listener_close(listener);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int open_and_close(const char *address, tine_listener_options options)
{
    tine_listener *listener;
    int rc = tine_listener_open(&listener, address, &options);

    if (rc == 0)
        tine_listener_close(listener);
    return rc;
}

TEST(options_are_checked)
{
    const char *tcp = "tcp://127.0.0.1:0";
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(NULL, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_listener_open(&listener, "nowhere", NULL), -EINVAL);
    ck_assert_rc(open_and_close(tcp, (tine_listener_options){0}), -EINVAL);
    ck_assert_rc(open_and_close(tcp, (tine_listener_options){.key = ""}), 0);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.any_user = true}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){KEY, .any_user = true}), 0);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.key_size = 1}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.protocol = 2}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.encryption = 3}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.protocol = 1, .encryption = 1}),
                 -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.mode = 010000}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.handshake_timeout_ns = -1}),
                 -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.reserved = {0, 1}}), -E2BIG);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.reserved8 = {1}}), -E2BIG);
    ck_assert_rc(tine_listener_accept(NULL, 0, NULL), -EINVAL);
    ck_assert_rc(tine_listener_fileno(NULL), -EINVAL);
    ck_assert_ptr_null(tine_listener_address(NULL));
    tine_listener_close(NULL);
}

TEST(dial_options_are_checked)
{
    tine_connection *connection;

    ck_assert_rc(tine_dial(NULL, "unix:@x", NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "tcp://127.0.0.1:1", NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "unix:@x", &(tine_dial_options){.protocol = -1}), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "unix:@x", &(tine_dial_options){.reserved = {1}}), -E2BIG);
    ck_assert_rc(tine_dial(&connection, own_address(), NULL), -ECONNREFUSED);
}

TEST(nobody_comes)
{
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    accept_nobody(listener, 0);
    accept_nobody(listener, TINE_MS(5));
    tine_listener_close(listener);
}

TEST(two_do_not_listen_at_one_address)
{
    tine_listener *first, *second;

    ck_assert_rc(tine_listener_open(&first, own_address(), NULL), 0);
    ck_assert_rc(tine_listener_open(&second, own_address(), NULL), -EADDRINUSE);
    tine_listener_close(first);
    ck_assert_rc(tine_listener_open(&second, own_address(), NULL), 0);
    tine_listener_close(second);
}

TEST(a_socket_file_goes_with_its_listener)
{
    struct files files;
    tine_listener *listener;
    char address[300];

    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    ck_assert_rc(tine_listener_open(&listener, address, NULL), 0);
    ck_assert_str_eq(tine_listener_address(listener), address);
    check_well(listener, NULL);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), 0);
    tine_listener_close(listener);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), -1);
    files_end(&files);
}

static void use_in_child(void *context)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(context, 0, &connection), TINE_EFORKED);
    tine_listener_close(context);
}

TEST(a_forked_child_only_closes_its_copy)
{
    struct files files;
    struct child child;
    tine_listener *listener;
    char address[300];

    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    ck_assert_rc(tine_listener_open(&listener, address, NULL), 0);
    child = child_start(use_in_child, listener);
    child_join(&child);
    check_well(listener, NULL);
    tine_listener_close(listener);
    files_end(&files);
}

/* ---- users ----------------------------------------------------------------------------------- */

#define NOBODY 65534

struct foreigner {
    const char *address;
    int rc;
};

static void dial_as_nobody(void *context)
{
    const struct foreigner *foreigner = context;
    tine_dial_options options = {KEY, .any_user = true};
    tine_connection *connection;
    int rc;

    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    ck_assert_rc(tine_dial(&connection, foreigner->address, NULL), -EACCES);
    rc = tine_dial(&connection, foreigner->address, &options);
    ck_assert_rc(rc, foreigner->rc);
    if (rc == 0)
        tine_connection_close(connection);
}

/* Neither side takes another user for its own, unless both say so. */
TEST(other_users_stay_out, .loop_end = 2)
{
    tine_listener_options options = {KEY, .any_user = loop_index == 1};
    struct foreigner foreigner = {.rc = loop_index == 1 ? 0 : -ECONNRESET};
    tine_connection *connection;
    tine_listener *listener;
    struct child child;

    if (geteuid() != 0)
        SKIP("only root can be another user");
    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    foreigner.address = tine_listener_address(listener);
    child = child_start(dial_as_nobody, &foreigner);
    if (loop_index == 1) {
        ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), &connection), 0);
        tine_connection_close(connection);
    } else {
        while (strstr(lines, "another user's") == NULL)
            accept_nobody(listener, TINE_MS(5));
    }
    child_join(&child);
    check_well(listener, &(tine_dial_options){KEY});
    tine_listener_close(listener);
}

/* ---- event loops ----------------------------------------------------------------------------- */

TEST(an_event_loop_may_own_the_waiting)
{
    struct dialling dialling;
    tine_connection *connection;
    tine_listener *listener;
    int rc;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    dialling_start(&dialling, listener, NULL);
    do {
        ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(600)), 1);
        rc = tine_listener_accept(listener, 0, &connection);
    } while (rc == -EAGAIN);
    ck_assert_rc(rc, 0);
    ck_assert_rc(dialling_end(&dialling), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_connection_fileno(connection), 0), 0);
    ck_assert_rc(tine_connection_send(dialling.connection, TINE_FOREVER, "q", INT64_C(1)), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_connection_fileno(connection), TINE_SEC(600)), 1);
    tine_connection_close(connection);
    tine_connection_close(dialling.connection);
    tine_listener_close(listener);
}

#define CLIENTS 12

static void *accept_one(void *context)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(context, TINE_SEC(600), &connection), 0);
    tine_connection_close(connection);
    return NULL;
}

TEST(many_threads_accept)
{
    struct dialling dialling[CLIENTS];
    pthread_t threads[CLIENTS];
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, accept_one, listener), 0);
    for (int i = 0; i < CLIENTS; i++)
        dialling_start(&dialling[i], listener, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_rc(dialling_end(&dialling[i]), 0);
        tine_connection_close(dialling[i].connection);
    }
    tine_listener_close(listener);
}

TEST(ten_thousand_come_and_go, .timeout_s = 60)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_dial_options dial = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *a, *b;
    tine_listener *listener;

    for (int i = 0; i < 10000; i++) {
        ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
        tine_listener_close(listener);
    }
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    for (int i = 0; i < 10000; i++) {
        ck_assert_rc(tine_dial(&b, tine_listener_address(listener), &dial), 0);
        ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &a), 0);
        tine_connection_close(a);
        tine_connection_close(b);
    }
    tine_listener_close(listener);
}

TEST(nothing_is_left_of_many_connections, .timeout_s = 60)
{
    tine_listener *listener;

    for (int i = 0; i < 200; i++) {
        tine_listener_options options = {KEY};
        tine_connection *a, *b;

        ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
        meet(listener, &(tine_dial_options){KEY}, &a, &b);
        tine_connection_close(a);
        tine_connection_close(b);
        tine_listener_close(listener);
    }
}

HEAP_BEFORE_TESTS

SUITE("ipc/listener")
