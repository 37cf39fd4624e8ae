/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of wait and notify: the lock is served, whoever waits is woken, a
 * notification that the dead one had is had by the next one, and no slot stays taken.
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shm/condition_help.h"
#include "tests/support/step.h"

#define POINTS      40
#define SLOW_POINTS 15 /* where each costs a look of another process */
#define PROC_POINTS 6  /* where the victim reads /proc: thousands of instructions */
#define DEAD        (tine__owner_word() ^ (uint64_t)5 << 24) /* our pid, started at another time */

struct stage {
    struct scene scene;
    struct child other[2];
};

static struct stage *stage_new(void)
{
    return shared_memory(sizeof(struct stage));
}

static void fresh(void *context)
{
    struct stage *stage = context;

    memset(stage, 0, sizeof *stage);
    scene_init(&stage->scene, 0);
}

static void take_lock(void *context)
{
    take(&((struct stage *)context)->scene);
}

static void wait_shortly(void *context)
{
    (void)!tine_condition_wait(&((struct stage *)context)->scene.condition, TINE_MS(1));
}

static void wait_long(void *context)
{
    (void)!tine_condition_wait(&((struct stage *)context)->scene.condition, TINE_FOREVER);
}

static void must_take(struct scene *scene)
{
    int rc = tine_lock_acquire(&scene->lock, TINE_FOREVER);

    ck_assert_rc(rc == -EOWNERDEAD ? tine_lock_recover(&scene->lock) : rc, 0);
}

/*
 * Nobody living waits. What was notified and is dead, before or now, is one notification or more,
 * and the next one to wait has it, once.
 */
static void check(long steps, pid_t victim, void *context)
{
    struct scene *scene = &((struct stage *)context)->scene;
    uint32_t owed;
    bool full;
    int rc;

    (void)victim;
    must_take(scene);
    owed = slots(scene, TINE__SLOT_NOTIFIED);
    rc = tine_condition_notify(&scene->condition, UINT32_MAX);
    ck_assert_ok(rc);
    owed += (uint32_t)rc;
    full = slots(scene, TINE__SLOT_FREE) == 0; /* then there is nobody to keep anything for */
    rc = tine_condition_wait(&scene->condition, TINE_US(10));
    ck_assert_msg(rc == (owed > 0 && !full ? 0 : -ETIMEDOUT),
                  "after %ld instructions: %d with %u owed", steps, rc, owed);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_US(10)), -ETIMEDOUT);
    ck_assert_uint_eq(inside(scene)->top, 0);
    ck_assert_uint_eq(slots(scene, TINE__SLOT_FREE), inside(scene)->slot_count);
    give(scene);
}

TEST(killed_in_a_wait_that_times_out, .timeout_s = 300)
{
    step_kill_everywhere(&(struct step){.before = fresh,
                                        .prepare = take_lock,
                                        .run = wait_shortly,
                                        .check = check,
                                        .context = stage_new()},
                         POINTS);
}

/* Notifies whoever waits, until it is killed. */
static void respond(void *context)
{
    struct scene *scene = context;

    for (;;) {
        must_take(scene);
        ck_assert_ok(tine_condition_notify_all(&scene->condition));
        give(scene);
        sched_yield();
    }
}

static void with_a_responder(void *context)
{
    struct stage *stage = context;

    fresh(stage);
    stage->other[0] = child_start(respond, &stage->scene);
}

static void check_without_responder(long steps, pid_t victim, void *context)
{
    child_kill(&((struct stage *)context)->other[0]);
    check(steps, victim, context);
}

static void must_take_lock(void *context)
{
    must_take(&((struct stage *)context)->scene);
}

TEST(killed_in_a_wait_that_is_notified, .timeout_s = 300)
{
    step_kill_everywhere(&(struct step){.before = with_a_responder,
                                        .prepare = must_take_lock,
                                        .run = wait_long,
                                        .check = check_without_responder,
                                        .context = stage_new()},
                         POINTS);
}

static void forge(struct scene *scene, uint32_t slot, uint32_t state)
{
    inside(scene)->slots[slot].owner = DEAD;
    inside(scene)->slots[slot].word = TINE__SLOT_GENERATION + state;
    inside(scene)->top = slot + 1;
}

static void with_a_dead_notified_one(void *context)
{
    struct stage *stage = context;

    fresh(stage);
    forge(&stage->scene, 0, TINE__SLOT_WAITING);
    forge(&stage->scene, 1, TINE__SLOT_NOTIFIED);
}

TEST(killed_in_a_look_that_passes_a_notification_on, .timeout_s = 600)
{
    step_kill_everywhere(&(struct step){.before = with_a_dead_notified_one,
                                        .prepare = take_lock,
                                        .run = wait_shortly,
                                        .check = check,
                                        .context = stage_new()},
                         PROC_POINTS);
}

