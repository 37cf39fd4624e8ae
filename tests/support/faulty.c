/* SPDX-License-Identifier: MIT */
/*
 * Tests that must fail, each for one reason: catches.sh runs them and compares the messages. A
 * suite that lets one of them pass would let the same fault of the library pass.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/leaks.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static void wait_for_ever(void *unused)
{
    (void)unused;
    pause();
}

static void return_at_once(void *unused)
{
    (void)unused;
}

static void assert_in_vain(void *unused)
{
    (void)unused;
    ck_assert_int_eq(1 + 1, 3);
}

TEST(leaves_a_running_child)
{
    child_start(wait_for_ever, NULL);
}

TEST(leaves_a_zombie)
{
    struct child child = child_start(return_at_once, NULL);
    siginfo_t info;

    ck_assert_int_eq(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
}

/* The child that is reaped leaves a child of its own, which init adopts. */
static void leave_grandchild(void *unused)
{
    child_start(wait_for_ever, unused);
}

TEST(leaves_an_orphan)
{
    struct child child = child_start(leave_grandchild, NULL);

    child_join(&child);
}

TEST(leaves_a_descriptor)
{
    ck_assert_int_ge(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
}

TEST(closes_a_descriptor_of_its_caller)
{
    close(STDIN_FILENO);
}

TEST(leaves_a_name)
{
    const char *name = leaks_shm_name("left");
    int fd = shm_open(name, O_CREAT | O_RDWR, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void *wait_in_thread(void *unused)
{
    pause();
    return unused;
}

TEST(leaves_a_thread)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, NULL), 0);
    pthread_detach(thread);
}

TEST(changes_a_disposition)
{
    signal(SIGUSR1, SIG_IGN);
}

TEST(blocks_a_signal)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

TEST(has_a_failing_participant)
{
    struct child child = child_start(assert_in_vain, NULL);

    child_join(&child);
}

/* Nobody looks at the status of the one that fails: its message must come through all the same. */
TEST(has_a_failing_participant_that_nobody_asks)
{
    struct child child = child_start(assert_in_vain, NULL);

    child_wait(&child);
}

TEST(waits_for_what_never_comes, .timeout_s = 1)
{
    gate_await(gate_new(), 1);
}

SUITE("support/faulty")
