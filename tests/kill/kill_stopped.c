/* SPDX-License-Identifier: MIT */
/*
 * Processes of a pool are stopped for a while at random instants. What a stopped worker has in hand
 * waits for it, its siblings do all the rest, and nothing is lost or done twice.
 */
#include <tine.h>

#include <signal.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define STOPS   100 /* for each kind of job */
#define WORKERS 3

static void finish_unharmed(struct load *load)
{
    load_finish(load);
    load_check_whole(load);
    ck_assert_uint_eq(load_repeats(load), 0);
    load_free(load);
}

/* Is all done but what the stopped may hold? The wait is part of it: a waiting caller sees to it
   that work is not left lying by a worker that was stopped before it had woken the next. */
static bool rest_is_done(struct load *load, size_t held)
{
    size_t last = load->kind == LOAD_SUBMIT ? load->n - 1 : 0;
    int rc = tine_future_wait(load->futures[last], TINE_MS(1));

    return rc == 0 || load->n - load_done(load) <= held;
}

TEST(the_siblings_of_a_stopped_worker_go_on, .kills = STOPS, .timeout_s = 60,
     .loop_end = LOAD_KINDS)
{
    size_t stops = kills_wanted(STOPS);
    struct load_heap heap = load_heap_begin();
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    for (size_t i = 0; i < stops;) {
        size_t count = 1 + random_below(WORKERS - 1);
        pid_t stopped[WORKERS - 1];
        struct load load;

        load_start(&load, (enum load_kind)loop_index, pool, &(tine_job_options){.chunk = 1});
        for (size_t k = 0; k < count; k++, i++) {
            stopped[k] = hunt_worker(&hunt);
            pause_randomly(TINE_US(500));
            ck_assert(hunt_signal(hunt.nursery, stopped[k], SIGSTOP));
        }
        ck_assert_eventually(rest_is_done(&load, count * load.chunk));
        for (size_t k = 0; k < count; k++)
            ck_assert(hunt_signal(hunt.nursery, stopped[k], SIGCONT));
        finish_unharmed(&load);
    }
    load_await_size(pool, 0);
    tine_pool_close(pool);
    load_heap_end(&heap, 0);
}

/* At short intervals, so that stops fall between any two steps of a worker. */
TEST(stops_and_continuations_lose_nothing, .kills = STOPS, .timeout_s = 60, .loop_end = LOAD_KINDS)
{
    size_t stops = kills_wanted(STOPS);
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    for (size_t i = 0; i < stops;) {
        struct load load;

        load_start(&load, (enum load_kind)loop_index, pool, &(tine_job_options){0});
        for (int k = 0; k < 5; k++, i++) {
            pid_t worker = hunt_worker(&hunt);

            ck_assert(hunt_signal(hunt.nursery, worker, SIGSTOP));
            pause_randomly(TINE_US(200));
            ck_assert(hunt_signal(hunt.nursery, worker, SIGCONT));
        }
        finish_unharmed(&load);
    }
    load_await_size(pool, 0);
    tine_pool_close(pool);
}

TEST(a_stopped_nursery_holds_no_job_up, .kills = STOPS, .timeout_s = 60)
{
    size_t stops = kills_wanted(STOPS);
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    for (size_t i = 0; i < stops; i++) {
        struct load load;

        load_start(&load, (enum load_kind)random_below(LOAD_KINDS), pool, &(tine_job_options){0});
        ck_assert(hunt_signal(getpid(), hunt.nursery, SIGSTOP));
        finish_unharmed(&load);
        ck_assert(hunt_signal(getpid(), hunt.nursery, SIGCONT));
    }
    tine_pool_close(pool);
}

SUITE("kill/stopped")
