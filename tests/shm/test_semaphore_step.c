/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of acquire and release: afterwards the survivor finds as many
 * permits as there were, no more, no fewer, and is never left waiting.
 */
#include <tine/semaphore.h>

#include <errno.h>
#include <unistd.h>

#include "shm/owner.h"
#include "shm/semaphore.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS 40
#define LONG   10 /* for what reads /proc, thousands of instructions */
#define MANY   12 /* more than the ledger's word can say */

static tine_semaphore *semaphore;
static int64_t permits;

static void acquire(void *context)
{
    (void)context;
    ck_assert_ok(tine_semaphore_acquire(semaphore, TINE_FOREVER));
}

static void release(void *context)
{
    (void)context;
    ck_assert_ok(tine_semaphore_release(semaphore));
}

static void acquire_and_release(void *context)
{
    acquire(context);
    release(context);
}

static void acquire_many(void *context)
{
    for (int i = 0; i < MANY; i++)
        acquire(context);
}

/* The last operation that the ledger's word names shall be that of another process. */
static void let_another_come_last(void *context)
{
    struct child child;

    acquire_and_release(context);
    child = child_start(acquire_and_release, NULL);
    child_join(&child);
}

static void acquire_and_let_another_come_last(void *context)
{
    let_another_come_last(context);
    acquire(context);
}

static void acquire_all(void *context)
{
    (void)context;
    for (int64_t i = 0; i < permits; i++)
        ck_assert_ok(tine_semaphore_acquire(semaphore, TINE_FOREVER));
}

/* Nobody has looked for the dead for long, and all permits are theirs. */
static void let_the_dead_have_all(void *context)
{
    struct child child = child_start(acquire_all, context);

    child_join(&child);
    ((struct tine__semaphore_shm *)semaphore)->ledger.looked = 0;
}

static void acquire_soon(void *context)
{
    (void)context;
    ck_assert_ok(tine_semaphore_acquire(semaphore, TINE_US(10)));
}

static void acquire_at_once(void *context)
{
    (void)context;
    ck_assert_ok(tine_semaphore_acquire(semaphore, 0));
}

/* The first look at /proc has been. */
static void know_oneself(void *context)
{
    (void)context;
    ck_assert_uint_ne(tine__owner_word(), 0);
}

static void give_up(void *context)
{
    (void)context;
    ck_assert_rc(tine_semaphore_acquire(semaphore, TINE_US(10)), -ETIMEDOUT);
}

/* Every permit can be had, and no more. Whoever gives up, however soon, has looked for the dead. */
static void check(long steps, pid_t victim, void *context)
{
    (void)victim;
    (void)context;
    for (int64_t i = 0; i < permits; i++)
        ck_assert_msg(tine_semaphore_acquire(semaphore, TINE_US(10)) == 0,
                      "killed after %ld instructions: permit %jd is lost", steps, (intmax_t)i);
    ck_assert_msg(tine_semaphore_acquire(semaphore, TINE_US(10)) == -ETIMEDOUT,
                  "killed after %ld instructions: a permit too many", steps);
    for (int64_t i = 0; i < permits; i++)
        ck_assert_ok(tine_semaphore_release(semaphore));
    ck_assert_rc(tine_semaphore_release(semaphore), -EOVERFLOW);
}

/* What the test itself had acquired may have been released by the victim, or not. */
static void release_and_check(long steps, pid_t victim, void *context)
{
    while (tine_semaphore_release(semaphore) == 0)
        ;
    check(steps, victim, context);
}

static void make(int64_t value, int32_t signalling)
{
    tine_semaphore_options options = {.bounded = !signalling, .signalling = signalling};

    semaphore = shared_memory(sizeof *semaphore);
    permits = value;
    ck_assert_ok(tine_semaphore_init(semaphore, value, &options));
}

#define STEP_TEST(name, permit_count, points, checks, ...)                                         \
    TEST(name, .timeout_s = 300)                                                                   \
    {                                                                                              \
        make(permit_count, 0);                                                                     \
        step_kill_everywhere(&(struct step){.check = checks, __VA_ARGS__}, points);                \
    }

STEP_TEST(killed_in_the_first_acquire, 2, LONG, check, .run = acquire)
STEP_TEST(killed_in_acquire, 2, POINTS, check, .prepare = acquire_and_release, .run = acquire)
STEP_TEST(killed_in_release, 2, POINTS, check, .prepare = acquire, .run = release)
STEP_TEST(killed_in_acquire_after_another, 2, POINTS, check, .prepare = let_another_come_last,
          .run = acquire)
STEP_TEST(killed_in_release_after_another, 2, POINTS, check,
          .prepare = acquire_and_let_another_come_last, .run = release)
STEP_TEST(killed_in_an_acquire_of_many, MANY + 2, POINTS, check, .prepare = acquire_many,
          .run = acquire)
STEP_TEST(killed_in_a_release_of_many, MANY + 2, POINTS, check, .prepare = acquire_many,
          .run = release)
STEP_TEST(killed_in_a_wait_that_finds_the_dead, 2, LONG, check, .before = let_the_dead_have_all,
          .prepare = know_oneself, .run = acquire_soon, .sleeps_ms = 2000)
STEP_TEST(killed_in_a_try_that_finds_the_dead, 2, LONG, check, .before = let_the_dead_have_all,
          .prepare = know_oneself, .run = acquire_at_once)
STEP_TEST(killed_in_a_wait_that_times_out, 2, LONG, release_and_check, .before = acquire_all,
          .prepare = know_oneself, .run = give_up, .sleeps_ms = 2000)
STEP_TEST(killed_in_a_release_of_what_another_holds, 2, POINTS, release_and_check,
          .before = acquire_all, .prepare = know_oneself, .run = release)

/* A signal may be lost with who was receiving or giving it, but none is made. */
static void check_signals(long steps, pid_t victim, void *context)
{
    int value = tine_semaphore_value(semaphore);

    (void)victim;
    ck_assert_msg(value == permits || value == permits + *(int *)context,
                  "killed after %ld instructions: %d permits", steps, value);
    for (int i = 0; i < value; i++)
        ck_assert_ok(tine_semaphore_acquire(semaphore, 0));
    ck_assert_rc(tine_semaphore_acquire(semaphore, 0), -EAGAIN);
    for (int i = 0; i < permits; i++)
        ck_assert_ok(tine_semaphore_release(semaphore));
}

TEST(killed_in_acquire_of_a_signalling_one, .timeout_s = 300)
{
    int change = -1;

    make(3, 1);
    step_kill_everywhere(&(struct step){.run = acquire, .check = check_signals, .context = &change},
                         POINTS);
}

TEST(killed_in_release_of_a_signalling_one, .timeout_s = 300)
{
    int change = 1;

    make(3, 1);
    step_kill_everywhere(&(struct step){.run = release, .check = check_signals, .context = &change},
                         POINTS);
}

SUITE("shm/semaphore_step")
