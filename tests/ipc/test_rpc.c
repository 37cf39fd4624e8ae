/* SPDX-License-Identifier: MIT */
#include <tine/rpc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/rpc_message.h"
#include "shm/heap.h"
#include "tests/ipc/meet.h"
#include "tests/ipc/rpc_help.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* The heap's descriptor is no leak of a test's. */
__attribute__((constructor)) static void open_heap_first(void)
{
    if (tine__heap_open() < 0)
        _exit(99);
}

/* ---- functions that are served --------------------------------------------------------------- */

static int add(tine_rpc_request *request, void *context)
{
    int64_t a, b;
    int rc = tine_rpc_args(request, "qq", &a, &b);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "q", a + b);
}

static int divide(tine_rpc_request *request, void *context)
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

static int echo(tine_rpc_request *request, void *context)
{
    const void *bytes;
    size_t size;

    (void)context;
    return tine_rpc_args_packed(request, &bytes, &size) < 0
               ? -EINVAL
               : tine_rpc_reply_packed(request, bytes, size);
}

/* So many bytes. */
static int fill(tine_rpc_request *request, void *context)
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

static int keep(tine_rpc_request *request, void *context)
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

static struct keeper *keeper_new(void)
{
    struct keeper *keeper = shared_memory(sizeof *keeper);

    pthread_mutex_init(&keeper->mutex, NULL);
    return keeper;
}

static void keeper_answer(struct keeper *keeper, size_t i)
{
    ck_assert_rc(tine_rpc_reply(keeper->kept[i], "q", keeper->number[i] * 2), 0);
}

static void open_all(struct rpc_scene *scene, struct keeper *keeper)
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

static void check_well(tine_rpc *rpc)
{
    int64_t sum = 0;

    ck_assert_rc(
        tine_rpc_call(rpc, TINE_FOREVER, "add", NULL, "qq>q", INT64_C(40), INT64_C(2), &sum), 0);
    ck_assert_int_eq(sum, 42);
}

static void check_server_well(struct rpc_scene *scene)
{
    tine_rpc *rpc = rpc_scene_client(scene);

    check_well(rpc);
    tine_rpc_close(rpc);
}

/* ---- calls ----------------------------------------------------------------------------------- */

TEST(a_call_gives_the_result)
{
    struct rpc_scene scene;
    tine_rpc *rpc;
    char *text;
    double x;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    check_well(rpc);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(20), "echo", NULL, "sd>[sd]", "seven", 7.5, &text, &x),
                 0);
    ck_assert_str_eq(text, "seven");
    ck_assert(x == 7.5);
    free(text);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(20), "echo", NULL, ""), 0);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(20), "echo", NULL, ">[]"), 0);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
    ck_assert_int_eq(scene.served, 4);
}

TEST(a_failure_is_data)
{
    struct rpc_scene scene;
    tine_failure failure;
    tine_rpc *rpc;
    int64_t result = 5;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "divide", &failure, "qq>q", INT64_C(7),
                               INT64_C(0), &result),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.code, TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EDOM);
    ck_assert_str_eq(failure.task, "divide");
    ck_assert_str_eq(failure.message, "7 divided by nothing");
    ck_assert_int_eq(result, 5);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "multiply", &failure, ""), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -ENOSYS);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "add", &failure, "qs", INT64_C(7), "x"),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.error, TINE_EFORMAT);
    ck_assert_rc(
        tine_rpc_call(rpc, TINE_FOREVER, "add", &failure, "qq>s", INT64_C(7), INT64_C(1), NULL),
        TINE_EFORMAT);
    ck_assert_int_eq(failure.code, TINE_EFORMAT);
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(answers_come_in_any_order)
{
    enum { CALLS = 1000 };
    struct keeper *keeper = keeper_new();
    static tine_rpc_future *futures[CALLS];
    struct rpc_scene scene;
    tine_rpc *rpc;
    int64_t twice;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    for (int64_t i = 0; i < CALLS; i++)
        ck_assert_rc(tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "keep", "q", i), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == CALLS);
    ck_assert_rc(tine_rpc_future_wait(futures[0], 0), -EAGAIN);
    ck_assert_rc(tine_rpc_future_wait(futures[0], TINE_MS(2)), -ETIMEDOUT);
    check_well(rpc);
    for (size_t i = CALLS; i-- > 0;)
        keeper_answer(keeper, i);
    for (int64_t i = 0; i < CALLS; i++) {
        ck_assert_rc(tine_rpc_future_result(futures[i], TINE_FOREVER, "q", &twice), 0);
        ck_assert_int_eq(twice, 2 * i);
        tine_rpc_future_close(futures[i]);
    }
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

