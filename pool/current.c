/* SPDX-License-Identifier: MIT */
/*
 * Who the calling process is, and who has started it.
 *
 * Both handles are private and static: written once, when a process begins, while it has one
 * thread; and where tine has not started the process, by the first look. A plain fork of a process
 * keeps its name, as in Python, but has no parent that tine knows.
 */
#include "pool/process_impl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fork.h"

static struct tine_process self = {.role = TINE__SELF, .pidfd = -1, .name = "MainProcess"};
static struct tine_process parent = {.role = TINE__PARENT, .pidfd = -1};

TINE__EARLY void tine__current_become(const struct tine__process_shm *shared, int parent_pidfd)
{
    uint64_t generation = tine__fork_generation();

    self.pid = getpid();
    self.daemon = shared->daemon != 0;
    memcpy(self.name, shared->name, sizeof self.name);
    memcpy(self.identity, shared->identity, sizeof self.identity);
    self.generation = generation;
    parent.pid = shared->parent_pid;
    parent.pidfd = parent_pidfd;
    parent.daemon = shared->parent_daemon != 0;
    memcpy(parent.name, shared->parent_name, sizeof parent.name);
    parent.generation = generation;
    atomic_store_explicit(&parent.magic, TINE__PROCESS_MAGIC, memory_order_release);
    atomic_store_explicit(&self.magic, TINE__PROCESS_MAGIC, memory_order_release);
}

/* Threads that come here at once write the same. */
tine_process *tine_process_current(void)
{
    uint64_t generation = tine__fork_generation();

    if (self.generation != generation) {
        self.pid = getpid();
        self.generation = generation;
    }
    if (atomic_load_explicit(&self.magic, memory_order_relaxed) == 0) /* else no page is touched */
        atomic_store_explicit(&self.magic, TINE__PROCESS_MAGIC, memory_order_release);
    return &self;
}

tine_process *tine_process_parent(void)
{
    return parent.pidfd >= 0 && parent.generation == tine__fork_generation() ? &parent : NULL;
}

const char *tine__current_identity(void)
{
    return self.identity;
}
