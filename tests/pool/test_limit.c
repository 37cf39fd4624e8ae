/* SPDX-License-Identifier: MIT */
/* Limits of time: who is told, who is killed, what is said of it, and that nobody else is hit. */
#include <tine/pool.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define SHORT TINE_MS(20)
#define LONG  TINE_SEC(1000)

static tine_pool *pool_with(tine_pool_options options)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    return pool;
}

/* Handlers of signals may run in it. */
static int stay(void)
{
    while (pause() != 0)
        ;
    return 0;
}

static int until_asked(void)
{
    while (!tine_should_stop())
        tine__cpu_relax();
    return TINE_ELIMIT;
}

/* ---- the soft limit -------------------------------------------------------------------------- */

static int call_until_asked(tine_call *call)
{
    (void)call;
    return until_asked();
}

static int item_until_asked(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    return until_asked();
}

static int body_until_asked(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return until_asked();
}

static int reduce_until_asked(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)begin, (void)end, (void)accumulator, (void)context;
    return until_asked();
}

static void combine_nothing(void *into, const void *from, void *context)
{
    (void)into, (void)from, (void)context;
}

/* One item that lasts until it is told to stop, in each kind of job. */
static int run_kind(tine_pool *pool, int kind, const tine_job_options *options)
{
    tine_map map = {.item = item_until_asked, .n = 1};
    tine_results *results = NULL;
    tine_buffer args = {0};
    int total = 0, rc;

    switch (kind) {
    case 0:
        return tine_pool_map(pool, &map, options);
    case 1:
        return tine_pool_for(pool, 1, body_until_asked, options);
    case 2:
        return tine_pool_reduce(pool, 1, reduce_until_asked, combine_nothing, &total, sizeof total,
                                options);
    case 3:
        return tine_pool_apply(&results, pool, call_until_asked, options, "");
    default:
        ck_assert_rc(tine_pack(&args, "[]"), 0);
        rc = tine_pool_starmap(&results, pool, call_until_asked, &args, options);
        tine_results_close(results);
        tine_buffer_free(&args);
        return rc;
    }
}

TEST(a_task_is_told_that_its_time_is_over, .loop_end = 5)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .task_timeout_ns = SHORT});
    tine_failure failure = {0};
    int64_t before = tine__now_ns();

    ck_assert_rc(run_kind(pool, loop_index, &(tine_job_options){.failure = &failure}), TINE_ELIMIT);
    ck_assert_int_ge(tine__now_ns() - before, SHORT);
    ck_assert_rc(failure.code, TINE_ELIMIT);
    ck_assert_int_eq(failure.signal, 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

static int return_when_asked(tine_call *call)
{
    (void)until_asked();
    return tine_return(call, "q", INT64_C(7));
}

TEST(what_a_task_returns_after_its_time_counts)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    int64_t seven = 0;

    ck_assert_rc(tine_pool_apply(&results, pool, return_when_asked,
                                 &(tine_job_options){.task_timeout_ns = SHORT}, ""),
                 0);
    ck_assert_rc(tine_results_get(results, 0, "q", &seven), 0);
    ck_assert_int_eq(seven, 7);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int tell_whether_asked(tine_call *call)
{
    return tine_return(call, "?", tine_should_stop());
}

static bool is_asked_at_once(tine_pool *pool, const tine_job_options *options)
{
    tine_results *results;
    bool asked = true;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_whether_asked, options, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "?", &asked), 0);
    tine_results_close(results);
    return asked;
}

TEST(who_has_time_is_not_told_to_stop)
{
    tine_pool *pool = pool_of(1);

    ck_assert(!tine_should_stop());
    ck_assert(!is_asked_at_once(pool, NULL));
    ck_assert(!is_asked_at_once(pool, &(tine_job_options){.task_timeout_ns = LONG}));
    ck_assert_rc(run_kind(pool, 0, &(tine_job_options){.task_timeout_ns = SHORT}), TINE_ELIMIT);
    ck_assert(!is_asked_at_once(pool, NULL));
    ck_assert(!is_asked_at_once(pool, &(tine_job_options){.task_timeout_ns = LONG}));
    tine_pool_close(pool);
}

/* Words of the alarm count the items that were begun under a limit. */
static uint64_t limited_items(tine_pool *pool)
{
    return atomic_load(&tine__worker_at(pool->shared, 0)->alarm.word) >> 3;
}

static int do_nothing(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    return 0;
}

