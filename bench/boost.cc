// SPDX-License-Identifier: MIT
//
// The peer Boost.Interprocess: its message_queue, as many messages long as tine's queue. It needs a
// name, which is gone as soon as it is open.
#include "bench/queue.h"

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/exceptions.hpp>

#include <cerrno>
#include <cstdio>
#include <unistd.h>

namespace ipc = boost::interprocess;

static int open_queue(void **queue)
{
    char name[64];

    std::snprintf(name, sizeof name, "tine-bench-%ld", static_cast<long>(getpid()));
    try {
        *queue = new ipc::message_queue(ipc::create_only, name, BENCH_QUEUE_ROOM,
                                        BENCH_QUEUE_RECORD);
    } catch (const std::exception &) {
        return -EIO;
    }
    ipc::message_queue::remove(name);
    return 0;
}

static int put(void *queue, const void *record)
{
    try {
        static_cast<ipc::message_queue *>(queue)->send(record, BENCH_QUEUE_RECORD, 0);
    } catch (const std::exception &) {
        return -EIO;
    }
    return 0;
}

static int get(void *queue, void *record)
{
    ipc::message_queue::size_type size;
    unsigned priority;

    try {
        static_cast<ipc::message_queue *>(queue)->receive(record, BENCH_QUEUE_RECORD, size,
                                                          priority);
    } catch (const std::exception &) {
        return -EIO;
    }
    return size == BENCH_QUEUE_RECORD ? 0 : -EIO;
}

static void close_queue(void *queue)
{
    delete static_cast<ipc::message_queue *>(queue);
}

extern "C" const struct bench_queue_side bench_queue_boost = {open_queue, put, get, close_queue};
