/* SPDX-License-Identifier: MIT */
/* Listeners and dialling with real Pythons at the other end: multiprocessing.connection. */
#include <tine/listener.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tine/log.h>
#include <tine/time.h>

#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/support/files.h"
#include "tests/support/python.h"
#include "tests/support/suite.h"

#define OLDEST  12 /* Python 3.12 is the first that is spoken with */
#define NEWEST  15
#define ANCIENT 8

#define KEY .key = "open sesame", .key_size = 11

static const tine_listener_options listener_options = {KEY, .protocol = TINE_PROTOCOL_PYTHON};
static const tine_dial_options dial_options = {KEY, .protocol = TINE_PROTOCOL_PYTHON};

/* As Python writes it. */
static void python_address(const tine_listener *listener, char *text, size_t size)
{
    const char *address = tine_listener_address(listener), *port = strrchr(address, ':');

    if (strncmp(address, "tcp://", 6) == 0)
        snprintf(text, size, "('127.0.0.1', %s)", port + 1);
    else if (address[5] == '@')
        snprintf(text, size, "'\\0%s'", address + 6);
    else
        snprintf(text, size, "'%s'", address + 5);
}

/* A client `c` of Python at a listener of ours. */
static void accept_python(struct python *python, tine_listener *listener,
                          tine_connection **connection)
{
    char address[300];

    python_address(listener, address, sizeof address);
    python_begin(python, "c = Client(%s, authkey=b'open sesame')", address);
    ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), connection), 0);
    ck_assert_str_eq(python_finish(python), "");
}

/* Until Python has an answer: it does not get in. */
static const char *refuse(struct python *python, tine_listener *listener)
{
    tine_connection *connection;

    while (tine__sys_poll_in(fileno(python->in), 0) == 0)
        ck_assert_rc(tine_listener_accept(listener, TINE_MS(5), &connection), -ETIMEDOUT);
    return python_finish(python);
}

/* We at a listener `l` of Python, which has `c` then. */
static void dial_python(struct python *python, tine_connection **connection)
{
    char address[300];

    python_do(python, "l = Listener(('127.0.0.1', 0), authkey=b'open sesame')");
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", python_ask(python, "l.address[1]"));
    python_begin(python, "c = l.accept()");
    ck_assert_rc(tine_dial(connection, address, &dial_options), 0);
    ck_assert_str_eq(python_finish(python), "");
}

static void exchange_bytes(struct python *python, tine_connection *connection, size_t size)
{
    uint8_t *sent = malloc(size > 0 ? size : 1);
    void *received;
    size_t count;

    for (size_t i = 0; i < size; i++)
        sent[i] = (uint8_t)(i % 251);
    python_do(python, "m = (bytes(range(251)) * (%zu // 251 + 1))[:%zu]", size, size);
    python_begin(python, "c.send_bytes(m)");
    ck_assert_rc(tine_connection_recv_bytes(connection, TINE_SEC(600), &received, &count), 0);
    ck_assert_str_eq(python_finish(python), "");
    ck_assert_uint_eq(count, size);
    ck_assert(size == 0 || memcmp(received, sent, size) == 0);
    free(received);
    python_begin(python, "= c.recv_bytes() == m");
    ck_assert_rc(tine_connection_send_bytes(connection, sent, size, TINE_SEC(600)), 0);
    ck_assert_str_eq(python_finish(python), "True");
    free(sent);
}

static void exchange(struct python *python, tine_connection *connection)
{
    static const size_t sizes[] = {0, 1, 16384, 16385, 1 << 20};
    int64_t number;
    double real;
    char *text;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        exchange_bytes(python, connection, sizes[i]);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "[qsd]", INT64_C(7), "seven", 7.0),
                 0);
    ck_assert_str_eq(python_ask(python, "c.recv_bytes().hex()"),
                     "9307a5736576656ecb401c000000000000");
    python_do(python, "c.send_bytes(bytes.fromhex('9307a5736576656ecb401c000000000000'))");
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "[qsd]", &number, &text, &real),
                 0);
    ck_assert_int_eq(number, 7);
    ck_assert_str_eq(text, "seven");
    ck_assert(real == 7.0);
    free(text);
}

