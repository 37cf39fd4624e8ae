/* SPDX-License-Identifier: MIT */
/* Pipes: what is more than bytes: descriptors, pointers, functions, connections. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/ipc/pipe_help.h"
#include "tests/ipc/sent_files.h"

HEAP_BEFORE_TESTS

/* ---- descriptors, pointers, functions -------------------------------------------------------- */

TEST(descriptors_go_through_with_messages_of_all_sizes, .loop_end = 3)
{
    static const size_t lengths[] = {10, 10000, 1000000};
    static uint8_t bytes[1000000];
    struct ends ends = pipe_with(NULL);
    int one = a_file("one"), two = a_file("two"), got[2] = {-1, -1};
    const void *came;
    size_t size;

    for (int i = 0; i < 50; i++) {
        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "Fy[F]", one, bytes,
                                          lengths[loop_index], two),
                     0);
        ck_assert_rc(
            tine_connection_recv(ends.b, TINE_FOREVER, "Fy[F]", &got[0], &came, &size, &got[1]), 0);
        ck_assert_uint_eq(size, lengths[loop_index]);
        expect_file(got[0], "one");
        expect_file(got[1], "two");
    }
    close(one);
    close(two);
    pipe_end(&ends);
}

/* Plain ones are not overtaken, nor do they overtake. */
TEST(messages_with_descriptors_come_in_their_turn, .loop_end = 2)
{
    static uint8_t bytes[100000];
    struct ends ends = pipe_with(NULL);
    size_t length = loop_index == 0 ? 10 : sizeof bytes;
    int fd = a_file("x"), got = -1;
    int64_t number;

    for (int64_t i = 0; i < 40; i++)
        if (i % 4 < 2)
            ck_assert_rc(tine_connection_send(ends.a, 0, "q", i), 0);
        else
            ck_assert_rc(tine_connection_send(ends.a, 0, "qFy", i, fd, bytes, length), 0);
    for (int64_t i = 0; i < 40; i++) {
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
        if (i % 4 < 2) {
            ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), 0);
        } else {
            ck_assert_rc(tine_connection_recv(ends.b, 0, "qFy", &number, &got, NULL, NULL), 0);
            expect_file(got, "x");
        }
        ck_assert_int_eq(number, i);
    }
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    close(fd);
    pipe_end(&ends);
}

TEST(no_more_descriptors_are_sent_than_fit, .loop_end = 2)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1, sent = 0, rc;

    while ((rc = tine_connection_send(ends.a, loop_index * TINE_MS(1), "F", fd)) == 0)
        sent++;
    ck_assert_rc(rc, loop_index == 0 ? -EAGAIN : -ETIMEDOUT);
    ck_assert_int_gt(sent, 10);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
    expect_file(got, "x");
    for (int i = 1; i < sent; i++)
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", NULL), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", NULL), -EAGAIN);
    close(fd);
    pipe_end(&ends);
}

TEST(descriptors_come_before_the_end)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;

    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_send(ends.b, 0, "F", fd), 0);
    close(fd);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, "F", &got), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, "F", &got), TINE_EEOF);
    ck_assert_rc(tine_connection_send(ends.b, TINE_FOREVER, "F", STDIN_FILENO), -EPIPE);
    pipe_end(&ends);
}

/* Whatever does not take them closes them: the suite looks for what is left open. */
TEST(descriptors_that_nobody_takes_are_closed)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;
    int64_t q;
    void *bytes;
    size_t size;

    for (int i = 0; i < 7; i++)
        ck_assert_rc(tine_connection_send(ends.a, 0, "FF", fd, fd), 0);
    close(fd);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FF", &got, NULL), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv(ends.b, 0, "Fq", &got, &q), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &bytes, &size), 0);
    free(bytes);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FF", NULL, &got), 0); /* kept with the message */
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    pipe_end(&ends);
}

/* A view has no place for them. */
TEST(a_message_with_descriptors_is_not_read_in_place_but_kept)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;
    tine_message message;
    tine_reader reader;
    int64_t number;

    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(2)), 0);
    close(fd);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), -EOPNOTSUPP);
        ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, TINE_FOREVER, &message, &reader),
                     -EOPNOTSUPP);
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    }
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, &message, &reader), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    tine_message_release(&message);
    pipe_end(&ends);
}

TEST(at_most_sixteen_descriptors_go_with_a_message)
{
    struct ends ends = pipe_with(NULL);
    int closed = a_file("x");

    close(closed);
    send_sixteen(ends.a, ends.b);
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", closed), -EBADF);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

/* A number for a descriptor that is not beside it. */
TEST(descriptors_that_did_not_come_are_no_descriptors)
{
    struct ends ends = pipe_with(NULL);
    int got = -1;

    ck_assert_rc(tine_connection_send_bytes(ends.a, "\xd7\x02\0\0\0\0\0\0\0\0", 10, 0), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), TINE_EFORMAT);
    ck_assert_int_eq(got, -1);
    pipe_end(&ends);
}

