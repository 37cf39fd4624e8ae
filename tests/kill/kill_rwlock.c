/* SPDX-License-Identifier: MIT */
/*
 * Readers and writers are killed at random instants. Nobody hangs, no reader that was let in ever
 * sees what a writer left half-done, and a writer hears of each such death before it is let in.
 */
#include <tine.h>

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define MEMBERS   6
#define TIMED_MAX 1000 /* deaths, each of which takes a slice of sleep */
#define KILLS     250
#define WORDS     16

struct table {
    tine_rwlock lock;
    uint64_t words[WORDS]; /* all the same, but for a writer and after its death */
    _Atomic uint64_t seed, reads, writes, repairs;
    _Atomic bool stop;
};

static bool is_whole(const struct table *table)
{
    for (int i = 1; i < WORDS; i++)
        if (table->words[i] != table->words[0])
            return false;
    return true;
}

static void write_words(struct table *table, uint64_t value)
{
    for (int i = 0; i < WORDS; i++)
        ((volatile uint64_t *)table->words)[i] = value;
}

static int64_t random_timeout(void)
{
    static const int64_t timeouts[] = {0, TINE_US(20), TINE_MS(1), TINE_SEC(600)};

    return timeouts[random_below(4)];
}

/* Was the lock not to be had for an honest reason? */
static void accept_failure(int rc, int64_t timeout)
{
    ck_assert_rc(rc, timeout == 0 ? -EAGAIN : -ETIMEDOUT);
    ck_assert_msg(timeout < TINE_SEC(600), "hung");
}

static void write_once(struct table *table)
{
    int64_t timeout = random_timeout();
    int rc = tine_rwlock_acquire_write(&table->lock, timeout);

    if (rc == -EOWNERDEAD) {
        write_words(table, table->words[0]);
        ck_assert_ok(tine_rwlock_recover(&table->lock));
        atomic_fetch_add(&table->repairs, 1);
    } else if (rc < 0) {
        accept_failure(rc, timeout);
        return;
    }
    ck_assert_msg(is_whole(table), "a writer was let in without a word of the death before");
    write_words(table, table->words[0] + 1);
    ck_assert_ok(tine_rwlock_release_write(&table->lock));
    atomic_fetch_add(&table->writes, 1);
}

static void read_once(struct table *table)
{
    int64_t timeout = random_timeout();
    int rc = tine_rwlock_acquire_read(&table->lock, timeout);

    if (rc == -EOWNERDEAD) {
        write_once(table);
        return;
    }
    if (rc < 0) {
        accept_failure(rc, timeout);
        return;
    }
    ck_assert_msg(is_whole(table), "a reader was let in after a writer's death");
    ck_assert_ok(tine_rwlock_release_read(&table->lock));
    atomic_fetch_add(&table->reads, 1);
}

static void use(void *context)
{
    struct table *table = context;

    random_fork(atomic_fetch_add(&table->seed, 1));
    while (!table->stop)
        if (random_below(4) == 0)
            write_once(table);
        else
            read_once(table);
}

/* The dead count no more, and the lock is as good as new. */
static void check_end(struct table *table)
{
    int rc = tine_rwlock_acquire_write(&table->lock, TINE_SEC(600));

    if (rc == -EOWNERDEAD)
        ck_assert_ok(tine_rwlock_recover(&table->lock));
    else
        ck_assert_ok(rc);
    ck_assert_rc(tine_rwlock_readers(&table->lock), 0);
    ck_assert_ok(tine_rwlock_release_write(&table->lock));
    ck_assert_ok(tine_rwlock_acquire_read(&table->lock, 0));
    ck_assert_rc(tine_rwlock_readers(&table->lock), 1);
}

TEST(readers_and_writers_survive_one_another, .kills = KILLS, .loop_end = 2, .timeout_s = 60)
{
    tine_rwlock_options options = {.prefer_writers = loop_index};
    struct table *table = shared_memory(sizeof *table);
    struct child members[MEMBERS];
    size_t kills = kills_wanted(KILLS);

    ck_assert_ok(tine_rwlock_init(&table->lock, &options));
    for (int i = 0; i < MEMBERS; i++)
        members[i] = child_start(use, table);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &members[random_below(MEMBERS)];

        pause_randomly(TINE_US(200));
        child_kill(victim);
        *victim = child_start(use, table);
        if (k % 50 == 0) {
            uint64_t reads = table->reads, writes = table->writes;

            ck_assert_eventually(table->reads > reads + 10 && table->writes > writes + 3);
        }
    }
    table->stop = true;
    for (int i = 0; i < MEMBERS; i++)
        child_join(&members[i]);
    ck_assert_uint_le(table->repairs, kills);
    check_end(table);
}

struct hold {
    tine_rwlock lock;
    struct gate *gate;
};

static void hold(void *context)
{
    struct hold *hold = context;

    ck_assert_ok(random_below(2) == 0 ? tine_rwlock_acquire_read(&hold->lock, TINE_SEC(600))
                                      : tine_rwlock_acquire_write(&hold->lock, TINE_SEC(600)));
    gate_raise(hold->gate);
    pause();
}

TEST(a_death_is_reported_within_100_ms, .kills = KILLS / 10, .timeout_s = 60)
{
    struct samples samples = {.name = "rwlock.killed.taken", .bound_ns = (uint64_t)TINE_MS(100)};
    struct hold *shared = shared_memory(sizeof *shared);
    size_t kills = kills_wanted(KILLS / 10);

    ck_assert_ok(tine_rwlock_init(&shared->lock, NULL));
    shared->gate = gate_new();
    for (size_t k = 1; k <= kills && k <= TIMED_MAX; k++) {
        struct child child = child_start(hold, shared);
        int64_t death;
        int rc;

        (void)random_u64(); /* the next child draws another number */
        gate_await(shared->gate, (uint32_t)k);
        child_kill(&child);
        death = now_ns();
        rc = tine_rwlock_acquire_write(&shared->lock, TINE_FOREVER);
        samples_add(&samples, (uint64_t)(now_ns() - death));
        if (rc == -EOWNERDEAD)
            rc = tine_rwlock_recover(&shared->lock);
        ck_assert_ok(rc);
        ck_assert_ok(tine_rwlock_release_write(&shared->lock));
    }
    samples_end(&samples);
}

SUITE("kill/rwlock")
