/* SPDX-License-Identifier: MIT */
/*
 * listener.*: a process that listens, and one that dials it, at an abstract address.
 *
 * dial     connect, prove a key to each other, hang up; or .encrypted, with keys of the
 *          connection's own
 * rtt64    64 bytes there and back over such a connection
 * 1M       so many bytes, one way, into a buffer of the receiver's; checked, or .encrypted
 *
 * The peers are Python's Client and Listener with an authkey, the bare calls on a stream socket,
 * and for an encrypted dial one that is not.
 */
#include "bench/bench.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE ((size_t)1 << 20)
#define SMALL ((size_t)64)
#define KEY   .key = "0123456789abcdef0123456789abcdef", .key_size = 32

struct meeting {
    char address[64];
    size_t n, size;
    bool echo, encrypted, bare;
    tine_connection *connection;
    int fd; /* bare: a stream socket in place of the connection */
    uint8_t *room;
};

static bool has(const struct bench_pass *pass, const char *part)
{
    return strstr(pass->name, part) != NULL;
}

static int open_listener(const struct meeting *meeting, tine_listener **listener)
{
    return tine_listener_open(listener, meeting->address, &(tine_listener_options){KEY});
}

/* Waits until the other process listens. */
static int dial(struct meeting *meeting)
{
    tine_dial_options options = {KEY, .encryption = meeting->encrypted ? TINE_ENCRYPT_ALWAYS : 0};
    int rc;

    do
        rc = tine_dial(&meeting->connection, meeting->address, &options);
    while (rc == -ECONNREFUSED);
    return rc;
}

