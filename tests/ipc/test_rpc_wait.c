/* SPDX-License-Identifier: MIT */
/* Servers and calls among other things that are waited for, by tine_wait() and descriptors. */
#include <tine/rpc.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <tine/heap.h>
#include <tine/wait.h>

#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

#define CALLS 5

/* ---- a server that answers when the test wants it -------------------------------------------- */

struct scene {
    tine_listener *listener; /* the server's */
    tine_rpc_server *server;
    tine_rpc *rpc;
    tine_rpc_request *kept[CALLS];
    int count;
};

static int keep_it(tine_rpc_request *request, void *context)
{
    struct scene *scene = context;

    ck_assert_int_lt(scene->count, CALLS);
    scene->kept[scene->count++] = request;
    return 0;
}

/* Has the server do what there is, until one of the entries is ready as well: which one. */
static int wait_and_serve(struct scene *scene, tine_waitable *on, int n)
{
    tine_waitable all[1 + CALLS] = {tine_rpc_server_waitable(scene->server)};

    memcpy(all + 1, on, (size_t)n * sizeof *on);
    for (;;) {
        ck_assert_int_gt(tine_wait(all, 1 + (size_t)n, TINE_SEC(600)), 0);
        if (all[0].ready != 0)
            ck_assert_ok(tine_rpc_server_run(scene->server, 0));
        for (int i = 0; i < n; i++)
            if (all[1 + i].ready != 0)
                return i;
    }
}

static void scene_open(struct scene *scene)
{
    struct dialling dialling;

    memset(scene, 0, sizeof *scene);
    ck_assert_rc(tine_listener_open(&scene->listener, NULL, NULL), 0);
    ck_assert_rc(tine_rpc_server_open(&scene->server, scene->listener, NULL), 0);
    ck_assert_rc(tine_rpc_server_add(scene->server, "keep", keep_it, scene), 0);
    dialling_start(&dialling, scene->listener, NULL);
    while (!dialling.over)
        ck_assert_ok(tine_rpc_server_run(scene->server, TINE_MS(5)));
    ck_assert_rc(dialling_end(&dialling), 0);
    ck_assert_rc(tine_rpc_open(&scene->rpc, dialling.connection), 0);
}

static void scene_close(struct scene *scene)
{
    tine_rpc_close(scene->rpc);
    tine_rpc_server_close(scene->server);
}

static tine_rpc_future *submit(struct scene *scene)
{
    int before = scene->count;
    tine_rpc_future *future;

    ck_assert_rc(tine_rpc_submit(&future, scene->rpc, TINE_FOREVER, "keep", ""), 0);
    while (scene->count == before)
        ck_assert_ok(tine_rpc_server_run(scene->server, TINE_MS(5)));
    return future;
}

