/* SPDX-License-Identifier: MIT */
/*
 * TINE_FORK: the process is a fork of the program.
 *
 * It waits at a gate until its parent knows it by a pidfd: else one that ends at once could be
 * reaped by the program's own waitpid(-1) before, and would be another process's pid by then. A
 * parent that dies meanwhile will not open the gate, and the process goes on without. Before it opens
 * the gate, a parent with one thread finds out what both would have to ask the kernel.
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

/* False: nobody has opened it. */
TINE__EARLY static bool await_gate(const struct tine__birth *birth)
{
    _Atomic uint32_t *gate = &birth->shared->gate;
    uint32_t seen = TINE__GATE_SHUT;

    /* acquire: pairs with the parent's release */
    atomic_compare_exchange_strong_explicit(gate, &seen, TINE__GATE_AWAITED, memory_order_acquire,
                                            memory_order_acquire);
    while (atomic_load_explicit(gate, memory_order_acquire) != TINE__GATE_OPEN)
        if (tine__sys_futex_wait(gate, TINE__GATE_AWAITED, LOOK_NS) < 0 &&
            tine__sys_poll_in(birth->parent, 0) > 0)
            return false;
    return true;
}

static void open_gate(struct tine__process_shm *shared)
{
    if (atomic_exchange_explicit(&shared->gate, TINE__GATE_OPEN, memory_order_release) ==
        TINE__GATE_AWAITED)
        tine__sys_futex_wake(&shared->gate, 1);
}

/* What other threads have printed since the flush is the parent's to write. */
static void drop_output(void)
{
    __fpurge(stdout);
    __fpurge(stderr);
}

TINE__EARLY int tine__start_fork(struct tine_process *process, const struct tine__birth *birth)
{
    bool clean, told, alone = TINE__ALONE;
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
        told = await_gate(birth) && alone;
        tine__sig_default(told ? birth->shared->handled : tine__sig_handled());
        tine__sig_restore(&saved);
        tine__begin(birth);
    }
    if (pid > 0) {
        process->pid = pid;
        if (alone) /* nobody has changed one since the fork; the child is not there yet */
            birth->shared->handled = tine__sig_handled();
        open_gate(birth->shared);
    }
    tine__sig_restore(&saved);
    return pid < 0 ? pid : 0;
}
