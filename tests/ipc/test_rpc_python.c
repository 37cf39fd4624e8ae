/* SPDX-License-Identifier: MIT */
/*
 * Request and reply with a real Python at the other end: its multiprocessing.connection carries the
 * bytes of msgpack-rpc, here written out.
 */
#include <tine/rpc.h>

#include <stdio.h>
#include <string.h>

#include "tests/ipc/rpc_help.h"
#include "tests/support/python.h"
#include "tests/support/suite.h"

#define OLDEST 12 /* Python 3.12 is the first that is spoken with */
#define NEWEST 15

#define KEY .key = "open sesame", .key_size = 11

static int add(tine_rpc_request *request, void *context)
{
    int64_t a, b;
    int rc = tine_rpc_args(request, "qq", &a, &b);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "q", a + b);
}

static bool is_called_by(int minor)
{
    tine_listener_options options = {KEY, .protocol = TINE_PROTOCOL_PYTHON};
    struct rpc_scene scene;
    struct python python;

    if (!python_start_connecting(&python, minor))
        return false;
    ck_assert_rc(tine_listener_open(&scene.listener, NULL, &options), 0);
    ck_assert_rc(tine_rpc_server_open(&scene.server, scene.listener, NULL), 0);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    python_do(&python, "c = Client('\\0%s', authkey=b'open sesame')",
              strchr(tine_listener_address(scene.listener), '@') + 1);
    /* [0, 1, "add", [40, 2]] and [1, 1, nil, 42] */
    python_do(&python, "c.send_bytes(b'\\x94\\0\\1\\xa3add\\x92\\x28\\2')");
    ck_assert_str_eq(python_ask(&python, "c.recv_bytes().hex()"), "940101c02a");
    /* [0, 2, "nobody", []] and [1, 2, [-38, …], nil] */
    python_do(&python, "c.send_bytes(b'\\x94\\0\\2\\xa6nobody\\x90')");
    ck_assert_str_eq(python_ask(&python, "c.recv_bytes().hex()[:12]"), "94010292d0da");
    python_end(&python);
    rpc_scene_close(&scene);
    return true;
}

static bool is_client_of(int minor)
{
    tine_dial_options options = {KEY, .protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    tine_rpc_future *future;
    struct python python;
    char address[100];
    tine_rpc *rpc;
    int64_t sum;

    if (!python_start_connecting(&python, minor))
        return false;
    python_do(&python, "l = Listener(('127.0.0.1', 0), authkey=b'open sesame')");
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", python_ask(&python, "l.address[1]"));
    python_begin(&python, "c = l.accept()");
    ck_assert_rc(tine_dial(&connection, address, &options), 0);
    ck_assert_str_eq(python_finish(&python), "");
    ck_assert_rc(tine_rpc_open(&rpc, connection), 0);
    ck_assert_rc(tine_rpc_submit(&future, rpc, TINE_FOREVER, "add", "qq", INT64_C(40), INT64_C(2)),
                 0);
    ck_assert_str_eq(python_ask(&python, "c.recv_bytes().hex()"), "940001a361646492"
                                                                  "2802");
    python_do(&python, "c.send_bytes(b'\\x94\\1\\1\\xc0\\x2a')");
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, "q", &sum), 0);
    ck_assert_int_eq(sum, 42);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    python_end(&python);
    return true;
}

TEST(python_calls)
{
    int found = 0;

    for (int minor = OLDEST; minor <= NEWEST; minor++)
        found += is_called_by(minor);
    if (found == 0)
        SKIP("no Python 3.%d or later", OLDEST);
}

TEST(python_is_called)
{
    int found = 0;

    for (int minor = OLDEST; minor <= NEWEST; minor++)
        found += is_client_of(minor);
    if (found == 0)
        SKIP("no Python 3.%d or later", OLDEST);
}

SUITE("ipc/rpc with Python")
