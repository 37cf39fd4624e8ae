/* SPDX-License-Identifier: MIT */
/* Calls: running a server, from threads and other loops, and its end. */
#include <tine/rpc.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/ipc/meet.h"
#include "tests/ipc/rpc_help.h"
#include "tests/ipc/rpc_served.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

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

SUITE("ipc/rpc_run")
