/* SPDX-License-Identifier: MIT */
/* System calls on SEQPACKET sockets; see lib/record.h. No state; safe in a forked child. */
#include "lib/record.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/clock.h"

/* Made again at once, a call that a signal has interrupted would begin its slice anew, for ever. */
static int failed(void)
{
    return errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t send_parts(int fd, const struct iovec *parts, int count, const int *fds,
                          uint32_t fd_count, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    union tine__rights rights;

    tine__rights_attach(&message, &rights, fds, fd_count);
    return sendmsg(fd, &message, flags | MSG_NOSIGNAL);
}

int tine__record_send(int fd, const struct iovec *parts, int count, const int *fds,
                      uint32_t fd_count, int flags)
{
    ssize_t sent;

    if (fd_count > TINE__RECORD_FDS)
        return -EINVAL;
    sent = count == 1 && fd_count == 0
               ? send(fd, parts->iov_base, parts->iov_len, flags | MSG_NOSIGNAL)
               : send_parts(fd, parts, count, fds, fd_count, flags);
    return sent < 0 ? failed() : 0;
}

ssize_t tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                          uint32_t *fd_count, int flags)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    union tine__rights rights;
    ssize_t received;
    uint32_t came;

    tine__rights_expect(&message, &rights);
    received = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (received < 0)
        return failed();
    came = message.msg_controllen == 0 ? 0 : tine__rights_detach(&message, fds, *fd_count);
    if (came > *fd_count)
        came = *fd_count;
    if ((message.msg_flags & MSG_TRUNC) != 0) {
        while (came > 0)
            close(fds[--came]);
        return -EBADMSG;
    }
    *fd_count = came;
    return received;
}

ssize_t tine__record_peek(int fd, void *bytes, size_t room)
{
    ssize_t size;

    do
        size = recv(fd, bytes, room, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    while (size < 0 && (errno == EINTR || errno == ECONNRESET)); /* the latter once */
    return size < 0 ? -errno : size;
}

int tine__record_poll(int fd, short events, int64_t timeout_ns)
{
    tine__deadline deadline = timeout_ns == 0 ? 0 : tine__deadline_after(timeout_ns);
    struct pollfd set = {.fd = fd, .events = events};

    for (;;) {
        struct timespec left = tine__timespec(deadline == 0 ? 0 : tine__deadline_left(deadline));
        int rc = ppoll(&set, 1, deadline == TINE__NEVER ? NULL : &left, NULL);

        if (rc >= 0)
            return rc;
        if (errno != EINTR)
            return -errno;
    }
}

bool tine__record_hung_up(int fd)
{
    struct pollfd set = {.fd = fd};

    return poll(&set, 1, 0) > 0 && (set.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

bool tine__record_at_end(int fd)
{
    struct pollfd set = {.fd = fd, .events = POLLRDHUP};

    return poll(&set, 1, 0) > 0 && (set.revents & (POLLRDHUP | POLLHUP)) != 0 &&
           tine__record_is_empty(fd);
}

bool tine__record_is_empty(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCINQ, &bytes) == 0 && bytes == 0;
}

bool tine__record_is_unsent(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCOUTQ, &bytes) < 0 || bytes != 0;
}

int tine__record_slices(int fd, int64_t slice_ns)
{
    struct timeval slice = {.tv_sec = slice_ns / 1000000000,
                            .tv_usec = slice_ns % 1000000000 / 1000};

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slice, sizeof slice) < 0)
        return -errno;
    return 0;
}

void tine__record_room(int fd, int bytes)
{
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
