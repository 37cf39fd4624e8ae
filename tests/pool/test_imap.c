/* SPDX-License-Identifier: MIT */
/* Streams of calls: order, window, errors at their places, ends of all kinds. */
#include <tine/imap.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/clock.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define DEADLY INT64_C(-9)

/* n: n²; below 0 it fails, or kills its worker. */
static int square(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    if (rc < 0)
        return rc;
    if (number == DEADLY)
        kill(getpid(), SIGKILL);
    if (number < 0)
        return tine_fail(call, (int)number, "number %jd", (intmax_t)number);
    return tine_return(call, "q", number * number);
}

/* Waits at a gate, which is its context, when it gets this number. */
#define GATED 1

static int square_gated(tine_call *call)
{
    struct gate **gates = tine_call_context(call);
    int64_t number;
    int rc = tine_args(call, "q", &number);

    gate_raise(gates[0]);
    if (rc == 0 && number == GATED)
        gate_await(gates[1], 1);
    return rc < 0 ? rc : tine_return(call, "q", number * number);
}

/* A source of 0 … count - 1, with exceptions. */
struct numbers {
    int64_t next, count;
    int code;              /* at the end */
    int64_t special[4][2]; /* instead of the first the second */
    pthread_t thread;
};

static int next_number(tine_buffer *args, void *user)
{
    struct numbers *numbers = user;
    int64_t number = numbers->next;
    int rc;

    ck_assert(pthread_equal(numbers->thread, pthread_self()));
    if (number == numbers->count)
        return numbers->code;
    numbers->next++;
    for (int i = 0; i < 4; i++)
        if (numbers->special[i][1] != 0 && numbers->special[i][0] == number)
            number = numbers->special[i][1];
    rc = tine_pack(args, "[q]", number);
    return rc < 0 ? rc : 1;
}

static tine_source source_of(struct numbers *numbers)
{
    numbers->thread = pthread_self();
    return (tine_source){.next = next_number, .user = numbers};
}

static tine_imap *imap_of(tine_pool *pool, struct numbers *numbers,
                          const tine_imap_options *options, bool unordered)
{
    tine_source source = source_of(numbers);
    tine_imap *imap;

    ck_assert_rc(unordered ? tine_pool_imap_unordered(&imap, pool, square, &source, options)
                           : tine_pool_imap(&imap, pool, square, &source, options),
                 0);
    return imap;
}

static void assert_next(tine_imap *imap, int64_t number)
{
    int64_t result = -1;

    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, "q", &result), 1);
    ck_assert_int_eq(result, number * number);
    ck_assert_uint_eq(tine_imap_index(imap), (uint64_t)number);
}

static void assert_end(tine_imap *imap, uint64_t tuples)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 0);
        ck_assert_uint_eq(tine_imap_index(imap), tuples);
    }
}

/* ---- order ----------------------------------------------------------------------------------- */

TEST(results_come_in_the_order_of_the_source, .loop_end = 4)
{
    static const uint64_t chunks[] = {0, 1, 3, 1000};
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 1000};
    tine_job_options job = {.chunk = chunks[loop_index]};
    tine_imap *imap = imap_of(pool, &numbers, &(tine_imap_options){.job = &job}, false);

    for (int64_t i = 0; i < numbers.count; i++)
        assert_next(imap, i);
    assert_end(imap, 1000);
    tine_imap_close(imap);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(results_come_in_any_order, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 1000};
    tine_job_options job = {.chunk = loop_index == 0 ? 1 : 7};
    tine_imap *imap = imap_of(pool, &numbers, &(tine_imap_options){.job = &job}, true);
    bool seen[1000] = {false};
    int64_t result;

    for (int i = 0; i < 1000; i++) {
        uint64_t index;

        ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, "q", &result), 1);
        index = tine_imap_index(imap);
        ck_assert_uint_lt(index, 1000);
        ck_assert_int_eq(result, (int64_t)(index * index));
        ck_assert(!seen[index]);
        seen[index] = true;
    }
    assert_end(imap, 1000);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

