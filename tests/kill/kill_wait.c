/* SPDX-License-Identifier: MIT */
/*
 * Those who wait for many things at once, by tine_wait or by a loop of their own, and those who
 * make them ready, are SIGKILLed at random instants. Whatever was made ready is found by those who
 * live, in time.
 */
#include <tine.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/kill/methods.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   50 /* of a kind */
#define OTHERS  20 /* objects that are waited for in vain */
#define WAITERS 4

static tine_event *event_new(void)
{
    tine_event *event = tine_alloc(sizeof *event);

    ck_assert_ptr_nonnull(event);
    ck_assert_rc(tine_event_init(event, NULL), 0);
    return event;
}

/* ---- who makes ready ------------------------------------------------------------------------- */

struct turn {
    tine_event *event, *others[OTHERS];
    struct gate *ready, *told;
    _Atomic int64_t told_ns;
    bool by_loop; /* poll, as an outside loop would */
};

static void wait_among_many(struct turn *turn)
{
    tine_waitable on[OTHERS + 1] = {tine_event_waitable(turn->event)};

    for (int i = 0; i < OTHERS; i++)
        on[i + 1] = tine_event_waitable(turn->others[i]);
    ck_assert_rc(tine_wait(on, OTHERS + 1, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[0].ready, TINE_READABLE);
}

static void wait_by_loop(struct turn *turn)
{
    tine_waitable on = tine_event_waitable(turn->event);
    struct pollfd set = {.fd = tine_waitable_fd(&on), .events = POLLIN};

    ck_assert_ok(set.fd);
    while (tine_event_is_set(turn->event) == 0)
        ck_assert_int_eq(poll(&set, 1, -1), 1);
    tine_waitable_close(set.fd);
}

static void wait_each_turn(void *context)
{
    struct turn *turn = context;

    for (;;) {
        gate_raise(turn->ready);
        if (turn->by_loop)
            wait_by_loop(turn);
        else
            wait_among_many(turn);
        turn->told_ns = now_ns();
        gate_raise(turn->told);
        ck_assert_eventually(tine_event_is_set(turn->event) == 0);
    }
}

static void set_once(void *context)
{
    struct turn *turn = context;

    (void)!tine_event_set(turn->event);
    pause();
}

static struct turn *turn_new(bool by_loop)
{
    struct turn *turn = shared_memory(sizeof *turn);

    turn->event = event_new();
    for (int i = 0; i < OTHERS; i++)
        turn->others[i] = event_new();
    turn->ready = gate_new();
    turn->told = gate_new();
    turn->by_loop = by_loop;
    return turn;
}

TEST(what_a_killed_setter_has_set_is_found, .kills = KILLS, .timeout_s = 60, .loop_end = 2)
{
    struct samples samples = {.name = loop_index ? "wait.fd.setter.killed" : "wait.setter.killed",
                              .bound_ns = (uint64_t)TINE_MS(100)};
    struct turn *turn = turn_new(loop_index == 1);
    struct child waiter = child_start(wait_each_turn, turn);
    uint32_t told = 0, ready = 0;

    for (size_t i = 0; i < kills_wanted(KILLS); i++) {
        struct child setter;
        int64_t death_ns;

        gate_await(turn->ready, ++ready);
        setter = child_start(set_once, turn);
        pause_randomly(TINE_US(600));
        child_kill(&setter);
        death_ns = now_ns();
        if (tine_event_is_set(turn->event) != 1)
            ck_assert_rc(tine_event_set(turn->event), 0);
        gate_await(turn->told, ++told);
        samples_add(&samples, turn->told_ns > death_ns ? (uint64_t)(turn->told_ns - death_ns) : 0);
        ck_assert_rc(tine_event_clear(turn->event), 0);
    }
    child_kill(&waiter);
    samples_end(&samples);
}

/* ---- who waits ------------------------------------------------------------------------------- */

/* Everybody takes permits of one semaphore, which somebody gives all the time. */
struct crowd {
    tine_semaphore *permits;
    tine_event *never;
    _Atomic uint64_t taken[WAITERS];
    struct child giver, waiters[WAITERS];
};

static uint32_t next_number; /* private: of the waiter that is forked next */

static void give_for_ever(void *context)
{
    struct crowd *crowd = context;

    for (;; sched_yield())
        if (tine_semaphore_value(crowd->permits) < 2 && tine_semaphore_release(crowd->permits) < 0)
            ck_abort_msg("the semaphore is gone");
}

static void take_by_wait(struct crowd *crowd, _Atomic uint64_t *taken)
{
    tine_waitable on[2] = {tine_semaphore_waitable(crowd->permits),
                           tine_event_waitable(crowd->never)};

    for (;;) {
        ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1);
        *taken += tine_semaphore_acquire(crowd->permits, 0) == 0;
    }
}

