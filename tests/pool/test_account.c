/* SPDX-License-Identifier: MIT */
/* Accounts of jobs and totals of pools: times, bytes, retries, CPU time and memory. */
#include <tine/future.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define BURNT_NS TINE_MS(20)
#define GRAIN_NS TINE_US(10) /* to which the kernel rounds */

static tine_pool *open_accounting(int32_t workers)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = workers,
                                                            .flags = TINE_POOL_ACCOUNTING}),
                 0);
    return pool;
}

static tine_accounting accounting_of(tine_future *future)
{
    tine_accounting accounting;

    ck_assert_rc(tine_future_wait(future, TINE_FOREVER), 0);
    ck_assert_rc(tine_future_accounting(future, &accounting), 0);
    return accounting;
}

static int64_t cpu_now(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return TINE_SEC((int64_t)used.tv_sec) + used.tv_nsec;
}

static void burn_ns(int64_t ns)
{
    int64_t end = cpu_now() + ns;

    while (cpu_now() < end)
        continue;
}

static int burn(tine_call *call)
{
    burn_ns(BURNT_NS);
    return tine_return(call, "s", "four");
}

static int echo(tine_call *call)
{
    const char *text;
    int rc = tine_args(call, "s", &text);

    return rc < 0 ? rc : tine_return(call, "s", text);
}

/* ---- times and costs ------------------------------------------------------------------------- */

TEST(a_call_has_its_times_and_costs)
{
    tine_pool *pool = open_accounting(1);
    int64_t before = tine__now_ns();
    tine_accounting accounting;
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, burn, NULL, ""), 0);
    accounting = accounting_of(future);
    ck_assert_int_ge(accounting.queued_ns, before);
    ck_assert_int_ge(accounting.started_ns, accounting.queued_ns);
    ck_assert_int_ge(accounting.ended_ns, accounting.started_ns + BURNT_NS - GRAIN_NS);
    ck_assert_int_le(accounting.ended_ns, tine__now_ns());
    ck_assert_int_ge(accounting.cpu_ns, BURNT_NS - GRAIN_NS);
    ck_assert_uint_gt(accounting.peak_rss_bytes, 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

static int wait_at_gate(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, 2);
    return 0;
}

TEST(what_is_not_yet_is_zero)
{
    struct gate *gate = gate_new();
    tine_pool *pool = open_accounting(1);
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *first, *second;
    tine_accounting accounting;

    ck_assert_rc(tine_pool_submit(&first, pool, wait_at_gate, &options, ""), 0);
    ck_assert_rc(tine_pool_submit(&second, pool, burn, NULL, ""), 0);
    gate_await(gate, 1);
    ck_assert_rc(tine_future_accounting(first, &accounting), 0);
    ck_assert_int_gt(accounting.started_ns, 0);
    ck_assert_int_eq(accounting.ended_ns, 0);
    ck_assert_rc(tine_future_accounting(second, &accounting), 0);
    ck_assert_int_gt(accounting.queued_ns, 0);
    ck_assert_int_eq(accounting.started_ns, 0);
    gate_raise(gate);
    ck_assert_int_ge(accounting_of(second).started_ns, accounting_of(first).ended_ns);
    tine_future_close(first);
    tine_future_close(second);
    tine_pool_close(pool);
}

static int burn_range(size_t begin, size_t end, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        burn_ns(TINE_MS(1));
    return 0;
}

TEST(a_loop_sums_up_what_its_workers_used)
{
    tine_pool *pool = open_accounting(2);
    tine_accounting accounting;
    tine_future *future;

    ck_assert_rc(tine_pool_for_async(&future, pool, 20, burn_range, NULL), 0);
    accounting = accounting_of(future);
    ck_assert_int_ge(accounting.cpu_ns, 20 * (TINE_MS(1) - GRAIN_NS));
    ck_assert_int_gt(accounting.ended_ns, accounting.started_ns);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(without_the_flag_there_are_no_times)
{
    tine_pool *pool = pool_of(1);
    tine_accounting accounting;
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, burn, NULL, ""), 0);
    accounting = accounting_of(future);
    ck_assert_int_eq(accounting.queued_ns, 0);
    ck_assert_int_eq(accounting.started_ns, 0);
    ck_assert_int_eq(accounting.ended_ns, 0);
    ck_assert_int_eq(accounting.cpu_ns, 0);
    ck_assert_uint_eq(accounting.bytes_out, 5);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static int square(const void *in, void *out, void *context)
{
    (void)context;
    *(uint64_t *)out = (uint64_t) * (const uint32_t *)in * *(const uint32_t *)in;
    return 0;
}

