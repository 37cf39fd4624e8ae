/* SPDX-License-Identifier: MIT */
/* Instants that hardly ever come by themselves: the words of a pool are set by hand to what a
 * worker leaves that is stopped or killed just then. */
#include "pool/pool_impl.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/sys.h"
#include "pool/job.h"
#include "pool/redo.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int double_it(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    return rc < 0 ? rc : tine_return(call, "q", number * 2);
}

/* Its context is the address of a gate. */
static int pass_gate(tine_call *call)
{
    gate_await(*(struct gate **)tine_call_context(call), 1);
    return 0;
}

/* Keeps one worker busy until the gate is raised. */
static tine_future *occupy(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gate, &options, ""), 0);
    return future;
}

static tine_future *submit(tine_pool *pool, int64_t number)
{
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, double_it, NULL, "q", number), 0);
    return future;
}

static void kill_nursery(tine_pool *pool)
{
    ck_assert_rc(tine__sys_pidfd_kill(pool->nursery.pidfd, SIGKILL), 0);
}

/* ---- stopped workers ------------------------------------------------------------------------- */

/* As if both were stopped while they spun: counted as awake, they are not woken. */
TEST(work_is_not_left_lying_by_a_worker_that_was_stopped_while_it_spun)
{
    tine_pool *pool = pool_of(2);
    int64_t number;
    tine_future *future;

    ck_assert_eventually(atomic_load(&pool->shared->sleeping[0]) == 3);
    atomic_store(&pool->shared->spinning[0], 3);
    future = submit(pool, 21);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 42);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* As if a worker had been stopped between taking a sleeper's bit and ringing its bell. */
TEST(a_wake_up_that_a_stopped_worker_owes_is_given_by_who_polls)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_eventually(atomic_load(&pool->shared->sleeping[0]) == 1);
    atomic_store(&pool->shared->sleeping[0], 0);
    future = submit(pool, 21);
    ck_assert_eventually(tine_future_done(future));
    tine_future_close(future);
    tine_pool_close(pool);
}

/* The same when nobody has the future any more. */
TEST(joining_sees_to_work_that_was_left_lying)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_eventually(atomic_load(&pool->shared->sleeping[0]) == 1);
    atomic_store(&pool->shared->spinning[0], 1);
    future = submit(pool, 21);
    tine_future_close(future);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
}

/* ---- a dead nursery -------------------------------------------------------------------------- */

TEST(who_only_polls_sees_the_nursery_die)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *one = occupy(pool, gate), *other = occupy(pool, gate);

    kill_nursery(pool);
    ck_assert_eventually(tine_future_done(one));
    ck_assert_rc(tine_future_result(one, 0, NULL), TINE_EWORKER);
    ck_assert_rc(tine_future_result(other, 0, NULL), TINE_EWORKER);
    tine_future_close(one);
    tine_future_close(other);
    tine_pool_close(pool);
}

TEST(who_waits_in_slices_of_nothing_sees_the_nursery_die)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *future = occupy(pool, gate);

    kill_nursery(pool);
    ck_assert_eventually(tine_future_wait(future, 0) == 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* Its context is a gate, behind which the second tuple stays. */
static int stay_in_the_second(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    if (tine_call_index(call) == 1) {
        gate_raise(gate);
        gate_await(gate, 2);
    }
    return double_it(call);
}

TEST(results_from_before_the_nursery_died_stand)
{
    struct gate *gate = gate_new();
    tine_job_options options = {.context = &gate, .context_size = sizeof gate, .chunk = 1};
    tine_pool *pool = pool_of(1);
    const tine_results *results = NULL;
    tine_buffer args = {0};
    tine_future *future;
    int64_t number = 0;

    for (int64_t i = 1; i <= 3; i++)
        ck_assert_rc(tine_pack(&args, "[q]", i), 0);
    ck_assert_rc(tine_pool_starmap_async(&future, pool, stay_in_the_second, &args, &options), 0);
    tine_buffer_free(&args);
    gate_await(gate, 1);
    kill_nursery(pool);
    ck_assert_rc(tine_future_results(future, TINE_FOREVER, &results), TINE_EWORKER);
    ck_assert_uint_eq(tine_results_count(results), 3);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), 0);
    ck_assert_int_eq(number, 2);
    ck_assert_rc(tine_results_get(results, 1, "q", &number), TINE_EWORKER);
    ck_assert_rc(tine_results_get(results, 2, "q", &number), TINE_EWORKER);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* ---- a program that executes another --------------------------------------------------------- */

static int note_parent(tine_call *call)
{
    **(_Atomic int32_t **)tine_call_context(call) = getppid();
    return 0;
}

static void open_and_execute(void *nursery)
{
    tine_job_options options = {.context = &nursery, .context_size = sizeof nursery};
    tine_pool *pool = pool_of(2);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, note_parent, &options, ""), 0);
    execl("/usr/bin/tail", "tail", "-f", "/dev/null", (char *)NULL);
}

static bool has_ended(int pid)
{
    struct proc proc;

    return pid != 0 && (!proc_read(pid, &proc) || proc.state == 'Z');
}

TEST(a_pool_ends_when_its_program_executes_another)
{
    _Atomic int32_t *nursery = shared_memory(sizeof *nursery);
    struct child child = child_start(open_and_execute, (void *)nursery);

    ck_assert_eventually(has_ended(atomic_load(nursery)));
    child_kill(&child);
}

/* ---- what the dead left ---------------------------------------------------------------------- */

/* As if a first worker had kept a large result and died before it said so. */
TEST(a_result_that_was_kept_but_not_delivered_is_not_mixed_with_the_next)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    uint64_t blocks = heap_blocks();
    tine_future *first = occupy(pool, gate), *future = submit(pool, 21);
    void *left = tine_alloc(100);
    int64_t number = 0;

    memset(left, 1, 100);
    future->job->result = TINE__ADDRESS(left);
    gate_raise(gate);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 42);
    ck_assert_rc(tine_future_wait(first, TINE_FOREVER), 0);
    tine_future_close(first);
    tine_future_close(future);
    ck_assert_eventually(heap_blocks() <= blocks + 3); /* two tasks described, and the tickets */
    tine_pool_close(pool);
}

/* No worker is free to take it, so nobody else would end it. */
TEST(a_call_that_waits_to_run_again_ends_when_it_is_stopped)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = occupy(pool, gate), *future = submit(pool, 21);

    ck_assert_rc(
        tine__redo_put(pool->shared, future->job, &(struct tine__rest){.end = 1, .attempts = 1}),
        0);
    tine__job_stop(pool->shared, future->job);
    ck_assert(tine_future_done(future));
    ck_assert(!tine__redo_has(pool->shared, future->job));
    gate_raise(gate);
    ck_assert_rc(tine_future_wait(first, TINE_FOREVER), 0);
    tine_future_close(first);
    tine_future_close(future);
    tine_pool_close(pool);
}

static void leave(void *worker)
{
    tine__stream_leave(worker);
}

/* The program has marked it, and is never able to send the signal. */
TEST(a_condemned_worker_dies_when_it_leaves_its_job)
{
    tine_pool *pool = pool_of(1);
    struct tine__worker_shm *worker = tine_calloc(1, sizeof *worker);
    struct child child;
    int status;

    atomic_store(&worker->job, TINE__ADDRESS(pool->shared) | 1);
    child = child_start(leave, worker);
    status = child_wait(&child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_uint_eq(atomic_load(&worker->job), TINE__ADDRESS(pool->shared) | 1);
    tine_free(worker);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/instants")