TEST(a_receiver_without_room_for_descriptors_says_so, .loop_end = 2)
{
    static uint8_t bytes[100000];
    struct rlimit before, limit;
    struct ends ends;
    int fd, got[2] = {-1, -1};

    if (suite_under_valgrind())
        SKIP("valgrind keeps the kernel from refusing");
    ends = pipe_with(NULL);
    fd = a_file("x");
    for (int i = 0; i < 40; i++) {
        ck_assert_rc(tine_connection_send(ends.a, 0, "FFy", fd, fd, bytes,
                                          loop_index == 0 ? (size_t)10 : sizeof bytes),
                     0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        limit = before;
        limit.rlim_cur = (rlim_t)fd + 2; /* room for one */
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "FFy", &got[0], &got[1], NULL, NULL), -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got[0]), 0);
    expect_file(got[0], "x");
    close(fd);
    pipe_end(&ends);
}

static int answer(void)
{
    return 42;
}

TEST(pointers_and_functions_go_through_within_the_family)
{
    struct ends ends = pipe_with(NULL);
    int64_t *number = tine_alloc(sizeof *number);
    tine_any_function *function = NULL;
    void *pointer = NULL;

    ck_assert_rc(tine_connection_send(ends.a, 0, "pc", number, (tine_any_function *)answer), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "pc", &pointer, &function), 0);
    ck_assert_ptr_eq(pointer, number);
    ck_assert_int_eq(((int (*)(void))function)(), 42);
    tine_free(number);
    pipe_end(&ends);
}

static void serve_what_comes(void *context)
{
    struct ends *ends = context;
    tine_connection *b = keep_b(ends), *client;
    int64_t number;

    while (tine_connection_recv(b, TINE_FOREVER, "oc", &client) == 0) {
        ck_assert_rc(tine_connection_recv(client, TINE_FOREVER, "q", &number), 0);
        ck_assert_rc(tine_connection_send(client, TINE_FOREVER, "q", number + 1), 0);
        tine_connection_close(client);
    }
    tine_connection_close(b);
}

/* A pipe that is younger than the process it goes to. */
TEST(connections_go_through_connections)
{
    struct ends ends = pipe_with(NULL);
    struct child server = child_start(serve_what_comes, &ends);
    int64_t number;

    keep_a(&ends);
    for (int64_t i = 0; i < 50; i++) {
        struct ends young = pipe_with(NULL);

        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "oc", young.b), 0);
        tine_connection_close(young.b);
        ck_assert_rc(tine_connection_send(young.a, TINE_FOREVER, "q", i), 0);
        ck_assert_rc(tine_connection_recv(young.a, TINE_FOREVER, "q", &number), 0);
        ck_assert_int_eq(number, i + 1);
        ck_assert_rc(tine_connection_recv(young.a, TINE_FOREVER, "q", &number), TINE_EEOF);
        tine_connection_close(young.a);
    }
    tine_connection_close(ends.a);
    child_join(&server);
}

/* The kernel looks for what is in flight in its own queue when a socket is closed, and soon
   after. */
static bool nothing_is_left(const tine_pipe_options *options, uint64_t blocks)
{
    tine_connection *a, *b;

    ck_assert_rc(tine_pipe(&a, &b, options), 0);
    tine_connection_close(a);
    tine_connection_close(b);
    tine__keepalive_sweep();
    return heap_blocks() == blocks;
}

/* Nobody can ever receive it. */
TEST(an_end_may_be_sent_to_itself)
{
    tine_pipe_options options = {.transport = PIPE_TRANSPORT};
    struct ends ends = pipe_with(NULL);

    pipe_end(&ends);
    for (int i = 0; i < 100; i++) {
        struct ends both = pipe_with(NULL);

        ck_assert_rc(tine_connection_send(both.a, 0, "oc", both.b), 0);
        ck_assert_rc(tine_connection_send(both.b, 0, "oc", both.a), 0);
        tine_connection_close(both.a);
        tine_connection_close(both.b);
    }
    ck_assert_eventually(nothing_is_left(&options, ends.blocks));
}

TEST(connections_that_nobody_takes_are_closed)
{
    struct ends ends = pipe_with(NULL), sent = pipe_with(NULL);
    tine_connection *got = NULL;
    int64_t number;
    void *bytes;
    size_t size;

    ck_assert_rc(tine_connection_send(ends.a, 0, "ocq", sent.b, INT64_C(3)), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", sent.b), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", sent.b), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", NULL), 0);
    tine_connection_close(sent.b);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "ocs", &got, NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "oc", NULL), 0);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &bytes, &size), 0);
    free(bytes);
    ck_assert_rc(tine_connection_recv(sent.a, 0, "q", &number), TINE_EEOF);
    tine_connection_close(sent.a);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "oc", &got), 0);
    ck_assert_ptr_null(got);
    pipe_end(&ends);
}

TEST(pipes_leave_no_descriptors_open, .timeout_s = 60)
{
    for (int i = 0; i < 10000; i++) {
        tine_connection *a, *b;

        ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.simplex = i & 1}), 0);
        tine_connection_close(i & 2 ? a : b);
        tine_connection_close(i & 2 ? b : a);
    }
}

SUITE(PIPE_TRANSPORT == TINE_RING ? "ipc/pipe_references_ring" : "ipc/pipe_references")
