/* SPDX-License-Identifier: MIT */
/* Descriptors beside the messages of a stream: in clear and encrypted, and from peers that lie. */
#include "ipc/transport_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/listener.h>

#include "ipc/connection.h"
#include "ipc/stream.h"
#include "lib/rights.h"
#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/ipc/sent_files.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"

enum { CLEAR, BOXES, KINDS };

/* ---- sends that are refused ------------------------------------------------------------------ */

static int refusals, refusal; /* so many calls that send descriptors fail with that error */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (message->msg_controllen > 0 && refusals > 0) {
        refusals--;
        errno = refusal;
        return -1;
    }
    return __real_sendmsg(fd, message, flags);
}

/* ---- two ends -------------------------------------------------------------------------------- */

struct ends {
    tine_connection *a, *b;
    int peer; /* the socket of a end that is only there as bytes */
    struct tine__session session, mirror;
};

static void make_sessions(struct ends *ends, int kind)
{
    struct tine__session *one = &ends->session, *other = &ends->mirror;

    *one = (struct tine__session){.peer_limit = 64 << 20, .encrypted = kind == BOXES};
    memset(one->send_key, 1, sizeof one->send_key);
    memset(one->receive_key, 2, sizeof one->receive_key);
    *other = *one;
    memcpy(other->send_key, one->receive_key, sizeof one->send_key);
    memcpy(other->receive_key, one->send_key, sizeof one->send_key);
}

static tine_connection *connection_on(int fd, const struct tine__session *session)
{
    struct tine__transport *transport;
    tine_connection *connection;

    ck_assert_rc(tine__transport_stream(&transport, fd, session, false, 64 << 20), 0);
    ck_assert_rc(tine__connection_open(&connection, transport, true, true), 0);
    return connection;
}

static struct ends ends_open(int kind)
{
    struct ends ends = {.peer = -1};
    int fds[2];

    make_sessions(&ends, kind);
    ck_assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    ends.a = connection_on(fds[0], &ends.session);
    ends.b = connection_on(fds[1], &ends.mirror);
    return ends;
}

/* b alone; its peer is a socket, into which the test puts what it likes. */
static struct ends half_open(int kind)
{
    struct ends ends = {.a = NULL};
    int fds[2];

    make_sessions(&ends, kind);
    ck_assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    ends.peer = fds[0];
    ends.b = connection_on(fds[1], &ends.mirror);
    return ends;
}

static void ends_close(struct ends *ends)
{
    tine_connection_close(ends->a);
    tine_connection_close(ends->b);
    if (ends->peer >= 0)
        close(ends->peer);
}

/* ---- who tells the truth --------------------------------------------------------------------- */

TEST(they_arrive_with_their_messages, .loop_end = KINDS)
{
    static const size_t lengths[] = {10, 10000, 60000};
    static uint8_t bytes[60000];
    struct ends ends = ends_open(loop_index);
    int one = a_file("one"), two = a_file("two"), got[2] = {-1, -1};
    const void *came;
    int64_t number;
    size_t size;

    for (int i = 0; i < 30; i++) {
        size_t length = lengths[i % 3];

        ck_assert_rc(tine_connection_send(ends.a, 0, "q", (int64_t)i), 0);
        ck_assert_rc(tine_connection_send(ends.a, 0, "Fy[F]", one, bytes, length, two), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), 0);
        ck_assert_int_eq(number, i);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "Fy[F]", &got[0], &came, &size, &got[1]), 0);
        ck_assert_uint_eq(size, length);
        expect_file(got[0], "one");
        expect_file(got[1], "two");
        ck_assert_rc(tine_connection_send(ends.a, 0, "F", one), 0);
        ck_assert_rc(tine_connection_send(ends.a, 0, "F", two), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got[0]), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got[1]), 0);
        expect_file(got[0], "one");
        expect_file(got[1], "two");
    }
    close(one);
    close(two);
    ends_close(&ends);
}

TEST(at_most_sixteen_go_with_a_message, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);

    send_sixteen(ends.a, ends.b);
    ends_close(&ends);
}

/* The call fails, and the stream is as it was. */
TEST(what_is_no_descriptor_is_not_sent, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    int fd = a_file("x"), got;

    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_send(ends.a, 0, "FF", fd, 999), -EBADF);
        ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
        ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
        expect_file(got, "x");
    }
    close(fd);
    ends_close(&ends);
}

/* Who does not ask for them has them closed: the suite looks for what is left open. */
TEST(those_that_nobody_takes_are_closed, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    int fd = a_file("x"), got;
    void *bytes;
    size_t size;

    for (int i = 0; i < 4; i++)
        ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    close(fd);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &bytes, &size), 0);
    free(bytes);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0); /* kept with the message */
    expect_file(got, "x");
    ends_close(&ends); /* one is in the socket still */
}

