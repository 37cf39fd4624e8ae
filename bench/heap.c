/* SPDX-License-Identifier: MIT */
/*
 * heap.64B: allocate 64 bytes, write into them, free them; n times in one process.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <stdlib.h>

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

static const struct bench_case cases[] = {{
    .name = "heap.64B",
    .unit = "ns/pair",
    .peer = "glibc malloc",
    .tine_side = tine_side,
    .peer_side = glibc_side,
    .n = 2000000,
    .n_quick = 1000,
    .repetitions = 9,
}};

const struct bench_group bench_heap = BENCH_GROUP(cases);
