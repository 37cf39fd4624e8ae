/* SPDX-License-Identifier: MIT */
/*
 * Calls with keys between any two instructions, as in kill_step.c: the worker that has the key, the
 * nursery that gives it to a worker or takes it over from a dead one, and the program that submits
 * are killed there, or stand there while others go on. Every call has one outcome, those of a key
 * begin in order, and no two of them run at a time.
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
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS  5 /* a tenth of TINE_KILLS */
#define CALLS   3
#define KEY     7
#define OTHER   8
#define LATE_NS TINE_MS(20) /* longer than most of the steps take */

/* ---- calls ----------------------------------------------------------------------------------- */

/* Of one key, in the heap. Numbers begin with 1. */
struct row {
    _Atomic uint32_t last;
    _Atomic uint32_t wrong; /* one was begun out of order, or while another ran */
    _Atomic uint32_t begun[CALLS + 2], ended[CALLS + 2];
};

struct page {
    struct row *row;
    uint32_t number;
};

static int write_page(tine_call *call)
{
    const struct page *page = tine_call_context(call);
    struct row *row = page->row;

    atomic_fetch_add(&row->begun[page->number], 1);
    if (atomic_exchange(&row->last, page->number) > page->number)
        atomic_fetch_add(&row->wrong, 1);
    if (atomic_load(&row->last) != page->number)
        atomic_fetch_add(&row->wrong, 1);
    atomic_fetch_add(&row->ended[page->number], 1);
    return tine_return(call, "q", (int64_t)getpid());
}

static struct row *row_new(void)
{
    struct row *row = tine_calloc(1, sizeof *row);

    ck_assert_ptr_nonnull(row);
    return row;
}

static tine_future *submit(tine_pool *pool, uint64_t key, struct page page, int32_t retries)
{
    tine_job_options options = {.key = key,
                                .retries = retries,
                                .backoff_ns = retries == 0 ? 0 : (int64_t)random_below(2) * 1000,
                                .context = &page,
                                .context_size = sizeof page};
    tine_future *future;

    ck_assert_ok(tine_pool_submit(&future, pool, write_page, &options, ""));
    return future;
}

static pid_t finish(tine_future *future)
{
    int64_t pid = 0;

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &pid), 0);
    tine_future_close(future);
    return (pid_t)pid;
}

/* Runs a call of that key alone; who has the key. */
static pid_t run(tine_pool *pool, uint64_t key)
{
    struct row *row = row_new();
    pid_t pid = finish(submit(pool, key, (struct page){row, 1}, TINE_UNLIMITED));

    tine_free(row);
    return pid;
}

/* ---- a few calls of one key ------------------------------------------------------------------ */

struct batch {
    struct row *row;
    int32_t retries;
    tine_future *futures[CALLS];
};

static void batch_submit(struct batch *batch, tine_pool *pool, int32_t retries)
{
    *batch = (struct batch){.row = row_new(), .retries = retries};
    for (uint32_t i = 0; i < CALLS; i++)
        batch->futures[i] = submit(pool, KEY, (struct page){batch->row, i + 1}, retries);
}

/* How many failed. */
static unsigned batch_finish(struct batch *batch)
{
    struct row *row = batch->row;
    unsigned lost = 0;

    for (uint32_t i = 0; i < CALLS; i++) {
        int rc = tine_future_result(batch->futures[i], TINE_FOREVER, NULL);

        tine_future_close(batch->futures[i]);
        ck_assert(rc == 0 || (rc == TINE_EWORKER && batch->retries == 0));
        ck_assert_uint_ge(row->ended[i + 1], rc == 0);
        ck_assert_uint_le(row->begun[i + 1], batch->retries == 0 ? 1 : 2);
        lost += rc != 0;
    }
    ck_assert_uint_eq(row->wrong, 0);
    tine_free(row);
    return lost;
}

/* ---- places ---------------------------------------------------------------------------------- */

struct scene {
    tine_pool *pool;
    struct hunt hunt;
    struct load_heap heap;
    bool fresh; /* the key is one that nobody has had */
    unsigned lost;
};

static void scene_open(struct scene *scene)
{
    tine_pool_options options = {.workers = 2, .flags = TINE_POOL_NO_SPIN};

    ck_assert_ok(tine_pool_open(&scene->pool, &options));
    load_await_size(scene->pool, 0);
    hunt_begin(&scene->hunt, getpid());
}

