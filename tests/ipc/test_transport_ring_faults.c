/* SPDX-License-Identifier: MIT */
/*
 * Pipes over rings without memory or descriptors: the k-th call that can fail does, for every k
 * until all goes well, and nothing is left. The program is linked so that those come here first (ld
 * --wrap).
 */
#include <errno.h>

#include "lib/sys.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/failing.h"

HEAP_BEFORE_TESTS

FAILING(malloc, (size_t size), (size))
FAILING(calloc, (size_t count, size_t size), (count, size))
FAILING(tine_alloc, (size_t size), (size))
FAILING(tine_aligned_alloc, (size_t alignment, size_t size), (alignment, size))
FAILING_AS(int, tine__keepalive_make, -EMFILE,
           (struct tine__keepalive * hold, void *object, const struct tine__kept_kind *kind),
           (hold, object, kind))
FAILING_AS(int, tine__keepalive_share, -EMFILE,
           (struct tine__keepalive * hold, const struct tine__keepalive *other, uint32_t side),
           (hold, other, side))
FAILING_AS(int, tine__sys_socketpair, -EMFILE, (int fds[2]), (fds))

static int make(tine_connection **a, tine_connection **b, uint32_t simplex)
{
    return tine_pipe(a, b, &(tine_pipe_options){.transport = TINE_RING, .simplex = simplex});
}

TEST(a_pipe_that_cannot_be_made_leaves_nothing, .loop_end = 2)
{
    struct ends ends = pipe_with(NULL);
    tine_connection *a = NULL, *b = NULL;
    uint64_t blocks = heap_blocks();
    int rc = -ENOMEM, k;

    for (k = 1; rc < 0; k++) {
        failing.until = k;
        failing.failed = 0;
        rc = make(&a, &b, (uint32_t)loop_index);
        failing.until = 0;
        if (rc == 0)
            break;
        ck_assert(rc == -ENOMEM || rc == -EMFILE);
        ck_assert_int_eq(failing.failed, 1);
        ck_assert(a == NULL && b == NULL);
        ck_assert_uint_eq(heap_blocks(), blocks);
    }
    ck_assert_int_gt(k, 8);
    tine_connection_close(a);
    tine_connection_close(b);
    ck_assert_uint_eq(heap_blocks(), blocks);
    pipe_end(&ends);
}

/* The other end learns of it all the same: by looking. */
TEST(an_end_may_be_closed_without_descriptors)
{
    struct ends ends = pipe_with(NULL);
    tine_message message;

    ck_assert_rc(tine_connection_send_bytes(ends.a, "last", 4, 0), 0);
    failing.until = 1;
    tine_connection_close(ends.a);
    ck_assert_int_eq(failing.failed, 1);
    ends.a = NULL;
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), 0);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), TINE_EEOF);
    pipe_end(&ends);
}

TEST(without_memory_nothing_is_received_or_lost, .loop_end = 2)
{
    static uint8_t bytes[100000];
    size_t size = loop_index == 0 ? 1000 : sizeof bytes;
    struct ends ends = pipe_with(NULL);
    tine_message message;
    int rc;

    stamp_fill(bytes, size, (struct stamp){1, 1});
    ck_assert_rc(tine_connection_send_bytes(ends.a, "first", 5, 0), 0); /* which makes the lane */
    for (int k = 1;; k++) {
        failing.until = k;
        rc = tine_connection_send_bytes(ends.a, bytes, size, 0);
        failing.until = 0; /* the suite needs memory, too */
        if (rc == 0)
            break;
        ck_assert_rc(rc, -ENOMEM);
    }
    for (int k = 1;; k++) {
        failing.until = k;
        rc = tine_connection_recv_view(ends.b, 0, &message);
        failing.until = 0;
        if (rc == 0)
            break;
        ck_assert_rc(rc, -ENOMEM);
    }
    ck_assert_uint_eq(message.size, 5);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0);
    ck_assert_uint_eq(message.size, size);
    stamp_check(message.data, size);
    tine_message_release(&message);
    pipe_end(&ends);
}

TEST(without_memory_no_descriptor_is_sent_or_lost, .loop_end = 2)
{
    static uint8_t bytes[100000];
    size_t size = loop_index == 0 ? 1000 : sizeof bytes;
    struct ends ends = pipe_with(NULL);
    int64_t number;
    int rc, fd = -1;

    for (int k = 1;; k++) {
        failing.until = k;
        rc = tine_connection_send(ends.a, 0, "Fy", STDIN_FILENO, bytes, size);
        failing.until = 0;
        if (rc == 0)
            break;
        ck_assert_rc(rc, -ENOMEM);
    }
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(2)), 0);
    for (int k = 1;; k++) {
        failing.until = k;
        rc = tine_connection_recv(ends.b, 0, "Fy", &fd, NULL, NULL);
        failing.until = 0;
        if (rc == 0)
            break;
        ck_assert_rc(rc, -ENOMEM);
    }
    ck_assert_int_eq(close(fd), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), 0);
    pipe_end(&ends);
}

SUITE("ipc/transport_ring_faults")
