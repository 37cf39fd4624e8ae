/* SPDX-License-Identifier: MIT */
/*
 * Workers are killed that have nothing to do: asleep, spinning, just woken, just started. No job
 * ever fails for it.
 */
#include <tine.h>

#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   200
#define WORKERS 3

static void run_whole(tine_pool *pool, int32_t retries)
{
    struct load load;

    load_start(&load, (enum load_kind)random_below(LOAD_KINDS), pool,
               &(tine_job_options){.retries = retries});
    load_finish(&load);
    load_check_whole(&load);
    load_free(&load);
}

/* The job is submitted as soon as the worker is dead, so before its death has been dealt with. */
TEST(no_job_fails_for_a_worker_that_died_before_it, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "idle.killed.replaced", .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    for (uint64_t jobs = 0; hunt.total < kills; jobs++) {
        bool all = random_below(8) == 0;

        hunt_forget(&hunt);
        if (all)
            hunt_kill_all(&hunt);
        else
            hunt_kill(&hunt, TINE_MS(1));
        if (jobs % 2 == 0) {
            load_await_size(pool, hunt.total);
            if (hunt.count > 0)
                samples_add(&samples, (uint64_t)(now_ns() - hunt.death_ns));
        }
        run_whole(pool, 0);
    }
    load_await_size(pool, hunt.total);
    tine_pool_close(pool);
    samples_end(&samples);
    load_heap_end(&heap, hunt.total);
}

/* Whoever is being woken may have the job in hand when it dies, so it may run again. */
TEST(a_worker_killed_as_it_wakes_holds_nothing_up, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        load_under_kill(pool, &hunt, TINE_US(100));
    }
    load_await_size(pool, hunt.total);
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

TEST(a_worker_killed_as_it_starts_is_replaced, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    uint64_t total = 0;

    while (total < kills) {
        struct hunt hunt;
        tine_pool *pool;

        ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = WORKERS}));
        hunt_begin(&hunt, getpid());
        for (int i = 0; i < WORKERS; i++)
            hunt_kill(&hunt, TINE_US(200));
        run_whole(pool, 0);
        load_await_size(pool, hunt.total);
        tine_pool_close(pool);
        total += hunt.total;
    }
    load_heap_end(&heap, total);
}

SUITE_BY_METHOD("kill/idle")