/* False: processes cannot be traced here. */
static bool scene_begin(struct scene *scene)
{
    pid_t nursery;

    scene->heap = load_heap_begin();
    scene_open(scene);
    nursery = scene->hunt.nursery;
    if (trace_grip(nursery)) {
        trace_release(nursery);
        return true;
    }
    tine_pool_close(scene->pool);
    return false;
}

static void scene_end(struct scene *scene, size_t points, size_t way)
{
    printf("%zu of %zu instructions: %u calls lost\n", points, way, scene->lost);
    tine_pool_close(scene->pool);
    load_heap_end(&scene->heap, scene->hunt.total);
}

/* One time of what is tested, with what shall happen after so many steps. How many there were. */
typedef size_t act_once(struct scene *scene, size_t steps);

static size_t act_everywhere(struct scene *scene, act_once *act, size_t *points)
{
    size_t way = act(scene, TRACE_FOR_EVER);

    *points = kills_wanted(POINTS * 10) / 10;
    if (*points > way)
        *points = way;
    for (size_t p = 0; p < *points; p++)
        (void)act(scene, trace_point(p, *points, way));
    return way;
}

static void test_in_one_pool(act_once *act)
{
    struct scene scene = {.fresh = false};
    size_t points, way;

    if (!scene_begin(&scene))
        SKIP("processes cannot be traced: %s", strerror(errno));
    way = act_everywhere(&scene, act, &points);
    scene_end(&scene, points, way);
}

static void kill_traced(struct scene *scene, pid_t worker)
{
    trace_kill(worker);
    scene->hunt.total++;
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z' || proc.state == 'X';
}

/* ---- the worker ------------------------------------------------------------------------------ */

static size_t kill_owner(struct scene *scene, size_t steps)
{
    int32_t retries = random_below(2) == 0 ? 0 : TINE_UNLIMITED;
    pid_t owner = run(scene->pool, KEY);
    struct batch batch;
    unsigned lost;
    size_t taken;

    ck_assert(trace_grip(owner));
    batch_submit(&batch, scene->pool, retries);
    taken = trace_step(owner, steps);
    kill_traced(scene, owner);
    lost = batch_finish(&batch);
    ck_assert_uint_le(lost, 1);
    scene->lost += lost;
    ck_assert_int_ne(run(scene->pool, KEY), owner);
    load_await_size(scene->pool, scene->hunt.total);
    return taken;
}

TEST(who_has_the_key_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60,
     .own_signals = true)
{
    test_in_one_pool(kill_owner);
}

/* Where it stands its sibling goes on, waits end, and what has not begun can be cancelled. */
static size_t stop_owner(struct scene *scene, size_t steps)
{
    pid_t owner = run(scene->pool, KEY);
    struct row *row = row_new();
    tine_future *futures[CALLS];
    size_t taken;
    int rc, cancelled;

    ck_assert_int_ne(run(scene->pool, OTHER), owner);
    ck_assert(trace_grip(owner));
    for (uint32_t i = 0; i < CALLS; i++)
        futures[i] = submit(scene->pool, KEY, (struct page){row, i + 1}, 0);
    taken = trace_step(owner, steps);
    ck_assert_int_ne(run(scene->pool, OTHER), owner);
    ck_assert_int_ne(run(scene->pool, 0), owner);
    rc = tine_future_wait(futures[CALLS - 1], TINE_US(100));
    ck_assert(rc == 0 || rc == -ETIMEDOUT);
    cancelled = tine_future_cancel(futures[1], 0);
    if (cancelled == 1)
        ck_assert_rc(tine_future_result(futures[1], TINE_FOREVER, NULL), -ECANCELED);
    trace_release(owner);
    ck_assert_int_eq(finish(futures[0]), owner);
    ck_assert_int_eq(finish(futures[2]), owner);
    ck_assert_uint_eq(row->begun[2], cancelled != 1);
    if (cancelled != 1)
        ck_assert_rc(tine_future_result(futures[1], TINE_FOREVER, NULL), 0);
    tine_future_close(futures[1]);
    ck_assert_uint_eq(row->wrong, 0);
    tine_free(row);
    return taken;
}

TEST(who_has_the_key_may_stand_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60,
     .own_signals = true)
{
    test_in_one_pool(stop_owner);
}

/* ---- a call that is late --------------------------------------------------------------------- */

struct late {
    tine_pool *pool;
    struct page page;
    int64_t timeout_ns;
    _Atomic bool returned;
    int rc;
};

