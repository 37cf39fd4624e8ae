/* SPDX-License-Identifier: MIT */
/* What the tests of connections share: pipes that leave nothing, and messages that show any
   damage. */
#ifndef TINE_TESTS_IPC_PIPE_HELP_H
#define TINE_TESTS_IPC_PIPE_HELP_H

#include <tine/heap.h>
#include <tine/pipe.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "shm/keepalive.h"
#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Blocks of the heap, which is sound. */
static inline uint64_t heap_blocks(void)
{
    tine_heap_report report;
    int rc = tine_heap_check(&report);

    ck_assert_msg(rc == 0, "%s", report.first);
    ck_assert_uint_eq(report.lost_bytes, 0);
    return report.used_blocks;
}

/* A program of tests is built for each transport. */
#ifndef PIPE_TRANSPORT
#define PIPE_TRANSPORT TINE_SOCKET
#endif

struct ends {
    tine_connection *a, *b;
    uint64_t blocks; /* of the heap, before */
};

static inline struct ends pipe_with(const tine_pipe_options *options)
{
    tine_pipe_options all = options != NULL ? *options : (tine_pipe_options){0};
    struct ends ends;

    all.transport = PIPE_TRANSPORT;
    ck_assert_rc(tine_pipe(&ends.a, &ends.b, &all), 0); /* makes the register, which stays */
    tine_connection_close(ends.a);
    tine_connection_close(ends.b);
    ends.blocks = heap_blocks();
    ck_assert_rc(tine_pipe(&ends.a, &ends.b, &all), 0);
    return ends;
}

/* In a process that goes on with one end only. */
static inline tine_connection *keep_a(struct ends *ends)
{
    tine_connection_close(ends->b);
    ends->b = NULL;
    return ends->a;
}

static inline tine_connection *keep_b(struct ends *ends)
{
    tine_connection_close(ends->a);
    ends->a = NULL;
    return ends->b;
}

/* Closes both, after which the heap has what it had before. */
static inline void pipe_end(struct ends *ends)
{
    tine_connection_close(ends->a);
    tine_connection_close(ends->b);
    ck_assert_uint_eq(heap_blocks(), ends->blocks);
}

/*
 * A message says who sent it, which one it is and how long; all other bytes follow from these, so
 * that one torn or mixed with another shows.
 */
struct stamp {
    uint32_t sender, number;
};

static inline uint8_t stamped_byte(const struct stamp *stamp, size_t at)
{
    return (uint8_t)(stamp->sender * 31 + stamp->number * 7 + at * 13 + (at >> 8) + (at >> 16));
}

static inline void stamp_fill(void *bytes, size_t size, struct stamp stamp)
{
    uint8_t *to = bytes;

    if (size < sizeof stamp)
        stamp = (struct stamp){0, 0};
    for (size_t i = 0; i < size; i++)
        to[i] = stamped_byte(&stamp, i);
    if (size >= sizeof stamp)
        memcpy(bytes, &stamp, sizeof stamp);
}

static inline struct stamp stamp_check(const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    struct stamp stamp = {0, 0};

    if (size >= sizeof stamp)
        memcpy(&stamp, bytes, sizeof stamp);
    for (size_t i = size >= sizeof stamp ? sizeof stamp : 0; i < size; i++)
        if (from[i] != stamped_byte(&stamp, i))
            ck_abort_msg("message %u of %u is damaged at %zu of %zu", stamp.number, stamp.sender, i,
                         size);
    return stamp;
}

#endif
