/* SPDX-License-Identifier: MIT */
/*
 * Pipes without memory, descriptors or room: calls that fail, the k-th for every k until all goes
 * well. The program is linked so that they come here first (ld --wrap).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ipc/blocks.h"
#include "lib/record.h"
#include "lib/sys.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/wrap.h"

HEAP_BEFORE_TESTS

static int until_failure; /* 0: none fails */
static int failure;       /* the code of calls that have one; 0: only memory fails */
static int failed;        /* how many did */

static bool fails(bool memory)
{
    if (until_failure == 0 || (failure == 0 && !memory) || --until_failure > 0)
        return false;
    failed++;
    return true;
}

static void fail_at(int call, int code)
{
    until_failure = call;
    failure = code;
    failed = 0;
}

#define MEMORY(name, parameters, arguments)                                                        \
    WRAP(fails(true), void *, name, NULL, parameters, arguments)
#define CALL(type, name, parameters, arguments)                                                    \
    WRAP(fails(false), type, name, failure, parameters, arguments)

MEMORY(malloc, (size_t size), (size))
MEMORY(calloc, (size_t count, size_t size), (count, size))
MEMORY(realloc, (void *block, size_t size), (block, size))

static void (*while_freeing)(void); /* comes in between */

void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block)
{
    if (while_freeing != NULL)
        while_freeing();
    __real_free(block);
}

MEMORY(tine_alloc, (size_t size), (size))
MEMORY(tine_aligned_alloc, (size_t alignment, size_t size), (alignment, size))
CALL(int, tine__sys_socketpair, (int fds[2]), (fds))
CALL(int, tine__record_slices, (int fd, int64_t slice_ns), (fd, slice_ns))
CALL(int, tine__keepalive_make,
     (struct tine__keepalive * hold, void *object, const struct tine__kept_kind *kind),
     (hold, object, kind))
CALL(int, tine__keepalive_share,
     (struct tine__keepalive * hold, const struct tine__keepalive *other, uint32_t side),
     (hold, other, side))
CALL(int, tine__record_send,
     (int fd, const struct iovec *parts, int count, const int *fds, uint32_t fd_count, int flags),
     (fd, parts, count, fds, fd_count, flags))

static struct ends meeting;
static void (*while_receiving)(void); /* comes in between, once */

ssize_t __real_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags);
ssize_t __wrap_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags);
ssize_t __wrap_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags)
{
    if (while_receiving != NULL)
        while_receiving();
    return fails(false) ? failure
                        : __real_tine__record_recv(fd, parts, count, fds, fd_count, flags);
}

TEST(a_pipe_that_cannot_be_made_leaves_nothing)
{
    struct ends ends = pipe_with(NULL);
    int rc = -1;

    pipe_end(&ends);
    for (int call = 1; rc < 0; call++) {
        ends.a = ends.b = NULL;
        fail_at(call, -EMFILE);
        rc = tine_pipe(&ends.a, &ends.b, NULL);
        until_failure = 0; /* the suite needs memory, too */
        if (failed == 0)
            break;
        ck_assert(rc == -ENOMEM || rc == -EMFILE);
        ck_assert(ends.a == NULL && ends.b == NULL);
        ck_assert_uint_eq(heap_blocks(), ends.blocks);
        ck_assert_int_lt(call, 30);
    }
    ck_assert_rc(rc, 0);
    pipe_end(&ends);
}

static const size_t lengths[] = {5, 5000, 500000};
static uint8_t bytes[500000], room[500000];

TEST(a_message_that_cannot_be_sent_leaves_nothing, .loop_end = 3)
{
    static const struct {
        int failure, rc;
    } cases[] = {{-ENOBUFS, -ENOMEM}, {-ENOMEM, -ENOMEM},    {-ECONNRESET, -EPIPE},
                 {-EPIPE, -EPIPE},    {-EAGAIN, -ETIMEDOUT}, {-ETOOMANYREFS, -ETIMEDOUT}};
    struct ends ends = pipe_with(NULL);
    size_t size;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int j = 0; j < 40; j++) { /* more often than there are slots */
            fail_at(1 + (loop_index == 2 && i == 0 && j == 0), cases[i].failure);
            ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 1),
                         cases[i].rc);
        }
    until_failure = 0;
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
    ck_assert_uint_eq(size, lengths[loop_index]);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

/* The system is full of descriptors under way, or of records: that passes. */
TEST(a_full_system_is_waited_for)
{
    struct ends ends = pipe_with(NULL);

    fail_at(1, -ETOOMANYREFS);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 5, TINE_FOREVER), 0);
    fail_at(1, -EAGAIN);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 5, TINE_FOREVER), 0);
    fail_at(1, -EAGAIN);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 5, 0), -EAGAIN);
    pipe_end(&ends);
}

TEST(no_memory_for_a_large_message_leaves_the_slot_free)
{
    struct ends ends = pipe_with(NULL);

    for (int i = 0; i < 40; i++) {
        fail_at(1, 0);
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 500000, 0), -ENOMEM);
    }
    until_failure = 0;
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 500000, 0), 0);
    pipe_end(&ends);
}

