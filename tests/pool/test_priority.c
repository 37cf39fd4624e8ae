/* SPDX-License-Identifier: MIT */
/* Priorities: what is more urgent goes first, between two chunks too, and nothing is lost or run
   twice for it. */
#include <tine/pool.h>

#include <errno.h>
#include <stdlib.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define NOTES 64

/* In the heap: what was run, in order, and gates that some tasks pass. */
struct book {
    struct gate come, go;
    _Atomic uint32_t count;
    int32_t notes[NOTES];
};

/* A task's context. */
struct page {
    struct book *book;
    int32_t number;
    size_t gated; /* the index, plus 1, at which it passes the gates; 0: none */
};

static void note(const struct page *page, int32_t number)
{
    uint32_t at = atomic_fetch_add(&page->book->count, 1);

    ck_assert_uint_lt(at, NOTES);
    page->book->notes[at] = number;
}

static void pass_gates(struct book *book)
{
    gate_raise(&book->come);
    gate_await(&book->go, 1);
}

static int run_call(tine_call *call)
{
    const struct page *page = tine_call_context(call);

    note(page, page->number);
    if (page->gated != 0)
        pass_gates(page->book);
    return 0;
}

/* Notes number + index. */
static int run_range(size_t begin, size_t end, void *context)
{
    const struct page *page = context;

    for (size_t i = begin; i < end; i++) {
        note(page, page->number + (int32_t)i);
        if (page->gated == i + 1)
            pass_gates(page->book);
    }
    return 0;
}

static tine_future *submit(tine_pool *pool, struct page page, int32_t priority)
{
    tine_job_options options = {
        .context = &page, .context_size = sizeof page, .priority = priority};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, run_call, &options, ""), 0);
    return future;
}

static tine_future *submit_loop(tine_pool *pool, size_t n, struct page page, int32_t priority)
{
    tine_job_options options = {
        .context = &page, .context_size = sizeof page, .chunk = 1, .priority = priority};
    tine_future *future;

    ck_assert_rc(tine_pool_for_async(&future, pool, n, run_range, &options), 0);
    return future;
}

static void end(tine_future *future, int expected)
{
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), expected);
    tine_future_close(future);
}