TEST(bytes_are_counted_for_each_kind_of_job)
{
    uint32_t in[100] = {0};
    uint64_t out[100];
    tine_map map = {.item = square, .in = in, .in_size = 4, .out = out, .out_size = 8, .n = 100};
    tine_pool *pool = pool_of(2);
    tine_buffer args = {0};
    tine_accounting accounting;
    tine_future *futures[3];

    ck_assert_rc(tine_pack(&args, "[s]", "one"), 0);
    ck_assert_rc(tine_pack(&args, "[s]", "three"), 0);
    ck_assert_rc(tine_pool_submit(&futures[0], pool, echo, NULL, "s", "four"), 0);
    ck_assert_rc(tine_pool_map_async(&futures[1], pool, &map, NULL), 0);
    ck_assert_rc(tine_pool_starmap_async(&futures[2], pool, echo, &args, NULL), 0);
    accounting = accounting_of(futures[0]);
    ck_assert_uint_eq(accounting.bytes_in, 6);
    ck_assert_uint_eq(accounting.bytes_out, 5);
    accounting = accounting_of(futures[1]);
    ck_assert_uint_eq(accounting.bytes_in, 400);
    ck_assert_uint_eq(accounting.bytes_out, 800);
    accounting = accounting_of(futures[2]);
    ck_assert_uint_eq(accounting.bytes_in, 5 + 7);
    ck_assert_uint_eq(accounting.bytes_out, 4 + 6);
    for (int i = 0; i < 3; i++)
        tine_future_close(futures[i]);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(a_job_without_items_has_an_empty_account)
{
    static const tine_accounting empty;
    tine_pool *pool = open_accounting(1);
    tine_accounting accounting;
    tine_future *future;

    ck_assert_rc(tine_pool_for_async(&future, pool, 0, burn_range, NULL), 0);
    accounting = accounting_of(future);
    ck_assert_mem_eq(&accounting, &empty, sizeof empty);
    ck_assert_rc(tine_future_accounting(future, NULL), -EINVAL);
    ck_assert_rc(tine_future_accounting(NULL, &accounting), -EINVAL);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(an_account_outlives_its_pool)
{
    tine_pool *pool = open_accounting(1);
    tine_future *future;
    tine_accounting before, after;

    ck_assert_rc(tine_pool_submit(&future, pool, burn, NULL, ""), 0);
    before = accounting_of(future);
    tine_pool_close(pool);
    ck_assert_rc(tine_future_accounting(future, &after), 0);
    ck_assert_mem_eq(&before, &after, sizeof before);
    tine_future_close(future);
}

/* ---- deaths and retries ---------------------------------------------------------------------- */

static int die_twice(tine_call *call)
{
    _Atomic int *deaths = *(_Atomic int **)tine_call_context(call);

    if (atomic_fetch_add(deaths, 1) < 2)
        raise(SIGKILL);
    return 0;
}

TEST(retries_are_counted, .loop_end = 2)
{
    _Atomic int *deaths = tine_calloc(1, sizeof *deaths);
    tine_job_options options = {
        .context = &deaths, .context_size = sizeof deaths, .retries = loop_index == 0 ? 1 : 5};
    tine_pool *pool = open_accounting(1);
    uint64_t retries = loop_index == 0 ? 1 : 2;
    tine_accounting accounting;
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, die_twice, &options, ""), 0);
    accounting = accounting_of(future);
    ck_assert_uint_eq(accounting.deaths, 2);
    ck_assert_uint_eq(accounting.retries, retries);
    ck_assert_int_ge(accounting.ended_ns, accounting.started_ns);
    ck_assert_int_gt(accounting.started_ns, 0);
    ck_assert_uint_eq(pool_counts(pool).retries, retries);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free(deaths);
}

