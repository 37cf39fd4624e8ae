/* SPDX-License-Identifier: MIT */
/*
 * A line: two processes, pinned to a core each or both to the same, and a way for messages between
 * them. The first takes n messages, or sends n and gets them back; the other sends or answers until
 * it is killed.
 */
#ifndef BENCH_LINE_H
#define BENCH_LINE_H

#include "bench/bench.h"

struct line;

/* How a message is sent and received: 0 or a negative code, or BENCH_MISSING. */
struct way {
    int (*open)(struct line *line);
    int (*send)(struct line *line, const void *bytes, size_t size);
    int (*receive)(struct line *line, size_t size);
    int (*begin)(struct line *line);  /* in each process, pinned and forked; may be NULL */
    void (*close)(struct line *line); /* in the first; may be NULL */
};

/* One end for each process; a handle or a descriptor of each. */
struct line {
    const struct way *way;
    size_t n, size;
    bool echo, look, one_core;
    bool asleep; /* the other sleeps before it is sent something */
    tine_connection *handles[2];
    int fds[2];
    void *shared;
    int me; /* which end is this process's */
    pid_t other;
    uint8_t *room;
};

bool bench_line_has(const struct bench_pass *pass, const char *part); /* the case's name */
/* What the case is, by its name: us for `.rtt`, M/s for messages of 64 bytes, GB/s for larger
   ones. */
int bench_line_measure(const struct bench_pass *pass, const struct way *way, double *value);

/* Bare records of a SEQPACKET socket pair. */
extern const struct way bench_line_records;
/* Into line->room, by tine's connections. */
int bench_line_send_tine(struct line *line, const void *bytes, size_t size);
int bench_line_receive_tine(struct line *line, size_t size);
/* The receiver's look at what came, if the case has it. */
void bench_line_look_at(const struct line *line, const void *bytes, size_t size);

/* zmq.c: a ZeroMQ PAIR over ipc; boost.cc: Boost's message_queue, by way of queue.h */
extern const struct way bench_line_zmq;

#endif
