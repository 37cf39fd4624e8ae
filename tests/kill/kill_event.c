/* SPDX-License-Identifier: MIT */
/*
 * Those who set events, and those who wait for them, are SIGKILLed at random instants. Every set,
 * also one that is cleared at once, and also the last one of a setter that is killed, releases all
 * who waited for it and live.
 */
#include <tine.h>

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   60 /* of a kind */
#define GROUPS  2
#define WAITERS 3

/*
 * In shared memory. The setter sets again and again, and waits for nobody. A waiter counts its
 * returns. When the setter is dead, the test sets once: then all must have returned.
 */
struct group {
    tine_event event;
    _Atomic uint64_t returns[WAITERS];
    struct child setter, waiters[WAITERS];
};

static uint32_t number; /* private: of the waiter that is forked next */

static void set_for_ever(void *context)
{
    struct group *group = context;

    for (;; sched_yield())
        if (tine_event_set(&group->event) != 0 || tine_event_clear(&group->event) != 0)
            ck_abort_msg("the event is gone");
}

static void wait_for_ever(void *context)
{
    struct group *group = context;
    _Atomic uint64_t *returns = &group->returns[number];

    for (;;) {
        if (tine_event_wait(&group->event, TINE_FOREVER) != 0)
            ck_abort_msg("the wait failed");
        ++*returns;
    }
}

static void start_waiter(struct group *group, uint32_t i)
{
    group->returns[i] = 0;
    number = i;
    group->waiters[i] = child_start(wait_for_ever, group);
}

static void start_group(struct group *group)
{
    ck_assert_rc(tine_event_init(&group->event, NULL), 0);
    group->setter = child_start(set_for_ever, group);
    for (uint32_t i = 0; i < WAITERS; i++)
        start_waiter(group, i);
}

/* All waiters return again and again. */
static void await_returns(struct group *group)
{
    for (uint32_t i = 0; i < WAITERS; i++) {
        uint64_t before = group->returns[i];

        ck_assert_eventually(group->returns[i] > before + 2);
    }
}

TEST(killed_waiters_take_no_wakeup_along, .kills = KILLS, .timeout_s = 60)
{
    struct group *groups = shared_memory(GROUPS * sizeof *groups);

    for (int g = 0; g < GROUPS; g++)
        start_group(&groups[g]);
    for (size_t killed = 0; killed < kills_wanted(KILLS); killed++) {
        struct group *group = &groups[killed % GROUPS];
        uint32_t i = (uint32_t)random_below(WAITERS);

        if (killed % GROUPS == 0)
            for (int g = 0; g < GROUPS; g++)
                await_returns(&groups[g]);
        pause_randomly(TINE_US(300));
        child_kill(&group->waiters[i]);
        start_waiter(group, i);
    }
    for (int g = 0; g < GROUPS; g++) {
        await_returns(&groups[g]);
        child_kill(&groups[g].setter);
        for (uint32_t i = 0; i < WAITERS; i++)
            child_kill(&groups[g].waiters[i]);
    }
}

/* ---- setters --------------------------------------------------------------------------------- */

/* One set for each turn; who waits says when it came. */
struct turn {
    tine_event event;
    struct gate *ready, *told;
    _Atomic int64_t told_ns;
};

static void set_once(void *context)
{
    struct turn *turn = context;

    (void)!tine_event_set(&turn->event);
    pause();
}

static void wait_each_turn(void *context)
{
    struct turn *turn = context;

    for (;;) {
        gate_raise(turn->ready);
        ck_assert_rc(tine_event_wait(&turn->event, TINE_FOREVER), 0);
        turn->told_ns = now_ns();
        gate_raise(turn->told);
        ck_assert_eventually(tine_event_is_set(&turn->event) == 0);
    }
}

/* Killed before it set, or while it did. If it has set, the sleeper is told. */
TEST(a_killed_setter_has_set_for_all_or_for_nobody, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "event.setter.killed", .bound_ns = (uint64_t)TINE_MS(100)};
    struct turn *turn = shared_memory(sizeof *turn);
    uint32_t told = 0, ready = 0;
    size_t kills = kills_wanted(KILLS), late = 0;
    struct child waiter;

    turn->ready = gate_new();
    turn->told = gate_new();
    ck_assert_rc(tine_event_init(&turn->event, NULL), 0);
    waiter = child_start(wait_each_turn, turn);
    for (size_t i = 0; i < kills; i++) {
        struct child setter;
        int64_t death_ns;

        gate_await(turn->ready, ++ready);
        setter = child_start(set_once, turn);
        pause_randomly(TINE_US(600));
        child_kill(&setter);
        death_ns = now_ns();
        late += tine_event_is_set(&turn->event) == 1;
        if (tine_event_is_set(&turn->event) != 1)
            ck_assert_rc(tine_event_set(&turn->event), 0);
        gate_await(turn->told, ++told);
        samples_add(&samples, turn->told_ns > death_ns ? (uint64_t)(turn->told_ns - death_ns) : 0);
        ck_assert_rc(tine_event_clear(&turn->event), 0);
    }
    printf("%zu of %zu had set\n", late, kills);
    child_kill(&waiter);
    samples_end(&samples);
}

SUITE("kill/event")