static void *apply(void *context)
{
    struct late *late = context;
    tine_job_options options = {.key = KEY,
                                .timeout_ns = late->timeout_ns,
                                .context = &late->page,
                                .context_size = sizeof late->page};
    tine_results *results;

    late->rc = tine_pool_apply(&results, late->pool, write_page, &options, "");
    if (late->rc == 0)
        tine_results_close(results);
    atomic_store(&late->returned, true);
    return NULL;
}

static uint64_t count_submitted(const struct scene *scene)
{
    tine_pool_counts counts;

    ck_assert_ok(tine_pool_stats(scene->pool, &counts));
    return counts.submitted;
}

/* Whoever submits it gives it up as it begins, or is just through, or not that far: then nothing of
   it runs from then on. */
static size_t be_late(struct scene *scene, size_t steps)
{
    pid_t owner = run(scene->pool, KEY);
    struct row *row = row_new();
    struct late late = {.pool = scene->pool,
                        .page = {row, 1},
                        .timeout_ns = steps == TRACE_FOR_EVER ? TINE_SEC(1000) : LATE_NS};
    uint64_t submitted = count_submitted(scene);
    uint32_t begun, ended;
    pthread_t thread;
    size_t taken;

    ck_assert(trace_grip(owner));
    ck_assert_int_eq(pthread_create(&thread, NULL, apply, &late), 0);
    ck_assert_eventually(count_submitted(scene) > submitted);
    taken = trace_step(owner, steps);
    ck_assert_eventually(atomic_load(&late.returned) || is_gone(owner));
    begun = row->begun[1];
    ended = row->ended[1];
    scene->hunt.total += is_gone(owner);
    trace_release(owner);
    pthread_join(thread, NULL);
    (void)run(scene->pool, KEY);
    if (late.rc == 0) {
        ck_assert_uint_eq(row->ended[1], 1);
    } else {
        ck_assert_rc(late.rc, -ETIMEDOUT);
        ck_assert_uint_eq(row->begun[1], begun);
        ck_assert_uint_eq(row->ended[1], ended);
        scene->lost++;
    }
    tine_free(row);
    return taken;
}

TEST(a_call_may_be_late_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60,
     .own_signals = true)
{
    test_in_one_pool(be_late);
}

/* ---- the nursery ----------------------------------------------------------------------------- */

/* A key comes to a worker: a new one, or one whose worker has just died. The nursery has gone so
   many steps of that. */
static size_t hand_over(struct scene *scene, struct batch *batch, int32_t retries, size_t steps)
{
    pid_t owner = scene->fresh ? 0 : run(scene->pool, KEY), nursery = scene->hunt.nursery;

    (void)run(scene->pool, OTHER);
    ck_assert(trace_grip(nursery));
    if (owner != 0)
        ck_assert(trace_grip(owner));
    batch_submit(batch, scene->pool, retries);
    if (owner != 0) {
        trace_step(owner, random_below(2000));
        kill_traced(scene, owner);
    }
    return trace_step(nursery, steps);
}

/* lost: blocks of the heap, at most, at each point. */
static void hand_over_everywhere(bool fresh, act_once *act, uint64_t lost)
{
    struct scene scene = {.fresh = fresh};
    size_t points, way;

    if (!scene_begin(&scene))
        SKIP("processes cannot be traced: %s", strerror(errno));
    tine_pool_close(scene.pool);
    way = act_everywhere(&scene, act, &points);
    printf("%zu of %zu instructions: %u calls lost\n", points, way, scene.lost);
    load_heap_end(&scene.heap, lost * (points + 1));
}

/* Then the pool is broken, and whoever waits for a call hears of it. */
static size_t kill_nursery(struct scene *scene, size_t steps)
{
    struct batch batch;
    size_t taken;

    scene_open(scene);
    taken = hand_over(scene, &batch, 0, steps);
    trace_kill(scene->hunt.nursery);
    scene->lost += batch_finish(&batch);
    tine_pool_close(scene->pool);
    orphans_reap();
    return taken;
}

TEST(the_nursery_may_die_at_any_instruction_of_handing_a_key_over, .kills = POINTS * 10,
     .timeout_s = 60, .loop_end = 2, .own_signals = true)
{
    orphans_adopt();
    hand_over_everywhere(loop_index == 0, kill_nursery, 4);
}

