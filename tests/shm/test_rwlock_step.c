/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of each operation of a reader-writer lock: afterwards a survivor
 * becomes the writer at once, told of a writer's death inside whenever there was one, and never of
 * a reader's.
 */
#include <tine/rwlock.h>

#include <errno.h>

#include "shm/owner.h"
#include "shm/rwlock.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS 40
#define LONG   10 /* for what reads /proc, thousands of instructions */

/* What the survivor may find. */
enum { SOUND = 1, DOUBTFUL = 2, LOST = 4 };

static tine_rwlock *lock;

static void nothing(void *context)
{
    (void)context;
}

static void begin_reading(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_acquire_read(lock, TINE_FOREVER));
}

static void end_reading(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_release_read(lock));
}

static void begin_writing(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_acquire_write(lock, TINE_FOREVER));
}

static void end_writing(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_release_write(lock));
}

/* The first looks at /proc and the first allocation have been. */
static void know_the_lock(void *context)
{
    begin_writing(context);
    end_writing(context);
}

static void read_after_another(void *context)
{
    struct child child;

    know_the_lock(context);
    child = child_start(begin_reading, NULL);
    child_join(&child);
    begin_reading(context);
}

static void write_and_die(void *context)
{
    struct child child = child_start(begin_writing, context);

    child_join(&child);
}

static void repair(void *context)
{
    (void)context;
    ck_assert_rc(tine_rwlock_acquire_write(lock, TINE_US(10)), -EOWNERDEAD);
}

static void repair_and_recover(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_recover(lock));
}

static void be_refused_reading(void *context)
{
    (void)context;
    ck_assert_rc(tine_rwlock_acquire_read(lock, TINE_US(10)), -EOWNERDEAD);
}

static void read_and_die(void *context)
{
    struct child child = child_start(begin_reading, context);

    child_join(&child);
}

static void write_soon(void *context)
{
    (void)context;
    ck_assert_ok(tine_rwlock_acquire_write(lock, TINE_US(10)));
}

static void give_up_writing(void *context)
{
    (void)context;
    ck_assert_rc(tine_rwlock_acquire_write(lock, TINE_US(10)), -ETIMEDOUT);
}

static void give_up_reading(void *context)
{
    (void)context;
    ck_assert_rc(tine_rwlock_acquire_read(lock, TINE_US(10)), -ETIMEDOUT);
}

static void make(int32_t prefer_writers)
{
    lock = shared_memory(sizeof *lock);
    ck_assert_ok(tine_rwlock_init(lock, &(tine_rwlock_options){.prefer_writers = prefer_writers}));
}

/*
 * Whoever gives up after so short a time has looked for the dead: for a victim that wrote, and for
 * a preferred writer that waited and holds up nobody but readers.
 */
static void check(long steps, pid_t victim, void *context)
{
    int may = *(int *)context, rc = tine_rwlock_acquire_write(lock, TINE_US(10));

    (void)victim;
    if (rc == -ENOTRECOVERABLE) {
        ck_assert_msg((may & LOST) != 0, "killed after %ld instructions: lost", steps);
        make(0);
        return;
    }
    ck_assert_msg((rc == 0 && (may & SOUND) != 0) || (rc == -EOWNERDEAD && (may & DOUBTFUL) != 0),
                  "killed after %ld instructions: %s", steps, tine_errname(rc));
    if (rc == -EOWNERDEAD)
        ck_assert_ok(tine_rwlock_recover(lock));
    ck_assert_ok(tine_rwlock_release_write(lock));
    ck_assert_ok(tine_rwlock_acquire_read(lock, TINE_US(10)));
    ck_assert_rc(tine_rwlock_readers(lock), 1);
    ck_assert_ok(tine_rwlock_release_read(lock));
}

/* The test itself holds the lock, and the victim has to wait for it. */
static void check_after_reading(long steps, pid_t victim, void *context)
{
    ck_assert_msg(tine_rwlock_acquire_read(lock, TINE_US(10)) == 0,
                  "killed after %ld instructions: readers are held up", steps);
    end_reading(context);
    end_reading(context);
    check(steps, victim, context);
}

static void check_after_writing(long steps, pid_t victim, void *context)
{
    end_writing(context);
    check(steps, victim, context);
}

#define STEP_TEST(name, prefer_writers, points, may, checks, ...)                                  \
    TEST(name, .timeout_s = 300)                                                                   \
    {                                                                                              \
        int found = may;                                                                           \
                                                                                                   \
        make(prefer_writers);                                                                      \
        step_kill_everywhere(&(struct step){.check = checks, .context = &found, __VA_ARGS__},      \
                             points);                                                              \
    }

STEP_TEST(killed_in_the_first_acquire_to_read, 0, LONG, SOUND, check, .run = begin_reading)
STEP_TEST(killed_in_acquire_to_read, 0, POINTS, SOUND, check, .prepare = know_the_lock,
          .run = begin_reading)
STEP_TEST(killed_in_release_of_a_reader, 0, POINTS, SOUND, check, .prepare = begin_reading,
          .run = end_reading)
STEP_TEST(killed_in_release_after_another_reader, 0, POINTS, SOUND, check,
          .prepare = read_after_another, .run = end_reading)
STEP_TEST(killed_in_acquire_to_write, 0, POINTS, SOUND | DOUBTFUL, check, .prepare = know_the_lock,
          .run = begin_writing)
STEP_TEST(killed_as_the_writer, 0, 1, DOUBTFUL, check, .prepare = begin_writing, .run = nothing)
STEP_TEST(killed_in_release_of_a_writer, 0, POINTS, SOUND | DOUBTFUL, check,
          .prepare = begin_writing, .run = end_writing)
STEP_TEST(killed_finding_a_dead_writer, 0, LONG, DOUBTFUL, check, .before = write_and_die,
          .prepare = nothing, .run = repair, .sleeps_ms = 2000)
STEP_TEST(killed_finding_a_dead_writer_as_a_reader, 0, LONG, DOUBTFUL, check,
          .before = write_and_die, .prepare = nothing, .run = be_refused_reading, .sleeps_ms = 2000)
STEP_TEST(killed_in_recover, 0, POINTS, DOUBTFUL, check, .before = write_and_die, .prepare = repair,
          .run = repair_and_recover)
STEP_TEST(killed_giving_up_what_is_in_doubt, 0, POINTS, DOUBTFUL | LOST, check,
          .before = write_and_die, .prepare = repair, .run = end_writing)
STEP_TEST(killed_finding_a_dead_reader, 1, LONG, SOUND | DOUBTFUL, check, .before = read_and_die,
          .prepare = nothing, .run = write_soon, .sleeps_ms = 2000)
STEP_TEST(killed_as_a_writer_that_waits_in_vain, 0, LONG, SOUND, check_after_reading,
          .before = begin_reading, .prepare = nothing, .run = give_up_writing, .sleeps_ms = 2000)
STEP_TEST(killed_as_a_preferred_writer_that_waits_in_vain, 1, POINTS, SOUND, check_after_reading,
          .before = begin_reading, .prepare = nothing, .run = give_up_writing, .sleeps_ms = 2000)
STEP_TEST(killed_as_a_reader_that_waits_in_vain, 0, LONG, SOUND, check_after_writing,
          .before = begin_writing, .prepare = nothing, .run = give_up_reading, .sleeps_ms = 2000)

SUITE("shm/rwlock_step")