TEST(each_item_has_its_own_time)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .task_timeout_ns = LONG});
    tine_map map = {.item = do_nothing, .n = 100};

    ck_assert_rc(tine_pool_map(pool, &map, &(tine_job_options){.chunk = 50}), 0);
    ck_assert_uint_eq(limited_items(pool), 100);
    tine_pool_close(pool);
}

TEST(a_job_has_its_own_limits_or_none)
{
    tine_pool *pool =
        pool_with((tine_pool_options){.workers = 1, .task_timeout_ns = LONG, .task_kill_ns = LONG});
    tine_job_options none = {.task_timeout_ns = TINE_FOREVER, .task_kill_ns = TINE_FOREVER};
    tine_map map = {.item = do_nothing, .n = 10};

    ck_assert_rc(run_kind(pool, 0, &(tine_job_options){.task_timeout_ns = SHORT}), TINE_ELIMIT);
    ck_assert_uint_eq(limited_items(pool), 1);
    ck_assert_rc(tine_pool_map(pool, &map, &none), 0);
    ck_assert_uint_eq(limited_items(pool), 1);
    tine_pool_close(pool);
}

/* ---- the hard limit -------------------------------------------------------------------------- */

/* Which item of a job does not end; the others are counted. */
struct order {
    size_t bad;
    struct gate *good;
    struct gate *tries;
};

static int one_stays(tine_call *call)
{
    const struct order *order = tine_call_context(call);

    if (tine_call_index(call) == order->bad) {
        gate_raise(order->tries);
        return stay();
    }
    gate_raise(order->good);
    return tine_return(call, "Q", (uint64_t)tine_call_index(call));
}

static void assert_killed(const tine_failure *failure, uint64_t index)
{
    ck_assert_rc(failure->code, TINE_ELIMIT);
    ck_assert_int_eq(failure->signal, SIGKILL);
    ck_assert_int_gt(failure->pid, 0);
    ck_assert_int_eq(failure->exit_status, -1);
    ck_assert_uint_eq(failure->index, index);
    ck_assert_msg(strstr(failure->message, "task_kill_ns of 0.02 s") != NULL, "%s",
                  failure->message);
}

