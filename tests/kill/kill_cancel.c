/* SPDX-License-Identifier: MIT */
/*
 * Cancelling against everything that may happen at the same time: a worker that begins with the
 * call or has just finished it, at every instruction; a death after which the call would run again,
 * and its settlement, at every instruction; and all of it at once. What cancel says is always what
 * the future then says, and what was cancelled in time is not run.
 */
#include <tine.h>

#include <errno.h>
#include <pthread.h>
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

#define POINTS  10 /* a fifth of TINE_KILLS */
#define KILLS   50
#define WORKERS 3
#define CALLS   32

/* What became of a call; in the family heap. */
struct trail {
    _Atomic uint32_t begun, ended;
    bool held; /* the first try waits until it is killed */
    int turns; /* how much work it is */
};

static int leave_trail(tine_call *call)
{
    struct trail *trail = *(struct trail **)tine_call_context(call);
    bool first = atomic_fetch_add(&trail->begun, 1) == 0;

    while (first && trail->held)
        pause();
    for (volatile int i = 0; i < trail->turns; i++)
        ;
    atomic_fetch_add(&trail->ended, 1);
    return 0;
}

static tine_future *submit(tine_pool *pool, struct trail *trail, int32_t retries)
{
    tine_job_options options = {
        .context = &trail, .context_size = sizeof trail, .retries = retries};
    tine_future *future;

    ck_assert_ok(tine_pool_submit(&future, pool, leave_trail, &options, ""));
    return future;
}

/* A call behind all others: those who die because of them have died, and nothing is left lying. */
static void run_last(tine_pool *pool)
{
    struct trail *trail = tine_calloc(1, sizeof *trail);
    tine_future *future = submit(pool, trail, TINE_UNLIMITED);

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    tine_future_close(future);
    tine_free(trail);
}

/* ---- one cancellation, one instant ----------------------------------------------------------- */

struct scene {
    tine_pool *pool;
    struct hunt hunt;
    struct trail *trail;
    tine_future *future;
    uint32_t flags;
    int verdict;
    _Atomic bool returned;
    unsigned cancelled, late;
};

static bool scene_open(struct scene *scene, uint32_t flags)
{
    tine_pool_options options = {.workers = 1, .flags = TINE_POOL_NO_SPIN};

    *scene = (struct scene){.flags = flags, .trail = tine_calloc(1, sizeof *scene->trail)};
    ck_assert_ok(tine_pool_open(&scene->pool, &options));
    load_await_size(scene->pool, 0);
    hunt_begin(&scene->hunt, getpid());
    if (trace_grip(hunt_worker(&scene->hunt))) {
        trace_release(hunt_worker(&scene->hunt));
        return true;
    }
    return false;
}

static void scene_close(struct scene *scene, size_t points, size_t way)
{
    if (way > 0)
        printf("flags %u: %zu of %zu instructions, %u cancelled, %u too late\n", scene->flags,
               points, way, scene->cancelled, scene->late);
    tine_pool_close(scene->pool);
    tine_free(scene->trail);
}

static void *cancel(void *context)
{
    struct scene *scene = context;

    scene->verdict = tine_future_cancel(scene->future, scene->flags);
    atomic_store(&scene->returned, true);
    return NULL;
}

/* Cancels while the traced process stands still, which may have to be killed for it, and lets it
   go. */
static void cancel_and_release(struct scene *scene, pid_t traced)
{
    pthread_t thread;

    atomic_store(&scene->returned, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel, scene), 0);
    ck_assert_eventually(scene->returned || tine_future_cancelled(scene->future));
    trace_release(traced);
    pthread_join(thread, NULL);
}

