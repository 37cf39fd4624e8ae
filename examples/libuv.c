/* SPDX-License-Identifier: MIT */
/*
 * libuv: what examples/epoll.c does, in libuv's loop. Numbers come from another process over a
 * queue, a pool squares them, each square goes to a TCP server and comes back, and a timer ticks.
 */
#include "examples/parts.h"

#include <stdio.h>
#include <sys/wait.h>
#include <uv.h>

/* A future, watched through its descriptor. */
struct job {
    uv_poll_t poll;
    tine_future *future;
    int fd;
};

/* A square on its way to the server. */
struct sending {
    uv_write_t request;
    int64_t number;
};

static tine_queue *queue;
static tine_pool *pool;
static uv_poll_t items;
static uv_tcp_t server;
static uv_timer_t timer;
static int squares, ticks;
static int64_t sum, incoming;
static size_t incoming_bytes;

static void fail(const char *what)
{
    fprintf(stderr, "%s failed\n", what);
    exit(EXIT_FAILURE);
}

static void end_when_done(void)
{
    if (squares == NUMBERS && ticks >= TICKS)
        uv_stop(uv_default_loop());
}

static void free_job(uv_handle_t *handle)
{
    free(handle->data);
}

static void sent(uv_write_t *request, int status)
{
    if (status < 0)
        fail("write");
    free(request->data);
}

/* Readable means "try": the job may not have ended yet. */
static void run_job(uv_poll_t *handle, int status, int events)
{
    struct job *job = handle->data;
    struct sending *sending;
    uv_buf_t bytes;

    (void)events;
    if (status < 0 || !tine_future_done(job->future))
        return;
    sending = calloc(1, sizeof *sending);
    if (sending == NULL || tine_future_result(job->future, 0, "q", &sending->number) < 0)
        fail("job");
    uv_poll_stop(handle);
    tine_waitable_close(job->fd);
    tine_future_close(job->future);
    uv_close((uv_handle_t *)handle, free_job);
    sending->request.data = sending;
    bytes = uv_buf_init((char *)&sending->number, sizeof sending->number);
    if (uv_write(&sending->request, (uv_stream_t *)&server, &bytes, 1, sent) < 0)
        fail("write");
}

/* Until nothing is there, which makes the descriptor quiet. */
static void run_items(uv_poll_t *handle, int status, int events)
{
    int64_t number;

    (void)status;
    (void)events;
    while (tine_queue_get(queue, 0, "q", &number) == 0) {
        struct job *job = calloc(1, sizeof *job);
        tine_waitable on;

        if (job == NULL || tine_pool_submit(&job->future, pool, square, NULL, "q", number) < 0)
            fail("submit");
        on = tine_future_waitable(job->future);
        job->fd = tine_waitable_fd(&on);
        job->poll.data = job;
        if (job->fd < 0 || uv_poll_init(handle->loop, &job->poll, job->fd) < 0 ||
            uv_poll_start(&job->poll, UV_READABLE, run_job) < 0)
            fail("watching a future");
    }
}

static void get_room(uv_handle_t *handle, size_t wish, uv_buf_t *room)
{
    (void)handle;
    (void)wish;
    *room = uv_buf_init((char *)&incoming + incoming_bytes,
                        (unsigned)(sizeof incoming - incoming_bytes));
}

static void run_server(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes)
{
    (void)stream;
    (void)bytes;
    if (got < 0)
        fail("read");
    incoming_bytes += (size_t)got;
    if (incoming_bytes < sizeof incoming)
        return;
    incoming_bytes = 0;
    sum += incoming;
    squares++;
    end_when_done();
}

static void run_timer(uv_timer_t *handle)
{
    (void)handle;
    ticks++;
    end_when_done();
}

static void connected(uv_connect_t *request, int status)
{
    tine_waitable on = tine_queue_waitable(queue, TINE_READABLE);

    if (status < 0 || uv_read_start(request->handle, get_room, run_server) < 0 ||
        uv_poll_init(uv_default_loop(), &items, tine_waitable_fd(&on)) < 0 ||
        uv_poll_start(&items, UV_READABLE, run_items) < 0)
        fail("connect");
}

static void loop(void)
{
    uv_loop_t *uv = uv_default_loop();
    struct sockaddr_in address = start_others(queue);
    uv_connect_t request;
    uv_os_fd_t fd;

    if (uv_tcp_init(uv, &server) < 0 || uv_timer_init(uv, &timer) < 0 ||
        uv_timer_start(&timer, run_timer, 10, 10) < 0 ||
        uv_tcp_connect(&request, &server, (struct sockaddr *)&address, connected) < 0)
        fail("start");
    uv_run(uv, UV_RUN_DEFAULT);
    if (uv_fileno((uv_handle_t *)&items, &fd) == 0)
        tine_waitable_close(fd);
    uv_close((uv_handle_t *)&items, NULL);
    uv_close((uv_handle_t *)&server, NULL);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(uv, UV_RUN_DEFAULT);
    uv_loop_close(uv);
}

int main(void)
{
    if (tine_queue_open(&queue, NULL) < 0 ||
        tine_pool_open(&pool, &(tine_pool_options){.workers = 2}) < 0)
        fail("queue and pool");
    loop();
    printf("%d squares, sum %d, %s\n", squares, (int)sum, "and the clock ticks");
    tine_pool_close(pool);
    while (wait(NULL) > 0)
        ;
    tine_queue_close(queue);
    return EXIT_SUCCESS;
}
