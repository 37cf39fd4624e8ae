/* SPDX-License-Identifier: MIT */
/*
 * Messages with descriptors beside a ring, where their order in the socket and that of their notes
 * in the ring differ, or one of the two is missing. Senders and receivers are held up, or killed,
 * right before or after the system call (ld --wrap).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/record.h"
#include "tests/ipc/pipe_help.h"

HEAP_BEFORE_TESTS

/* In a participant: what happens at its calls with descriptors. */
static void (*after_sending)(void), (*before_receiving)(void), (*after_receiving)(void);
static struct gate *arrived, *released;

static void run(void (*hook)(void))
{
    if (hook != NULL)
        hook();
}

int __real_tine__record_send(int fd, const struct iovec *parts, int count, const int *fds,
                             uint32_t fd_count, int flags);
int __wrap_tine__record_send(int fd, const struct iovec *parts, int count, const int *fds,
                             uint32_t fd_count, int flags);
int __wrap_tine__record_send(int fd, const struct iovec *parts, int count, const int *fds,
                             uint32_t fd_count, int flags)
{
    int rc = __real_tine__record_send(fd, parts, count, fds, fd_count, flags);

    run(after_sending);
    return rc;
}

ssize_t __real_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags);
ssize_t __wrap_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags);
ssize_t __wrap_tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                                 uint32_t *fd_count, int flags)
{
    ssize_t size;

    run(before_receiving);
    size = __real_tine__record_recv(fd, parts, count, fds, fd_count, flags);
    run(after_receiving);
    return size;
}

static void wait_here(void)
{
    gate_raise(arrived);
    gate_await(released, 1);
}

static void die(void)
{
    raise(SIGKILL);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void send_file(struct ends *ends, int64_t number)
{
    ck_assert_rc(tine_connection_send(ends->a, TINE_FOREVER, "qF", number, STDIN_FILENO), 0);
}

static void send_plain(struct ends *ends, int64_t number)
{
    ck_assert_rc(tine_connection_send(ends->a, TINE_FOREVER, "q", number), 0);
}

static void expect_file(struct ends *ends, int64_t number)
{
    int64_t got = 0;
    int fd = -1;

    ck_assert_rc(tine_connection_recv(ends->b, TINE_FOREVER, "qF", &got, &fd), 0);
    ck_assert_int_eq(got, number);
    ck_assert_int_eq(close(fd), 0);
}

static void expect_plain(struct ends *ends, int64_t number)
{
    int64_t got = 0;

    ck_assert_rc(tine_connection_recv(ends->b, TINE_FOREVER, "q", &got), 0);
    ck_assert_int_eq(got, number);
}

static void expect_nothing(struct ends *ends)
{
    ck_assert_rc(tine_connection_poll(ends->b, 0), 0);
    ck_assert_rc(tine_connection_recv(ends->b, 0, "q", NULL), -EAGAIN);
}

static void send_one(void *context)
{
    send_file(context, 1);
}

static void receive_one(void *context)
{
    expect_file(context, 1);
}

static struct ends open_ends(void)
{
    arrived = gate_new();
    released = gate_new();
    return pipe_with(NULL);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* One sender has sent and made no note yet; another one's note brings that message along. */
TEST(a_note_may_bring_anothers_message, .loop_end = 2)
{
    struct ends ends = open_ends();
    struct child slow;

    after_sending = wait_here;
    slow = child_start(send_one, &ends);
    after_sending = NULL;
    gate_await(arrived, 1);
    send_plain(&ends, 10);
    send_file(&ends, 11);
    send_plain(&ends, 12);
    expect_plain(&ends, 10);
    expect_file(&ends, 1);
    if (loop_index == 1) { /* its note is younger than all */
        gate_raise(released);
        child_join(&slow);
    }
    expect_file(&ends, 11);
    expect_plain(&ends, 12);
    if (loop_index == 0) { /* it comes to an empty ring */
        gate_raise(released);
        child_join(&slow);
    }
    expect_nothing(&ends);
    send_file(&ends, 13);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    expect_file(&ends, 13);
    expect_nothing(&ends);
    pipe_end(&ends);
}

/* What one of several receivers is about to take is nobody else's, nor is what comes behind it. */
TEST(one_receiver_at_a_time_looks_beside_the_ring)
{
    struct ends ends = open_ends();
    struct child slow;

    send_file(&ends, 1);
    send_plain(&ends, 2);
    before_receiving = wait_here;
    slow = child_start(receive_one, &ends);
    before_receiving = NULL;
    gate_await(arrived, 1);
    expect_nothing(&ends);
    gate_raise(released);
    expect_plain(&ends, 2);
    child_join(&slow);
    expect_nothing(&ends);
    pipe_end(&ends);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void lose_sender(struct ends *ends)
{
    struct child sender;

    after_sending = die;
    sender = child_start(send_one, ends);
    after_sending = NULL;
    ck_assert_int_eq(WTERMSIG(child_wait(&sender)), SIGKILL);
}

/* What waiting needs of the heap stays. */
static void wait_in_vain(void)
{
    struct ends ends = pipe_with(NULL);
    tine_waitable waitable = tine_connection_waitable(ends.b);

    ck_assert_rc(tine_wait(&waitable, 1, TINE_MS(1)), 0);
    tine_connection_close(ends.a);
    tine_connection_close(ends.b);
}

TEST(a_message_whose_sender_dies_before_the_note_comes)
{
    tine_waitable waitable;
    struct ends ends;

    wait_in_vain();
    ends = open_ends();

    lose_sender(&ends);
    expect_file(&ends, 1); /* by a look */
    lose_sender(&ends);
    ck_assert_rc(tine_connection_poll(ends.b, TINE_FOREVER), 1);
    expect_file(&ends, 1);
    lose_sender(&ends);
    waitable = tine_connection_waitable(ends.b);
    ck_assert_rc(tine_wait(&waitable, 1, TINE_FOREVER), 1);
    expect_file(&ends, 1);
    lose_sender(&ends);
    send_plain(&ends, 2);
    send_file(&ends, 3);
    expect_plain(&ends, 2);
    expect_file(&ends, 1); /* by the other's note */
    expect_file(&ends, 3);
    expect_nothing(&ends);
    pipe_end(&ends);
}

TEST(it_comes_before_the_end)
{
    struct ends ends = open_ends();

    lose_sender(&ends);
    lose_sender(&ends);
    tine_connection_close(ends.a);
    ends.a = NULL;
    expect_file(&ends, 1);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    expect_file(&ends, 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), TINE_EEOF);
    pipe_end(&ends);
}

TEST(a_receiver_that_dies_takes_its_own_message_along, .loop_end = 2)
{
    struct ends ends = open_ends();
    struct child receiver;

    send_file(&ends, 1);
    send_file(&ends, 2);
    send_plain(&ends, 3);
    *(loop_index == 0 ? &before_receiving : &after_receiving) = die;
    receiver = child_start(receive_one, &ends);
    before_receiving = after_receiving = NULL;
    ck_assert_int_eq(WTERMSIG(child_wait(&receiver)), SIGKILL);
    if (loop_index == 0)
        expect_file(&ends, 1);
    expect_file(&ends, 2);
    expect_plain(&ends, 3);
    expect_nothing(&ends);
    pipe_end(&ends);
}

SUITE("ipc/transport_ring_beside")
