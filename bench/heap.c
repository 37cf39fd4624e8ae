/* SPDX-License-Identifier: MIT */
/*
 * heap.64B: allocate 64 bytes, write into them, free them; n times in one process.
 * heap.64B.speedup: how many times faster two processes do so n times each than one does 2 n times.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK_BYTES 64

static int tine_pairs(void *arg)
{
    for (size_t i = *(size_t *)arg; i > 0; i--) {
        char *block = tine_alloc(BLOCK_BYTES);

        if (!block)
            return -ENOMEM;
        *block = 1;
        work_use(block);
        tine_free(block);
    }
    return 0;
}

static int glibc_pairs(void *arg)
{
    for (size_t i = *(size_t *)arg; i > 0; i--) {
        char *block = malloc(BLOCK_BYTES);

        if (!block)
            return -ENOMEM;
        *block = 1;
        work_use(block);
        free(block);
    }
    return 0;
}

static int ns_per_pair(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    size_t n = pass->n;
    double seconds = 0;
    int rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &n}, &seconds);

    *value = seconds / (double)n * 1e9;
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    return ns_per_pair(pass, tine_pairs, value);
}

static int glibc_side(const struct bench_pass *pass, double *value)
{
    return ns_per_pair(pass, glibc_pairs, value);
}

/* ---- two processes --------------------------------------------------------------------------- */

struct crew {
    int (*run)(void *);
    size_t pairs; /* of each process */
    int processes;
};

static int in_children(void *arg)
{
    struct crew *crew = arg;
    int status, rc = 0;

    for (int i = 0; i < crew->processes; i++) {
        pid_t pid = fork();

        if (pid == 0)
            _exit(crew->run(&crew->pairs) == 0 ? 0 : 1);
        if (pid < 0)
            rc = -errno;
    }
    while (wait(&status) > 0)
        if (status != 0)
            rc = BENCH_WRONG;
    return rc;
}

static int speedup(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    struct crew alone = {run, 2 * pass->n, 1}, both = {run, pass->n, 2};

    tine_free(tine_alloc(BLOCK_BYTES)); /* the heap is made before the children */
    return bench_speedup(pass, &(struct bench_work){.run = in_children, .arg = &alone},
                         &(struct bench_work){.run = in_children, .arg = &both}, value);
}

static int tine_speedup(const struct bench_pass *pass, double *value)
{
    return speedup(pass, tine_pairs, value);
}

static int glibc_speedup(const struct bench_pass *pass, double *value)
{
    return speedup(pass, glibc_pairs, value);
}

static const struct bench_case cases[] = {
    {
        .name = "heap.64B",
        .unit = "ns/pair",
        .peer = "glibc malloc",
        .tine_side = tine_side,
        .peer_side = glibc_side,
        .n = 2000000,
        .n_quick = 1000,
        .repetitions = 9,
    },
    {
        .name = "heap.64B.speedup",
        .unit = "x",
        .peer = "glibc malloc",
        .tine_side = tine_speedup,
        .peer_side = glibc_speedup,
        .n = 10000000,
        .n_quick = 1000,
        .repetitions = 5,
        .more_is_better = true,
    },
};

const struct bench_group bench_heap = BENCH_GROUP(cases);
