/* SPDX-License-Identifier: MIT */
/* The family's CPU budget: when it is in force, and what it does to the work of several pools. */
#include "pool/budget.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/barrier.h>
#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "shm/owner.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static bool in_force(void)
{
    return tine__budget_in_force(tine__budget_root());
}

static void set_cpus(const char *count)
{
    ck_assert_int_eq(setenv("TINE_CPU_COUNT", count, 1), 0);
}

/* ---- when ------------------------------------------------------------------------------------ */

TEST(one_pool_has_no_budget)
{
    tine_pool *pool = pool_of(2);

    ck_assert(!in_force());
    tine_pool_close(pool);
    ck_assert(!in_force());
}

TEST(two_pools_have_one_until_one_is_closed, .loop_end = 2)
{
    tine_pool *pools[2] = {pool_of(1), pool_of(1)};

    ck_assert(in_force());
    tine_pool_close(pools[loop_index]);
    ck_assert(!in_force());
    tine_pool_close(pools[1 - loop_index]);
    ck_assert(!in_force());
}

TEST(pools_that_take_no_part_do_not_count)
{
    tine_pool *pools[3];
    tine_pool_options options = {.workers = 1, .flags = TINE_POOL_NO_BUDGET};

    pools[0] = pool_of(1);
    for (int i = 1; i < 3; i++)
        ck_assert_rc(tine_pool_open(&pools[i], &options), 0);
    ck_assert(!in_force());
    for (int i = 0; i < 3; i++)
        tine_pool_close(pools[i]);
}

enum { JOIN, TERMINATE, KILL_NURSERY, FORGET, ENDS };

/* Which it does not wait for tine_pool_close() with. */
TEST(a_pool_that_has_ended_does_not_count, .loop_end = ENDS)
{
    tine_pool *pools[2];
    struct tine__nursery *nursery;

    if (loop_index >= KILL_NURSERY && pools_kind() != TINE_PROCESSES)
        SKIP("threads have no nursery");
    pools[0] = pool_of(1);
    pools[1] = pool_of(1);
    nursery = &pools[1]->nursery;
    ck_assert(in_force());
    if (loop_index == JOIN)
        ck_assert_rc(tine_pool_join(pools[1], TINE_FOREVER), 0);
    else if (loop_index == TERMINATE)
        ck_assert_rc(tine_pool_terminate(pools[1]), 0);
    else
        ck_assert_rc(tine__sys_pidfd_kill(nursery->pidfd, SIGKILL), 0);
    if (loop_index == KILL_NURSERY)
        ck_assert_eventually(tine__pool_is_broken(pools[1]));
    if (loop_index == FORGET) { /* the program does not look: whoever counts finds out */
        ck_assert(tine__nursery_ended(nursery, -1));
        tine__budget_judge(tine__budget(tine__budget_root()));
    }
    ck_assert(!in_force());
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
    ck_assert(!in_force());
}

/* Jobs run in their callers, which run anyway. */
TEST(pools_without_workers_do_not_count)
{
    tine_pool *pools[2];

    for (int i = 0; i < 2; i++)
        ck_assert_rc(tine_pool_open(&pools[i], &(tine_pool_options){.kind = TINE_INLINE}), 0);
    ck_assert(!in_force());
    for (int i = 0; i < 2; i++)
        tine_pool_close(pools[i]);
}

static int tell_force(tine_call *call)
{
    tine_pool *pool = pool_of(1);
    bool forced = in_force();

    tine_pool_close(pool);
    return tine_return(call, "?", forced);
}

TEST(a_nested_pool_is_the_second)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    bool forced;

    ck_assert_rc(tine_pool_apply(&results, pool, tell_force, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "?", &forced), 0);
    ck_assert(forced);
    ck_assert(!in_force());
    tine_results_close(results);
    tine_pool_close(pool);
}

static int open_and_hang(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    (void)pool_of(1);
    gate_raise(gate);
    gate_await(gate, UINT32_MAX);
    return 0;
}

/* It is found by whom its nursery is left to, and by nobody else here. */
TEST(a_nested_pool_whose_worker_is_killed_does_not_count)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_rc(
        tine_pool_submit(&future, pool, open_and_hang,
                         &(tine_job_options){.context = &gate, .context_size = sizeof gate}, ""),
        0);
    gate_await(gate, 1);
    ck_assert(in_force());
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    ck_assert_eventually(!in_force());
    tine_future_close(future);
    tine_pool_close(pool);
}

static void open_and_wait(void *gate)
{
    tine_pool *pool = pool_of(1);

    gate_raise(gate);
    gate_await(gate, 2);
    tine_pool_close(pool);
}

