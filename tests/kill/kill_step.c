/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL between any two instructions: a worker is single-stepped from its wake-up through a whole
 * job until it sleeps again, and killed after n steps, for n all over that way; and so is the
 * nursery while it settles a death. With TINE_KILLS ten times as large as the way is long, every
 * instruction has its turn.
 */
#include <tine.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/kill/trace.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS 5 /* a tenth of TINE_KILLS: each takes thousands of steps */
#define ITEMS  3

static tine_pool *open_lone_worker(struct hunt *hunt)
{
    tine_pool_options options = {.workers = 1, .flags = TINE_POOL_NO_SPIN};
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &options));
    load_await_size(pool, 0);
    hunt_begin(hunt, getpid());
    return pool;
}

/* ---- a worker -------------------------------------------------------------------------------- */

struct step_test {
    enum load_kind kind;
    int32_t retries;
    tine_pool *pool;
    struct hunt hunt;
    uint64_t failed;
};

static void start_small(struct step_test *test, struct load *load)
{
    load_start_plan(load, test->kind, test->pool,
                    &(tine_job_options){.chunk = 1, .retries = test->retries},
                    &(struct plan){.n = ITEMS, .light = true});
}

static void check(struct step_test *test, const struct load *load)
{
    if (test->retries == TINE_UNLIMITED) {
        load_check_whole(load);
        ck_assert_uint_le(load_repeats(load), 1);
    } else {
        load_check_lost(load, &test->hunt);
    }
    for (size_t i = 0; i < ITEMS; i++)
        test->failed += load->codes[i] != 0;
}

/* How long the way is from asleep to asleep; 0: processes cannot be traced here. */
static size_t measure_worker(struct step_test *test)
{
    pid_t worker = hunt_worker(&test->hunt);
    struct load load;
    size_t way;

    if (!trace_grip(worker))
        return 0;
    start_small(test, &load);
    way = trace_step(worker, TRACE_FOR_EVER);
    load_finish(&load);
    load_check_whole(&load);
    load_free(&load);
    trace_kill(worker);
    test->hunt.total++;
    load_await_size(test->pool, test->hunt.total);
    return way;
}

static void kill_worker_after(struct step_test *test, size_t steps)
{
    pid_t worker = hunt_worker(&test->hunt);
    struct load load;

    ck_assert(trace_grip(worker));
    start_small(test, &load);
    trace_step(worker, steps);
    trace_kill(worker);
    test->hunt.total++;
    test->hunt.victims[0] = worker;
    test->hunt.count = 1;
    load_finish(&load);
    check(test, &load);
    load_free(&load);
    load_await_size(test->pool, test->hunt.total);
}

static void step_worker(enum load_kind kind, int32_t retries)
{
    struct step_test test = {.kind = kind, .retries = retries};
    size_t points = kills_wanted(POINTS * 10) / 10, way;
    struct load_heap heap = load_heap_begin();

    test.pool = open_lone_worker(&test.hunt);
    way = measure_worker(&test);
    if (way == 0) {
        tine_pool_close(test.pool);
        SKIP("a worker cannot be traced: %s", strerror(errno));
    }
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        kill_worker_after(&test, trace_point(p, points, way));
    printf("kind %d, retries %d: %zu of %zu instructions, %ju items lost\n", kind, retries, points,
           way, (uintmax_t)test.failed);
    tine_pool_close(test.pool);
    load_heap_end(&heap, test.hunt.total);
}

TEST(a_worker_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60,
     .loop_end = LOAD_KINDS, .own_signals = true)
{
    step_worker((enum load_kind)loop_index, 0);
}

TEST(a_retried_job_survives_any_instruction, .kills = POINTS * 10, .timeout_s = 60,
     .loop_end = LOAD_KINDS, .own_signals = true)
{
    step_worker((enum load_kind)loop_index, TINE_UNLIMITED);
}

/* ---- a worker that fetches a descriptor ------------------------------------------------------ */

static int write_byte(tine_call *call)
{
    int fd, rc = tine_args(call, "F", &fd);

    if (rc < 0)
        return rc;
    return write(fd, "x", 1) == 1 ? 0 : -errno;
}

/* As trace_step(), but until the call is done: on the way the worker sleeps, for the nursery's
   answer. */
static size_t step_call(pid_t pid, size_t steps, tine_future *future)
{
    size_t taken = 0;
    bool stopped = true;

    trace_looks(true);
    while (stopped && taken < steps) {
        ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        do
            stopped = trace_await_stop(pid);
        while (!stopped && !tine_future_done(future));
        taken += stopped;
        ck_assert_uint_lt(taken, TRACE_STEPS_MAX);
    }
    trace_looks(false);
    return taken;
}

