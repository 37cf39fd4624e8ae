/* SPDX-License-Identifier: MIT */
/* Records with a descriptor and their sender; see lib/sender.h. No state. */
#include "lib/sender.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "lib/rights.h"

/* Beside the message: what tine__rights_… takes care of, and the sender. */
union beside {
    struct cmsghdr header;
    char bytes[sizeof(union tine__rights) + CMSG_SPACE(sizeof(struct ucred))];
};

int tine__sender_ask(int socket)
{
    return setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)) < 0 ? -errno : 0;
}

/* Behind the descriptor. */
static void attach_self(struct msghdr *message, union beside *beside)
{
    struct ucred self = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
    struct cmsghdr *next = (struct cmsghdr *)(void *)(beside->bytes + message->msg_controllen);

    next->cmsg_level = SOL_SOCKET;
    next->cmsg_type = SCM_CREDENTIALS;
    next->cmsg_len = CMSG_LEN(sizeof self);
    memcpy(CMSG_DATA(next), &self, sizeof self);
    message->msg_controllen += CMSG_SPACE(sizeof self);
}

ssize_t tine__sender_send(int socket, const void *record, size_t size, int fd)
{
    union beside beside = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    tine__rights_attach(&message, (union tine__rights *)&beside, &fd, 1);
    attach_self(&message, &beside);
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent >= 0)
            return sent;
        if (errno != EINTR)
            return -errno;
    }
}

static bool find_sender(struct msghdr *message, struct ucred *sender)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
            c->cmsg_len == CMSG_LEN(sizeof *sender)) {
            memcpy(sender, CMSG_DATA(c), sizeof *sender);
            return true;
        }
    return false;
}

ssize_t tine__sender_recv(int socket, void *record, size_t size, int *fd, struct ucred *sender)
{
    union beside beside;
    struct iovec part = {.iov_base = record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = beside.bytes,
                             .msg_controllen = sizeof beside.bytes};
    ssize_t received;
    uint32_t came;
    bool known;

    do
        received = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received <= 0)
        return received < 0 ? -errno : 0;
    known = find_sender(&message, sender);
    came = tine__rights_detach(&message, fd, 1);
    if (came == 1 && known && (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0)
        return received;
    if (came > 0)
        close(*fd);
    return -EPROTO;
}
