/* SPDX-License-Identifier: MIT */
/* What waits before it runs again: how long, what goes on meanwhile, and what ends it. */
#include <tine/pool.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/clock.h"
#include "pool/pool_impl.h"
#include "pool/redo.h"
#include "pool/stream.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define SHORT TINE_MS(10)
#define LONG  TINE_SEC(1000)
#define TRIES 8

/* In the heap: when a task was tried, and how often it dies. */
struct diary {
    _Atomic uint32_t tries;
    uint32_t deaths;
    uint64_t bad; /* the index that dies */
    int64_t begun[TRIES];
};

static struct diary *diary_new(uint32_t deaths)
{
    struct diary *diary = tine_calloc(1, sizeof *diary);

    ck_assert_ptr_nonnull(diary);
    diary->deaths = deaths;
    return diary;
}

static int try(struct diary *diary)
{
    uint32_t times = atomic_fetch_add(&diary->tries, 1);

    if (times < TRIES)
        diary->begun[times] = tine__now_ns();
    return times < diary->deaths ? raise(SIGKILL) : 0;
}

static int try_call(tine_call *call)
{
    struct diary *diary = *(struct diary **)tine_call_context(call);

    return tine_call_index(call) == diary->bad ? try(diary) : 0;
}

static int try_body(size_t begin, size_t end, void *context)
{
    struct diary *diary = *(struct diary **)context;

    return begin <= diary->bad && diary->bad < end ? try(diary) : 0;
}

static int return_seven(tine_call *call)
{
    return tine_return(call, "q", INT64_C(7));
}

static tine_job_options options_for(struct diary **diary, int32_t retries, int64_t backoff_ns)
{
    return (tine_job_options){.context = diary,
                              .context_size = sizeof *diary,
                              .retries = retries,
                              .backoff_ns = backoff_ns};
}

/* ---- a nursery that takes its time ----------------------------------------------------------- */

static bool is_slow;

/* Nothing of the job is in a worker's hands. */
static bool is_over_with(struct tine__pool_shm *pool, const struct tine__job_shm *job)
{
    if (tine__redo_has(pool, job))
        return false;
    for (uint32_t i = 0; i < pool->workers; i++)
        if (atomic_load(&tine__worker_at(pool, i)->job) == TINE__ADDRESS(job))
            return false;
    return true;
}

int __real_tine__redo_put(struct tine__pool_shm *pool, struct tine__job_shm *job,
                          const struct tine__rest *rest);
int __wrap_tine__redo_put(struct tine__pool_shm *pool, struct tine__job_shm *job,
                          const struct tine__rest *rest);

/* A rest that was put up is done before the nursery goes on, if it is slow. */
int __wrap_tine__redo_put(struct tine__pool_shm *pool, struct tine__job_shm *job,
                          const struct tine__rest *rest)
{
    int rc = __real_tine__redo_put(pool, job, rest);

    while (rc == 0 && is_slow && rest->begin < rest->end && !is_over_with(pool, job)) {
        tine__stream_wake_all(pool);
        sched_yield();
    }
    return rc;
}

/* A call that has died once, and waits. */
static tine_future *submit_waiting(tine_pool *pool, struct diary **diary)
{
    tine_job_options options = options_for(diary, TINE_UNLIMITED, LONG);
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, try_call, &options, ""), 0);
    ck_assert_eventually(atomic_load(&future->job->waiting) == 1);
    return future;
}

static void assert_works(tine_pool *pool)
{
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, return_seven, NULL, ""), 0);
    tine_results_close(results);
}

