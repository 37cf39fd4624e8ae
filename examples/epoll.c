/* SPDX-License-Identifier: MIT */
/*
 * epoll: one thread, one epoll loop, four kinds of things to wait for. Numbers come from another
 * process over a queue, a pool squares them, each square goes to a TCP server and comes back, and a
 * timer ticks.
 */
#include "examples/parts.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

/* What the loop watches, and what is done when it is readable. */
struct source {
    int (*run)(struct source *source);
    int fd;
    tine_future *future;
};

static tine_queue *queue;
static tine_pool *pool;
static struct source items, server, timer;
static int epoll, squares, ticks;
static int64_t sum;

static int watch(struct source *source, int fd, int (*run)(struct source *))
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

    source->fd = fd;
    source->run = run;
    return fd < 0 ? fd : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Readable means "try": the job may not have ended yet. */
static int run_future(struct source *source)
{
    int64_t number = 0;
    int rc;

    if (!tine_future_done(source->future))
        return 0;
    rc = tine_future_result(source->future, 0, "q", &number);
    tine_waitable_close(source->fd);
    tine_future_close(source->future);
    free(source);
    if (rc == 0 && write(server.fd, &number, sizeof number) != sizeof number)
        rc = -EIO;
    return rc;
}

/* Until nothing is there, which makes the descriptor quiet. */
static int run_items(struct source *source)
{
    struct source *job;
    tine_waitable on;
    int64_t number;
    int rc;

    while ((rc = tine_queue_get(queue, 0, "q", &number)) == 0) {
        job = calloc(1, sizeof *job);
        if (job == NULL || tine_pool_submit(&job->future, pool, square, NULL, "q", number) < 0)
            return -ENOMEM;
        on = tine_future_waitable(job->future);
        if (watch(job, tine_waitable_fd(&on), run_future) < 0)
            return -ENOMEM;
    }
    (void)source;
    return rc == -EAGAIN ? 0 : rc;
}

static int run_server(struct source *source)
{
    int64_t number;

    if (recv(source->fd, &number, sizeof number, MSG_WAITALL) != sizeof number)
        return -EIO;
    sum += number;
    squares++;
    return 0;
}

static int run_timer(struct source *source)
{
    uint64_t times;

    if (read(source->fd, &times, sizeof times) != sizeof times)
        return -EIO;
    ticks += (int)times;
    return 0;
}

static int start(void)
{
    struct itimerspec every = {{0, 10000000}, {0, 10000000}};
    struct sockaddr_in address = start_others(queue);
    tine_waitable on = tine_queue_waitable(queue, TINE_READABLE);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (connect(tcp, (struct sockaddr *)&address, sizeof address) < 0 ||
        timerfd_settime(clock, 0, &every, NULL) < 0 || watch(&server, tcp, run_server) < 0 ||
        watch(&timer, clock, run_timer) < 0)
        return -errno;
    return watch(&items, tine_waitable_fd(&on), run_items);
}

static int loop(void)
{
    struct epoll_event event;
    int rc = start();

    while (rc >= 0 && (squares < NUMBERS || ticks < TICKS))
        if (epoll_wait(epoll, &event, 1, -1) == 1)
            rc = ((struct source *)event.data.ptr)->run(event.data.ptr);
    tine_waitable_close(items.fd);
    close(server.fd);
    close(timer.fd);
    close(epoll);
    return rc;
}

int main(void)
{
    int rc = tine_queue_open(&queue, NULL);

    if (rc == 0)
        rc = tine_pool_open(&pool, &(tine_pool_options){.workers = 2});
    if (rc == 0)
        rc = loop();
    printf("%d squares, sum %d, %s\n", squares, (int)sum,
           ticks >= TICKS ? "and the clock ticks" : "");
    tine_pool_close(pool);
    while (wait(NULL) > 0)
        ;
    tine_queue_close(queue);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