static void take_by_loop(struct crowd *crowd, _Atomic uint64_t *taken)
{
    tine_waitable on = tine_semaphore_waitable(crowd->permits);
    struct pollfd set = {.fd = tine_waitable_fd(&on), .events = POLLIN};

    ck_assert_ok(set.fd);
    for (;;) {
        ck_assert_int_eq(poll(&set, 1, -1), 1);
        *taken += tine_semaphore_acquire(crowd->permits, 0) == 0;
    }
}

static void take_for_ever(void *context)
{
    struct crowd *crowd = context;

    if (next_number % 2 == 0)
        take_by_wait(crowd, &crowd->taken[next_number]);
    else
        take_by_loop(crowd, &crowd->taken[next_number]);
}

static void start_waiter(struct crowd *crowd, uint32_t i)
{
    crowd->taken[i] = 0;
    next_number = i;
    crowd->waiters[i] = child_start(take_for_ever, crowd);
}

static void await_all(struct crowd *crowd)
{
    for (uint32_t i = 0; i < WAITERS; i++) {
        uint64_t before = crowd->taken[i];

        ck_assert_eventually(crowd->taken[i] > before + 2);
    }
}

static uint64_t heap_blocks(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_blocks;
}

TEST(killed_waiters_keep_no_others_waiting, .kills = KILLS, .timeout_s = 60)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);
    size_t kills = kills_wanted(KILLS);
    uint64_t before;

    crowd->permits = tine_alloc(sizeof *crowd->permits);
    crowd->never = event_new();
    ck_assert_rc(tine_semaphore_init(crowd->permits, 0, &(tine_semaphore_options){.signalling = 1}),
                 0);
    crowd->giver = child_start(give_for_ever, crowd);
    for (uint32_t i = 0; i < WAITERS; i++)
        start_waiter(crowd, i);
    await_all(crowd);
    before = heap_blocks();
    for (size_t killed = 0; killed < kills; killed++) {
        uint32_t i = (uint32_t)random_below(WAITERS);

        pause_randomly(TINE_US(500));
        child_kill(&crowd->waiters[i]);
        start_waiter(crowd, i);
        if (killed % 8 == 0)
            await_all(crowd);
    }
    await_all(crowd);
    child_kill(&crowd->giver);
    for (uint32_t i = 0; i < WAITERS; i++)
        child_kill(&crowd->waiters[i]);
    ck_assert_uint_le(heap_blocks(), before + kills + 16); /* one each at most, and some bells */
}

/* ---- a queue --------------------------------------------------------------------------------- */

/* Puts that were begun, and that have returned: what was got lies between. */
struct traffic {
    tine_queue *queue;
    _Atomic uint64_t begun, ended;
};

static void put_for_ever(void *context)
{
    struct traffic *traffic = context;

    for (;; traffic->ended++) {
        traffic->begun++;
        ck_assert_rc(tine_queue_put(traffic->queue, TINE_FOREVER, "q", INT64_C(1)), 0);
    }
}

