/* SPDX-License-Identifier: MIT */
/*
 * pipe.ring.*: messages through shared memory from one process to another, pinned to a core each;
 * .1core: both to the same.
 *
 * rtt64         64 bytes there and back, beside two loops that write and await two cache lines
 * rtt64.asleep  likewise, but the other process has gone to sleep each time before it is sent
 *               something
 * msgs64        64 bytes, one way, as many as go
 * 64K           65,536 bytes, one way, into a buffer of the receiver's
 */
#include "bench/line.h"
#include "bench/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* ---- tine ------------------------------------------------------------------------------------ */

static int open_ring(struct line *line)
{
    return tine_pipe(&line->handles[0], &line->handles[1],
                     &(tine_pipe_options){.transport = TINE_RING});
}

static const struct way tine_ring = {open_ring, bench_line_send_tine, bench_line_receive_tine, NULL,
                                     NULL};

/* ---- the bare cache lines -------------------------------------------------------------------- */

/* What the memory itself does: 64 bytes in one line, and a count that says so in another. */
struct lines {
    struct {
        _Alignas(64) uint8_t bytes[64];
        _Alignas(64) _Atomic uint64_t count;
    } from[2];
    struct {
        _Alignas(64) uint64_t seen;
    } by[2];
};

static int open_lines(struct line *line)
{
    line->shared =
        mmap(NULL, sizeof(struct lines), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return line->shared == MAP_FAILED ? -errno : 0;
}

static int write_lines(struct line *line, const void *bytes, size_t size)
{
    struct lines *lines = line->shared;
    _Atomic uint64_t *count = &lines->from[line->me].count;

    memcpy(lines->from[line->me].bytes, bytes, size);
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_release);
    return 0;
}

static int read_lines(struct line *line, size_t size)
{
    struct lines *lines = line->shared;
    const _Atomic uint64_t *count = &lines->from[1 - line->me].count;
    uint64_t *seen = &lines->by[line->me].seen;

    while (atomic_load_explicit(count, memory_order_acquire) == *seen)
        ;
    ++*seen;
    memcpy(line->room, lines->from[1 - line->me].bytes, size);
    return 0;
}

static void close_lines(struct line *line)
{
    munmap(line->shared, sizeof(struct lines));
}

static const struct way lines = {open_lines, write_lines, read_lines, NULL, close_lines};

/* ---- Boost ----------------------------------------------------------------------------------- */

static int open_boost(struct line *line)
{
    return bench_queue_boost.open == NULL ? BENCH_MISSING : bench_queue_boost.open(&line->shared);
}

static int send_boost(struct line *line, const void *bytes, size_t size)
{
    (void)size;
    return bench_queue_boost.put(line->shared, bytes);
}

static int receive_boost(struct line *line, size_t size)
{
    (void)size;
    return bench_queue_boost.get(line->shared, line->room);
}

static void close_boost(struct line *line)
{
    bench_queue_boost.close(line->shared);
}

static const struct way boost = {open_boost, send_boost, receive_boost, NULL, close_boost};

/* ---- cases ----------------------------------------------------------------------------------- */

static int tine_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &tine_ring, value);
}

static int records_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &bench_line_records, value);
}

static int lines_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &lines, value);
}

static int zmq_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &bench_line_zmq, value);
}

static int boost_side(const struct bench_pass *pass, double *value)
{
    return bench_line_measure(pass, &boost, value);
}

#define RTT(suffix, other, side, times)                                                            \
    {                                                                                              \
        .name = "pipe.ring.rtt64" suffix, .unit = "us", .peer = other, .tine_side = tine_side,     \
        .peer_side = side, .n = (times), .n_quick = 100, .repetitions = 7                          \
    }
#define ONE_WAY(what, in, other, side, messages, few)                                              \
    {                                                                                              \
        .name = "pipe.ring." what, .unit = in, .peer = other, .tine_side = tine_side,              \
        .peer_side = side, .n = (messages), .n_quick = (few), .repetitions = 7,                    \
        .more_is_better = true                                                                     \
    }

static const struct bench_case cases[] = {
    RTT("", "two cache lines", lines_side, 100000),
    RTT(".1core", "SEQPACKET", records_side, 20000),
    RTT(".asleep", "SEQPACKET", records_side, 1000),
    ONE_WAY("msgs64", "M/s", "ZeroMQ PAIR", zmq_side, 1000000, 1000),
    ONE_WAY("msgs64.boost", "M/s", "Boost message_queue", boost_side, 1000000, 1000),
    ONE_WAY("msgs64.1core", "M/s", "SEQPACKET", records_side, 500000, 1000),
    ONE_WAY("64K", "GB/s", "SEQPACKET", records_side, 20000, 30),
    ONE_WAY("64K.1core", "GB/s", "SEQPACKET", records_side, 10000, 30),
};

const struct bench_group bench_ring = BENCH_GROUP(cases);