/* Those whose process, or that of their nursery, lives; a nursery takes a moment to follow. */
static int count_living(void)
{
    uint64_t root = atomic_load(tine__budget_root());
    const struct tine__budget_shm *budget = tine__budget(tine__budget_root());
    int count = budget == NULL && tine__owner_word_lives(root);

    for (uint32_t i = 0; budget != NULL && i < TINE__BUDGET_POOLS; i++)
        count += tine__owner_word_lives(atomic_load(&budget->pools[i]));
    return count;
}

/* Nobody says that it is gone: the next that opens finds out. */
TEST(the_pools_of_a_dead_process_do_not_count)
{
    struct gate *gate = gate_new();
    struct child child = child_start(open_and_wait, gate);
    tine_pool *pools[2];

    gate_await(gate, 1);
    pools[0] = pool_of(1);
    ck_assert(in_force());
    child_kill(&child);
    ck_assert_eventually(count_living() == 1);
    pools[1] = pool_of(1);
    ck_assert(in_force());
    tine_pool_close(pools[1]);
    ck_assert(!in_force());
    tine_pool_close(pools[0]);
}

TEST(the_only_opener_dies_and_another_opens)
{
    struct gate *gate = gate_new();
    struct child child = child_start(open_and_wait, gate);
    tine_pool *pool;

    gate_await(gate, 1);
    child_kill(&child);
    ck_assert_eventually(count_living() == 0);
    pool = pool_of(1);
    ck_assert(!in_force());
    tine_pool_close(pool);
}

/* ---- whole pools ----------------------------------------------------------------------------- */

/* Passes when all four workers are in it, on one CPU. */
static int meet(tine_call *call)
{
    int rc = tine_barrier_wait(*(tine_barrier **)tine_call_context(call), TINE_FOREVER);

    return rc < 0 ? rc : 0;
}

static int read_from_pipe(tine_call *call)
{
    char byte;
    int end, rc = tine_args(call, "F", &end);

    return rc < 0 ? rc : read(end, &byte, 1) == 1 ? 0 : -EIO;
}

static int write_to_pipe(tine_call *call)
{
    int end, rc = tine_args(call, "F", &end);

    return rc < 0 ? rc : write(end, "", 1) == 1 ? 0 : -EIO;
}

TEST(tasks_that_wait_for_each_other_all_run)
{
    tine_barrier *barrier = tine_calloc(1, sizeof *barrier);
    tine_job_options options = {.context = &barrier, .context_size = sizeof barrier};
    tine_pool *pools[2];
    tine_future *futures[4];

    ck_assert_rc(tine_barrier_init(barrier, 4, NULL), 0);
    set_cpus("1");
    pools[0] = pool_of(4);
    pools[1] = pool_of(1);
    for (int i = 0; i < 4; i++)
        ck_assert_rc(tine_pool_submit(&futures[i], pools[0], meet, &options, ""), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), 0);
        tine_future_close(futures[i]);
    }
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
    tine_free(barrier);
}

/* The first waits for the second, in a read that the library knows nothing of. */
TEST(a_task_that_waits_elsewhere_stands_in_nobodys_way)
{
    int ends[2];
    tine_future *futures[2];
    tine_pool *pools[2];

    ck_assert_int_eq(pipe(ends), 0);
    set_cpus("1");
    pools[0] = pool_of(2);
    pools[1] = pool_of(1);
    ck_assert_rc(tine_pool_submit(&futures[0], pools[0], read_from_pipe, NULL, "F", ends[0]), 0);
    ck_assert_rc(tine_pool_submit(&futures[1], pools[0], write_to_pipe, NULL, "F", ends[1]), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), 0);
        tine_future_close(futures[i]);
    }
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
    close(ends[0]);
    close(ends[1]);
}

/* Has the thread that runs this a token? There are enough for all. */
static int tell_token(tine_call *call)
{
    const struct tine__budget_shm *budget = tine__budget(tine__budget_root());
    uint64_t word = tine__owner_word_thread();
    bool has = false;

    if (budget == NULL)
        return -ENOENT;
    for (uint32_t i = 0; i < TINE__BUDGET_TOKENS && !has; i++)
        has = atomic_load(&budget->tokens[i]) == word;
    return tine_return(call, "?", has);
}

static bool runs_with_token(tine_pool *pool, tine_function *function)
{
    tine_results *results;
    bool has;

    ck_assert_rc(tine_pool_apply(&results, pool, function, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "?", &has), 0);
    tine_results_close(results);
    return has;
}

TEST(who_runs_has_a_token)
{
    tine_pool *pools[2];

    set_cpus("8");
    pools[0] = pool_of(1);
    pools[1] = pool_of(1);
    for (int i = 0; i < 2; i++)
        ck_assert(runs_with_token(pools[i], tell_token));
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
}

