/* SPDX-License-Identifier: MIT */
/*
 * Servers and clients of tine_rpc are SIGKILLed at random instants, with calls of all sizes under
 * way. Of a dead server every call has its result or TINE_EEOF, at once; of dead clients the server
 * and the others notice nothing, and nothing of them stays open.
 */
#include <tine.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   50 /* of a kind */
#define CALLS   16 /* under way when a server dies */
#define CLIENTS 2  /* that are killed in turn */

static const size_t sizes[] = {1, 63, 64, 65 * 1024, 1 << 20};
#define SIZES (sizeof sizes / sizeof sizes[0])

struct scene {
    char address[64];
    struct gate *open;
};

static int echo(tine_rpc_request *request, void *context)
{
    const void *bytes;
    size_t size;
    int rc = tine_rpc_args(request, "y", &bytes, &size);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "y", bytes, size);
}

static void serve(void *context)
{
    struct scene *scene = context;
    tine_listener *listener;
    tine_rpc_server *server;

    ck_assert_rc(tine_listener_open(&listener, scene->address, NULL), 0);
    ck_assert_rc(tine_rpc_server_open(&server, listener, NULL), 0);
    ck_assert_rc(tine_rpc_server_add(server, "echo", echo, NULL), 0);
    gate_raise(scene->open);
    for (;;)
        ck_assert_ok(tine_rpc_server_run(server, TINE_FOREVER));
}

static struct scene *scene_new(void)
{
    struct scene *scene = shared_memory(sizeof *scene);

    snprintf(scene->address, sizeof scene->address, "unix:@tine-kill-rpc-%d", (int)getpid());
    scene->open = gate_new();
    return scene;
}

static tine_rpc *dial(const struct scene *scene)
{
    tine_connection *connection;
    tine_rpc *rpc;

    ck_assert_rc(tine_dial(&connection, scene->address, NULL), 0);
    ck_assert_rc(tine_rpc_open(&rpc, connection), 0);
    return rpc;
}

static void fill(uint8_t *bytes, size_t size, uint64_t number)
{
    for (size_t i = 0; i < size; i += 4096)
        bytes[i] = (uint8_t)(number + i / 4096);
}

/* The result that belongs to this call, and whole. */
static void check(const uint8_t *bytes, size_t size, size_t wanted, uint64_t number)
{
    ck_assert_uint_eq(size, wanted);
    for (size_t i = 0; i < size; i += 4096)
        ck_assert_uint_eq(bytes[i], (uint8_t)(number + i / 4096));
}

/* ---- servers --------------------------------------------------------------------------------- */

struct calls {
    tine_rpc_future *futures[CALLS];
    size_t sizes[CALLS];
    int count;
};

static void begin_calls(tine_rpc *rpc, struct calls *calls, uint8_t *bytes)
{
    int rc = 0;

    for (calls->count = 0; calls->count < CALLS && rc == 0; calls->count++) {
        int i = calls->count;

        calls->sizes[i] = sizes[random_below(SIZES)];
        fill(bytes, calls->sizes[i], (uint64_t)i);
        rc = tine_rpc_submit(&calls->futures[i], rpc, TINE_MS(1), "echo", "y", bytes,
                             calls->sizes[i]);
        if (rc != 0)
            break;
    }
    ck_assert(rc == 0 || rc == -ETIMEDOUT || rc == TINE_EEOF);
}

/* How many had a result. waiter: waits for one of them as well, or NULL. */
static int end_calls(struct calls *calls, const pthread_t *waiter)
{
    const void *bytes;
    size_t size;
    int well = 0;

    for (int i = 0; i < calls->count; i++) {
        int rc = tine_rpc_future_result(calls->futures[i], TINE_SEC(600), "y", &bytes, &size);

        ck_assert(rc == 0 || rc == TINE_EEOF);
        if (rc == 0)
            check(bytes, size, calls->sizes[i], (uint64_t)i);
        well += rc == 0;
    }
    if (waiter != NULL)
        pthread_join(*waiter, NULL);
    for (int i = 0; i < calls->count; i++)
        tine_rpc_future_close(calls->futures[i]);
    return well;
}

static void *wait_for_one(void *future)
{
    ck_assert_rc(tine_rpc_future_wait(future, TINE_SEC(600)), 0);
    return NULL;
}

TEST(calls_of_a_killed_server_end, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "rpc.server.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    uint8_t *bytes = calloc(1, sizes[SIZES - 1]);
    struct scene *scene = scene_new();
    int well = 0;

    for (uint32_t i = 0; i < kills_wanted(KILLS); i++) {
        struct child server = child_start(serve, scene);
        struct calls calls;
        pthread_t thread;
        int64_t death_ns;
        tine_rpc *rpc;

        gate_await(scene->open, i + 1);
        rpc = dial(scene);
        begin_calls(rpc, &calls, bytes);
        ck_assert_int_gt(calls.count, 0);
        ck_assert_int_eq(
            pthread_create(&thread, NULL, wait_for_one, calls.futures[calls.count - 1]), 0);
        pause_randomly(TINE_MS(2));
        child_kill(&server);
        death_ns = now_ns();
        well += end_calls(&calls, &thread);
        samples_add(&samples, (uint64_t)(now_ns() - death_ns));
        tine_rpc_close(rpc);
    }
    printf("rpc.server.killed: %d calls had a result\n", well);
    samples_end(&samples);
    free(bytes);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void call_for_ever(void *context)
{
    uint8_t *bytes = calloc(1, sizes[SIZES - 1]);
    tine_rpc *rpc = dial(context);
    struct calls calls;

    for (;;) {
        begin_calls(rpc, &calls, bytes);
        ck_assert_int_eq(end_calls(&calls, NULL), calls.count);
    }
}

static int descriptors_of(pid_t pid)
{
    char path[64];
    int count = 0;
    DIR *directory;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

TEST(of_killed_clients_nobody_notices_anything, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "rpc.client.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    struct child server, clients[CLIENTS];
    struct scene *scene = scene_new();
    tine_rpc *rpc;
    int before;

    server = child_start(serve, scene);
    gate_await(scene->open, 1);
    rpc = dial(scene);
    ck_assert_rc(tine_rpc_call(rpc, TINE_FOREVER, "echo", NULL, "y", "x", (size_t)1), 0);
    before = descriptors_of(server.pid);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = child_start(call_for_ever, scene);
    for (size_t i = 0; i < kills_wanted(KILLS); i++) {
        int64_t from;

        pause_randomly(TINE_MS(4));
        child_kill(&clients[i % CLIENTS]);
        from = now_ns();
        ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(600), "echo", NULL, "y", "x", (size_t)1), 0);
        samples_add(&samples, (uint64_t)(now_ns() - from));
        clients[i % CLIENTS] = child_start(call_for_ever, scene);
    }
    for (int i = 0; i < CLIENTS; i++)
        child_kill(&clients[i]);
    ck_assert_eventually(descriptors_of(server.pid) == before);
    ck_assert_rc(tine_rpc_call(rpc, TINE_SEC(600), "echo", NULL, "y", "x", (size_t)1), 0);
    tine_rpc_close(rpc);
    child_kill(&server);
    samples_end(&samples);
}

SUITE("kill/rpc")
