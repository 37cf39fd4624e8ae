/* SPDX-License-Identifier: MIT */
/* Pipes: waiting, event loops, and the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"

HEAP_BEFORE_TESTS

/* ---- waiting --------------------------------------------------------------------------------- */

TEST(receiving_waits_no_longer_than_asked)
{
    struct ends ends = pipe_with(NULL);
    static const int64_t timeouts[] = {1, TINE_US(300), TINE_MS(3), TINE_MS(70), TINE_MS(130)};
    tine_message message;

    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), -EAGAIN);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t begin = tine__now_ns();

        ck_assert_rc(tine_connection_recv_view(ends.b, timeouts[i], &message), -ETIMEDOUT);
        ck_assert_int_ge(tine__now_ns() - begin, timeouts[i]);
        begin = tine__now_ns();
        ck_assert_rc(tine_connection_poll(ends.b, timeouts[i]), 0);
        ck_assert_int_ge(tine__now_ns() - begin, timeouts[i]);
    }
    pipe_end(&ends);
}

TEST(sending_waits_no_longer_than_asked, .loop_end = 3)
{
    static const size_t lengths[] = {500, 50000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    int64_t begin;
    int sent = 0, received = 0;
    tine_message message;

    while (tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0) == 0)
        sent++;
    ck_assert_int_gt(sent, 1);
    begin = tine__now_ns();
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_MS(60)),
                 -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_US(200)),
                 -ETIMEDOUT);
    while (tine_connection_recv_view(ends.b, 0, &message) == 0) {
        ck_assert_uint_eq(message.size, lengths[loop_index]);
        tine_message_release(&message);
        received++;
    }
    ck_assert_int_eq(received, sent);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0), 0);
    pipe_end(&ends);
}

static void on_alarm(int number)
{
    (void)number;
}

static void ring_alarms(bool on)
{
    struct itimerval every = {{0, on ? 1000 : 0}, {0, on ? 1000 : 0}};
    struct sigaction action = {.sa_handler = on ? on_alarm : SIG_IGN, .sa_flags = SA_RESTART};

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    if (!on)
        ck_assert(signal(SIGALRM, SIG_DFL) != SIG_ERR);
}

/* Each of them interrupts the call before its slice is over. */
TEST(signals_prolong_no_wait)
{
    struct ends ends = pipe_with(NULL);
    static const uint8_t bytes[50000];
    tine_message message;

    while (tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0) == 0)
        ;
    ring_alarms(true);
    ck_assert_rc(tine_connection_recv_view(ends.a, TINE_MS(150), &message), -ETIMEDOUT);
    ck_assert_rc(tine_connection_poll(ends.a, TINE_MS(150)), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, TINE_MS(150)), -ETIMEDOUT);
    ring_alarms(false);
    pipe_end(&ends);
}

static void receive_when_told(void *context)
{
    struct ends *ends = context;
    tine_connection *b = keep_b(ends);
    static uint8_t room[500000];
    int64_t timeout = TINE_FOREVER;
    size_t size;

    for (int rc = 0; rc == 0; timeout = TINE_SEC(600)) {
        rc = tine_connection_recv_bytes_into(b, room, sizeof room, timeout, &size);
        ck_assert(rc == 0 || rc == TINE_EEOF);
    }
    tine_connection_close(b);
}

