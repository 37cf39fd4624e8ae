/* SPDX-License-Identifier: MIT */
/*
 * The program's hold on the nursery, and on the workers through it: what it tells them, hears of
 * them, and how it ends them without their help. Guarded by the pool's mutex, but for keep, nudge
 * and ended, which touch only descriptors that stay the same.
 */
#include "pool/nursery.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"

#define KEEP_NS TINE_SEC(1) /* for room in the nursery's socket */

int tine__nursery_start_threads(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                                uint32_t threads)
{
    *nursery = (struct tine__nursery){.pidfd = -1, .socket = -1};
    return tine__threads_start(&nursery->threads, pool, threads, &nursery->pidfd);
}

void tine__nursery_listen(struct tine__nursery *nursery)
{
    for (;;) {
        struct tine__nursery_note note;
        int pidfd = -1, count = 1;
        ssize_t size =
            tine__sys_recv_fds(nursery->socket, &note, sizeof note, &pidfd, &count, MSG_DONTWAIT);
        struct tine__child *child;

        if (size == -EPROTO)
            continue; /* no descriptor was free for it: this one is known by the nursery only */
        if (size != (ssize_t)sizeof note || count != 1 || note.worker >= nursery->workers)
            return;
        child = &nursery->children[note.worker];
        if (child->pidfd >= 0)
            close(child->pidfd);
        *child = (struct tine__child){.pid = note.pid, .pidfd = pidfd};
    }
}

/* Room to send: 0, -ETIMEDOUT, TINE_EBROKEN. */
static int await_room(const struct tine__nursery *nursery, tine__deadline deadline)
{
    struct pollfd polled[] = {{.fd = nursery->socket, .events = POLLOUT},
                              {.fd = nursery->pidfd, .events = POLLIN}};
    struct timespec left = tine__timespec(tine__deadline_left(deadline));

    if (ppoll(polled, 2, &left, NULL) < 0)
        return errno == EINTR ? 0 : -EAGAIN;
    if (polled[1].revents != 0)
        return TINE_EBROKEN;
    return polled[0].revents != 0 ? 0 : -ETIMEDOUT;
}

int tine__nursery_keep(struct tine__nursery *nursery, uint64_t number, int fd)
{
    tine__deadline deadline = tine__deadline_after(KEEP_NS);

    if (nursery->threads != NULL)
        return tine__threads_keep(nursery->threads, number, fd);
    for (;;) {
        ssize_t size =
            tine__sys_send_fds(nursery->socket, &number, sizeof number, &fd, 1, MSG_DONTWAIT);
        int rc;

        if (size >= 0)
            return 0;
        if (size == -EPIPE || size == -ECONNRESET)
            return TINE_EBROKEN;
        if (size != -EAGAIN)
            return size == -ETOOMANYREFS ? -EAGAIN : (int)size;
        rc = await_room(nursery, deadline);
        if (rc < 0)
            return rc == -ETIMEDOUT ? -EAGAIN : rc;
    }
}

bool tine__nursery_ended(struct tine__nursery *nursery, int64_t timeout_ns)
{
    return nursery->pidfd < 0 || tine__sys_poll_in(nursery->pidfd, timeout_ns) > 0;
}

void tine__nursery_nudge(struct tine__nursery *nursery)
{
    if (nursery->threads != NULL)
        tine__threads_sweep(nursery->threads);
    else
        send(nursery->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void kill_children(struct tine__nursery *nursery)
{
    tine__nursery_listen(nursery);
    for (uint32_t i = 0; i < nursery->workers; i++)
        if (nursery->children[i].pidfd >= 0)
            tine__sys_pidfd_kill(nursery->children[i].pidfd, SIGKILL);
}

static bool children_are_gone(struct tine__nursery *nursery, tine__deadline deadline)
{
    bool gone = true;

    for (uint32_t i = 0; i < nursery->workers; i++)
        if (nursery->children[i].pidfd >= 0)
            gone =
                tine__sys_poll_in(nursery->children[i].pidfd, tine__deadline_left(deadline)) > 0 &&
                gone;
    return gone;
}

bool tine__nursery_kill(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                        int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);

    /* The nursery reaps the workers if it can: orphans would go to the next subreaper, which the
       program itself may be. If it is stopped, or cannot be told, it dies after them. */
    atomic_store_explicit(&pool->state, TINE__POOL_ENDING, memory_order_seq_cst);
    tine__nursery_nudge(nursery);
    kill_children(nursery);
    if (!tine__nursery_ended(nursery, timeout_ns / 2)) {
        tine__sys_pidfd_kill(nursery->pidfd, SIGKILL);
        kill_children(nursery);
    }
    return tine__nursery_ended(nursery, tine__deadline_left(deadline)) &&
           children_are_gone(nursery, deadline);
}

void tine__nursery_kill_worker(struct tine__nursery *nursery, uint32_t worker, pid_t pid)
{
    struct tine__child *child = &nursery->children[worker];

    tine__nursery_listen(nursery);
    if (child->pidfd >= 0 && child->pid == pid)
        tine__sys_pidfd_kill(child->pidfd, SIGKILL);
}

void tine__nursery_forget(struct tine__nursery *nursery)
{
    free(nursery->launched); /* its pidfd is closed as the nursery's */
    nursery->launched = NULL;
    nursery->threads = NULL;
    for (uint32_t i = 0; i < nursery->workers; i++)
        nursery->children[i].pid = 0;
}

void tine__nursery_fini(struct tine__nursery *nursery)
{
    for (uint32_t i = 0; nursery->children != NULL && i < nursery->workers; i++)
        if (nursery->children[i].pidfd >= 0)
            close(nursery->children[i].pidfd);
    free(nursery->children);
    nursery->children = NULL;
    if (nursery->socket >= 0)
        close(nursery->socket);
    /* By pidfd, for the host may have reaped it first, and its pid may be another child's by now.
     */
    if (nursery->threads != NULL) {
        tine__threads_join(nursery->threads);
        close(nursery->pidfd);
    } else if (nursery->launched != NULL) {
        tine__nursery_bury(nursery->launched);
    } else if (nursery->pidfd >= 0) {
        siginfo_t info;

        while (waitid(P_PIDFD, (id_t)nursery->pidfd, &info, WEXITED) < 0 && errno == EINTR)
            continue;
        close(nursery->pidfd);
    }
    nursery->threads = NULL;
    nursery->launched = NULL;
    nursery->socket = nursery->pidfd = -1;
}