/* Cut in the middle, the rest follows by itself; the descriptor has gone with the first byte. */
TEST(a_message_in_pieces_has_them_once, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    size_t size = 4000000, got_size;
    uint8_t *bytes = calloc(1, size);
    int fd = a_file("once"), got = -1;
    const void *came;

    ck_assert_rc(tine_connection_send(ends.a, 0, "Fy", fd, bytes, size), 0);
    close(fd);
    while (tine_connection_recv(ends.b, 0, "Fy", &got, &came, &got_size) == -EAGAIN)
        ck_assert_rc(tine_connection_poll(ends.a, 0), 0); /* sends more */
    expect_file(got, "once");
    ck_assert_uint_eq(got_size, size);
    ck_assert_rc(tine_connection_send(ends.a, 0, "y", bytes, (size_t)10), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), TINE_EFORMAT);
    free(bytes);
    ends_close(&ends);
}

/* The first part, and its descriptor, are here when the handle is closed. */
TEST(half_a_message_leaves_none_open, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    uint8_t *bytes = calloc(1, 4000000);
    int fd = a_file("x");

    ck_assert_rc(tine_connection_send(ends.a, 0, "Fy", fd, bytes, (size_t)4000000), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "Fy", NULL, NULL, NULL), -EAGAIN);
    close(fd);
    free(bytes);
    ends_close(&ends);
}

/*
 * Too many are under way: that passes. A message in clear is taken back when its time is over; a
 * box that is made follows later, with duplicates.
 */
TEST(a_crowd_of_them_is_waited_for, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    int fd = a_file("x"), got = -1;

    refusal = ETOOMANYREFS;
    refusals = 3;
    ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "F", fd), 0);
    ck_assert_int_eq(refusals, 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
    expect_file(got, "x");
    refusals = 1;
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), loop_index == BOXES ? 0 : -EAGAIN);
    ck_assert_int_eq(refusals, 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(7)), 0);
    close(fd);
    if (loop_index == BOXES) {
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
        expect_file(got, "x");
    }
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), 0);
    ends_close(&ends);
}

/* What waits for better times goes out while this side waits to receive. */
TEST(a_crowd_may_end_while_one_waits)
{
    struct ends ends = ends_open(BOXES);
    int fd = a_file("x"), got = -1;

    refusal = ETOOMANYREFS;
    refusals = 2;
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_int_eq(refusals, 1);
    close(fd);
    while (tine_connection_recv(ends.b, 0, "F", &got) == -EAGAIN)
        ck_assert_rc(tine_connection_poll(ends.a, TINE_MS(60)), 0);
    expect_file(got, "x");
    ends_close(&ends);
}

TEST(unsent_ones_are_closed_with_the_handle)
{
    struct ends ends = ends_open(BOXES);
    int fd = a_file("x");

    refusal = ETOOMANYREFS;
    refusals = 1000;
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    close(fd);
    ends_close(&ends);
    refusals = 0;
}

static void take_in_child(void *context)
{
    int got = -1;

    ck_assert_rc(tine_connection_recv(context, TINE_FOREVER, "F", &got), 0);
    expect_file(got, "x");
    tine_connection_close(context);
}

TEST(a_forked_child_takes_them_too, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    struct child child;
    int fd = a_file("x");

    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    close(fd);
    child = child_start(take_in_child, ends.b);
    child_join(&child);
    ends_close(&ends);
}

TEST(a_receiver_without_room_says_so, .loop_end = KINDS)
{
    struct ends ends = ends_open(loop_index);
    struct rlimit before, limit;
    int fd = a_file("x"), got[2] = {-1, -1};

    for (int i = 0; i < 10; i++) {
        ck_assert_rc(tine_connection_send(ends.a, 0, "FFq", fd, fd, INT64_C(1)), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        limit = before;
        limit.rlim_cur = (rlim_t)fd + (i % 2 == 0 ? 2 : 1); /* room for one, or for none */
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "FFq", &got[0], &got[1], NULL), -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got[0]), 0);
    expect_file(got[0], "x");
    close(fd);
    ends_close(&ends);
}

/* ---- who lies -------------------------------------------------------------------------------- */

/* At most that many at a time; the bytes go with the first of them. */
static void put(int fd, const void *bytes, size_t size, int beside)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(100 * sizeof(int))];
    } control = {.room = ""};

    if (beside > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE((size_t)beside * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)beside * sizeof(int));
        for (int i = 0; i < beside; i++)
            memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &fd, sizeof(int));
    }
    ck_assert_int_eq(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t)size);
}

/* The bytes of a message that says it has so many beside it. */
static size_t message_bytes(const struct ends *ends, const void *data, size_t size, uint32_t says,
                            uint8_t *bytes)
{
    struct tine__stream_rules rules = {.send = {.length_max = UINT64_MAX, .check = 2}};
    struct tine__stream_out out;
    struct iovec parts[2];
    size_t written = 0;
    int count;

    rules.send.check = ends->session.encrypted ? TINE_CHECK_HEADER : TINE_CHECK_DEFAULT;
    memcpy(rules.send.key.large, ends->session.send_key, sizeof rules.send.key.large);
    memcpy(rules.send.key.small, ends->session.send_check, sizeof rules.send.key.small);
    if (ends->session.encrypted)
        ck_assert_rc(tine__encryption_open(&rules.encryption, &ends->session), 0);
    ck_assert_rc(tine__stream_out_init(&out, &rules), 0);
    ck_assert_rc(tine__stream_put(&out, data, size, says), 0);
    while ((count = tine__stream_parts(&out, parts)) > 0) {
        memcpy(bytes + written, parts[0].iov_base, parts[0].iov_len);
        written += parts[0].iov_len;
        tine__stream_sent(&out, parts[0].iov_len);
    }
    tine__stream_out_fini(&out);
    tine__encryption_close(rules.encryption);
    return written;
}