/* The item that is late holds up what is behind it, or nothing. */
TEST(a_late_item, .loop_end = 2)
{
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 50};
    tine_job_options job = {.context = gates, .context_size = sizeof gates};
    tine_source source = source_of(&numbers);
    tine_imap *imap;

    ck_assert_rc((loop_index == 0 ? tine_pool_imap : tine_pool_imap_unordered)(
                     &imap, pool, square_gated, &source, &(tine_imap_options){.job = &job}),
                 0);
    gates[0] = NULL; /* was copied */
    if (loop_index == 0) {
        assert_next(imap, 0);
        ck_assert_rc(tine_imap_next(imap, 0, NULL), -EAGAIN);
        ck_assert_rc(tine_imap_next(imap, TINE_MS(2), NULL), -ETIMEDOUT);
        gate_raise(gates[1]);
        for (int64_t i = 1; i < 50; i++)
            assert_next(imap, i);
    } else {
        for (int i = 1; i < 50; i++) {
            ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 1);
            ck_assert_uint_ne(tine_imap_index(imap), GATED);
        }
        ck_assert_rc(tine_imap_next(imap, 0, NULL), -EAGAIN);
        ck_assert_rc(tine_imap_next(imap, TINE_MS(2), NULL), -ETIMEDOUT);
        gate_raise(gates[1]);
        assert_next(imap, GATED);
    }
    assert_end(imap, 50);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

/* ---- the window ------------------------------------------------------------------------------ */

TEST(no_more_is_pulled_than_the_window_holds, .loop_end = 3)
{
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 200};
    tine_job_options job = {.chunk = loop_index == 2 ? 2 : 1};
    tine_imap_options options = {.job = &job, .window = loop_index == 0 ? 1 : 8};
    tine_imap *imap = imap_of(pool, &numbers, &options, false);

    ck_assert_int_eq(numbers.next, 0); /* nothing before it is asked for */
    for (int64_t i = 0; i < numbers.count; i++) {
        assert_next(imap, i);
        ck_assert_int_le(numbers.next, i + (int64_t)options.window + (int64_t)job.chunk - 1);
    }
    assert_end(imap, 200);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

TEST(a_long_stream_needs_no_more_memory_than_a_short_one, .timeout_s = 60)
{
    int64_t n = is_instrumented() ? 5000 : 100000;
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = n};
    tine_imap *imap = imap_of(pool, &numbers, NULL, true);
    uint64_t blocks = 0;

    for (int64_t i = 0; i < n; i++) {
        if (tine_imap_next(imap, TINE_FOREVER, NULL) != 1)
            ck_abort_msg("item %jd", (intmax_t)i);
        if (i == n / 10)
            blocks = heap_blocks();
    }
    ck_assert_uint_le(heap_blocks(), blocks + 500);
    assert_end(imap, (uint64_t)n);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

/* ---- errors ---------------------------------------------------------------------------------- */

TEST(an_item_fails_at_its_place, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 30, .special = {{5, -EIO}, {6, DEADLY}, {8, -EDOM}}};
    tine_failure failure = {0};
    tine_job_options job = {.failure = &failure, .chunk = loop_index == 0 ? 1 : 10};
    tine_imap *imap = imap_of(pool, &numbers, &(tine_imap_options){.job = &job}, false);

    for (int64_t i = 0; i < 30; i++) {
        if (i == 5 || i == 6 || i == 8) {
            ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL),
                         i == 6 ? TINE_EWORKER : TINE_EREMOTE);
            ck_assert_uint_eq(tine_imap_index(imap), (uint64_t)i);
            ck_assert_uint_eq(failure.index, (uint64_t)i);
            ck_assert_int_eq(failure.code, i == 6 ? TINE_EWORKER : TINE_EREMOTE);
            ck_assert_rc(tine_imap_packed(imap, &(const void *){NULL}, &(size_t){0}), -ENOENT);
            if (i == 5 || loop_index == 0) /* of a chunk the first failure only has its details */
                ck_assert_int_eq(failure.error, i == 5 ? -EIO : i == 8 ? -EDOM : 0);
        } else {
            assert_next(imap, i);
        }
    }
    assert_end(imap, 30);
    tine_imap_close(imap);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