TEST(sleepers_at_both_ends_are_woken, .loop_end = 2)
{
    static const size_t lengths[] = {500, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    struct child receiver = child_start(receive_when_told, &ends);
    tine_connection *a = keep_a(&ends);

    ck_assert_eventually(proc_asleep(receiver.pid));
    for (int i = 0; i < 300; i++)
        ck_assert_rc(tine_connection_send_bytes(a, bytes, lengths[loop_index], TINE_FOREVER), 0);
    child_stop(&receiver);
    while (tine_connection_send_bytes(a, bytes, lengths[loop_index], 0) == 0)
        ;
    child_continue(&receiver);
    for (int i = 0; i < 300; i++)
        ck_assert_rc(tine_connection_send_bytes(a, bytes, lengths[loop_index], TINE_SEC(600)), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    child_join(&receiver);
    pipe_end(&ends);
}

/* Rings have none. */
static bool has_descriptor(const struct ends *ends)
{
    if (PIPE_TRANSPORT != TINE_RING)
        return true;
    ck_assert_rc(tine_connection_fileno(ends->b), -ENOTSUP);
    return false;
}

/* Who owns an event loop may do this to the descriptor. */
TEST(a_socket_made_non_blocking_by_others_is_still_waited_for)
{
    struct ends ends = pipe_with(NULL);
    int64_t begin = tine__now_ns();
    struct child receiver;
    tine_message message;
    int fd = tine_connection_fileno(ends.b);

    if (has_descriptor(&ends))
        ck_assert_int_eq(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_MS(150), &message), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(150));
    receiver = child_start(receive_when_told, &ends);
    tine_connection_close(ends.b);
    ends.b = NULL;
    for (int i = 0; i < 3000; i++)
        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "q", INT64_C(1)), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    child_join(&receiver);
    pipe_end(&ends);
}

/* Whoever got the descriptor can write to it; the others lose no more than what that was. */
TEST(records_that_are_no_messages_are_refused)
{
    struct ends ends = pipe_with(NULL);
    static const uint8_t bytes[80000];
    static const size_t lengths[] = {0, 1, 40, 65536, sizeof bytes, 0};
    tine_message message;
    int fd = tine_connection_fileno(ends.a);

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ck_assert_int_eq(send(fd, bytes, lengths[i], 0), (ssize_t)lengths[i]);
        ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EFORMAT);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    }
    ck_assert_int_eq(send(fd, NULL, 0, 0), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EEOF);
    pipe_end(&ends);
}

TEST(a_record_that_is_sent_back_is_refused, .loop_end = 2)
{
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[100000], record[1000];
    tine_message message;
    int fd = tine_connection_fileno(ends.b);
    ssize_t size;

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    /* slot and generation of the large ones are the same in both directions */
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, loop_index ? sizeof bytes : 5, 0), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.b, bytes, sizeof bytes, 0), 0);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), 0);
    tine_message_release(&message);
    size = recv(fd, record, sizeof record, 0);
    ck_assert_int_gt(size, 0);
    ck_assert_rc(tine_connection_send_bytes(ends.b, bytes, sizeof bytes, 0), 0);
    ck_assert_int_eq(send(fd, record, (size_t)size, 0), size);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), 0);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), TINE_EFORMAT);
    pipe_end(&ends);
}

