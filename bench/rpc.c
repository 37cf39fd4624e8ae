/* SPDX-License-Identifier: MIT */
/*
 * rpc.rtt: a call of a function in another process and its result, one after the other, over an
 * AF_UNIX socket with a handshake: two numbers there, one back. The peer is a method of an object
 * in a server process of Python's multiprocessing.managers.
 *
 * rpc.window64: likewise, but 64 calls under way all the time, by one thread.
 */
#include "bench/bench.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW 64

struct ends {
    tine_rpc *rpc;
    size_t n;
};

/* ---- the server ------------------------------------------------------------------------------ */

static int add(tine_rpc_request *request, void *context)
{
    int64_t a, b;
    int rc = tine_rpc_args(request, "qq", &a, &b);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "q", a + b);
}

static int stop(tine_rpc_request *request, void *context)
{
    tine_rpc_server_stop(context);
    return tine_rpc_reply(request, "n");
}

/* Says so when it can be dialled. */
static int serve(const char *address, int told)
{
    tine_listener *listener;
    tine_rpc_server *server;
    int rc = tine_listener_open(&listener, address, NULL);

    if (rc == 0)
        rc = tine_rpc_server_open(&server, listener, NULL);
    if (rc == 0)
        rc = tine_rpc_server_add(server, "add", add, NULL);
    if (rc == 0)
        rc = tine_rpc_server_add(server, "stop", stop, server);
    if (rc == 0 && write(told, "", 1) != 1)
        rc = -EPIPE;
    return rc < 0 ? rc : tine_rpc_server_run(server, TINE_FOREVER);
}

static pid_t start_server(const char *address)
{
    int fds[2];
    pid_t server;
    char byte;

    if (pipe(fds) < 0)
        return -1;
    server = fork();
    if (server == 0)
        _exit(serve(address, fds[1]) < 0);
    close(fds[1]);
    (void)!read(fds[0], &byte, 1); /* or the end: then nobody listens */
    close(fds[0]);
    return server;
}

/* ---- the client ------------------------------------------------------------------------------ */

static int call_each(void *arg)
{
    struct ends *ends = arg;
    int64_t sum;
    int rc = 0;

    for (size_t i = 0; i < ends->n && rc == 0; i++) {
        rc = tine_rpc_call(ends->rpc, TINE_FOREVER, "add", NULL, "qq>q", (int64_t)i, INT64_C(1),
                           &sum);
        if (rc == 0 && sum != (int64_t)i + 1)
            rc = BENCH_WRONG;
    }
    return rc;
}

static int end_one(tine_rpc_future *future, size_t i)
{
    int64_t sum;
    int rc = tine_rpc_future_result(future, TINE_FOREVER, "q", &sum);

    tine_rpc_future_close(future);
    return rc == 0 && sum != (int64_t)i + 1 ? BENCH_WRONG : rc;
}

static int call_window(void *arg)
{
    struct ends *ends = arg;
    tine_rpc_future *futures[WINDOW];
    int rc = 0;

    for (size_t i = 0; i < ends->n + WINDOW && rc == 0; i++) {
        if (i >= WINDOW && i - WINDOW < ends->n)
            rc = end_one(futures[i % WINDOW], i - WINDOW);
        if (rc == 0 && i < ends->n)
            rc = tine_rpc_submit(&futures[i % WINDOW], ends->rpc, TINE_FOREVER, "add", "qq",
                                 (int64_t)i, INT64_C(1));
    }
    return rc;
}

static int dial(struct ends *ends, const char *address)
{
    tine_connection *connection;
    int rc = tine_dial(&connection, address, NULL);

    return rc < 0 ? rc : tine_rpc_open(&ends->rpc, connection);
}

static int measure(const struct bench_pass *pass, struct ends *ends, double *value)
{
    bool window = strstr(pass->name, ".window") != NULL;
    struct bench_work work = {.run = window ? call_window : call_each, .arg = ends};
    double seconds;
    int rc = bench_seconds(pass, &work, &seconds);

    if (rc == 0)
        *value = seconds / (double)pass->n * 1e6;
    if (rc == 0)
        rc = tine_rpc_call(ends->rpc, TINE_FOREVER, "stop", NULL, "");
    tine_rpc_close(ends->rpc);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct ends ends = {.n = pass->n};
    char address[64];
    pid_t server;
    int rc;

    snprintf(address, sizeof address, "unix:@tine-bench-rpc-%d", (int)getpid());
    server = start_server(address);
    if (server < 0)
        return -errno;
    rc = dial(&ends, address);
    if (rc == 0)
        rc = measure(pass, &ends, value);
    else
        kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return rc;
}

static const struct bench_case cases[] = {
    {
        .name = "rpc.rtt",
        .unit = "us",
        .peer = "Python manager",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 5000,
        .n_quick = 20,
        .repetitions = 5,
    },
    {
        .name = "rpc.window64",
        .unit = "us",
        .peer = "Python manager, one by one",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 20000,
        .n_quick = 200,
        .repetitions = 5,
    },
};

const struct bench_group bench_rpc = BENCH_GROUP(cases);
