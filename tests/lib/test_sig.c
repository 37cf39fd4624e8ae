/* SPDX-License-Identifier: MIT */
#include "lib/sig.h"

#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"

static volatile sig_atomic_t handled;

static void count(int sig)
{
    (void)sig;
    handled++;
}

static void handle(int sig)
{
    struct sigaction action = {.sa_handler = count};

    ck_assert_int_eq(sigaction(sig, &action, NULL), 0);
}

TEST(a_blocked_signal_arrives_after_the_restore, .own_signals = true)
{
    sigset_t saved;

    handle(SIGUSR1);
    tine__sig_block(&saved);
    raise(SIGUSR1);
    ck_assert_int_eq(handled, 0);
    tine__sig_restore(&saved);
    ck_assert_int_eq(handled, 1);
}

TEST(the_mask_comes_back_as_it_was, .own_signals = true)
{
    sigset_t mine, saved, after;

    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &mine, NULL);
    tine__sig_block(&saved);
    tine__sig_restore(&saved);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int sig = 1; sig < NSIG; sig++)
        ck_assert_int_eq(sigismember(&after, sig), sigismember(&saved, sig));
    ck_assert_int_eq(sigismember(&after, SIGUSR2), 1);
    ck_assert_int_eq(sigismember(&after, SIGUSR1), 0);
}

TEST(signals_that_faults_raise_are_never_blocked)
{
    sigset_t saved, now;

    tine__sig_block(&saved);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    tine__sig_restore(&saved);
    ck_assert_int_eq(sigismember(&now, SIGSEGV), 0);
    ck_assert_int_eq(sigismember(&now, SIGBUS), 0);
    ck_assert_int_eq(sigismember(&now, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&now, SIGCHLD), 1);
}

static void check_dispositions(void *unused)
{
    struct sigaction action;

    (void)unused;
    tine__sig_default(tine__sig_handled());
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_DFL);
    ck_assert_int_eq(sigaction(SIGUSR2, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_IGN);
    ck_assert_int_eq(sigaction(SIGRTMIN + 1, NULL, &action), 0);
    ck_assert(action.sa_handler == SIG_DFL);
}

TEST(handlers_become_the_default_and_the_ignored_stay_ignored, .own_signals = true)
{
    struct child child;

    handle(SIGUSR1);
    handle(SIGRTMIN + 1);
    signal(SIGUSR2, SIG_IGN);
    child = child_start(check_dispositions, NULL);
    child_join(&child);
}

TEST(no_handler_of_the_parent_runs_in_the_child, .own_signals = true)
{
    sigset_t saved;
    struct child child;

    handle(SIGUSR1);
    tine__sig_block(&saved);
    child.pid = fork();
    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0) {
        raise(SIGUSR1);
        tine__sig_default(tine__sig_handled());
        tine__sig_restore(&saved); /* the default of SIGUSR1 ends the process here */
        _exit(0);
    }
    tine__sig_restore(&saved);
    ck_assert_int_eq(child_wait(&child), SIGUSR1);
}

SUITE("lib/sig")
