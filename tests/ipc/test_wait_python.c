/* SPDX-License-Identifier: MIT */
/* Of the same descriptors tine_wait and Python's multiprocessing.connection.wait say the same. */
#include <tine/wait.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tine/time.h>

#include "tests/support/children.h"
#include "tests/support/python.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define COUNT 60

/* Inherited by Python, so not CLOEXEC. Those that shall stay open with them stand in `kept`. */
static int fds[COUNT], kept[COUNT], kept_count;

static int keep(int fd)
{
    kept[kept_count++] = fd;
    return fd;
}

static int end_of(int ends[2], bool data, bool hung_up)
{
    if (data)
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
    if (hung_up)
        close(ends[1]);
    else
        keep(ends[1]);
    return ends[0];
}

static int stream(bool data, bool hung_up)
{
    int ends[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    return end_of(ends, data, hung_up);
}

static int pipe_end(bool data, bool hung_up)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    return end_of(ends, data, hung_up);
}

/* Nobody reads: an error for who writes. */
static int pipe_for_nobody(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    return ends[1];
}

static int listener(bool client)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (client)
        ck_assert_int_eq(
            connect(keep(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&address, size), 0);
    return fd;
}

static void return_at_once(void *unused)
{
    (void)unused;
}

static int ended_process(void)
{
    struct child child = child_start(return_at_once, NULL);
    int fd = (int)syscall(SYS_pidfd_open, child.pid, 0);

    child_join(&child);
    return keep(fd) >= 0 ? dup(fd) : fd; /* pidfds are CLOEXEC, copies are not */
}

static int closed(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd + 500;
}

static int any_descriptor(void)
{
    switch (random_below(8)) {
    case 0:
        return stream(random_below(2), random_below(2));
    case 1:
        return pipe_end(random_below(2), random_below(2));
    case 2:
        return pipe_for_nobody();
    case 3:
        return eventfd((unsigned)random_below(2), 0);
    case 4:
        return listener(random_below(2));
    case 5:
        return open("/dev/null", O_RDWR); /* readable always */
    case 6:
        return ended_process();
    default:
        return closed();
    }
}

static void close_all(int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
    while (kept_count > 0)
        close(kept[--kept_count]);
}

static bool start_python(struct python *python, int count)
{
    if (python_start(python, NULL)) {
        python_do(python, "from multiprocessing.connection import wait");
        return true;
    }
    close_all(count);
    return false;
}

static void tell_python(struct python *python)
{
    char list[COUNT * 8] = "";

    for (int i = 0; i < COUNT; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%d,", fds[i]);
    python_do(python, "fds = [%s]", list);
}

TEST(python_finds_the_same_descriptors_ready, .loop_end = 5)
{
    tine_waitable on[COUNT];
    struct python python;
    char ready[COUNT * 8] = "[";

    for (int i = 0; i < COUNT; i++) {
        fds[i] = any_descriptor();
        if (fds[i] > STDERR_FILENO && i > 0 && fcntl(fds[i], F_GETFD) < 0)
            fds[i] += i; /* Python takes no number twice */
        on[i] = tine_fd_waitable(fds[i], TINE_READABLE);
    }
    if (!start_python(&python, COUNT))
        SKIP("no python3");
    tell_python(&python);
    ck_assert_int_ge(tine_wait(on, COUNT, TINE_FOREVER), 0);
    for (int i = 0; i < COUNT; i++)
        if (on[i].ready)
            snprintf(ready + strlen(ready), sizeof ready - strlen(ready), "%s%d",
                     ready[1] == '\0' ? "" : ", ", i);
    strcat(ready, "]");
    ck_assert_str_eq(python_ask(&python, "sorted(fds.index(f) for f in wait(fds, 0))"), ready);
    python_end(&python);
    close_all(COUNT);
}

TEST(python_gets_nothing_either_when_nothing_is_ready)
{
    tine_waitable on;
    struct python python;

    fds[0] = stream(false, false);
    on = tine_fd_waitable(fds[0], TINE_READABLE);
    if (!start_python(&python, 1))
        SKIP("no python3");
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(1)), 0);
    ck_assert_str_eq(python_ask(&python, "wait([%d], 0.001)", fds[0]), "[]");
    python_end(&python);
    close_all(1);
}

SUITE("ipc/wait_python")
