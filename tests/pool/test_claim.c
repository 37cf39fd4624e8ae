/* SPDX-License-Identifier: MIT */
/* Claims: each unit has exactly one taker, and at every instant each unit in hand is named. */
#include "pool/claim.h"

#include <pthread.h>
#include <string.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define CLAIMERS 8
#define UNITS    10000

/* One table and who took each unit, shared with forked claimers. */
struct table {
    _Atomic uint32_t next_claimer;
    _Atomic uint32_t taker[UNITS]; /* claimer + 1 */
    alignas(TINE__LINE) struct tine__claims_shm claims;
};

static struct table *table_new(uint32_t workers)
{
    struct table *table = shared_memory(sizeof *table + tine__claims_size(workers));

    tine__claims_init(&table->claims, workers);
    return table;
}

/* Claims until nothing is left; what it has taken must be its own and nobody else's. */
static void claim_all(void *context)
{
    struct table *table = context;
    uint32_t self = atomic_fetch_add(&table->next_claimer, 1);
    uint64_t unit, held, last = 0;

    while (tine__claim(&table->claims, self, UNITS, &unit)) {
        ck_assert(last == 0 || unit >= last);
        last = unit + 1;
        ck_assert(tine__claim_held(&table->claims, self, &held));
        ck_assert_uint_eq(held, unit);
        ck_assert_uint_eq(atomic_exchange(&table->taker[unit], self + 1), 0);
        tine__claim_done(&table->claims, self, unit);
        ck_assert(!tine__claim_held(&table->claims, self, &held));
    }
}

static void *claim_all_thread(void *context)
{
    claim_all(context);
    return NULL;
}

static bool is_settled(const struct tine__claims_shm *claims, uint32_t workers, uint64_t limit)
{
    _Atomic uint32_t count;

    atomic_init(&count, workers);
    return tine__claims_settled(claims, &count, limit);
}

static void assert_all_taken(struct table *table)
{
    for (size_t i = 0; i < UNITS; i++)
        ck_assert_uint_ne(table->taker[i], 0);
    ck_assert(tine__claims_exhausted(&table->claims, UNITS));
    ck_assert(is_settled(&table->claims, CLAIMERS, UNITS));
}

TEST(units_come_in_order_and_end_at_the_limit)
{
    struct table *table = table_new(1);
    uint64_t unit;

    for (uint64_t i = 0; i < 3; i++) {
        ck_assert(!tine__claims_exhausted(&table->claims, 3));
        ck_assert(tine__claim(&table->claims, 0, 3, &unit));
        ck_assert_uint_eq(unit, i);
        tine__claim_done(&table->claims, 0, unit);
    }
    ck_assert(!tine__claim(&table->claims, 0, 3, &unit));
    ck_assert(tine__claims_exhausted(&table->claims, 3));
}

TEST(a_raised_limit_gives_more_units)
{
    struct table *table = table_new(1);
    uint64_t unit;

    ck_assert(!tine__claim(&table->claims, 0, 0, &unit));
    ck_assert(tine__claim(&table->claims, 0, 1, &unit));
    tine__claim_done(&table->claims, 0, unit);
    ck_assert(is_settled(&table->claims, 1, 1));
    ck_assert(!is_settled(&table->claims, 1, 2));
    ck_assert(tine__claim(&table->claims, 0, 2, &unit));
    ck_assert_uint_eq(unit, 1);
}

TEST(nobody_holds_anything_in_a_new_table)
{
    struct table *table = table_new(CLAIMERS);
    uint64_t unit;

    for (uint32_t i = 0; i < CLAIMERS; i++)
        ck_assert(!tine__claim_held(&table->claims, i, &unit));
    ck_assert(is_settled(&table->claims, CLAIMERS, 0));
    ck_assert(!is_settled(&table->claims, CLAIMERS, 1));
}

TEST(each_holder_is_named_whoever_claims_after_it)
{
    struct table *table = table_new(CLAIMERS);
    uint64_t unit, held;

    for (uint32_t i = 0; i < CLAIMERS; i++)
        ck_assert(tine__claim(&table->claims, i, UNITS, &unit));
    for (uint32_t i = 0; i < CLAIMERS; i++) {
        ck_assert(tine__claim_held(&table->claims, i, &held));
        ck_assert_uint_eq(held, i);
    }
    tine__claim_done(&table->claims, 3, 3);
    ck_assert(!tine__claim_held(&table->claims, 3, &held));
    ck_assert(tine__claim_held(&table->claims, 4, &held));
}

TEST(a_late_record_does_not_bring_a_done_unit_back)
{
    struct table *table = table_new(2);
    uint64_t unit;

    ck_assert(tine__claim(&table->claims, 0, UNITS, &unit));
    tine__claim_done(&table->claims, 0, unit);
    /* the cursor still names 0 as the last claimer: 1 records it, and must find it done */
    ck_assert(tine__claim(&table->claims, 1, UNITS, &unit));
    ck_assert(!tine__claim_held(&table->claims, 0, &unit));
    tine__claims_close(&table->claims);
    ck_assert(!tine__claim_held(&table->claims, 0, &unit));
    ck_assert(tine__claim_held(&table->claims, 1, &unit));
}

TEST(settled_waits_for_each_holder)
{
    struct table *table = table_new(2);
    uint64_t first, second;

    ck_assert(tine__claim(&table->claims, 0, 2, &first));
    ck_assert(tine__claim(&table->claims, 1, 2, &second));
    ck_assert(tine__claims_exhausted(&table->claims, 2));
    ck_assert(!is_settled(&table->claims, 2, 2));
    tine__claim_done(&table->claims, 1, second);
    ck_assert(!is_settled(&table->claims, 2, 2));
    tine__claim_done(&table->claims, 0, first);
    ck_assert(is_settled(&table->claims, 2, 2));
}

