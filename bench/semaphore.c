/* SPDX-License-Identifier: MIT */
/*
 * semaphore.free: take the one permit of a semaphore and give it back, n times in one process,
 * nobody else wanting it. tine's with its ledger: who holds the permit is recorded each time.
 */
#include "bench/bench.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/mman.h>

struct side {
    union {
        tine_semaphore tine;
        sem_t posix;
    } * semaphore;
    size_t n;
};

static int tine_pairs(void *arg)
{
    struct side *side = arg;
    int rc = 0;

    for (size_t i = side->n; i > 0 && rc == 0; i--) {
        rc = tine_semaphore_acquire(&side->semaphore->tine, TINE_FOREVER);
        if (rc == 0)
            rc = tine_semaphore_release(&side->semaphore->tine);
    }
    return rc;
}

static int posix_pairs(void *arg)
{
    struct side *side = arg;

    for (size_t i = side->n; i > 0; i--)
        if (sem_wait(&side->semaphore->posix) < 0 || sem_post(&side->semaphore->posix) < 0)
            return -errno;
    return 0;
}

static int ns_per_pair(const struct bench_pass *pass, struct side *side, int (*run)(void *),
                       double *value)
{
    side->n = pass->n;
    return bench_each(pass, &(struct bench_work){.run = run, .arg = side}, 1e9, value);
}

static int map_side(struct side *side)
{
    side->semaphore = mmap(NULL, sizeof *side->semaphore, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return side->semaphore == MAP_FAILED ? -errno : 0;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct side side;
    int rc = map_side(&side);

    if (rc == 0)
        rc = tine_semaphore_init(&side.semaphore->tine, 1, NULL);
    return rc < 0 ? rc : ns_per_pair(pass, &side, tine_pairs, value);
}

static int posix_side(const struct bench_pass *pass, double *value)
{
    struct side side;
    int rc = map_side(&side);

    if (rc == 0 && sem_init(&side.semaphore->posix, 1, 1) < 0)
        rc = -errno;
    return rc < 0 ? rc : ns_per_pair(pass, &side, posix_pairs, value);
}

static const struct bench_case cases[] = {
    {
        .name = "semaphore.free",
        .unit = "ns/pair",
        .peer = "sem_t pshared",
        .tine_side = tine_side,
        .peer_side = posix_side,
        .n = 2000000,
        .n_quick = 1000,
        .repetitions = 9,
    },
    {
        .name = "semaphore.free.python",
        .unit = "ns/pair",
        .peer = "Python Semaphore",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 500000,
        .n_quick = 1000,
        .repetitions = 5,
    },
};

const struct bench_group bench_semaphore = BENCH_GROUP(cases);
