/* SPDX-License-Identifier: MIT */
#include <tine/rpc.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ipc/meet.h"
#include "tests/ipc/rpc_help.h"
#include "tests/ipc/rpc_served.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- functions that are served --------------------------------------------------------------- */

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
    ck_assert_rc(
        tine_rpc_call(rpc, TINE_SEC(600), "echo", NULL, "sd>[sd]", "seven", 7.5, &text, &x), 0);
    ck_assert_str_eq(text, "seven");
    ck_assert(x == 7.5);
    free(text);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(600), "echo", NULL, ""), 0);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(600), "echo", NULL, ">[]"), 0);
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

/* Its call is there, and not answered. */
static tine_rpc *client_with_one_kept(struct rpc_scene *scene, struct keeper *keeper,
                                      tine_rpc_future **future)
{
    tine_rpc *rpc;

    open_all(scene, keeper);
    rpc = rpc_scene_client(scene);
    ck_assert_rc(tine_rpc_submit(future, rpc, TINE_FOREVER, "keep", "q", INT64_C(1)), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 1);
    return rpc;
}

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

    rpc = client_with_one_kept(&scene, keeper, &future);
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

    rpc = client_with_one_kept(&scene, keeper, &future);
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

    rpc = client_with_one_kept(&scene, keeper, &future);
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

SUITE("ipc/rpc")