static const struct {
    uint32_t says;
    int sends;
} lies[] = {{1, 0}, {0, 1}, {1, 2}, {2, 1}, {16, 15}, {15, 16}, {16, 17}, {16, 100}, {0, 100}};
#define LIES ((int)(sizeof lies / sizeof lies[0]))

TEST(not_as_many_as_it_says_is_the_end, .loop_end = KINDS * LIES)
{
    struct ends ends = half_open(loop_index % KINDS);
    uint8_t bytes[1000];
    size_t size = message_bytes(&ends, "\x07", 1, lies[loop_index / KINDS].says, bytes);

    put(ends.peer, bytes, size, lies[loop_index / KINDS].sends);
    for (int i = 0; i < 2; i++)
        ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    ends_close(&ends);
}

/* Who was given one descriptor as two would close it twice, and with it somebody else's. */
TEST(one_descriptor_is_not_two, .loop_end = KINDS)
{
    const char *twice = "\xd7\x02\0\0\0\0\0\0\0\0\xd7\x02\0\0\0\0\0\0\0\0";
    struct ends ends = half_open(loop_index);
    int got[2] = {-1, -1};
    uint8_t bytes[1000];
    size_t size = message_bytes(&ends, twice, 20, 1, bytes);

    put(ends.peer, bytes, size, 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FF", &got[0], &got[1]), TINE_EFORMAT);
    ck_assert_int_eq(got[0], -1);
    ck_assert_int_eq(got[1], -1);
    ends_close(&ends);
}

/* Beside later bytes nobody looks for them, and the kernel closes them. */
TEST(in_the_middle_of_a_message_they_are_dropped, .loop_end = KINDS)
{
    struct ends ends = half_open(loop_index);
    uint8_t bytes[1000];
    size_t size = message_bytes(&ends, "\x07", 1, 0, bytes);
    int64_t number = 0;

    put(ends.peer, bytes, size - 1, 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), -EAGAIN);
    put(ends.peer, bytes + size - 1, 1, 16);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), 0);
    ck_assert_int_eq(number, 7);
    ends_close(&ends);
}

/* The start of a direction may have them, as the first byte of its first message; a second lot
   not. */
TEST(they_do_not_come_twice)
{
    struct ends ends = half_open(BOXES);
    uint8_t bytes[1000];
    size_t size = message_bytes(&ends, "\x07", 1, 2, bytes);

    put(ends.peer, bytes, TINE__BOX_START, 1);
    put(ends.peer, bytes + TINE__BOX_START, size - TINE__BOX_START, 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), TINE_EFORMAT);
    ends_close(&ends);
}

/* A peer that sends nothing but descriptors: there are never more than those of one message. */
TEST(a_flood_of_them_is_bounded, .loop_end = KINDS)
{
    struct ends ends = half_open(loop_index);
    int before, after, first;

    for (int i = 0; i < 100; i++)
        put(ends.peer, "x", 1, 100);
    before = dup(ends.peer);
    close(before);
    first = tine_connection_recv(ends.b, 0, "q", NULL);
    /* one byte is no head yet, but a second lot of them is too many */
    ck_assert_rc(first, TINE_EFORMAT);
    after = dup(ends.peer);
    close(after);
    ck_assert_int_eq(after, before);
    ends_close(&ends);
}

/* ---- where none can go along ----------------------------------------------------------------- */

TEST(there_are_none_over_tcp_nor_to_pythons, .loop_end = 2)
{
    const bool python = loop_index == 1;
    tine_listener_options options = {.key = "k", .key_size = 1, .protocol = python};
    tine_dial_options dial = {.key = "k", .key_size = 1, .protocol = python};
    tine_listener *listener;
    tine_connection *a, *b;
    int fd = a_file("x");

    ck_assert_rc(tine_listener_open(&listener, python ? NULL : "tcp://127.0.0.1:0", &options), 0);
    meet(listener, &dial, &a, &b);
    ck_assert_rc(tine_connection_send(a, 0, "F", fd), -EINVAL);
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x02\0\0\0\0\0\0\0\0", 10, 0), 0);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "F", &fd), -EINVAL);
    close(fd);
    tine_connection_close(a);
    tine_connection_close(b);
    tine_listener_close(listener);
}

/* A Python that sends descriptors has them closed. */
TEST(a_pythons_are_dropped)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_dial_options dial = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_listener *listener;
    tine_connection *a, *b;
    int64_t number = 0;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    meet(listener, &dial, &a, &b);
    put(tine_connection_fileno(b), "\0\0\0\1\7", 5, 3);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 7);
    tine_connection_close(a);
    tine_connection_close(b);
    tine_listener_close(listener);
}

SUITE("ipc/stream_descriptors")
