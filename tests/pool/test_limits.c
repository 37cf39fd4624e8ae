/* SPDX-License-Identifier: MIT */
/* A heap, descriptors or processes that run out: the documented code, nothing left, and on it
   goes. */
#include <tine/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define HEAP_BYTES (64 << 20)

/* Before the heap is made by the constructor of pools.c, which has a lower priority. */
__attribute__((constructor(101))) static void make_the_heap_small(void)
{
    setenv("TINE_HEAP_SIZE", "64M", 1);
}

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

static void assert_works(tine_pool *pool)
{
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};

    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    tine_free(tally);
}

/* ---- the heap -------------------------------------------------------------------------------- */

/* Blocks of all size classes down to the smallest, linked through their first word. */
static void *fill_heap(void)
{
    void *last = NULL;

    for (size_t size = HEAP_BYTES; size >= 16; size -= size > 1024 ? size / 8 : 16) {
        void **block;

        while ((block = tine_alloc(size)) != NULL) {
            *block = last;
            last = block;
        }
    }
    return last;
}

static void empty_heap(void *last)
{
    while (last != NULL) {
        void *next = *(void **)last;

        tine_free(last);
        last = next;
    }
}

TEST(no_pool_opens_in_a_full_heap)
{
    void *ballast = fill_heap();
    tine_pool *pool = NULL;

    ck_assert_rc(tine_pool_open(&pool, NULL), -ENOMEM);
    ck_assert_ptr_null(pool);
    empty_heap(ballast);
    pool = pool_of(2);
    assert_works(pool);
    tine_pool_close(pool);
}

static int copy_item(const void *in, void *out, void *context)
{
    (void)context;
    *(char *)out = *(const char *)in;
    return 0;
}

static int return_bytes(tine_call *call)
{
    static char bytes[1000];

    return tine_return(call, "y", bytes, sizeof bytes);
}

static void submit_into_full_heap(tine_pool *pool)
{
    static char in[100000], out[100000];
    tine_map map = {
        .item = copy_item, .in = in, .in_size = 1, .out = out, .out_size = 1, .n = 1000};
    tine_results *results = NULL;
    tine_future *future = NULL;

    ck_assert_rc(tine_pool_for(pool, 10, do_nothing, NULL), -ENOMEM);
    ck_assert_rc(tine_pool_apply(&results, pool, return_bytes, NULL, ""), -ENOMEM);
    ck_assert_rc(tine_pool_submit(&future, pool, return_bytes, NULL, ""), -ENOMEM);
    ck_assert_rc(tine_pool_map(pool, &map, NULL), -ENOMEM);
    ck_assert_ptr_null(results);
    ck_assert_ptr_null(future);
}

