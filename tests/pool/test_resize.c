/* SPDX-License-Identifier: MIT */
/* Pools that grow and shrink: on request, and by what there is to do. No work is lost by it. */
#include <tine/pool.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "pool/resize.h"
#include "pool/stream.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define IDLE_NS TINE_MS(2)

/* ---- tasks ----------------------------------------------------------------------------------- */

/* Comes to the meeting and waits there for all the others. */
static int meet(size_t begin, size_t end, void *context)
{
    struct gate *gate = *(struct gate **)context;
    struct gate *expected = gate + 1;

    (void)begin, (void)end;
    gate_raise(gate);
    gate_await(gate, atomic_load(&expected->raised));
    return 0;
}

/* So many workers are there at a time. */
static void assert_meet(tine_pool *pool, uint32_t workers)
{
    struct gate *gates = tine_calloc(2, sizeof *gates);
    tine_job_options options = {.context = &gates, .context_size = sizeof gates, .chunk = 1};

    atomic_store(&gates[1].raised, workers);
    ck_assert_rc(tine_pool_for(pool, workers, meet, &options), 0);
    tine_free(gates);
}

/* Two gates in the heap: raised by the task, and waited for. */
static int pass_gates(tine_call *call)
{
    struct gate *gates = *(struct gate **)tine_call_context(call);

    gate_raise(&gates[0]);
    gate_await(&gates[1], 1);
    return tine_return(call, "q", (int64_t)getpid());
}

static tine_future *submit_gates(tine_pool *pool, struct gate *gates)
{
    tine_job_options options = {.context = &gates, .context_size = sizeof gates};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gates, &options, ""), 0);
    return future;
}

static void pass(struct gate *gates, tine_future *future)
{
    int64_t pid;

    gate_raise(&gates[1]);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &pid), 0);
    tine_future_close(future);
}

static int say_count(tine_call *call)
{
    return tine_return(call, "q", (int64_t)tine_worker_count());
}

static int64_t ask_count(tine_pool *pool)
{
    tine_results *results;
    int64_t count;

    ck_assert_rc(tine_pool_apply(&results, pool, say_count, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "q", &count), 0);
    tine_results_close(results);
    return count;
}

static void await_alive(tine_pool *pool, int32_t workers)
{
    ck_assert_eventually(pool_counts(pool).alive == workers);
}

/* The nursery counts a worker when that may have begun already. */
static void await_started(tine_pool *pool, uint64_t workers)
{
    ck_assert_eventually(pool_counts(pool).started >= workers);
    ck_assert_uint_eq(pool_counts(pool).started, workers);
}

static tine_pool *open_pool(const tine_pool_options *options)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, options), 0);
    return pool;
}

/* ---- on request ------------------------------------------------------------------------------ */

TEST(a_pool_grows_at_once)
{
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_resize(pool, 3), 0);
    assert_meet(pool, 3);
    ck_assert_int_eq(pool_counts(pool).workers, 3);
    ck_assert_int_eq(pool_counts(pool).alive, 3);
    ck_assert_int_eq(ask_count(pool), 3);
    tine_pool_close(pool);
}

