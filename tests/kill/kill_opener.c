/* SPDX-License-Identifier: MIT */
/*
 * A worker that has a pool of its own is SIGKILLed at random instants, while it gives that work and
 * takes results: what its pool had in the family heap is freed, but for what it had in hand.
 */
#include <tine.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   50
#define IN_HAND 6 /* blocks: a job that is being made, or being freed */
#define ITEMS   100

static int square(const void *in, void *out, void *context)
{
    (void)context;
    *(int32_t *)out = *(const int32_t *)in * *(const int32_t *)in;
    return 0;
}

static int say(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc
                  : tine_return(call, "s", "more than fits where a small result lies, and so on");
}

static int use(tine_pool *pool)
{
    tine_job_options keyed = {.key = 7};
    int32_t values[ITEMS] = {0};
    tine_map map = {.item = square,
                    .in = values,
                    .in_size = sizeof values[0],
                    .out = values,
                    .out_size = sizeof values[0],
                    .n = ITEMS};
    tine_future *futures[4];
    int rc = tine_pool_map(pool, &map, NULL);

    for (int i = 0; i < 4 && rc == 0; i++) {
        rc = tine_pool_submit(&futures[i], pool, say, i < 2 ? &keyed : NULL, "q", (int64_t)i);
        if (rc == 0 && i % 2 == 1) {
            rc = tine_future_result(futures[i], TINE_FOREVER, NULL);
            tine_future_close(futures[i]);
        }
    }
    for (int i = 0; i < 4 && rc == 0; i += 2)
        tine_future_close(futures[i]);
    return rc;
}

/* Until it is killed. */
static int open_and_use(tine_call *call)
{
    _Atomic uint32_t *opened = *(_Atomic uint32_t **)tine_call_context(call);
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = 2});

    if (rc < 0)
        return rc;
    atomic_store(opened, (uint32_t)getpid());
    while (rc == 0)
        rc = use(pool);
    return rc;
}

/* Made before the tests, which the runner forks, so that its descriptor is no leak of theirs. */
__attribute__((constructor)) static void open_heap(void)
{
    tine_free(tine_alloc(1));
}

static uint64_t used_blocks(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_blocks;
}

static void open_and_kill(tine_pool *pool, const struct hunt *hunt, _Atomic uint32_t *opened)
{
    tine_job_options options = {.context = &opened, .context_size = sizeof opened};
    tine_future *future;

    atomic_store(opened, 0);
    ck_assert_ok(tine_pool_submit(&future, pool, open_and_use, &options, ""));
    ck_assert_eventually(atomic_load(opened) != 0);
    pause_randomly(TINE_MS(2));
    ck_assert(hunt_signal(hunt->nursery, (pid_t)atomic_load(opened), SIGKILL));
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), TINE_EWORKER);
    tine_future_close(future);
}

/* A pool that is left as a whole is of more blocks. */
TEST(of_the_pool_of_a_killed_worker_no_more_stays_than_was_in_hand, .kills = KILLS, .timeout_s = 60)
{
    _Atomic uint32_t *opened = tine_calloc(1, sizeof *opened);
    size_t kills = kills_wanted(KILLS);
    struct hunt hunt = {0};
    tine_pool *pool;
    uint64_t before;

    ck_assert_ptr_nonnull(opened);
    ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = 1}));
    hunt_begin(&hunt, getpid());
    open_and_kill(pool, &hunt, opened);
    before = used_blocks();
    for (size_t i = 0; i < kills; i++)
        open_and_kill(pool, &hunt, opened);
    ck_assert_eventually(used_blocks() <= before + IN_HAND * kills);
    printf("%zu kills: %jd blocks\n", kills, (intmax_t)(used_blocks() - before));
    tine_pool_close(pool);
    tine_free(opened);
    ck_assert_ok(tine_heap_check(NULL));
}

SUITE("kill/opener")
