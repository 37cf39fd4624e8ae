/* SPDX-License-Identifier: MIT */
/*
 * Workers are killed that run calls with keys, or are about to, or are just through, while others
 * submit more and the pool is resized: every call ends once, those of a key begin in order, and no
 * two of them run at a time.
 */
#include <tine.h>

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   80
#define WORKERS 3
#define KEYS    5
#define CALLS   60

/* Of one key, in the heap. The holder of a turn may be dead. */
struct row {
    _Atomic uint32_t last;  /* number of the call begun last */
    _Atomic uint32_t wrong; /* one was begun out of order */
    _Atomic uint32_t begun[CALLS + 1], ended[CALLS + 1];
};

struct page {
    struct row *row;
    uint32_t number;
};

static int run(tine_call *call)
{
    const struct page *page = tine_call_context(call);
    struct row *row = page->row;
    uint32_t last = atomic_exchange(&row->last, page->number);

    atomic_fetch_add(&row->begun[page->number], 1);
    for (volatile uint32_t i = 0; i < page->number % 4 * 3000; i++)
        ;
    /* nobody else has begun one meanwhile */
    if (last > page->number || atomic_load(&row->last) != page->number)
        atomic_fetch_add(&row->wrong, 1);
    atomic_fetch_add(&row->ended[page->number], 1);
    return tine_return(call, "q", (int64_t)page->number);
}

struct round {
    tine_pool *pool;
    int32_t retries;
    struct row *rows;
    tine_future *futures[KEYS][CALLS + 1];
};

static void submit_some(struct round *round, uint32_t first, uint32_t last)
{
    for (uint32_t number = first; number <= last; number++)
        for (uint64_t key = 0; key < KEYS; key++) {
            struct page page = {.row = &round->rows[key], .number = number};
            tine_job_options options = {.key = key + 1,
                                        .retries = round->retries,
                                        .backoff_ns = (int64_t)random_below(2) * TINE_US(200),
                                        .context = &page,
                                        .context_size = sizeof page};

            ck_assert_ok(
                tine_pool_submit(&round->futures[key][number], round->pool, run, &options, ""));
        }
}

/* How many calls were lost. */
static uint32_t check(struct round *round)
{
    uint32_t lost = 0;

    for (uint32_t number = 1; number <= CALLS; number++)
        for (uint64_t key = 0; key < KEYS; key++) {
            const struct row *row = &round->rows[key];
            int64_t result = 0;
            int rc = tine_future_result(round->futures[key][number], TINE_FOREVER, "q", &result);

            tine_future_close(round->futures[key][number]);
            if (rc == 0) {
                ck_assert_int_eq(result, number);
                ck_assert_uint_ge(row->ended[number], 1);
            } else {
                ck_assert_rc(rc, TINE_EWORKER);
                ck_assert_int_eq(round->retries, 0);
                lost++;
            }
            if (round->retries == 0)
                ck_assert_uint_le(row->begun[number], 1);
            ck_assert_uint_eq(row->wrong, 0);
        }
    return lost;
}

TEST(each_key_keeps_its_order, .kills = KILLS, .timeout_s = 60, .loop_end = 2)
{
    size_t kills = kills_wanted(KILLS);
    struct load_heap heap = load_heap_begin();
    struct round round = {.pool = load_pool(WORKERS),
                          .retries = loop_index == 0 ? 0 : TINE_UNLIMITED};
    uint64_t lost = 0;
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        hunt_forget(&hunt);
        round.rows = tine_calloc(KEYS, sizeof *round.rows);
        ck_assert_ptr_nonnull(round.rows);
        submit_some(&round, 1, CALLS / 2);
        if (random_below(3) == 0)
            ck_assert_ok(tine_pool_resize(round.pool, 1 + (int32_t)random_below(2 * WORKERS)));
        hunt_kill(&hunt, TINE_US(500));
        submit_some(&round, CALLS / 2 + 1, CALLS);
        hunt_kill(&hunt, TINE_US(300));
        lost += check(&round);
        tine_free(round.rows);
    }
    ck_assert_uint_le(lost, hunt.total);
    tine_pool_close(round.pool);
    load_heap_end(&heap, hunt.total);
    printf("%ju kills, %ju calls lost\n", (uintmax_t)hunt.total, (uintmax_t)lost);
}

SUITE_BY_METHOD("kill/sticky")