TEST(new_workers_help_with_a_loop_that_runs)
{
    tine_pool *pool = pool_of(1);
    struct gate *gates = tine_calloc(2, sizeof *gates);
    tine_job_options options = {.context = &gates, .context_size = sizeof gates, .chunk = 1};
    tine_future *future;

    atomic_store(&gates[1].raised, 3);
    ck_assert_rc(tine_pool_for_async(&future, pool, 3, meet, &options), 0);
    gate_await(gates, 1);
    ck_assert_rc(tine_pool_resize(pool, 2), 0);
    ck_assert_rc(tine_pool_resize(pool, 3), 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
    tine_future_close(future);
    tine_pool_close(pool);
    tine_free(gates);
}

TEST(idle_workers_leave_at_once)
{
    tine_pool *pool = pool_of(4);

    await_alive(pool, 4);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    await_alive(pool, 1);
    ck_assert_int_eq(pool_counts(pool).workers, 1);
    await_started(pool, 4);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    ck_assert_int_eq(ask_count(pool), 1);
    tine_pool_close(pool);
}

TEST(who_has_work_stays_before_who_has_none)
{
    tine_pool *pool = pool_of(3);
    struct gate *gates = tine_calloc(2, sizeof *gates);
    tine_future *future;

    await_alive(pool, 3);
    future = submit_gates(pool, gates);
    gate_await(gates, 1);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    await_alive(pool, 1);
    ck_assert(!tine_future_done(future));
    pass(gates, future);
    ck_assert_int_eq(pool_counts(pool).alive, 1);
    await_started(pool, 3);
    tine_pool_close(pool);
    tine_free(gates);
}

/* Whoever had been chosen when all were busy: the one that is free first goes. */
TEST(of_two_that_work_one_leaves_when_it_has_ended, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    struct gate *gates[2] = {tine_calloc(2, sizeof *gates[0]), tine_calloc(2, sizeof *gates[0])};
    tine_future *futures[2];

    for (int i = 0; i < 2; i++)
        futures[i] = submit_gates(pool, gates[i]);
    for (int i = 0; i < 2; i++)
        gate_await(gates[i], 1);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    pass(gates[loop_index], futures[loop_index]);
    await_alive(pool, 1);
    ck_assert(!tine_future_done(futures[!loop_index]));
    pass(gates[!loop_index], futures[!loop_index]);
    ck_assert_int_eq(ask_count(pool), 1);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    for (int i = 0; i < 2; i++)
        tine_free(gates[i]);
}

/* The loop's only worker may be the one that leaves, while the other is in something else. */
TEST(a_loop_that_is_left_in_the_middle_is_taken_up_again, .loop_end = 4)
{
    tine_pool *pool = pool_of(2);
    struct gate *gates = tine_calloc(2, sizeof *gates);
    struct tally *tally = tally_new(20000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally, .chunk = 1};
    tine_future *call = submit_gates(pool, gates), *loop;

    gate_await(gates, 1);
    ck_assert_rc(tine_pool_for_async(&loop, pool, tally->n, tally_count, &options), 0);
    ck_assert_eventually(atomic_load(&tally->calls) > 0);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    pass(gates, call);
    ck_assert_rc(tine_future_result(loop, TINE_FOREVER, NULL), 0);
    tally_assert_once(tally);
    await_alive(pool, 1);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_future_close(loop);
    tine_pool_close(pool);
    tine_free(tally);
    tine_free(gates);
}

TEST(loops_go_on_through_all_sizes)
{
    tine_pool *pool = pool_of(2);
    uint64_t blocks = heap_blocks();

    for (int i = 0; i < 40; i++) {
        struct tally *tally = tally_new(3000);
        tine_job_options options = {
            .context = &tally, .context_size = sizeof tally, .chunk = random_below(3)};
        tine_future *future;

        ck_assert_rc(tine_pool_for_async(&future, pool, tally->n, tally_count, &options), 0);
        ck_assert_rc(tine_pool_resize(pool, 1 + (int32_t)random_below(6)), 0);
        if (random_below(2) == 0)
            ck_assert_rc(tine_pool_resize(pool, 1 + (int32_t)random_below(6)), 0);
        ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL), 0);
        tally_assert_once(tally);
        tine_future_close(future);
        tine_free(tally);
    }
    await_alive(pool, pool_counts(pool).workers);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
    ck_assert_uint_le(heap_blocks(), blocks);
}