static void with_dead_ones_only(void *context)
{
    struct stage *stage = context;

    fresh(stage);
    ck_assert_rc(tine_condition_init(&stage->scene.condition, &stage->scene.lock,
                                     &(tine_condition_options){.slots = 2}),
                 0);
    forge(&stage->scene, 0, TINE__SLOT_NOTIFIED);
    forge(&stage->scene, 1, TINE__SLOT_WAITING);
}

TEST(killed_in_a_wait_that_needs_the_slot_of_a_dead_one, .timeout_s = 600)
{
    step_kill_everywhere(&(struct step){.before = with_dead_ones_only,
                                        .prepare = take_lock,
                                        .run = wait_shortly,
                                        .check = check,
                                        .context = stage_new()},
                         PROC_POINTS);
}

/* Dies holding the lock as soon as somebody waits. */
static void die_inside(void *context)
{
    struct scene *scene = context;

    while (slots(scene, TINE__SLOT_WAITING) == 0)
        sched_yield();
    must_take(scene);
    _exit(0);
}

static void with_one_who_dies(void *context)
{
    struct stage *stage = context;

    fresh(stage);
    stage->other[0] = child_start(die_inside, &stage->scene);
}

static void check_after_two_deaths(long steps, pid_t victim, void *context)
{
    struct stage *stage = context;

    ck_assert_int_eq(kill(stage->other[0].pid, SIGKILL), 0);
    child_wait(&stage->other[0]);
    check(steps, victim, stage);
}

TEST(killed_in_a_wait_that_inherits_the_lock, .timeout_s = 600)
{
    step_kill_everywhere(&(struct step){.before = with_one_who_dies,
                                        .prepare = take_lock,
                                        .run = wait_long,
                                        .check = check_after_two_deaths,
                                        .context = stage_new()},
                         SLOW_POINTS);
}

/* ---- notifiers ------------------------------------------------------------------------------- */

static void wait_for_item(void *context)
{
    struct scene *scene = context;
    int rc = 0;

    must_take(scene);
    while (scene->items == 0) {
        rc = tine_condition_wait(&scene->condition, TINE_FOREVER);
        ck_assert_rc(rc == -EOWNERDEAD ? tine_lock_recover(&scene->lock) : rc, 0);
    }
    scene->items--;
    give(scene);
}

static void with_two_who_wait(void *context)
{
    struct stage *stage = context;

    fresh(stage);
    for (int i = 0; i < 2; i++)
        stage->other[i] = child_start(wait_for_item, &stage->scene);
    await_waiting(&stage->scene, 2);
}

/* What a thread does once in its life is not the subject. */
static void know_itself(void *context)
{
    take_lock(context);
    give(&((struct stage *)context)->scene);
}

static void put_one(void *context)
{
    struct scene *scene = &((struct stage *)context)->scene;

    take(scene);
    scene->items++;
    (void)tine_condition_notify(&scene->condition, 1);
    give(scene);
}

static void put_two(void *context)
{
    struct scene *scene = &((struct stage *)context)->scene;

    take(scene);
    scene->items += 2;
    (void)tine_condition_notify_all(&scene->condition);
    give(scene);
}

/* What the victim put is taken; then the rest comes, and both are served. */
static void check_served(long steps, pid_t victim, void *context)
{
    struct stage *stage = context;
    struct scene *scene = &stage->scene;
    int64_t left = 2;

    ck_assert_eventually(scene->items == 0);
    for (int i = 0; i < 2; i++)
        if (waitpid(stage->other[i].pid, NULL, WNOHANG) == stage->other[i].pid) {
            stage->other[i].pid = 0;
            left--;
        }
    must_take(scene);
    scene->items += (uint32_t)left;
    ck_assert_ok(tine_condition_notify_all(&scene->condition));
    give(scene);
    for (int i = 0; i < 2; i++)
        if (stage->other[i].pid != 0)
            child_join(&stage->other[i]);
    must_take(scene);
    scene->items = 0; /* one for each who was about to leave */
    give(scene);
    check(steps, victim, stage);
}

TEST(killed_in_notify, .timeout_s = 300)
{
    step_kill_everywhere(&(struct step){.before = with_two_who_wait,
                                        .prepare = know_itself,
                                        .run = put_one,
                                        .check = check_served,
                                        .context = stage_new()},
                         SLOW_POINTS);
}

TEST(killed_in_notify_all, .timeout_s = 300)
{
    step_kill_everywhere(&(struct step){.before = with_two_who_wait,
                                        .prepare = know_itself,
                                        .run = put_two,
                                        .check = check_served,
                                        .context = stage_new()},
                         SLOW_POINTS);
}

SUITE("shm/condition_step")
