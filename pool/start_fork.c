/* SPDX-License-Identifier: MIT */
/*
 * TINE_FORK: the process is a fork of the program.
 *
 * It waits at a gate until its parent knows it by a pidfd: else one that ends at once could be
 * reaped by the program's own waitpid(-1) before, and would be another process's pid by then. A
 * parent that dies meanwhile will not open the gate, and the process goes on without.
 *
 * Which signals have handlers, the child has to know, and takes 62 system calls to find out. A
 * parent with one thread does it for both, while the child comes to its feet.
 */
#include "pool/start.h"

#include <stdio.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/sig.h"
#include "lib/sys.h"

#define LOOK_NS TINE_MS(50)

TINE__EARLY static void await_gate(const struct tine__birth *birth)
{
    _Atomic uint32_t *gate = &birth->shared->gate;
    uint32_t seen = TINE__GATE_SHUT;

    /* acquire: pairs with the parent's release */
    atomic_compare_exchange_strong_explicit(gate, &seen, TINE__GATE_AWAITED, memory_order_acquire,
                                            memory_order_acquire);
    while (atomic_load_explicit(gate, memory_order_acquire) != TINE__GATE_OPEN)
        if (tine__sys_futex_wait(gate, TINE__GATE_AWAITED, LOOK_NS) < 0 &&
            tine__sys_poll_in(birth->parent, 0) > 0)
            return;
}

static void open_gate(struct tine__process_shm *shared)
{
    if (atomic_exchange_explicit(&shared->gate, TINE__GATE_OPEN, memory_order_release) ==
        TINE__GATE_AWAITED)
        tine__sys_futex_wake(&shared->gate, 1);
}

/* With all signals blocked, one thread, and so with the handlers of the moment of the fork. */
static void tell_handled(struct tine__process_shm *shared)
{
    shared->handled = tine__sig_handled();
    /* release: pairs with the acquire in find_handled */
    atomic_store_explicit(&shared->handled_told, 1, memory_order_release);
}

/* The child does not wait for it: it finds out by itself what it is not told in time. */
TINE__EARLY static uint64_t find_handled(const struct tine__process_shm *shared)
{
    if (atomic_load_explicit(&shared->handled_told, memory_order_acquire) != 0)
        return shared->handled;
    return tine__sig_handled();
}

/* What other threads have printed since the flush is the parent's to write. */
static void drop_output(void)
{
    __fpurge(stdout);
    __fpurge(stderr);
}

TINE__EARLY int tine__start_fork(struct tine_process *process, const struct tine__birth *birth)
{
    bool clean, alone = TINE__ALONE;
    sigset_t saved;
    pid_t pid;

    tine__start_warn_of_threads("process");
    clean = tine__start_flush();
    tine__sig_block(&saved); /* no handler of the program's runs in the child */
    pid = tine__sys_fork_over(&process->pidfd, birth->parent);
    if (pid == 0) {
        if (!clean)
            drop_output();
        tine__children_forget();
        await_gate(birth);
        tine__sig_default(find_handled(birth->shared));
        tine__sig_restore(&saved);
        tine__begin(birth);
    }
    if (pid > 0) {
        process->pid = pid;
        open_gate(birth->shared);
        if (alone)
            tell_handled(birth->shared);
    }
    tine__sig_restore(&saved);
    return pid < 0 ? pid : 0;
}