TEST(a_pool_has_room_for_twice_its_workers_and_eight_at_least)
{
    tine_pool *pool = pool_of(2);

    ck_assert_rc(tine_pool_resize(pool, 9), -EINVAL);
    ck_assert_rc(tine_pool_resize(pool, 8), 0);
    assert_meet(pool, 8);
    tine_pool_close(pool);
    pool = open_pool(&(tine_pool_options){.workers = 1, .workers_max = 2});
    ck_assert_rc(tine_pool_resize(pool, 3), -EINVAL);
    ck_assert_rc(tine_pool_resize(pool, 2), 0);
    assert_meet(pool, 2);
    tine_pool_close(pool);
}

TEST(sizes_that_cannot_be_are_refused)
{
    static const tine_pool_options wrong[] = {
        {.workers_max = -1},
        {.workers_max = TINE_WORKERS_MAX + 1},
        {.workers_min = -1},
        {.idle_timeout_ns = -1},
        {.workers = 3, .workers_max = 2},
        {.workers_min = 3, .workers_max = 2},
        {.workers = 1, .workers_min = 2},
    };
    tine_pool *pool = NULL;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_rc(tine_pool_open(&pool, &wrong[i]), -EINVAL);
    ck_assert_ptr_null(pool);
    ck_assert_rc(tine_pool_resize(NULL, 1), -EINVAL);
    pool = pool_of(1);
    ck_assert_rc(tine_pool_resize(pool, 0), -EINVAL);
    ck_assert_rc(tine_pool_resize(pool, -1), -EINVAL);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_rc(tine_pool_resize(pool, 2), -ESHUTDOWN);
    tine_pool_close(pool);
    ck_assert_rc(tine_pool_resize(pool, 2), -EBADF);
}

/* ---- by what there is to do ------------------------------------------------------------------ */

