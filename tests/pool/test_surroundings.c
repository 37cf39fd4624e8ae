/* SPDX-License-Identifier: MIT */
/* What a process has of its starter as that is at the start, by whichever way it is started. */
#include <tine/process.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>

#include "tests/pool/processes.h"
#include "tests/support/hunt.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static tine_process *start(tine_function *function, int loop_index, void *pointer)
{
    return process_with(function, start_method(loop_index), pointer);
}

/* ---- umask ----------------------------------------------------------------------------------- */

static int check_umask(tine_call *call)
{
    const mode_t *expected;

    ck_assert_rc(tine_args(call, "p", &expected), 0);
    ck_assert_uint_eq(umask(0), *expected);
    return 0;
}

TEST(the_umask_is_that_of_the_start, .loop_end = START_METHODS)
{
    static const mode_t masks[] = {0, 077, 027, 0777};
    mode_t *expected = tine_calloc(1, sizeof *expected), before = umask(0);

    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        *expected = masks[i];
        umask(masks[i]);
        ck_assert_int_eq(process_end(start(check_umask, loop_index, expected)), 0);
        ck_assert_uint_eq(umask(masks[i]), masks[i]);
    }
    umask(before);
    tine_free(expected);
}

/* ---- environment ----------------------------------------------------------------------------- */

static int check_environment(tine_call *call)
{
    const char *expected, *name = "TINE_TEST_SURROUNDINGS", *value = getenv(name);

    ck_assert_rc(tine_args(call, "s", &expected), 0);
    ck_assert_str_eq(value != NULL ? value : "none", expected);
    ck_assert_ptr_null(getenv("TINE_TEST_OTHER"));
    ck_assert_int_eq(setenv(name, "its own", 1), 0);
    ck_assert_str_eq(getenv(name), "its own");
    return 0;
}

static void run_environment(int loop_index, const char *expected)
{
    tine_process_options options = {.start = start_method(loop_index)};
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, check_environment, &options, "s", expected), 0);
    ck_assert_int_eq(process_end(process), 0);
}

TEST(the_environment_is_that_of_the_start, .loop_end = START_METHODS)
{
    char long_value[3000];

    memset(long_value, 'x', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = '\0';
    run_environment(loop_index, "none");
    ck_assert_int_eq(setenv("TINE_TEST_SURROUNDINGS", "one", 1), 0);
    run_environment(loop_index, "one");
    ck_assert_int_eq(setenv("TINE_TEST_SURROUNDINGS", "", 1), 0);
    run_environment(loop_index, "");
    ck_assert_int_eq(setenv("TINE_TEST_SURROUNDINGS", long_value, 1), 0);
    run_environment(loop_index, long_value);
    ck_assert_int_eq(unsetenv("TINE_TEST_SURROUNDINGS"), 0);
    run_environment(loop_index, "none");
}

static int check_empty(tine_call *call)
{
    (void)call;
    ck_assert(environ == NULL || environ[0] == NULL);
    return 0;
}

TEST(it_may_be_empty, .loop_end = START_METHODS)
{
    tine_process *process;

    ck_assert_int_eq(clearenv(), 0);
    process = process_of(check_empty, start_method(loop_index));
    ck_assert_int_eq(process_end(process), 0);
}

struct lineage {
    struct gate go, done;
};

/* Its fork looks at the environment when it has ended, and what it shared with its starter is
   gone. */
static int leave_a_fork(tine_call *call)
{
    struct lineage *lineage;

    ck_assert_rc(tine_args(call, "p", &lineage), 0);
    if (fork() != 0)
        return 0;
    gate_await(&lineage->go, 1);
    if (strcmp(getenv("TINE_TEST_SURROUNDINGS"), "inherited") == 0)
        gate_raise(&lineage->done);
    _exit(0);
}

TEST(forks_of_a_process_keep_it, .loop_end = START_METHODS)
{
    struct lineage *lineage = tine_calloc(1, sizeof *lineage);
    void *reused[64];

    orphans_adopt();
    ck_assert_int_eq(setenv("TINE_TEST_SURROUNDINGS", "inherited", 1), 0);
    ck_assert_int_eq(process_end(start(leave_a_fork, loop_index, lineage)), 0);
    for (int i = 0; i < 64; i++) {
        reused[i] = tine_alloc((size_t)256 << (i % 8));
        memset(reused[i], 'r', (size_t)256 << (i % 8));
    }
    gate_raise(&lineage->go);
    gate_await(&lineage->done, 1);
    for (int i = 0; i < 64; i++)
        tine_free(reused[i]);
    orphans_reap();
    tine_free(lineage);
}

/* ---- limits ---------------------------------------------------------------------------------- */

#define CHANGED 3
static const __rlimit_resource_t changed[CHANGED] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_STACK};