struct caller {
    tine_rpc *rpc;
    int64_t number;
    pthread_t thread;
};

static void *call_often(void *context)
{
    struct caller *caller = context;
    int64_t sum;

    for (int64_t i = 0; i < 300; i++) {
        ck_assert_rc(
            tine_rpc_call(caller->rpc, TINE_FOREVER, "add", NULL, "qq>q", caller->number, i, &sum),
            0);
        ck_assert_int_eq(sum, caller->number + i);
    }
    return NULL;
}

TEST(many_threads_share_a_client)
{
    struct caller callers[4];
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller){.rpc = rpc, .number = 1000 * i};
        ck_assert_int_eq(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(callers[i].thread, NULL);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

static void *await_future(void *future)
{
    int64_t twice;

    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, "q", &twice), 0);
    return NULL;
}

TEST(who_has_its_answer_lets_another_read)
{
    struct keeper *keeper = keeper_new();
    tine_rpc_future *futures[3];
    struct rpc_scene scene;
    pthread_t threads[3];
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_rc(tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "keep", "q", i), 0);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, await_future, futures[i]), 0);
    }
    ck_assert_eventually(atomic_load(&keeper->seen) == 3);
    for (size_t i = 0; i < 3; i++) {
        keeper_answer(keeper, i);
        pthread_join(threads[i], NULL);
        tine_rpc_future_close(futures[i]);
    }
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(a_result_is_read_in_each_form)
{
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_failure failure;
    const void *bytes, *again;
    size_t size;
    char *text;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(
        tine_rpc_submit(&future, rpc, TINE_FOREVER, "echo", "sy", "text", "bytes", (size_t)5), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, "[sy]", &text, &bytes, &size), 0);
    ck_assert_str_eq(text, "text");
    ck_assert_uint_eq(size, 5);
    ck_assert_mem_eq(bytes, "bytes", 5);
    ck_assert_rc(tine_rpc_future_packed(future, 0, &again, &size), 0);
    ck_assert_rc(tine_unpack(again, size, "[ny]", NULL, NULL), TINE_EFORMAT);
    ck_assert_rc(tine_rpc_future_result(future, 0, NULL), 0);
    ck_assert_rc(tine_rpc_future_failure(future, &failure), 0);
    ck_assert_rc(tine_rpc_future_cancel(future), -EALREADY);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

/* ---- no answers ------------------------------------------------------------------------------ */

TEST(cancelled_calls_end_at_once)
{
    struct keeper *keeper = keeper_new();
    tine_rpc_future *before, *during;
    struct rpc_scene scene;
    tine_failure failure;
    tine_rpc *rpc;
    int64_t twice;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_submit(&before, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_rc(tine_rpc_future_cancel(before), 0);
    ck_assert_rc(tine_rpc_submit(&during, rpc, TINE_FOREVER, "keep", "q", INT64_C(2)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 2);
    ck_assert_rc(tine_rpc_future_cancel(during), 0);
    ck_assert_rc(tine_rpc_future_cancel(during), -EALREADY);
    ck_assert_rc(tine_rpc_future_result(before, TINE_FOREVER, "q", &twice), -ECANCELED);
    ck_assert_rc(tine_rpc_future_result(during, TINE_FOREVER, "q", &twice), -ECANCELED);
    ck_assert_rc(tine_rpc_future_failure(during, &failure), 1);
    ck_assert_int_eq(failure.code, -ECANCELED);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_eventually(tine_rpc_cancelled(keeper->kept[i]));
        keeper_answer(keeper, i);
    }
    check_well(rpc);
    tine_rpc_future_close(before);
    tine_rpc_future_close(during);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

static void *cancel_future(void *future)
{
    ck_assert_rc(tine_rpc_future_cancel(future), 0);
    return NULL;
}

TEST(who_waits_for_a_cancelled_call_is_told)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc_future *future;
    pthread_t thread;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_future, future), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    pthread_join(thread, NULL);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    tine_rpc_drop(keeper->kept[0]);
    rpc_scene_close(&scene);
}

