/* SPDX-License-Identifier: MIT */
/*
 * Calls with keys where something cannot be had: memory for the tracks and their rings, or a
 * process for a worker that is to have them. --wrap puts the functions below in the way
 * (module.mk).
 */
#include <tine/pool.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/failing.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define CALLS 70 /* three rings */

static _Atomic uint32_t *no_fork; /* in all processes of the pool; NULL: one can be had */

FAILING(calloc, (size_t count, size_t size), (count, size))
FAILING(tine_calloc, (size_t count, size_t size), (count, size))
FAILING(tine_aligned_alloc, (size_t alignment, size_t size), (alignment, size))
WRAP(no_fork != NULL && atomic_load(no_fork) != 0, pid_t, fork, (errno = EAGAIN, -1), (void), ())

/* ---- calls ----------------------------------------------------------------------------------- */

/* In the heap. */
struct diary {
    struct gate come, go;
    _Atomic uint32_t next, wrong;
};

struct page {
    struct diary *diary;
    uint32_t number;
    bool gated;
};

static int write_page(tine_call *call)
{
    const struct page *page = tine_call_context(call);
    struct diary *diary = page->diary;

    if (atomic_fetch_add(&diary->next, 1) != page->number)
        atomic_fetch_add(&diary->wrong, 1);
    if (page->gated) {
        gate_raise(&diary->come);
        gate_await(&diary->go, 1);
    }
    return tine_return(call, "q", (int64_t)getpid());
}

static struct diary *diary_new(void)
{
    struct diary *diary = tine_calloc(1, sizeof *diary);

    ck_assert_ptr_nonnull(diary);
    return diary;
}

static int submit(tine_future **future, tine_pool *pool, uint64_t key, struct page page)
{
    tine_job_options options = {.key = key, .context = &page, .context_size = sizeof page};

    return tine_pool_submit(future, pool, write_page, &options, "");
}

static pid_t finish(tine_future *future)
{
    int64_t pid = 0;

    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &pid), 0);
    tine_future_close(future);
    return (pid_t)pid;
}

static pid_t run(tine_pool *pool, uint64_t key, struct page page)
{
    tine_future *future;

    ck_assert_rc(submit(&future, pool, key, page), 0);
    return finish(future);
}

/* ---- no memory ------------------------------------------------------------------------------- */

/*
 * Whichever allocation fails, nothing is left of the call, but for the tracks, which the pool
 * keeps; and it can be tried again. How many could fail.
 */
static int submit_at_last(tine_future **future, tine_pool *pool, struct page page)
{
    uint64_t blocks = heap_blocks(), tracks = page.number == 0;

    for (int k = 1;; k++) {
        int rc;

        failing.until = k;
        failing.failed = 0;
        rc = submit(future, pool, 7, page);
        failing.until = 0;
        if (failing.failed == 0) {
            ck_assert_rc(rc, 0);
            return k - 1;
        }
        ck_assert_rc(rc, -ENOMEM);
        ck_assert_uint_le(heap_blocks(), blocks + tracks);
    }
}

/* The first makes the tracks, and one in every ring's worth the next ring. */
static void submit_all(tine_pool *pool, struct diary *diary, tine_future **futures)
{
    int usual = 0, most = 0;

    for (uint32_t i = 0; i < CALLS; i++) {
        int failures = submit_at_last(&futures[i], pool, (struct page){diary, i, .gated = i == 0});

        if (i == 0)
            gate_await(&diary->come, 1);
        if (i == 1)
            usual = failures;
        if (i > 1 && failures > most)
            most = failures;
        ck_assert_int_ge(failures, i == 0 ? 5 : 2);
    }
    ck_assert_int_eq(most, usual + 1);
}

TEST(what_finds_no_memory_leaves_nothing_and_the_order_stands, .loop_end = 2)
{
    int32_t kind = loop_index == 0 ? TINE_PROCESSES : TINE_THREADS;
    tine_future *futures[CALLS];
    struct diary *diary;
    uint64_t blocks = heap_blocks();
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2, .kind = kind}), 0);
    diary = diary_new();
    run(pool, 0, (struct page){.diary = diary}); /* the task is known, tickets have a segment */
    atomic_store(&diary->next, 0);
    submit_all(pool, diary, futures);
    gate_raise(&diary->go);
    for (int i = 0; i < CALLS; i++)
        finish(futures[i]);
    ck_assert_uint_eq(diary->next, CALLS);
    ck_assert_uint_eq(diary->wrong, 0);
    tine_pool_close(pool);
    tine_free(diary);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- no process ------------------------------------------------------------------------------ */

/* Both workers have a key; one dies, and none comes in its place. */
TEST(where_no_worker_comes_another_has_the_key)
{
    struct diary *diaries[2] = {diary_new(), diary_new()};
    tine_future *gated[2];
    tine_pool *pool;
    pid_t owners[2];

    no_fork = shared_memory(sizeof *no_fork);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2}), 0);
    ck_assert_eventually(pool_counts(pool).alive == 2);
    for (uint64_t key = 0; key < 2; key++)
        ck_assert_rc(submit(&gated[key], pool, key + 1, (struct page){diaries[key], 0, true}), 0);
    for (int key = 0; key < 2; key++)
        gate_await(&diaries[key]->come, 1);
    for (int key = 0; key < 2; key++) {
        gate_raise(&diaries[key]->go);
        owners[key] = finish(gated[key]);
    }
    ck_assert_int_ne(owners[0], owners[1]);
    atomic_store(no_fork, 1);
    ck_assert_int_eq(kill(owners[1], SIGKILL), 0);
    ck_assert_eventually(pool_counts(pool).alive == 1);
    for (uint32_t i = 1; i < 4; i++)
        ck_assert_int_eq(run(pool, 2, (struct page){diaries[1], i, false}), owners[0]);
    atomic_store(no_fork, 0);
    ck_assert_eventually(pool_counts(pool).alive == 2);
    tine_pool_close(pool);
    for (int key = 0; key < 2; key++)
        tine_free(diaries[key]);
    no_fork = NULL;
}

SUITE_OF_POOLS("pool/sticky_faults")
