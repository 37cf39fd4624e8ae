/* SPDX-License-Identifier: MIT */
/* The internal lock: whoever gets it after a death repairs first, also when the repairer dies. */
#include "shm/robust.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <tine/time.h>

#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

struct guarded {
    struct tine__robust lock;
    struct gate *held;
    struct gate *rounds;
    _Atomic int repairs;
    int one, other; /* equal unless somebody died between */
};

static struct guarded *guarded_new(void)
{
    struct guarded *guarded = shared_memory(sizeof *guarded);

    guarded->held = gate_new();
    guarded->rounds = gate_new();
    ck_assert_rc(tine__robust_init(&guarded->lock), 0);
    return guarded;
}

static void repair(void *context)
{
    struct guarded *guarded = context;

    guarded->repairs++;
    guarded->other = guarded->one;
}

static void die_in_repair(void *context)
{
    (void)context;
    raise(SIGKILL);
}

static void hold_for_ever(void *context)
{
    struct guarded *guarded = context;

    ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
    guarded->one++;
    gate_raise(guarded->held);
    pause();
}

static void lock_and_die_repairing(void *context)
{
    struct guarded *guarded = context;

    (void)tine__robust_lock(&guarded->lock, die_in_repair, guarded);
}

TEST(a_deadline_ends_the_wait_for_a_living_holder)
{
    struct guarded *guarded = guarded_new();
    struct child holder = child_start(hold_for_ever, guarded);

    gate_await(guarded->held, 1);
    ck_assert_rc(tine__robust_lock_until(&guarded->lock, 0, repair, guarded), -ETIMEDOUT);
    ck_assert_rc(tine__robust_lock_until(&guarded->lock, tine__deadline_after(TINE_MS(1)), repair,
                                         guarded),
                 -ETIMEDOUT);
    ck_assert_int_eq(guarded->repairs, 0);
    child_kill(&holder);
    ck_assert_rc(tine__robust_lock_until(&guarded->lock, 0, repair, guarded), 0);
    ck_assert_int_eq(guarded->repairs, 1);
    tine__robust_unlock(&guarded->lock);
}

TEST(who_comes_after_a_death_repairs_once)
{
    struct guarded *guarded = guarded_new();
    struct child child = child_start(hold_for_ever, guarded);

    gate_await(guarded->held, 1);
    child_kill(&child);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
        ck_assert_int_eq(guarded->one, guarded->other);
        tine__robust_unlock(&guarded->lock);
    }
    ck_assert_int_eq(guarded->repairs, 1);
}

TEST(a_death_in_the_repair_hands_the_duty_on)
{
    struct guarded *guarded = guarded_new();
    struct child child = child_start(hold_for_ever, guarded);

    gate_await(guarded->held, 1);
    child_kill(&child);
    child = child_start(lock_and_die_repairing, guarded);
    ck_assert_int_eq(child_wait(&child), SIGKILL);
    ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
    ck_assert_int_eq(guarded->repairs, 1);
    tine__robust_unlock(&guarded->lock);
}

static void count_up(void *context)
{
    struct guarded *guarded = context;

    for (;;) {
        ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
        guarded->one++;
        guarded->other++;
        tine__robust_unlock(&guarded->lock);
        gate_raise(guarded->rounds);
    }
}

TEST(killed_holders_never_block_the_others, .timeout_s = 60)
{
    struct guarded *guarded = guarded_new();
    struct child children[3];
    uint32_t rounds = 0;

    for (int i = 0; i < 3; i++)
        children[i] = child_start(count_up, guarded);
    for (int kill = 0; kill < 200; kill++) {
        struct child *victim = &children[random_below(3)];

        rounds += 1 + (uint32_t)random_below(200);
        gate_await(guarded->rounds, rounds);
        child_kill(victim);
        *victim = child_start(count_up, guarded);
        ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
        ck_assert_int_eq(guarded->one, guarded->other);
        tine__robust_unlock(&guarded->lock);
    }
    for (int i = 0; i < 3; i++)
        child_kill(&children[i]);
}

static void lock_once(void *context)
{
    struct guarded *guarded = context;

    ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
    tine__robust_unlock(&guarded->lock);
}

static void stay_on_this_cpu(void)
{
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    CPU_SET((size_t)sched_getcpu(), &cpus);
    ck_assert_int_eq(sched_setaffinity(0, sizeof cpus, &cpus), 0);
}

/* Runs only when nobody else wants the CPU. */
static void lock_once_idly(void *context)
{
    ck_assert_int_eq(sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}), 0);
    lock_once(context);
}

/*
 * The first sleeper is woken, and killed before it has the mutex; meanwhile another one has taken
 * it without knowing that the second sleeps, and so does not wake it.
 */
TEST(a_killed_sleeper_takes_no_wakeup_along)
{
    struct guarded *guarded = guarded_new();
    struct child first, second;

    stay_on_this_cpu();
    ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
    first = child_start(lock_once_idly, guarded);
    ck_assert_eventually(proc_asleep(first.pid));
    second = child_start(lock_once, guarded);
    ck_assert_eventually(proc_asleep(second.pid));
    tine__robust_unlock(&guarded->lock);
    ck_assert_rc(tine__robust_lock(&guarded->lock, repair, guarded), 0);
    ck_assert_int_eq(kill(first.pid, SIGKILL), 0); /* or it was faster: no matter */
    child_wait(&first);
    tine__robust_unlock(&guarded->lock);
    child_join(&second);
}

SUITE("shm/robust")
