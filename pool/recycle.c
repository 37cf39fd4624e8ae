/* SPDX-License-Identifier: MIT */
/*
 * Recycling: a worker that has done enough, or has grown too much, leaves its place to a new one.
 *
 * It looks at itself after each item, and leaves between two: out of the middle of a loop, even of
 * a unit. What it still has in hand then is settled as a death's would be, but nothing fails and
 * nothing counts as a try, for `at` says that user code has no item. worker.leave tells the nursery
 * that it is no death.
 *
 * Its memory is what it shares with nobody: not the family heap, nor files; pages that it has from
 * its parent by fork count. Reading that takes microseconds, so it is looked at once a tick of the
 * clock. While an item runs the nursery looks (pool/limit.c), and kills where it is far too much.
 */
#include "pool/recycle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"

static int own_statm = -1; /* a worker's, from before its sandbox */

static uint64_t read_statm(int fd)
{
    unsigned long long resident, shared;
    char text[128];
    ssize_t size = pread(fd, text, sizeof text - 1, 0);

    text[size < 0 ? 0 : size] = '\0';
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || resident < shared)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t tine__private_bytes(pid_t pid)
{
    char path[32];
    uint64_t bytes;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    bytes = read_statm(fd);
    close(fd);
    return bytes;
}

/* Of this process. A task may have closed the descriptor. */
static uint64_t own_bytes(void)
{
    uint64_t bytes = own_statm < 0 ? 0 : read_statm(own_statm);

    return bytes != 0 ? bytes : tine__private_bytes(getpid());
}

int tine__recycle_set_pool(struct tine__pool_shm *pool, const tine_pool_options *options,
                           bool forked)
{
    uint64_t now;

    pool->max_tasks = options->max_tasks_per_worker;
    pool->max_memory = options->max_memory_per_worker;
    pool->max_growth = options->max_growth_per_worker;
    if (pool->max_memory == 0 && pool->max_growth == 0)
        return 0;
    now = tine__private_bytes(getpid());
    if (now == 0)
        return -ENOTSUP;
    return forked && pool->max_memory != 0 && now >= pool->max_memory ? -EINVAL : 0;
}

void tine__recycle_prepare(const struct tine__pool_shm *pool)
{
    own_statm = -1; /* of a worker whose task has opened this pool */
    if (pool->max_memory != 0 || pool->max_growth != 0)
        own_statm = tine__sys_above_standard(open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
}

void tine__recycle_begin(struct tine__wear *wear, struct tine__pool_shm *pool)
{
    *wear = (struct tine__wear){.pool = pool};
    if (pool->max_growth != 0)
        wear->at_first = own_bytes();
}

static bool has_grown(struct tine__wear *wear)
{
    const struct tine__pool_shm *pool = wear->pool;
    int64_t now = tine__now_coarse_ns();
    uint64_t bytes;

    if (now == wear->looked_ns)
        return false;
    wear->looked_ns = now;
    bytes = own_bytes();
    return (pool->max_memory != 0 && bytes > pool->max_memory) ||
           (pool->max_growth != 0 && bytes > wear->at_first &&
            bytes - wear->at_first > pool->max_growth);
}

void tine__recycle_count(struct tine__wear *wear, struct tine__worker_shm *self)
{
    const struct tine__pool_shm *pool = wear->pool;
    bool due = ++wear->items == pool->max_tasks;

    if (!due && (pool->max_memory != 0 || pool->max_growth != 0))
        due = has_grown(wear);
    if (!due || tine__recycle_leaves(self))
        return;
    atomic_fetch_add_explicit(&wear->pool->recycled, 1, memory_order_relaxed);
    /* Nothing is read by it; the nursery may have written a wish of its own, which this fulfils. */
    atomic_store_explicit(&self->leave, TINE__LEAVES, memory_order_relaxed);
}