TEST(the_descriptor_tells_of_messages)
{
    struct ends ends = pipe_with(NULL);
    struct pollfd set = {.fd = tine_connection_fileno(ends.b), .events = POLLIN};

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    ck_assert_int_ge(set.fd, 0);
    ck_assert_int_eq(fcntl(set.fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(poll(&set, 1, 0), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
    ck_assert_int_eq(poll(&set, 1, -1), 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    ck_assert_int_eq(poll(&set, 1, 0), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_int_eq(poll(&set, 1, -1), 1);
    pipe_end(&ends);
}

/* ---- among other things ---------------------------------------------------------------------- */

enum { TOLD = 2000 };

static void send_with_pauses(void *context)
{
    struct ends *ends = context;
    tine_connection *a = keep_a(ends);

    for (int64_t i = 0; i < TOLD; i++) {
        if (random_below(20) == 0)
            sched_yield();
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", i), 0);
    }
    tine_connection_close(a);
}

/* A loop that is not ours: readable means that trying is worth it. */
TEST(a_descriptor_for_other_loops_tells_of_each_message)
{
    struct ends ends = pipe_with(NULL);
    struct child sender = child_start(send_with_pauses, &ends);
    tine_connection *b = keep_b(&ends);
    tine_waitable on = tine_connection_waitable(b);
    struct pollfd set = {.fd = tine_waitable_fd(&on), .events = POLLIN};
    int64_t expected = 0, number;
    int rc = 0;

    ck_assert_int_ge(set.fd, 0);
    while (rc != TINE_EEOF) {
        ck_assert_int_eq(poll(&set, 1, -1), 1);
        while ((rc = tine_connection_recv(b, 0, "q", &number)) == 0)
            ck_assert_int_eq(number, expected++);
        ck_assert(rc == -EAGAIN || rc == TINE_EEOF);
    }
    ck_assert_int_eq(expected, TOLD);
    tine_waitable_close(set.fd);
    child_join(&sender);
    tine_connection_close(b); /* what rings stays in the heap */
}

TEST(connections_are_waited_for_together)
{
    struct ends ends[3];
    struct child senders[3];
    tine_waitable on[3];
    int64_t got[3] = {0}, number;

    for (int i = 0; i < 3; i++) {
        ends[i] = pipe_with(NULL);
        senders[i] = child_start(send_with_pauses, &ends[i]);
        on[i] = tine_connection_waitable(keep_b(&ends[i]));
    }
    while (got[0] + got[1] + got[2] < 3 * TOLD) {
        ck_assert_int_ge(tine_wait(on, 3, TINE_FOREVER), 1);
        for (int i = 0; i < 3; i++)
            if (on[i].ready != 0 && got[i] < TOLD) {
                ck_assert_rc(tine_connection_recv(ends[i].b, 0, "q", &number), 0);
                ck_assert_int_eq(number, got[i]++);
            }
    }
    for (int i = 0; i < 3; i++) {
        child_join(&senders[i]);
        ck_assert_rc(tine_connection_recv(ends[i].b, TINE_FOREVER, "q", &number), TINE_EEOF);
        tine_connection_close(ends[i].b);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

TEST(what_was_sent_is_received_before_the_end)
{
    struct ends ends = pipe_with(NULL);
    static uint8_t large[200000], room[200000];
    size_t size;

    ck_assert_rc(tine_connection_send_bytes(ends.b, "unread", 6, 0),
                 0); /* a reset, for the kernel */
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_send_bytes(ends.a, large, sizeof large, 0), 0);
        ck_assert_rc(tine_connection_send_bytes(ends.a, "small", 5, 0), 0);
    }
    tine_connection_close(ends.a);
    ends.a = NULL;
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
        ck_assert_uint_eq(size, sizeof large);
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
        ck_assert_uint_eq(size, 5);
    }
    ck_assert_rc(tine_connection_poll(ends.b, TINE_FOREVER), 1);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, 1, TINE_FOREVER, &size),
                     TINE_EEOF);
    pipe_end(&ends);
}

TEST(sending_to_nobody_is_an_error_and_no_signal, .loop_end = 3)
{
    static const size_t lengths[] = {5, 5000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];

    ck_assert_rc(tine_connection_send_bytes(ends.b, "unread", 6, 0), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, "unread", 6, 0), 0);
    tine_connection_close(ends.b);
    ends.b = NULL;
    for (int i = 0; i < 40; i++)
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_FOREVER),
                     -EPIPE);
    pipe_end(&ends);
}

static void take_one_and_leave(void *context)
{
    struct ends *ends = context;
    tine_message message;

    ck_assert_rc(tine_connection_recv_view(keep_b(ends), TINE_FOREVER, &message), 0);
    raise(SIGKILL);
}

/* The sender sleeps for room when its only receiver dies. */
TEST(the_end_wakes_a_sleeping_sender, .loop_end = 2)
{
    static const size_t lengths[] = {5000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    struct child receiver;
    int rc;

    receiver = child_start(take_one_and_leave, &ends);
    keep_a(&ends);
    do
        rc = tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_FOREVER);
    while (rc == 0);
    ck_assert_rc(rc, -EPIPE);
    child_wait(&receiver);
    pipe_end(&ends);
}

static void die_with_the_end(void *context)
{
    struct ends *ends = context;

    keep_a(ends);
    pause();
}

TEST(the_end_wakes_a_sleeping_receiver)
{
    struct ends ends = pipe_with(NULL);
    struct child holder = child_start(die_with_the_end, &ends);
    tine_message message;

    keep_b(&ends);
    ck_assert_eventually(proc_asleep(holder.pid));
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_MS(5), &message), -ETIMEDOUT);
    child_kill(&holder);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), TINE_EEOF);
    pipe_end(&ends);
}

SUITE(PIPE_TRANSPORT == TINE_RING ? "ipc/pipe_wait_ring" : "ipc/pipe_wait")
