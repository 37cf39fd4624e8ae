/* SPDX-License-Identifier: MIT */
/* Listeners: clients that do not behave, and a lack of descriptors. */
#include <tine/listener.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "tests/ipc/listener_help.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- clients that do not behave -------------------------------------------------------------- */

#define CROWD  40
#define PLACES 16 /* of a listener, for those who are not known yet */

TEST(who_says_nothing_delays_nobody, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    tine_listener *listener;
    int mute[CROWD];

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    for (int i = 0; i < CROWD; i++)
        mute[i] = stranger(listener);
    for (int i = 0; i < 5; i++)
        check_well(listener, &dial);
    ck_assert_logged("others came");
    for (int i = 0; i < CROWD - PLACES; i++)
        await_end(mute[i]);
    for (int i = 0; i < CROWD; i++)
        close(mute[i]);
    tine_listener_close(listener);
}

static void flood(void *context)
{
    tine_listener *listener = context;
    int fds[100];

    for (unsigned i = 0;; i++) {
        if (i >= 100)
            close(fds[i % 100]);
        fds[i % 100] = stranger(listener);
    }
}

/* New ones all the time, who say nothing: who answers still gets in. */
TEST(a_flood_of_the_mute_keeps_nobody_out, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    struct samples samples = {.name = "listener.flooded", .bound_ns = (uint64_t)TINE_MS(100)};
    tine_listener *listener;
    struct child child;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    child = child_start(flood, listener);
    for (int i = 0; i < 20; i++) {
        int64_t begin = now_ns();

        check_well(listener, &dial);
        samples_add(&samples, (uint64_t)(now_ns() - begin));
    }
    child_kill(&child);
    tine_listener_close(listener);
    samples_end(&samples);
}

struct crowd {
    tine_listener *listener;
    struct gate *gate;
};

static void crowd(void *context)
{
    struct crowd *crowd = context;

    gate_await(crowd->gate, 1);
    for (int i = 0; i < CROWD; i++)
        (void)stranger(crowd->listener);
    pause();
}

static unsigned times_logged(const char *words)
{
    unsigned count = 0;

    for (const char *at = lines; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

/* Until they have all come in after one other, and those that are too many are gone again. */
static void serve_crowd(tine_listener *listener)
{
    while (times_logged("others came") < CROWD + 1 - PLACES)
        accept_nobody(listener, TINE_MS(20));
}

static bool is_dropped(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

    ck_assert_ok(poll(&poll_fd, 1, 0));
    return poll_fd.revents != 0;
}

/* However slow: who came alone stays, and those go that have all other places, of one process. */
TEST(a_crowd_pushes_out_its_own, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_SEC(600)};
    struct crowd of_one = {.gate = gate_new()};
    tine_listener *listener;
    struct child child;
    int slow;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    of_one.listener = listener;
    child =
        child_start(crowd, &of_one); /* first: a copy of the accepted socket would hold it open */
    slow = stranger(listener);
    accept_nobody(listener, TINE_MS(20));
    gate_raise(of_one.gate);
    serve_crowd(listener);
    ck_assert(!is_dropped(slow));
    child_kill(&child);
    close(slow);
    tine_listener_close(listener);
}

/* Of one host, where the listener cannot tell processes apart. */
TEST(the_mute_are_dropped_before_those_who_speak, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_SEC(600)};
    tine_listener *listener;
    int slow, mute[CROWD];

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    slow = stranger(listener);
    ck_assert_int_eq(send(slow, "\0", 1, MSG_NOSIGNAL), 1);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(600)), 1);
    accept_nobody(listener, TINE_MS(20));
    for (int i = 0; i < CROWD; i++)
        mute[i] = stranger(listener);
    serve_crowd(listener);
    ck_assert(!is_dropped(slow));
    for (int i = 0; i < CROWD; i++)
        close(mute[i]);
    close(slow);
    tine_listener_close(listener);
}

/* Whoever leaves the waiting to a loop of its own is woken for what is late, too. */
TEST(the_descriptor_knows_the_time)
{
    tine_listener_options options = {KEY, .handshake_timeout_ns = TINE_MS(20)};
    int64_t begun = tine__now_ns();
    tine_listener *listener;
    int mute;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    mute = stranger(listener);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(600)), 1);
    accept_nobody(listener, 0);
    ck_assert(tine__sys_poll_in(tine_listener_fileno(listener), 0) == 0 ||
              tine__now_ns() - begun >= TINE_MS(20)); /* as late as this test itself may be */
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(600)), 1);
    accept_nobody(listener, 0);
    ck_assert_logged("in time");
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    await_end(mute);
    close(mute);
    tine_listener_close(listener);
}

TEST(who_takes_too_long_is_dropped, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_MS(30)};
    tine_listener *listener;
    int mute, slow;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    mute = stranger(listener);
    slow = stranger(listener);
    ck_assert_int_eq(send(slow, "\0\0", 2, MSG_NOSIGNAL), 2);
    await_drop(listener, mute);
    await_drop(listener, slow);
    ck_assert_logged("in time");
    close(mute);
    close(slow);
    tine_listener_close(listener);
}

TEST(who_talks_nonsense_is_dropped, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    for (int round = 0; round < 20; round++) {
        int fd = stranger(listener);
        uint64_t nonsense[40];

        for (size_t i = 0; i < 40; i++)
            nonsense[i] = random_u64();
        ck_assert_int_gt(send(fd, nonsense, sizeof nonsense, MSG_NOSIGNAL), 0);
        await_drop(listener, fd);
        close(fd);
    }
    ck_assert_logged("does not speak");
    check_well(listener, &dial);
    tine_listener_close(listener);
}

TEST(who_hangs_up_is_forgotten)
{
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    close(stranger(listener));
    while (strstr(lines, "hung up") == NULL)
        accept_nobody(listener, TINE_MS(5));
    check_well(listener, NULL);
    tine_listener_close(listener);
}

/* A listener of Python's protocol speaks first, one of tine's listens: neither takes the other. */
TEST(another_protocol_is_refused, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_MS(50)};
    tine_dial_options dial = {KEY, .protocol = !loop_index};
    struct dialling dialling;
    tine_listener *listener;
    int rc;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    dialling_start(&dialling, listener, &dial);
    rc = refuse(listener, &dialling);
    ck_assert_msg(rc == TINE_EFORMAT || rc == -ECONNRESET, "dial: %d", rc);
    tine_listener_close(listener);
}

/* ---- descriptors run out --------------------------------------------------------------------- */

TEST(without_descriptors_clients_wait)
{
    struct rlimit old, none;
    struct dialling dialling;
    tine_connection *connection;
    tine_listener *listener;
    int mute;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    mute = stranger(listener);
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 3; /* no new one at all */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (strstr(lines, "clients wait") == NULL)
        accept_nobody(listener, TINE_MS(150));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    dialling_start(&dialling, listener, NULL);
    ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), &connection), 0);
    ck_assert_rc(dialling_end(&dialling), 0);
    tine_connection_close(connection);
    tine_connection_close(dialling.connection);
    close(mute);
    tine_listener_close(listener);
}

SUITE("ipc/listener_strangers")