/* Nobody holds the pipe open when the call is over, whoever died; without a look at the future. */
static void check_fetched(struct step_test *test, tine_future *future, int reader)
{
    int rc;
    char bytes[3];
    ssize_t got, writes = 0;

    while ((got = read(reader, bytes, sizeof bytes)) > 0)
        writes += got;
    ck_assert_int_eq(got, 0);
    rc = tine_future_result(future, TINE_FOREVER, "n");
    ck_assert(rc == 0 || (rc == TINE_EWORKER && test->retries == 0));
    ck_assert_int_ge(writes, rc == 0);
    ck_assert_int_le(writes, test->retries == 0 ? 1 : 2);
    test->failed += rc != 0;
    tine_future_close(future);
    close(reader);
}

/* Returns how many steps it took; 0: processes cannot be traced here. */
static size_t kill_fetcher_after(struct step_test *test, size_t steps)
{
    tine_job_options options = {.retries = test->retries};
    pid_t worker = hunt_worker(&test->hunt);
    tine_future *future;
    size_t taken;
    int ends[2];

    if (!trace_grip(worker))
        return 0;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_ok(tine_pool_submit(&future, test->pool, write_byte, &options, "F", ends[1]));
    close(ends[1]);
    taken = step_call(worker, steps, future);
    trace_kill(worker);
    test->hunt.total++;
    check_fetched(test, future, ends[0]);
    load_await_size(test->pool, test->hunt.total);
    return taken;
}

TEST(a_worker_that_fetches_a_descriptor_may_die_at_any_instruction, .kills = POINTS * 10,
     .timeout_s = 60, .loop_end = 2, .own_signals = true)
{
    struct step_test test = {.retries = loop_index == 0 ? 0 : TINE_UNLIMITED};
    size_t points = kills_wanted(POINTS * 10) / 10, way;
    struct load_heap heap = load_heap_begin();

    test.pool = open_lone_worker(&test.hunt);
    way = kill_fetcher_after(&test, TRACE_FOR_EVER);
    if (way == 0) {
        tine_pool_close(test.pool);
        SKIP("a worker cannot be traced: %s", strerror(errno));
    }
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        kill_fetcher_after(&test, trace_point(p, points, way));
    printf("retries %d: %zu of %zu instructions, %ju calls lost\n", test.retries, points, way,
           (uintmax_t)test.failed);
    tine_pool_close(test.pool);
    load_heap_end(&heap, test.hunt.total);
}

/* ---- the nursery ----------------------------------------------------------------------------- */

/*
 * Kills the only worker in the middle of a job, then the nursery after so many steps of what it
 * does about it. How many steps it took; 0: it cannot be traced.
 */
static size_t kill_nursery_after(struct step_test *test, size_t steps)
{
    struct load load;
    size_t taken;
    pid_t worker;

    test->pool = open_lone_worker(&test->hunt);
    worker = hunt_worker(&test->hunt);
    if (!trace_grip(test->hunt.nursery)) {
        tine_pool_close(test->pool);
        return 0;
    }
    ck_assert(trace_grip(worker));
    start_small(test, &load);
    trace_step(worker, random_below(2000));
    trace_kill(worker);
    taken = trace_step(test->hunt.nursery, steps);
    trace_kill(test->hunt.nursery);
    load_finish(&load);
    test->failed += load_check_broken(&load);
    load_free(&load);
    tine_pool_close(test->pool);
    orphans_reap();
    return taken;
}

TEST(the_nursery_may_die_at_any_instruction_of_a_settlement, .kills = POINTS * 10, .timeout_s = 60,
     .loop_end = LOAD_KINDS, .own_signals = true)
{
    struct step_test test = {.kind = (enum load_kind)loop_index};
    size_t points = kills_wanted(POINTS * 10) / 10, way;
    struct load_heap heap = load_heap_begin();

    orphans_adopt();
    way = kill_nursery_after(&test, TRACE_FOR_EVER);
    if (way == 0)
        SKIP("a nursery cannot be traced: %s", strerror(errno));
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        kill_nursery_after(&test, trace_point(p, points, way));
    printf("kind %d: %zu of %zu instructions of the nursery, %ju jobs failed\n", loop_index, points,
           way, (uintmax_t)test.failed);
    load_heap_end(&heap, 3 * (points + 1));
}

SUITE_BY_METHOD("kill/step")
