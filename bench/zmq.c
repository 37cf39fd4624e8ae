/* SPDX-License-Identifier: MIT */
/*
 * The peer ZeroMQ: a PAIR of sockets over ipc, at an abstract address, with its own threads and
 * batches. Its limit of messages in a queue is lifted as far as its throughput gains by it.
 */
#include "bench/line.h"

#ifdef HAVE_ZMQ

#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

/* Each process has its own. */
static void *context, *socket_of_pair;
static char address[64];

static int open_address(struct line *line)
{
    (void)line;
    snprintf(address, sizeof address, "ipc://@tine-bench-%ld", (long)getpid());
    return 0;
}

static int begin(struct line *line)
{
    context = zmq_ctx_new();
    socket_of_pair = context != NULL ? zmq_socket(context, ZMQ_PAIR) : NULL;
    if (socket_of_pair == NULL)
        return -ENOMEM;
    return (line->me == 0 ? zmq_bind : zmq_connect)(socket_of_pair, address) < 0 ? -EIO : 0;
}

static int put(struct line *line, const void *bytes, size_t size)
{
    (void)line;
    return zmq_send(socket_of_pair, bytes, size, 0) < 0 ? -EIO : 0;
}

static int get(struct line *line, size_t size)
{
    int got = zmq_recv(socket_of_pair, line->room, size, 0);

    return got < 0 ? -EIO : (size_t)got == size ? 0 : BENCH_WRONG;
}

static void end(struct line *line)
{
    int none = 0;

    (void)line;
    if (socket_of_pair != NULL) {
        zmq_setsockopt(socket_of_pair, ZMQ_LINGER, &none, sizeof none);
        zmq_close(socket_of_pair);
    }
    if (context != NULL)
        zmq_ctx_term(context);
}

const struct way bench_line_zmq = {open_address, put, get, begin, end};

#else

static int is_missing(struct line *line)
{
    (void)line;
    return BENCH_MISSING;
}

const struct way bench_line_zmq = {is_missing, NULL, NULL, NULL, NULL};

#endif