static int check_limits(tine_call *call)
{
    const struct rlimit *expected;

    ck_assert_rc(tine_args(call, "p", &expected), 0);
    for (int i = 0; i < CHANGED; i++) {
        struct rlimit limit;

        ck_assert_int_eq(getrlimit(changed[i], &limit), 0);
        ck_assert_uint_eq(limit.rlim_cur, expected[i].rlim_cur);
        ck_assert_uint_eq(limit.rlim_max, expected[i].rlim_max);
    }
    return 0;
}

/* The test is a process of its own, so the limits end with it. */
TEST(limits_are_those_of_the_start, .loop_end = START_METHODS)
{
    struct rlimit *limits = tine_calloc(CHANGED, sizeof *limits);

    for (int i = 0; i < CHANGED; i++)
        ck_assert_int_eq(getrlimit(changed[i], &limits[i]), 0);
    ck_assert_int_eq(process_end(start(check_limits, loop_index, limits)), 0);
    limits[0].rlim_cur = limits[0].rlim_max = 0;
    limits[1].rlim_cur = 200;
    limits[2].rlim_cur = 4 << 20;
    for (int i = 0; i < CHANGED; i++)
        ck_assert_int_eq(setrlimit(changed[i], &limits[i]), 0);
    ck_assert_int_eq(process_end(start(check_limits, loop_index, limits)), 0);
    tine_free(limits);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int check_niceness(tine_call *call)
{
    int64_t expected;

    ck_assert_rc(tine_args(call, "q", &expected), 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), expected);
    return 0;
}

TEST(the_niceness_is_that_of_the_start, .loop_end = START_METHODS)
{
    tine_process_options options = {.start = start_method(loop_index)};
    tine_process *process;
    int64_t nicer = getpriority(PRIO_PROCESS, 0) + 1;

    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, (int)nicer), 0);
    if (getpriority(PRIO_PROCESS, 0) != nicer)
        SKIP("it cannot be nicer");
    ck_assert_rc(tine_process_start(&process, check_niceness, &options, "q", nicer), 0);
    ck_assert_int_eq(process_end(process), 0);
}

static int check_cpus(tine_call *call)
{
    const cpu_set_t *expected;
    cpu_set_t own;

    ck_assert_rc(tine_args(call, "p", &expected), 0);
    ck_assert_int_eq(sched_getaffinity(0, sizeof own, &own), 0);
    ck_assert(CPU_EQUAL(&own, expected));
    return 0;
}

TEST(the_cpus_are_those_of_the_start, .loop_end = START_METHODS)
{
    cpu_set_t *cpus = tine_calloc(1, sizeof *cpus);
    size_t first = 0;

    ck_assert_int_eq(sched_getaffinity(0, sizeof *cpus, cpus), 0);
    while (!CPU_ISSET(first, cpus))
        first++;
    CPU_ZERO(cpus);
    CPU_SET(first, cpus);
    ck_assert_int_eq(sched_setaffinity(0, sizeof *cpus, cpus), 0);
    ck_assert_int_eq(process_end(start(check_cpus, loop_index, cpus)), 0);
    tine_free(cpus);
}

static int check_mask(tine_call *call)
{
    sigset_t mask;

    (void)call;
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    ck_assert_int_eq(sigismember(&mask, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&mask, SIGRTMAX), 1);
    ck_assert_int_eq(sigismember(&mask, SIGUSR2), 0);
    ck_assert_int_eq(sigismember(&mask, SIGTERM), 0);
    return 0;
}

TEST(the_signal_mask_is_that_of_the_start, .loop_end = START_METHODS, .own_signals = true)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGRTMAX);
    ck_assert_int_eq(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
    ck_assert_int_eq(process_end(start(check_mask, loop_index, NULL)), 0);
}

SUITE_WITH_INIT("pool/surroundings")
