/* SPDX-License-Identifier: MIT */
/*
 * limit.soft: how much later than its soft limit a task is told to stop; of n, the 99th percentile.
 *     The task looks at the clock when it begins, and as soon as it is told.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdlib.h>

#define LIMIT_NS    TINE_MS(2)
#define LATE_MAX_MS 5

static int until_asked(tine_call *call)
{
    double begun = bench_now();

    while (!tine_should_stop())
        continue;
    return tine_return(call, "d", bench_now() - begun);
}

static int run_once(tine_pool *pool, double *late)
{
    tine_results *results;
    double took = 0;
    int rc = tine_pool_apply(&results, pool, until_asked,
                             &(tine_job_options){.task_timeout_ns = LIMIT_NS}, "");

    if (rc < 0)
        return rc;
    rc = tine_results_get(results, 0, "d", &took);
    tine_results_close(results);
    *late = took - (double)LIMIT_NS / 1e9; /* its time had begun a moment before its first look */
    return rc;
}

static int soft(const struct bench_pass *pass, double *value)
{
    double *late = calloc(pass->n, sizeof *late);
    tine_pool *pool;
    int rc = late == NULL ? -ENOMEM : tine_pool_open(&pool, &(tine_pool_options){.workers = 1});

    if (rc == 0) {
        for (size_t i = 0; i < pass->n && rc == 0; i++)
            rc = run_once(pool, &late[i]);
        tine_pool_close(pool);
        *value = bench_percentile(late, pass->n, 99) * 1e3;
    }
    free(late);
    return rc;
}

static int soft_goal(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = LATE_MAX_MS;
    return 0;
}

static const struct bench_case cases[] = {
    {
        .name = "limit.soft",
        .unit = "ms (p99)",
        .peer = "goal 5 ms",
        .tine_side = soft,
        .peer_side = soft_goal,
        .n = 500,
        .n_quick = 5,
        .repetitions = 1,
    },
};

const struct bench_group bench_limit = BENCH_GROUP(cases);
