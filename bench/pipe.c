/* SPDX-License-Identifier: MIT */
/*
 * pipe.socket.*: messages from one process to another, pinned to a core each; .1core: both to the same.
 *
 * rtt64    64 bytes there and back
 * msgs64   64 bytes, one way, as many as go
 * 1M, 16M  so many bytes, one way, into a buffer of the receiver's
 * 16M.view likewise, but read in place. Here both sides look at every cache line that they received
 *
 * The peers are the bare calls on the same kind of socket, or on a stream where the messages are
 * large, and Python's Pipe.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CACHE_LINE 64

struct line;

/* How a message is sent and received: 0 or a negative code. */
struct way {
    int (*open)(struct line *line);
    int (*send)(struct line *line, const void *bytes, size_t size);
    int (*receive)(struct line *line, size_t size);
};

/* One end for each process; a handle or a descriptor of each. */
struct line {
    const struct way *way;
    size_t n, size;
    bool echo, look, one_core;
    tine_connection *handles[2];
    int fds[2];
    int me; /* which end is this process's */
    uint8_t *room;
};

/* ---- tine ------------------------------------------------------------------------------------ */

static int open_pipe(struct line *line)
{
    return tine_pipe(&line->handles[0], &line->handles[1], NULL);
}

static int send_tine(struct line *line, const void *bytes, size_t size)
{
    return tine_connection_send_bytes(line->handles[line->me], bytes, size, TINE_FOREVER);
}

static void look_at(const struct line *line, const void *bytes, size_t size)
{
    uint8_t sum = 0;

    if (!line->look)
        return;
    for (size_t i = 0; i < size; i += CACHE_LINE)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    work_use(&sum);
}

static int receive_tine(struct line *line, size_t size)
{
    size_t got;
    int rc = tine_connection_recv_bytes_into(line->handles[line->me], line->room, size,
                                             TINE_FOREVER, &got);

    return rc == 0 && got != size ? BENCH_WRONG : rc;
}

static int view_tine(struct line *line, size_t size)
{
    tine_message message;
    int rc = tine_connection_recv_view(line->handles[line->me], TINE_FOREVER, &message);

    if (rc < 0)
        return rc;
    look_at(line, message.data, message.size);
    if (message.size != size)
        rc = BENCH_WRONG;
    tine_message_release(&message);
    return rc;
}

static const struct way tine_way = {open_pipe, send_tine, receive_tine};
static const struct way tine_in_place = {open_pipe, send_tine, view_tine};

/* ---- bare sockets ---------------------------------------------------------------------------- */

static int open_records(struct line *line)
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line->fds) < 0 ? -errno : 0;
}

static int open_stream(struct line *line)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line->fds) < 0 ? -errno : 0;
}

static int send_bare(struct line *line, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent =
            send(line->fds[line->me], (const uint8_t *)bytes + done, size - done, MSG_NOSIGNAL);

        if (sent < 0)
            return -errno;
        done += (size_t)sent;
    }
    return 0;
}

static int receive_bare(struct line *line, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = recv(line->fds[line->me], line->room + done, size - done, 0);

        if (got <= 0)
            return got < 0 ? -errno : TINE_EEOF;
        done += (size_t)got;
    }
    look_at(line, line->room, size);
    return 0;
}

static const struct way records = {open_records, send_bare, receive_bare};
static const struct way stream = {open_stream, send_bare, receive_bare};

/* ---- two processes --------------------------------------------------------------------------- */

/* To the first or second core of those that we may use. */
static void pin(int which)
{
    cpu_set_t usable, one;

    if (sched_getaffinity(0, sizeof usable, &usable) != 0 || CPU_COUNT(&usable) < 2)
        return;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &usable) && which-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* The process at the other end: sends, or answers, until it is killed. */
static void be_other(struct line *line)
{
    void *bytes = malloc(line->size);
    int rc = bytes == NULL ? -ENOMEM : 0;

    pin(line->one_core ? 0 : 1);
    line->me = 1;
    if (rc == 0)
        memset(bytes, 1, line->size);
    while (rc == 0) {
        if (line->echo)
            rc = line->way->receive(line, line->size);
        if (rc == 0)
            rc = line->way->send(line, bytes, line->size);
    }
    _exit(1);
}