/* ---- totals ---------------------------------------------------------------------------------- */

TEST(a_pool_sums_up_its_jobs)
{
    tine_pool *pool = open_accounting(1);
    tine_pool_counts counts;
    tine_results *results;

    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_pool_apply(&results, pool, echo, NULL, "s", "four"), 0);
        tine_results_close(results);
    }
    ck_assert_rc(tine_pool_apply(&results, pool, burn, NULL, ""), 0);
    tine_results_close(results);
    counts = pool_counts(pool);
    ck_assert_uint_eq(counts.bytes_in, 3 * 6 + 1);
    ck_assert_uint_eq(counts.bytes_out, 4 * 5);
    ck_assert_int_ge(counts.ran_ns, BURNT_NS - GRAIN_NS);
    ck_assert_int_ge(counts.waited_ns, 0);
    ck_assert_int_ge(counts.cpu_ns, BURNT_NS - GRAIN_NS);
    tine_pool_close(pool);
}

static int burn_and_die(tine_call *call)
{
    (void)call;
    burn_ns(BURNT_NS);
    raise(SIGKILL);
    return 0;
}

enum { TERMINATE, KILL_NURSERY, REAP, ENDS };

static int return_when_burnt(tine_call *call)
{
    (void)call;
    burn_ns(BURNT_NS);
    return 0;
}

/* Whatever happens to who has used it; the last is what it looks like while one is reaped. */
TEST(cpu_time_is_not_taken_back, .loop_end = ENDS)
{
    tine_pool *pool;
    tine_results *results;
    int64_t used;

    if (loop_index != TERMINATE && pools_kind() != TINE_PROCESSES)
        SKIP("threads are not killed");
    pool = pool_of(1);
    ck_assert_rc(tine_pool_apply(&results, pool, return_when_burnt, NULL, ""), 0);
    tine_results_close(results);
    used = pool_counts(pool).cpu_ns;
    ck_assert_int_ge(used, BURNT_NS - GRAIN_NS);
    if (loop_index == TERMINATE)
        ck_assert_rc(tine_pool_terminate(pool), 0);
    else if (loop_index == REAP)
        atomic_store(&tine__worker_at(pool->shared, 0)->pid, 0);
    else
        ck_assert_rc(tine__sys_pidfd_kill(pool->nursery.pidfd, SIGKILL), 0);
    if (loop_index == KILL_NURSERY)
        ck_assert_eventually(tine__pool_is_broken(pool));
    ck_assert_int_ge(pool_counts(pool).cpu_ns, used);
    tine_pool_close(pool);
}

/* And not the whole program's, once for each. */
TEST(a_thread_has_used_its_own_time)
{
    tine_pool *pool;
    tine_results *results;
    int64_t used;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 3, .kind = TINE_THREADS}),
                 0);
    ck_assert_rc(tine_pool_apply(&results, pool, return_when_burnt, NULL, ""), 0);
    tine_results_close(results);
    used = pool_counts(pool).cpu_ns;
    ck_assert_int_gt(used, 0);
    ck_assert_int_le(used, cpu_now());
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_ge(pool_counts(pool).cpu_ns, used);
    ck_assert_int_le(pool_counts(pool).cpu_ns, cpu_now());
    tine_pool_close(pool);
}

TEST(what_the_dead_have_used_stays_counted)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    tine_pool_counts counts;

    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_pool_apply(&results, pool, burn_and_die, NULL, ""), TINE_EWORKER);
    counts = pool_counts(pool);
    ck_assert_int_ge(counts.cpu_ns, 3 * (BURNT_NS - GRAIN_NS));
    ck_assert_uint_gt(counts.peak_rss_bytes, 0);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/account")
