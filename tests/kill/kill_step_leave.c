/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL between any two instructions, as in kill_step.c: of a worker that interrupts a loop for
 * something more urgent, and of one that leaves its place: because the pool shrinks, asleep or in
 * the middle of something; because it is worn; because it has had nothing to do. What it had in
 * hand is lost, or done again, once; what it had interrupted or left is done by others.
 */
#include <tine.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/kill/trace.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS  5 /* a tenth of TINE_KILLS */
#define ITEMS   4
#define STRIDE  16
#define TASKS   2 /* of a worker that is worn then */
#define IDLE_NS TINE_MS(50)
#define LOOPS   LOAD_SUBMIT /* the kinds before it */

struct scene {
    tine_pool *pool;
    struct hunt hunt;
    struct load_heap heap;
    enum load_kind kind;
    int32_t retries; /* of this time */
    uint64_t failed, left;
};

/* False: processes cannot be traced here. */
static bool scene_open(struct scene *scene, const tine_pool_options *options)
{
    bool traced;

    scene->heap = load_heap_begin();
    ck_assert_ok(tine_pool_open(&scene->pool, options));
    load_await_size(scene->pool, 0);
    hunt_begin(&scene->hunt, getpid());
    traced = trace_grip(scene->hunt.nursery);
    if (traced)
        trace_release(scene->hunt.nursery);
    else
        tine_pool_close(scene->pool);
    return traced;
}

static void scene_close(struct scene *scene, size_t points, size_t way)
{
    printf("%zu of %zu instructions: %ju killed, %ju left before, %ju jobs failed\n", points, way,
           (uintmax_t)scene->hunt.total, (uintmax_t)scene->left, (uintmax_t)scene->failed);
    tine_pool_close(scene->pool);
    load_heap_end(&scene->heap, scene->hunt.total);
}

/* One time of what is tested, with a kill after so many steps. How many there were; 0: it could not
   be done this time. */
typedef size_t act_once(struct scene *scene, size_t steps);

static void kill_everywhere(struct scene *scene, act_once *act)
{
    size_t points = kills_wanted(POINTS * 10) / 10, way = 0;

    ck_assert_eventually((way = act(scene, TRACE_FOR_EVER)) != 0);
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++) {
        scene->retries = random_below(2) == 0 ? 0 : TINE_UNLIMITED;
        (void)act(scene, trace_point(p, points, way));
    }
    scene_close(scene, points, way);
}

/* ---- workers --------------------------------------------------------------------------------- */

static pid_t worker_at(const struct scene *scene, int index)
{
    pid_t workers[HUNT_WORKERS_MAX];
    int count = hunt_children(scene->hunt.nursery, workers, HUNT_WORKERS_MAX);
    char name[32];
    struct proc proc;

    snprintf(name, sizeof name, "tine-worker-%d", index);
    for (int i = 0; i < count; i++)
        if (proc_read(workers[i], &proc) && strcmp(proc.name, name) == 0)
            return workers[i];
    return 0;
}

/* The nursery has seen to what it has been told. */
static void await_nursery(const struct scene *scene)
{
    ck_assert_eventually(proc_asleep(scene->hunt.nursery));
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z' || proc.state == 'X';
}

