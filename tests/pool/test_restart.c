/* SPDX-License-Identifier: MIT */
/* Workers that die and die, or cannot be started: when that is delayed, and when it is the pool's
   end. */
#include "pool/restart.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pool.h>
#include <tine/process.h>

#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define STORM  26
#define FAILED 12

/* ---- the rule -------------------------------------------------------------------------------- */

static bool die_young(struct tine__restart *restart, uint64_t done)
{
    return tine__restart_died(restart,
                              &(struct tine__victim){.done = done, .born_ns = tine__now_ns()});
}

static unsigned deaths_until_storm(struct tine__restart *restart, uint64_t done)
{
    for (unsigned i = 1; i <= 2 * STORM; i++)
        if (die_young(restart, done))
            return i;
    return 0;
}

TEST(so_many_young_deaths_in_a_row_are_a_storm)
{
    struct tine__restart restart = {.next = 0};

    ck_assert_uint_eq(deaths_until_storm(&restart, 0), STORM);
}

TEST(a_finished_unit_of_any_worker_ends_a_storm)
{
    struct tine__restart restart = {.next = 0};

    for (unsigned i = 1; i < STORM; i++)
        ck_assert(!die_young(&restart, 7));
    ck_assert_uint_eq(deaths_until_storm(&restart, 8), STORM);
}

TEST(who_has_lived_a_while_is_no_victim_of_a_storm)
{
    struct tine__restart restart = {.next = 0};

    for (unsigned i = 0; i < 10 * STORM; i++)
        ck_assert(!tine__restart_died(
            &restart, &(struct tine__victim){.born_ns = tine__now_ns() - TINE_SEC(1)}));
}

TEST(those_that_are_killed_together_count_as_one)
{
    struct tine__restart restart = {.next = 0};
    struct tine__victim victim = {.born_ns = tine__now_ns()};

    for (unsigned i = 0; i < 10 * STORM; i++)
        ck_assert(!tine__restart_died(&restart, &victim));
}

TEST(barren_deaths_are_delayed_more_and_more)
{
    struct tine__restart restart = {.next = 0};

    for (unsigned i = 1; i <= 16; i++) {
        ck_assert(!die_young(&restart, 0));
        ck_assert_int_eq(restart.next, 0);
    }
    for (int64_t delay = TINE_MS(1); delay < TINE_MS(512); delay *= 2) {
        int64_t before = tine__now_ns();

        (void)die_young(&restart, 0);
        ck_assert_int_ge(restart.next, before + delay);
        ck_assert_int_eq(restart.delay_ns, delay);
    }
    ck_assert(!tine__restart_died(&restart, &(struct tine__victim){.finished = true, .done = 1}));
    ck_assert_int_eq(restart.next, 0);
}

TEST(starts_that_fail_are_the_end_only_where_nobody_is_alive)
{
    struct tine__restart restart = {.next = 0};

    for (unsigned i = 1; i < 3 * FAILED; i++)
        ck_assert(!tine__restart_failed(&restart, 1));
    ck_assert(tine__restart_failed(&restart, 0));
    tine__restart_done(&restart, tine__now_ns());
    for (unsigned i = 1; i < FAILED; i++)
        ck_assert(!tine__restart_failed(&restart, 0));
    ck_assert(tine__restart_failed(&restart, 0));
}

/* ---- pools ----------------------------------------------------------------------------------- */

static int die(tine_call *call)
{
    (void)call;
    return raise(SIGKILL);
}

static void assert_broken(tine_pool *pool, const tine_failure *failure, const char *why)
{
    tine_future *future = NULL;
    tine_failure again = {0};

    ck_assert_rc(failure->code, TINE_EBROKEN);
    ck_assert_msg(strstr(failure->message, why) != NULL, "%s", failure->message);
    ck_assert_rc(tine_pool_failure(pool, &again), 1);
    ck_assert_str_eq(again.message, failure->message);
    ck_assert_rc(tine_pool_submit(&future, pool, die, NULL, ""), TINE_EBROKEN);
}

TEST(a_task_that_always_kills_its_worker_breaks_the_pool_that_runs_nothing_else)
{
    tine_failure failure = {0};
    tine_job_options options = {.retries = TINE_UNLIMITED, .failure = &failure};
    tine_pool *pool = pool_of(2);
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_apply(&results, pool, die, &options, ""), TINE_EBROKEN);
    ck_assert_int_eq(failure.signal, SIGKILL);
    assert_broken(pool, &failure, "nothing done");
    ck_assert_uint_ge(pool_counts(pool).deaths, STORM);
    tine_pool_close(pool);
}

/* Each failure for good is something done. */
TEST(tasks_that_fail_for_good_break_nothing)
{
    tine_pool *pool = pool_of(1);

    for (int i = 0; i < STORM + 2; i++) {
        tine_results *results;

        ck_assert_rc(tine_pool_apply(&results, pool, die, NULL, ""), TINE_EWORKER);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, STORM + 2);
    tine_pool_close(pool);
}

static void open_pool_for_nobody(void *unused)
{
    struct rlimit limit = {.rlim_cur = 2, .rlim_max = 2}; /* this one, and the nursery */
    tine_failure failure = {0};
    tine_job_options options = {.failure = &failure};
    tine_results *results;
    tine_pool *pool;

    (void)unused;
    child_becomes_user();
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = TINE_FORK, .workers = 2}), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, die, &options, ""), TINE_EBROKEN);
    assert_broken(pool, &failure, "no worker can be started");
    ck_assert_int_eq(failure.error, -EAGAIN);
    tine_pool_close(pool);
}

TEST(a_pool_that_can_start_no_worker_is_broken)
{
    struct child child;

    if (getuid() != 0)
        SKIP("only root can become a user without other processes");
    if (suite_under_tsan())
        SKIP("the sanitizer's own threads count as processes");
    child = child_start(open_pool_for_nobody, NULL);
    child_join(&child);
}

SUITE_OF_POOLS("pool/restart")
