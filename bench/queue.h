/* SPDX-License-Identifier: MIT */
/* Two queues behind one interface: producers put records into either, consumers get them. */
#ifndef BENCH_QUEUE_H
#define BENCH_QUEUE_H

#include <stddef.h>

#define BENCH_QUEUE_ROOM   1000 /* items */
#define BENCH_QUEUE_RECORD 64   /* bytes */

#ifdef __cplusplus
extern "C" {
#endif

/* All return 0 or a negative code. Opened before the processes are forked. */
struct bench_queue_side {
    int (*open)(void **queue);
    int (*put)(void *queue, const void *record);
    int (*get)(void *queue, void *record); /* and is done with it */
    void (*close)(void *queue);
};

extern const struct bench_queue_side bench_queue_boost; /* boost.cc; open NULL: it is not there */

#ifdef __cplusplus
}
#endif

#endif
