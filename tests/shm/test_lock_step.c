/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of each operation of a lock, on its fast, slow and timeout paths,
 * in all three forms: the survivor gets the lock, and its codes are those of doc/locking.md. Each
 * code that a later death gives must be one that comes later in the operation.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/locks.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS      40
#define SURVIVOR_NS TINE_SEC(600)

/*
 * Instead of tine__owner_word_lives(): what it reads from /proc takes thousands of instructions
 * that concern no shared memory. The dead of these tests are reaped.
 */
bool __wrap_tine__owner_word_lives(uint64_t word);
bool __wrap_tine__owner_word_lives(uint64_t word)
{
    return kill(tine__owner_word_pid(word), 0) == 0;
}

struct scene {
    union any_lock lock;
    const struct lock_form *form;
    int codes[2]; /* what the survivor gets, in the order of the operation; 1: no second one */
    int code;     /* the last one's place in codes … */
    long steps;   /* … and how far that victim came */
    bool survivor_holds;
};

static struct scene *scene_new(int form)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->form = &lock_forms[form];
    return scene;
}

/* ---- before: the state that the victim meets ------------------------------------------------- */

static void make_free(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->init(&scene->lock), 0);
}

static void make_held_by_survivor(void *context)
{
    struct scene *scene = context;

    make_free(context);
    ck_assert_rc(scene->form->acquire(&scene->lock, 0), 0);
    scene->survivor_holds = true;
}

static void take_and_end(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->acquire(&scene->lock, 0), 0);
}

static void make_left_by_the_dead(void *context)
{
    struct child child;

    make_free(context);
    child = child_start(take_and_end, context);
    child_join(&child);
}

/* ---- the victim ------------------------------------------------------------------------------ */

static void use_once(void *context)
{
    struct scene *scene = context;
    union any_lock other;

    /* what the first use of a process sets up is not the operation's */
    ck_assert_rc(scene->form->init(&other), 0);
    ck_assert_rc(scene->form->acquire(&other, 0), 0);
    ck_assert_rc(scene->form->release(&other), 0);
}

static void have(void *context)
{
    struct scene *scene = context;
    int rc;

    use_once(context);
    rc = scene->form->acquire(&scene->lock, 0);
    ck_assert(rc == 0 || rc == -EOWNERDEAD);
}

static void acquire(void *context)
{
    struct scene *scene = context;
    int rc = scene->form->acquire(&scene->lock, TINE_FOREVER);

    (void)rc;
}

static void acquire_until(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->acquire(&scene->lock, TINE_MS(3)), -ETIMEDOUT);
}

static void try(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->acquire(&scene->lock, 0), -EAGAIN);
}

static void release(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->release(&scene->lock), 0);
}

static void recover(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->recover(&scene->lock), 0);
}

static void recover_and_release(void *context)
{
    recover(context);
    release(context);
}

/* ---- the survivor ---------------------------------------------------------------------------- */

static int place_of(const struct scene *scene, int code)
{
    return code == scene->codes[0] ? 0 : code == scene->codes[1] ? 1 : -1;
}

static void check_sound(struct scene *scene)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(scene->form->acquire(&scene->lock, SURVIVOR_NS), 0);
        ck_assert_rc(scene->form->release(&scene->lock), 0);
    }
    ck_assert_rc(scene->form->locked(&scene->lock), 0);
}

static void check(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    int code, place;

    (void)victim;
    if (scene->survivor_holds)
        ck_assert_rc(scene->form->release(&scene->lock), 0);
    scene->survivor_holds = false;
    code = scene->form->acquire(&scene->lock, SURVIVOR_NS);
    place = place_of(scene, code);
    ck_assert_msg(place >= 0, "%s: %s after %ld steps", scene->form->name, tine_errname(code),
                  steps);
    ck_assert_msg(steps < scene->steps || place >= scene->code, "%s: again %s after %ld steps",
                  scene->form->name, tine_errname(code), steps);
    scene->code = place;
    scene->steps = steps;
    if (code == -ENOTRECOVERABLE) {
        ck_assert_rc(scene->form->acquire(&scene->lock, 0), -ENOTRECOVERABLE);
        return;
    }
    if (code == -EOWNERDEAD)
        ck_assert_rc(scene->form->recover(&scene->lock), 0);
    ck_assert_rc(scene->form->release(&scene->lock), 0);
    check_sound(scene);
}

#define STEP_TEST(name, first, had, call, sleeps, code, next)                                      \
    TEST(name, .timeout_s = 600, .loop_end = LOCK_FORMS)                                           \
    {                                                                                              \
        struct scene *scene = scene_new(loop_index);                                               \
                                                                                                   \
        scene->codes[0] = code;                                                                    \
        scene->codes[1] = next;                                                                    \
        step_kill_everywhere(&(struct step){.before = first,                                       \
                                            .prepare = had,                                        \
                                            .run = call,                                           \
                                            .check = check,                                        \
                                            .context = scene,                                      \
                                            .sleeps_ms = sleeps},                                  \
                             POINTS);                                                              \
    }

STEP_TEST(killed_taking_a_free_lock, make_free, use_once, acquire, 0, 0, -EOWNERDEAD)
STEP_TEST(killed_releasing, make_free, have, release, 0, -EOWNERDEAD, 0)
STEP_TEST(killed_taking_over_from_the_dead, make_left_by_the_dead, use_once, acquire, 0,
          -EOWNERDEAD, 1)
STEP_TEST(killed_recovering, make_left_by_the_dead, have, recover, 0, -EOWNERDEAD, 1)
STEP_TEST(killed_recovering_and_releasing, make_left_by_the_dead, have, recover_and_release, 0,
          -EOWNERDEAD, 0)
STEP_TEST(killed_giving_up, make_left_by_the_dead, have, release, 0, -EOWNERDEAD, -ENOTRECOVERABLE)
STEP_TEST(killed_waiting, make_held_by_survivor, use_once, acquire, 5, 0, 1)
STEP_TEST(killed_as_its_time_runs_out, make_held_by_survivor, use_once, acquire_until, 0, 0, 1)
STEP_TEST(killed_trying, make_held_by_survivor, use_once, try, 0, 0, 1)

static void have_twice(void *context)
{
    have(context);
    ck_assert_rc(((struct scene *)context)->form->acquire(&((struct scene *)context)->lock, 0), 0);
}

TEST(killed_going_deeper_and_back, .timeout_s = 600)
{
    struct scene *scene = scene_new(1);
    struct step step = {.before = make_free, .check = check, .context = scene};

    scene->codes[0] = -EOWNERDEAD;
    scene->codes[1] = 1;
    step.prepare = have;
    step.run = acquire;
    step_kill_everywhere(&step, POINTS);
    step.prepare = have_twice;
    step.run = release;
    step_kill_everywhere(&step, POINTS);
}

SUITE("shm/lock_step")