/* The future says what cancel said, and nothing of what was cancelled is run afterwards. */
static void check_verdict(struct scene *scene, uint32_t begun_before)
{
    uint32_t begun = scene->trail->begun;
    int rc;

    ck_assert(scene->verdict == 0 || scene->verdict == 1);
    ck_assert_rc(tine_future_wait(scene->future, TINE_FOREVER), 0);
    rc = tine_future_result(scene->future, 0, NULL);
    ck_assert_int_eq(rc, scene->verdict == 1 ? -ECANCELED : 0);
    run_last(scene->pool);
    if (scene->verdict == 0)
        ck_assert_uint_eq(scene->trail->ended, 1);
    else if (scene->flags == 0)
        ck_assert_uint_eq(scene->trail->begun, begun_before);
    else
        ck_assert_uint_eq(scene->trail->begun, begun);
    scene->cancelled += scene->verdict == 1;
    scene->late += scene->verdict == 0;
    tine_future_close(scene->future);
}

static size_t meet_worker(struct scene *scene, size_t steps)
{
    pid_t worker = hunt_worker(&scene->hunt);
    size_t taken;

    *scene->trail = (struct trail){.begun = 0};
    ck_assert(trace_grip(worker));
    scene->future = submit(scene->pool, scene->trail, 0);
    taken = trace_step(worker, steps);
    cancel_and_release(scene, worker);
    check_verdict(scene, 0);
    return taken;
}

TEST(a_call_is_cancelled_at_any_instruction_of_its_worker, .kills = POINTS * 5, .timeout_s = 60,
     .loop_end = 2, .own_signals = true)
{
    size_t points = kills_wanted((size_t)POINTS * 5) / 5, way = 0;
    struct scene scene;

    if (!scene_open(&scene, loop_index == 0 ? 0 : TINE_CANCEL_RUNNING)) {
        scene_close(&scene, 0, 0);
        SKIP("a worker cannot be traced: %s", strerror(errno));
    }
    way = meet_worker(&scene, TRACE_FOR_EVER);
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++) /* it begins with the call in the first part of the way */
        meet_worker(&scene, trace_point(p, points, p % 2 == 0 ? way / 8 : way));
    scene_close(&scene, points, way);
}

/* Its worker is dead, and it would run again; the nursery is somewhere in its settlement. */
static size_t meet_nursery(struct scene *scene, size_t steps)
{
    size_t taken;

    *scene->trail = (struct trail){.held = true};
    scene->future = submit(scene->pool, scene->trail, TINE_UNLIMITED);
    ck_assert_eventually(scene->trail->begun == 1);
    ck_assert(trace_grip(scene->hunt.nursery));
    hunt_forget(&scene->hunt);
    ck_assert_int_ne(hunt_kill(&scene->hunt, 0), 0);
    taken = trace_step(scene->hunt.nursery, steps);
    cancel_and_release(scene, scene->hunt.nursery);
    check_verdict(scene, 1);
    return taken;
}

TEST(a_call_is_cancelled_at_any_instruction_of_a_settlement, .kills = POINTS * 5, .timeout_s = 60,
     .loop_end = 2, .own_signals = true)
{
    size_t points = kills_wanted((size_t)POINTS * 5) / 5, way = 0;
    struct scene scene;

    if (!scene_open(&scene, loop_index == 0 ? 0 : TINE_CANCEL_RUNNING)) {
        scene_close(&scene, 0, 0);
        SKIP("a nursery cannot be traced: %s", strerror(errno));
    }
    way = meet_nursery(&scene, TRACE_FOR_EVER);
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        meet_nursery(&scene, trace_point(p, points, way));
    scene_close(&scene, points, way);
}

/* ---- all at once ----------------------------------------------------------------------------- */

struct round {
    tine_pool *pool;
    uint64_t number;
    tine_future *futures[CALLS];
    struct trail *trails;
    int32_t retries;
    int verdicts[CALLS];   /* of the cancellation; -1: not asked for */
    uint32_t begun[CALLS]; /* when it had returned */
    uint32_t flags[CALLS];
};

