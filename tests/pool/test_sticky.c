/* SPDX-License-Identifier: MIT */
/* Calls with keys: each key has one worker and one order, whatever becomes of workers and pool. */
#include <tine/pool.h>

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/error.h>
#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KEYS    4
#define CALLS   30
#define MANY    300
#define IDLE_NS TINE_MS(2)

/* Of one key, in the heap: the calls that have run, in order, and who ran them. */
struct diary {
    struct gate come, go;
    _Atomic uint32_t deaths; /* still to come */
    _Atomic uint32_t count;
    int32_t numbers[MANY];
    int32_t workers[MANY];
    int32_t pids[MANY];
};

/* A task's context. */
struct page {
    struct diary *diary;
    int32_t number;
    enum { PLAIN, GATED, FATAL } kind;
};

static int write_page(tine_call *call)
{
    const struct page *page = tine_call_context(call);
    struct diary *diary = page->diary;
    uint32_t at;

    if (page->kind == FATAL && atomic_load(&diary->deaths) > 0) {
        atomic_fetch_sub(&diary->deaths, 1);
        raise(SIGKILL);
    }
    at = atomic_fetch_add(&diary->count, 1);
    ck_assert_uint_lt(at, MANY);
    diary->numbers[at] = page->number;
    diary->workers[at] = tine_worker_index();
    diary->pids[at] = getpid();
    if (page->kind == GATED) {
        gate_raise(&diary->come);
        gate_await(&diary->go, 1);
    }
    return 0;
}

static struct diary *diary_new(void)
{
    struct diary *diary = tine_calloc(1, sizeof *diary);

    ck_assert_ptr_nonnull(diary);
    return diary;
}

static tine_future *submit_with(tine_pool *pool, struct page page, tine_job_options options)
{
    tine_future *future;

    options.context = &page;
    options.context_size = sizeof page;
    ck_assert_rc(tine_pool_submit(&future, pool, write_page, &options, ""), 0);
    return future;
}

static tine_future *submit(tine_pool *pool, uint64_t key, struct page page)
{
    return submit_with(pool, page, (tine_job_options){.key = key});
}

static void finish(tine_future *future)
{
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "n"), 0);
    tine_future_close(future);
}

static void submit_all(tine_pool *pool, uint64_t key, struct diary *diary, int32_t first,
                       int32_t count)
{
    for (int32_t i = first; i < first + count; i++)
        tine_future_close(submit(pool, key, (struct page){.diary = diary, .number = i}));
}

static void assert_order(const struct diary *diary, uint32_t count)
{
    ck_assert_uint_eq(diary->count, count);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(diary->numbers[i], (int32_t)i);
}

static void assert_one_worker(const struct diary *diary, uint32_t from)
{
    for (uint32_t i = from; i < diary->count; i++) {
        ck_assert_int_eq(diary->workers[i], diary->workers[from]);
        ck_assert_int_eq(diary->pids[i], diary->pids[from]);
    }
}

static void await_count(const struct diary *diary, uint32_t count)
{
    ck_assert_eventually(atomic_load(&diary->count) >= count);
}

/* Calls of three keys run at the same time. */
static void assert_three_meet(tine_pool *pool)
{
    struct diary *diaries[3];
    tine_future *futures[3];

    for (int i = 0; i < 3; i++) {
        diaries[i] = diary_new();
        futures[i] = submit(pool, 100 + (uint64_t)i, (struct page){diaries[i], 0, GATED});
    }
    for (int i = 0; i < 3; i++)
        gate_await(&diaries[i]->come, 1);
    for (int i = 0; i < 3; i++) {
        gate_raise(&diaries[i]->go);
        finish(futures[i]);
        tine_free(diaries[i]);
    }
}

/*
 * ---- as it is meant ---------------------------------------------------------------------------
 */

TEST(calls_of_a_key_run_in_one_worker_in_order)
{
    tine_pool *pool = pool_of(3);
    struct diary *diaries[KEYS];

    for (int key = 0; key < KEYS; key++)
        diaries[key] = diary_new();
    for (int32_t i = 0; i < CALLS; i++)
        for (int key = 0; key < KEYS; key++)
            submit_all(pool, (uint64_t)key + 1, diaries[key], i, 1);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    for (int key = 0; key < KEYS; key++) {
        assert_order(diaries[key], CALLS);
        assert_one_worker(diaries[key], 0);
    }
    tine_pool_close(pool);
    for (int key = 0; key < KEYS; key++)
        tine_free(diaries[key]);
}

TEST(keys_are_spread_over_the_workers)
{
    tine_pool *pool = pool_of(3);

    assert_three_meet(pool);
    tine_pool_close(pool);
}

