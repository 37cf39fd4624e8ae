/* SPDX-License-Identifier: MIT */
/*
 * pipe.socket.*: messages from one process to another, pinned to a core each; .1core: both to the
 * same.
 *
 * rtt64    64 bytes there and back
 * msgs64   64 bytes, one way, as many as go
 * 1M, 16M  so many bytes, one way, into a buffer of the receiver's
 * 16M.view likewise, but built and read in place. Here both sides write to every cache line that
 *          they send, and look at every one that they received
 *
 * The peers are the bare calls on the same kind of socket, or on a stream where the messages are
 * large, and Python's Pipe.
 */
#include "bench/line.h"

#include <errno.h>
#include <sys/socket.h>

#define CACHE_LINE 64

/* ---- tine ------------------------------------------------------------------------------------ */

static int open_pipe(struct line *line)
{
    return tine_pipe(&line->handles[0], &line->handles[1], NULL);
}

static void write_to(const struct line *line, void *bytes, size_t size)
{
    for (size_t i = 0; line->look && i < size; i += CACHE_LINE)
        ((uint8_t *)bytes)[i]++;
}

static int build_tine(struct line *line, const void *bytes, size_t size)
{
    tine_connection *handle = line->handles[line->me];
    tine_message loan;
    void *data;
    int rc = tine_connection_loan(handle, size, TINE_FOREVER, &loan, &data);

    (void)bytes;
    if (rc < 0)
        return rc;
    write_to(line, data, size);
    return tine_connection_send_loan(handle, &loan, TINE_FOREVER);
}

static int view_tine(struct line *line, size_t size)
{
    tine_message message;
    int rc = tine_connection_recv_view(line->handles[line->me], TINE_FOREVER, &message);

    if (rc < 0)
        return rc;
    bench_line_look_at(line, message.data, message.size);
    if (message.size != size)
        rc = BENCH_WRONG;
    tine_message_release(&message);
    return rc;
}

static const struct way tine_way = {open_pipe, bench_line_send_tine, bench_line_receive_tine, NULL,
                                    NULL};
static const struct way tine_in_place = {open_pipe, build_tine, view_tine, NULL, NULL};

/* ---- bare streams ---------------------------------------------------------------------------- */

static int open_stream(struct line *line)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line->fds) < 0 ? -errno : 0;
}

static int send_bare(struct line *line, const void *bytes, size_t size)
{
    write_to(line, (void *)(uintptr_t)bytes, size); /* memory of be_other's */
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
    bench_line_look_at(line, line->room, size);
    return 0;
}

static const struct way stream = {open_stream, send_bare, receive_bare, NULL, NULL};

/* ---- cases ----------------------------------------------------------------------------------- */

static int tine_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, bench_line_has(pass, ".view") ? &tine_in_place : &tine_way,
                              value);
}

static int records_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &bench_line_records, value);
}

static int stream_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &stream, value);
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
