/* SPDX-License-Identifier: MIT */
/*
 * rpc serve ADDRESS: a dictionary and a pool for other programs.
 * rpc call ADDRESS WORD NUMBER…: stores how often it has been called under WORD, has the numbers'
 * greatest prime factors found by the server's workers, all at once, and prints both.
 * rpc stop ADDRESS: ends the server.
 *
 * The server is one thread, which waits for clients and for the pool's futures together. A request
 * for the pool is kept until its future is done; if its worker dies, that one client is told so.
 */
#include <tine.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS 64

struct job {
    tine_rpc_request *request; /* to be answered when the future is done */
    tine_future *future;
    tine_failure failure;
};

struct server {
    tine_rpc_server *rpc;
    tine_pool *pool;
    tine_dict *dict;
    bool stopped;
    size_t count; /* of jobs under way */
    struct job *jobs[JOBS];
};

/* ---- what is served -------------------------------------------------------------------------- */

/* In a worker. */
static int find_factor(tine_call *call)
{
    int64_t n, greatest = 1;
    int rc = tine_args(call, "q", &n);

    if (rc == 0 && n < 1)
        return tine_fail(call, -EDOM, "%" PRId64 " has no prime factors", n);
    for (int64_t i = 2; rc == 0 && n > 1; i = i * i > n ? n : i + 1)
        for (; n % i == 0; n /= i)
            greatest = i;
    return rc < 0 ? rc : tine_return(call, "q", greatest);
}

static int submit(struct server *server, tine_rpc_request *request, int64_t n)
{
    struct job *job = calloc(1, sizeof *job);
    int rc;

    if (job == NULL)
        return -ENOMEM;
    rc = tine_pool_submit(&job->future, server->pool, find_factor,
                          &(tine_job_options){.failure = &job->failure}, "q", n);
    if (rc < 0) {
        free(job);
        return rc;
    }
    job->request = request;
    server->jobs[server->count++] = job;
    return 0; /* and answer later */
}

static int factor(tine_rpc_request *request, void *context)
{
    struct server *server = context;
    int64_t n;
    int rc = tine_rpc_args(request, "q", &n);

    if (rc == 0 && server->count == JOBS)
        return tine_rpc_fail(request, -EBUSY, "all of %d jobs are taken", JOBS);
    return rc < 0 ? rc : submit(server, request, n);
}

static int add(tine_rpc_request *request, void *context)
{
    struct server *server = context;
    int64_t total;
    char *word;
    int rc = tine_rpc_args(request, "s", &word);

    if (rc == 0)
        rc = tine_dict_add(server->dict, word, 1, &total);
    return rc < 0 ? rc : tine_rpc_reply(request, "q", total);
}

static int stop(tine_rpc_request *request, void *context)
{
    ((struct server *)context)->stopped = true;
    return tine_rpc_reply(request, "n");
}

/* ---- serving --------------------------------------------------------------------------------- */

static void answer(struct job *job)
{
    const tine_results *results;
    const void *value;
    size_t size;
    int rc = tine_future_results(job->future, 0, &results);

    if (rc == 0)
        rc = tine_results_packed(results, 0, &value, &size);
    if (rc == 0)
        rc = tine_rpc_reply_packed(job->request, value, size);
    if (rc == TINE_EREMOTE) /* the task's own words, else what became of it */
        tine_rpc_fail(job->request, job->failure.error, "%s", job->failure.message);
    else if (rc < 0)
        tine_rpc_fail(job->request, rc, "%s", tine_strerror(rc));
    tine_future_close(job->future);
    free(job);
}

static int turn(struct server *server)
{
    tine_waitable on[1 + JOBS] = {
        tine_fd_waitable(tine_rpc_server_fileno(server->rpc), TINE_READABLE)};
    int rc;

    for (size_t i = 0; i < server->count; i++)
        on[1 + i] = tine_future_waitable(server->jobs[i]->future);
    rc = tine_wait(on, 1 + server->count, TINE_FOREVER);
    for (size_t i = server->count; rc >= 0 && i-- > 0;)
        if (on[1 + i].ready) {
            answer(server->jobs[i]);
            server->jobs[i] = server->jobs[--server->count];
        }
    return rc < 0 ? rc : tine_rpc_server_run(server->rpc, 0);
}