TEST(each_wait_is_twice_as_long_as_the_one_before)
{
    struct diary *diary = diary_new(TRIES);
    tine_pool *pool = pool_of(1);
    tine_job_options options = options_for(&diary, 3, SHORT);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, try_call, &options, ""), TINE_EWORKER);
    ck_assert_uint_eq(diary->tries, 4);
    for (int i = 1; i < 4; i++)
        ck_assert_int_ge(diary->begun[i] - diary->begun[i - 1], SHORT << (i - 1));
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(a_rest_that_is_done_before_it_counts_as_up_ends_its_job, .loop_end = 2)
{
    struct diary *diary = diary_new(1);
    tine_job_options options = options_for(&diary, 1, 1);
    tine_results *results;
    tine_pool *pool;

    is_slow = true;
    pool = pool_of(2);
    if (loop_index == 0) {
        ck_assert_rc(tine_pool_for(pool, 1, try_body, &options), 0);
    } else {
        ck_assert_rc(tine_pool_apply(&results, pool, try_call, &options, ""), 0);
        tine_results_close(results);
    }
    ck_assert_uint_eq(diary->tries, 2);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(other_work_goes_on_meanwhile)
{
    struct diary *diary = diary_new(1);
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_waiting(pool, &diary);

    for (int i = 0; i < 10; i++)
        assert_works(pool);
    ck_assert(!tine_future_done(future));
    ck_assert_uint_eq(diary->tries, 1);
    ck_assert_rc(tine_future_cancel(future, 0), 1);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(what_waits_can_be_cancelled, .loop_end = 2)
{
    uint64_t blocks = heap_blocks();
    struct diary *diary = diary_new(1);
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_waiting(pool, &diary);

    ck_assert_rc(tine_future_cancel(future, loop_index == 0 ? 0 : TINE_CANCEL_RUNNING), 1);
    ck_assert_rc(tine_future_result(future, 0, NULL), -ECANCELED);
    ck_assert_eventually(tine__job_done(future->job));
    tine_future_close(future);
    assert_works(pool);
    ck_assert_uint_eq(diary->tries, 1);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
    tine_free(diary);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(a_pool_is_terminated_although_something_waits)
{
    struct diary *diary = diary_new(1);
    tine_pool *pool = pool_of(1);
    tine_future *future = submit_waiting(pool, &diary);

    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), -ECANCELED);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free(diary);
}

static int run_starmap(tine_pool *pool, size_t n, const tine_job_options *options)
{
    tine_results *results = NULL;
    tine_buffer args = {0};
    int rc;

    for (size_t i = 0; i < n; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    rc = tine_pool_starmap(&results, pool, try_call, &args, options);
    tine_results_close(results);
    tine_buffer_free(&args);
    return rc;
}

TEST(a_loop_waits_for_its_last_item, .loop_end = 2)
{
    struct diary *diary = diary_new(2);
    tine_pool *pool = pool_of(2);
    tine_job_options options = options_for(&diary, 2, SHORT);

    diary->bad = 17;
    options.chunk = 5;
    if (loop_index == 0)
        ck_assert_rc(tine_pool_for(pool, 100, try_body, &options), 0);
    else
        ck_assert_rc(run_starmap(pool, 100, &options), 0);
    ck_assert_uint_eq(diary->tries, 3);
    ck_assert_int_ge(diary->begun[2] - diary->begun[0], 3 * SHORT);
    tine_pool_close(pool);
    tine_free(diary);
}

TEST(a_loop_whose_rest_waits_can_time_out)
{
    uint64_t blocks = heap_blocks();
    struct diary *diary = diary_new(1);
    tine_pool *pool = pool_of(1);
    tine_job_options options = options_for(&diary, 1, LONG);

    options.timeout_ns = TINE_MS(100);
    options.chunk = 1;
    ck_assert_rc(tine_pool_for(pool, 10, try_body, &options), -ETIMEDOUT);
    assert_works(pool);
    tine_pool_close(pool);
    tine_free(diary);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* Many more than the redo table has places; and so many deaths in a row are no storm. */
TEST(any_number_may_wait)
{
    enum { CALLS = 60 };
    struct diary *diaries[CALLS];
    tine_future *futures[CALLS];
    tine_pool *pool = pool_of(1);

    for (int i = 0; i < CALLS; i++) {
        tine_job_options options = options_for(&diaries[i], 1, SHORT);

        diaries[i] = diary_new(1);
        ck_assert_rc(tine_pool_submit(&futures[i], pool, try_call, &options, ""), 0);
    }
    for (int i = 0; i < CALLS; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), 0);
        ck_assert_uint_eq(diaries[i]->tries, 2);
        tine_future_close(futures[i]);
        tine_free(diaries[i]);
    }
    tine_pool_close(pool);
}

TEST(no_wait_is_negative)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_rc(
        tine_pool_submit(&future, pool, return_seven, &(tine_job_options){.backoff_ns = -1}, ""),
        -EINVAL);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/backoff")