/* Ends a traced worker, unless it has left by itself. */
static void strike(struct scene *scene, pid_t worker)
{
    if (is_gone(worker)) {
        scene->left++;
        return;
    }
    trace_kill(worker);
    scene->hunt.victims[scene->hunt.count++] = worker;
    scene->hunt.total++;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void start(struct scene *scene, struct load *load, enum load_kind kind, int32_t priority)
{
    load_start_plan(
        load, kind, scene->pool,
        &(tine_job_options){.chunk = 1, .retries = scene->retries, .priority = priority},
        &(struct plan){.n = ITEMS, .light = true});
}

/* Until so many items are done; it may sleep for a moment on the way. */
static size_t step_until_done(pid_t worker, const struct load *load, uint64_t items)
{
    size_t taken = 0;

    while (atomic_load(&load->book->calls) < items) {
        size_t steps = trace_step(worker, STRIDE);

        if (steps < STRIDE)
            ck_assert(trace_await_stop(worker));
        taken += steps;
    }
    return taken;
}

/* Whether it failed. */
static bool check(struct scene *scene, struct load *load)
{
    bool failed = false;

    load_finish(load);
    if (scene->retries == TINE_UNLIMITED) {
        load_check_whole(load);
        ck_assert_uint_le(load_repeats(load), scene->hunt.count);
    } else {
        load_check_lost(load, &scene->hunt);
    }
    for (size_t i = 0; i < load->n; i++)
        failed |= load->codes[i] != 0;
    load_free(load);
    scene->failed += failed;
    return failed;
}

/* In the heap. */
struct meeting {
    struct gate come, go[2];
    _Atomic uint32_t there;
    _Atomic int32_t pids[2];
};

static int attend(tine_call *call)
{
    struct meeting *meeting = *(struct meeting **)tine_call_context(call);
    uint32_t seat = atomic_fetch_add(&meeting->there, 1);

    atomic_store(&meeting->pids[seat], getpid());
    gate_raise(&meeting->come);
    gate_await(&meeting->go[seat], 1);
    return 0;
}

/* Two workers are in it when this returns. */
static struct meeting *convene(struct scene *scene, tine_future *futures[2])
{
    struct meeting *meeting = tine_calloc(1, sizeof *meeting);
    tine_job_options options = {.context = &meeting, .context_size = sizeof meeting};

    ck_assert_ptr_nonnull(meeting);
    for (int i = 0; i < 2; i++)
        ck_assert_ok(tine_pool_submit(&futures[i], scene->pool, attend, &options, ""));
    gate_await(&meeting->come, 2);
    return meeting;
}

static void adjourn(struct meeting *meeting, tine_future *futures[2])
{
    for (int i = 0; i < 2; i++)
        gate_raise(&meeting->go[i]);
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), 0);
        tine_future_close(futures[i]);
    }
    tine_free(meeting);
}

/* Both workers have something done: the death of one that never had might be a storm. */
static void busy_both(struct scene *scene)
{
    tine_future *futures[2];

    adjourn(convene(scene, futures), futures);
}

/* ---- giving way ------------------------------------------------------------------------------ */

/* What a worker does once is not stepped through. */
static void warm_up(struct scene *scene, enum load_kind kind, int32_t priority)
{
    struct load load;

    start(scene, &load, kind, priority);
    ck_assert(!check(scene, &load));
}