TEST(a_late_answer_is_nobodys)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_failure failure;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_call(rpc, TINE_MS(5), "keep", &failure, "q", INT64_C(1)), -ETIMEDOUT);
    ck_assert_int_eq(failure.code, -ETIMEDOUT);
    ck_assert_rc(tine_rpc_call(rpc, 0, "keep", NULL, "q", INT64_C(1)), -EAGAIN);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "keep", "q", INT64_C(3)), 0);
    tine_rpc_future_close(future);
    ck_assert_eventually(atomic_load(&keeper->seen) == 3);
    for (size_t i = 0; i < 3; i++)
        keeper_answer(keeper, i);
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(a_dropped_request_is_an_error)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_failure failure;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 1);
    tine_rpc_drop(keeper->kept[0]);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), TINE_EREMOTE);
    ck_assert_rc(tine_rpc_future_failure(future, &failure), 1);
    ck_assert_int_eq(failure.error, -ECANCELED);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(the_end_of_the_server_ends_all_calls)
{
    struct keeper *keeper = keeper_new();
    tine_rpc_future *futures[20], *late;
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    for (int64_t i = 0; i < 20; i++)
        ck_assert_rc(tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "keep", "q", i), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 20);
    rpc_scene_close(&scene);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_rc(tine_rpc_future_result(futures[i], TINE_FOREVER, NULL), TINE_EEOF);
        tine_rpc_future_close(futures[i]);
        keeper_answer(keeper, i); /* to nobody */
    }
    ck_assert_rc(tine_rpc_submit(&late, rpc, TINE_FOREVER, "keep", "q", INT64_C(0)), TINE_EEOF);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "keep", NULL, "q", INT64_C(0)), TINE_EEOF);
    tine_rpc_close(rpc);
}

TEST(a_closed_client_cancels_its_calls)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 1);
    tine_rpc_close(rpc);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    tine_rpc_future_close(future);
    ck_assert_eventually(tine_rpc_cancelled(keeper->kept[0]));
    keeper_answer(keeper, 0);
    check_server_well(&scene);
    rpc_scene_close(&scene);
}

/* ---- notices --------------------------------------------------------------------------------- */

TEST(notices_run_in_order_and_get_no_answer)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    for (int64_t i = 0; i < 10; i++)
        ck_assert_rc(tine_rpc_notify(rpc, TINE_FOREVER, "keep", "q", i), 0);
    ck_assert_rc(tine_rpc_notify(rpc, TINE_FOREVER, "nobody", "q", INT64_C(1)), 0);
    check_well(rpc);
    ck_assert_uint_eq(atomic_load(&keeper->seen), 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(keeper->number[i], (int64_t)i);
        keeper_answer(keeper, i);
    }
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

/* ---- what is refused ------------------------------------------------------------------------- */

