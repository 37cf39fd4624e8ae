/* SPDX-License-Identifier: MIT */
/*
 * Pidfds: of processes, and of those that a fork makes; see lib/sys.h. Raw system calls, no
 * locks, safe in a forked child; the only state is that this system has no pidfd_open.
 */
#include "lib/sys.h"

#include <tine/error.h>

#include "lib/fork.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* The first version of struct pidfd_info and its ioctl (Linux 6.13; exit_code: 6.15). */
struct pidfd_info_v0 {
    uint64_t mask;
    uint64_t unused[6];
    uint32_t unused32;
    int32_t exit_code;
};
#define PIDFD_GET_INFO_V0 _IOWR(0xff, 11, struct pidfd_info_v0)
#define PIDFD_INFO_EXIT   ((uint64_t)1 << 3)

_Static_assert(sizeof(struct pidfd_info_v0) == 64, "PIDFD_INFO_SIZE_VER0");

static _Atomic bool lacking; /* found out by whoever opens the first */

/*
 * Valgrind 3.19 (Debian 12) has neither pidfd_open nor pidfd_send_signal. There a process makes a
 * pidfd of itself from a socket that it is its own peer on (Linux 6.5), and signals go to the pid
 * that the kernel gives for the pidfd: -1 once that process has been reaped.
 */
static int pidfd_of_self(void)
{
    int sockets[2], pidfd = -1, rc = tine__sys_socketpair(sockets);
    socklen_t size = sizeof pidfd;

    if (rc < 0)
        return rc;
    rc = getsockopt(sockets[0], SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0
             ? -ENOSYS
             : tine__sys_above_standard(pidfd);
    close(sockets[0]);
    close(sockets[1]);
    return rc;
}

int tine__sys_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);

    if (fd < 0 && errno == ENOSYS) {
        atomic_store_explicit(&lacking, true, memory_order_relaxed);
        if (pid == getpid())
            return pidfd_of_self();
    }
    return tine__sys_above_standard((int)fd);
}

static void reap_at_once(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* The child sends its own pidfd. */
static pid_t fork_that_tells(int *pidfd)
{
    int sockets[2], count = 1, rc = tine__sys_socketpair(sockets);
    char byte = 0;
    pid_t pid;

    if (rc < 0)
        return rc;
    pid = fork();
    if (pid == 0) {
        int self = pidfd_of_self();

        if (self < 0 || tine__sys_send_fds(sockets[1], &byte, 1, &self, 1, 0) < 0)
            _exit(1);
        close(self);
    }
    close(sockets[1]);
    rc = pid < 0 ? -errno : 0;
    if (pid > 0 &&
        (tine__sys_recv_fds(sockets[0], &byte, 1, pidfd, &count, 0) != 1 || count != 1)) {
        reap_at_once(pid);
        rc = -ENOSYS;
    }
    close(sockets[0]);
    return rc < 0 ? rc : pid;
}

/* In the parent, `place` is closed for the pidfd to come there. */
TINE__EARLY static pid_t fork_and_open(int *pidfd, int place)
{
    pid_t pid = fork();
    int opened;

    if (pid == 0) {
        tine__fork_begin();
        return 0;
    }
    if (pid < 0)
        pid = -errno;
    if (place >= 0)
        close(place);
    if (pid < 0)
        return pid;
    opened = tine__sys_pidfd_open(pid);
    if (opened == -ESRCH) /* reaped by somebody else: the pid may be a stranger's any moment */
        return TINE_EBROKEN;
    if (opened < 0) {
        kill(pid, SIGKILL); /* not reaped, so still that process */
        reap_at_once(pid);
        return opened;
    }
    *pidfd = opened;
    return pid;
}

TINE__EARLY pid_t tine__sys_fork_over(int *pidfd, int place)
{
    pid_t pid;

    if (!atomic_load_explicit(&lacking, memory_order_relaxed))
        return fork_and_open(pidfd, place);
    pid = fork_that_tells(pidfd);
    if (pid != 0)
        close(place);
    return pid;
}

/* Not open any more in the child: to close it there would take a page of the C library's. */
pid_t tine__sys_fork(int *pidfd)
{
    int place = (int)syscall(SYS_pidfd_open, getpid(), 0);

    if (place < 0)
        return errno == ENOSYS ? fork_that_tells(pidfd)
                               : -errno; /* no descriptor is free: say so before there is a child */
    close(place);
    return fork_and_open(pidfd, -1);
}

static pid_t pid_of(int pidfd)
{
    char path[64], text[512], *line;
    FILE *info;
    size_t size;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    info = fopen(path, "re");
    if (info == NULL)
        return -1;
    size = fread(text, 1, sizeof text - 1, info);
    fclose(info);
    text[size] = '\0';
    line = strstr(text, "Pid:");
    return line == NULL ? -1 : (pid_t)strtol(line + 4, NULL, 10);
}

int tine__sys_pidfd_kill(int pidfd, int signal)
{
    pid_t pid;

    if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0)
        return 0;
    if (errno != ENOSYS)
        return -errno;
    pid = pid_of(pidfd);
    return pid <= 0 ? -ESRCH : kill(pid, signal) < 0 ? -errno : 0;
}

int tine__sys_reap(int pidfd, siginfo_t *info, struct rusage *usage)
{
    info->si_pid = 0;
    /* the library's waitid() has no place for the last argument */
    if (syscall(SYS_waitid, P_PIDFD, pidfd, info, WEXITED | WNOHANG, usage) < 0)
        return -errno;
    return info->si_pid != 0;
}

int tine__sys_pidfd_status(int pidfd, int *status)
{
    struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT};

    if (ioctl(pidfd, PIDFD_GET_INFO_V0, &info) < 0)
        return errno == ESRCH ? -EAGAIN
                              : -ENOTSUP; /* reaped, but nothing noted of it: in a moment */
    if ((info.mask & PIDFD_INFO_EXIT) == 0)
        return -EAGAIN;
    *status = info.exit_code;
    return 0;
}
