/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, in random order: several threads submit, wait, cancel, add callbacks, let go,
 * kill and stop workers, resize, and shut down or terminate the pool in the end. Some pools recycle
 * their workers. No call hangs (a step that takes 5 seconds does), no future is lost, what each
 * says fits, every callback runs once, and all memory comes back.
 */
#include <tine.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define STEPS   2000 /* of all threads; as many times more as TINE_KILLS is than 50 */
#define THREADS 3
#define WORKERS 3
#define HELD    16 /* futures of a thread */
#define LONG    TINE_SEC(1000)
#define LIFE    120 /* steps of a thread with one pool */
#define PROMPT  TINE_MS(250)
#define HANG    TINE_SEC(5)

struct world {
    tine_pool *pool;
    struct hunt hunt;
    pthread_mutex_t hunting; /* guards hunt */
    _Atomic uint32_t called, added;
    _Atomic uint32_t ended; /* shut down or terminated */
    uint64_t seed;
};

struct actor {
    struct world *world;
    uint64_t number, slowest_ns;
    struct held {
        tine_future *future;
        int64_t value;
        int32_t retries;
        bool loop;
    } held[HELD];
};

static int work(tine_call *call)
{
    int64_t value;
    int rc = tine_args(call, "q", &value);

    for (volatile int64_t i = 0; i < value % 7 * 5000; i++)
        ;
    return rc < 0 ? rc : tine_return(call, "q", value + 1);
}

static int work_on_range(size_t begin, size_t end, void *context)
{
    (void)context;
    for (volatile size_t i = begin; i < end; i++)
        ;
    return 0;
}

static void count(tine_future *future, void *user)
{
    ck_assert(tine_future_done(future));
    atomic_fetch_add(&((struct world *)user)->called, 1);
}

/* ---- what is done ---------------------------------------------------------------------------- */

static bool is_refusal(const struct world *world, int rc)
{
    return rc == -ESHUTDOWN && world->ended != 0;
}

static void submit(struct actor *actor, struct held *held)
{
    tine_job_options options = {.retries = random_below(2) == 0 ? 0 : TINE_UNLIMITED,
                                .backoff_ns = (int64_t)random_below(TINE_US(500)),
                                .task_kill_ns = random_below(2) == 0 ? 0 : LONG,
                                .priority =
                                    random_below(2) == 0 ? 0 : (int32_t)random_below(9) - 4};
    tine_pool *pool = actor->world->pool;
    int rc;

    if (held->future != NULL)
        return;
    *held = (struct held){.value = (int64_t)random_below(100), .retries = options.retries};
    held->loop = held->value % 5 == 0;
    options.key = held->loop ? 0 : random_below(4); /* 0: without */
    rc = held->loop ? tine_pool_for_async(&held->future, pool, 1000, work_on_range, &options)
                    : tine_pool_submit(&held->future, pool, work, &options, "q", held->value);
    ck_assert(rc == 0 || is_refusal(actor->world, rc));
    if (rc < 0)
        held->future = NULL;
}

static void check_result(const struct actor *actor, const struct held *held, int rc, int64_t result)
{
    if (rc == 0)
        ck_assert_msg(held->loop || result == held->value + 1,
                      "loop %d result %jd value %jd retries %d", held->loop, (intmax_t)result,
                      (intmax_t)held->value, held->retries);
    else if (rc == -ECANCELED)
        ck_assert(tine_future_cancelled(held->future));
    else if (rc == TINE_EWORKER)
        ck_assert_int_eq(held->retries, 0);
    else
        ck_abort_msg("actor %ju: %s", (uintmax_t)actor->number, tine_errname(rc));
}

static void read_result(struct actor *actor, struct held *held)
{
    int64_t result = -1,
            timeout_ns = random_below(3) == 0 ? 0 : TINE_US((int64_t)random_below(500));
    int rc;

    if (held->future == NULL)
        return;
    rc = tine_future_result(held->future, timeout_ns, held->loop ? NULL : "q", &result);
    if (rc != -EAGAIN && rc != -ETIMEDOUT)
        check_result(actor, held, rc, result);
}

static void finish(struct actor *actor, struct held *held)
{
    int64_t result = -1;
    int rc;

    if (held->future == NULL)
        return;
    rc = tine_future_result(held->future, TINE_FOREVER, held->loop ? NULL : "q", &result);
    check_result(actor, held, rc, result);
    tine_future_close(held->future);
    held->future = NULL;
}

static void cancel(struct actor *actor, struct held *held)
{
    bool running = random_below(2) == 0;
    int rc;

    (void)actor;
    if (held->future == NULL)
        return;
    rc = tine_future_cancel(held->future, running ? TINE_CANCEL_RUNNING : 0);
    ck_assert(rc == 0 || rc == 1);
    if (rc == 1)
        ck_assert(tine_future_cancelled(held->future));
    if (rc == 1 && !running)
        ck_assert_rc(tine_future_result(held->future, TINE_FOREVER, NULL), -ECANCELED);
}

static void add_callback(struct actor *actor, struct held *held)
{
    if (held->future == NULL)
        return;
    atomic_fetch_add(&actor->world->added, 1);
    ck_assert_ok(tine_future_add_done_callback(held->future, count, actor->world));
}

static void let_go(struct actor *actor, struct held *held)
{
    (void)actor;
    tine_future_close(held->future);
    held->future = NULL;
}