TEST(what_means_something_in_a_family_only_is_refused)
{
    static const char *const formats[] = {"p", "c", "F", "oc", "[qp]"};
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        char both[16];

        snprintf(both, sizeof both, ">%s", formats[i]);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "echo", formats[i]), -EINVAL);
        ck_assert_rc(tine_rpc_call(rpc, 0, "echo", NULL, formats[i]), -EINVAL);
        ck_assert_rc(tine_rpc_call(rpc, 0, "echo", NULL, both), -EINVAL);
    }
    ck_assert_rc(tine_rpc_call(rpc, 0, "echo", NULL, "q>y", INT64_C(1), NULL, NULL), -EINVAL);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "echo", ""), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, "p", NULL), -EINVAL);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(what_makes_no_sense_is_refused)
{
    static const char *const names[] = {"", "tine.cancel", "tine."};
    tine_rpc_server_options options = {.reserved[4] = 1};
    tine_connection *a, *b;
    struct rpc_scene scene;
    char longer[300];
    tine_rpc *rpc;

    memset(longer, 'x', sizeof longer);
    longer[256] = '\0';
    rpc_scene_open(&scene, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_rc(tine_rpc_server_add(scene.server, names[i], echo, NULL), -EINVAL);
    ck_assert_rc(tine_rpc_server_add(scene.server, longer, echo, NULL), -EINVAL);
    longer[255] = '\0';
    rpc_scene_add(&scene, longer, echo, NULL);
    ck_assert_rc(tine_rpc_server_add(scene.server, longer, add, NULL), -EEXIST);
    ck_assert_rc(tine_rpc_server_add(scene.server, "echo", NULL, NULL), -EINVAL);
    ck_assert_rc(tine_rpc_server_open(&scene.server, scene.listener, &options), -E2BIG);
    ck_assert_rc(tine_rpc_server_open(&scene.server, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.simplex = 1}), 0);
    ck_assert_rc(tine_rpc_open(&rpc, a), -EBADF);
    ck_assert_rc(tine_rpc_open(&rpc, NULL), -EINVAL);
    tine_connection_close(a);
    tine_connection_close(b);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, longer, NULL, ""), 0);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "", NULL, ""), -EINVAL);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "x", NULL, NULL), -EINVAL);
    ck_assert_rc(tine_rpc_call(NULL, TINE_FOREVER, "x", NULL, ""), -EINVAL);
    tine_rpc_close(rpc);
    tine_rpc_close(NULL);
    tine_rpc_future_close(NULL);
    tine_rpc_drop(NULL);
    tine_rpc_server_stop(NULL);
    tine_rpc_server_close(NULL);
    rpc_scene_close(&scene);
}

TEST(what_is_too_large_fails_alone)
{
    struct rpc_scene scene;
    tine_failure failure;
    void *bytes = calloc(1, 70000);
    tine_rpc *rpc;

    ck_assert_rc(tine_listener_open(&scene.listener, NULL,
                                    &(tine_listener_options){.message_bytes_max = 65536}),
                 0);
    ck_assert_rc(tine_rpc_server_open(&scene.server, scene.listener, NULL), 0);
    rpc_scene_add(&scene, "fill", fill, NULL);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    ck_assert_rc(tine_rpc_open(
                     &rpc, rpc_scene_dial(&scene, &(tine_dial_options){.message_bytes_max = 1000})),
                 0);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "fill", NULL, "y", bytes, (size_t)70000),
                 -EMSGSIZE);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "fill", &failure, "Q", UINT64_C(1000)),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EMSGSIZE);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "fill", NULL, "Q", UINT64_C(900)), 0);
    check_well(rpc);
    free(bytes);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

/* ---- hostile clients ------------------------------------------------------------------------- */

static void expect_end(tine_connection *connection)
{
    void *bytes;
    size_t size;
    int rc;

    do {
        rc = tine_connection_recv_bytes(connection, TINE_SEC(20), &bytes, &size);
        if (rc == 0)
            free(bytes);
    } while (rc == 0);
    ck_assert(rc == TINE_EEOF || rc == -ECONNRESET || rc == -EBADMSG);
    tine_connection_close(connection);
}

TEST(nonsense_costs_the_connection_only)
{
    static const struct {
        const char *bytes;
        size_t size;
    } nonsense[] = {
        {"", 0},                                     /* nothing */
        {"\xc0", 1},                                 /* nil */
        {"\x90", 1},                                 /* [] */
        {"\x94\x00\x01\xa1x", 5},                    /* cut short */
        {"\x94\x00\x01\xa1x\x90\x00", 7},            /* more than one value */
        {"\x94\x00\x01\xa1x\x80", 6},                /* arguments that are a map */
        {"\x94\x00\xff\xa1x\x90", 6},                /* id -1 */
        {"\x94\x00\x01\x01\x90", 5},                 /* a name that is a number */
        {"\x93\x00\x01\xa1x", 5},                    /* no arguments */
        {"\x95\x00\x01\xa1x\x90\xc0", 7},            /* one more */
        {"\x94\x01\x01\xc0\xc0", 5},                 /* an answer */
        {"\x94\x03\x01\xa1x\x90", 6},                /* no such kind */
        {"\x94\xff\x01\xa1x\x90", 6},                /* likewise */
        {"\x93\x02\xabtine.cancel\x90", 15},         /* cancels nothing */
        {"\x93\x02\xabtine.cancel\x92\x01\x02", 17}, /* cancels too much */
        {"\xdd\xff\xff\xff\xff", 5},                 /* four milliards of values */
        {"\x94\x00\x01\xa1x\xdd\xff\xff\xff\xff", 10},
    };
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        tine_connection *stranger = rpc_scene_dial(&scene, NULL);

        ck_assert_rc(
            tine_connection_send_bytes(stranger, nonsense[i].bytes, nonsense[i].size, TINE_FOREVER),
            0);
        expect_end(stranger);
        check_well(rpc);
    }
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(random_bytes_harm_nobody)
{
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (int i = 0; i < 200; i++) {
        tine_connection *stranger = rpc_scene_dial(&scene, NULL);
        uint8_t bytes[64];

        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)random_below(256);
        bytes[0] = (uint8_t)(0x93 + random_below(2));
        bytes[1] = (uint8_t)random_below(3);
        ck_assert_rc(
            tine_connection_send_bytes(stranger, bytes, random_below(sizeof bytes), TINE_FOREVER),
            0);
        tine_connection_close(stranger);
    }
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

