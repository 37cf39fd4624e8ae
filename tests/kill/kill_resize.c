/* SPDX-License-Identifier: MIT */
/*
 * Workers are killed while the pool grows and shrinks, by request or by itself: those that are
 * about to leave, those that have just been started, those that run. What is lost is what they had
 * in hand, and the pool comes to the size that it is to have.
 */
#include <tine.h>

#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   60
#define WORKERS 3
#define MOST    6

/* One that is killed as it leaves may count as dead or not. */
static void await_size(tine_pool *pool, uint64_t kills)
{
    tine_pool_counts counts;

    ck_assert_eventually(tine_pool_stats(pool, &counts) == 0 && counts.alive == counts.workers);
    ck_assert_uint_le(counts.deaths, kills);
}

static void resize(tine_pool *pool)
{
    ck_assert_ok(tine_pool_resize(pool, 1 + (int32_t)random_below(MOST)));
}

static void run_under_fire(tine_pool *pool, struct hunt *hunt, struct load *load,
                           const tine_job_options *options)
{
    hunt_forget(hunt);
    load_start(load, (enum load_kind)random_below(LOAD_KINDS), pool, options);
    resize(pool);
    if (random_below(2) == 0)
        load_await_place(load);
    hunt_kill(hunt, TINE_US(300));
    resize(pool);
    load_finish(load);
}

TEST(nothing_but_what_the_killed_had_in_hand_is_lost, .kills = KILLS, .timeout_s = 60,
     .loop_end = 2)
{
    tine_job_options options = {.retries = loop_index == 0 ? 0 : TINE_UNLIMITED};
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        struct load load;

        run_under_fire(pool, &hunt, &load, &options);
        if (loop_index == 0)
            load_check_lost(&load, &hunt);
        else
            load_check_whole(&load);
        load_free(&load);
        if (random_below(4) == 0)
            await_size(pool, hunt.total);
    }
    await_size(pool, hunt.total);
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

/* Workers idle out and come back, and are killed in between. */
TEST(a_pool_that_sizes_itself_loses_no_more, .kills = KILLS, .timeout_s = 60)
{
    tine_pool_options options = {
        .workers = 1, .workers_max = MOST, .idle_timeout_ns = TINE_US(300)};
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    struct hunt hunt;
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &options));
    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        load_under_kill(pool, &hunt, TINE_US(300));
        pause_randomly(TINE_US(600));
        hunt_kill(&hunt, TINE_US(100));
    }
    await_size(pool, hunt.total);
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

SUITE_BY_METHOD("kill/resize")
