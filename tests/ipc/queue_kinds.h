/* SPDX-License-Identifier: MIT */
/* Queues of every order, with and without leases. */
#ifndef TINE_TESTS_IPC_QUEUE_KINDS_H
#define TINE_TESTS_IPC_QUEUE_KINDS_H

#include <tine/queue.h>

#include "tests/ipc/queue_help.h"
#include "tests/support/wait.h"

static inline void assert_nothing(tine_queue *queue, int code)
{
    ck_assert_rc(tine_queue_get_nowait(queue, "q", NULL), code);
}

/* Every order, with and without leases. */
static const tine_queue_options kinds[] = {
    {.order = 0},
    {.order = TINE_LIFO},
    {.order = TINE_PRIORITY},
    {.joinable = 1},
    {.order = TINE_LIFO, .joinable = 1},
    {.order = TINE_PRIORITY, .joinable = 1},
};

#define KINDS ((int)(sizeof kinds / sizeof kinds[0]))

static inline bool is_fifo(int kind)
{
    return kinds[kind].order == 0;
}

static inline void done(tine_queue *queue, int kind)
{
    if (kinds[kind].joinable)
        ck_assert_ok(tine_queue_task_done(queue));
}

struct scene {
    tine_queue *queue;
    struct gate *gate;
    int64_t rounds;
    int kind;
};

#endif