static int starmap(tine_pool *pool, size_t n, const struct order *order, tine_job_options options,
                   tine_results **results)
{
    tine_buffer args = {0};
    int rc;

    for (size_t i = 0; i < n; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    options.context = order;
    options.context_size = sizeof *order;
    options.task_kill_ns = SHORT;
    rc = tine_pool_starmap(results, pool, one_stays, &args, &options);
    tine_buffer_free(&args);
    return rc;
}

TEST(only_the_item_that_runs_too_long_is_lost)
{
    struct order order = {.bad = 5, .good = gate_new(), .tries = gate_new()};
    tine_pool *pool = pool_of(2);
    tine_results *results = NULL;
    tine_failure failure = {0};
    uint64_t index;

    ck_assert_rc(starmap(pool, 20, &order, (tine_job_options){.failure = &failure}, &results),
                 TINE_ELIMIT);
    assert_killed(&failure, 5);
    for (uint64_t i = 0; i < 20; i++)
        if (i == 5)
            ck_assert_rc(tine_results_get(results, i, "Q", &index), TINE_ELIMIT);
        else
            ck_assert_rc(tine_results_get(results, i, "Q", &index), 0);
    ck_assert_uint_eq(order.good->raised, 19);
    ck_assert_uint_eq(order.tries->raised, 1);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(what_ran_too_long_runs_again_only_if_asked, .loop_end = 2)
{
    struct order order = {.bad = 0, .good = gate_new(), .tries = gate_new()};
    tine_job_options options = {.retries = 2, .flags = loop_index ? TINE_JOB_RETRY_LIMITED : 0};
    tine_pool *pool = pool_of(1);
    tine_results *results = NULL;

    ck_assert_rc(starmap(pool, 2, &order, options, &results), TINE_ELIMIT);
    ck_assert_uint_eq(order.tries->raised, loop_index ? 3 : 1);
    ck_assert_uint_eq(order.good->raised, 1);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int stay_in_call(tine_call *call)
{
    (void)call;
    return stay();
}

/* All that is not its own. */
static int close_everything(tine_call *call)
{
    (void)call;
    for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
        close(fd);
    return 0;
}

TEST(limits_hold_for_a_worker_that_cannot_ask_for_it)
{
    tine_pool *pool = pool_of(1);
    tine_job_options options = {.task_kill_ns = SHORT};
    tine_results *results;

    for (int i = 0; i < 100; i++) { /* then the nursery has heard of it, and sleeps again */
        ck_assert_rc(tine_pool_apply(&results, pool, close_everything, NULL, ""), 0);
        tine_results_close(results);
    }
    ck_assert_rc(tine_pool_apply(&results, pool, stay_in_call, &options, ""), TINE_ELIMIT);
    tine_pool_close(pool);
}

static int stop_in_call(tine_call *call)
{
    (void)call;
    raise(SIGSTOP);
    return stay();
}

/* Goes on after its soft limit as if nothing were. */
static int ignore_the_soft_limit(tine_call *call)
{
    (void)call;
    (void)until_asked();
    return stay();
}

TEST(a_call_is_killed_whatever_it_does, .loop_end = 3)
{
    static tine_function *const functions[] = {stay_in_call, stop_in_call, ignore_the_soft_limit};
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .task_kill_ns = SHORT});
    tine_failure failure = {0};
    tine_results *results = NULL;
    int64_t before = tine__now_ns();
    tine_job_options options = {.failure = &failure,
                                .task_timeout_ns = loop_index == 2 ? SHORT / 2 : 0};

    ck_assert_rc(tine_pool_apply(&results, pool, functions[loop_index], &options, ""), TINE_ELIMIT);
    ck_assert_int_ge(tine__now_ns() - before, SHORT);
    ck_assert_ptr_null(results);
    assert_killed(&failure, 0);
    ck_assert(!is_asked_at_once(pool, &(tine_job_options){.task_kill_ns = TINE_FOREVER}));
    tine_pool_close(pool);
}

static int stay_in_first(size_t begin, size_t end, void *context)
{
    (void)end, (void)context;
    return begin == 0 ? stay() : 0;
}

TEST(of_a_loop_the_chunk_is_limited)
{
    tine_pool *pool = pool_of(2);
    tine_failure failure = {0};
    tine_job_options options = {.failure = &failure, .chunk = 10, .task_kill_ns = SHORT};

    ck_assert_rc(tine_pool_for(pool, 100, stay_in_first, &options), TINE_ELIMIT);
    assert_killed(&failure, 0);
    ck_assert_uint_eq(failure.count, 10);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

/* What was due while the nursery stood is seen to as soon as it goes on. */
TEST(a_nursery_that_was_stopped_makes_up_for_it)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_rc(tine__sys_pidfd_kill(pool->nursery.pidfd, SIGSTOP), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, stay_in_call,
                                  &(tine_job_options){.task_kill_ns = SHORT}, ""),
                 0);
    ck_assert_rc(tine_future_wait(future, 2 * SHORT), -ETIMEDOUT);
    ck_assert_rc(tine__sys_pidfd_kill(pool->nursery.pidfd, SIGCONT), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), TINE_ELIMIT);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(limited_work_is_cancelled_and_terminated_as_any_other)
{
    struct gate *gate = gate_new();
    struct order order = {.bad = 0, .good = gate, .tries = gate};
    tine_job_options options = {
        .context = &order, .context_size = sizeof order, .task_kill_ns = LONG};
    tine_pool *pool = pool_of(1);
    tine_future *futures[2];

    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_rc(tine_pool_submit(&futures[i], pool, one_stays, &options, ""), 0);
        gate_await(gate, i + 1);
        if (i == 0)
            ck_assert_rc(tine_future_cancel(futures[0], TINE_CANCEL_RUNNING), 1);
    }
    ck_assert_rc(tine_pool_terminate(pool), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), -ECANCELED);
        tine_future_close(futures[i]);
    }
    tine_pool_close(pool);
}

/* ---- the signal ------------------------------------------------------------------------------ */

static _Atomic uint32_t caught;

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&caught, 1);
}

static int catch_signal(tine_call *call)
{
    struct sigaction action = {.sa_handler = count_signal};

    sigaction(SIGUSR1, &action, NULL);
    while (atomic_load(&caught) == 0)
        tine__cpu_relax();
    return tine_return(call, "?", tine_should_stop());
}

TEST(the_signal_arrives_in_the_task)
{
    tine_pool *pool = pool_with(
        (tine_pool_options){.workers = 1, .task_timeout_ns = SHORT, .stop_signal = SIGUSR1});
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, catch_signal, NULL, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

TEST(a_task_that_dies_of_the_signal_was_ended_by_its_limit)
{
    tine_pool *pool = pool_with(
        (tine_pool_options){.workers = 1, .task_timeout_ns = SHORT, .stop_signal = SIGUSR1});
    tine_failure failure = {0};
    tine_results *results;

    ck_assert_rc(
        tine_pool_apply(&results, pool, stay_in_call, &(tine_job_options){.failure = &failure}, ""),
        TINE_ELIMIT);
    ck_assert_int_eq(failure.signal, SIGUSR1);
    ck_assert_msg(strstr(failure.message, "task_timeout_ns of 0.02 s") != NULL, "%s",
                  failure.message);
    tine_pool_close(pool);
}

static int block_signal(tine_call *call)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)until_asked();
    return tine_return(call, "n");
}