/* Python's send() pickles: that is no msgpack, and no code here runs it. */
static void refuse_pickles(struct python *python, tine_connection *connection)
{
    int64_t number;

    python_do(python, "c.send({'a': [1, 2]})");
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "q", &number), TINE_EFORMAT);
    python_do(python, "c.send(7)");
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "q", &number), TINE_EFORMAT);
    python_do(python, "c.send_bytes(b'\\x07')");
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "q", &number), 0);
    ck_assert_int_eq(number, 7);
}

TEST(a_python_comes_to_our_listener, .loop_end = 3 * (NEWEST - OLDEST + 1))
{
    tine_connection *connection;
    tine_listener *listener;
    struct python python;
    struct files files;
    char address[300];

    if (!python_start_connecting(&python, OLDEST + loop_index / 3))
        SKIP("no Python 3.%d", OLDEST + loop_index / 3);
    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    ck_assert_rc(tine_listener_open(&listener,
                                    loop_index % 3 == 0   ? address
                                    : loop_index % 3 == 1 ? own_address()
                                                          : "tcp://127.0.0.1:0",
                                    &listener_options),
                 0);
    accept_python(&python, listener, &connection);
    exchange(&python, connection);
    refuse_pickles(&python, connection);
    python_do(&python, "c.close()");
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "q", NULL), TINE_EEOF);
    tine_connection_close(connection);
    tine_listener_close(listener);
    python_end(&python);
    files_end(&files);
}

TEST(we_come_to_a_pythons_listener, .loop_end = NEWEST - OLDEST + 1)
{
    tine_connection *connection;
    struct python python;

    if (!python_start_connecting(&python, OLDEST + loop_index))
        SKIP("no Python 3.%d", OLDEST + loop_index);
    dial_python(&python, &connection);
    exchange(&python, connection);
    refuse_pickles(&python, connection);
    tine_connection_close(connection);
    ck_assert_str_eq(python_ask(&python, "c.recv_bytes()"), "!EOFError()");
    python_end(&python);
}

TEST(keys_of_any_length_are_the_same_there, .loop_end = NEWEST - OLDEST + 1)
{
    static const size_t lengths[] = {0, 1, 64, 65, 200};
    struct python python;
    char key[201];

    if (!python_start_connecting(&python, OLDEST + loop_index))
        SKIP("no Python 3.%d", OLDEST + loop_index);
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        tine_listener_options options = {
            .key = key, .key_size = lengths[i], .protocol = TINE_PROTOCOL_PYTHON};
        tine_connection *connection;
        tine_listener *listener;
        char address[300];

        ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
        python_address(listener, address, sizeof address);
        python_begin(&python, "c = Client(%s, authkey=b'k' * %zu)", address, lengths[i]);
        ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), &connection), 0);
        ck_assert_str_eq(python_finish(&python), "");
        tine_connection_close(connection);
        tine_listener_close(listener);
    }
    python_end(&python);
}

TEST(without_keys_nobody_shakes_hands, .loop_end = NEWEST - OLDEST + 1)
{
    tine_connection *connection;
    tine_listener *listener;
    struct python python;
    char address[300];

    if (!python_start_connecting(&python, OLDEST + loop_index))
        SKIP("no Python 3.%d", OLDEST + loop_index);
    ck_assert_rc(tine_listener_open(&listener, NULL,
                                    &(tine_listener_options){.protocol = TINE_PROTOCOL_PYTHON}),
                 0);
    python_address(listener, address, sizeof address);
    python_do(&python, "c = Client(%s)", address);
    ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), &connection), 0);
    exchange(&python, connection);
    tine_connection_close(connection);
    tine_listener_close(listener);
    python_end(&python);
}

TEST(a_python_with_another_key_is_refused, .loop_end = NEWEST - OLDEST + 1)
{
    tine_connection *connection;
    tine_listener *listener;
    struct python python;
    char address[300];

    if (!python_start_connecting(&python, OLDEST + loop_index))
        SKIP("no Python 3.%d", OLDEST + loop_index);
    ck_assert_rc(tine_listener_open(&listener, NULL, &listener_options), 0);
    python_address(listener, address, sizeof address);
    python_begin(&python, "Client(%s, authkey=b'wrong')", address);
    ck_assert_str_eq(refuse(&python, listener), "!AuthenticationError('digest sent was rejected')");
    accept_python(&python, listener, &connection);
    tine_connection_close(connection);
    tine_listener_close(listener);
    python_end(&python);
}

