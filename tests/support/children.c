/* SPDX-License-Identifier: MIT */
#include "tests/support/children.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/suite.h"
#include "tests/support/verdict.h"

struct child child_start(void (*body)(void *context), void *context)
{
    struct child child = {.pid = fork()};

    ck_assert_msg(child.pid >= 0, "fork: %s", strerror(errno));
    if (child.pid == 0) {
        body(context);
        _exit(0);
    }
    return child;
}

static int wait_for(struct child *child, int options)
{
    pid_t reaped;
    int status;

    do
        reaped = waitpid(child->pid, &status, options);
    while (reaped < 0 && errno == EINTR);
    ck_assert_msg(reaped == child->pid, "participant %d: %s", child->pid, strerror(errno));
    return status;
}

int child_wait(struct child *child)
{
    int status = wait_for(child, 0);

    child->pid = 0;
    return status;
}

void child_join(struct child *child)
{
    pid_t pid = child->pid;
    int status = child_wait(child);

    ck_assert_msg(!WIFSIGNALED(status), "participant %d died of signal %d", pid, WTERMSIG(status));
    ck_assert_msg(WEXITSTATUS(status) != VERDICT_FAILED, "participant %d failed", pid);
    ck_assert_msg(WEXITSTATUS(status) == 0, "participant %d left with status %d", pid,
                  WEXITSTATUS(status));
}

void child_kill(struct child *child)
{
    int status;

    ck_assert_int_eq(kill(child->pid, SIGKILL), 0);
    status = child_wait(child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "was gone before it was killed (wait status %#x)", (unsigned)status);
}

void child_stop(struct child *child)
{
    ck_assert_int_eq(kill(child->pid, SIGSTOP), 0);
    ck_assert(WIFSTOPPED(wait_for(child, WUNTRACED)));
}

void child_continue(struct child *child)
{
    ck_assert_int_eq(kill(child->pid, SIGCONT), 0);
}

void child_becomes_user(void)
{
    unsigned user = 20000 + (unsigned)getpid() % 40000; /* any that no account has */

    ck_assert_int_eq(setgid(user), 0);
    ck_assert_int_eq(setuid(user), 0);
}
