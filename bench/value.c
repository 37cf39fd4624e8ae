/* SPDX-License-Identifier: MIT */
/*
 * value.add, value.add.python: one process adds 1 to a shared number, n times; beside a bare atomic
 * add, and beside Python's Value under its lock.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <stdatomic.h>

static tine_value *value;
static _Atomic int64_t *cell;

static int tine_adds(void *arg)
{
    int rc = 0;

    for (size_t i = *(size_t *)arg; i > 0 && rc == 0; i--) {
        rc = tine_value_add_int(value, 1, NULL);
        work_use(value);
    }
    return rc;
}

static int bare_adds(void *arg)
{
    for (size_t i = *(size_t *)arg; i > 0; i--) {
        atomic_fetch_add(cell, 1);
        work_use(cell);
    }
    return 0;
}

static int ns_per_add(const struct bench_pass *pass, int (*run)(void *), double *ns)
{
    size_t n = pass->n;
    double seconds = 0;
    int rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &n}, &seconds);

    *ns = seconds / (double)n * 1e9;
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *ns)
{
    int64_t total;
    int rc = tine_value_open(&value, 'q', NULL);

    if (rc == 0)
        rc = ns_per_add(pass, tine_adds, ns);
    if (rc == 0)
        rc = tine_value_load_int(value, &total);
    tine_value_close(value);
    if (rc < 0)
        return rc;
    return total == (int64_t)pass->n * (pass->repetitions + 1) ? 0 : BENCH_WRONG;
}

static int bare_side(const struct bench_pass *pass, double *ns)
{
    int rc;

    cell = tine_aligned_alloc(64, sizeof *cell);
    if (!cell)
        return -ENOMEM;
    atomic_store(cell, 0);
    rc = ns_per_add(pass, bare_adds, ns);
    tine_free((void *)cell);
    return rc;
}

#define ADD(title, who, side, count, quick)                                                        \
    {                                                                                              \
        .name = title, .unit = "ns/add", .peer = who, .tine_side = tine_side, .peer_side = side,   \
        .n = count, .n_quick = quick, .repetitions = 9                                             \
    }

static const struct bench_case cases[] = {
    ADD("value.add", "atomic add", bare_side, 5000000, 1000),
    ADD("value.add.python", "Python Value", bench_python, 100000, 1000),
};

const struct bench_group bench_value = BENCH_GROUP(cases);