static int open_all(struct server *server, const char *address)
{
    tine_listener *listener;
    int rc = tine_pool_open(&server->pool, NULL); /* first: its workers inherit no connection */

    if (rc == 0)
        rc = tine_dict_open(&server->dict, NULL);
    if (rc == 0)
        rc = tine_listener_open(&listener, address, NULL);
    if (rc == 0)
        rc = tine_rpc_server_open(&server->rpc, listener, NULL);
    if (rc == 0)
        rc = tine_rpc_server_add(server->rpc, "add", add, server);
    if (rc == 0)
        rc = tine_rpc_server_add(server->rpc, "factor", factor, server);
    return rc < 0 ? rc : tine_rpc_server_add(server->rpc, "stop", stop, server);
}

static int serve(const char *address)
{
    static struct server server;
    int rc = open_all(&server, address);

    while (rc >= 0 && !server.stopped)
        rc = turn(&server);
    tine_rpc_server_close(server.rpc);
    tine_dict_close(server.dict);
    tine_pool_close(server.pool);
    return rc;
}

/* ---- calling --------------------------------------------------------------------------------- */

/* The server may be about to begin. */
static int dial(const char *address, tine_rpc **rpc)
{
    tine_connection *connection;
    int rc;

    for (int tries = 0;; tries++) {
        rc = tine_dial(&connection, address, NULL);
        if ((rc != -ENOENT && rc != -ECONNREFUSED) || tries == 500)
            break;
        rc = tine_wait(NULL, 0, TINE_MS(20));
    }
    return rc < 0 ? rc : tine_rpc_open(rpc, connection);
}

static int print_result(const char *number, tine_rpc_future *future)
{
    tine_failure failure;
    int64_t greatest;
    int rc = tine_rpc_future_result(future, TINE_FOREVER, "q", &greatest);

    if (rc == 0)
        printf("%s: %" PRId64 "\n", number, greatest);
    else if (rc == TINE_EREMOTE && tine_rpc_future_failure(future, &failure) == 1)
        printf("%s: %s\n", number, failure.message);
    tine_rpc_future_close(future);
    return rc == TINE_EREMOTE ? 0 : rc;
}

static int call(tine_rpc *rpc, const char *word, int count, char *numbers[])
{
    tine_rpc_future *futures[JOBS];
    tine_failure failure;
    int64_t total;
    int rc = tine_rpc_call(rpc, TINE_FOREVER, "add", &failure, "s>q", word, &total);

    if (rc == 0)
        printf("%s: %" PRId64 "\n", word, total);
    for (int i = 0; i < count && rc == 0; i++)
        rc = tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "factor", "q",
                             (int64_t)strtoll(numbers[i], NULL, 10));
    for (int i = 0; i < count && rc == 0; i++)
        rc = print_result(numbers[i], futures[i]);
    return rc;
}

int main(int argc, char **argv)
{
    tine_rpc *rpc = NULL;
    int rc = -EINVAL;

    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        rc = serve(argv[2]);
    else if (argc >= 3 && argc <= 4 + JOBS)
        rc = dial(argv[2], &rpc);
    if (rpc != NULL && strcmp(argv[1], "stop") == 0)
        rc = tine_rpc_call(rpc, TINE_FOREVER, "stop", NULL, "");
    else if (rpc != NULL)
        rc = argc < 4 ? -EINVAL : call(rpc, argv[3], argc - 4, argv + 4);
    tine_rpc_close(rpc);
    if (rc < 0)
        fprintf(stderr, "rpc: %s\n", tine_strerror(rc));
    return rc < 0;
}
