/* SPDX-License-Identifier: MIT */
/*
 * Processes that take and release one lock are killed at random instants: taking it, inside,
 * releasing it, waiting, recovering it. Whoever comes next gets 0 when nobody was inside, and
 * -EOWNERDEAD once for each death inside; nobody hangs.
 */
#include <tine.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/locks.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS    50
#define TAKERS   3
#define BOUND_NS TINE_MS(100)
#define HANG_NS  TINE_SEC(600)
#define CELLS    8

struct scene {
    union any_lock lock;
    const struct lock_form *form;
    _Atomic int32_t inside;   /* pid of who says that it is, 0: nobody does */
    _Atomic uint64_t reports; /* of deaths, recovered */
    _Atomic uint64_t lost;
    struct gate *rounds;
    uint64_t cells[CELLS]; /* equal, when nobody is inside */
};

static struct scene *scene_new(int form)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->form = &lock_forms[form];
    scene->rounds = gate_new();
    ck_assert_rc(scene->form->init(&scene->lock), 0);
    return scene;
}

/* The caller holds the lock after a death. */
static void repair(struct scene *scene)
{
    for (int i = 1; i < CELLS; i++)
        scene->cells[i] = scene->cells[0];
    scene->inside = 0;
    scene->reports++;
    ck_assert_rc(scene->form->recover(&scene->lock), 0);
}

/* False: it is lost. */
static bool enter(struct scene *scene, int64_t timeout_ns)
{
    int rc = scene->form->acquire(&scene->lock, timeout_ns);

    if (rc == -ENOTRECOVERABLE)
        return false;
    ck_assert_msg(rc == 0 || rc == -EOWNERDEAD, "%s: %s", scene->form->name, tine_errname(rc));
    if (rc == -EOWNERDEAD)
        repair(scene);
    ck_assert_msg(scene->inside == 0, "%s: process %d was inside", scene->form->name,
                  scene->inside);
    scene->inside = getpid();
    return true;
}

static void leave(struct scene *scene)
{
    scene->inside = 0;
    ck_assert_rc(scene->form->release(&scene->lock), 0);
}

static void use(struct scene *scene)
{
    for (int i = 0; i < CELLS; i++)
        ck_assert_uint_eq(scene->cells[i], scene->cells[0]);
    for (int i = 0; i < CELLS; i++)
        scene->cells[i]++;
}

static void take_for_ever(void *context)
{
    struct scene *scene = context;

    while (enter(scene, HANG_NS)) {
        use(scene);
        leave(scene);
        gate_raise(scene->rounds);
    }
}

static void await_takers(struct scene *scene, uint32_t rounds)
{
    gate_await(scene->rounds, scene->rounds->raised + rounds);
}

/* The survivor's turn after a death; how long it took. */
static uint64_t take_my_turn(struct scene *scene)
{
    int64_t begin = now_ns(), end;

    ck_assert(enter(scene, HANG_NS));
    end = now_ns();
    use(scene);
    leave(scene);
    return (uint64_t)(end - begin);
}

TEST(every_death_inside_is_heard_of_once, .kills = KILLS, .loop_end = LOCK_FORMS, .timeout_s = 60)
{
    struct scene *scene = scene_new(loop_index);
    struct samples samples = {.name = scene->form->name, .bound_ns = (uint64_t)BOUND_NS};
    size_t kills = kills_wanted(KILLS);
    struct child takers[TAKERS];

    for (int i = 0; i < TAKERS; i++)
        takers[i] = child_start(take_for_ever, scene);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &takers[random_below(TAKERS)];
        uint64_t reports;

        await_takers(scene, 1);
        pause_randomly(TINE_US(300));
        reports = scene->reports;
        child_kill(victim);
        samples_add(&samples, take_my_turn(scene));
        ck_assert_uint_le(scene->reports, reports + 1);
        *victim = child_start(take_for_ever, scene);
    }
    for (int i = 0; i < TAKERS; i++)
        child_kill(&takers[i]);
    printf("%s: %" PRIu64 " of %zu deaths were inside\n", scene->form->name, scene->reports, kills);
    samples_end(&samples);
}

/* ---- several at once ------------------------------------------------------------------------- */

TEST(all_of_them_die_at_once, .kills = KILLS, .loop_end = LOCK_FORMS, .timeout_s = 60)
{
    struct scene *scene = scene_new(loop_index);
    size_t kills = kills_wanted(KILLS);

    for (size_t k = 0; k < kills; k += TAKERS) {
        struct child takers[TAKERS];

        for (int i = 0; i < TAKERS; i++)
            takers[i] = child_start(take_for_ever, scene);
        await_takers(scene, TAKERS);
        pause_randomly(TINE_US(300));
        for (int i = 0; i < TAKERS; i++)
            child_kill(&takers[i]);
        take_my_turn(scene);
    }
}

/* ---- a lock that is given up ----------------------------------------------------------------- */

static void die_inside(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(scene->form->acquire(&scene->lock, HANG_NS), 0);
}

static void hear_of_the_loss(void *context)
{
    struct scene *scene = context;
    int rc = scene->form->acquire(&scene->lock, HANG_NS);

    gate_raise(scene->rounds);
    if (rc == -EOWNERDEAD)
        rc = scene->form->release(&scene->lock) == 0 ? -ENOTRECOVERABLE : -EPERM;
    ck_assert_rc(rc, -ENOTRECOVERABLE);
    scene->lost++;
}

/* Whoever gets -EOWNERDEAD gives the lock up; one of them is killed meanwhile, the others all
   know. */
TEST(a_lost_lock_is_lost_for_all, .kills = KILLS, .loop_end = LOCK_FORMS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    struct scene *scene = scene_new(loop_index);

    for (size_t k = 0; k < kills; k++) {
        struct child takers[TAKERS], dead;

        scene->lost = 0;
        ck_assert_rc(scene->form->init(&scene->lock), 0);
        dead = child_start(die_inside, scene);
        child_join(&dead);
        for (int i = 0; i < TAKERS; i++)
            takers[i] = child_start(hear_of_the_loss, scene);
        pause_randomly(TINE_US(1500));
        kill(takers[0].pid, SIGKILL);
        for (int i = 0; i < TAKERS; i++)
            ck_assert(child_wait(&takers[i]) == 0 || i == 0);
        ck_assert_uint_ge(scene->lost, TAKERS - 1);
        ck_assert_rc(scene->form->acquire(&scene->lock, HANG_NS), -ENOTRECOVERABLE);
    }
}

SUITE("kill/lock")
