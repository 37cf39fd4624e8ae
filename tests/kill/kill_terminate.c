/* SPDX-License-Identifier: MIT */
/*
 * tine_pool_terminate() in every state of a pool: it returns within half a second, everything is
 * dead soon after, and whoever waited is told.
 */
#include <tine.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS    40 /* in each state */
#define WORKERS  3
#define BOUND_NS ((uint64_t)TINE_MS(500))

enum state {
    OPENING,
    IDLE,
    BUSY,
    DEAF,            /* tasks that block every signal */
    STOPPED,         /* workers stopped in such tasks */
    STOPPED_IDLE,    /* workers stopped asleep */
    NURSERY_STOPPED, /* with deaf tasks */
    NURSERY_KILLED,
    STATES
};

static const char *const names[STATES] = {
    [OPENING] = "terminate.opening",
    [IDLE] = "terminate.idle",
    [BUSY] = "terminate.busy",
    [DEAF] = "terminate.deaf",
    [STOPPED] = "terminate.stopped",
    [STOPPED_IDLE] = "terminate.stopped_idle",
    [NURSERY_STOPPED] = "terminate.nursery_stopped",
    [NURSERY_KILLED] = "terminate.nursery_killed",
};

struct scene {
    enum state state;
    tine_pool *pool;
    struct hunt hunt;
    struct gate *begun, *never;
    uint32_t raised;
    tine_future *futures[WORKERS + 1]; /* one more than can run */
    struct load load;
};

struct gates {
    struct gate *begun, *never;
};

static int be_deaf(tine_call *call)
{
    const struct gates *gates = tine_call_context(call);
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    gate_raise(gates->begun);
    gate_await(gates->never, 1);
    return 0;
}

static bool is_deaf(enum state state)
{
    return state == DEAF || state == STOPPED || state == NURSERY_STOPPED;
}

static void start_deaf(struct scene *scene)
{
    struct gates gates = {.begun = scene->begun, .never = scene->never};
    tine_job_options options = {.context = &gates, .context_size = sizeof gates};

    for (int i = 0; i <= WORKERS; i++)
        ck_assert_ok(tine_pool_submit(&scene->futures[i], scene->pool, be_deaf, &options, ""));
    gate_await(scene->begun, scene->raised += WORKERS);
}

static void stop_workers(const struct hunt *hunt)
{
    pid_t workers[HUNT_WORKERS_MAX];
    int count = hunt_children(hunt->nursery, workers, HUNT_WORKERS_MAX);

    for (int i = 0; i < count; i++)
        ck_assert(hunt_signal(hunt->nursery, workers[i], SIGSTOP));
}

static void set(struct scene *scene)
{
    if (scene->state == OPENING) {
        ck_assert_ok(tine_pool_open(&scene->pool, &(tine_pool_options){.workers = WORKERS}));
        pause_randomly(TINE_MS(1));
        return;
    }
    scene->pool = load_pool(WORKERS);
    hunt_begin(&scene->hunt, getpid());
    if (is_deaf(scene->state))
        start_deaf(scene);
    if (scene->state == BUSY || scene->state == NURSERY_KILLED)
        load_start(&scene->load, (enum load_kind)random_below(LOAD_KINDS), scene->pool,
                   &(tine_job_options){0});
    pause_randomly(TINE_US(500));
    if (scene->state == STOPPED || scene->state == STOPPED_IDLE)
        stop_workers(&scene->hunt);
    if (scene->state == NURSERY_STOPPED)
        ck_assert(hunt_signal(scene->hunt.keeper, scene->hunt.nursery, SIGSTOP));
    if (scene->state == NURSERY_KILLED)
        hunt_kill_nursery(&scene->hunt);
}

static void check(struct scene *scene)
{
    tine_future *future;

    ck_assert_int_lt(tine_pool_submit(&future, scene->pool, be_deaf, NULL, ""), 0);
    if (is_deaf(scene->state))
        for (int i = 0; i <= WORKERS; i++) {
            ck_assert_rc(tine_future_result(scene->futures[i], 0, NULL), -ECANCELED);
            tine_future_close(scene->futures[i]);
        }
    if (scene->state == BUSY || scene->state == NURSERY_KILLED) {
        load_finish(&scene->load); /* what was done is done, the rest has some code */
        load_free(&scene->load);
    }
}