/* As many requests as go in without waiting for long. */
static int ask_and_never_read(tine_connection *greedy, const char *name, uint64_t argument,
                              int most)
{
    tine_buffer message = {.data = NULL};
    int asked = 0;

    ck_assert_rc(tine_pack(&message, "[BQs[Q]]", TINE__RPC_REQUEST, UINT64_C(1), name, argument),
                 0);
    while (asked < most &&
           tine_connection_send_bytes(greedy, message.data, message.size, TINE_MS(100)) == 0)
        asked++;
    tine_buffer_free(&message);
    return asked;
}

TEST(who_takes_no_answers_is_read_no_further)
{
    enum { ANSWER = 100000, ANSWERS_MAX = 1000000 / ANSWER + 1 + 3 /* in the sockets */ };
    tine_rpc_server_options options = {.bytes_max = 1000000, .send_timeout_ns = TINE_SEC(1)};
    struct rpc_scene scene;
    tine_connection *greedy;
    _Atomic int calls = 0;
    tine_rpc *rpc;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "fill", fill, &calls);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "fill", ANSWER, 100), 100);
    ck_assert_eventually(atomic_load(&calls) >= 10);
    check_well(rpc);
    ck_assert_int_le(atomic_load(&calls), ANSWERS_MAX);
    ck_assert_eventually(tine_connection_send_bytes(greedy, "", 0, 0) == -EPIPE);
    ck_assert_int_le(atomic_load(&calls), ANSWERS_MAX);
    check_well(rpc);
    expect_end(greedy);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(who_takes_answers_slowly_gets_them_all)
{
    enum { ANSWERS = 60, ANSWER = 100000 };
    tine_rpc_server_options options = {.bytes_max = 300000};
    struct rpc_scene scene;
    tine_connection *slow;
    _Atomic int calls = 0;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "fill", fill, &calls);
    rpc_scene_start(&scene);
    slow = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(slow, "fill", ANSWER, ANSWERS), ANSWERS);
    for (int i = 0; i < ANSWERS; i++) {
        tine_message message;

        ck_assert_rc(tine_connection_recv_view(slow, TINE_FOREVER, &message), 0);
        ck_assert_uint_ge(message.size, ANSWER);
        tine_message_release(&message);
    }
    ck_assert_int_eq(atomic_load(&calls), ANSWERS);
    tine_connection_close(slow);
    rpc_scene_close(&scene);
}

/* Answers of another thread's, while the server sleeps: it has to send the rest of them. */
TEST(late_answers_that_have_no_room_follow)
{
    enum { CALLS = 8, ANSWER = 1000000 };
    struct keeper *keeper = keeper_new();
    void *bytes = calloc(1, ANSWER);
    struct rpc_scene scene;
    tine_connection *slow;

    open_all(&scene, keeper);
    slow = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(slow, "keep", 1, CALLS), CALLS);
    ck_assert_eventually(atomic_load(&keeper->seen) == CALLS);
    for (size_t i = 0; i < CALLS; i++)
        ck_assert_rc(tine_rpc_reply(keeper->kept[i], "y", bytes, (size_t)ANSWER), 0);
    for (size_t i = 0; i < CALLS; i++) {
        tine_message message;

        ck_assert_rc(tine_connection_recv_view(slow, TINE_FOREVER, &message), 0);
        ck_assert_uint_ge(message.size, ANSWER);
        tine_message_release(&message);
    }
    free(bytes);
    tine_connection_close(slow);
    rpc_scene_close(&scene);
}