TEST(the_error_of_the_source_is_told_behind_the_last_item, .loop_end = 4)
{
    tine_pool *pool = pool_of(2);
    struct numbers numbers = {.count = 10, .code = -EIO};
    tine_job_options job = {.chunk = loop_index / 2 == 0 ? 1 : 4};
    tine_imap *imap = imap_of(pool, &numbers, &(tine_imap_options){.job = &job}, loop_index % 2);
    tine_results *results;

    for (int i = 0; i < 10; i++)
        ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 1);
    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), -EIO);
    assert_end(imap, 10);
    tine_imap_close(imap);
    ck_assert_rc(tine_pool_apply(&results, pool, square, NULL, "q", INT64_C(3)), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* Not as the end of the caller's patience, which has the same names. */
TEST(the_source_may_fail_with_any_code, .loop_end = 2)
{
    static const int codes[] = {-ETIMEDOUT, -EAGAIN};
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 0, .code = codes[loop_index]};
    tine_imap *imap = imap_of(pool, &numbers, NULL, false);

    ck_assert_rc(tine_imap_next(imap, 0, NULL), codes[loop_index]);
    assert_end(imap, 0);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

static int give_no_tuple(tine_buffer *args, void *user)
{
    int *calls = user;
    int rc = 0;

    if (++*calls == 3)
        return 1; /* nothing at all */
    if (*calls == 13)
        rc = tine_pack(args, "q", INT64_C(1));
    else if (*calls == 23)
        rc = tine_pack(args, "[q]", INT64_C(1));
    if (rc == 0)
        rc = tine_pack(args, "[q]", INT64_C(1));
    return rc < 0 ? rc : 1;
}

TEST(a_source_that_gives_no_tuple_ends_the_stream, .loop_end = 3)
{
    tine_pool *pool = pool_of(1);
    int calls = loop_index * 10;
    tine_imap *imap;

    ck_assert_rc(tine_pool_imap(&imap, pool, square,
                                &(tine_source){.next = give_no_tuple, .user = &calls}, NULL),
                 0);
    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 1);
    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 1);
    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), TINE_EFORMAT);
    assert_end(imap, 2);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

TEST(a_result_of_another_shape_can_be_had_packed)
{
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 2};
    tine_imap *imap = imap_of(pool, &numbers, NULL, false);
    const char *text;
    const void *bytes;
    size_t size;
    int64_t number = -1;

    ck_assert_rc(tine_imap_packed(imap, &bytes, &size), -ENOENT);
    ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, "s", &text), TINE_EFORMAT);
    ck_assert_rc(tine_imap_packed(imap, &bytes, &size), 0);
    ck_assert_rc(tine_unpack(bytes, size, "q", &number), 0);
    ck_assert_int_eq(number, 0);
    assert_next(imap, 1);
    assert_end(imap, 2);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(a_stream_of_nothing)
{
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 0};
    tine_imap *imap = imap_of(pool, &numbers, NULL, true);

    assert_end(imap, 0);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

TEST(closed_early_it_cancels_what_waits, .loop_end = 4)
{
    uint64_t blocks = heap_blocks();
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 500};
    tine_job_options job = {
        .context = gates, .context_size = sizeof gates, .chunk = loop_index / 2 == 0 ? 1 : 5};
    tine_source source = source_of(&numbers);
    uint32_t begun;
    tine_imap *imap;

    ck_assert_rc((loop_index % 2 == 0 ? tine_pool_imap : tine_pool_imap_unordered)(
                     &imap, pool, square_gated, &source, &(tine_imap_options){.job = &job}),
                 0);
    if (job.chunk == 1)
        ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, NULL), 1);
    else
        ck_assert_rc(tine_imap_next(imap, TINE_MS(1), NULL), -ETIMEDOUT);
    gate_await(gates[0], 2);
    begun = gates[0]->raised;
    tine_imap_close(imap);
    gate_raise(gates[1]);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(begun, 2);
    ck_assert_uint_eq(gates[0]->raised, job.chunk == 1 ? 2 : 5);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* What was submitted is done, and no more. */