static void *cancel_some(void *context)
{
    struct round *round = context;

    random_fork(round->number);
    for (int n = 0; n < CALLS / 2; n++) {
        size_t i = random_below(CALLS);

        if (round->verdicts[i] >= 0)
            continue;
        round->flags[i] = random_below(2) == 0 ? 0 : TINE_CANCEL_RUNNING;
        round->verdicts[i] = tine_future_cancel(round->futures[i], round->flags[i]);
        round->begun[i] = round->trails[i].begun;
        ck_assert_int_ge(round->verdicts[i], 0);
    }
    return NULL;
}

static void check_round(struct round *round)
{
    for (size_t i = 0; i < CALLS; i++) {
        const struct trail *trail = &round->trails[i];
        int rc = tine_future_result(round->futures[i], TINE_FOREVER, NULL);

        if (round->verdicts[i] == 1) {
            ck_assert_rc(rc, -ECANCELED);
            ck_assert_uint_eq(trail->begun, round->begun[i]);
            ck_assert(round->flags[i] != 0 || round->retries != 0 || trail->begun == 0);
        } else if (rc == 0) {
            ck_assert_uint_ge(trail->ended, 1);
        } else {
            ck_assert_rc(rc, TINE_EWORKER);
            ck_assert_int_eq(round->retries, 0);
        }
        tine_future_close(round->futures[i]);
    }
}

static void run_round(struct round *round, struct hunt *hunt)
{
    pthread_t thread;

    for (size_t i = 0; i < CALLS; i++) {
        round->trails[i] = (struct trail){.turns = (int)random_below(400000)};
        round->verdicts[i] = -1;
        round->futures[i] = submit(round->pool, &round->trails[i], round->retries);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_some, round), 0);
    hunt_forget(hunt);
    hunt_kill(hunt, TINE_US(500));
    pthread_join(thread, NULL);
    for (size_t i = 0; i < CALLS; i++)
        ck_assert_rc(tine_future_wait(round->futures[i], TINE_FOREVER), 0);
    run_last(round->pool);
    check_round(round);
}

TEST(cancelling_amid_deaths, .kills = KILLS, .timeout_s = 60)
{
    struct load_heap heap = load_heap_begin();
    struct round round = {.trails = tine_calloc(CALLS, sizeof *round.trails)};
    size_t kills = kills_wanted(KILLS);
    uint64_t deaths;
    struct hunt hunt;
    tine_pool_counts counts;

    round.pool = load_pool(WORKERS);
    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        round.number++;
        round.retries = random_below(2) == 0 ? 0 : TINE_UNLIMITED;
        run_round(&round, &hunt);
    }
    ck_assert_ok(tine_pool_stats(round.pool, &counts));
    deaths = counts.deaths;
    printf("%ju kills, %ju deaths\n", (uintmax_t)hunt.total, (uintmax_t)deaths);
    tine_pool_close(round.pool);
    tine_free(round.trails);
    load_heap_end(&heap, deaths + WORKERS);
}

/* ---- the slot -------------------------------------------------------------------------------- */

/* From the cancellation until another call runs in the place of the killed worker. */
TEST(a_cancelled_call_frees_its_worker, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "cancel.running", .bound_ns = (uint64_t)TINE_MS(100)};
    struct trail *trails = tine_calloc(2, sizeof *trails);
    size_t kills = kills_wanted(KILLS);
    tine_pool *pool = load_pool(1);

    for (size_t i = 0; i < kills; i++) {
        tine_future *held, *next;
        int64_t before;

        trails[0] = (struct trail){.held = true};
        trails[1] = (struct trail){.held = false};
        held = submit(pool, &trails[0], 0);
        ck_assert_eventually(trails[0].begun == 1);
        next = submit(pool, &trails[1], 0);
        before = now_ns();
        ck_assert_rc(tine_future_cancel(held, TINE_CANCEL_RUNNING), 1);
        ck_assert_rc(tine_future_result(next, TINE_FOREVER, NULL), 0);
        samples_add(&samples, (uint64_t)(now_ns() - before));
        tine_future_close(held);
        tine_future_close(next);
    }
    tine_pool_close(pool);
    tine_free(trails);
    samples_end(&samples);
}

SUITE_BY_METHOD("kill/cancel")
