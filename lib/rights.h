/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_RIGHTS_H
#define TINE_LIB_RIGHTS_H

#include <stdint.h>
#include <sys/socket.h>

/*
 * Descriptors beside the bytes of an AF_UNIX socket's message (SCM_RIGHTS).
 *
 *     union tine__rights rights;
 *     tine__rights_attach(&message, &rights, fds, 2);
 *     sendmsg(socket, &message, 0);
 *
 *     tine__rights_expect(&message, &rights);
 *     recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
 *     count = tine__rights_detach(&message, fds, 2);
 */
#define TINE__RIGHTS_MAX 16 /* with one message */

/* Where they stand; to live as long as the message. */
union tine__rights {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(TINE__RIGHTS_MAX * sizeof(int))];
};

/* To be sent along: borrowed. 0: none. */
void tine__rights_attach(struct msghdr *message, union tine__rights *rights, const int *fds,
                         uint32_t count);
void tine__rights_expect(struct msghdr *message, union tine__rights *rights);
/*
 * Moves those that have come into fds, and closes those beyond the room. How many came; what the
 * process had no room for is not among them: MSG_CTRUNC.
 */
uint32_t tine__rights_detach(struct msghdr *message, int *fds, uint32_t room);

#endif
