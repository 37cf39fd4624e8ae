/* SPDX-License-Identifier: MIT */
#include "tests/pool/boxed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/suite.h"

struct
try {
    uint32_t number;
    char path[200];
};

int error_of(long rc)
{
    return rc < 0 ? errno : 0;
}

int open_with(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int error = error_of(fd);

    if (fd >= 0)
        close(fd);
    return error;
}

tine_pool *open_boxed(int32_t workers, const tine_sandbox *sandbox)
{
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = workers, .sandbox = sandbox});

    if (rc == -ENOTSUP)
        suite_skip("this kernel has no such sandbox");
    ck_assert_rc(rc, 0);
    return pool;
}

static int try_it(tine_call *call)
{
    const struct try *try = tine_call_context(call);

    return tine_return(call, "q", (int64_t)tries[try->number](try->path));
}

static uint32_t number_of(try_function *function)
{
    uint32_t number = 0;

    for (; tries[number] != function; number++)
        ck_assert_ptr_nonnull(tries[number]);
    return number;
}

int try_in(tine_pool *pool, try_function *function, const char *path, tine_failure *failure)
{
    struct try try = {.number = number_of(function)};
    tine_job_options options = {.context = &try, .context_size = sizeof try, .failure = failure};
    tine_results *results;
    int64_t error;
    int rc;

    if (path != NULL)
        snprintf(try.path, sizeof try.path, "%s", path);
    rc = tine_pool_apply(&results, pool, try_it, &options, "");
    if (rc < 0)
        return rc;
    ck_assert_rc(tine_results_get(results, 0, "q", &error), 0);
    tine_results_close(results);
    return (int)error;
}
