/* SPDX-License-Identifier: MIT */
/*
 * Raw system calls of waiting for descriptors; see lib/sys_poll.h. No state, no locks.
 *
 * Abstract names belong to a network namespace: a bell can be rung by processes of the same one
 * only. They vanish with the socket, however its process ends. Anybody can read them in
 * /proc/net/unix and send there, so the kernel is told to drop what does not begin with the secret,
 * which nobody can read who is not in the family. (Where it can't be told, anybody can make the
 * owner look in vain.)
 */
#include "lib/sys_poll.h"

#include "lib/asleep.h"
#include "lib/clock.h"
#include "lib/sys.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOOKED_MAX 4

int tine__sys_poll(struct pollfd *fds, size_t count, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);

    for (;;) {
        struct timespec left = tine__timespec(tine__deadline_left(deadline));
        int rc;

        if (timeout_ns != 0)
            tine__asleep_say(true);
        rc = ppoll(fds, (nfds_t)count, deadline == TINE__NEVER ? NULL : &left, NULL);
        if (timeout_ns != 0)
            tine__asleep_say(false);
        if (rc >= 0)
            return rc;
        if (errno != EINTR)
            return -errno;
    }
}

/* ---- bells ----------------------------------------------------------------------------------- */

/* "\0tine-bell-" and 16 digits; by hand, for snprintf may not be called in a signal handler. */
static socklen_t name_bell(struct sockaddr_un *address, uint64_t number)
{
    static const char prefix[] = "\0tine-bell-";
    size_t length = sizeof prefix - 1;

    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, prefix, length);
    for (int shift = 60; shift >= 0; shift -= 4)
        address->sun_path[length++] = "0123456789abcdef"[number >> shift & 15];
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void let_in_only(int fd, uint64_t secret)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(secret >> 32), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)secret, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, sizeof secret),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof steps[0], .filter = steps};

    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

int tine__sys_bell(uint64_t number, uint64_t secret)
{
    struct sockaddr_un address;
    socklen_t length = name_bell(&address, number);
    int fd = tine__sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK);
    int rc;

    if (fd < 0)
        return fd;
    let_in_only(fd, secret);
    if (bind(fd, (const struct sockaddr *)&address, length) == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

bool tine__sys_is_bell(int fd, uint64_t number)
{
    struct sockaddr_un expected, address;
    socklen_t wanted = name_bell(&expected, number), length = sizeof address;
    int saved = errno;
    bool is_bell = getsockname(fd, (struct sockaddr *)&address, &length) == 0 && length == wanted &&
                   memcmp(&address, &expected, wanted) == 0;

    errno = saved;
    return is_bell;
}

int tine__sys_ring(int from, uint64_t number, uint64_t secret)
{
    uint64_t message = htobe64(secret); /* as filters read it */
    struct sockaddr_un address;
    socklen_t length = name_bell(&address, number);
    int saved = errno, rc = 0;
    int fd = from >= 0 ? from : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || sendto(fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL,
                         (const struct sockaddr *)&address, length) < 0)
        rc = -errno;
    if (fd >= 0 && from < 0)
        close(fd);
    errno = saved;
    return rc == -EAGAIN ? 0 : rc;
}

void tine__sys_bell_silence(int fd)
{
    int saved = errno;
    char byte;

    while (recv(fd, &byte, sizeof byte, MSG_DONTWAIT) < 0 && errno == EINTR)
        ;
    errno = saved;
}

/* ---- epoll, timers --------------------------------------------------------------------------- */

int tine__sys_epoll_add(int epoll, int fd, uint64_t cookie)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = cookie};

    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int tine__sys_epoll_look(int epoll, uint64_t *cookies, int room)
{
    struct epoll_event events[LOOKED_MAX];
    int saved = errno;
    int count = epoll_wait(epoll, events, room < LOOKED_MAX ? room : LOOKED_MAX, 0);

    for (int i = 0; i < count; i++)
        cookies[i] = events[i].data.u64;
    if (count < 0)
        count = -errno;
    errno = saved;
    return count;
}

int tine__sys_signalling_pipe(int ends[2], int signal)
{
    int made[2], rc = 0;

    if (pipe2(made, O_CLOEXEC) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        made[i] = tine__sys_above_standard(made[i]);
        rc = made[i] < 0 ? made[i] : rc;
    }
    if (rc == 0 && (fcntl(made[0], F_SETOWN, getpid()) < 0 ||
                    fcntl(made[0], F_SETSIG, signal) < 0 || fcntl(made[0], F_SETFL, O_ASYNC) < 0))
        rc = -errno;
    for (int i = 0; i < 2; i++)
        if (rc == 0)
            ends[i] = made[i];
        else if (made[i] >= 0)
            close(made[i]);
    return rc;
}

int tine__sys_timer(void)
{
    return tine__sys_above_standard(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int tine__sys_timer_set(int fd, int64_t ns)
{
    struct itimerspec once = {.it_value = tine__timespec(ns)};
    int saved = errno, rc = timerfd_settime(fd, 0, &once, NULL) < 0 ? -errno : 0;

    errno = saved;
    return rc;
}
