/* SPDX-License-Identifier: MIT */
/* What the tests of queues share. */
#ifndef TINE_TESTS_IPC_QUEUE_HELP_H
#define TINE_TESTS_IPC_QUEUE_HELP_H

#include <tine/heap.h>
#include <tine/queue.h>

#include <unistd.h>

#include "ipc/queue_impl.h"
#include "shm/heap.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

HEAP_BEFORE_TESTS

static inline uint64_t heap_blocks(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_blocks;
}

static inline tine_queue *queue_new(tine_queue_options options)
{
    tine_queue *queue = NULL;

    ck_assert_ok(tine_queue_open(&queue, &options));
    return queue;
}

static inline void put(tine_queue *queue, int64_t number)
{
    ck_assert_ok(tine_queue_put(queue, TINE_FOREVER, "q", number));
}

static inline int64_t get(tine_queue *queue)
{
    int64_t number = -1;

    ck_assert_ok(tine_queue_get(queue, TINE_FOREVER, "q", &number));
    return number;
}

#endif
