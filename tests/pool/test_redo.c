/* SPDX-License-Identifier: MIT */
/* The redo table: rests are taken once, found by their taker's number, and dropped with their
   job. */
#include "pool/redo.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define WORKERS 4
#define REDOS   (WORKERS * TINE__REDOS_A_WORKER)

struct table {
    struct tine__pool_shm pool;
    struct tine__redo_shm redos[REDOS];
    struct tine__job_shm jobs[2];
};

static struct table *table_new(void)
{
    struct table *table = shared_memory(sizeof *table);

    table->pool.workers = WORKERS;
    table->pool.redos = TINE__ADDRESS(table->redos);
    table->pool.redo_count = REDOS;
    return table;
}

static struct tine__rest rest_at(uint64_t begin)
{
    return (struct tine__rest){.begin = begin, .end = begin + 5, .unit = 3, .attempts = 2};
}

static void put(struct table *table, int job, uint64_t begin)
{
    struct tine__rest rest = rest_at(begin);

    ck_assert_rc(tine__redo_put(&table->pool, &table->jobs[job], &rest), 0);
}

TEST(a_rest_comes_out_as_it_was_put_in)
{
    struct table *table = table_new();
    struct tine__redo_shm *redo;
    uint32_t seen = 0;

    put(table, 1, 40);
    redo = tine__redo_take(&table->pool, 2, &seen);
    ck_assert_ptr_nonnull(redo);
    ck_assert_uint_eq(redo->job, TINE__ADDRESS(&table->jobs[1]));
    ck_assert_uint_eq(redo->begin, 40);
    ck_assert_uint_eq(redo->end, 45);
    ck_assert_uint_eq(redo->unit, 3);
    ck_assert_uint_eq(redo->attempts, 2);
}

TEST(a_rest_is_taken_once)
{
    struct table *table = table_new();
    uint32_t seen = 0, other = 0;

    put(table, 0, 1);
    ck_assert_ptr_nonnull(tine__redo_take(&table->pool, 0, &seen));
    ck_assert_ptr_null(tine__redo_take(&table->pool, 0, &seen));
    ck_assert_ptr_null(tine__redo_take(&table->pool, 1, &other));
    /* what was seen in vain is not looked for again before something new is put up */
    ck_assert_uint_eq(seen, table->pool.redo_sequence);
    put(table, 0, 2);
    ck_assert_ptr_nonnull(tine__redo_take(&table->pool, 0, &seen));
}

TEST(an_empty_table_gives_nothing)
{
    struct table *table = table_new();
    uint32_t seen = 7;

    ck_assert_ptr_null(tine__redo_take(&table->pool, 0, &seen));
    ck_assert_ptr_null(tine__redo_held(&table->pool, 0));
    ck_assert(!tine__redo_has(&table->pool, &table->jobs[0]));
}

TEST(the_taker_is_found_until_it_frees)
{
    struct table *table = table_new();
    struct tine__redo_shm *redo;
    uint32_t seen = 0;

    put(table, 0, 1);
    ck_assert_ptr_null(tine__redo_held(&table->pool, 3));
    redo = tine__redo_take(&table->pool, 3, &seen);
    ck_assert_ptr_eq(tine__redo_held(&table->pool, 3), redo);
    ck_assert_ptr_null(tine__redo_held(&table->pool, 0));
    ck_assert(tine__redo_has(&table->pool, &table->jobs[0]));
    ck_assert(!tine__redo_has(&table->pool, &table->jobs[1]));
    tine__redo_free(redo);
    ck_assert_ptr_null(tine__redo_held(&table->pool, 3));
    ck_assert(!tine__redo_has(&table->pool, &table->jobs[0]));
}

TEST(again_hands_the_same_entry_to_another_taker)
{
    struct table *table = table_new();
    struct tine__redo_shm *redo;
    struct tine__rest rest = rest_at(3);
    uint32_t seen = 0, other = 0;

    put(table, 0, 1);
    redo = tine__redo_take(&table->pool, 0, &seen);
    rest.attempts = 9;
    tine__redo_again(&table->pool, redo, &rest);
    ck_assert_ptr_null(tine__redo_held(&table->pool, 0));
    ck_assert_ptr_eq(tine__redo_take(&table->pool, 1, &other), redo);
    ck_assert_uint_eq(redo->begin, 3);
    ck_assert_uint_eq(redo->attempts, 9);
    ck_assert_uint_eq(redo->job, TINE__ADDRESS(&table->jobs[0]));
}

TEST(a_full_table_says_so)
{
    struct table *table = table_new();
    struct tine__rest rest = rest_at(0);
    uint32_t seen = 0;

    for (uint64_t i = 0; i < REDOS; i++)
        put(table, 0, i);
    ck_assert_rc(tine__redo_put(&table->pool, &table->jobs[0], &rest), -ENOSPC);
    tine__redo_free(tine__redo_take(&table->pool, 0, &seen));
    ck_assert_rc(tine__redo_put(&table->pool, &table->jobs[0], &rest), 0);
}

TEST(drop_takes_what_waits_and_leaves_what_is_taken)
{
    struct table *table = table_new();
    struct tine__redo_shm *taken;
    uint32_t seen = 0;

    put(table, 0, 1);
    taken = tine__redo_take(&table->pool, 1, &seen);
    put(table, 0, 2);
    put(table, 1, 3);
    tine__redo_drop(&table->pool, &table->jobs[0]);
    ck_assert_ptr_eq(tine__redo_held(&table->pool, 1), taken);
    ck_assert(tine__redo_has(&table->pool, &table->jobs[0]));
    tine__redo_free(taken);
    ck_assert(!tine__redo_has(&table->pool, &table->jobs[0]));
    ck_assert(tine__redo_has(&table->pool, &table->jobs[1]));
    ck_assert_uint_eq(tine__redo_take(&table->pool, 0, &seen)->begin, 3);
}

/* Takers that race for the rests that one thread puts up, as the nursery does. */
struct race {
    struct table *table;
    _Atomic uint32_t next_taker, left;
    _Atomic uint32_t taken[2000];
};

static void *take_rests(void *context)
{
    struct race *race = context;
    uint32_t self = atomic_fetch_add(&race->next_taker, 1), seen = 0;

    while (atomic_load(&race->left) > 0) {
        struct tine__redo_shm *redo = tine__redo_take(&race->table->pool, self, &seen);

        if (redo == NULL) {
            sched_yield();
            continue;
        }
        ck_assert_ptr_eq(tine__redo_held(&race->table->pool, self), redo);
        ck_assert_uint_eq(atomic_fetch_add(&race->taken[redo->begin], 1), 0);
        ck_assert_uint_eq(redo->end, redo->begin + 5);
        tine__redo_free(redo);
        atomic_fetch_sub(&race->left, 1);
    }
    return NULL;
}

TEST(racing_takers_get_each_rest_once)
{
    struct race *race = shared_memory(sizeof *race);
    size_t count = sizeof race->taken / sizeof race->taken[0];
    pthread_t threads[WORKERS];

    race->table = table_new();
    race->left = (uint32_t)count;
    for (size_t i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_rests, race), 0);
    for (uint64_t i = 0; i < count; i++) {
        struct tine__rest rest = rest_at(i);

        while (tine__redo_put(&race->table->pool, &race->table->jobs[0], &rest) == -ENOSPC)
            sched_yield();
    }
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < count; i++)
        ck_assert_uint_eq(race->taken[i], 1);
    ck_assert(!tine__redo_has(&race->table->pool, &race->table->jobs[0]));
}

SUITE("pool/redo")
