/* SPDX-License-Identifier: MIT */
/* The one file of raw system calls; see lib/sys.h. No state, no locks, safe in a forked child. */
#include "lib/sys.h"

#include "lib/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 4

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; older kernels refuse the bit with EINVAL */
#endif

int tine__sys_memfd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

int tine__sys_pidfd_open(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : (int)fd;
}

int tine__sys_pidfd_kill(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int tine__sys_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

int tine__sys_poll_in(int fd, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct pollfd set = {.fd = fd, .events = POLLIN};

    for (;;) {
        struct timespec left = tine__timespec(tine__deadline_left(deadline));
        int rc = ppoll(&set, 1, deadline == TINE__NEVER ? NULL : &left, NULL);

        if (rc >= 0)
            return rc;
        if (errno != EINTR)
            return -errno;
    }
}

int tine__sys_gettid(void)
{
    return (int)syscall(SYS_gettid);
}

int tine__sys_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    /* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time: a retry keeps the deadline. */
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct timespec until = tine__timespec(deadline);

    for (;;) {
        long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                          deadline == TINE__NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);

        if (rc == 0 || errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int tine__sys_futex_wake(const _Atomic uint32_t *word, int count)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);

    return rc < 0 ? -errno : (int)rc;
}

ssize_t tine__sys_send_fds(int socket, const void *record, size_t size, const int *fds, int count,
                           int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (count < 0 || count > FDS_MAX)
        return -EINVAL;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, (size_t)count * sizeof(int));
    }
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);

        if (sent >= 0)
            return sent;
        if (errno != EINTR)
            return -errno;
    }
}

/* Moves the received descriptors into fds; those beyond the room are closed. How many came. */
static int take_fds(struct msghdr *message, int *fds, int room)
{
    int count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < room)
                fds[count] = fd;
            else
                close(fd);
            count++;
        }
    }
    return count;
}

ssize_t tine__sys_recv_fds(int socket, void *record, size_t size, int *fds, int *count, int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t received;
    int came;

    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    do
        received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return -errno;
    came = take_fds(&message, fds, *count);
    if (came > *count || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
        for (int i = 0; i < came && i < *count; i++)
            close(fds[i]);
        return -EPROTO;
    }
    *count = came;
    return received;
}
