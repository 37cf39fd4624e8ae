/* SPDX-License-Identifier: MIT */
/* Connections from a listener: limits, references, timeouts, forks, and their travel. */
#include <tine/listener.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/ipc/listener_help.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

/* ---- limits of messages ---------------------------------------------------------------------- */

TEST(each_side_says_what_it_takes)
{
    tine_connection *a, *b;
    tine_listener *listener;
    char bytes[2001] = "";

    ck_assert_rc(
        tine_listener_open(&listener, NULL, &(tine_listener_options){.message_bytes_max = 1000}),
        0);
    meet(listener, &(tine_dial_options){.message_bytes_max = 2000}, &a, &b);
    ck_assert_rc(tine_connection_send_bytes(b, bytes, 1001, TINE_FOREVER), -EMSGSIZE);
    ck_assert_rc(tine_connection_send_bytes(a, bytes, 2001, TINE_FOREVER), -EMSGSIZE);
    echo(b, a, (uint8_t *)bytes, 1000);
    echo(a, b, (uint8_t *)bytes, 2000);
    tine_connection_close(a);
    tine_connection_close(b);
    tine_listener_close(listener);
}

TEST(a_long_claim_ends_a_connection)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    tine_listener *listener;
    int fd;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\x7f\xff\xff\xff", 4, MSG_NOSIGNAL), 4);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_poll(connection, 0), 1);
    tine_connection_close(connection);
    close(fd);
    tine_listener_close(listener);
}

/* ---- what is for the family only ------------------------------------------------------------- */

static void some_function(void)
{
}

/* References to code and handles: not from strangers, nor to them. Descriptors are beside the
   bytes. */
TEST(strangers_get_no_references, .loop_end = WAYS)
{
    tine_any_function *function = NULL;
    tine_connection *a, *b, *other = NULL;
    void *pointer = NULL;
    int fd = -1;

    meet_somehow(loop_index, &a, &b);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "oc", b), -EINVAL);
    if (tine_connection_send(a, TINE_FOREVER, "c", some_function) == 0)
        ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "c", &function), 0);
    /* what a family's connection would have sent */
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x02\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "F", &fd), 0);
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x04\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "oc", &other), 0);
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x01\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "p", &pointer), -EINVAL);
    ck_assert_ptr_null(pointer);
    ck_assert_ptr_null(function);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(fd, -1);
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(descriptors_go_over_unix_sockets, .loop_end = WAYS)
{
    int sent = memfd_create("sent", MFD_CLOEXEC), got = -1;
    tine_connection *a, *b;
    struct stat one, other;
    int64_t number = 0;

    meet_somehow(loop_index, &a, &b);
    if (loop_index == WAYS - 1) { /* Python's protocol has none */
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "qF", INT64_C(7), sent), -EINVAL);
    } else {
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "qF", INT64_C(7), sent), 0);
        ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "qF", &number, &got), 0);
        ck_assert_int_eq(number, 7);
        ck_assert_ok(fstat(sent, &one));
        ck_assert_ok(fstat(got, &other));
        ck_assert_uint_eq(one.st_ino, other.st_ino);
        close(got);
    }
    close(sent);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- timeouts in the middle ------------------------------------------------------------------ */

TEST(half_a_message_is_waited_for)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    tine_listener *listener;
    char bytes[10];
    size_t size;
    int fd;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\0\0", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, 0, &size), -EAGAIN);
    ck_assert_int_eq(send(fd, "\0\4ab", 4, MSG_NOSIGNAL), 4);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, TINE_MS(5), &size),
                 -ETIMEDOUT);
    ck_assert_int_eq(send(fd, "cd", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, TINE_FOREVER, &size), 0);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(bytes, "abcd", 4);
    ck_assert_int_eq(send(fd, "\0\0\0\4ab", 6, MSG_NOSIGNAL), 6);
    close(fd);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), -EBADMSG);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", INT64_C(1)), -EPIPE);
    tine_connection_close(connection);
    tine_listener_close(listener);
}

/* Sending without waiting: the rest goes out while this side waits to receive. */
TEST(the_rest_of_a_message_follows, .loop_end = WAYS)
{
    const size_t large = 8000000;
    uint8_t *sent = calloc(1, large), *received;
    tine_connection *a, *b;
    struct child child;
    size_t size;
    int rc, count = 0;

    meet_somehow(loop_index, &a, &b);
    while ((rc = tine_connection_send_bytes(a, sent, large, 0)) == 0)
        count++;
    ck_assert_rc(rc, -EAGAIN);
    ck_assert_int_eq(count, 1);
    ck_assert_rc(tine_connection_send_bytes(a, sent, 1, TINE_MS(1)), -ETIMEDOUT);
    child = (struct child){.pid = fork()};
    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0) {
        ck_assert_rc(tine_connection_recv_bytes(b, TINE_FOREVER, (void **)&received, &size), 0);
        ck_assert_uint_eq(size, large);
        ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(7)), 0);
        _exit(0);
    }
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", NULL), 0);
    child_join(&child);
    tine_connection_close(a);
    tine_connection_close(b);
    free(sent);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void send_in_child(void *context)
{
    ck_assert_rc(tine_connection_send(context, TINE_FOREVER, "q", INT64_C(1)), 0);
    ck_assert_rc(tine_connection_send(context, TINE_FOREVER, "q", INT64_C(2)), 0);
    tine_connection_close(context);
}

