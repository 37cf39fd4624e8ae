/* SPDX-License-Identifier: MIT */
/*
 * Storms: several threads run jobs while all workers are killed at once, and what replaces them is
 * killed again, at once or a little later.
 */
#include <tine.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   400
#define WORKERS 4
#define THREADS 3

struct storm {
    tine_pool *pool;
    int32_t retries;
    _Atomic bool over;
    _Atomic uint64_t jobs, failed;
    _Atomic uint64_t started; /* threads */
};

static void *run_jobs(void *context)
{
    struct storm *storm = context;

    random_fork(atomic_fetch_add(&storm->started, 1));
    while (!atomic_load(&storm->over)) {
        struct load load;

        load_start(&load, (enum load_kind)random_below(LOAD_KINDS), storm->pool,
                   &(tine_job_options){.retries = storm->retries});
        load_finish(&load);
        if (storm->retries == TINE_UNLIMITED)
            load_check_whole(&load);
        else
            atomic_fetch_add(&storm->failed, load_check_broken(&load));
        load_free(&load);
        atomic_fetch_add(&storm->jobs, 1);
    }
    return NULL;
}

static uint64_t kill_again_and_again(struct storm *storm, size_t kills, struct samples *samples)
{
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        int64_t death;

        hunt_forget(&hunt);
        for (uint64_t waves = 1 + random_below(3); waves > 0; waves--) {
            hunt_kill_all(&hunt);
            pause_randomly(TINE_US(500));
        }
        death = hunt.death_ns;
        load_await_size(storm->pool, hunt.total);
        samples_add(samples, (uint64_t)(now_ns() - death));
        pause_randomly(TINE_MS(5));
    }
    return hunt.total;
}

static void rage(int32_t retries, const char *name)
{
    struct samples samples = {.name = name, .bound_ns = (uint64_t)TINE_MS(100)};
    struct storm storm = {.retries = retries};
    struct load_heap heap = load_heap_begin();
    pthread_t threads[THREADS];
    uint64_t kills;

    storm.pool = load_pool(WORKERS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_jobs, &storm), 0);
    kills = kill_again_and_again(&storm, kills_wanted(KILLS), &samples);
    atomic_store(&storm.over, true);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    printf("%s: %ju kills, %ju jobs, %ju of them failed\n", name, (uintmax_t)kills,
           (uintmax_t)storm.jobs, (uintmax_t)storm.failed);
    tine_pool_close(storm.pool);
    samples_end(&samples);
    load_heap_end(&heap, kills);
}

TEST(in_a_storm_retried_jobs_are_whole, .kills = KILLS, .timeout_s = 60)
{
    rage(TINE_UNLIMITED, "storm.retried");
}

TEST(in_a_storm_nothing_runs_twice_without_retries, .kills = KILLS, .timeout_s = 60)
{
    rage(0, "storm.once");
}

SUITE_BY_METHOD("kill/storm")