TEST(a_python_refuses_another_key, .loop_end = NEWEST - OLDEST + 1)
{
    tine_dial_options wrong = {.key = "wrong", .key_size = 5, .protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    struct python python;
    char address[300];

    if (!python_start_connecting(&python, OLDEST + loop_index))
        SKIP("no Python 3.%d", OLDEST + loop_index);
    python_do(&python, "l = Listener(('127.0.0.1', 0), authkey=b'open sesame')");
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", python_ask(&python, "l.address[1]"));
    python_begin(&python, "c = l.accept()");
    ck_assert_rc(tine_dial(&connection, address, &wrong), -EACCES);
    ck_assert_str_eq(python_finish(&python), "!AuthenticationError('digest received was wrong')");
    python_end(&python);
}

static char lines[4096];

static void keep_line(int level, const char *text, void *context)
{
    size_t length = strlen(lines);

    (void)level;
    (void)context;
    snprintf(lines + length, sizeof lines - length, "%s\n", text);
}

/* Before 3.12 they know MD5 only. */
TEST(an_old_python_is_refused_clearly, .loop_end = OLDEST - ANCIENT)
{
    tine_connection *connection;
    tine_listener *listener;
    struct python python;
    char address[300];

    if (!python_start_connecting(&python, ANCIENT + loop_index))
        SKIP("no Python 3.%d", ANCIENT + loop_index);
    tine_log_set_sink(keep_line, NULL);
    tine_log_set_level(TINE_LOG_WARNING);
    ck_assert_rc(tine_listener_open(&listener, NULL, &listener_options), 0);
    python_address(listener, address, sizeof address);
    python_begin(&python, "Client(%s, authkey=b'open sesame')", address);
    ck_assert_str_eq(refuse(&python, listener), "!AuthenticationError('digest sent was rejected')");
    ck_assert_msg(strstr(lines, "Python before 3.12") != NULL, "the log says %s", lines);
    tine_listener_close(listener);

    python_do(&python, "l = Listener(('127.0.0.1', 0), authkey=b'open sesame')");
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", python_ask(&python, "l.address[1]"));
    python_begin(&python, "c = l.accept()");
    ck_assert_rc(tine_dial(&connection, address, &dial_options), -EPROTO);
    ck_assert_int_eq(python_finish(&python)[0], '!');
    python_end(&python);
}

/* Beyond 2 GiB lengths take another form. Much memory and time: TINE_TEST_HUGE=1. */
TEST(messages_beyond_two_gigabytes_come_and_go, .timeout_s = 200)
{
    const size_t size = ((size_t)1 << 31) + 5;
    tine_listener_options options = listener_options;
    tine_connection *connection;
    tine_listener *listener;
    struct python python;
    uint8_t *bytes;
    char address[300];
    size_t count;

    if (getenv("TINE_TEST_HUGE") == NULL)
        SKIP("TINE_TEST_HUGE is not set");
    if (!python_start_connecting(&python, 12) && !python_start_connecting(&python, 13))
        SKIP("no Python 3.12 or 3.13");
    options.message_bytes_max = UINT64_MAX;
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    python_address(listener, address, sizeof address);
    accept_python(&python, listener, &connection);
    python_begin(&python, "c.send_bytes(b'x' * %zu)", size);
    ck_assert_rc(tine_connection_recv_bytes(connection, TINE_SEC(600), (void **)&bytes, &count), 0);
    ck_assert_str_eq(python_finish(&python), "");
    ck_assert_uint_eq(count, size);
    ck_assert_int_eq(bytes[size - 1], 'x');
    python_begin(&python, "= len(c.recv_bytes())");
    ck_assert_rc(tine_connection_send_bytes(connection, bytes, size, TINE_SEC(600)), 0);
    ck_assert_uint_eq(strtoull(python_finish(&python), NULL, 10), size);
    free(bytes);
    tine_connection_close(connection);
    tine_listener_close(listener);
    python_end(&python);
}

SUITE("ipc/listener_python")
