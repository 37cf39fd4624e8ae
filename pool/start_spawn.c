/* SPDX-License-Identifier: MIT */
/*
 * TINE_SPAWN: the program is executed again, and enters by tine_init().
 *
 * posix_spawn does not copy the parent, so its size and its threads do not matter. The new program
 * has the standard streams and a control socket, nothing else; all others come over that. Where it
 * cannot map the heap at its address (the loader has put something there), it is executed once
 * more.
 */
#include "pool/start.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/sys.h"
#include "pool/init.h"
#include "pool/launch.h"

#define ATTEMPTS 3

static int execute(const char *mark, int socket, pid_t *pid)
{
    char *const argv[] = {(char *)(uintptr_t)tine__program_name(), (char *)(uintptr_t)mark, NULL};
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return -rc;
    rc = posix_spawn_file_actions_adddup2(&actions, socket, TINE__CONTROL_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&actions, TINE__CONTROL_FD + 1);
    if (rc == 0)
        rc = posix_spawn(pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return tine__sys_proc_code(-rc);
}

static void end(int pidfd)
{
    siginfo_t info;

    tine__sys_pidfd_kill(pidfd, SIGKILL);
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        continue;
    close(pidfd);
}

/* No pidfd of it is to be had. */
static int give_up(pid_t pid, int socket, int rc)
{
    if (rc != -ESRCH) { /* else it was killed, and somebody else has reaped it */
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close(socket);
    return rc == -ESRCH ? TINE_EBROKEN : rc;
}

int tine__spawn_program(const char *mark, int *socket, int *pidfd)
{
    int sockets[2], probe = tine__sys_pidfd_open(getpid()), rc;
    pid_t pid;

    if (probe < 0)
        return probe; /* no descriptor is free: say so before there is a child */
    rc = tine__program_is_privileged() ? -ENOTSUP : tine__sys_socketpair(sockets);
    if (rc == 0) {
        rc = execute(mark, sockets[1], &pid);
        close(sockets[1]);
        if (rc < 0)
            close(sockets[0]);
    }
    close(probe);
    if (rc < 0)
        return rc;
    /* It waits for what it is told, so it has not ended, unless somebody kills it. */
    *pidfd = tine__sys_pidfd_open(pid);
    if (*pidfd < 0)
        return give_up(pid, sockets[0], *pidfd);
    *socket = sockets[0];
    return pid;
}

static int attempt(struct tine_process *process, const struct tine__birth *birth,
                   const struct tine__luggage *luggage, tine__deadline deadline)
{
    int socket, pidfd, told = -1;
    pid_t pid = tine__spawn_program(TINE__MARK_PROCESS, &socket, &pidfd);
    int rc =
        pid < 0 ? pid : tine__launch_send(socket, TINE__LAUNCH_PROCESS, birth->shared, luggage);

    if (pid < 0)
        return rc;
    if (rc == 0)
        rc = tine__launch_await(socket, deadline, &pid, &told);
    if (told >= 0)
        close(told);
    close(socket);
    if (rc < 0 && tine__launch_cancel(birth->shared)) {
        end(pidfd);
        atomic_store_explicit(&birth->shared->gate, TINE__GATE_SHUT, memory_order_relaxed);
        return rc;
    }
    process->pid = pid;
    process->pidfd = pidfd;
    return 0;
}

int tine__start_spawn(struct tine_process *process, struct tine__birth *birth, const int *listed,
                      tine__deadline deadline)
{
    struct tine__luggage luggage;
    int rc = tine__luggage_pack(&luggage, birth, listed);

    if (rc < 0)
        return rc;
    tine__start_flush();
    rc = -EADDRINUSE;
    for (int i = 0; i < ATTEMPTS && rc == -EADDRINUSE; i++)
        rc = attempt(process, birth, &luggage, deadline);
    return rc;
}