/* Waits for an item; how many there were. */
static uint64_t get_some(struct traffic *traffic, struct pollfd *set)
{
    tine_waitable on = tine_queue_waitable(traffic->queue, TINE_READABLE);
    uint64_t got = 0;
    int64_t item;

    if (set != NULL)
        ck_assert_int_eq(poll(set, 1, -1), 1);
    else
        ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    while (tine_queue_get(traffic->queue, 0, "q", &item) == 0)
        got++;
    return got;
}

TEST(what_killed_producers_have_put_is_got, .kills = KILLS, .timeout_s = 60, .loop_end = 2)
{
    struct traffic *traffic = shared_memory(sizeof *traffic);
    struct pollfd set = {.events = POLLIN};
    tine_waitable on;
    uint64_t got = 0;

    ck_assert_ok(tine_queue_open(&traffic->queue, &(tine_queue_options){.maxsize = 8}));
    on = tine_queue_waitable(traffic->queue, TINE_READABLE);
    set.fd = tine_waitable_fd(&on);
    ck_assert_ok(set.fd);
    for (size_t i = 0; i < kills_wanted(KILLS); i++) {
        struct child producer = child_start(put_for_ever, traffic);
        uint64_t wanted = got + 1 + random_below(50);

        while (got < wanted)
            got += get_some(traffic, loop_index == 1 ? &set : NULL);
        pause_randomly(TINE_US(200));
        child_kill(&producer);
    }
    while (tine_queue_empty(traffic->queue) == 0)
        got += get_some(traffic, NULL);
    ck_assert_uint_ge(got, traffic->ended);
    ck_assert_uint_le(got, traffic->begun);
    tine_waitable_close(set.fd);
    tine_queue_close(traffic->queue);
}

/* ---- futures --------------------------------------------------------------------------------- */

#define JOBS 12

static int count_up(tine_call *call)
{
    volatile int64_t sum = 0;
    int64_t number;
    int rc = tine_args(call, "q", &number);

    for (int64_t i = 0; rc == 0 && i < 20000; i++)
        sum += number;
    return rc < 0 ? rc : tine_return(call, "q", (int64_t)sum);
}

static void submit_all(tine_pool *pool, tine_future **futures, tine_waitable *on)
{
    tine_job_options options = {.retries = TINE_UNLIMITED};

    for (int64_t i = 0; i < JOBS; i++) {
        ck_assert_rc(tine_pool_submit(&futures[i], pool, count_up, &options, "q", i), 0);
        on[i] = tine_future_waitable(futures[i]);
    }
}

/* Those that are ready are passed over from now on; how many they are. */
static int take_ready(tine_future **futures, tine_waitable *on)
{
    int64_t result;
    int count = 0;

    for (int i = 0; i < JOBS; i++) {
        if (!on[i].ready)
            continue;
        ck_assert_ok(tine_future_result(futures[i], 0, "q", &result));
        ck_assert_int_eq(result, 20000 * i);
        tine_future_close(futures[i]);
        on[i] = (tine_waitable){.kind = NULL};
        count++;
    }
    return count;
}

TEST(jobs_of_killed_workers_end_among_other_things, .kills = KILLS, .timeout_s = 60)
{
    struct hunt hunt = {.total = 0};
    tine_future *futures[JOBS];
    tine_waitable on[JOBS];
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = 2}));
    hunt_begin(&hunt, getpid());
    while (hunt.total < kills_wanted(KILLS)) {
        submit_all(pool, futures, on);
        hunt_kill(&hunt, TINE_US(300));
        for (int left = JOBS; left > 0; left -= take_ready(futures, on))
            ck_assert_int_ge(tine_wait(on, JOBS, TINE_FOREVER), 1);
        hunt_forget(&hunt);
    }
    tine_pool_close(pool);
}

SUITE_BY_METHOD("kill/wait")