TEST(a_closed_table_gives_nothing_but_keeps_its_holders)
{
    struct table *table = table_new(2);
    uint64_t unit, held;

    ck_assert(tine__claim(&table->claims, 1, UNITS, &unit));
    tine__claims_close(&table->claims);
    tine__claims_close(&table->claims);
    ck_assert(!tine__claim(&table->claims, 0, UNITS, &unit));
    ck_assert(tine__claims_exhausted(&table->claims, UNITS));
    ck_assert(!is_settled(&table->claims, 2, UNITS));
    ck_assert(tine__claim_held(&table->claims, 1, &held));
    ck_assert_uint_eq(held, 0);
    tine__claim_done(&table->claims, 1, 0);
    ck_assert(is_settled(&table->claims, 2, UNITS));
}

/* Puts the cursor where 2^50 - 2 units have been claimed: claimer 1 has done the last of them. */
static void go_to_the_end(struct tine__claims_shm *claims)
{
    uint64_t count = TINE__UNITS_MAX - 2;

    atomic_store(&claims->cursor, count << 13 | 2);
    atomic_store(&claims->slots[1].ledger, count << 1);
}

TEST(numbers_near_the_maximum_lose_no_bit)
{
    struct table *table = table_new(4094);
    uint64_t unit, held;

    go_to_the_end(&table->claims);
    ck_assert(tine__claim(&table->claims, 4093, TINE__UNITS_MAX, &unit));
    ck_assert_uint_eq(unit, TINE__UNITS_MAX - 2);
    ck_assert(tine__claim(&table->claims, 0, TINE__UNITS_MAX, &unit));
    ck_assert_uint_eq(unit, TINE__UNITS_MAX - 1);
    ck_assert(!tine__claim(&table->claims, 1, TINE__UNITS_MAX, &unit));
    ck_assert(tine__claim_held(&table->claims, 4093, &held));
    ck_assert_uint_eq(held, TINE__UNITS_MAX - 2);
    ck_assert(tine__claim_held(&table->claims, 0, &held));
    ck_assert_uint_eq(held, TINE__UNITS_MAX - 1);
    tine__claim_done(&table->claims, 4093, TINE__UNITS_MAX - 2);
    tine__claim_done(&table->claims, 0, TINE__UNITS_MAX - 1);
    ck_assert(is_settled(&table->claims, 4094, TINE__UNITS_MAX));
}

TEST(threads_share_the_units)
{
    struct table *table = table_new(CLAIMERS);
    pthread_t threads[CLAIMERS];

    for (size_t i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim_all_thread, table), 0);
    for (size_t i = 0; i < CLAIMERS; i++)
        pthread_join(threads[i], NULL);
    assert_all_taken(table);
}

TEST(processes_share_the_units)
{
    struct table *table = table_new(CLAIMERS);
    struct child children[CLAIMERS];

    for (size_t i = 0; i < CLAIMERS; i++)
        children[i] = child_start(claim_all, table);
    for (size_t i = 0; i < CLAIMERS; i++)
        child_join(&children[i]);
    assert_all_taken(table);
}

/* Claims, never says done, until it is killed. */
static void hold_units(void *context)
{
    struct table *table = context;
    uint32_t self = atomic_fetch_add(&table->next_claimer, 1);
    uint64_t unit;

    while (tine__claim(&table->claims, self, UINT64_C(1) << 40, &unit)) {
        atomic_store(&table->taker[self], (uint32_t)unit + 1);
        tine__claim_done(&table->claims, self, unit);
    }
}

TEST(of_the_killed_each_holds_at_most_its_last_unit, .loop_end = 5)
{
    struct table *table = table_new(CLAIMERS);
    struct child children[CLAIMERS];

    for (size_t i = 0; i < CLAIMERS; i++)
        children[i] = child_start(hold_units, table);
    for (size_t i = 0; i < CLAIMERS; i++)
        ck_assert_eventually(atomic_load(&table->taker[i]) > 0);
    for (size_t i = 0; i < CLAIMERS; i++)
        child_kill(&children[i]);
    for (uint32_t i = 0; i < CLAIMERS; i++) {
        uint64_t held;

        if (!tine__claim_held(&table->claims, i, &held))
            continue;
        ck_assert_uint_ge(held + 1, table->taker[i]);
        tine__claim_done(&table->claims, i, held);
        ck_assert(!tine__claim_held(&table->claims, i, &held));
    }
    tine__claims_close(&table->claims);
    ck_assert(is_settled(&table->claims, CLAIMERS, UINT64_C(1) << 40));
}

/* One claimer after the other closes the table while the others claim. */
static void *close_table(void *context)
{
    struct table *table = context;

    tine__claims_close(&table->claims);
    return NULL;
}

TEST(after_closing_beside_claimers_every_claimed_unit_is_named_or_done, .loop_end = 4)
{
    struct table *table = table_new(CLAIMERS);
    pthread_t threads[CLAIMERS], closer;
    uint64_t count = 0;

    for (size_t i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim_all_thread, table), 0);
    ck_assert_int_eq(pthread_create(&closer, NULL, close_table, table), 0);
    pthread_join(closer, NULL);
    for (size_t i = 0; i < CLAIMERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < UNITS; i++)
        count += table->taker[i] != 0;
    ck_assert_uint_eq(count, atomic_load(&table->claims.cursor) >> 13);
    ck_assert(is_settled(&table->claims, CLAIMERS, UNITS));
}

SUITE("pool/claim")
