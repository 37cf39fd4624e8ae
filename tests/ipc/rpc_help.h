/* SPDX-License-Identifier: MIT */
/* A server in a thread of the test's, and clients of it. */
#ifndef TINE_TESTS_IPC_RPC_HELP_H
#define TINE_TESTS_IPC_RPC_HELP_H

#include <pthread.h>

#include <tine/rpc.h>
#include <tine/time.h>

#include "tests/support/suite.h"

struct rpc_scene {
    tine_listener *listener; /* the server's */
    tine_rpc_server *server;
    pthread_t thread;
    int served; /* what run has said */
};

static inline void rpc_scene_open(struct rpc_scene *scene, const tine_rpc_server_options *options)
{
    ck_assert_rc(tine_listener_open(&scene->listener, NULL, NULL), 0);
    ck_assert_rc(tine_rpc_server_open(&scene->server, scene->listener, options), 0);
}

static inline void rpc_scene_add(struct rpc_scene *scene, const char *name,
                                 tine_rpc_function *function, void *context)
{
    ck_assert_rc(tine_rpc_server_add(scene->server, name, function, context), 0);
}

static inline void *rpc_scene_serve(void *context)
{
    struct rpc_scene *scene = context;

    scene->served = tine_rpc_server_run(scene->server, TINE_FOREVER);
    return NULL;
}

static inline void rpc_scene_start(struct rpc_scene *scene)
{
    ck_assert_int_eq(pthread_create(&scene->thread, NULL, rpc_scene_serve, scene), 0);
}

static inline void rpc_scene_stop(struct rpc_scene *scene)
{
    tine_rpc_server_stop(scene->server);
    pthread_join(scene->thread, NULL);
    ck_assert_ok(scene->served);
}

static inline void rpc_scene_close(struct rpc_scene *scene)
{
    rpc_scene_stop(scene);
    tine_rpc_server_close(scene->server);
}

/* Below the calls of rpc: a client that sends what it likes. */
static inline tine_connection *rpc_scene_dial(struct rpc_scene *scene,
                                              const tine_dial_options *options)
{
    tine_connection *connection;

    ck_assert_rc(tine_dial(&connection, tine_listener_address(scene->listener), options), 0);
    return connection;
}

static inline tine_rpc *rpc_scene_client(struct rpc_scene *scene)
{
    tine_rpc *rpc;

    ck_assert_rc(tine_rpc_open(&rpc, rpc_scene_dial(scene, NULL)), 0);
    return rpc;
}

#endif