TEST(idle_workers_leave_but_the_least, .loop_end = 2)
{
    tine_pool *pool = open_pool(&(tine_pool_options){
        .workers = 3, .workers_min = 2 * loop_index, .idle_timeout_ns = IDLE_NS});
    int32_t least = loop_index == 0 ? 1 : 2;

    assert_meet(pool, 3);
    await_alive(pool, least);
    ck_assert_int_eq(pool_counts(pool).workers, least);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

TEST(who_was_to_leave_and_may_stay_says_again_that_it_idles)
{
    tine_pool *pool =
        open_pool(&(tine_pool_options){.workers = 1, .workers_min = 1, .idle_timeout_ns = IDLE_NS});
    struct tine__worker_shm *worker = tine__worker_at(pool->shared, 0);

    ck_assert_eventually(atomic_load(&worker->leave) == TINE__IDLES);
    atomic_store(&worker->leave, TINE__STAYS); /* as the nursery does */
    tine__stream_ring(worker);
    ck_assert_eventually(atomic_load(&worker->leave) == TINE__IDLES);
    tine_pool_close(pool);
}

TEST(those_who_left_are_started_again_when_there_is_work_for_them)
{
    tine_pool *pool = open_pool(&(tine_pool_options){.workers = 3, .idle_timeout_ns = IDLE_NS});

    for (int i = 0; i < 10; i++) {
        assert_meet(pool, 3);
        if (random_below(2) == 0)
            await_alive(pool, 1);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* Calls come one by one, and nobody waits for any: the submissions alone start workers. */
TEST(calls_that_wait_make_the_pool_grow_to_its_most)
{
    tine_pool *pool = open_pool(
        &(tine_pool_options){.workers = 1, .workers_max = 3, .idle_timeout_ns = TINE_SEC(60)});
    struct gate *gates = tine_calloc(2, sizeof *gates);
    tine_future *futures[5];

    for (int i = 0; i < 5; i++)
        futures[i] = submit_gates(pool, gates);
    gate_await(gates, 3);
    ck_assert_int_eq(pool_counts(pool).workers, 3);
    gate_raise(&gates[1]);
    for (int i = 0; i < 5; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), 0);
        tine_future_close(futures[i]);
    }
    await_started(pool, 3);
    tine_pool_close(pool);
    tine_free(gates);
}

TEST(a_loop_makes_the_pool_grow_to_its_most)
{
    tine_pool *pool =
        open_pool(&(tine_pool_options){.workers = 1, .workers_max = 4, .idle_timeout_ns = IDLE_NS});

    assert_meet(pool, 4);
    await_alive(pool, 1);
    ck_assert_rc(tine_pool_resize(pool, 2), 0);
    assert_meet(pool, 2);
    await_alive(pool, 1);
    tine_pool_close(pool);
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(a_pool_may_end_while_it_grows_or_shrinks, .loop_end = 3)
{
    for (int i = 0; i < 20; i++) {
        tine_pool *pool = pool_of(1 + (int32_t)random_below(4));

        ck_assert_rc(tine_pool_resize(pool, 1 + (int32_t)random_below(8)), 0);
        if (loop_index == 1)
            ck_assert_rc(tine_pool_terminate(pool), 0);
        if (loop_index == 2)
            ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
        tine_pool_close(pool);
    }
}

static void resize_copy(void *context)
{
    ck_assert_rc(tine_pool_resize(context, 2), TINE_EFORKED);
}

TEST(a_forked_child_must_not)
{
    tine_pool *pool = pool_of(1);
    struct child child = child_start(resize_copy, pool);

    child_join(&child);
    tine_pool_close(pool);
}

/* ---- whom the nursery chooses ---------------------------------------------------------------- */

#define CHOICES 1000

/* Two places, of which one is to be free; the worker that was chosen goes at any moment. */
struct choice {
    struct tine__pool_shm *pool;
    _Atomic int round; /* that the worker may go in; negative: it has */
};

static void await_round(const struct choice *choice, int round)
{
    for (uint32_t looks = 1; atomic_load(&choice->round) != round; looks++)
        if (looks % 256 == 0)
            sched_yield();
        else
            tine__cpu_relax();
}

static void *go_in_each_round(void *context)
{
    struct choice *choice = context;

    for (int round = 1; round <= CHOICES; round++) {
        await_round(choice, round);
        for (int i = round % 128; i > 0; i--) /* a little later each time */
            tine__cpu_relax();
        (void)tine__resize_quit(tine__worker_at(choice->pool, 0));
        atomic_store(&choice->round, -round);
    }
    return NULL;
}

static void *zeroed_lines(size_t size)
{
    void *lines = tine_aligned_alloc(TINE__LINE, size);

    ck_assert_ptr_nonnull(lines);
    return memset(lines, 0, size);
}

static struct tine__pool_shm *make_two_places(void)
{
    struct tine__pool_shm *pool = zeroed_lines(sizeof *pool);

    pool->slots = TINE__ADDRESS(zeroed_lines(2 * sizeof(struct tine__worker_shm)));
    pool->workers = 2;
    atomic_store(&pool->born, 2);
    atomic_store(&pool->size, 1);
    atomic_store(&pool->wanted, 1);
    atomic_store(&pool->sleeping[0], 2);
    atomic_store(&tine__worker_at(pool, 0)->pid, 1);
    atomic_store(&tine__worker_at(pool, 1)->pid, 1);
    return pool;
}

/* Who sleeps is to go before who was chosen when all were busy; but not both. */
TEST(one_that_goes_already_is_not_replaced_by_another)
{
    struct choice choice = {.pool = make_two_places()};
    struct tine__worker_shm *chosen = tine__worker_at(choice.pool, 0);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, go_in_each_round, &choice), 0);
    for (int round = 1; round <= CHOICES; round++) {
        atomic_store(&chosen->leave, TINE__DISMISSED);
        atomic_store(&chosen[1].leave, TINE__STAYS);
        atomic_store(&choice.round, round);
        tine__resize_settle(choice.pool);
        await_round(&choice, -round);
        (void)tine__resize_quit(&chosen[1]);
        ck_assert_uint_eq(tine__resize_missing(choice.pool), 0);
    }
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    tine_free(chosen);
    tine_free(choice.pool);
}

SUITE_OF_POOLS("pool/resize")