TEST(nobody_else_takes_the_call)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new(), *other = diary_new();
    tine_future *first = submit(pool, 7, (struct page){diary, 0, GATED});
    tine_future *second = submit(pool, 7, (struct page){diary, 1, PLAIN});

    gate_await(&diary->come, 1);
    for (int32_t i = 0; i < CALLS; i++)
        finish(submit(pool, 0, (struct page){other, i, PLAIN}));
    ck_assert(!tine_future_running(second));
    ck_assert_uint_eq(diary->count, 1);
    gate_raise(&diary->go);
    finish(first);
    finish(second);
    assert_order(diary, 2);
    assert_one_worker(diary, 0);
    tine_pool_close(pool);
    tine_free(diary);
    tine_free(other);
}

TEST(calls_with_and_without_keys_take_turns)
{
    tine_pool *pool = pool_of(1);
    struct diary *diary = diary_new();
    tine_future *gated = submit(pool, 7, (struct page){diary, 0, GATED});
    uint32_t keyed_first = 0;

    gate_await(&diary->come, 1);
    submit_all(pool, 7, diary, 1, CALLS);
    submit_all(pool, 0, diary, 1000, CALLS);
    gate_raise(&diary->go);
    finish(gated);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    for (int i = 1; i <= CALLS; i++)
        keyed_first += diary->numbers[i] < 1000;
    ck_assert_uint_ge(keyed_first, CALLS / 2 - 1);
    ck_assert_uint_le(keyed_first, CALLS / 2 + 1);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(any_number_may_wait)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    uint64_t blocks = heap_blocks();
    tine_future *gated = submit(pool, UINT64_MAX, (struct page){diary, 0, GATED});

    gate_await(&diary->come, 1);
    submit_all(pool, UINT64_MAX, diary, 1, MANY - 1);
    gate_raise(&diary->go);
    finish(gated);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    assert_order(diary, MANY);
    tine_pool_close(pool);
    ck_assert_uint_le(heap_blocks(), blocks);
    tine_free(diary);
}

TEST(loops_have_no_key)
{
    tine_pool *pool = pool_of(1);
    tine_job_options options = {.key = 1};
    tine_buffer args = {0};
    tine_results *results;
    tine_future *future;

    ck_assert_rc(tine_pool_for(pool, 1, tally_count, &options), -EINVAL);
    ck_assert_rc(tine_pool_for_async(&future, pool, 1, tally_count, &options), -EINVAL);
    ck_assert_rc(tine_pool_starmap(&results, pool, write_page, &args, &options), -EINVAL);
    tine_pool_close(pool);
}

TEST(where_there_are_no_workers_the_caller_runs_it)
{
    tine_pool *pool;
    struct diary *diary = diary_new();

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.kind = TINE_INLINE}), 0);
    finish(submit(pool, 7, (struct page){diary, 0, PLAIN}));
    assert_order(diary, 1);
    tine_pool_close(pool);
    tine_free(diary);
}

/*
 * ---- not run ----------------------------------------------------------------------------------
 */

TEST(what_is_cancelled_is_passed_over)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_future *gated = submit(pool, 7, (struct page){diary, 0, GATED});
    tine_future *second = submit(pool, 7, (struct page){diary, 9, PLAIN});
    tine_future *third = submit(pool, 7, (struct page){diary, 1, PLAIN});

    gate_await(&diary->come, 1);
    ck_assert_int_eq(tine_future_cancel(second, 0), 1);
    ck_assert_rc(tine_future_result(second, 0, "n"), -ECANCELED);
    tine_future_close(second);
    gate_raise(&diary->go);
    finish(gated);
    finish(third);
    assert_order(diary, 2);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(a_pool_is_closed_with_calls_that_wait)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_future *gated = submit(pool, 7, (struct page){diary, 0, GATED});
    tine_future *second = submit(pool, 7, (struct page){diary, 1, PLAIN});

    gate_await(&diary->come, 1);
    submit_all(pool, 7, diary, 2, CALLS);
    tine_pool_terminate(pool);
    if (pools_with() == WITH_THREADS) /* close waits for what runs */
        gate_raise(&diary->go);
    tine_pool_close(pool);
    ck_assert_rc(tine_future_result(second, TINE_FOREVER, "n"), -ECANCELED);
    tine_future_close(gated);
    tine_future_close(second);
    tine_free(diary);
}

TEST(what_is_late_is_stopped_and_the_next_one_runs)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    struct page page = {diary, 1, GATED};
    tine_job_options options = {
        .key = 7, .timeout_ns = TINE_MS(20), .context = &page, .context_size = sizeof page};
    tine_results *results;

    finish(submit(pool, 7, (struct page){diary, 0, PLAIN}));
    ck_assert_rc(tine_pool_apply(&results, pool, write_page, &options, ""), -ETIMEDOUT);
    if (diary->count == 1) /* it was too late to be begun at all */
        diary->count = 2;
    finish(submit(pool, 7, (struct page){diary, 2, PLAIN}));
    ck_assert_uint_eq(diary->count, 3);
    tine_pool_close(pool);
    tine_free(diary);
}

