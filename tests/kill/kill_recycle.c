/* SPDX-License-Identifier: MIT */
/*
 * Workers that leave their places all the time, and are killed at random instants besides: as they
 * run, as they leave, as they start. Recycling loses nothing; a kill costs what the worker had in
 * hand.
 */
#include <tine.h>

#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   20 /* of each kind of job */
#define WORKERS 3
#define TASKS   9 /* of a worker */

struct field {
    tine_pool *pool;
    struct hunt hunt;
    struct load_heap heap;
};

/* Long enough to be hit: what the worker had in hand is others' by then. */
static void end_in_a_while(void *context, void *state)
{
    (void)context, (void)state;
    for (volatile int i = 0; i < 20000; i++)
        continue;
}

static void field_open(struct field *field)
{
    tine_pool_options options = {
        .workers = WORKERS, .max_tasks_per_worker = TASKS, .finalizer = end_in_a_while};

    field->heap = load_heap_begin();
    ck_assert_ok(tine_pool_open(&field->pool, &options));
    load_await_size(field->pool, 0);
    hunt_begin(&field->hunt, getpid());
}

static int32_t alive(tine_pool *pool, tine_pool_counts *counts)
{
    ck_assert_ok(tine_pool_stats(pool, counts));
    return counts->alive;
}

/* A victim may have left just before it was hit. */
static void field_close(struct field *field, int kind, uint64_t jobs)
{
    tine_pool_counts counts;

    ck_assert_eventually(alive(field->pool, &counts) == WORKERS);
    ck_assert_uint_le(counts.deaths, field->hunt.total);
    ck_assert_uint_gt(counts.recycled, 0);
    printf("kind %d: %ju kills, %ju deaths, %ju recycled in %ju jobs\n", kind,
           (uintmax_t)field->hunt.total, (uintmax_t)counts.deaths, (uintmax_t)counts.recycled,
           (uintmax_t)jobs);
    tine_pool_close(field->pool);
    load_heap_end(&field->heap, field->hunt.total);
}

static void run_under_fire(struct field *field, struct load *load, int kind, int32_t retries)
{
    tine_job_options options = {.retries = retries,
                                .backoff_ns = (int64_t)random_below(TINE_MS(1))};

    hunt_forget(&field->hunt);
    load_start(load, (enum load_kind)kind, field->pool, &options);
    if (random_below(4) == 0)
        hunt_kill(&field->hunt, TINE_US(300));
    else if (hunt_aim(&field->hunt)) {
        load_await_place(load);
        hunt_strike(&field->hunt);
    }
    load_finish(load);
}

TEST(recycling_amid_deaths_loses_only_what_was_in_hand, .kills = KILLS, .timeout_s = 60,
     .loop_end = LOAD_KINDS)
{
    size_t kills = kills_wanted(KILLS);
    uint64_t jobs = 0;
    struct field field;

    field_open(&field);
    for (; field.hunt.total < kills; jobs++) {
        bool again = random_below(2) == 0;
        struct load load;

        run_under_fire(&field, &load, loop_index, again ? TINE_UNLIMITED : 0);
        if (again)
            load_check_whole(&load);
        else
            load_check_lost(&load, &field.hunt);
        load_free(&load);
    }
    field_close(&field, loop_index, jobs);
}

SUITE_BY_METHOD("kill/recycle")
