/* SPDX-License-Identifier: MIT */
/*
 * Workers are killed that had left loops for something more urgent, or were about to, or just back:
 * each job loses what a dead worker had in hand of it, and nothing that was interrupted.
 */
#include <tine.h>

#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   80
#define WORKERS 3
#define LOADS   3 /* at a time, each more urgent than the one before */

static void start(struct load *load, tine_pool *pool, int number, int32_t retries)
{
    tine_job_options options = {
        .retries = retries, .chunk = 8, .priority = 3 - 4 * number + (int32_t)random_below(2)};

    load_start(load, (enum load_kind)random_below(LOAD_KINDS), pool, &options);
}

static void check(struct load *loads, const struct hunt *hunt, int32_t retries)
{
    for (int i = 0; i < LOADS; i++)
        load_finish(&loads[i]);
    for (int i = 0; i < LOADS; i++) {
        if (retries == 0)
            load_check_lost(&loads[i], hunt);
        else
            load_check_whole(&loads[i]);
        load_free(&loads[i]);
    }
}

TEST(nothing_that_was_interrupted_is_lost, .kills = KILLS, .timeout_s = 60, .loop_end = 2)
{
    int32_t retries = loop_index == 0 ? 0 : TINE_UNLIMITED;
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        struct load loads[LOADS];

        hunt_forget(&hunt);
        for (int i = 0; i < LOADS; i++) {
            start(&loads[i], pool, i, retries);
            if (random_below(2) == 0)
                load_await_place(&loads[i]);
        }
        hunt_kill(&hunt, TINE_US(300));
        check(loads, &hunt, retries);
        load_await_size(pool, hunt.total);
    }
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

SUITE_BY_METHOD("kill/priority")
