/* SPDX-License-Identifier: MIT */
/*
 * rwlock.read.free, rwlock.write.free: take a reader-writer lock and give it back, n times in one
 * process, nobody else wanting it. tine's with its ledger: who reads or writes is recorded each
 * time.
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

struct side {
    union {
        tine_rwlock tine;
        pthread_rwlock_t posix;
    } * lock;
    size_t n;
};

static int tine_reads(void *arg)
{
    struct side *side = arg;
    int rc = 0;

    for (size_t i = side->n; i > 0 && rc == 0; i--) {
        rc = tine_rwlock_acquire_read(&side->lock->tine, TINE_FOREVER);
        if (rc == 0)
            rc = tine_rwlock_release_read(&side->lock->tine);
    }
    return rc;
}

static int tine_writes(void *arg)
{
    struct side *side = arg;
    int rc = 0;

    for (size_t i = side->n; i > 0 && rc == 0; i--) {
        rc = tine_rwlock_acquire_write(&side->lock->tine, TINE_FOREVER);
        if (rc == 0)
            rc = tine_rwlock_release_write(&side->lock->tine);
    }
    return rc;
}

static int posix_reads(void *arg)
{
    struct side *side = arg;

    for (size_t i = side->n; i > 0; i--)
        if (pthread_rwlock_rdlock(&side->lock->posix) != 0 ||
            pthread_rwlock_unlock(&side->lock->posix) != 0)
            return -EINVAL;
    return 0;
}

static int posix_writes(void *arg)
{
    struct side *side = arg;

    for (size_t i = side->n; i > 0; i--)
        if (pthread_rwlock_wrlock(&side->lock->posix) != 0 ||
            pthread_rwlock_unlock(&side->lock->posix) != 0)
            return -EINVAL;
    return 0;
}

static int map_side(struct side *side)
{
    side->lock =
        mmap(NULL, sizeof *side->lock, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return side->lock == MAP_FAILED ? -errno : 0;
}

static int ns_per_pair(const struct bench_pass *pass, struct side *side, int (*run)(void *),
                       double *value)
{
    side->n = pass->n;
    return bench_each(pass, &(struct bench_work){.run = run, .arg = side}, 1e9, value);
}

static int tine_side(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    struct side side;
    int rc = map_side(&side);

    if (rc == 0)
        rc = tine_rwlock_init(&side.lock->tine, NULL);
    return rc < 0 ? rc : ns_per_pair(pass, &side, run, value);
}

static int posix_side(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    pthread_rwlockattr_t attributes;
    struct side side;
    int rc = map_side(&side);

    if (rc < 0)
        return rc;
    pthread_rwlockattr_init(&attributes);
    rc = pthread_rwlockattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_rwlock_init(&side.lock->posix, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return rc != 0 ? -rc : ns_per_pair(pass, &side, run, value);
}

static int tine_read_side(const struct bench_pass *pass, double *value)
{
    return tine_side(pass, tine_reads, value);
}

static int tine_write_side(const struct bench_pass *pass, double *value)
{
    return tine_side(pass, tine_writes, value);
}

static int posix_read_side(const struct bench_pass *pass, double *value)
{
    return posix_side(pass, posix_reads, value);
}

static int posix_write_side(const struct bench_pass *pass, double *value)
{
    return posix_side(pass, posix_writes, value);
}

static const struct bench_case cases[] = {
    {
        .name = "rwlock.read.free",
        .unit = "ns/pair",
        .peer = "pthread_rwlock pshared",
        .tine_side = tine_read_side,
        .peer_side = posix_read_side,
        .n = 2000000,
        .n_quick = 1000,
        .repetitions = 9,
    },
    {
        .name = "rwlock.write.free",
        .unit = "ns/pair",
        .peer = "pthread_rwlock pshared",
        .tine_side = tine_write_side,
        .peer_side = posix_write_side,
        .n = 2000000,
        .n_quick = 1000,
        .repetitions = 9,
    },
};

const struct bench_group bench_rwlock = BENCH_GROUP(cases);