TEST(terminate_ends_a_pool_in_any_state, .kills = KILLS, .timeout_s = 60, .loop_end = STATES)
{
    struct samples samples = {.name = names[loop_index], .bound_ns = BOUND_NS};
    struct load_heap heap = load_heap_begin();
    size_t kills = kills_wanted(KILLS);
    struct scene scene = {.state = (enum state)loop_index, .never = gate_new()};

    scene.begun = gate_new();
    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        int64_t begin;

        set(&scene);
        begin = now_ns();
        ck_assert_ok(tine_pool_terminate(scene.pool));
        samples_add(&samples, (uint64_t)(now_ns() - begin));
        check(&scene);
        tine_pool_close(scene.pool);
        orphans_reap();
    }
    samples_end(&samples);
    load_heap_end(&heap, kills * (WORKERS + 1));
}

/* ---- from elsewhere -------------------------------------------------------------------------- */

struct ending {
    tine_pool *pool;
    struct gates gates;
    unsigned after; /* calls of the callback */
    int64_t began_ns;
};

static int wait_in_range(size_t begin, size_t end, void *context)
{
    const struct gates *gates = context;

    (void)begin, (void)end;
    gate_raise(gates->begun);
    gate_await(gates->never, 1);
    return 0;
}

static void terminate_in_callback(const tine_progress *progress, void *user)
{
    struct ending *ending = user;

    (void)progress;
    if (ending->after-- > 0)
        return;
    ending->began_ns = now_ns();
    ck_assert_ok(tine_pool_terminate(ending->pool));
}

TEST(terminate_from_a_callback_ends_the_call, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "terminate.callback", .bound_ns = BOUND_NS};
    size_t kills = kills_wanted(KILLS);
    struct ending ending = {.gates = {.begun = gate_new(), .never = gate_new()}};

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_job_options options = {.context = &ending.gates,
                                    .context_size = sizeof ending.gates,
                                    .progress = terminate_in_callback,
                                    .progress_user = &ending};

        ending.pool = load_pool(WORKERS);
        ending.after = random_below(16) == 0;
        ck_assert_rc(tine_pool_for(ending.pool, 1000, wait_in_range, &options), -ECANCELED);
        samples_add(&samples, (uint64_t)(now_ns() - ending.began_ns));
        tine_pool_close(ending.pool);
        orphans_reap();
    }
    samples_end(&samples);
}

static void *terminate_in_thread(void *context)
{
    struct ending *ending = context;

    gate_await(ending->gates.begun, ending->after);
    pause_randomly(TINE_US(500));
    ending->began_ns = now_ns();
    ck_assert_ok(tine_pool_terminate(ending->pool));
    return NULL;
}

TEST(terminate_from_a_thread_ends_the_waits_of_others, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "terminate.thread", .bound_ns = BOUND_NS};
    size_t kills = kills_wanted(KILLS);
    struct ending ending = {.gates = {.begun = gate_new(), .never = gate_new()}};

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_job_options options = {.context = &ending.gates, .context_size = sizeof ending.gates};
        tine_future *future;
        pthread_t thread;

        ending.pool = load_pool(1);
        ending.after = (unsigned)i + 1;
        ck_assert_int_eq(pthread_create(&thread, NULL, terminate_in_thread, &ending), 0);
        ck_assert_ok(tine_pool_for_async(&future, ending.pool, 1, wait_in_range, &options));
        if (random_below(2) == 0)
            ck_assert_int_le(tine_pool_join(ending.pool, TINE_FOREVER), 0);
        ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
        samples_add(&samples, (uint64_t)(now_ns() - ending.began_ns));
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        tine_future_close(future);
        tine_pool_close(ending.pool);
        orphans_reap();
    }
    samples_end(&samples);
}

SUITE_BY_METHOD("kill/terminate")
