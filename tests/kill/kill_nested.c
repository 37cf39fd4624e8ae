/* SPDX-License-Identifier: MIT */
/*
 * Processes of a nest of pools are SIGKILLed at random instants, on whatever level and whatever
 * they are: the work is done all the same, where each level tries again what its own pool lost.
 */
#include <tine.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/methods.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS       50
#define WIDTH       2
#define LEAVES      64 /* of each of the last pools */
#define POOLS_LAST  (WIDTH * WIDTH)
#define DESCENDANTS (1 + WIDTH * (3 + WIDTH * (3 + WIDTH))) /* a forkserver each, perhaps */

struct nest {
    _Atomic uint32_t done[POOLS_LAST * LEAVES];
};

/* One pool of the nest: its number among those of its level. */
struct at {
    struct nest *nest;
    int level, number;
};

static int run_leaf(const void *in, void *out, void *context)
{
    const struct at *at = context;
    volatile unsigned sum = 0;

    (void)out;
    for (unsigned i = 0; i < 20000; i++)
        sum += i;
    (void)sum;
    atomic_fetch_add(&at->nest->done[at->number * LEAVES + *(const int32_t *)in], 1);
    return 0;
}

static int run_leaves(tine_pool *pool, const struct at *at)
{
    tine_job_options options = {
        .context = at, .context_size = sizeof *at, .retries = TINE_UNLIMITED};
    int32_t leaves[LEAVES];

    for (int32_t i = 0; i < LEAVES; i++)
        leaves[i] = i;
    return tine_pool_map(
        pool, &(tine_map){.item = run_leaf, .in = leaves, .in_size = sizeof leaves[0], .n = LEAVES},
        &options);
}

static int open_next(tine_call *call);

static int run_next(tine_pool *pool, const struct at *at)
{
    tine_future *futures[WIDTH];
    int rc = 0;

    for (int i = 0; i < WIDTH; i++) {
        struct at next = {at->nest, at->level + 1, at->number * WIDTH + i};
        tine_job_options options = {
            .context = &next, .context_size = sizeof next, .retries = TINE_UNLIMITED};
        int code = tine_pool_submit(&futures[i], pool, open_next, &options, "");

        if (code < 0)
            futures[i] = NULL;
        rc = rc == 0 ? code : rc;
    }
    for (int i = 0; i < WIDTH; i++) {
        int code = futures[i] == NULL ? 0 : tine_future_result(futures[i], TINE_FOREVER, "n");

        rc = rc == 0 ? code : rc;
        tine_future_close(futures[i]);
    }
    return rc;
}

/* A pool whose nursery was killed, as it began or later, is broken: then another one does it. */
static int run_pool(const struct at *at)
{
    int rc;

    do {
        tine_pool *pool;

        rc = tine_pool_open(&pool, &(tine_pool_options){.workers = WIDTH});
        if (rc < 0)
            continue;
        rc = at->level == 2 ? run_leaves(pool, at) : run_next(pool, at);
        tine_pool_close(pool);
    } while (rc == TINE_EWORKER || rc == TINE_EBROKEN);
    return rc;
}

static int open_next(tine_call *call)
{
    return run_pool(tine_call_context(call));
}

/* ---- the hunter ------------------------------------------------------------------------------ */

static int descendants(pid_t parent, pid_t *parents, pid_t *pids, int room)
{
    pid_t children[HUNT_WORKERS_MAX];
    int count = hunt_children(parent, children, HUNT_WORKERS_MAX), found = 0;

    for (int i = 0; i < count && found < room; i++) {
        parents[found] = parent;
        pids[found++] = children[i];
        found += descendants(children[i], parents + found, pids + found, room - found);
    }
    return found;
}

/* Any process below the first nursery. */
static bool kill_any(pid_t nursery)
{
    pid_t parents[DESCENDANTS], pids[DESCENDANTS];
    int count = descendants(nursery, parents, pids, DESCENDANTS), victim;

    if (count == 0)
        return false;
    victim = (int)random_below((uint64_t)count);
    return hunt_signal(parents[victim], pids[victim], SIGKILL);
}

static size_t run_under_fire(struct nest *nest, size_t most)
{
    tine_future *futures[WIDTH];
    tine_pool *pool;
    struct hunt hunt;
    size_t kills = 0;
    int over = 0;

    ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = WIDTH}));
    hunt_begin(&hunt, getpid());
    for (int i = 0; i < WIDTH; i++) {
        struct at at = {nest, 1, i};
        tine_job_options options = {
            .context = &at, .context_size = sizeof at, .retries = TINE_UNLIMITED};

        ck_assert_ok(tine_pool_submit(&futures[i], pool, open_next, &options, ""));
    }
    while (over < WIDTH && kills < most) {
        pause_randomly(TINE_MS(4));
        kills += kill_any(hunt.nursery);
        for (over = 0; over < WIDTH && tine_future_done(futures[over]);)
            over++;
    }
    for (int i = 0; i < WIDTH; i++) {
        tine_failure failure = {.message = ""};

        ck_assert_msg(tine_future_exception(futures[i], TINE_FOREVER, &failure) == 0, "%s: %s",
                      tine_errname(failure.error), failure.message);
        tine_future_close(futures[i]);
    }
    tine_pool_close(pool);
    return kills;
}

TEST(whoever_of_a_nest_is_killed_all_is_done, .kills = KILLS, .timeout_s = 60)
{
    size_t wanted = kills_wanted(KILLS), kills = 0, rounds = 0;
    struct nest *nest = tine_calloc(1, sizeof *nest);

    ck_assert_ptr_nonnull(nest);
    for (; kills < wanted; rounds++) {
        for (int i = 0; i < POOLS_LAST * LEAVES; i++)
            atomic_store(&nest->done[i], 0);
        kills += run_under_fire(nest, 1 + random_below(6));
        for (int i = 0; i < POOLS_LAST * LEAVES; i++)
            ck_assert_uint_ge(atomic_load(&nest->done[i]), 1);
    }
    printf("%zu kills in %zu nests\n", kills, rounds);
    tine_free(nest);
    ck_assert_ok(tine_heap_check(NULL));
}

SUITE_BY_METHOD("kill/nested")