TEST(who_takes_no_late_answers_is_dropped)
{
    tine_rpc_server_options options = {.send_timeout_ns = TINE_MS(50)};
    struct keeper *keeper = keeper_new();
    void *bytes = calloc(1, 1000000);
    struct rpc_scene scene;
    tine_connection *greedy;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "keep", keep, keeper);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "keep", 1, 2), 2);
    ck_assert_eventually(atomic_load(&keeper->seen) == 2);
    ck_assert_rc(tine_rpc_reply(keeper->kept[0], "y", bytes, (size_t)1000000), 0);
    ck_assert_eventually(tine_rpc_cancelled(keeper->kept[1]));
    tine_rpc_drop(keeper->kept[1]);
    expect_end(greedy);
    check_server_well(&scene);
    free(bytes);
    rpc_scene_close(&scene);
}

TEST(no_more_requests_are_taken_than_allowed)
{
    tine_rpc_server_options options = {.requests_max = 5};
    struct keeper *keeper = keeper_new();
    tine_rpc_future *futures[12];
    struct rpc_scene scene;
    tine_rpc *rpc, *other;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "keep", keep, keeper);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    other = rpc_scene_client(&scene);
    for (int64_t i = 0; i < 12; i++)
        ck_assert_rc(tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "keep", "q", i), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 5);
    check_well(other);
    ck_assert_uint_eq(atomic_load(&keeper->seen), 5);
    for (size_t i = 0; i < 12; i++) {
        ck_assert_eventually(atomic_load(&keeper->seen) > i);
        keeper_answer(keeper, i);
        ck_assert_rc(tine_rpc_future_wait(futures[i], TINE_FOREVER), 0);
        tine_rpc_future_close(futures[i]);
    }
    tine_rpc_close(rpc);
    tine_rpc_close(other);
    rpc_scene_close(&scene);
}

TEST(a_client_at_its_limit_may_die)
{
    tine_rpc_server_options options = {.requests_max = 2};
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_connection *greedy;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "keep", keep, keeper);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "keep", 1, 5), 5);
    ck_assert_eventually(atomic_load(&keeper->seen) == 2);
    tine_connection_close(greedy);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_eventually(tine_rpc_cancelled(keeper->kept[i]));
        keeper_answer(keeper, i);
    }
    check_server_well(&scene);
    rpc_scene_close(&scene);
}

TEST(more_clients_than_allowed_wait)
{
    tine_rpc_server_options options = {.clients_max = 2};
    struct dialling third;
    struct rpc_scene scene;
    tine_rpc *a, *b, *c;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    a = rpc_scene_client(&scene);
    check_well(a);
    b = rpc_scene_client(&scene);
    check_well(b);
    dialling_start(&third, scene.listener, NULL);
    check_well(a);
    tine_rpc_close(a);
    ck_assert_rc(dialling_end(&third), 0);
    ck_assert_rc(tine_rpc_open(&c, third.connection), 0);
    check_well(c);
    check_well(b);
    tine_rpc_close(b);
    tine_rpc_close(c);
    rpc_scene_close(&scene);
}

/* ---- hostile servers ------------------------------------------------------------------------- */

TEST(a_server_that_talks_nonsense_ends_the_calls)
{
    static const char *const nonsense[] = {"\x91\x01", "\x93\x01\x01\xc0", "\xc1"};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_rpc *rpc;

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
        ck_assert_rc(tine_rpc_open(&rpc, end), 0);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
        ck_assert_rc(tine_connection_send_bytes(server, nonsense[i], strlen(nonsense[i]), 0), 0);
        ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), TINE_EFORMAT);
        tine_rpc_future_close(future);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), TINE_EFORMAT);
        tine_rpc_close(rpc);
        tine_connection_close(server);
    }
}