static void assert_notes(const struct book *book, const int32_t *expected, size_t n)
{
    ck_assert_uint_eq(atomic_load(&book->count), n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(book->notes[i], expected[i]);
}

#define ASSERT_NOTES(book, ...)                                                                    \
    do {                                                                                           \
        static const int32_t expected_[] = {__VA_ARGS__};                                          \
        assert_notes(book, expected_, sizeof expected_ / sizeof expected_[0]);                     \
    } while (0)

/* A pool of one worker, and a book. */
struct desk {
    tine_pool *pool;
    struct book *book;
    uint64_t blocks;
};

static struct desk desk_open(void)
{
    struct desk desk = {.blocks = heap_blocks()};

    desk.book = tine_calloc(1, sizeof *desk.book);
    desk.pool = pool_of(1);
    return desk;
}

static void desk_close(struct desk *desk)
{
    tine_pool_close(desk->pool);
    tine_free(desk->book);
    ck_assert_uint_eq(heap_blocks(), desk->blocks);
}

TEST(smaller_numbers_go_first_and_equal_ones_in_order)
{
    static const int32_t priorities[] = {5, -3, 0, 7, 0, -8, -3, 5, -1};
    static const int32_t order[] = {-1, 5, 1, 6, 8, 2, 4, 0, 7, 3};
    struct desk desk = desk_open();
    tine_future *futures[9], *first;

    first = submit(desk.pool, (struct page){desk.book, -1, 1}, 0);
    gate_await(&desk.book->come, 1);
    for (int i = 0; i < 9; i++)
        futures[i] = submit(desk.pool, (struct page){desk.book, i, 0}, priorities[i]);
    gate_raise(&desk.book->go);
    end(first, 0);
    for (int i = 0; i < 9; i++)
        end(futures[i], 0);
    assert_notes(desk.book, order, 10);
    desk_close(&desk);
}

TEST(a_loop_gives_way_between_two_chunks, .loop_end = 2)
{
    struct desk desk = desk_open();
    int32_t priority = loop_index == 0 ? 0 : 7;
    tine_future *loop = submit_loop(desk.pool, 3, (struct page){desk.book, 10, 1}, priority);
    tine_future *urgent, *equal;

    gate_await(&desk.book->come, 1);
    equal = submit(desk.pool, (struct page){desk.book, 2, 0}, priority);
    urgent = submit(desk.pool, (struct page){desk.book, 1, 0}, priority - 1);
    gate_raise(&desk.book->go);
    end(loop, 0);
    end(urgent, 0);
    end(equal, 0);
    ASSERT_NOTES(desk.book, 10, 1, 11, 12, 2);
    desk_close(&desk);
}

TEST(loops_give_way_to_loops_and_those_to_calls)
{
    struct desk desk = desk_open();
    tine_future *outer = submit_loop(desk.pool, 3, (struct page){desk.book, 10, 2}, 3), *inner,
                *call;

    gate_await(&desk.book->come, 1);
    inner = submit_loop(desk.pool, 2, (struct page){desk.book, 20, 1}, -2);
    gate_raise(&desk.book->go); /* the inner one's as well: it waits for nobody */
    end(inner, 0);
    call = submit(desk.pool, (struct page){desk.book, 1, 0}, -8);
    end(call, 0);
    end(outer, 0);
    ck_assert_int_eq(desk.book->notes[1], 11);
    ck_assert_int_eq(desk.book->notes[2], 20);
    ck_assert_int_eq(desk.book->notes[3], 21);
    ck_assert_uint_eq(desk.book->count, 6);
    desk_close(&desk);
}

/* The worker has left the loop for something urgent: the loop is at nobody's, and can be
   cancelled. */
TEST(a_loop_that_gave_way_can_be_cancelled_meanwhile)
{
    struct desk desk = desk_open();
    struct book *second = tine_calloc(1, sizeof *second);
    tine_future *loop = submit_loop(desk.pool, 3, (struct page){desk.book, 10, 1}, 0), *urgent;

    gate_await(&desk.book->come, 1);
    urgent = submit(desk.pool, (struct page){second, 1, 1}, -1);
    gate_raise(&desk.book->go);
    gate_await(&second->come, 1);
    ck_assert_int_eq(tine_future_cancel(loop, TINE_CANCEL_RUNNING), 1);
    end(loop, -ECANCELED);
    ck_assert(!tine_future_done(urgent));
    gate_raise(&second->go);
    end(urgent, 0);
    end(submit(desk.pool, (struct page){desk.book, 2, 0}, 0), 0);
    ASSERT_NOTES(desk.book, 10, 2);
    ck_assert_uint_eq(pool_counts(desk.pool).deaths, 0);
    tine_free(second);
    desk_close(&desk);
}

TEST(an_urgent_call_is_cancelled_before_it_runs)
{
    struct desk desk = desk_open();
    tine_future *loop = submit_loop(desk.pool, 2, (struct page){desk.book, 10, 1}, 0), *urgent;

    gate_await(&desk.book->come, 1);
    urgent = submit(desk.pool, (struct page){desk.book, 1, 0}, -1);
    ck_assert_int_eq(tine_future_cancel(urgent, 0), 1);
    gate_raise(&desk.book->go);
    end(loop, 0);
    end(urgent, -ECANCELED);
    ASSERT_NOTES(desk.book, 10, 11);
    desk_close(&desk);
}

static int die(tine_call *call)
{
    (void)call;
    abort();
}

/* The death takes the urgent call, and nothing of the loop that its worker had left for it. */
TEST(a_death_in_what_is_urgent_costs_the_interrupted_nothing)
{
    struct desk desk = desk_open();
    tine_future *loop = submit_loop(desk.pool, 3, (struct page){desk.book, 10, 1}, 0), *urgent;

    gate_await(&desk.book->come, 1);
    ck_assert_rc(tine_pool_submit(&urgent, desk.pool, die, &(tine_job_options){.priority = -1}, ""),
                 0);
    gate_raise(&desk.book->go);
    end(loop, 0);
    end(urgent, TINE_EWORKER);
    ASSERT_NOTES(desk.book, 10, 11, 12);
    desk_close(&desk);
}

/* Two levels of interrupted loops, and the pool shrinks meanwhile. */
TEST(loops_of_all_priorities_are_whole_through_all_sizes)
{
    tine_pool *pool = pool_of(2);
    struct tally *tallies[8];
    tine_future *futures[8];

    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 8; i++) {
            tine_job_options options = {.context = &tallies[i],
                                        .context_size = sizeof tallies[i],
                                        .chunk = 1 + random_below(4),
                                        .priority = (int32_t)random_below(16) - 8};

            tallies[i] = tally_new(500);
            ck_assert_rc(tine_pool_for_async(&futures[i], pool, 500, tally_count, &options), 0);
            ck_assert_rc(tine_pool_resize(pool, 1 + (int32_t)random_below(4)), 0);
        }
        for (int i = 0; i < 8; i++) {
            end(futures[i], 0);
            tally_assert_once(tallies[i]);
            tine_free(tallies[i]);
        }
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

static void count(tine_future *future, void *user)
{
    (void)future;
    ++*(int *)user;
}

/* Lists that otherwise end at the first job that nobody has begun with. */
TEST(callbacks_and_as_completed_find_what_was_urgent)
{
    struct desk desk = desk_open();
    tine_future *futures[3], *first, *over;
    tine_as_completed *set;
    int called = 0;

    first = submit(desk.pool, (struct page){desk.book, 9, 1}, -8);
    gate_await(&desk.book->come, 1);
    for (int i = 0; i < 3; i++) {
        futures[i] = submit(desk.pool, (struct page){desk.book, i, 0}, 3 - i);
        ck_assert_rc(tine_future_add_done_callback(futures[i], count, &called), 0);
    }
    ck_assert_rc(tine_as_completed_open(&set, futures, 3), 0);
    gate_raise(&desk.book->go);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_as_completed_next(set, TINE_FOREVER, &over), 1);
    tine_as_completed_close(set);
    ck_assert_int_eq(called, 3);
    ASSERT_NOTES(desk.book, 9, 2, 1, 0);
    end(first, 0);
    for (int i = 0; i < 3; i++)
        end(futures[i], 0);
    desk_close(&desk);
}

SUITE_OF_POOLS("pool/priority")
