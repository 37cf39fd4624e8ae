/* SPDX-License-Identifier: MIT */
/* SIGKILL after every instruction of tine_once_run(): the next one is served, and does it if need
   be. */
#include "shm/once.h"

#include <errno.h>
#include <unistd.h>

#include <tine/time.h>

#include "tests/shm/once_help.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/wait.h"

#define POINTS 40

static struct child other;

static int work(void *context)
{
    struct scene *scene = context;

    scene->calls++;
    return scene->fail ? -EIO : 0;
}

static void fresh(void *context)
{
    struct scene *scene = context;

    scene->once = (tine_once)TINE_ONCE_INIT;
    scene->calls = 0;
}

static void run(void *context)
{
    struct scene *scene = context;

    (void)!tine_once_run(&scene->once, work, scene, TINE_MS(1));
}

static void run_twice(void *context)
{
    run(context);
    run(context);
}

/* The victim did it, or it is done now. */
static void check(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    uint32_t before = scene->calls;

    (void)victim;
    scene->fail = 0;
    ck_assert_rc(tine_once_run(&scene->once, work, scene, 0), 0);
    ck_assert_msg(scene->calls >= 1 && scene->calls <= before + 1,
                  "after %ld instructions: %u calls", steps, scene->calls);
    ck_assert_rc(tine_once_run(&scene->once, work, scene, 0), 0);
    ck_assert_uint_le(scene->calls, before + 1);
}

TEST(killed_in_a_run, .timeout_s = 300)
{
    struct scene *scene = shared_memory(sizeof *scene);

    step_kill_everywhere(
        &(struct step){.before = fresh, .run = run, .check = check, .context = scene}, POINTS);
}

static void fresh_failing(void *context)
{
    fresh(context);
    ((struct scene *)context)->fail = 1;
}

TEST(killed_in_a_run_that_fails, .timeout_s = 300)
{
    struct scene *scene = shared_memory(sizeof *scene);

    step_kill_everywhere(
        &(struct step){.before = fresh_failing, .run = run_twice, .check = check, .context = scene},
        POINTS);
}

static void taken(void *context)
{
    struct scene *scene = context;

    fresh(scene);
    scene->entered = gate_new();
    other = child_start(run_and_stay, scene);
    gate_await(scene->entered, 1);
}

static void orphaned(void *context)
{
    taken(context);
    child_kill(&other);
}

TEST(killed_while_taking_over, .timeout_s = 300)
{
    struct scene *scene = shared_memory(sizeof *scene);

    step_kill_everywhere(
        &(struct step){.before = orphaned, .run = run, .check = check, .context = scene}, POINTS);
}

static void check_after_wait(long steps, pid_t victim, void *context)
{
    child_kill(&other);
    check(steps, victim, context);
}

TEST(killed_while_waiting, .timeout_s = 300)
{
    struct scene *scene = shared_memory(sizeof *scene);

    step_kill_everywhere(
        &(struct step){.before = taken, .run = run, .check = check_after_wait, .context = scene},
        POINTS);
}

SUITE("shm/once_step")
