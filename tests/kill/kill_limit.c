/* SPDX-License-Identifier: MIT */
/*
 * Time limits against everything that may happen at the same time: items that end just when their
 * time is over, workers that are killed or stand still at any instruction, a nursery that does.
 * Only the item whose time was over is ever hit, once, and never the one after.
 */
#include <tine.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/kill/trace.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS  20 /* two fifths of TINE_KILLS */
#define KILLS   50
#define WORKERS 3
#define CALLS   16
#define LIMIT   TINE_MS(1)

enum end { AT_ONCE, AFTER_TURNS, WHEN_TOLD, NEVER };

/* What becomes of a call; in the family heap. */
struct trail {
    _Atomic uint32_t begun, ended, told;
    enum end end;
    int turns;
    int64_t begun_ns;
};

static void be_told(int signal)
{
    (void)signal;
}

/* A signal that came later would kill the worker. */
static int leave_trail(tine_call *call)
{
    struct trail *trail = *(struct trail **)tine_call_context(call);

    signal(SIGUSR1, be_told);
    trail->begun_ns = now_ns();
    atomic_fetch_add(&trail->begun, 1);
    for (int i = 0; trail->end == NEVER || (trail->end == WHEN_TOLD && trail->told == 0) ||
                    (trail->end == AFTER_TURNS && i < trail->turns);
         i++)
        ;
    atomic_fetch_add(&trail->ended, 1);
    signal(SIGUSR1, SIG_DFL);
    return 0;
}

static tine_future *submit(tine_pool *pool, struct trail *trail, int64_t limit)
{
    tine_job_options options = {.context = &trail,
                                .context_size = sizeof trail,
                                .task_timeout_ns = limit / 2,
                                .task_kill_ns = limit};
    tine_future *future;

    ck_assert_ok(tine_pool_submit(&future, pool, leave_trail, &options, ""));
    return future;
}

static tine_pool *pool_of(int workers)
{
    tine_pool_options options = {
        .workers = workers, .flags = TINE_POOL_NO_SPIN, .stop_signal = SIGUSR1};
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &options));
    load_await_size(pool, 0);
    return pool;
}

/* A call behind another one that was limited: nothing of that one's is its business. */
static void run_next(tine_pool *pool)
{
    struct trail *trail = tine_calloc(1, sizeof *trail);
    tine_future *future = submit(pool, trail, 0);

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    tine_future_close(future);
    tine_free(trail);
}

/* ---- one limit, one instant ------------------------------------------------------------------ */

struct scene {
    tine_pool *pool;
    struct hunt hunt;
    struct trail *trail;
    unsigned late, in_time;
};

static bool scene_open(struct scene *scene, bool of_nursery)
{
    pid_t traced;

    *scene = (struct scene){.pool = pool_of(1), .trail = tine_calloc(1, sizeof *scene->trail)};
    hunt_begin(&scene->hunt, getpid());
    traced = of_nursery ? scene->hunt.nursery : hunt_worker(&scene->hunt);
    if (!trace_grip(traced))
        return false;
    trace_release(traced);
    return true;
}

static void scene_close(struct scene *scene, size_t points, size_t way)
{
    if (way > 0)
        printf("%zu of %zu instructions, %u ended at the limit, %u in time\n", points, way,
               scene->late, scene->in_time);
    tine_pool_close(scene->pool);
    tine_free(scene->trail);
}

static void check_end(struct scene *scene, tine_future *future)
{
    int rc = tine_future_result(future, TINE_FOREVER, NULL);

    ck_assert_int_le(scene->trail->begun, 1);
    if (rc == 0)
        ck_assert_uint_eq(scene->trail->ended, 1);
    else
        ck_assert_rc(rc, TINE_ELIMIT);
    scene->late += rc != 0;
    scene->in_time += rc == 0;
    tine_future_close(future);
    run_next(scene->pool);
}

/* It stands until its time must be over, if it has begun. */
static size_t meet_worker(struct scene *scene, size_t steps)
{
    pid_t worker = hunt_worker(&scene->hunt);
    tine_future *future;
    size_t taken;

    *scene->trail = (struct trail){.end = AT_ONCE};
    ck_assert(trace_grip(worker));
    future = submit(scene->pool, scene->trail, steps == TRACE_FOR_EVER ? TINE_SEC(1000) : LIMIT);
    taken = trace_step(worker, steps);
    ck_assert(tine_future_wait(future, 3 * LIMIT) <= 0); /* or it has not begun */
    trace_release(worker);
    check_end(scene, future);
    return taken;
}

TEST(a_limit_at_any_instruction_of_a_worker, .kills = POINTS * 5 / 2, .timeout_s = 60,
     .own_signals = true)
{
    size_t points = kills_wanted((size_t)POINTS * 5 / 2) * 2 / 5, way;
    struct scene scene;

    if (!scene_open(&scene, false)) {
        scene_close(&scene, 0, 0);
        SKIP("a worker cannot be traced: %s", strerror(errno));
    }
    way = meet_worker(&scene, TRACE_FOR_EVER);
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        meet_worker(&scene, trace_point(p, points, way));
    scene_close(&scene, points, way);
}