static int nest_threads(tine_call *call)
{
    tine_pool *pool;
    bool has;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2, .kind = TINE_THREADS}),
                 0);
    has = runs_with_token(pool, tell_token);
    tine_pool_close(pool);
    return tine_return(call, "?", has);
}

TEST(threads_nested_in_a_worker_have_tokens_of_their_own)
{
    tine_pool *pool;

    set_cpus("8");
    pool = pool_of(1);
    ck_assert(runs_with_token(pool, nest_threads));
    tine_pool_close(pool);
}

/* Of the one CPU another pool has the token, and a sibling the pass. */
TEST(threads_that_wait_for_tokens_leave_when_their_pool_is_terminated)
{
    tine_job_options options = {.chunk = 1};
    struct tally *tally = tally_new(100000);
    tine_pool *pools[2];
    tine_future *futures[2];

    options.context = &tally;
    options.context_size = sizeof tally;
    set_cpus("1");
    for (int i = 0; i < 2; i++) {
        pools[i] = pool_of(3);
        ck_assert_rc(tine_pool_for_async(&futures[i], pools[i], tally->n, tally_count, &options),
                     0);
    }
    ck_assert_rc(tine_pool_terminate(pools[1]), 0);
    ck_assert_rc(tine_pool_terminate(pools[0]), 0);
    for (int i = 0; i < 2; i++) {
        tine_future_close(futures[i]);
        tine_pool_close(pools[i]);
    }
    tine_free(tally);
}

TEST(much_work_in_many_pools_on_one_cpu_is_done)
{
    struct tally *tallies[3];
    tine_future *futures[3];
    tine_pool *pools[3];

    set_cpus("1");
    for (int i = 0; i < 3; i++) {
        pools[i] = pool_of(3);
        tallies[i] = tally_new(5000);
    }
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++) {
            tine_job_options options = {
                .context = &tallies[i], .context_size = sizeof tallies[i], .chunk = 20};

            memset(tallies[i]->times, 0, tallies[i]->n);
            ck_assert_rc(
                tine_pool_for_async(&futures[i], pools[i], tallies[i]->n, tally_count, &options),
                0);
            if (i < 2)
                continue;
            for (int j = 0; j < 3; j++) {
                ck_assert_rc(tine_future_wait(futures[j], TINE_FOREVER), 0);
                tine_future_close(futures[j]);
                tally_assert_once(tallies[j]);
            }
        }
    for (int i = 0; i < 3; i++) {
        tine_pool_close(pools[i]);
        tine_free(tallies[i]);
    }
    ck_assert(!in_force());
}

/* ---- the environment ------------------------------------------------------------------------- */

static int tell_environment(tine_call *call)
{
    const char *omp = getenv("OMP_NUM_THREADS"), *mkl = getenv("MKL_NUM_THREADS");
    FILE *echo = popen("echo $OPENBLAS_NUM_THREADS", "re");
    char line[32] = "";

    ck_assert_ptr_nonnull(echo);
    (void)fgets(line, sizeof line, echo);
    pclose(echo);
    ck_assert_str_eq(getenv("TINE_CPU_COUNT"), "8");
    return tine_return(call, "[sss]", omp == NULL ? "" : omp, mkl == NULL ? "" : mkl, line);
}

static void assert_environment(const tine_pool_options *options, const char *omp, const char *mkl,
                               const char *blas)
{
    const char *texts[3];
    tine_results *results;
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, options), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_rc(tine_pool_apply(&results, pool, tell_environment, NULL, ""), 0);
        ck_assert_rc(tine_results_get(results, 0, "[sss]", &texts[0], &texts[1], &texts[2]), 0);
        ck_assert_str_eq(texts[0], omp);
        ck_assert_str_eq(texts[1], mkl);
        ck_assert_str_eq(texts[2], blas);
        tine_results_close(results);
    }
    tine_pool_close(pool);
}

TEST(libraries_in_workers_share_the_cpus)
{
    set_cpus("8");
    unsetenv("OMP_NUM_THREADS");
    unsetenv("OPENBLAS_NUM_THREADS");
    ck_assert_int_eq(setenv("MKL_NUM_THREADS", "5", 1), 0);
    assert_environment(&(tine_pool_options){.workers = 3}, "2", "5", "2\n");
    assert_environment(&(tine_pool_options){.workers = 9}, "1", "5", "1\n");
    assert_environment(&(tine_pool_options){.workers = 3, .flags = TINE_POOL_NO_BUDGET}, "", "5",
                       "\n");
    ck_assert_ptr_null(getenv("OMP_NUM_THREADS"));
}

SUITE_OF_POOLS("pool/budget")
