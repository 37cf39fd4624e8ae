/* SPDX-License-Identifier: MIT */
/*
 * Processes of a pool are stopped for a while at random instants. What a stopped worker has in hand
 * waits for it, its siblings do all the rest, and nothing is lost or done twice.
 */
#include <tine.h>

#include <signal.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/proc.h"
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
        ck_assert(hunt_signal(hunt.keeper, hunt.nursery, SIGSTOP));
        finish_unharmed(&load);
        ck_assert(hunt_signal(hunt.keeper, hunt.nursery, SIGCONT));
    }
    tine_pool_close(pool);
}

/* ---- one that was woken, and takes something else first -------------------------------------- */

#define ROUNDS 8 /* calls with keys and others take turns, so in half of them it is the other one */

static int pass_gates(tine_call *call)
{
    struct gate *const *gates = tine_call_context(call);

    gate_raise(gates[0]);
    if (gates[1] != NULL)
        gate_await(gates[1], 1);
    return tine_return(call, "q", (int64_t)getpid());
}

static tine_future *submit_gates(tine_pool *pool, uint64_t key, struct gate *come, struct gate *go)
{
    struct gate *gates[] = {come, go};
    tine_future *future;

    ck_assert_ok(tine_pool_submit(
        &future, pool, pass_gates,
        &(tine_job_options){.key = key, .context = gates, .context_size = sizeof gates}, ""));
    return future;
}

static pid_t finish_gates(tine_future *future)
{
    int64_t pid = 0;

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &pid), 0);
    tine_future_close(future);
    return (pid_t)pid;
}

static void await_state(pid_t pid, char state)
{
    struct proc proc;

    ck_assert_eventually(proc_read(pid, &proc) && proc.state == state);
}

/* A worker that sleeps is woken for a call; before it is up its key has one, too, a long one. The
   other worker could run the first, and nobody waits in a call of the library that would see to
   that. */
static void wake_for_both(tine_pool *pool, pid_t nursery, pid_t owner)
{
    struct gate *gates = tine_calloc(3, sizeof *gates);
    tine_future *plain, *keyed;

    ck_assert_ptr_nonnull(gates);
    await_state(owner, 'S');
    ck_assert(hunt_signal(nursery, owner, SIGSTOP));
    await_state(owner, 'T');
    plain = submit_gates(pool, 0, &gates[0], NULL);
    keyed = submit_gates(pool, 7, &gates[1], &gates[2]);
    ck_assert(hunt_signal(nursery, owner, SIGCONT));
    gate_await(&gates[0], 1);
    gate_raise(&gates[2]);
    finish_gates(plain);
    ck_assert_int_eq(finish_gates(keyed), owner);
    tine_free(gates);
}

TEST(who_was_woken_for_a_call_and_takes_another_wakes_the_next)
{
    tine_pool_options options = {.workers = 2, .flags = TINE_POOL_NO_SPIN};
    struct gate *gate = tine_calloc(1, sizeof *gate);
    struct hunt hunt;
    tine_pool *pool;
    pid_t owner;

    ck_assert_ok(tine_pool_open(&pool, &options));
    load_await_size(pool, 0);
    hunt_begin(&hunt, getpid());
    owner = finish_gates(submit_gates(pool, 7, gate, NULL));
    for (int i = 0; i < ROUNDS; i++)
        wake_for_both(pool, hunt.nursery, owner);
    tine_pool_close(pool);
    tine_free(gate);
}

SUITE_BY_METHOD("kill/stopped")
