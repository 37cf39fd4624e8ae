/* SPDX-License-Identifier: MIT */
/*
 * A handshake (ipc/auth.c) on a socket. What it has to say is so little that an empty socket takes
 * it at once; a peer whose socket does not is given up. Nothing is read beyond the handshake, so
 * the bytes of the first message stay in the kernel for the connection.
 */
#include "ipc/auth_handshake.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "lib/sys.h"

static int flush(int fd, struct tine__auth *auth)
{
    const void *bytes;
    ssize_t sent;
    size_t count;

    for (;;) {
        bytes = tine__auth_output(auth, &count);
        if (count == 0)
            return 0;
        sent = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            tine__auth_sent(auth, (size_t)sent);
        else if (errno == EAGAIN)
            return tine__auth_fail(auth, -ECONNRESET, "it does not read");
        else if (errno != EINTR)
            return tine__auth_fail(auth, -ECONNRESET, "it has hung up");
    }
}

/* 1: some came, 0: none are there */
static int fill(int fd, struct tine__auth *auth)
{
    ssize_t count;
    size_t room;
    void *space = tine__auth_space(auth, &room);
    int rc;

    do
        count = recv(fd, space, room, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0 && errno == EAGAIN)
        return 0;
    if (count <= 0)
        return tine__auth_fail(auth, -ECONNRESET, "it has hung up");
    rc = tine__auth_received(auth, (size_t)count);
    if (rc < 0) { /* it is told why, if it can be */
        const void *last = tine__auth_output(auth, &room);

        (void)send(fd, last, room, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return rc < 0 ? rc : 1;
}

int tine__handshake_move(int fd, struct tine__auth *auth)
{
    int rc;

    do {
        rc = flush(fd, auth);
        if (rc < 0)
            return rc;
        if (tine__auth_over(auth))
            return 1;
        rc = fill(fd, auth);
    } while (rc > 0);
    return rc;
}

int tine__handshake_run(int fd, struct tine__auth *auth, tine__deadline deadline)
{
    int rc;

    while ((rc = tine__handshake_move(fd, auth)) == 0) {
        int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);

        rc = tine__sys_poll_in(fd, left);
        if (rc <= 0)
            return rc == 0 ? -ETIMEDOUT : rc;
    }
    return rc < 0 ? rc : 0;
}
