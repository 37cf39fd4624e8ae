/* SPDX-License-Identifier: MIT */
/*
 * Daemons: a thread waits for the end of the parent and then kills its own process.
 *
 * A thread, because the kernel's parent-death signal follows the *thread* that forked; nothing but
 * a wait wakes up for a pidfd; and another process could be killed first. It has all signals
 * blocked, a small stack, and touches nothing of the program's. It does not survive an exec, nor is
 * it in forks. Its table of descriptors is its own, with the parent's pidfd alone: what the program
 * closes, or opens under that number, is nothing to it.
 */
#include "pool/daemon.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
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

static _Atomic uint32_t ready; /* futex: 1: what the program does with its descriptors is its own */

static void pause_a_while(void)
{
    static const _Atomic uint32_t never;

    (void)tine__sys_futex_wait(&never, 0, LOOK_NS);
}

/* By the thread's own descriptor, which nobody else can close. */
static void wait_alone(void)
{
    while (tine__sys_poll_in(watched.parent, -1) <= 0)
        pause_a_while(); /* no memory */
}

/* By the process's: it may be closed any time, or be another file. */
static void wait_and_look(void)
{
    while (tine__owner_word_lives(watched.word))
        if (tine__sys_poll_in(watched.parent, LOOK_NS) != 0)
            pause_a_while();
}

static void *wait_for_end(void *unused)
{
    bool alone = tine__sys_keep_only(watched.parent) == 0;

    (void)unused;
    atomic_store_explicit(&ready, 1, memory_order_release);
    tine__sys_futex_wake(&ready, 1);
    if (alone)
        wait_alone();
    else
        wait_and_look();
    kill(getpid(), SIGKILL);
    return NULL;
}

static void await_ready(void)
{
    /* acquire: pairs with the release above */
    while (atomic_load_explicit(&ready, memory_order_acquire) == 0)
        (void)tine__sys_futex_wait(&ready, 0, -1);
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
    atomic_store_explicit(&ready, 0, memory_order_relaxed); /* as in a daemon that has forked */
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    tine__sig_block(&saved);
    rc = pthread_create(&thread, &attributes, wait_for_end, NULL);
    tine__sig_restore(&saved);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        await_ready();
    return -rc;
}