static int unblock_signal(tine_call *call)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return tine_return(call, "n");
}

TEST(a_signal_that_a_task_does_not_take_is_gone_with_it)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .stop_signal = SIGUSR1});
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, block_signal,
                                 &(tine_job_options){.task_timeout_ns = SHORT}, ""),
                 0);
    tine_results_close(results);
    ck_assert_rc(tine_pool_apply(&results, pool, unblock_signal, NULL, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* The worker has ended its item while the nursery is about to send the signal. */
static int set_signalling(tine_call *call)
{
    struct tine__alarm_shm *alarm = *(struct tine__alarm_shm **)tine_call_context(call);

    atomic_fetch_add(&alarm->word, 2); /* from armed */
    return 0;
}

TEST(an_item_ends_only_when_its_signal_was_sent)
{
    tine_pool *pool = pool_with((tine_pool_options){.workers = 1, .stop_signal = SIGUSR1});
    struct tine__alarm_shm *alarm = &tine__worker_at(pool->shared, 0)->alarm;
    tine_job_options options = {
        .context = &alarm, .context_size = sizeof alarm, .task_timeout_ns = LONG};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, set_signalling, &options, ""), 0);
    ck_assert_eventually((atomic_load(&alarm->word) & 7) == 3);
    ck_assert_rc(tine_future_wait(future, SHORT), -ETIMEDOUT);
    atomic_fetch_sub(&alarm->word, 1); /* asked */
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* Item 1 is late when its clock runs, but the worker has not called it yet. */
static int be_late_at_first(const void *in, void *out, void *context)
{
    struct tine__worker_shm *worker = *(struct tine__worker_shm **)context;

    (void)out;
    if (*(const int *)in != 1)
        return 0;
    atomic_store(&worker->at, 1 << 2 | 2);
    atomic_fetch_add(&worker->alarm.word, 3); /* from armed to condemned */
    return raise(SIGKILL);
}

TEST(an_item_that_was_late_before_it_was_called_is_not_tried_for_ever)
{
    tine_pool *pool = pool_of(1);
    struct tine__worker_shm *worker = tine__worker_at(pool->shared, 0);
    tine_failure failure = {0};
    int numbers[] = {0, 1, 2};
    tine_map map = {.item = be_late_at_first, .in = numbers, .in_size = sizeof *numbers, .n = 3};
    tine_job_options options = {.context = &worker,
                                .context_size = sizeof worker,
                                .task_kill_ns = LONG,
                                .chunk = 3,
                                .failure = &failure};

    ck_assert_rc(tine_pool_map(pool, &map, &options), TINE_ELIMIT);
    ck_assert_uint_eq(failure.index, 1);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

/* ---- options --------------------------------------------------------------------------------- */

TEST(limits_that_make_no_sense_are_refused)
{
    static const tine_pool_options bad_pools[] = {
        {.task_timeout_ns = -1}, {.task_kill_ns = -1},     {.stop_signal = -1},
        {.stop_signal = 1000},   {.stop_signal = SIGKILL}, {.stop_signal = SIGSTOP},
        {.stop_signal = 32},     {.stop_signal = 33}}; /* the C library's own */
    static const tine_job_options bad_jobs[] = {
        {.task_timeout_ns = -2}, {.task_kill_ns = -2}, {.flags = 2 * TINE_JOB_RETRY_LIMITED}};
    tine_pool *pool = NULL;

    for (size_t i = 0; i < sizeof bad_pools / sizeof bad_pools[0]; i++)
        ck_assert_rc(tine_pool_open(&pool, &bad_pools[i]), -EINVAL);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.reserved0 = 1}), -E2BIG);
    ck_assert_ptr_null(pool);
    pool = pool_of(1);
    for (size_t i = 0; i < sizeof bad_jobs / sizeof bad_jobs[0]; i++)
        ck_assert_rc(run_kind(pool, 0, &bad_jobs[i]), -EINVAL);
    tine_pool_close(pool);
}

TEST(limited_jobs_leave_nothing_in_the_heap)
{
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_with((tine_pool_options){.workers = 2, .task_kill_ns = LONG});
    tine_job_options options = {.context = "context", .context_size = 8};

    for (int i = 0; i < 10; i++)
        ck_assert(!is_asked_at_once(pool, &options));
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

SUITE_OF_POOLS("pool/limit")
