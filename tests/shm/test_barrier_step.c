/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of the calls of events and barriers. Beside the victim somebody
 * waits; he and the test itself must be served, and the thing must work again.
 */
#include <tine/barrier.h>
#include <tine/event.h>

#include <errno.h>
#include <unistd.h>

#include <tine/time.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS 40

struct scene {
    tine_barrier barrier;
    tine_event event;
    struct child waiter;
    _Atomic int result; /* of the waiter */
};

static struct scene *scene_new(void)
{
    return shared_memory(sizeof(struct scene));
}

/* ---- barriers -------------------------------------------------------------------------------- */

static void wait_at_barrier(void *context)
{
    struct scene *scene = context;

    scene->result = tine_barrier_wait(&scene->barrier, TINE_FOREVER);
    ck_assert_rc(tine_barrier_leave(&scene->barrier), 0);
}

static void fresh(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_barrier_init(&scene->barrier, 2, NULL), 0);
}

static void parked(void *context)
{
    struct scene *scene = context;

    fresh(scene);
    scene->waiter = child_start(wait_at_barrier, scene);
    ck_assert_eventually(tine_barrier_n_waiting(&scene->barrier) == 1 &&
                         proc_asleep(scene->waiter.pid));
}

static bool index_or_broken(int rc)
{
    return rc == 0 || rc == 1 || rc == TINE_EBROKEN;
}

/* A whole round, after a reset if need be. */
static void check_works(struct scene *scene)
{
    if (tine_barrier_broken(&scene->barrier))
        ck_assert_rc(tine_barrier_reset(&scene->barrier), 0);
    scene->waiter = child_start(wait_at_barrier, scene);
    ck_assert_ok(tine_barrier_wait(&scene->barrier, TINE_FOREVER));
    child_join(&scene->waiter);
    ck_assert_ok(scene->result);
}

/*
 * The test is a new party. Its arrival completes the waiter's round if the victim was not
 * registered; else it finds the dead one. In either case the waiter returns.
 */
static void check_waiter(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    int rc = tine_barrier_wait(&scene->barrier, TINE_FOREVER);

    (void)victim;
    ck_assert_msg(index_or_broken(rc), "after %ld instructions: %d", steps, rc);
    child_join(&scene->waiter);
    ck_assert_msg(index_or_broken(scene->result), "after %ld instructions: waiter %d", steps,
                  scene->result);
    check_works(scene);
}

static void check_alone(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    int rc;

    (void)victim;
    rc = tine_barrier_wait(&scene->barrier, TINE_US(1));
    ck_assert_msg(rc == TINE_EBROKEN || rc == -ETIMEDOUT || rc == 1, "after %ld instructions: %d",
                  steps, rc);
    check_works(scene);
}

/* Whatever the victim had done of its reset, this one sends the waiter away and heals. */
static void check_reset(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;

    (void)victim;
    ck_assert_rc(tine_barrier_reset(&scene->barrier), 0);
    child_join(&scene->waiter);
    ck_assert_msg(scene->result == TINE_EBROKEN, "after %ld instructions: waiter %d", steps,
                  scene->result);
    check_works(scene);
}

static int act(void *context)
{
    (void)context;
    return 0;
}

static void complete(void *context)
{
    (void)!tine_barrier_wait(&((struct scene *)context)->barrier, TINE_FOREVER);
}

static void complete_with_action(void *context)
{
    (void)!tine_barrier_wait_action(&((struct scene *)context)->barrier, act, NULL, TINE_FOREVER);
}

static void time_out(void *context)
{
    (void)!tine_barrier_wait(&((struct scene *)context)->barrier, TINE_US(1));
}

static void join(void *context)
{
    (void)!tine_barrier_join(&((struct scene *)context)->barrier);
}

static void leave(void *context)
{
    (void)!tine_barrier_leave(&((struct scene *)context)->barrier);
}

static void reset(void *context)
{
    (void)!tine_barrier_reset(&((struct scene *)context)->barrier);
}

static void abort_barrier(void *context)
{
    (void)!tine_barrier_abort(&((struct scene *)context)->barrier);
}

/* What a process finds out about itself is no part of the call, and takes thousands of
   instructions. */
static void know_oneself(void *context)
{
    (void)context;
    (void)tine__owner_word();
}

#define STEP_TEST(name, points, ...)                                                               \
    TEST(name, .timeout_s = 600)                                                                   \
    {                                                                                              \
        step_kill_everywhere(&(struct step){.context = scene_new(), __VA_ARGS__}, points);         \
    }

/* New parties: the look at the others is most of it. */
STEP_TEST(killed_joining, POINTS / 4, .before = parked, .prepare = know_oneself, .run = join,
          .check = check_waiter)
STEP_TEST(killed_arriving_as_a_new_party, POINTS / 4, .before = parked, .prepare = know_oneself,
          .run = complete, .check = check_waiter)
STEP_TEST(killed_completing_a_round, POINTS, .before = parked, .prepare = join, .run = complete,
          .check = check_waiter)
STEP_TEST(killed_with_an_action, POINTS, .before = parked, .prepare = join,
          .run = complete_with_action, .check = check_waiter)
STEP_TEST(killed_arriving_first, POINTS / 2, .before = fresh, .prepare = join, .run = complete,
          .check = check_alone, .sleeps_ms = 5)
STEP_TEST(killed_timing_out, POINTS / 2, .before = fresh, .prepare = join, .run = time_out,
          .check = check_alone)
STEP_TEST(killed_leaving, POINTS, .before = parked, .prepare = join, .run = leave,
          .check = check_waiter)
STEP_TEST(killed_resetting, POINTS / 4, .before = parked, .prepare = know_oneself, .run = reset,
          .check = check_reset)
STEP_TEST(killed_resetting_as_a_party, POINTS / 4, .before = parked, .prepare = join, .run = reset,
          .check = check_reset)
STEP_TEST(killed_aborting, POINTS, .before = parked, .run = abort_barrier, .check = check_waiter)

/* ---- events ---------------------------------------------------------------------------------- */

static void wait_for_event(void *context)
{
    struct scene *scene = context;

    scene->result = tine_event_wait(&scene->event, TINE_FOREVER);
}

static void awaited(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_event_init(&scene->event, NULL), 0);
    scene->waiter = child_start(wait_for_event, scene);
    ck_assert_eventually(proc_asleep(scene->waiter.pid));
}

static void check_event(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;

    (void)steps;
    (void)victim;
    ck_assert_rc(tine_event_set(&scene->event), 0);
    child_join(&scene->waiter);
    ck_assert_rc(scene->result, 0);
    ck_assert_rc(tine_event_is_set(&scene->event), 1);
    ck_assert_rc(tine_event_clear(&scene->event), 0);
    ck_assert_rc(tine_event_wait(&scene->event, TINE_US(1)), -ETIMEDOUT);
}

static void set(void *context)
{
    (void)!tine_event_set(&((struct scene *)context)->event);
}

static void set_and_clear(void *context)
{
    set(context);
    (void)!tine_event_clear(&((struct scene *)context)->event);
}

static void wait_a_little(void *context)
{
    (void)!tine_event_wait(&((struct scene *)context)->event, TINE_US(1));
}

STEP_TEST(killed_setting, POINTS, .before = awaited, .run = set, .check = check_event)
STEP_TEST(killed_setting_and_clearing, POINTS, .before = awaited, .run = set_and_clear,
          .check = check_event)
STEP_TEST(killed_waiting_for_an_event, POINTS, .before = awaited, .run = wait_a_little,
          .check = check_event)

SUITE("shm/barrier_step")