static void end_other(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- dial ------------------------------------------------------------------------------------ */

static void accept_for_ever(const struct meeting *meeting)
{
    tine_listener *listener;
    tine_connection *connection;
    int rc = open_listener(meeting, &listener);

    while (rc == 0) {
        rc = tine_listener_accept(listener, TINE_FOREVER, &connection);
        if (rc == 0)
            tine_connection_close(connection);
    }
    _exit(1);
}

static int dial_all(void *arg)
{
    struct meeting *meeting = arg;
    int rc = 0;

    for (size_t i = meeting->n; i > 0 && rc == 0; i--) {
        rc = dial(meeting);
        if (rc == 0)
            tine_connection_close(meeting->connection);
    }
    return rc;
}

static int dial_so(const struct bench_pass *pass, bool encrypted, double *value)
{
    struct meeting meeting = {.n = pass->n, .encrypted = encrypted};
    double seconds = 0;
    pid_t pid;
    int rc;

    snprintf(meeting.address, sizeof meeting.address, "unix:@tine-bench-%d", getpid());
    pid = fork();
    if (pid == 0)
        accept_for_ever(&meeting);
    if (pid < 0)
        return -errno;
    rc = bench_seconds(pass, &(struct bench_work){.run = dial_all, .arg = &meeting}, &seconds);
    end_other(pid);
    *value = seconds / (double)pass->n * 1e6;
    return rc;
}

static int dial_side(const struct bench_pass *pass, double *value)
{
    return dial_so(pass, has(pass, ".encrypted"), value);
}

static int clear_dial_side(const struct bench_pass *pass, double *value)
{
    return dial_so(pass, false, value);
}

/* ---- messages -------------------------------------------------------------------------------- */

static int send_one(const struct meeting *meeting, const void *bytes)
{
    ssize_t sent;

    if (!meeting->bare)
        return tine_connection_send_bytes(meeting->connection, bytes, meeting->size, TINE_FOREVER);
    for (size_t done = 0; done < meeting->size; done += (size_t)sent) {
        sent = send(meeting->fd, (const uint8_t *)bytes + done, meeting->size - done, MSG_NOSIGNAL);
        if (sent < 0)
            return -errno;
    }
    return 0;
}

static int receive_one(const struct meeting *meeting)
{
    size_t size = meeting->size;
    int rc;

    if (meeting->bare)
        return recv(meeting->fd, meeting->room, size, MSG_WAITALL) == (ssize_t)size ? 0 : -EPIPE;
    rc = tine_connection_recv_bytes_into(meeting->connection, meeting->room, size, TINE_FOREVER,
                                         &size);
    return rc == 0 && size != meeting->size ? BENCH_WRONG : rc;
}

/* The process at the other end: sends, or answers, until it is killed. */
static void be_other(struct meeting *meeting)
{
    int rc = meeting->bare ? 0 : dial(meeting);

    while (rc == 0) {
        if (meeting->echo)
            rc = receive_one(meeting);
        if (rc == 0)
            rc = send_one(meeting, meeting->room);
    }
    _exit(1);
}

static int take_all(void *arg)
{
    struct meeting *meeting = arg;
    int rc = 0;

    for (size_t i = meeting->n; i > 0 && rc == 0; i--) {
        if (meeting->echo)
            rc = send_one(meeting, meeting->room);
        if (rc == 0)
            rc = receive_one(meeting);
    }
    return rc;
}

/* Both ends, the other one in a child. */
static int meet(struct meeting *meeting, pid_t *other)
{
    tine_listener *listener = NULL;
    int fds[2], rc = 0;

    if (meeting->bare && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    if (!meeting->bare)
        rc = open_listener(meeting, &listener);
    if (rc < 0)
        return rc;
    *other = fork();
    if (*other == 0) {
        meeting->fd = meeting->bare ? fds[1] : -1;
        be_other(meeting);
    }
    if (*other < 0)
        return -errno;
    meeting->fd = meeting->bare ? fds[0] : -1;
    if (!meeting->bare)
        rc = tine_listener_accept(listener, TINE_SEC(10), &meeting->connection);
    tine_listener_close(listener);
    return rc;
}

static int measure(const struct bench_pass *pass, bool bare, double *value)
{
    struct meeting meeting = {.n = pass->n,
                              .size = has(pass, "rtt64") ? SMALL : LARGE,
                              .echo = has(pass, "rtt64"),
                              .encrypted = has(pass, ".encrypted"),
                              .bare = bare};
    double seconds = 0;
    pid_t pid = -1;
    int rc;

    snprintf(meeting.address, sizeof meeting.address, "unix:@tine-bench-%d", getpid());
    meeting.room = calloc(1, meeting.size);
    if (meeting.room == NULL)
        return -ENOMEM;
    rc = meet(&meeting, &pid);
    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = take_all, .arg = &meeting}, &seconds);
    end_other(pid);
    seconds /= (double)pass->n;
    *value = meeting.echo ? seconds * 1e6 : (double)meeting.size / seconds * 1e-9;
    tine_connection_close(meeting.connection);
    free(meeting.room);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    return measure(pass, false, value);
}

static int bare_side(const struct bench_pass *pass, double *value)
{
    return measure(pass, true, value);
}

#define LARGE_CASE(suffix)                                                                         \
    {                                                                                              \
        .name = "listener.1M" suffix, .unit = "GB/s", .peer = "stream socket",                     \
        .tine_side = tine_side, .peer_side = bare_side, .n = 300, .n_quick = 3, .repetitions = 5,  \
        .more_is_better = true                                                                     \
    }

static const struct bench_case cases[] = {
    {
        .name = "listener.dial.python",
        .unit = "us",
        .peer = "Python Client",
        .tine_side = dial_side,
        .peer_side = bench_python,
        .n = 500,
        .n_quick = 10,
        .repetitions = 5,
    },
    {
        .name = "listener.dial.encrypted",
        .unit = "us",
        .peer = "in clear",
        .tine_side = dial_side,
        .peer_side = clear_dial_side,
        .n = 500,
        .n_quick = 10,
        .repetitions = 5,
    },
    {
        .name = "listener.rtt64",
        .unit = "us",
        .peer = "stream socket",
        .tine_side = tine_side,
        .peer_side = bare_side,
        .n = 5000,
        .n_quick = 100,
        .repetitions = 5,
    },
    LARGE_CASE(""),
    LARGE_CASE(".encrypted"),
};

const struct bench_group bench_listener = BENCH_GROUP(cases);
