/* SPDX-License-Identifier: MIT */
/*
 * Users of a semaphore are killed at random instants: holding, waiting, taking, giving. There are
 * never more inside than permits, all permits are there in the end, and nobody hangs.
 */
#include <tine.h>

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define USERS     6
#define PERMITS   3
#define TIMED_MAX 1000 /* deaths, each of which takes a slice of sleep */
#define KILLS     50
#define LOOKS     100000 /* at seats, before somebody inside has none */

struct room {
    tine_semaphore semaphore;
    _Atomic int32_t seats[PERMITS]; /* whoever is inside sits on one: its pid */
    _Atomic uint64_t entered;
    _Atomic uint64_t seed;
    _Atomic bool stop;
};

static bool is_dead(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z' || proc.state == 'X';
}

/* Whoever has a permit finds a seat that is free, or whose owner is dead. */
static _Atomic int32_t *sit_down(struct room *room)
{
    for (int look = 0; look < LOOKS; look++) {
        _Atomic int32_t *seat = &room->seats[look % PERMITS];
        int32_t there = atomic_load(seat);

        if ((there == 0 || (look >= PERMITS && is_dead(there))) &&
            atomic_compare_exchange_strong(seat, &there, getpid()))
            return seat;
    }
    ck_abort_msg("more than %d inside", PERMITS);
}

static bool enter(struct room *room)
{
    static const int64_t timeouts[] = {0, TINE_US(20), TINE_MS(1), TINE_SEC(600)};
    int64_t timeout = timeouts[random_below(4)];
    int rc = tine_semaphore_acquire(&room->semaphore, timeout);

    if (rc == 0)
        return true;
    ck_assert_rc(rc, timeout == 0 ? -EAGAIN : -ETIMEDOUT);
    ck_assert_msg(timeout < TINE_SEC(600), "hung");
    return false;
}

static void use(void *context)
{
    struct room *room = context;

    random_fork(atomic_fetch_add(&room->seed, 1));
    while (!room->stop) {
        _Atomic int32_t *seat;

        if (!enter(room))
            continue;
        seat = sit_down(room);
        atomic_fetch_add(&room->entered, 1);
        atomic_store(seat, 0);
        ck_assert_ok(tine_semaphore_release(&room->semaphore));
    }
}

static void all_permits_are_there(struct room *room)
{
    for (int i = 0; i < PERMITS; i++)
        ck_assert_ok(tine_semaphore_acquire(&room->semaphore, TINE_SEC(600)));
    ck_assert_rc(tine_semaphore_acquire(&room->semaphore, TINE_MS(1)), -ETIMEDOUT);
    for (int i = 0; i < PERMITS; i++)
        ck_assert_ok(tine_semaphore_release(&room->semaphore));
    ck_assert_rc(tine_semaphore_value(&room->semaphore), PERMITS);
}

TEST(permits_survive_their_holders, .kills = 10 * KILLS, .timeout_s = 60)
{
    struct room *room = shared_memory(sizeof *room);
    struct child users[USERS];
    size_t kills = kills_wanted(10 * KILLS);

    ck_assert_ok(
        tine_semaphore_init(&room->semaphore, PERMITS, &(tine_semaphore_options){.bounded = 1}));
    for (int i = 0; i < USERS; i++)
        users[i] = child_start(use, room);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &users[random_below(USERS)];

        pause_randomly(TINE_US(200));
        child_kill(victim);
        *victim = child_start(use, room);
        if (k % 100 == 0) {
            uint64_t entered = room->entered;

            ck_assert_eventually(room->entered > entered + 10);
        }
    }
    room->stop = true;
    for (int i = 0; i < USERS; i++)
        child_join(&users[i]);
    all_permits_are_there(room);
}

struct hold {
    tine_semaphore semaphore;
    struct gate *gate;
};

static void hold_all(void *context)
{
    struct hold *hold = context;

    for (int i = 0; i < PERMITS; i++)
        ck_assert_ok(tine_semaphore_acquire(&hold->semaphore, TINE_SEC(600)));
    gate_raise(hold->gate);
    pause();
}

/* Beside the killing, how long it takes: from the death to the last permit's next holder. */
TEST(the_permits_of_the_dead_are_taken_within_100_ms, .kills = KILLS / 2, .timeout_s = 60)
{
    struct samples samples = {.name = "semaphore.killed.taken", .bound_ns = (uint64_t)TINE_MS(100)};
    struct hold *hold = shared_memory(sizeof *hold);
    size_t kills = kills_wanted(KILLS / 2);

    ck_assert_ok(
        tine_semaphore_init(&hold->semaphore, PERMITS, &(tine_semaphore_options){.bounded = 1}));
    hold->gate = gate_new();
    for (size_t k = 1; k <= kills && k <= TIMED_MAX; k++) {
        struct child child = child_start(hold_all, hold);
        int64_t death;

        gate_await(hold->gate, (uint32_t)k);
        child_kill(&child);
        death = now_ns();
        for (int i = 0; i < PERMITS; i++)
            ck_assert_ok(tine_semaphore_acquire(&hold->semaphore, TINE_FOREVER));
        samples_add(&samples, (uint64_t)(now_ns() - death));
        for (int i = 0; i < PERMITS; i++)
            ck_assert_ok(tine_semaphore_release(&hold->semaphore));
    }
    samples_end(&samples);
}

SUITE("kill/semaphore")
