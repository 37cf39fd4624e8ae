/* SPDX-License-Identifier: MIT */
/*
 * The family's CPU budget: when it is in force, who gets tokens, what sleepers and the dead do to
 * them.
 *
 * Most tests are of tokens alone: "workers" are participants with a place in a pool that has no
 * processes. A holder that runs spins, for one that slept would lose its token.
 */
#include "pool/budget.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tine/barrier.h>
#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/sys.h"
#include "shm/owner.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define WORKERS 3

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

static void open_and_wait(void *gate)
{
    tine_pool *pool = pool_of(1);

    gate_raise(gate);
    gate_await(gate, 2);
    tine_pool_close(pool);
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
    pool = pool_of(1);
    ck_assert(!in_force());
    tine_pool_close(pool);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* A pool without processes. */
static struct tine__pool_shm *fake_pool(void)
{
    struct tine__pool_shm *pool = tine_aligned_alloc(TINE__LINE, sizeof *pool);
    size_t bytes = WORKERS * sizeof(struct tine__worker_shm);
    struct tine__worker_shm *slots = tine_aligned_alloc(TINE__LINE, bytes);

    ck_assert_ptr_nonnull(pool);
    ck_assert_ptr_nonnull(slots);
    memset(pool, 0, sizeof *pool);
    memset(slots, 0, bytes);
    pool->workers = WORKERS;
    pool->slots = TINE__ADDRESS(slots);
    return pool;
}

/* Tokens for that many CPUs, of which none is given out; two pools are said to be open. */
static struct tine__pool_shm *begin(int cpus)
{
    tine__budget_enter(cpus);
    tine__budget_enter(cpus);
    ck_assert(in_force());
    return fake_pool();
}

static bool want_thrice(void *context)
{
    return (*(int *)context)++ < 3;
}

/* Does the caller, as this worker, get a token before it wants none any more? */
static bool gets(struct tine__token *token, struct tine__pool_shm *pool, uint32_t index)
{
    int times = 0;

    tine__token_init(token, pool, tine__worker_at(pool, index), true);
    tine__token_await(token, want_thrice, &times);
    return token->place != NULL;
}

static bool want_always(void *unused)
{
    (void)unused;
    return true;
}

/* What a participant does while it has its token. */
struct holder {
    struct tine__pool_shm *pool;
    uint32_t index;
    enum { SPIN, SLEEP, SLEEP_HERE } how;
    _Atomic uint32_t *word; /* 1: it has it, 2: it may go on, 3: it is through */
};

static void hold(void *context)
{
    const struct holder *holder = context;
    struct tine__token token;

    tine__token_init(&token, holder->pool, tine__worker_at(holder->pool, holder->index), true);
    tine__token_await(&token, want_always, NULL);
    atomic_store(holder->word, 1);
    if (holder->how == SLEEP)
        while (atomic_load(holder->word) == 1)
            syscall(SYS_futex, holder->word, FUTEX_WAIT, 1, NULL); /* behind the library's back */
    else if (holder->how == SLEEP_HERE)
        while (atomic_load(holder->word) == 1)
            (void)tine__sys_futex_wait(holder->word, 1, -1);
    else
        while (atomic_load(holder->word) == 1)
            tine__cpu_relax();
    tine__token_fini(&token);
    atomic_store(holder->word, 3);
}

static struct child start_holder(struct holder *holder)
{
    struct child child;

    holder->word = shared_memory(sizeof *holder->word);
    child = child_start(hold, holder);
    ck_assert_eventually(atomic_load(holder->word) == 1);
    return child;
}

static void end_holder(const struct holder *holder, struct child *child)
{
    atomic_store(holder->word, 2);
    tine__sys_futex_wake(holder->word, 1);
    child_join(child);
}

TEST(a_runner_keeps_its_token_from_its_siblings)
{
    struct tine__pool_shm *pool = begin(1);
    struct holder holder = {.pool = pool, .index = 0};
    struct child child = start_holder(&holder);
    struct tine__token token;

    ck_assert(!gets(&token, pool, 1));
    end_holder(&holder, &child);
    ck_assert(gets(&token, pool, 1));
    tine__token_fini(&token);
}

TEST(each_pool_may_run_one)
{
    struct tine__pool_shm *pool = begin(1), *other = fake_pool();
    struct holder holder = {.pool = pool, .index = 0}, second = {.pool = other, .index = 0};
    struct child child = start_holder(&holder), third = start_holder(&second);
    struct tine__token token;

    ck_assert_uint_ne(atomic_load(&other->pass), 0);
    ck_assert(!gets(&token, other, 1));
    ck_assert(!gets(&token, pool, 1));
    end_holder(&second, &third);
    ck_assert_uint_eq(atomic_load(&other->pass), 0);
    ck_assert(gets(&token, other, 1));
    tine__token_fini(&token);
    end_holder(&holder, &child);
}

/* Before any other worker looks: it is free at once where the sleep is a call of ours. */
TEST(a_sleeper_lends_its_token)
{
    struct tine__pool_shm *pool = begin(1);
    struct holder holder = {.pool = pool, .index = 0, .how = SLEEP_HERE};
    struct child child = start_holder(&holder);
    struct tine__budget_shm *budget = tine__budget(tine__budget_root());
    struct tine__token token;

    ck_assert_eventually(atomic_load(&budget->tokens[0]) == 0);
    ck_assert(gets(&token, pool, 1));
    end_holder(&holder, &child); /* it goes on without, and leaves this one alone */
    ck_assert_uint_eq(atomic_load(&budget->tokens[0]), token.word);
    tine__token_fini(&token);
    ck_assert_uint_eq(atomic_load(&budget->tokens[0]), 0);
}

TEST(a_sleeper_elsewhere_loses_its_token, .loop_end = 2)
{
    struct tine__pool_shm *pool = begin(1);
    struct holder holder = {.pool = pool, .index = 0, .how = loop_index == 0 ? SLEEP : SPIN};
    struct child child = start_holder(&holder);
    struct tine__token token;

    if (loop_index == 1)
        child_stop(&child);
    tine__token_init(&token, pool, tine__worker_at(pool, 1), true);
    tine__token_await(&token, want_always, NULL);
    ck_assert_ptr_nonnull(token.place);
    if (loop_index == 1)
        child_continue(&child);
    end_holder(&holder, &child);
    tine__token_fini(&token);
}

TEST(the_dead_lose_their_tokens, .loop_end = 2)
{
    struct tine__pool_shm *pool = begin(1), *other = fake_pool();
    struct holder holder = {.pool = pool, .index = 0}, second = {.pool = other, .index = 0};
    struct child child = start_holder(&holder), passer = start_holder(&second);
    struct tine__token token;
    pid_t pid = passer.pid;

    child_kill(&passer);
    if (loop_index == 0) { /* as the nursery that has reaped it */
        tine__budget_forget(other, pid);
        ck_assert_uint_eq(atomic_load(&other->pass), 0);
    }
    tine__token_init(&token, other, tine__worker_at(other, 1), true);
    tine__token_await(&token, want_always, NULL);
    ck_assert_ptr_nonnull(token.place);
    tine__token_fini(&token);
    end_holder(&holder, &child);
}

TEST(more_cpus_more_tokens)
{
    struct tine__pool_shm *pool = begin(2);
    struct holder holders[2] = {{.pool = pool, .index = 0}, {.pool = pool, .index = 1}};
    struct child children[2] = {start_holder(&holders[0]), start_holder(&holders[1])};
    struct tine__token token;

    ck_assert(!gets(&token, pool, 2));
    tine__budget_enter(3);
    ck_assert(gets(&token, pool, 2));
    tine__token_fini(&token);
    for (int i = 0; i < 2; i++)
        end_holder(&holders[i], &children[i]);
}

/* ---- a death after any instruction ----------------------------------------------------------- */

static struct tine__pool_shm *stepped;

static struct tine__token token_of_victim;

/* Who it is, which takes thousands of instructions, is known before. */
static void introduce(void *context)
{
    struct tine__token *token = &token_of_victim;

    (void)context;
    tine__token_init(token, stepped, tine__worker_at(stepped, 0), true);
    tine__token_await(token, want_always, NULL);
    tine__token_release(token);
}

static void take_lend_release(void *context)
{
    static const _Atomic uint32_t word;

    (void)context;
    tine__token_await(&token_of_victim, want_always, NULL);
    (void)tine__sys_futex_wait(&word, 1, 0); /* returns at once, but lends */
    tine__token_release(&token_of_victim);
}

/* All tokens, and the pass, are to be had. */
static void check_tokens(long steps, pid_t victim, void *context)
{
    struct tine__token tokens[WORKERS];

    (void)steps, (void)context;
    tine__budget_forget(stepped, victim);
    for (uint32_t i = 0; i < 2; i++) {
        int times = 0;

        tine__token_init(&tokens[i], stepped, tine__worker_at(stepped, i), true);
        tine__token_await(&tokens[i], want_thrice, &times);
        ck_assert_int_eq(times, 0);
        ck_assert_ptr_nonnull(tokens[i].place);
    }
    ck_assert_uint_eq(atomic_load(&stepped->pass), 0);
    for (uint32_t i = 0; i < 2; i++)
        tine__token_release(&tokens[i]);
}

TEST(whoever_is_killed_leaves_all_tokens, .timeout_s = 60)
{
    stepped = begin(2);
    step_kill_everywhere(
        &(struct step){.prepare = introduce, .run = take_lend_release, .check = check_tokens}, 60);
}

static void learn_itself(void *context)
{
    (void)context;
    (void)tine__owner_word();
}

static void enter_and_leave(void *context)
{
    (void)context;
    tine__budget_enter(2);
    tine__budget_leave();
}

static void check_count(long steps, pid_t victim, void *context)
{
    (void)steps, (void)victim, (void)context;
    tine__budget_enter(2);
    ck_assert(in_force()); /* this one, and that of before */
    tine__budget_leave();
    ck_assert(!in_force());
}

TEST(whoever_is_killed_does_not_count, .timeout_s = 60)
{
    (void)begin(2);
    tine__budget_leave();
    step_kill_everywhere(
        &(struct step){.prepare = learn_itself, .run = enter_and_leave, .check = check_count}, 6);
    tine__budget_leave();
}

/* ---- whole pools ----------------------------------------------------------------------------- */

/* Passes when all four workers are in it, on one CPU. */
static int meet(tine_call *call)
{
    int rc = tine_barrier_wait(*(tine_barrier **)tine_call_context(call), TINE_FOREVER);

    return rc < 0 ? rc : 0;
}

static int meet_in_pipe(tine_call *call)
{
    const int *ends = tine_call_context(call);
    char byte = 0;

    if (tine_call_index(call) == 0)
        ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    else
        ck_assert_int_eq(write(ends[1], &byte, 1), 1);
    return 0;
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
    tine_buffer args = {0};
    tine_results *results;
    tine_job_options options = {.context = ends, .context_size = sizeof ends, .chunk = 1};
    tine_pool *pools[2];

    ck_assert_int_eq(pipe(ends), 0);
    set_cpus("1");
    pools[0] = pool_of(2);
    pools[1] = pool_of(1);
    for (int i = 0; i < 2; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap(&results, pools[0], meet_in_pipe, &args, &options), 0);
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pools[0]);
    tine_pool_close(pools[1]);
    close(ends[0]);
    close(ends[1]);
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