/*
 * ---- workers come and go ----------------------------------------------------------------------
 */

TEST(after_a_death_another_worker_has_the_key)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_future *fatal;

    submit_all(pool, 7, diary, 0, CALLS);
    atomic_store(&diary->deaths, 1);
    fatal = submit(pool, 7, (struct page){diary, 0, FATAL});
    submit_all(pool, 7, diary, CALLS, CALLS);
    ck_assert_rc(tine_future_result(fatal, TINE_FOREVER, "n"), TINE_EWORKER);
    tine_future_close(fatal);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    assert_order(diary, 2 * CALLS);
    ck_assert_int_eq(diary->pids[0], diary->pids[CALLS - 1]);
    ck_assert_int_ne(diary->pids[0], diary->pids[CALLS]);
    assert_one_worker(diary, CALLS);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(what_runs_again_comes_before_those_behind_it, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_job_options options = {
        .key = 7, .retries = 3, .backoff_ns = loop_index == 0 ? 0 : TINE_MS(3)};
    tine_future *fatal;

    atomic_store(&diary->deaths, 3);
    fatal = submit_with(pool, (struct page){diary, 0, FATAL}, options);
    submit_all(pool, 7, diary, 1, CALLS);
    finish(fatal);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 3);
    assert_order(diary, CALLS + 1);
    assert_one_worker(diary, 0);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(too_many_deaths_fail_the_call_alone)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_future *fatal;

    atomic_store(&diary->deaths, 3);
    fatal = submit_with(pool, (struct page){diary, 0, FATAL},
                        (tine_job_options){.key = 7, .retries = 2, .backoff_ns = 1});
    submit_all(pool, 7, diary, 0, CALLS);
    ck_assert_rc(tine_future_result(fatal, TINE_FOREVER, "n"), TINE_EWORKER);
    tine_future_close(fatal);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    assert_order(diary, CALLS);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(a_call_that_waits_to_run_again_can_be_cancelled)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();
    tine_future *fatal;

    atomic_store(&diary->deaths, 1);
    fatal = submit_with(pool, (struct page){diary, 0, FATAL},
                        (tine_job_options){.key = 7, .retries = 1, .backoff_ns = TINE_SEC(1000)});
    ck_assert_eventually(pool_counts(pool).deaths == 1);
    ck_assert_eventually(tine_future_cancel(fatal, 0) == 1);
    finish(submit(pool, 7, (struct page){diary, 0, PLAIN}));
    tine_future_close(fatal);
    assert_order(diary, 1);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(who_leaves_hands_its_keys_on)
{
    tine_pool *pool = pool_of(KEYS);
    struct diary *diaries[KEYS];

    for (int key = 0; key < KEYS; key++)
        diaries[key] = diary_new();
    for (int32_t size = KEYS, first = 0; size > 0; size--, first += CALLS) {
        ck_assert_rc(tine_pool_resize(pool, size), 0);
        for (int key = 0; key < KEYS; key++)
            submit_all(pool, (uint64_t)key + 1, diaries[key], first, CALLS);
    }
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    for (int key = 0; key < KEYS; key++) {
        assert_order(diaries[key], KEYS * CALLS);
        tine_free(diaries[key]);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

TEST(who_is_replaced_after_so_many_items_loses_none)
{
    tine_pool_options options = {.workers = 2, .max_tasks_per_worker = 4};
    struct diary *diary = diary_new();
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    submit_all(pool, 7, diary, 0, CALLS);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    assert_order(diary, CALLS);
    for (int i = 4; i < CALLS; i++)
        ck_assert_int_ne(diary->pids[i], diary->pids[i - 4]);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(workers_that_idled_out_come_back_for_keys)
{
    tine_pool_options options = {.workers = 3, .idle_timeout_ns = IDLE_NS};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    for (int i = 0; i < 3; i++) {
        assert_three_meet(pool);
        ck_assert_eventually(pool_counts(pool).alive == 1);
    }
    tine_pool_close(pool);
}

TEST(who_spins_is_not_called_and_who_sleeps_is)
{
    tine_pool *pool = pool_of(2);
    struct diary *diary = diary_new();

    for (int32_t i = 0; i < CALLS; i++) {
        submit_all(pool, 7, diary, i, 1);
        await_count(diary, (uint32_t)i + 1);
        if (i % 2 == 0)
            ck_assert_eventually(atomic_load(&diary->count) == (uint32_t)i + 1);
    }
    assert_order(diary, CALLS);
    tine_pool_close(pool);
    tine_free(diary);
}

SUITE_OF_POOLS("pool/sticky")