/* It stands somewhere between the nudge, the soft and the hard limit, and the item ends just
   then. */
static size_t meet_nursery(struct scene *scene, size_t steps)
{
    tine_future *future;
    size_t taken;

    *scene->trail = (struct trail){.end = WHEN_TOLD};
    ck_assert(trace_grip(scene->hunt.nursery));
    future = submit(scene->pool, scene->trail, LIMIT);
    taken = trace_step(scene->hunt.nursery, steps);
    atomic_store(&scene->trail->told, 1);
    ck_assert(tine_future_wait(future, LIMIT / 4) <= 0); /* or it waits for its signal */
    trace_release(scene->hunt.nursery);
    check_end(scene, future);
    return taken;
}

TEST(an_item_that_ends_at_any_instruction_of_its_limit, .kills = POINTS * 5 / 2, .timeout_s = 60,
     .own_signals = true)
{
    size_t points = kills_wanted((size_t)POINTS * 5 / 2) * 2 / 5, way;
    struct scene scene;

    if (!scene_open(&scene, true)) {
        scene_close(&scene, 0, 0);
        SKIP("a nursery cannot be traced: %s", strerror(errno));
    }
    way = meet_nursery(&scene, TRACE_FOR_EVER);
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++) /* most of the way is the next worker's start */
        meet_nursery(&scene, trace_point(p, points, p % 4 == 0 ? way : way / 4));
    scene_close(&scene, points, way);
}

/* ---- all at once ----------------------------------------------------------------------------- */

struct round {
    tine_pool *pool;
    struct trail *trails;
    tine_future *futures[CALLS];
    uint64_t limited, dead;
};

static void start_round(struct round *round)
{
    for (size_t i = 0; i < CALLS; i++) {
        bool for_ever = random_below(8) == 0;

        round->trails[i] = (struct trail){.end = for_ever ? NEVER : AFTER_TURNS,
                                          .turns = (int)random_below(1000000)};
        round->futures[i] = submit(round->pool, &round->trails[i], LIMIT);
    }
}

static void check_round(struct round *round)
{
    for (size_t i = 0; i < CALLS; i++) {
        const struct trail *trail = &round->trails[i];
        int rc = tine_future_result(round->futures[i], TINE_FOREVER, NULL);

        /* never twice; 0: its time, or its worker's, was over before its first instruction */
        ck_assert_uint_le(trail->begun, 1);
        if (rc == 0)
            ck_assert_uint_eq(trail->ended, 1);
        else
            ck_assert(rc == TINE_ELIMIT || rc == TINE_EWORKER);
        round->limited += rc == TINE_ELIMIT;
        round->dead += rc == TINE_EWORKER;
        tine_future_close(round->futures[i]);
    }
}

/* Every second round with a kill from outside. */
TEST(limits_amid_deaths, .kills = KILLS, .timeout_s = 60)
{
    struct load_heap heap = load_heap_begin();
    struct round round = {.pool = pool_of(WORKERS),
                          .trails = tine_calloc(CALLS, sizeof *round.trails)};
    size_t kills = kills_wanted(KILLS);
    tine_pool_counts counts;
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (round.limited + hunt.total < kills) {
        start_round(&round);
        hunt_forget(&hunt);
        if (random_below(2) == 0)
            hunt_kill(&hunt, TINE_MS(1));
        check_round(&round);
        ck_assert_uint_le(round.dead, hunt.total);
    }
    run_next(round.pool);
    ck_assert_ok(tine_pool_stats(round.pool, &counts));
    printf("%ju items at their limit, %ju kills, of which %ju hit an item; %ju deaths\n",
           (uintmax_t)round.limited, (uintmax_t)hunt.total, (uintmax_t)round.dead,
           (uintmax_t)counts.deaths);
    tine_pool_close(round.pool);
    tine_free(round.trails);
    load_heap_end(&heap, counts.deaths + WORKERS);
}

/* ---- how late -------------------------------------------------------------------------------- */

/* From when its time was over until its caller knows. */
TEST(the_caller_of_a_late_item_is_told_within_the_bound, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "limit.hard.told", .bound_ns = (uint64_t)TINE_MS(100)};
    struct trail *trail = tine_calloc(1, sizeof *trail);
    size_t kills = kills_wanted(KILLS);
    tine_pool *pool = pool_of(1);

    for (size_t i = 0; i < kills; i++) {
        tine_future *future;
        int64_t late;

        *trail = (struct trail){.end = NEVER};
        future = submit(pool, trail, LIMIT);
        ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), TINE_ELIMIT);
        late = now_ns() - trail->begun_ns - LIMIT;
        samples_add(&samples, late > 0 && trail->begun > 0 ? (uint64_t)late : 0);
        tine_future_close(future);
    }
    tine_pool_close(pool);
    tine_free(trail);
    samples_end(&samples);
}

SUITE_BY_METHOD("kill/limit")