static void wait_for_some(struct actor *actor, struct held *held)
{
    tine_future *futures[HELD];
    size_t n = 0;
    int rc;

    (void)held;
    for (int i = 0; i < HELD; i++)
        if (actor->held[i].future != NULL)
            futures[n++] = actor->held[i].future;
    rc = tine_wait_futures(futures, n, (int32_t)random_below(3),
                           TINE_US((int64_t)random_below(300)));
    ck_assert_int_ge(rc, 0);
    ck_assert_int_le(rc, (int)n);
}

static void run_callbacks(struct actor *actor, struct held *held)
{
    int rc = tine_pool_run(actor->world->pool, TINE_US((int64_t)random_below(100)));

    (void)held;
    ck_assert(rc >= 0 || is_refusal(actor->world, rc));
}

static void kill_worker(struct actor *actor, struct held *held)
{
    struct world *world = actor->world;

    (void)held;
    if (world->ended != 0 || random_below(4) != 0)
        return;
    pthread_mutex_lock(&world->hunting);
    hunt_forget(&world->hunt);
    hunt_kill(&world->hunt, TINE_US(50));
    pthread_mutex_unlock(&world->hunting);
}

/* The others meet it so; they may have to wait for what it holds, so this one has to go on. */
static void stop_worker(struct actor *actor, struct held *held)
{
    struct world *world = actor->world;
    pid_t nursery = world->hunt.nursery, worker;

    (void)held;
    if (world->ended != 0 || random_below(4) != 0)
        return;
    pthread_mutex_lock(&world->hunting);
    worker = hunt_worker(&world->hunt);
    if (worker != 0 && hunt_signal(nursery, worker, SIGSTOP)) {
        pause_randomly(TINE_US(500));
        hunt_signal(nursery, worker, SIGCONT);
    }
    pthread_mutex_unlock(&world->hunting);
}

static void resize(struct actor *actor, struct held *held)
{
    struct world *world = actor->world;
    int rc;

    (void)held;
    if (random_below(4) != 0)
        return;
    rc = tine_pool_resize(world->pool, 1 + (int32_t)random_below(2 * WORKERS));
    ck_assert(rc == 0 || is_refusal(world, rc));
}

static void end_pool(struct actor *actor, struct held *held)
{
    struct world *world = actor->world;

    (void)held;
    if (random_below(LIFE) != 0)
        return;
    atomic_store(&world->ended, 1);
    if (random_below(2) == 0)
        ck_assert_ok(tine_pool_terminate(world->pool));
    else
        ck_assert_ok(
            tine_pool_shutdown(world->pool, random_below(2) == 0 ? 0 : TINE_SHUTDOWN_CANCEL));
}

static void (*const acts[])(struct actor *actor, struct held *held) = {
    submit,       submit,        submit,        submit,      read_result, finish, cancel,   let_go,
    add_callback, wait_for_some, run_callbacks, kill_worker, stop_worker, resize, end_pool,
};

#define ACTS (sizeof acts / sizeof acts[0])

/* ---- one pool's life ------------------------------------------------------------------------- */

static void take_step(struct actor *actor)
{
    uint64_t begin = (uint64_t)now_ns(), took;

    acts[random_below(ACTS)](actor, &actor->held[random_below(HELD)]);
    took = (uint64_t)now_ns() - begin;
    if (took > actor->slowest_ns)
        actor->slowest_ns = took;
}

static void *act(void *context)
{
    struct actor *actor = context;

    random_fork(actor->world->seed + actor->number);
    for (int step = 0; step < LIFE; step++)
        take_step(actor);
    for (int i = 0; i < HELD; i++)
        if (random_below(4) == 0)
            let_go(actor, &actor->held[i]);
        else
            finish(actor, &actor->held[i]);
    return NULL;
}

static tine_pool *open_pool(void)
{
    tine_pool_options options = {.workers = WORKERS,
                                 .max_tasks_per_worker =
                                     random_below(2) == 0 ? 0 : 1 + random_below(20)};
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &options));
    load_await_size(pool, 0);
    return pool;
}

/* Returns how many blocks the dead may have lost. */
static uint64_t live(uint64_t seed, struct samples *slowest)
{
    tine_pool_counts counts;

    struct world world = {.pool = open_pool(), .seed = seed};
    struct actor actors[THREADS];
    pthread_t threads[THREADS];

    pthread_mutex_init(&world.hunting, NULL);
    hunt_begin(&world.hunt, getpid());
    for (uint64_t i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.world = &world, .number = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, act, &actors[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_double_lt((double)actors[i].slowest_ns, HANG * suite_slowness());
        samples_add(slowest, actors[i].slowest_ns);
    }
    if (random_below(2) == 0)
        ck_assert_rc(tine_pool_join(world.pool, TINE_FOREVER), 0);
    ck_assert_ok(tine_pool_stats(world.pool, &counts));
    tine_pool_close(world.pool);
    ck_assert_uint_eq(world.called, world.added);
    pthread_mutex_destroy(&world.hunting);
    return counts.deaths + 2 * WORKERS; /* those alive may have been killed in the end */
}

TEST(everything_in_random_order, .kills = 50, .timeout_s = 60)
{
    struct load_heap heap = load_heap_begin();
    size_t lives = kills_wanted(50) * STEPS / 50 / LIFE / THREADS + 1;
    struct samples slowest = {.name = "schedule.slowest_step", .bound_ns = PROMPT};
    uint64_t lost = 0;

    for (size_t i = 0; i < lives; i++)
        lost += live(i * THREADS, &slowest);
    printf("%zu pools, %zu steps\n", lives, lives * LIFE * THREADS);
    samples_end(&slowest);
    load_heap_end(&heap, lost);
}

SUITE_BY_METHOD("kill/schedule")
