/* SPDX-License-Identifier: MIT */
#include "tests/pool/untrusted.h"

#include <errno.h>

#include "tests/support/suite.h"

tine_pool *open_untrusted_with(tine_pool_options options)
{
    tine_pool *pool;
    int rc;

    options.flags |= TINE_POOL_UNTRUSTED;
    rc = tine_pool_open(&pool, &options);
    if (rc == -ENOTSUP)
        suite_skip("this kernel has no such sandbox");
    ck_assert_rc(rc, 0);
    return pool;
}

tine_pool *open_untrusted(int32_t workers)
{
    return open_untrusted_with((tine_pool_options){.workers = workers});
}

int apply(tine_pool *pool, tine_function *function, int64_t argument, tine_failure *failure,
          int64_t *result)
{
    tine_job_options options = {.failure = failure, .task_kill_ns = TINE_FOREVER};
    tine_results *results;
    int rc = tine_pool_apply(&results, pool, function, &options, "q", argument);

    if (rc < 0)
        return rc;
    ck_assert_rc(tine_results_get(results, 0, "q", result), 0);
    tine_results_close(results);
    return 0;
}

int increment(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc : tine_return(call, "q", number + 1);
}

void assert_works(tine_pool *pool)
{
    int64_t number = 0;

    ck_assert_rc(apply(pool, increment, 41, NULL, &number), 0);
    ck_assert_int_eq(number, 42);
}
