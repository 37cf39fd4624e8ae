/* SPDX-License-Identifier: MIT */
/*
 * What dying workers leave behind: the nurseries of their own pools, processes that tasks have
 * forked.
 *
 * They would become children of the next subreaper above, which may be the program, or of process
 * 1, which it may be as well: it would meet processes in its wait() that it knows nothing of. So
 * the nursery adopts them. Nested nurseries end by themselves, at once; whatever else there is, is
 * left alone, and goes to the next subreaper when the nursery ends.
 *
 * The end of an adopted child is told by SIGCHLD only, which the nursery therefore lets in while it
 * waits. The handler does nothing but end the wait.
 */
#include "pool/orphans.h"

#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/clock.h"

static volatile sig_atomic_t noted; /* a child has ended since the last look */

static void note(int signal)
{
    (void)signal;
    noted = 1;
}

void tine__orphans_adopt(sigset_t *waiting)
{
    struct sigaction action = {.sa_handler = note};
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigaction(SIGCHLD, &action, NULL);
    *waiting = all;
    sigdelset(waiting, SIGCHLD);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void tine__orphans_forget(void)
{
    signal(SIGCHLD, SIG_DFL);
}

/* The pid of a child that has ended and is not yet reaped, 0: none, -ECHILD: no child at all. */
static pid_t look(void)
{
    siginfo_t info = {0};

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return -errno;
    return info.si_pid;
}

void tine__orphans_reap(const struct tine__orphans_calls *calls, void *context)
{
    pid_t pid;

    if (!noted)
        return;
    noted = 0;
    while ((pid = look()) > 0) {
        if (calls->is_own(
                context,
                pid)) { /* its pidfd is readable as well; then the next look goes further */
            noted = 1;
            return;
        }
        waitpid(pid, NULL, 0);
        calls->reaped(context, pid);
    }
}

void tine__orphans_await(int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    sigset_t child;
    pid_t pid;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while ((pid = look()) >= 0) {
        struct timespec left = tine__timespec(tine__deadline_left(deadline));

        if (pid > 0)
            waitpid(pid, NULL, 0);
        else if (sigtimedwait(&child, NULL, &left) < 0 && errno == EAGAIN)
            return;
    }
}
