/* SPDX-License-Identifier: MIT */
/* Tasks that take descriptors, and their callers. */
#ifndef TINE_TESTS_POOL_DESCRIPTORS_H
#define TINE_TESTS_POOL_DESCRIPTORS_H

#include <tine/pool.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define ARGUMENTS_MAX 16  /* `F` in one call */
#define KEPT_MAX      256 /* in all unfinished calls */

static inline int write_text(tine_call *call)
{
    const char *text;
    int fd, rc = tine_args(call, "Fs", &fd, &text);

    if (rc < 0)
        return rc;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* Its context is the address of a gate: raised once, it waits for the second time. */
static inline int pass_gate(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, 2);
    return 0;
}

static inline tine_future *occupy(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gate, &options, ""), 0);
    gate_await(gate, 1);
    return future;
}

static inline void await(tine_future *future)
{
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "n"), 0);
    tine_future_close(future);
}

static inline void apply(tine_pool *pool, tine_function *task, int fd)
{
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, task, NULL, "F", fd), 0);
    tine_results_close(results);
}

/* All that is written until nobody can write any more. */
static inline void assert_comes(int fd, const char *expected)
{
    char text[100] = "";
    size_t size = 0;
    ssize_t got;

    while ((got = read(fd, text + size, sizeof text - size)) > 0)
        size += (size_t)got;
    ck_assert_int_eq(got, 0);
    ck_assert_str_eq(text, expected);
    close(fd);
}

static inline pid_t nursery_of_mine(void)
{
    struct hunt hunt = {0};

    hunt_begin(&hunt, getpid());
    return hunt.nursery;
}

static inline int take_it(tine_call *call)
{
    int fd;

    return tine_args(call, "F", &fd);
}

static inline int leave_it(tine_call *call)
{
    (void)call;
    return 0;
}

#endif
