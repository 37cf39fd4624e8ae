/* SPDX-License-Identifier: MIT */
/* Sleeping and waking: nobody is forgotten, whoever dies. */
#include "shm/waiters.h"

#include <errno.h>

#include <tine/time.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define TAKERS 4

struct pot {
    struct tine__waiters_shm waiters;
    _Atomic uint32_t left;
    _Atomic uint32_t taken;
    struct gate *begun;
};

static bool take(struct pot *pot)
{
    uint32_t left = atomic_load(&pot->left);

    while (left != 0)
        if (atomic_compare_exchange_strong(&pot->left, &left, left - 1))
            return true;
    return false;
}

static void take_one(void *context)
{
    struct pot *pot = context;

    gate_raise(pot->begun);
    for (;;) {
        uint32_t turn = tine__waiters_join(&pot->waiters);

        if (take(pot))
            break;
        ck_assert_rc(tine__waiters_sleep(&pot->waiters, turn, TINE__NEVER), 0);
    }
    pot->taken++;
    if (atomic_load(&pot->left) != 0)
        tine__waiters_wake(&pot->waiters, 1);
}

static void give(struct pot *pot, uint32_t count)
{
    atomic_fetch_add(&pot->left, count);
    tine__waiters_wake(&pot->waiters, (int)count);
}

static struct pot *pot_new(void)
{
    struct pot *pot = shared_memory(sizeof *pot);

    pot->begun = gate_new();
    return pot;
}

TEST(everybody_gets_one)
{
    struct pot *pot = pot_new();
    struct child takers[TAKERS];

    for (int i = 0; i < TAKERS; i++)
        takers[i] = child_start(take_one, pot);
    gate_await(pot->begun, TAKERS);
    for (int i = 0; i < TAKERS; i++)
        give(pot, 1);
    for (int i = 0; i < TAKERS; i++)
        child_join(&takers[i]);
    ck_assert_uint_eq(pot->taken, TAKERS);
    ck_assert_uint_eq(pot->left, 0);
}

TEST(a_killed_sleeper_takes_no_wakeup_along, .kills = 20, .loop_end = 20)
{
    struct pot *pot = pot_new();
    struct child takers[TAKERS];

    for (int i = 0; i < TAKERS; i++)
        takers[i] = child_start(take_one, pot);
    gate_await(pot->begun, TAKERS);
    child_stop(&takers[0]);
    give(pot, TAKERS - 1);
    child_kill(&takers[0]);
    for (int i = 1; i < TAKERS; i++)
        child_join(&takers[i]);
}

TEST(a_sleeper_looks_before_its_deadline)
{
    struct pot *pot = pot_new();
    tine__deadline deadline = tine__deadline_after(TINE_SEC(3600));
    uint32_t turn = tine__waiters_join(&pot->waiters);

    ck_assert_rc(tine__waiters_sleep(&pot->waiters, turn, deadline), 0);
    ck_assert(!tine__deadline_passed(deadline));
}

TEST(a_passed_deadline_ends_the_sleep)
{
    struct pot *pot = pot_new();
    tine__deadline deadline = tine__deadline_after(TINE__LOOK_NS / 2);
    uint32_t turn = tine__waiters_join(&pot->waiters);

    while (tine__waiters_sleep(&pot->waiters, turn, deadline) == 0)
        ;
    ck_assert(tine__deadline_passed(deadline));
    ck_assert_rc(tine__waiters_sleep(&pot->waiters, turn, deadline), -ETIMEDOUT);
}

TEST(without_sleepers_waking_changes_nothing)
{
    struct pot *pot = pot_new();

    tine__waiters_wake_all(&pot->waiters);
    ck_assert_uint_eq(pot->waiters.turn, 0);
    tine__waiters_join(&pot->waiters);
    tine__waiters_wake_all(&pot->waiters);
    ck_assert_uint_eq(pot->waiters.turn, 1);
    ck_assert_uint_eq(pot->waiters.waiting, 0);
}

TEST(one_look_for_the_dead_serves_all_sleepers)
{
    _Atomic uint64_t looked = 0;
    unsigned looks = 0;

    for (int i = 0; i < 1000; i++)
        looks += tine__look_due(&looked);
    ck_assert_uint_ge(looks, 1);
    ck_assert_uint_le(looks, 900);
    looked = UINT64_MAX & ~(uint64_t)0xfff; /* by a process whose clock is ahead */
    ck_assert(tine__look_due(&looked));
}

TEST(a_look_from_another_namespace_is_not_enough)
{
    _Atomic uint64_t looked = 0;

    for (int i = 0; i < 100; i++) {
        looked = ((uint64_t)tine__now_ns() & ~(uint64_t)0xfff) | ((tine__owner_word() >> 52) ^ 1);
        ck_assert(tine__look_due(&looked));
    }
}

SUITE("shm/waiters")