TEST(the_pool_is_shut_down_in_the_midst)
{
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 500};
    tine_imap *imap = imap_of(pool, &numbers, &(tine_imap_options){.window = 10}, false);
    int64_t i = 0;
    int rc;

    assert_next(imap, i++);
    ck_assert_ok(tine_pool_shutdown(pool, 0));
    while ((rc = tine_imap_next(imap, TINE_FOREVER, NULL)) == 1)
        ck_assert_uint_eq(tine_imap_index(imap), (uint64_t)i++);
    ck_assert_rc(rc, -ESHUTDOWN);
    ck_assert_int_le(i, 10);
    assert_end(imap, (uint64_t)i);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

TEST(the_pool_is_ended_in_the_midst, .loop_end = 4)
{
    struct gate *gates[2] = {gate_new(), gate_new()};
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 500};
    tine_job_options job = {.context = gates, .context_size = sizeof gates};
    tine_imap_options options = {.job = &job, .window = 10};
    tine_source source = source_of(&numbers);
    int cancelled = 0, rc;
    tine_imap *imap;

    ck_assert_rc((loop_index % 2 == 0 ? tine_pool_imap : tine_pool_imap_unordered)(
                     &imap, pool, square_gated, &source, &options),
                 0);
    assert_next(imap, 0);
    if (loop_index / 2 == 0)
        ck_assert_ok(tine_pool_terminate(pool));
    else
        tine_pool_close(pool);
    while ((rc = tine_imap_next(imap, TINE_FOREVER, NULL)) == -ECANCELED)
        cancelled++;
    ck_assert_rc(rc, loop_index / 2 == 0 ? -ESHUTDOWN : -EBADF);
    ck_assert_int_ge(cancelled, 1);
    ck_assert_int_le(cancelled, 9);
    assert_end(imap, (uint64_t)cancelled + 1);
    tine_imap_close(imap);
    if (loop_index / 2 == 0)
        tine_pool_close(pool);
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void read_in_child(void *imap)
{
    ck_assert_rc(tine_imap_next(imap, 0, NULL), TINE_EFORKED);
    ck_assert_rc(tine_imap_packed(imap, &(const void *){NULL}, &(size_t){0}), TINE_EFORKED);
    tine_imap_close(imap);
}

static void report(const tine_progress *progress, void *user)
{
    (void)progress;
    (void)user;
}

TEST(bad_arguments_are_refused)
{
    static const tine_job_options bad[] = {
        {.progress = report}, {.fail_fast = 1}, {.timeout_ns = 1}, {.retries = -2}, {.key = 1}};
    tine_pool *pool = pool_of(1);
    struct numbers numbers = {.count = 3};
    tine_source source = source_of(&numbers), none = {.user = &numbers};
    tine_imap *imap = imap_of(pool, &numbers, NULL, false), *unset = NULL;
    struct child child;

    assert_next(imap, 0);
    child = child_start(read_in_child, imap);
    child_join(&child);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_rc(
            tine_pool_imap(&unset, pool, square, &source, &(tine_imap_options){.job = &bad[i]}),
            -EINVAL);
    ck_assert_rc(
        tine_pool_imap(&unset, pool, square, &source, &(tine_imap_options){.reserved = {[5] = 1}}),
        -E2BIG);
    ck_assert_rc(tine_pool_imap(NULL, pool, square, &source, NULL), -EINVAL);
    ck_assert_rc(tine_pool_imap(&unset, NULL, square, &source, NULL), -EINVAL);
    ck_assert_rc(tine_pool_imap(&unset, pool, NULL, &source, NULL), -EINVAL);
    ck_assert_rc(tine_pool_imap(&unset, pool, square, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_imap_unordered(&unset, pool, square, &none, NULL), -EINVAL);
    ck_assert_ptr_null(unset);
    ck_assert_rc(tine_imap_next(NULL, 0, NULL), -EINVAL);
    ck_assert_rc(tine_imap_packed(imap, NULL, &(size_t){0}), -EINVAL);
    ck_assert_uint_eq(tine_imap_index(NULL), 0);
    tine_imap_close(NULL);
    tine_imap_close(imap);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/imap")