static size_t give_way(struct scene *scene, size_t steps)
{
    enum load_kind kind = (enum load_kind)random_below(LOAD_KINDS);
    pid_t worker = hunt_worker(&scene->hunt);
    struct load loop, urgent;
    size_t taken = 0;
    bool failed;

    hunt_forget(&scene->hunt);
    warm_up(scene, scene->kind, 3);
    warm_up(scene, kind, -1);
    ck_assert(trace_grip(worker));
    start(scene, &loop, scene->kind, 3);
    step_until_done(worker, &loop, 1);
    start(scene, &urgent, kind, -1);
    if (steps == TRACE_FOR_EVER)
        taken = step_until_done(worker, &urgent, ITEMS);
    ck_assert(taken == 0 || atomic_load(&loop.book->calls) < ITEMS);
    taken += trace_step(worker, steps);
    strike(scene, worker);
    failed = check(scene, &urgent);
    ck_assert(!check(scene, &loop) || !failed);
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(a_worker_may_die_at_any_instruction_of_giving_way, .kills = POINTS * 10, .timeout_s = 60,
     .loop_end = LOOPS, .own_signals = true)
{
    struct scene scene = {.kind = (enum load_kind)loop_index};

    if (!scene_open(&scene, &(tine_pool_options){.workers = 1, .flags = TINE_POOL_NO_SPIN}))
        SKIP("a worker cannot be traced: %s", strerror(errno));
    kill_everywhere(&scene, give_way);
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* As trace_step(), through its sleeps, until it has left. */
static size_t step_through(pid_t pid, size_t steps)
{
    size_t taken = 0;
    bool stopped = true;

    trace_looks(true);
    while (stopped && taken < steps && ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0) {
        do
            stopped = trace_await_stop(pid);
        while (!stopped && !is_gone(pid));
        taken += stopped;
        ck_assert_uint_lt(taken, TRACE_STEPS_MAX);
    }
    trace_looks(false);
    if (!stopped) /* its death may not have been seen */
        (void)waitpid(pid, NULL, __WALL);
    return taken;
}

static size_t leave_asleep(struct scene *scene, size_t steps)
{
    size_t taken;
    pid_t worker;

    busy_both(scene);
    worker = worker_at(scene, 1);
    ck_assert(trace_grip(worker));
    ck_assert_ok(tine_pool_resize(scene->pool, 1));
    await_nursery(scene);
    taken = step_through(worker, steps);
    strike(scene, worker);
    ck_assert(steps != TRACE_FOR_EVER || scene->left == 1);
    ck_assert_ok(tine_pool_resize(scene->pool, 2));
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(a_worker_may_die_at_any_instruction_when_it_leaves, .kills = POINTS * 10, .timeout_s = 60,
     .own_signals = true)
{
    struct scene scene = {.kind = LOAD_SUBMIT};

    if (!scene_open(&scene, &(tine_pool_options){.workers = 2, .flags = TINE_POOL_NO_SPIN}))
        SKIP("a worker cannot be traced: %s", strerror(errno));
    kill_everywhere(&scene, leave_asleep);
}

static void end(void *context, void *state)
{
    (void)context;
    (void)state;
}

/* It is dismissed in the middle, as its sibling stands still. */
static size_t leave_amid(struct scene *scene, size_t steps)
{
    pid_t sibling, worker;
    struct load load;
    size_t taken;

    busy_both(scene);
    hunt_forget(&scene->hunt);
    sibling = worker_at(scene, 0);
    worker = worker_at(scene, 1);
    ck_assert(trace_grip(sibling));
    ck_assert(trace_grip(worker));
    start(scene, &load, scene->kind, 0);
    step_until_done(worker, &load, 1);
    ck_assert_ok(tine_pool_resize(scene->pool, 1));
    await_nursery(scene);
    taken = step_through(worker, steps);
    strike(scene, worker);
    ck_assert(steps != TRACE_FOR_EVER || scene->left == 1);
    ck_assert(steps != TRACE_FOR_EVER || atomic_load(&load.book->calls) < ITEMS);
    trace_release(sibling);
    check(scene, &load);
    ck_assert_ok(tine_pool_resize(scene->pool, 2));
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(a_worker_may_die_at_any_instruction_when_it_leaves_amid_work, .kills = POINTS * 10,
     .timeout_s = 60, .loop_end = LOAD_KINDS, .own_signals = true)
{
    tine_pool_options options = {
        .workers = 2, .finalizer = loop_index % 2 == 0 ? end : NULL, .flags = TINE_POOL_NO_SPIN};
    struct scene scene = {.kind = (enum load_kind)loop_index};

    if (!scene_open(&scene, &options))
        SKIP("a worker cannot be traced: %s", strerror(errno));
    kill_everywhere(&scene, leave_amid);
}

/* One that is not just leaving, whichever. */
static bool grip_sleeper(struct scene *scene, pid_t *worker)
{
    ck_assert_eventually((*worker = hunt_worker(&scene->hunt)) != 0 && proc_asleep(*worker));
    return trace_grip(*worker);
}

static size_t wear_out(struct scene *scene, size_t steps)
{
    struct load load;
    size_t taken;
    pid_t worker;

    hunt_forget(&scene->hunt);
    if (!grip_sleeper(scene, &worker))
        return 0;
    start(scene, &load, scene->kind, 0);
    taken = step_through(worker, steps);
    strike(scene, worker);
    check(scene, &load);
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(a_worker_may_die_at_any_instruction_when_it_is_worn, .kills = POINTS * 10, .timeout_s = 60,
     .loop_end = LOAD_KINDS, .own_signals = true)
{
    tine_pool_options options = {.workers = 1,
                                 .max_tasks_per_worker = TASKS,
                                 .finalizer = loop_index % 2 == 0 ? end : NULL,
                                 .flags = TINE_POOL_NO_SPIN};
    struct scene scene = {.kind = (enum load_kind)loop_index};

    if (!scene_open(&scene, &options))
        SKIP("a worker cannot be traced: %s", strerror(errno));
    kill_everywhere(&scene, wear_out);
}

/* The other one is busy meanwhile. */
static size_t idle_out(struct scene *scene, size_t steps)
{
    tine_future *futures[2];
    struct meeting *meeting = convene(scene, futures);
    pid_t worker = atomic_load(&meeting->pids[0]);
    size_t taken = 0;

    gate_raise(&meeting->go[0]);
    ck_assert_eventually(proc_asleep(worker) || is_gone(worker));
    if (!is_gone(worker) && trace_grip(worker)) {
        taken = step_through(worker, steps);
        strike(scene, worker);
    }
    adjourn(meeting, futures);
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(a_worker_may_die_at_any_instruction_when_it_has_idled, .kills = POINTS * 10, .timeout_s = 60,
     .own_signals = true)
{
    tine_pool_options options = {
        .workers = 2, .workers_min = 1, .idle_timeout_ns = IDLE_NS, .flags = TINE_POOL_NO_SPIN};
    struct scene scene = {.kind = LOAD_SUBMIT};

    if (!scene_open(&scene, &options))
        SKIP("a worker cannot be traced: %s", strerror(errno));
    kill_everywhere(&scene, idle_out);
}

SUITE_BY_METHOD("kill/step_leave")
