/* SPDX-License-Identifier: MIT */
/*
 * What examples/epoll.c and examples/libuv.c have in common: a task for a pool, a process that puts
 * numbers on a queue, and one that serves TCP.
 */
#ifndef TINE_EXAMPLES_PARTS_H
#define TINE_EXAMPLES_PARTS_H

#include <tine.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NUMBERS = 10, TICKS = 3 };

static int square(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc : tine_return(call, "q", number * number);
}

/* In a process of its own: puts the numbers on the queue. */
static void produce(tine_queue *queue)
{
    for (int64_t i = 1; i <= NUMBERS; i++)
        if (tine_queue_put(queue, TINE_FOREVER, "q", i) < 0)
            _exit(EXIT_FAILURE);
    _exit(EXIT_SUCCESS);
}

/* A loopback address to be bound or dialled; port 0: any. */
static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* In a process of its own: sends everything back to its one client. */
static void serve(int listener)
{
    int client = accept(listener, NULL, NULL);
    char bytes[256];
    ssize_t got;

    while ((got = read(client, bytes, sizeof bytes)) > 0)
        if (write(client, bytes, (size_t)got) != got)
            _exit(EXIT_FAILURE);
    _exit(got == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Starts both; where to dial, or a port of 0. */
static struct sockaddr_in start_others(tine_queue *queue)
{
    struct sockaddr_in address = loopback(0), none = loopback(0);
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return none;
    if (fork() == 0)
        produce(queue);
    if (fork() == 0)
        serve(listener);
    close(listener);
    return address;
}

#endif
