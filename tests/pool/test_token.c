/* SPDX-License-Identifier: MIT */
/*
 * Tokens of the family's CPU budget: who gets them, what sleepers and the dead do to them, how many
 * there are.
 *
 * "Workers" are participants with a place in a pool that has no processes. A holder that runs
 * spins, for one that slept would lose its token.
 */
#include "pool/budget.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/cpu.h"
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
static struct tine__pool_shm *begin_counted(int cpus)
{
    tine__budget_enter(tine__owner_word(), cpus);
    tine__budget_enter(tine__owner_word(), cpus);
    ck_assert(in_force());
    return fake_pool();
}

/* The same, and so many there are. */
static struct tine__pool_shm *begin(int cpus)
{
    char text[12];

    snprintf(text, sizeof text, "%d", cpus);
    ck_assert_int_eq(setenv("TINE_CPU_COUNT", text, 1), 0);
    return begin_counted(cpus);
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
    tine__budget_enter(tine__owner_word(), 3);
    ck_assert(gets(&token, pool, 2));
    tine__token_fini(&token);
    for (int i = 0; i < 2; i++)
        end_holder(&holders[i], &children[i]);
}

/* Until this test's process can use so many CPUs. */
static void use_cpus(int count)
{
    size_t room = CPU_SETSIZE;
    cpu_set_t usable, fewer;

    ck_assert_int_eq(sched_getaffinity(0, sizeof usable, &usable), 0);
    unsetenv("TINE_CPU_COUNT");
    CPU_ZERO(&fewer);
    for (size_t i = 0; i < room && CPU_COUNT(&fewer) < count; i++)
        if (CPU_ISSET(i, &usable))
            CPU_SET(i, &fewer);
    if (CPU_COUNT(&fewer) < count)
        SKIP("there are fewer CPUs");
    ck_assert_int_eq(sched_setaffinity(0, sizeof fewer, &fewer), 0);
    if (tine__cpu_count_of(getpid()) != count)
        SKIP("a control group allows fewer");
}

/* They were counted as one when the pools were opened. */
TEST(more_cpus_are_noticed_while_workers_wait)
{
    struct tine__pool_shm *pool;
    struct holder holder;
    struct child child;
    struct tine__token token;

    use_cpus(2);
    pool = begin_counted(1);
    holder = (struct holder){.pool = pool};
    child = start_holder(&holder);
    tine__token_init(&token, pool, tine__worker_at(pool, 1), true);
    tine__token_await(&token, want_always, NULL);
    ck_assert_ptr_nonnull(token.place);
    tine__token_fini(&token);
    end_holder(&holder, &child);
}

static bool want_until_noticed(void *unused)
{
    (void)unused;
    return atomic_load(&tine__budget(tine__budget_root())->cpus) == 2;
}

/* Who has a token too many gives it back before its next claim. */
TEST(fewer_cpus_are_noticed_while_workers_wait)
{
    struct tine__pool_shm *pool, *other;
    struct holder holder;
    struct child child;
    struct tine__token token, waiting;

    use_cpus(1);
    pool = begin_counted(2);
    other = fake_pool();
    holder = (struct holder){.pool = pool};
    child = start_holder(&holder);
    ck_assert(gets(&token, other, 0));
    ck_assert_ptr_ne(token.place, &other->pass);
    tine__token_init(&waiting, other, tine__worker_at(other, 1), true);
    tine__token_await(&waiting, want_until_noticed, NULL);
    ck_assert(!want_until_noticed(NULL));
    tine__token_await(&token, want_always, NULL);
    ck_assert_ptr_eq(token.place, &other->pass);
    tine__token_fini(&token);
    end_holder(&holder, &child);
}

TEST(what_the_environment_says_is_not_counted_again)
{
    struct tine__pool_shm *pool;
    struct holder holder;
    struct child child;
    struct tine__token token;

    pool = begin(1);
    holder = (struct holder){.pool = pool};
    child = start_holder(&holder);
    for (int i = 0; i < 2; i++)
        ck_assert(tine__budget_recount(tine__budget(tine__budget_root())));
    ck_assert(!gets(&token, pool, 1));
    end_holder(&holder, &child);
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
    tine__budget_enter(tine__owner_word(), 2);
    tine__budget_leave(tine__owner_word());
}

static void check_count(long steps, pid_t victim, void *context)
{
    (void)steps, (void)victim, (void)context;
    tine__budget_enter(tine__owner_word(), 2);
    ck_assert(in_force()); /* this one, and that of before */
    tine__budget_leave(tine__owner_word());
    ck_assert(!in_force());
}

TEST(whoever_is_killed_does_not_count, .timeout_s = 60)
{
    (void)begin(2);
    tine__budget_leave(tine__owner_word());
    step_kill_everywhere(
        &(struct step){.prepare = learn_itself, .run = enter_and_leave, .check = check_count}, 6);
    tine__budget_leave(tine__owner_word());
}

SUITE_OF_POOLS("pool/token")
