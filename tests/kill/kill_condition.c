/* SPDX-License-Identifier: MIT */
/*
 * Processes that wait and notify are SIGKILLed at random instants: whatever is there is taken by
 * who lives, whoever waits is woken, and the codes are those of doc/locking.md.
 */
#include <tine.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <signal.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/wait.h"

#define KILLS 50

/* What all share. Under the lock each number changes in one step, so no death leaves half of
   one. */
struct box {
    tine_lock lock;
    tine_condition filled, emptied;
    _Atomic uint64_t put, taken;
    _Atomic uint64_t deaths; /* inside the lock */
    _Atomic uint64_t seed;
    _Atomic bool over;
    _Atomic int64_t woken_ns;
    struct gate *inside;
};

static struct box *box_new(void)
{
    struct box *box = shared_memory(sizeof *box);

    ck_assert_rc(tine_lock_init(&box->lock, NULL), 0);
    ck_assert_rc(tine_condition_init(&box->filled, &box->lock, NULL), 0);
    ck_assert_rc(tine_condition_init(&box->emptied, &box->lock, NULL), 0);
    box->inside = gate_new();
    return box;
}

/* What an acquire or a wait returned; the lock is held afterwards. */
static void must_hold(struct box *box, int rc, int64_t timeout_ns)
{
    if (rc == -EOWNERDEAD) {
        box->deaths++;
        rc = tine_lock_recover(&box->lock);
    } else if (rc == -ETIMEDOUT && timeout_ns >= 0) {
        rc = 0;
    }
    if (rc != 0)
        ck_abort_msg("%s", tine_errname(rc));
}

static void take_lock(struct box *box)
{
    must_hold(box, tine_lock_acquire(&box->lock, TINE_FOREVER), TINE_FOREVER);
}

static void give_lock(struct box *box)
{
    int rc = tine_lock_release(&box->lock);

    if (rc != 0)
        ck_abort_msg("%s", tine_errname(rc));
}

static void await(struct box *box, tine_condition *condition, int64_t timeout_ns)
{
    must_hold(box, tine_condition_wait(condition, timeout_ns), timeout_ns);
}

static void wake(tine_condition *condition)
{
    int rc = tine_condition_notify(condition, 1);

    if (rc < 0 || rc > 1)
        ck_abort_msg("%d", rc);
}

/* ---- consumers and producers ----------------------------------------------------------------- */

#define CONSUMERS 4
#define PRODUCERS 2
#define ROOM      2

static int64_t patience(void)
{
    return random_below(3) == 0 ? TINE_US(200) : TINE_FOREVER;
}

static void consume(void *context)
{
    struct box *box = context;

    random_fork(atomic_fetch_add(&box->seed, 1));
    for (;;) {
        take_lock(box);
        while (box->put == box->taken && !box->over)
            await(box, &box->filled, patience());
        if (box->put == box->taken)
            break;
        box->taken++;
        wake(&box->emptied);
        give_lock(box);
    }
    give_lock(box);
}

static void produce(void *context)
{
    struct box *box = context;

    random_fork(atomic_fetch_add(&box->seed, 1));
    for (;;) {
        take_lock(box);
        while (box->put - box->taken == ROOM && !box->over)
            await(box, &box->emptied, patience());
        if (box->over)
            break;
        box->put++;
        wake(&box->filled);
        give_lock(box);
    }
    give_lock(box);
}

static void (*role(uint64_t number))(void *)
{
    return number < CONSUMERS ? consume : produce;
}

static void finish(struct box *box, struct child *children)
{
    take_lock(box);
    box->over = true;
    ck_assert_ok(tine_condition_notify_all(&box->filled));
    ck_assert_ok(tine_condition_notify_all(&box->emptied));
    give_lock(box);
    for (int i = 0; i < CONSUMERS + PRODUCERS; i++)
        child_join(&children[i]);
    ck_assert_uint_eq(box->put, box->taken);
}

