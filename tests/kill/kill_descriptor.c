/* SPDX-License-Identifier: MIT */
/*
 * Workers are SIGKILLed at random instants of calls that have descriptors: while they ask for them,
 * use them, let go of them. Who runs a call again gets the same ones, and when a call is over
 * nobody holds them open, whoever died: the reader of each pipe sees its end, without a look at the
 * future.
 */
#include <tine.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   100
#define WORKERS 3
#define CALLS   20 /* in a round */

/* A call and the program's end of its pipe. */
struct piped {
    tine_future *future;
    tine_failure failure;
    int reader;
};

/* Writes its number as often as it is run, byte after byte. */
static int write_number(tine_call *call)
{
    uint8_t number;
    int fd, rc = tine_args(call, "BF", &number, &fd);

    if (rc < 0)
        return rc;
    return write(fd, &number, 1) == 1 ? 0 : -errno;
}

static void submit(struct piped *piped, tine_pool *pool, int32_t retries, uint8_t number)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_ok(
        tine_pool_submit(&piped->future, pool, write_number,
                         &(tine_job_options){.retries = retries, .failure = &piped->failure}, "BF",
                         number, ends[1]));
    close(ends[1]);
    piped->reader = ends[0];
}

/* Reads to the end; how often the call wrote. */
static unsigned count_writes(struct piped *piped, uint8_t number)
{
    unsigned count = 0;
    uint8_t byte;
    ssize_t got;

    for (; (got = read(piped->reader, &byte, 1)) == 1; count++)
        ck_assert_int_eq(byte, number);
    ck_assert_int_eq(got, 0);
    close(piped->reader);
    return count;
}

static void check(struct piped *piped, const struct hunt *hunt, int32_t retries, uint8_t number)
{
    unsigned writes = count_writes(piped, number);
    int rc = tine_future_result(piped->future, TINE_FOREVER, "n");

    if (retries == TINE_UNLIMITED)
        ck_assert_rc(rc, 0);
    if (rc == 0) {
        ck_assert_uint_ge(writes, 1);
        ck_assert_uint_le(writes, retries == 0 ? 1 : 1 + hunt->count);
    } else {
        ck_assert_rc(rc, TINE_EWORKER);
        ck_assert(hunt_killed(hunt, piped->failure.pid));
        ck_assert_uint_le(writes, 1);
    }
    tine_future_close(piped->future);
}

/* A start is counted when the nursery has done its part of it; the worker is alive before. */
static void await_starts(tine_pool *pool)
{
    tine_pool_counts counts;

    do
        ck_assert_ok(tine_pool_stats(pool, &counts));
    while (counts.started < WORKERS);
}

static void run_round(tine_pool *pool, struct hunt *hunt, int32_t retries)
{
    static struct piped calls[CALLS];
    bool aimed;

    hunt_forget(hunt);
    aimed = hunt_aim(hunt);
    for (uint8_t i = 0; i < CALLS; i++)
        submit(&calls[i], pool, retries, i);
    if (aimed) {
        pause_randomly(TINE_US(300));
        hunt_strike(hunt);
    }
    for (uint8_t i = 0; i < CALLS; i++)
        check(&calls[i], hunt, retries, i);
}

TEST(descriptors_follow_their_call_and_are_let_go_with_it, .kills = KILLS, .timeout_s = 60,
     .loop_end = 2)
{
    int32_t retries = loop_index == 0 ? 0 : TINE_UNLIMITED;
    struct load_heap heap = load_heap_begin();
    size_t kills = kills_wanted(KILLS);
    tine_pool *pool = load_pool(WORKERS);
    struct hunt hunt;
    int files;

    hunt_begin(&hunt, getpid());
    await_starts(pool);
    files = proc_files(hunt.nursery);
    while (hunt.total < kills)
        run_round(pool, &hunt, retries);
    load_await_size(pool, hunt.total);
    ck_assert_eventually(proc_files(hunt.nursery) == files);
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

/* At any instant of submission and run: the pipes of a broken pool end all the same. */
TEST(a_dead_nursery_keeps_nothing_open, .kills = KILLS / 2, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS / 2);
    struct load_heap heap = load_heap_begin();

    orphans_adopt();
    for (size_t i = 0; i < kills; i++) {
        tine_pool *pool = load_pool(WORKERS);
        static struct piped calls[CALLS];
        struct hunt hunt;

        hunt_begin(&hunt, getpid());
        for (uint8_t k = 0; k < CALLS; k++)
            submit(&calls[k], pool, 0, k);
        pause_randomly(TINE_US(300));
        hunt_kill_nursery(&hunt);
        for (uint8_t k = 0; k < CALLS; k++) {
            int rc = tine_future_result(calls[k].future, TINE_FOREVER, "n");

            /* the last: the worker saw the socket end before its own death */
            ck_assert_msg(rc == 0 || rc == TINE_EWORKER ||
                              (rc == TINE_EREMOTE && calls[k].failure.error == TINE_EBROKEN),
                          "%s: %s", tine_errname(rc), calls[k].failure.message);
            ck_assert_uint_le(count_writes(&calls[k], k), 1);
            tine_future_close(calls[k].future);
        }
        tine_pool_close(pool);
        orphans_reap();
    }
    load_heap_end(&heap, kills * (WORKERS + 1));
}

SUITE_BY_METHOD("kill/descriptor")
