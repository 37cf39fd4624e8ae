/* SPDX-License-Identifier: MIT */
/*
 * The nursery is SIGKILLed: its workers die with it, what ran fails, the pool is broken, and
 * closing it leaves nothing behind.
 */
#include <tine.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS        200
#define KILLS_A_KIND 40 /* of job */
#define WORKERS      2
#define FUTURES      8 /* two running, the others queued behind them */

static int wait_for_death(tine_call *call)
{
    struct gate **gate = tine_call_context(call);

    gate_raise(*gate);
    return pause();
}

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

/* Kills the nursery; returns when it was dead. */
static int64_t kill_nursery(void)
{
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    return hunt_kill_nursery(&hunt);
}

static void check_broken(tine_pool *pool)
{
    tine_future *future;
    tine_pool_counts counts;

    ck_assert_rc(tine_pool_submit(&future, pool, wait_for_death, NULL, ""), TINE_EBROKEN);
    ck_assert_rc(tine_pool_for(pool, 10, do_nothing, NULL), TINE_EBROKEN);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), TINE_EBROKEN);
    ck_assert_ok(tine_pool_stats(pool, &counts));
    ck_assert_int_eq(counts.alive, 0);
}

/* A thread that sleeps in its wait when the nursery dies; when it was told. */
struct waiter {
    tine_future *future;
    _Atomic int tid;
    int64_t told_ns;
};

static void *wait_for_result(void *context)
{
    struct waiter *waiter = context;

    atomic_store(&waiter->tid, gettid());
    ck_assert_rc(tine_future_result(waiter->future, TINE_FOREVER, NULL), TINE_EWORKER);
    waiter->told_ns = now_ns();
    return NULL;
}

/* All jobs, those that wait for a worker included. */
static void fail_all(tine_pool *pool, struct gate *gate, uint32_t *raised, struct samples *samples)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *futures[FUTURES];
    struct waiter waiter = {.tid = 0};
    pthread_t thread;
    int64_t death;

    for (int i = 0; i < FUTURES; i++)
        ck_assert_ok(tine_pool_submit(&futures[i], pool, wait_for_death, &options, ""));
    gate_await(gate, *raised += WORKERS);
    waiter.future = futures[0];
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_result, &waiter), 0);
    ck_assert_eventually(atomic_load(&waiter.tid) != 0 && proc_asleep(atomic_load(&waiter.tid)));
    pause_randomly(TINE_MS(50));
    death = kill_nursery();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    samples_add(samples, waiter.told_ns > death ? (uint64_t)(waiter.told_ns - death) : 0);
    for (int i = 0; i < FUTURES; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), TINE_EWORKER);
        tine_future_close(futures[i]);
    }
}

TEST(what_runs_and_what_waits_fails_within_the_bound, .kills = KILLS, .timeout_s = 60)
{
    struct samples told = {.name = "nursery.killed.told", .bound_ns = (uint64_t)TINE_MS(100)};
    struct samples gone = {.name = "nursery.killed.gone", .bound_ns = (uint64_t)TINE_MS(100)};
    struct load_heap heap = load_heap_begin();
    struct gate *gate = gate_new();
    size_t kills = kills_wanted(KILLS);
    uint32_t raised = 0;

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_pool *pool = load_pool(WORKERS);
        int64_t begin;

        fail_all(pool, gate, &raised, &told);
        begin = now_ns();
        check_broken(pool);
        tine_pool_close(pool);
        orphans_reap();
        samples_add(&gone, (uint64_t)(now_ns() - begin));
    }
    samples_end(&told);
    samples_end(&gone);
    load_heap_end(&heap, kills * (WORKERS + 1));
}

/* At any instant of a job: what has a result has the right one, nothing ran twice. */
TEST(a_job_ends_or_fails_but_never_lies, .kills = KILLS_A_KIND, .timeout_s = 60,
     .loop_end = LOAD_KINDS)
{
    struct samples samples = {.name = "nursery.killed.job", .bound_ns = (uint64_t)TINE_MS(100)};
    struct load_heap heap = load_heap_begin();
    size_t kills = kills_wanted(KILLS_A_KIND), failed = 0;

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_pool *pool = load_pool(WORKERS);
        struct load load;
        int64_t death;

        load_start(&load, (enum load_kind)loop_index, pool, &(tine_job_options){0});
        pause_randomly(TINE_MS(1));
        death = kill_nursery();
        load_finish(&load);
        samples_add(&samples, (uint64_t)(now_ns() - death));
        failed += load_check_broken(&load);
        /* A job that was done needs no nursery; the next one does. */
        ck_assert_rc(tine_pool_for(pool, 10, do_nothing, NULL), TINE_EBROKEN);
        load_free(&load);
        tine_pool_close(pool);
        orphans_reap();
    }
    printf("kind %d: %zu kills, %zu jobs failed\n", loop_index, kills, failed);
    samples_end(&samples);
    load_heap_end(&heap, kills * (WORKERS + 1));
}

/* While it starts its first workers, with nobody waiting. */
TEST(a_pool_whose_nursery_dies_young_is_broken, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_pool *pool;

        ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = WORKERS}));
        pause_randomly(TINE_MS(1));
        kill_nursery();
        if (random_below(2) == 0)
            check_broken(pool);
        tine_pool_close(pool);
        orphans_reap();
    }
    load_heap_end(&heap, kills * (WORKERS + 1));
}

SUITE_BY_METHOD("kill/nursery")
