/* SPDX-License-Identifier: MIT */
/*
 * Control messages with descriptors; see lib/rights.h. Nobody else writes or reads one.
 *
 * A peer may send several such messages along, or more descriptors than are wanted: each that has
 * come is a descriptor of this process's, so all are walked, and none is left open unnoticed. No
 * state; safe in a forked child.
 */
#include "lib/rights.h"

#include <string.h>
#include <unistd.h>

void tine__rights_attach(struct msghdr *message, union tine__rights *rights, const int *fds,
                         uint32_t count)
{
    if (count == 0)
        return;
    memset(rights, 0, sizeof *rights);
    message->msg_control = rights->bytes;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    rights->header.cmsg_level = SOL_SOCKET;
    rights->header.cmsg_type = SCM_RIGHTS;
    rights->header.cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(&rights->header), fds, count * sizeof(int));
}

void tine__rights_expect(struct msghdr *message, union tine__rights *rights)
{
    message->msg_control = rights->bytes;
    message->msg_controllen = sizeof rights->bytes;
}

uint32_t tine__rights_detach(struct msghdr *message, int *fds, uint32_t room)
{
    uint32_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++, count++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (count < room)
                fds[count] = fd;
            else
                close(fd);
        }
    }
    return count;
}
