/* SPDX-License-Identifier: MIT */
/*
 * Daemons: a thread waits for the end of the parent and then kills its own process.
 *
 * A thread, because the kernel's parent-death signal follows the *thread* that forked; nothing but
 * a wait wakes up for a pidfd; and another process could be killed first. It has all signals
 * blocked, a small stack, and touches nothing of the program's. It does not survive an exec, nor is
 * it in forks.
 */
#include "pool/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "shm/owner.h"

#define STACK_BYTES ((size_t)256 << 10)
#define LOOK_NS     INT64_C(50000000)

static struct watched {
    int parent; /* pidfd */
    uint64_t word;
} watched; /* constant while the thread runs */

static void *wait_for_end(void *unused)
{
    static const _Atomic uint32_t never;

    (void)unused;
    for (;;) {
        (void)tine__sys_poll_in(watched.parent, -1);
        if (!tine__owner_word_lives(watched.word))
            kill(getpid(), SIGKILL);
        /* The program has closed the descriptor, or another file is there now. */
        (void)tine__sys_futex_wait(&never, 0, LOOK_NS);
    }
    return NULL;
}

int tine__daemon_begin(int parent, uint64_t parent_word)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t saved;
    int rc = pthread_attr_init(&attributes);

    if (rc != 0)
        return -rc;
    watched = (struct watched){.parent = parent, .word = parent_word};
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    tine__sig_block(&saved);
    rc = pthread_create(&thread, &attributes, wait_for_end, NULL);
    tine__sig_restore(&saved);
    pthread_attr_destroy(&attributes);
    return -rc;
}