static size_t stop_nursery(struct scene *scene, size_t steps)
{
    struct batch batch;
    size_t taken;
    int rc;

    scene_open(scene);
    taken = hand_over(scene, &batch, TINE_UNLIMITED, steps);
    if (scene->fresh) /* else it may have been the dead one's */
        (void)run(scene->pool, OTHER);
    rc = tine_future_wait(batch.futures[CALLS - 1], TINE_US(100));
    ck_assert(rc == 0 || rc == -ETIMEDOUT);
    trace_release(scene->hunt.nursery);
    ck_assert_uint_eq(batch_finish(&batch), 0);
    load_await_size(scene->pool, scene->fresh ? 0 : 1);
    tine_pool_close(scene->pool);
    return taken;
}

TEST(the_nursery_may_stand_at_any_instruction_of_handing_a_key_over, .kills = POINTS * 10,
     .timeout_s = 60, .loop_end = 2, .own_signals = true)
{
    hand_over_everywhere(loop_index == 0, stop_nursery, 1);
}

/* ---- the program ----------------------------------------------------------------------------- */

/* A program beside the test, in memory that both share. */
struct program {
    struct gate *ready, *go, *submitted, *end;
    _Atomic int32_t *owner;
    bool fresh;
};

static void run_program(void *context)
{
    const struct program *program = context;
    tine_pool_options options = {.workers = 2, .flags = TINE_POOL_NO_SPIN};
    struct batch batch;
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &options));
    load_await_size(pool, 0);
    (void)run(pool, 0);
    if (!program->fresh)
        atomic_store(program->owner, run(pool, KEY));
    gate_raise(program->ready);
    gate_await(program->go, 1);
    batch_submit(&batch, pool, TINE_UNLIMITED);
    gate_raise(program->submitted);
    gate_await(program->end, 1);
    ck_assert_uint_eq(batch_finish(&batch), 0);
    tine_pool_close(pool);
}

/* It has gone so many steps of submitting, 0: it cannot be traced. */
static size_t step_program(struct program *program, struct child *child, size_t steps)
{
    size_t taken;

    program->ready = gate_new();
    program->go = gate_new();
    program->submitted = gate_new();
    program->end = gate_new();
    program->owner = shared_memory(sizeof *program->owner);
    *child = child_start(run_program, program);
    gate_await(program->ready, 1);
    if (!trace_grip(child->pid)) {
        child_kill(child);
        return 0;
    }
    gate_raise(program->go);
    taken = trace_step(child->pid, steps);
    return taken > 0 ? taken : 1;
}

/* All that it had goes with it, but for its memory in the heap that it shares with the test. */
static size_t kill_program(struct program *program, size_t steps)
{
    struct child child;
    size_t taken = step_program(program, &child, steps);

    if (taken > 0)
        trace_kill(child.pid);
    orphans_reap();
    return taken;
}

/* Meanwhile the worker that has the key dies. */
static size_t stop_program(struct program *program, size_t steps)
{
    struct child child;
    size_t taken = step_program(program, &child, steps);
    struct hunt hunt;

    if (taken == 0)
        return 0;
    hunt_begin(&hunt, child.pid);
    if (!program->fresh)
        ck_assert(hunt_signal(hunt.nursery, atomic_load(program->owner), SIGKILL));
    trace_release(child.pid);
    gate_raise(program->end);
    child_join(&child);
    return taken;
}

static void step_programs(size_t (*act)(struct program *program, size_t steps), bool fresh)
{
    struct program program = {.fresh = fresh};
    size_t points = kills_wanted(POINTS * 10) / 10, way;

    orphans_adopt();
    way = act(&program, TRACE_FOR_EVER);
    if (way == 0)
        SKIP("a program cannot be traced: %s", strerror(errno));
    if (points > way)
        points = way;
    for (size_t p = 0; p < points; p++)
        (void)act(&program, 1 + trace_point(p, points, way));
    printf("%zu of %zu instructions\n", points, way);
    (void)load_heap_begin(); /* it is whole */
}

TEST(who_submits_may_die_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60, .loop_end = 2,
     .own_signals = true)
{
    step_programs(kill_program, loop_index == 0);
}

TEST(who_submits_may_stand_at_any_instruction, .kills = POINTS * 10, .timeout_s = 60, .loop_end = 2,
     .own_signals = true)
{
    step_programs(stop_program, loop_index == 0);
}

SUITE_BY_METHOD("kill/step_sticky")