TEST(a_pipeline_goes_on_whoever_is_killed, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "condition.pipeline", .bound_ns = (uint64_t)TINE_MS(100)};
    struct child children[CONSUMERS + PRODUCERS];
    struct box *box = box_new();

    for (uint64_t i = 0; i < CONSUMERS + PRODUCERS; i++)
        children[i] = child_start(role(i), box);
    for (size_t kills = kills_wanted(KILLS); kills > 0; kills--) {
        uint64_t victim = random_below(CONSUMERS + PRODUCERS), taken;
        int64_t death;

        pause_randomly(TINE_US(500));
        child_kill(&children[victim]);
        death = now_ns();
        taken = box->taken;
        ck_assert_eventually(box->taken > taken + ROOM);
        samples_add(&samples, (uint64_t)(now_ns() - death));
        children[victim] = child_start(role(victim), box);
    }
    finish(box, children);
    printf("condition: %ju items, %ju deaths in the lock\n", (uintmax_t)box->taken,
           (uintmax_t)box->deaths);
    samples_end(&samples);
}

/* ---- one notification ------------------------------------------------------------------------ */

static void take_one(void *context)
{
    struct box *box = context;

    take_lock(box);
    gate_raise(box->inside);
    while (box->put == box->taken)
        await(box, &box->filled, TINE_FOREVER);
    box->taken++;
    box->woken_ns = now_ns();
    give_lock(box);
}

static struct child start_taker(struct box *box, uint32_t number)
{
    struct child child = child_start(take_one, box);

    gate_await(box->inside, number);
    take_lock(box); /* it waits by now */
    give_lock(box);
    return child;
}

/* How many were notified. */
static int put_one(struct box *box)
{
    int rc;

    take_lock(box);
    box->put++;
    rc = tine_condition_notify(&box->filled, 1);
    give_lock(box);
    return rc;
}

/* One item, one notification, and the one that got it is killed about then. */
TEST(a_killed_one_strands_no_item, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "condition.woken_killed", .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS), passed_on = 0;

    for (size_t i = 0; i < kills; i++) {
        struct box *box = box_new();
        struct child first = start_taker(box, 1), second = start_taker(box, 2);
        int64_t death;

        ck_assert_int_eq(put_one(box), 1);
        pause_randomly(TINE_US(100));
        ck_assert_int_eq(kill(first.pid, SIGKILL), 0);
        child_wait(&first);
        death = now_ns();
        ck_assert_eventually(box->taken == 1);
        if (box->woken_ns > death) {
            samples_add(&samples, (uint64_t)(box->woken_ns - death));
            passed_on++;
        }
        put_one(box); /* for the second, if the first was faster than the kill */
        child_join(&second);
    }
    printf("condition: %zu of %zu notifications passed on\n", passed_on, kills);
    if (passed_on > 0)
        samples_end(&samples);
}

/* ---- the holder ------------------------------------------------------------------------------ */

static void hold(void *context)
{
    struct box *box = context;

    take_lock(box);
    gate_raise(box->inside);
    for (;;)
        pause();
}

static void wait_for_a_death(void *context)
{
    struct box *box = context;

    take_lock(box);
    gate_raise(box->inside);
    await(box, &box->filled, TINE_FOREVER);
    box->woken_ns = now_ns();
    box->taken++;
    give_lock(box);
}

TEST(a_killed_holder_wakes_all_who_wait, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "condition.holder_killed",
                              .bound_ns = (uint64_t)TINE_MS(100)};

    for (size_t i = 0; i < kills_wanted(KILLS); i++) {
        struct box *box = box_new();
        struct child waiters[2], holder;
        int64_t death;

        for (int k = 0; k < 2; k++)
            waiters[k] = child_start(wait_for_a_death, box);
        gate_await(box->inside, 2);
        holder = child_start(hold, box);
        gate_await(box->inside, 3);
        pause_randomly(TINE_MS(5));
        child_kill(&holder);
        death = now_ns();
        for (int k = 0; k < 2; k++)
            child_join(&waiters[k]);
        /* the kernel frees the lock before it tells of the death */
        samples_add(&samples, box->woken_ns > death ? (uint64_t)(box->woken_ns - death) : 0);
        ck_assert_uint_eq(box->taken, 2);
        ck_assert_uint_eq(box->deaths, 1);
    }
    samples_end(&samples);
}

SUITE("kill/condition")
