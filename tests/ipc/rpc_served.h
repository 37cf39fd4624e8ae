/* SPDX-License-Identifier: MIT */
/* Functions that the tests of rpc serve. */
#ifndef TINE_TESTS_IPC_RPC_SERVED_H
#define TINE_TESTS_IPC_RPC_SERVED_H

#include <tine/rpc.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/ipc/meet.h"
#include "tests/ipc/rpc_help.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

static inline int add(tine_rpc_request *request, void *context)
{
    int64_t a, b;
    int rc = tine_rpc_args(request, "qq", &a, &b);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "q", a + b);
}

static inline int divide(tine_rpc_request *request, void *context)
{
    int64_t a, b;
    int rc = tine_rpc_args(request, "qq", &a, &b);

    (void)context;
    if (rc < 0)
        return rc;
    if (b == 0)
        return tine_rpc_fail(request, -EDOM, "%d divided by nothing", (int)a);
    return tine_rpc_reply(request, "q", a / b);
}

static inline int echo(tine_rpc_request *request, void *context)
{
    const void *bytes;
    size_t size;

    (void)context;
    return tine_rpc_args_packed(request, &bytes, &size) < 0
               ? -EINVAL
               : tine_rpc_reply_packed(request, bytes, size);
}

/* So many bytes. */
static inline int fill(tine_rpc_request *request, void *context)
{
    uint64_t size;
    void *bytes;
    int rc = tine_rpc_args(request, "Q", &size);

    if (context != NULL)
        atomic_fetch_add((_Atomic int *)context, 1);
    if (rc < 0)
        return rc;
    bytes = calloc(1, size);
    rc = tine_rpc_reply(request, "y", bytes, (size_t)size);
    free(bytes);
    return rc;
}

/* Keeps its requests for the test to answer. */
struct keeper {
    pthread_mutex_t mutex;
    size_t count;
    tine_rpc_request *kept[4096];
    int64_t number[4096];
    _Atomic size_t seen;
};

static inline int keep(tine_rpc_request *request, void *context)
{
    struct keeper *keeper = context;
    int64_t number;
    int rc = tine_rpc_args(request, "q", &number);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&keeper->mutex);
    keeper->number[keeper->count] = number;
    keeper->kept[keeper->count++] = request;
    pthread_mutex_unlock(&keeper->mutex);
    atomic_fetch_add(&keeper->seen, 1);
    return 0;
}

static inline struct keeper *keeper_new(void)
{
    struct keeper *keeper = shared_memory(sizeof *keeper);

    pthread_mutex_init(&keeper->mutex, NULL);
    return keeper;
}

static inline void keeper_answer(struct keeper *keeper, size_t i)
{
    ck_assert_rc(tine_rpc_reply(keeper->kept[i], "q", keeper->number[i] * 2), 0);
}

static inline void open_all(struct rpc_scene *scene, struct keeper *keeper)
{
    rpc_scene_open(scene, NULL);
    rpc_scene_add(scene, "divide", divide, NULL);
    rpc_scene_add(scene, "add", add, NULL);
    rpc_scene_add(scene, "echo", echo, NULL);
    rpc_scene_add(scene, "fill", fill, NULL);
    if (keeper != NULL)
        rpc_scene_add(scene, "keep", keep, keeper);
    rpc_scene_start(scene);
}

static inline void check_well(tine_rpc *rpc)
{
    int64_t sum = 0;

    ck_assert_rc(
        tine_rpc_call(rpc, TINE_FOREVER, "add", NULL, "qq>q", INT64_C(40), INT64_C(2), &sum), 0);
    ck_assert_int_eq(sum, 42);
}

static inline void check_server_well(struct rpc_scene *scene)
{
    tine_rpc *rpc = rpc_scene_client(scene);

    check_well(rpc);
    tine_rpc_close(rpc);
}

#endif