TEST(no_memory_for_packing_sends_nothing)
{
    struct ends ends = pipe_with(NULL);
    int rc = -1;

    for (int call = 1; rc < 0; call++) {
        fail_at(call, 0);
        rc = tine_connection_send(ends.a, 0, "s", "text");
        until_failure = 0;
        ck_assert(rc == 0 || rc == -ENOMEM);
    }
    ck_assert_rc(tine_connection_recv(ends.b, 0, "s", NULL), 0);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

/* Failures before the record is taken, and after: what is gone, and what is not. */
TEST(no_memory_for_receiving_loses_nothing)
{
    struct ends ends = pipe_with(NULL);
    void *copy = NULL;
    size_t size;

    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[i], 0), 0);
    fail_at(1, 0); /* the buffer */
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &copy, &size), -ENOMEM);
    fail_at(2, 0); /* the copy */
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &copy, &size), -ENOMEM);
    until_failure = 0;
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &copy, &size), 0);
        ck_assert_uint_eq(size, lengths[i]);
        free(copy);
    }
    pipe_end(&ends);
}

TEST(no_memory_for_keeping_is_said, .loop_end = 3)
{
    struct ends ends = pipe_with(NULL);
    tine_message message;
    size_t size = 77;

    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 1, 0), 0);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0); /* has made a buffer */
    tine_message_release(&message);
    for (int i = 0; i < 40; i++) {
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0), 0);
        fail_at(1, 0);
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -ENOMEM);
        until_failure = 0;
        ck_assert_uint_eq(size, 77);
    }
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

TEST(failing_receptions_are_passed_on)
{
    static const struct {
        int failure, rc;
    } cases[] = {
        {-EBADMSG, TINE_EFORMAT}, {-ENOMEM, -ENOMEM}, {-ECONNRESET, 0}, {-EAGAIN, -EAGAIN}};
    struct ends ends = pipe_with(NULL);
    size_t size;

    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, 5, 0, &size), -EAGAIN);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 5, 0), 0);
        fail_at(1, cases[i].failure);
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size),
                     cases[i].rc);
        until_failure = 0;
    }
    pipe_end(&ends);
}

/* Another thread keeps a message, and the last sender is gone, just as this one begins to wait. */
static void keep_one_before_the_end(void)
{
    size_t size;

    while_receiving = NULL;
    ck_assert_rc(tine_connection_send_bytes(meeting.a, bytes, 77, 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(meeting.b, room, 5, 0, &size), -EMSGSIZE);
    tine_connection_close(meeting.a);
    meeting.a = NULL;
}

TEST(what_another_thread_keeps_comes_before_the_end, .loop_end = 2)
{
    tine_message message;
    size_t size = 0;

    meeting = pipe_with(NULL);
    while_receiving = keep_one_before_the_end;
    if (loop_index == 0) {
        ck_assert_rc(tine_connection_recv_bytes_into(meeting.b, room, 7, 0, &size), -EMSGSIZE);
        ck_assert_uint_eq(size, 77);
    }
    ck_assert_rc(tine_connection_recv_view(meeting.b, 0, &message), 0);
    ck_assert_uint_eq(message.size, 77);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(meeting.b, 0, &message), TINE_EEOF);
    pipe_end(&meeting);
}

static void poll_in_grandchild(void *context)
{
    (void)context;
    ck_assert_rc(tine_connection_poll(meeting.b, 0), 0);
    tine_connection_close(meeting.b);
    tine_connection_close(meeting.a);
}

static void fork_within(void)
{
    struct child grandchild;

    while_freeing = NULL;
    grandchild = child_start(poll_in_grandchild, NULL);
    child_join(&grandchild);
}

static void poll_in_child(void *context)
{
    while_freeing = fork_within;
    ck_assert_rc(tine_connection_poll(meeting.b, 0), 0);
    ck_assert_ptr_null(while_freeing);
    poll_in_grandchild(context);
}

/* Of two threads of a child, one drops what the parent kept as the other forks again. */
TEST(a_child_that_forks_as_it_adopts_a_handle_holds_up_nobody)
{
    struct child child;
    size_t size;

    meeting = pipe_with(NULL);
    ck_assert_rc(tine_connection_send_bytes(meeting.a, bytes, 77, 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(meeting.b, room, 5, 0, &size), -EMSGSIZE);
    child = child_start(poll_in_child, NULL);
    child_join(&child);
    ck_assert_rc(tine_connection_recv_bytes_into(meeting.b, room, sizeof room, 0, &size), 0);
    pipe_end(&meeting);
}

TEST(no_memory_for_another_visitor_is_said)
{
    struct tine__blocks_shm *blocks = tine_aligned_alloc(64, sizeof *blocks);
    struct tine__visitor_shm *visitor = NULL;
    uint64_t before = heap_blocks() - 1;

    ck_assert_ptr_nonnull(blocks);
    memset(blocks, 0, sizeof *blocks);
    tine__blocks_init(blocks, 1);
    for (int i = 0; i < TINE__BLOCKS_VISITORS; i++)
        ck_assert_rc(tine__blocks_enter(blocks, &visitor), 0);
    fail_at(1, 0);
    ck_assert_rc(tine__blocks_enter(blocks, &visitor), -ENOMEM);
    ck_assert_rc(tine__blocks_enter(blocks, &visitor), 0);
    tine__blocks_empty(blocks);
    tine_free(blocks);
    ck_assert_uint_eq(heap_blocks(), before);
}

SUITE("ipc/pipe_faults")