TEST(no_job_is_taken_in_a_full_heap)
{
    tine_pool *pool = pool_of(2);
    void *ballast;

    assert_works(pool);
    ballast = fill_heap();
    submit_into_full_heap(pool);
    empty_heap(ballast);
    assert_works(pool);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* In the heap: which item shall fill the rest of it, and with what it did so. */
struct order {
    int index;
    void *ballast;
};

static int fill_and_return(tine_call *call)
{
    struct order *order = *(struct order **)tine_call_context(call);

    if ((int)tine_call_index(call) == order->index)
        order->ballast = fill_heap();
    return return_bytes(call);
}

TEST(a_result_that_finds_no_memory_fails_its_task)
{
    struct order *order = tine_calloc(1, sizeof *order);
    tine_failure failure = {0};
    tine_job_options options = {
        .context = &order, .context_size = sizeof order, .failure = &failure};
    tine_pool *pool = pool_of(1);
    tine_results *results = NULL;

    ck_assert_ptr_nonnull(order);
    ck_assert_rc(tine_pool_apply(&results, pool, fill_and_return, &options, ""), TINE_EREMOTE);
    ck_assert_ptr_null(results);
    ck_assert_int_eq(failure.code, TINE_EREMOTE);
    empty_heap(order->ballast);
    order->index = -1;
    ck_assert_rc(tine_pool_apply(&results, pool, fill_and_return, &options, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    tine_free(order);
}

TEST(results_that_find_no_memory_leave_the_others)
{
    struct order *order = tine_calloc(1, sizeof *order);
    tine_job_options options = {.context = &order, .context_size = sizeof order, .chunk = 10};
    tine_pool *pool = pool_of(1);
    tine_results *results = NULL;
    tine_buffer args = {0};

    ck_assert_ptr_nonnull(order);
    order->index = 50;
    for (int i = 0; i < 100; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, fill_and_return, &args, &options), TINE_EREMOTE);
    for (size_t i = 0; i < 100; i++)
        if (i < 50)
            ck_assert_rc(tine_results_packed(results, i, &(const void *){NULL}, &(size_t){0}), 0);
        else
            ck_assert_rc(tine_results_packed(results, i, &(const void *){NULL}, &(size_t){0}),
                         TINE_EREMOTE);
    empty_heap(order->ballast);
    tine_results_close(results);
    assert_works(pool);
    tine_buffer_free(&args);
    tine_pool_close(pool);
    tine_free(order);
}

TEST(arguments_larger_than_the_heap_are_refused)
{
    uint64_t blocks = heap_blocks();
    char *bytes = calloc(1, HEAP_BYTES);
    tine_pool *pool = pool_of(1);
    tine_results *results = NULL;
    tine_map map = {
        .item = copy_item, .in = bytes, .in_size = 1, .out = bytes, .out_size = 1, .n = HEAP_BYTES};

    ck_assert_ptr_nonnull(bytes);
    ck_assert_rc(tine_pool_apply(&results, pool, return_bytes, NULL, "y", bytes, HEAP_BYTES),
                 -ENOMEM);
    ck_assert_rc(tine_pool_map(pool, &map, NULL), -ENOMEM);
    free(bytes);
    assert_works(pool);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int count_fds(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int hang(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, UINT32_MAX);
    return 0;
}

/* A pool that came up with hardly a descriptor left works, and ends at any moment. */
static void use_and_terminate(tine_pool *pool, struct gate *gate)
{
    uint32_t raised = atomic_load(&gate->raised);
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    assert_works(pool);
    ck_assert_rc(tine_pool_submit(&future, pool, hang, &options, ""), 0);
    gate_await(gate, raised + 1);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    ck_assert_rc(tine_future_result(future, 0, NULL), -ECANCELED);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(too_few_descriptors_give_emfile_and_leave_nothing)
{
    struct rlimit before, tight;
    struct gate *gate = gate_new();
    int fds = count_fds(), opened = 0;
    uint64_t blocks = heap_blocks();

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int more = 0; more < 10; more++) {
        tine_pool *pool = NULL;
        int rc;

        tight = (struct rlimit){.rlim_cur = (rlim_t)(fds + more), .rlim_max = before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        rc = tine_pool_open(&pool, &(tine_pool_options){.workers = 2});
        if (rc == 0) {
            use_and_terminate(pool, gate);
            opened++;
        } else {
            ck_assert_rc(rc, -EMFILE);
            ck_assert_int_eq(opened, 0);
        }
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        ck_assert_int_eq(count_fds(), fds);
        ck_assert_uint_eq(heap_blocks(), blocks);
    }
    ck_assert_int_gt(opened, 0);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void limit_processes(rlim_t count)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &limit), 0);
    limit.rlim_cur = count;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
}

static void open_pools_as_nobody(void *unused)
{
    tine_pool *pool = NULL;

    (void)unused;
    child_becomes_user();
    limit_processes(1); /* this one */
    ck_assert_rc(tine_pool_open(&pool, NULL), -EAGAIN);
    ck_assert_ptr_null(pool);
    limit_processes(3); /* and a nursery and one worker */
    pool = pool_of(4);
    assert_works(pool);
    ck_assert_int_eq(pool_counts(pool).alive, 1);
    tine_pool_close(pool);
    limit_processes(100);
    pool = pool_of(4);
    ck_assert_eventually(pool_counts(pool).alive == 4);
    tine_pool_close(pool);
}

TEST(too_few_processes_give_eagain_or_fewer_workers)
{
    struct child child;

    if (getuid() != 0)
        SKIP("only root can become a user without other processes");
    if (suite_under_tsan())
        SKIP("the sanitizer's own threads count as processes");
    child = child_start(open_pools_as_nobody, NULL);
    child_join(&child);
}

SUITE_OF_POOLS("pool/limits")