static void answer(struct scene *scene, int which)
{
    ck_assert_rc(tine_rpc_reply(scene->kept[which], "q", (int64_t)which), 0);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* As as_completed() of futures: whichever ends first comes first. */
TEST(calls_come_in_the_order_in_which_they_end)
{
    static const int order[CALLS] = {3, 0, 4, 2, 1};
    tine_rpc_future *futures[CALLS];
    tine_waitable on[CALLS];
    struct scene scene;
    int64_t number;

    scene_open(&scene);
    for (int i = 0; i < CALLS; i++) {
        futures[i] = submit(&scene);
        on[i] = tine_rpc_future_waitable(futures[i]);
    }
    ck_assert_rc(tine_wait(on, CALLS, 0), 0);
    for (int i = 0; i < CALLS; i++) {
        int which = order[i], ready;

        answer(&scene, which);
        do
            ready = wait_and_serve(&scene, on, CALLS);
        while (tine_rpc_future_result(futures[ready], 0, "q", &number) == -EAGAIN);
        ck_assert_int_eq(ready, which);
        ck_assert_int_eq(number, which);
        tine_rpc_future_close(futures[which]);
        on[which] = (tine_waitable){.kind = NULL};
    }
    scene_close(&scene);
}

static void *await_future(void *context)
{
    ck_assert_rc(tine_rpc_future_wait(context, TINE_FOREVER), 0);
    return NULL;
}

/* The answer is taken by a thread that waits for another one, and goes on waiting. */
TEST(another_thread_may_take_the_answer)
{
    tine_rpc_future *mine, *others;
    struct scene scene;
    tine_waitable on;
    pthread_t thread;

    scene_open(&scene);
    mine = submit(&scene);
    others = submit(&scene);
    ck_assert_int_eq(pthread_create(&thread, NULL, await_future, others), 0);
    on = tine_rpc_future_waitable(mine);
    answer(&scene, 0);
    do
        (void)wait_and_serve(&scene, &on, 1);
    while (tine_rpc_future_wait(mine, 0) == -EAGAIN);
    answer(&scene, 1);
    on = tine_rpc_future_waitable(others);
    do
        (void)wait_and_serve(&scene, &on, 1);
    while (tine_rpc_future_wait(others, 0) == -EAGAIN);
    pthread_join(thread, NULL);
    tine_rpc_future_close(mine);
    tine_rpc_future_close(others);
    scene_close(&scene);
}

TEST(the_death_of_a_server_ends_the_waiting)
{
    tine_rpc_future *future;
    struct scene scene;
    tine_waitable on;

    scene_open(&scene);
    future = submit(&scene);
    on = tine_rpc_future_waitable(future);
    tine_rpc_server_close(scene.server);
    tine_rpc_drop(scene.kept[0]);
    ck_assert_int_eq(tine_wait(&on, 1, TINE_SEC(600)), 1);
    ck_assert_rc(tine_rpc_future_result(future, 0, NULL), TINE_EEOF);
    ck_assert_int_eq(tine_wait(&on, 1, TINE_SEC(600)), 1);
    tine_rpc_close(scene.rpc);
    ck_assert_int_eq(tine_wait(&on, 1, TINE_SEC(600)), 1); /* it outlives its client */
    tine_rpc_future_close(future);
}

TEST(a_cancelled_call_is_ready)
{
    tine_rpc_future *future;
    struct scene scene;
    tine_waitable on;

    scene_open(&scene);
    future = submit(&scene);
    on = tine_rpc_future_waitable(future);
    ck_assert_rc(tine_rpc_future_cancel(future), 0);
    ck_assert_int_eq(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_uint_eq(on.ready, TINE_READABLE);
    tine_rpc_future_close(future);
    tine_rpc_drop(scene.kept[0]);
    scene_close(&scene);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

TEST(other_loops_can_wait_for_both)
{
    tine_waitable server, call;
    tine_rpc_future *future;
    struct scene scene;
    int server_fd, fd;

    scene_open(&scene);
    future = submit(&scene);
    server = tine_rpc_server_waitable(scene.server);
    call = tine_rpc_future_waitable(future);
    server_fd = tine_waitable_fd(&server);
    fd = tine_waitable_fd(&call);
    ck_assert_ok(server_fd);
    ck_assert_int_eq(fd, tine_rpc_fileno(scene.rpc));
    ck_assert_int_eq(tine__sys_poll_in(fd, 0), 0);
    answer(&scene, 0);
    ck_assert_int_eq(tine__sys_poll_in(fd, TINE_SEC(600)), 1);
    ck_assert_rc(tine_rpc_future_wait(future, 0), 0);
    tine_waitable_close(fd);
    tine_waitable_close(server_fd);
    tine_rpc_future_close(future);
    scene_close(&scene);
}

static void wait_in_child(void *context)
{
    tine_waitable on = tine_rpc_future_waitable(context);

    ck_assert_rc(tine_wait(&on, 1, 0), TINE_EFORKED);
}

TEST(what_cannot_be_waited_for)
{
    tine_waitable on = tine_rpc_future_waitable(NULL), server = tine_rpc_server_waitable(NULL);
    tine_rpc_future *future;
    struct child child;
    struct scene scene;

    ck_assert_rc(tine_wait(&on, 1, 0), -EINVAL);
    ck_assert_rc(tine_wait(&server, 1, 0), -EINVAL);
    scene_open(&scene);
    future = submit(&scene);
    on = tine_rpc_future_waitable(future);
    on.events = TINE_WRITABLE;
    ck_assert_rc(tine_wait(&on, 1, 0), -EINVAL);
    server = tine_rpc_server_waitable(scene.server);
    server.events = TINE_READABLE | TINE_WRITABLE;
    ck_assert_rc(tine_wait(&server, 1, 0), -EINVAL);
    child = child_start(wait_in_child, future);
    child_join(&child);
    tine_rpc_future_close(future);
    tine_rpc_drop(scene.kept[0]);
    scene_close(&scene);
}

HEAP_BEFORE_TESTS

SUITE("ipc/rpc_wait")