/* What the answer with these letters is taken for. */
static void answer_raw(tine_connection *server, tine_rpc_future *future, const char *format,
                       tine_failure *failure)
{
    tine_buffer message = {.data = NULL};

    ck_assert_rc(tine_pack(&message, format, 1, UINT32_C(1), "trouble", 3), 0);
    ck_assert_rc(tine_connection_send_bytes(server, message.data, message.size, 0), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), TINE_EREMOTE);
    ck_assert_rc(tine_rpc_future_failure(future, failure), 1);
    tine_rpc_future_close(future);
    tine_buffer_free(&message);
}

TEST(errors_of_other_implementations_are_understood)
{
    static const char *const formats[] = {"[BIsB]", "[BI[s]B]", "[BI{sB}n]", "[BI[[sB]]n]"};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_failure failure;
    tine_rpc *rpc;

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
        ck_assert_rc(tine_rpc_open(&rpc, end), 0);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
        answer_raw(server, future, formats[i], &failure);
        ck_assert_int_eq(failure.error, 0);
        ck_assert_str_eq(failure.message, i < 2 ? "trouble" : "");
        tine_rpc_close(rpc);
        tine_connection_close(server);
    }
}

TEST(answers_to_nothing_and_questions_are_passed_over)
{
    static const char others[] = "\x94\x01\x07\xc0\x01"                 /* another id */
                                 "\x94\x01\xcf\1\0\0\0\0\0\0\1\xc0\x01" /* a longer one */
                                 "\x94\x00\x01\xa1x\x90"                /* a request */
                                 "\x93\x02\xa1x\x90";                   /* a notice */
    static const size_t ends[] = {5, 18, 24, 29};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_rpc *rpc;
    size_t from = 0;

    ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
    ck_assert_rc(tine_rpc_open(&rpc, end), 0);
    ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        ck_assert_rc(tine_connection_send_bytes(server, others + from, ends[i] - from, 0), 0);
        from = ends[i];
    }
    ck_assert_rc(tine_rpc_future_wait(future, 0), -EAGAIN);
    ck_assert_rc(tine_connection_send(server, 0, "[BBnB]", 1, 1, 5), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), 0);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    tine_connection_close(server);
}

/* ---- running --------------------------------------------------------------------------------- */

static int stop(tine_rpc_request *request, void *context)
{
    tine_rpc_server *server = *(tine_rpc_server **)context;

    ck_assert_rc(tine_rpc_server_run(server, 0), -EBUSY);
    tine_rpc_server_stop(server);
    return tine_rpc_reply(request, "n");
}

TEST(a_function_may_stop_the_server)
{
    struct rpc_scene scene;
    tine_rpc *rpc;

    rpc_scene_open(&scene, NULL);
    rpc_scene_add(&scene, "stop", stop, &scene.server);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "stop", NULL, ""), 0);
    pthread_join(scene.thread, NULL);
    ck_assert_int_eq(scene.served, 1);
    tine_rpc_server_stop(scene.server);
    ck_assert_rc(tine_rpc_server_run(scene.server, TINE_FOREVER), 0);
    tine_rpc_close(rpc);
    tine_rpc_server_close(scene.server);
}

TEST(an_outside_loop_is_told_when_to_run)
{
    struct pollfd set = {.events = POLLIN};
    struct dialling dialling;
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_rpc *rpc;
    int served;

    rpc_scene_open(&scene, NULL);
    rpc_scene_add(&scene, "add", add, NULL);
    set.fd = tine_rpc_server_fileno(scene.server);
    ck_assert_rc(tine_rpc_server_run(scene.server, 0), 0);
    ck_assert_int_eq(poll(&set, 1, 0), 0);
    dialling_start(&dialling, scene.listener, NULL);
    while (scene.server != NULL && tine_rpc_server_run(scene.server, 0) == 0 &&
           pthread_tryjoin_np(dialling.thread, NULL) != 0)
        ck_assert_int_ge(poll(&set, 1, 10), 0);
    ck_assert_rc(dialling.rc, 0);
    ck_assert_rc(tine_rpc_open(&rpc, dialling.connection), 0);
    ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "add", "qq", INT64_C(1), INT64_C(2)), 0);
    do {
        ck_assert_int_eq(poll(&set, 1, -1), 1);
        served = tine_rpc_server_run(scene.server, 0);
        ck_assert_ok(served);
    } while (served == 0);
    ck_assert_int_eq(poll(&(struct pollfd){.fd = tine_rpc_fileno(rpc), .events = POLLIN}, 1, -1),
                     1);
    ck_assert_rc(tine_rpc_future_result(future, 0, NULL), 0);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    tine_rpc_server_close(scene.server);
}