static int take_all(void *arg)
{
    struct line *line = arg;
    int rc = 0;

    for (size_t i = line->n; i > 0 && rc == 0; i--) {
        if (line->echo)
            rc = line->way->send(line, line->room, line->size);
        if (rc == 0)
            rc = line->way->receive(line, line->size);
    }
    return rc;
}

static int seconds_per_message(const struct bench_pass *pass, struct line *line, double *value)
{
    int rc = line->way->open(line);
    pid_t pid;

    line->n = pass->n;
    line->room = malloc(line->size);
    if (rc == 0 && line->room == NULL)
        rc = -ENOMEM;
    if (rc < 0)
        return rc;
    memset(line->room, 1, line->size);
    pid = fork();
    if (pid == 0)
        be_other(line);
    if (pid < 0)
        return -errno;
    pin(0);
    rc = bench_seconds(pass, &(struct bench_work){.run = take_all, .arg = line}, value);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    free(line->room);
    *value /= (double)pass->n;
    return rc;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static bool has(const struct bench_pass *pass, const char *part)
{
    return strstr(pass->name, part) != NULL;
}

/* What the case is, by its name. */
static int measure(const struct bench_pass *pass, const struct way *way, double *value)
{
    struct line line = {
        .way = way,
        .size = has(pass, "64")     ? 64
                : has(pass, ".16M") ? (size_t)16 << 20
                                    : (size_t)1 << 20,
        .echo = has(pass, ".rtt"),
        .look = has(pass, ".view"),
        .one_core = has(pass, ".1core"),
    };
    double seconds = 0;
    int rc = seconds_per_message(pass, &line, &seconds);

    if (line.echo)
        *value = seconds * 1e6;
    else if (line.size == 64)
        *value = 1e-6 / seconds;
    else
        *value = (double)line.size / seconds * 1e-9;
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    return measure(pass, has(pass, ".view") ? &tine_in_place : &tine_way, value);
}

static int records_side(const struct bench_pass *pass, double *value)
{
    return measure(pass, &records, value);
}

static int stream_side(const struct bench_pass *pass, double *value)
{
    return measure(pass, &stream, value);
}

#define RTT(suffix)                                                                                \
    {                                                                                              \
        .name = "pipe.socket.rtt64" suffix, .unit = "us", .peer = "SEQPACKET",                     \
        .tine_side = tine_side, .peer_side = records_side, .n = 20000, .n_quick = 100,             \
        .repetitions = 7                                                                           \
    }
#define MSGS(suffix)                                                                               \
    {                                                                                              \
        .name = "pipe.socket.msgs64" suffix, .unit = "M/s", .peer = "SEQPACKET",                   \
        .tine_side = tine_side, .peer_side = records_side, .n = 200000, .n_quick = 1000,           \
        .repetitions = 7, .more_is_better = true                                                   \
    }
#define LARGE(size, messages)                                                                      \
    {                                                                                              \
        .name = "pipe.socket." size, .unit = "GB/s", .peer = "stream socket",                      \
        .tine_side = tine_side, .peer_side = stream_side, .n = (messages), .n_quick = 3,           \
        .repetitions = 7, .more_is_better = true                                                   \
    }

static const struct bench_case cases[] = {
    RTT(""),
    RTT(".1core"),
    MSGS(""),
    MSGS(".1core"),
    LARGE("1M", 500),
    LARGE("1M.1core", 500),
    LARGE("16M", 40),
    LARGE("16M.1core", 40),
    LARGE("16M.view", 40),
    {
        .name = "pipe.socket.1M.python",
        .unit = "GB/s",
        .peer = "Python Pipe",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 200,
        .n_quick = 3,
        .repetitions = 5,
        .more_is_better = true,
    },
};

const struct bench_group bench_pipe = BENCH_GROUP(cases);
