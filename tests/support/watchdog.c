/* SPDX-License-Identifier: MIT */
#include "tests/support/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/support/proc.h"

#define ANCESTORS 16

enum order { WATCH, REST, STOP };

struct order_message {
    enum order order;
    pid_t pid;
    tine__deadline deadline;
    char test[128];
};

static int orders = -1; /* the tests' end */
static pid_t watchdog;

static void print_file(int pid, int tid, const char *file)
{
    char path[96], text[2048];
    int fd;
    ssize_t size;

    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, tid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size > 0)
        fprintf(stderr, "    %s: %.*s%s", file, (int)size, text,
                text[size - 1] == '\n' ? "" : "\n");
}

static void print_process(int pid)
{
    char path[64];
    struct proc proc;
    DIR *tasks;
    int tid;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    tasks = opendir(path);
    if (tasks == NULL)
        return;
    while ((tid = proc_next(tasks)) >= 0) {
        if (!proc_read(tid, &proc))
            continue;
        fprintf(stderr, "  process %d thread %d %s: state %c, parent %d\n", pid, tid, proc.name,
                proc.state, proc.parent);
        print_file(pid, tid, "wchan");
        print_file(pid, tid, "syscall");
        print_file(pid, tid, "stack");
    }
    closedir(tasks);
}

/* In the test's group or below it in the tree. */
static bool belongs(int pid, pid_t test)
{
    struct proc proc;

    for (int i = 0; i < ANCESTORS && pid > 1; i++) {
        if (pid == test)
            return true;
        if (!proc_read(pid, &proc))
            return false;
        if (proc.group == test)
            return true;
        pid = proc.parent;
    }
    return false;
}

static void dump(const struct order_message *watched)
{
    DIR *directory = opendir("/proc");
    int pid;

    if (directory == NULL || kill(watched->pid, 0) != 0) {
        if (directory != NULL)
            closedir(directory);
        return; /* the test has failed and gone meanwhile */
    }
    fprintf(stderr, "watchdog: %s is stuck\n", watched->test);
    while ((pid = proc_next(directory)) >= 0)
        if (belongs(pid, watched->pid))
            print_process(pid);
    closedir(directory);
    fflush(stderr);
}

static void watch(int source)
{
    struct order_message message = {.order = REST};

    for (;;) {
        struct pollfd set = {.fd = source, .events = POLLIN};
        int64_t left = message.order == WATCH ? tine__deadline_left(message.deadline) : -1;
        int rc = poll(&set, 1, left < 0 ? -1 : (int)(left / 1000000 + 1));

        if (rc == 0) {
            dump(&message);
            message.order = REST;
        } else if (rc > 0 && (recv(source, &message, sizeof message, 0) != sizeof message ||
                              message.order == STOP)) {
            return;
        }
    }
}

void watchdog_start(void)
{
    int ends[2];
    pid_t runner = getpid();

    /* no pipe: with one, the death of the watchdog would be that of all tests, by SIGPIPE */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        abort();
    fflush(NULL);
    watchdog = fork();
    if (watchdog < 0)
        abort();
    if (watchdog == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != runner)
            _exit(0);
        close(ends[1]);
        watch(ends[0]);
        _exit(0);
    }
    close(ends[0]);
    orders = ends[1];
}

static void order(const struct order_message *message)
{
    if (send(orders, message, sizeof *message, MSG_NOSIGNAL) != sizeof *message)
        fprintf(stderr, "watchdog: not there: %s\n", strerror(errno));
}

void watchdog_watch(const char *test, double seconds)
{
    struct order_message message = {.order = WATCH, .pid = getpid()};

    message.deadline = tine__deadline_after((int64_t)(seconds * 1e9));
    snprintf(message.test, sizeof message.test, "%s", test);
    order(&message);
}

void watchdog_rest(void)
{
    order(&(struct order_message){.order = REST});
}

void watchdog_stop(void)
{
    order(&(struct order_message){.order = STOP});
    while (waitpid(watchdog, NULL, 0) < 0 && errno == EINTR)
        ;
    close(orders);
}
