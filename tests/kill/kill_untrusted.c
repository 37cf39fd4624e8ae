/* SPDX-License-Identifier: MIT */
/*
 * Untrusted workers and their guests, killed at random: no item is lost, none gives another's
 * result, and no guest outlives its worker.
 */
#include <tine.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/kill/methods.h"
#include "tests/support/hunt.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   50
#define WORKERS 2
#define ITEMS   400
#define ROUND   10 /* kills in a job; a pool breaks when many more die with nothing done */

static int square(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc : tine_return(call, "q", number * number);
}

/* A random worker's guest, or 0. */
static pid_t find_guest(const struct hunt *hunt, pid_t *worker)
{
    pid_t guest = 0;

    *worker = hunt_worker(hunt);
    return *worker != 0 && hunt_children(*worker, &guest, 1) > 0 ? guest : 0;
}

static bool kill_guest(const struct hunt *hunt)
{
    pid_t worker, guest = find_guest(hunt, &worker);

    pause_randomly(TINE_MS(1));
    return guest != 0 && hunt_signal(worker, guest, SIGKILL);
}

static void check_results(tine_future *future)
{
    const tine_results *results;
    int64_t number;

    ck_assert_ok(tine_future_results(future, TINE_FOREVER, &results));
    ck_assert_uint_eq(tine_results_count(results), ITEMS);
    for (int64_t i = 0; i < ITEMS; i++) {
        ck_assert_ok(tine_results_get(results, (size_t)i, "q", &number));
        ck_assert_int_eq(number, i * i);
    }
}

static tine_pool *open_untrusted(void)
{
    tine_pool *pool;
    int rc = tine_pool_open(&pool,
                            &(tine_pool_options){.workers = WORKERS, .flags = TINE_POOL_UNTRUSTED});

    if (rc == -ENOTSUP)
        suite_skip("this kernel has no such sandbox");
    ck_assert_ok(rc);
    return pool;
}

static void pack_items(tine_buffer *args)
{
    for (int64_t i = 0; i < ITEMS; i++)
        ck_assert_ok(tine_pack(args, "[q]", i));
}

/* Guests, or their workers. */
TEST(killed_at_random_they_lose_nothing, .kills = KILLS, .loop_end = 2)
{
    tine_pool *pool = open_untrusted();
    tine_job_options options = {.retries = TINE_UNLIMITED, .chunk = 10};
    tine_buffer args = {0};
    tine_pool_counts counts;
    struct hunt hunt = {0};
    size_t kills = 0, wanted = kills_wanted(KILLS);

    pack_items(&args);
    hunt_begin(&hunt, getpid());
    while (kills < wanted) {
        size_t end = kills + ROUND < wanted ? kills + ROUND : wanted;
        tine_future *future;

        ck_assert_ok(tine_pool_starmap_async(&future, pool, square, &args, &options));
        while (!tine_future_done(future) && kills < end)
            kills += loop_index == 0 ? kill_guest(&hunt) : hunt_kill(&hunt, TINE_MS(1)) != 0;
        check_results(future);
        tine_future_close(future);
        hunt_forget(&hunt);
    }
    ck_assert_ok(tine_pool_stats(pool, &counts));
    printf("%zu kills, %ju deaths, %ju retries\n", kills, (uintmax_t)counts.deaths,
           (uintmax_t)counts.retries);
    ck_assert_uint_gt(counts.deaths, 0);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

SUITE_BY_METHOD("kill/untrusted")