/* One direction goes to the child, which used it first; the other stays. */
TEST(after_a_fork_one_process_has_a_direction, .loop_end = WAYS)
{
    tine_connection *a, *b;
    struct child child;
    int64_t number;

    meet_somehow(loop_index, &a, &b);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(0)), 0);
    child = child_start(send_in_child, a);
    child_join(&child);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(3)), TINE_EFORKED);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", &number), 0);
        ck_assert_int_eq(number, i);
    }
    ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(4)), 0);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 4);
    tine_connection_close(a);
    tine_connection_close(b);
}

static void find_it_taken(void *context)
{
    ck_assert_rc(tine_connection_recv(context, 0, "q", NULL), TINE_EFORKED);
    tine_connection_close(context);
}

struct gated {
    tine_connection *connection;
    struct gate *gate;
};

static void find_it_taken_later(void *context)
{
    struct gated *gated = context;

    gate_await(gated->gate, 1);
    find_it_taken(gated->connection);
}

TEST(a_child_that_comes_too_late_is_told, .loop_end = WAYS)
{
    struct gated gated = {.gate = gate_new()};
    tine_connection *a, *b;
    struct child child;

    meet_somehow(loop_index, &a, &b);
    gated.connection = b;
    child = child_start(find_it_taken_later, &gated);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(4)), 0);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", NULL), 0);
    gate_raise(gated.gate);
    child_join(&child);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- connections as messages ----------------------------------------------------------------- */

/* Made before there was anything to serve. */
static void serve_what_comes(void *context)
{
    tine_connection *pipe = context, *client;
    int64_t number;

    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_connection_recv(pipe, TINE_FOREVER, "oc", &client), 0);
        while (tine_connection_recv(client, TINE_FOREVER, "q", &number) == 0)
            ck_assert_rc(tine_connection_send(client, TINE_FOREVER, "q", 2 * number), 0);
        tine_connection_close(client);
    }
    tine_connection_close(pipe);
}

static void ask_for_double(tine_connection *connection, int64_t number)
{
    int64_t doubled;

    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), 0);
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(600), "q", &doubled), 0);
    ck_assert_int_eq(doubled, 2 * number);
}

/* Accepted here, served there: also after some messages here. */
TEST(a_connection_goes_to_another_process, .loop_end = WAYS)
{
    tine_connection *here, *there, *a, *b;
    struct child child;
    int64_t number;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    child = child_start(serve_what_comes, there);
    for (int i = 0; i < 2; i++) {
        meet_somehow(loop_index, &a, &b);
        for (int j = 0; j < i; j++) {
            ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(5)), 0);
            ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
            ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(6)), 0);
            ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", &number), 0);
        }
        ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", a), 0);
        ask_for_double(b, 21);
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(7)), TINE_EFORKED);
        ck_assert_rc(tine_connection_recv(a, 0, "q", &number), TINE_EFORKED);
        tine_connection_close(a);
        ask_for_double(b, 22);
        tine_connection_close(b);
    }
    child_join(&child);
    tine_connection_close(here);
    tine_connection_close(there);
}

TEST(who_is_in_the_middle_does_not_travel)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *here, *there, *connection;
    tine_listener *listener;
    int64_t number;
    int fd;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\0\0\0", 3, MSG_NOSIGNAL), 3);
    ck_assert_rc(tine_connection_recv(connection, 0, "q", &number), -EAGAIN);
    ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", connection), -EBUSY);
    ck_assert_int_eq(send(fd, "\1\7", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", &number), 0);
    ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", connection), 0);
    /* not used there, it is still ours */
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), 0);
    tine_connection_close(connection);
    ck_assert_rc(tine_connection_recv(there, TINE_FOREVER, "oc", &connection), 0);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), TINE_EFORKED);
    ck_assert_int_eq(send(fd, "\0\0\0\1\10", 5, MSG_NOSIGNAL), 5);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 8);
    tine_connection_close(connection);
    tine_connection_close(here);
    tine_connection_close(there);
    close(fd);
    tine_listener_close(listener);
}

SUITE("ipc/listener_talk")
