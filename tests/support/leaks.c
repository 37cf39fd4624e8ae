/* SPDX-License-Identifier: MIT */
#include "tests/support/leaks.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define FD_MAX 65536

static struct {
    bool fds[FD_MAX];
    int threads, bells;
    sigset_t mask;
    struct sigaction actions[NSIG];
} before;

/* Calls `visit` for each open descriptor except the one that lists them. */
static void each_fd(void (*visit)(int fd))
{
    DIR *directory = opendir("/proc/self/fd");
    int fd;

    ck_assert_ptr_nonnull(directory);
    while ((fd = proc_next(directory)) >= 0)
        if (fd != dirfd(directory) && fd < FD_MAX)
            visit(fd);
    closedir(directory);
}

static void remember_fd(int fd)
{
    before.fds[fd] = true;
}

/* The library keeps one bell for the next wait (shm/watch.c). */
static bool is_idle_bell(int fd)
{
    static const char name[] = "\0tine-bell-";
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t length = sizeof address;

    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
           address.sun_family == AF_UNIX && memcmp(address.sun_path, name, sizeof name - 1) == 0 &&
           before.bells++ == 0;
}

static void check_fd(int fd)
{
    char path[64], target[256] = "";

    if (before.fds[fd]) {
        before.fds[fd] = false;
        return;
    }
    if (is_idle_bell(fd))
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, target, sizeof target - 1) >= 0)
        ck_abort_msg("descriptor %d left open: %s", fd, target);
}

static void check_fds(void)
{
    each_fd(check_fd);
    for (int fd = 0; fd < FD_MAX; fd++)
        if (before.fds[fd]) /* an assertion for each would cost a message to libcheck for each */
            ck_abort_msg("descriptor %d of the caller was closed", fd);
}

static void check_children(void)
{
    struct proc proc = {.state = 'Z'};
    siginfo_t info = {.si_pid = 0};

    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
        ck_assert_int_eq(errno, ECHILD);
        return;
    }
    if (info.si_pid != 0)
        proc_read(info.si_pid, &proc);
    ck_assert_msg(info.si_pid == 0, "child %d (%s) was not reaped", info.si_pid, proc.name);
    ck_abort_msg("a child is still running");
}

/* A thread that pthread_join has returned for may still be on its way out of the kernel. */
static void check_threads(void)
{
    int tsan = suite_under_tsan() ? 1 : 0; /* starts one of its own when the first one is made */

    ck_assert_eventually(proc_threads() <= before.threads + tsan);
}

static void check_signals(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (int sig = 1; sig < NSIG; sig++) {
        const struct sigaction *then = &before.actions[sig];
        struct sigaction now;

        if (sigismember(&mask, sig) != sigismember(&before.mask, sig))
            ck_abort_msg("mask of signal %d was changed", sig);
        if (sigaction(sig, NULL, &now) == 0 &&
            (now.sa_handler != then->sa_handler || now.sa_flags != then->sa_flags))
            ck_abort_msg("disposition of signal %d was changed", sig);
    }
}

static void name_prefix(char *prefix, size_t size)
{
    const char *tag = getenv("TINE_TEST_TAG");

    snprintf(prefix, size, "tine-test-%s-%d-", tag == NULL ? "run" : tag, (int)getpgrp());
}

const char *leaks_shm_name(const char *what)
{
    static char name[200];
    char prefix[128];

    name_prefix(prefix, sizeof prefix);
    snprintf(name, sizeof name, "/%s%s", prefix, what);
    return name;
}

static void check_names(void)
{
    DIR *directory = opendir("/dev/shm");
    struct dirent *entry;
    char prefix[128];

    if (directory == NULL)
        return; /* no shared memory here, no names */
    name_prefix(prefix, sizeof prefix);
    while ((entry = readdir(directory)) != NULL)
        ck_assert_msg(strncmp(entry->d_name, prefix, strlen(prefix)) != 0, "left in /dev/shm: %s",
                      entry->d_name);
    closedir(directory);
}

/* A process of the test's group other than the test itself; 0 when there is none. */
static pid_t straggler(void)
{
    DIR *directory = opendir("/proc");
    struct proc proc;
    int pid;

    ck_assert_ptr_nonnull(directory);
    while ((pid = proc_next(directory)) >= 0)
        if (pid != getpid() && proc_read(pid, &proc) && proc.group == getpid() && proc.state != 'Z')
            break;
    closedir(directory);
    return pid < 0 ? 0 : pid;
}

/* Orphans of a killed nursery may still be on their way out: they get the suite's patience. */
static void check_group(void)
{
    struct patience patience = patience_begin();
    struct proc proc = {.name = ""};
    bool goes_on = true;
    pid_t pid;

    while ((pid = straggler()) != 0 && goes_on)
        goes_on = patience_pause(&patience);
    if (pid != 0)
        proc_read(pid, &proc);
    ck_assert_msg(pid == 0, "process %d (%s) still runs", pid, proc.name);
}

void leaks_begin(void)
{
    memset(before.fds, 0, sizeof before.fds);
    before.bells = 0;
    each_fd(remember_fd);
    before.threads = proc_threads();
    pthread_sigmask(SIG_BLOCK, NULL, &before.mask);
    for (int sig = 1; sig < NSIG; sig++)
        sigaction(sig, NULL, &before.actions[sig]);
}

void leaks_end(bool own_signals, bool may_orphan)
{
    check_children();
    check_fds();
    check_threads();
    if (!own_signals)
        check_signals();
    check_names();
    if (!may_orphan)
        check_group();
}