static void use_in_child(void *context)
{
    void **both = context;
    struct rpc_scene *scene = both[0];
    tine_rpc *rpc = both[1];
    tine_rpc_future *future = both[2];

    ck_assert_rc(tine_rpc_call(rpc, 0, "add", NULL, "qq", INT64_C(1), INT64_C(1)), TINE_EFORKED);
    ck_assert_rc(tine_rpc_future_wait(future, 0), TINE_EFORKED);
    ck_assert_rc(tine_rpc_future_cancel(future), TINE_EFORKED);
    ck_assert_rc(tine_rpc_server_run(scene->server, 0), TINE_EFORKED);
    tine_rpc_server_stop(scene->server);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    tine_rpc_server_close(scene->server);
}

TEST(a_forked_child_only_closes)
{
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_rpc_future *future;
    struct child child;
    void *both[3];
    tine_rpc *rpc;

    open_all(&scene, keeper);
    rpc = rpc_scene_client(&scene);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 1);
    both[0] = &scene;
    both[1] = rpc;
    both[2] = future;
    child = child_start(use_in_child, both);
    child_join(&child);
    keeper_answer(keeper, 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), 0);
    tine_rpc_future_close(future);
    check_well(rpc);
    tine_rpc_close(rpc);
    check_server_well(&scene);
    rpc_scene_close(&scene);
}

TEST(python_of_the_other_protocol_is_served_too)
{
    tine_listener_options options = {.key = "k", .key_size = 1, .protocol = TINE_PROTOCOL_PYTHON};
    tine_dial_options dial = {.key = "k", .key_size = 1, .protocol = TINE_PROTOCOL_PYTHON};
    struct rpc_scene scene;
    tine_rpc *rpc;

    ck_assert_rc(tine_listener_open(&scene.listener, NULL, &options), 0);
    ck_assert_rc(tine_rpc_server_open(&scene.server, scene.listener, NULL), 0);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    ck_assert_rc(tine_rpc_open(&rpc, rpc_scene_dial(&scene, &dial)), 0);
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(a_large_request_leaves_before_its_submit_returns)
{
    struct pollfd set = {.events = POLLIN};
    void *bytes = calloc(1, 2000000);
    struct rpc_scene scene;
    tine_rpc_future *future;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    set.fd = tine_rpc_fileno(rpc);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "echo", "y", bytes, (size_t)2000000),
                 0);
    do
        ck_assert_int_eq(poll(&set, 1, -1), 1);
    while (tine_rpc_future_wait(future, 0) < 0);
    ck_assert_rc(tine_rpc_future_result(future, 0, NULL), 0);
    tine_rpc_future_close(future);
    free(bytes);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(two_sides_that_send_do_not_wait_for_each_other)
{
    enum { CALLS = 40 };
    tine_rpc_server_options options = {.bytes_max = 1};
    tine_rpc_future *futures[CALLS];
    struct rpc_scene scene;
    void *bytes = calloc(1, 300000);
    tine_rpc *rpc;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "echo", echo, NULL);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    for (int i = 0; i < CALLS; i++)
        ck_assert_rc(
            tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "echo", "y", bytes, (size_t)300000), 0);
    for (int i = 0; i < CALLS; i++) {
        ck_assert_rc(tine_rpc_future_result(futures[i], TINE_FOREVER, NULL), 0);
        tine_rpc_future_close(futures[i]);
    }
    free(bytes);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(clients_and_servers_come_and_go_without_a_trace, .timeout_s = 60)
{
    enum { ROUNDS = 10000 };
    struct rpc_scene scene, other;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        rpc = rpc_scene_client(&scene);
        check_well(rpc);
        tine_rpc_close(rpc);
        rpc_scene_open(&other, NULL);
        rpc_scene_add(&other, "add", add, NULL);
        tine_rpc_server_close(other.server);
    }
    rpc_scene_close(&scene);
}

SUITE("ipc/rpc")
