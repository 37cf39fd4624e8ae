/* SPDX-License-Identifier: MIT */
/*
 * Workers are SIGKILLed at random instants while jobs of every kind run. Without retries exactly
 * what they had in hand is lost, once, and named; with retries nothing is.
 */
#include <tine.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS        200
#define KILLS_A_KIND 80 /* of job */
#define WORKERS      3
#define ROUND_MAX    3 /* victims of one job */

/* A pool and its hunter. */
struct field {
    tine_pool *pool;
    struct hunt hunt;
    struct load_heap heap;
};

static void field_open(struct field *field)
{
    field->heap = load_heap_begin();
    field->pool = load_pool(WORKERS);
    hunt_begin(&field->hunt, getpid());
}

static void field_close(struct field *field)
{
    load_await_size(field->pool, field->hunt.total);
    tine_pool_close(field->pool);
    load_heap_end(&field->heap, field->hunt.total);
}

/* At a random place of the job's work, or a random time after it was submitted. */
static void kill_one(struct field *field, const struct load *load)
{
    if (!hunt_aim(&field->hunt))
        return;
    if (random_below(4) == 0)
        pause_randomly(TINE_US(300));
    else
        load_await_place(load);
    hunt_strike(&field->hunt);
}

/* One job with a few kills in it. */
static void run_under_fire(struct field *field, struct load *load, enum load_kind kind,
                           int32_t retries)
{
    unsigned wanted = random_below(4) == 0 ? 1 + (unsigned)random_below(ROUND_MAX) : 1;

    hunt_forget(&field->hunt);
    load_start(load, kind, field->pool, &(tine_job_options){.retries = retries});
    for (unsigned i = 0; i < wanted; i++)
        kill_one(field, load);
    load_finish(load);
}

static void lose_what_is_in_hand(enum load_kind kind, struct samples *samples)
{
    size_t kills = kills_wanted(KILLS_A_KIND), failed = 0, jobs = 0;
    struct field field;
    struct load load;

    field_open(&field);
    for (; field.hunt.total < kills; jobs++) {
        run_under_fire(&field, &load, kind, 0);
        load_check_lost(&load, &field.hunt);
        for (size_t i = 0; i < (kind == LOAD_SUBMIT ? load.n : 1); i++)
            failed += load.codes[i] != 0;
        load_free(&load);
        load_await_size(field.pool, field.hunt.total);
        if (field.hunt.count > 0)
            samples_add(samples, (uint64_t)(now_ns() - field.hunt.death_ns));
    }
    printf("kind %d: %ju kills in %zu jobs, %zu failures\n", kind, (uintmax_t)field.hunt.total,
           jobs, failed);
    field_close(&field);
    samples_end(samples);
}

TEST(a_killed_worker_loses_only_its_item_or_chunk, .kills = KILLS_A_KIND, .timeout_s = 60,
     .loop_end = LOAD_KINDS)
{
    struct samples samples = {.name = "worker.killed.settled", .bound_ns = (uint64_t)TINE_MS(100)};

    lose_what_is_in_hand((enum load_kind)loop_index, &samples);
}

static void lose_nothing(enum load_kind kind)
{
    size_t kills = kills_wanted(KILLS_A_KIND);
    uint64_t repeats = 0;
    struct field field;
    struct load load;

    field_open(&field);
    while (field.hunt.total < kills) {
        run_under_fire(&field, &load, kind, TINE_UNLIMITED);
        load_check_whole(&load);
        ck_assert_uint_le(load_repeats(&load), field.hunt.count * load.chunk);
        repeats += load_repeats(&load);
        load_free(&load);
    }
    printf("kind %d: %ju kills, %ju items run again\n", kind, (uintmax_t)field.hunt.total,
           (uintmax_t)repeats);
    field_close(&field);
}

TEST(with_retries_nothing_is_lost, .kills = KILLS_A_KIND, .timeout_s = 60, .loop_end = LOAD_KINDS)
{
    lose_nothing((enum load_kind)loop_index);
}

/* ---- the wait for the dead ------------------------------------------------------------------- */

static int wait_for_death(tine_call *call)
{
    struct gate **gate = tine_call_context(call);

    gate_raise(*gate);
    return pause();
}

/* The killed worker runs the only item there is: how long until its caller knows? */
TEST(the_caller_is_told_within_the_bound, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "worker.killed.told", .bound_ns = (uint64_t)TINE_MS(100)};
    struct gate *gate = gate_new();
    tine_failure failure;
    tine_job_options options = {.context = &gate, .context_size = sizeof gate, .failure = &failure};
    size_t kills = kills_wanted(KILLS);
    tine_pool *pool = load_pool(1);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    for (uint32_t i = 1; i <= kills; i++) {
        tine_future *future;

        ck_assert_ok(tine_pool_submit(&future, pool, wait_for_death, &options, ""));
        gate_await(gate, i);
        hunt_forget(&hunt);
        ck_assert_int_ne(hunt_kill(&hunt, TINE_US(300)), 0);
        ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
        samples_add(&samples, (uint64_t)(now_ns() - hunt.death_ns));
        ck_assert_rc(tine_future_result(future, 0, NULL), TINE_EWORKER);
        ck_assert_int_eq(failure.pid, hunt.victims[0]);
        ck_assert_int_eq(failure.signal, SIGKILL);
        tine_future_close(future);
    }
    tine_pool_close(pool);
    samples_end(&samples);
}

SUITE_BY_METHOD("kill/worker")
