/* SPDX-License-Identifier: MIT */
/*
 * Signal masks and dispositions; see lib/sig.h. No state.
 *
 * Signals that a fault raises are never blocked: blocked, they would kill where the host's handler
 * (a garbage collector's, a stack guard's) would have gone on.
 */
#include "lib/sig.h"

#include <stddef.h>

#include "lib/fork.h"

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

void tine__sig_block(sigset_t *saved)
{
    sigset_t set;

    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_SETMASK, &set, saved);
}

TINE__EARLY void tine__sig_restore(const sigset_t *saved)
{
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

uint64_t tine__sig_handled(void)
{
    const int first = SIGRTMIN; /* a call */
    uint64_t handled = 0;

    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action;

        /* Those between the library keeps to itself, and to ask for them writes errno, to a page
           that after a fork is copied for it. */
        if ((signal > SIGSYS && signal < first) || sigaction(signal, NULL, &action) != 0)
            continue;
        if ((action.sa_flags & SA_SIGINFO) != 0 ||
            (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN))
            handled |= UINT64_C(1) << (signal - 1);
    }
    return handled;
}

TINE__EARLY void tine__sig_default(uint64_t handled)
{
    struct sigaction action;

    if (handled == 0)
        return;
    action = (struct sigaction){.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        if ((handled >> (signal - 1) & 1) != 0)
            sigaction(signal, &action, NULL);
}

uint64_t tine__sig_blocked(void)
{
    uint64_t blocked = 0;
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (int signal = 1; signal <= 64; signal++)
        if (sigismember(&mask, signal) == 1)
            blocked |= UINT64_C(1) << (signal - 1);
    return blocked;
}

void tine__sig_unpack(uint64_t blocked, sigset_t *mask)
{
    sigemptyset(mask);
    for (int signal = 1; signal <= 64; signal++)
        if ((blocked >> (signal - 1) & 1) != 0)
            sigaddset(mask, signal);
}
