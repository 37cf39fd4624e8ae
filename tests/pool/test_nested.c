/* SPDX-License-Identifier: MIT */
/*
 * Pools in tasks of pools, three levels deep: results, deaths at each level, ends from above.
 *
 * That all processes of a nest are gone is seen at a pipe that all of them have inherited: it is at
 * its end when the last of them is.
 */
#include <tine/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/sys.h"
#include "pool/job.h"
#include "pool/pool_impl.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define LEVELS 3
#define WIDTH  2
#define LEAVES 100
#define ROUNDS 10

/* What all levels share, in the heap. */
struct nest {
    _Atomic uint64_t leaves;
    _Atomic int32_t victims; /* how many leaves still are to die */
    int32_t lethal;          /* the level on which */
    struct gate *gate;       /* raised by each leaf that then hangs; NULL: none hangs */
};

struct at {
    struct nest *nest;
    int level;
};

static void hang_or_die(const struct at *at)
{
    struct nest *nest = at->nest;

    if (nest->lethal == at->level && atomic_fetch_sub(&nest->victims, 1) > 0)
        kill(getpid(), SIGKILL);
    if (nest->gate == NULL || at->level < LEVELS)
        return;
    gate_raise(nest->gate);
    gate_await(nest->gate, UINT32_MAX);
}

static int run_leaves(size_t begin, size_t end, void *context)
{
    const struct at *at = context;

    hang_or_die(at);
    atomic_fetch_add(&at->nest->leaves, end - begin);
    return 0;
}

static int open_level(tine_call *call);

/* Opens the pool of a level and has it run the next one. */
static int run_level(const struct at *at)
{
    struct at next = {.nest = at->nest, .level = at->level + 1};
    tine_job_options options = {.context = &next, .context_size = sizeof next, .retries = 3};
    tine_future *futures[WIDTH];
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = WIDTH});

    if (rc < 0)
        return rc;
    if (next.level == LEVELS) {
        options.chunk = 10;
        rc = tine_pool_for(pool, LEAVES, run_leaves, &options);
    } else {
        for (int i = 0; i < WIDTH; i++)
            ck_assert_rc(tine_pool_submit(&futures[i], pool, open_level, &options, ""), 0);
        for (int i = 0; i < WIDTH; i++) {
            int end = tine_future_result(futures[i], TINE_FOREVER, "n");

            rc = rc == 0 ? end : rc;
            tine_future_close(futures[i]);
        }
    }
    tine_pool_close(pool);
    return rc;
}

static int open_level(tine_call *call)
{
    const struct at *at = tine_call_context(call);

    hang_or_die(at);
    return run_level(at);
}

static struct nest *nest_new(void)
{
    struct nest *nest = tine_calloc(1, sizeof *nest);

    ck_assert_ptr_nonnull(nest);
    nest->lethal = -1;
    return nest;
}

TEST(three_levels_compute)
{
    struct nest *nest = nest_new();
    uint64_t blocks;

    ck_assert_rc(run_level(&(struct at){.nest = nest}), 0);
    blocks = heap_blocks(); /* with what the family keeps from its second pool on */
    nest->leaves = 0;
    ck_assert_rc(run_level(&(struct at){.nest = nest}), 0);
    ck_assert_uint_eq(nest->leaves, (uint64_t)WIDTH * WIDTH * LEAVES);
    ck_assert_uint_eq(heap_blocks(), blocks);
    tine_free(nest);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

/* The level that dies is 1 … LEVELS. */
TEST(a_death_on_any_level_costs_what_it_ran, .loop_end = LEVELS)
{
    struct nest *nest = nest_new();

    nest->lethal = loop_index + 1;
    nest->victims = 2;
    ck_assert_rc(run_level(&(struct at){.nest = nest}), 0);
    /* What had no leaf yet when it died was run again as a whole, so all were run exactly once. */
    ck_assert_uint_eq(nest->leaves, (uint64_t)WIDTH * WIDTH * LEAVES);
    tine_free(nest);
}

static int die(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    _exit(7);
}

/* Its own pool's failure is the task's to handle. */
static int see_a_death(tine_call *call)
{
    tine_failure failure;
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_for(pool, 1, die, &(tine_job_options){.failure = &failure}),
                 TINE_EWORKER);
    ck_assert_int_eq(failure.exit_status, 7);
    tine_pool_close(pool);
    return tine_return(call, "q", (int64_t)getpid());
}

TEST(a_death_in_a_nested_pool_is_seen_by_its_opener)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, see_a_death, NULL, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* A pipe whose end tells that all of the nest are gone. */
static int pipe_for_all(int *ours)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    *ours = ends[1];
    return ends[0];
}

static void await_end(int end)
{
    char byte;

    ck_assert_int_eq(read(end, &byte, 1), 0);
    close(end);
}

/* A pool in whose nest all leaves hang. */
static tine_pool *open_hanging(struct nest *nest)
{
    struct at next = {.nest = nest, .level = 1};
    tine_job_options options = {.context = &next, .context_size = sizeof next};
    tine_pool *pool = pool_of(WIDTH);

    for (int i = 0; i < WIDTH; i++) {
        tine_future *future;

        ck_assert_rc(tine_pool_submit(&future, pool, open_level, &options, ""), 0);
        tine_future_close(future);
    }
    gate_await(nest->gate, WIDTH * WIDTH * WIDTH);
    return pool;
}

enum { TERMINATE, CLOSE, KILL_NURSERY, ENDS };

TEST(who_ends_the_first_level_ends_all, .loop_end = ENDS)
{
    struct nest *nest = nest_new();
    struct hunt hunt;
    tine_pool *pool;
    int ours, end = pipe_for_all(&ours);

    orphans_adopt();
    nest->gate = gate_new();
    pool = open_hanging(nest);
    close(ours);
    if (loop_index == TERMINATE)
        ck_assert_rc(tine_pool_terminate(pool), 0);
    if (loop_index == KILL_NURSERY) {
        hunt_begin(&hunt, getpid());
        hunt_kill_nursery(&hunt);
    }
    if (loop_index == CLOSE)
        tine_pool_close(pool);
    await_end(end);
    if (loop_index != CLOSE)
        tine_pool_close(pool);
    orphans_reap();
    tine_free(nest);
}

/* The living among these, of whom all were of one worker's. */
static int living(const pid_t *pids, int count)
{
    struct proc proc;
    int alive = 0;

    for (int i = 0; i < count; i++)
        alive += proc_read(pids[i], &proc);
    return alive;
}

static int descendants(pid_t parent, pid_t *pids, int room)
{
    int count = hunt_children(parent, pids, room);

    for (int i = 0, direct = count; i < direct; i++)
        count += descendants(pids[i], pids + count, room - count);
    return count;
}

TEST(a_killed_worker_takes_its_pool_along_and_leaves_no_zombie)
{
    struct nest *nest = nest_new();
    pid_t pids[HUNT_WORKERS_MAX];
    struct hunt hunt;
    pid_t victim;
    int count;
    tine_pool *pool;

    nest->gate = gate_new();
    pool = open_hanging(nest);
    hunt_begin(&hunt, getpid());
    ck_assert_int_ne(victim = hunt_worker(&hunt), 0);
    count = descendants(victim, pids, HUNT_WORKERS_MAX);
    ck_assert_int_eq(count, 1 + WIDTH * (1 + 1 + WIDTH)); /* nursery; workers, theirs, theirs */
    ck_assert(hunt_signal(hunt.nursery, victim, SIGKILL));
    ck_assert_eventually(living(pids, count) == 0);
    ck_assert_eventually(pool_counts(pool).deaths == 1);
    tine_pool_close(pool);
    tine_free(nest);
}

static void hold_nest(void *context)
{
    struct nest *nest = context;

    (void)open_hanging(nest);
    gate_raise(nest->gate);
    for (;;)
        pause();
}

static void stop_all(pid_t parent)
{
    pid_t children[HUNT_WORKERS_MAX];
    int count = hunt_children(parent, children, HUNT_WORKERS_MAX);

    for (int i = 0; i < count; i++) {
        ck_assert(hunt_signal(parent, children[i], SIGSTOP));
        stop_all(children[i]);
    }
}

/* Also where everything else is stopped: the kernel sets each nursery going. */
TEST(a_killed_program_takes_all_levels_along, .loop_end = 2)
{
    struct nest *nest = nest_new();
    int ours, end = pipe_for_all(&ours);
    struct child program;

    orphans_adopt();
    nest->gate = gate_new();
    program = child_start(hold_nest, nest);
    close(ours);
    gate_await(nest->gate, WIDTH * WIDTH * WIDTH + 1);
    if (loop_index == 1)
        stop_all(program.pid);
    child_kill(&program);
    await_end(end);
    orphans_reap();
    tine_free(nest);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

static int open_and_close(tine_call *call)
{
    tine_pool *pool = pool_of(1);

    (void)call;
    ck_assert_rc(tine_pool_for(pool, 1, do_nothing, NULL), 0);
    tine_pool_close(pool);
    return 0;
}

static int ignore_item(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    return 0;
}

static int say_much(tine_call *call)
{
    char text[100];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    return tine_return(call, "s", text);
}

static int refuse(tine_call *call)
{
    return tine_fail(call, -EDOM, "on purpose");
}

static int get_ready(void *context, void **state)
{
    (void)context, (void)state;
    return 0;
}

static void hear_of_end(tine_pool *pool, const tine_worker_exit *end, void *user)
{
    (void)pool, (void)end, (void)user;
}

/* Jobs of many kinds: done and not seen to be, waiting, running. */
static void submit_all(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_job_options hanging = {.context = &gate, .context_size = sizeof gate, .key = 1};
    tine_job_options behind = {.key = 1, .retries = 1};
    tine_job_options urgent = {.priority = TINE_PRIORITY_MIN};
    int32_t values[100] = {0};
    tine_map map = {.item = ignore_item, .in = values, .in_size = sizeof values[0], .n = 100};
    tine_buffer args = {0};
    tine_future *futures[4], *other;

    for (int i = 0; i < 40; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap_async(&futures[0], pool, say_much, &args, NULL), 0);
    tine_buffer_free(&args);
    ck_assert_rc(tine_pool_submit(&futures[1], pool, refuse, &urgent, "s", "an argument"), 0);
    ck_assert_rc(tine_pool_submit(&futures[2], pool, say_much, NULL, ""), 0);
    ck_assert_rc(tine_pool_map_async(&futures[3], pool, &map, &options), 0);
    for (int i = 0; i < 4; i++)
        while (!tine__job_done(futures[i]->job))
            tine__cpu_relax();
    ck_assert_rc(tine_pool_submit(&other, pool, hang_at_gate, &hanging, ""), 0);
    for (int i = 0; i < 200; i++)
        ck_assert_rc(tine_pool_submit(&other, pool, say_much, &behind, "q", (int64_t)i), 0);
}

static int fill_and_hang(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2,
                                                            .initializer = get_ready,
                                                            .context = &gate,
                                                            .context_size = sizeof gate,
                                                            .on_worker_exit = hear_of_end}),
                 0);
    if (gate != NULL) {
        submit_all(pool, gate);
        gate_raise(gate);
        gate_await(gate, UINT32_MAX);
    }
    tine_pool_close(pool);
    return 0;
}

static void fill_and_kill(tine_pool *pool, struct gate *gate, uint32_t raised)
{
    tine_future *future;

    ck_assert_rc(
        tine_pool_submit(&future, pool, fill_and_hang,
                         &(tine_job_options){.context = &gate, .context_size = sizeof gate}, ""),
        0);
    gate_await(gate, raised + 2);
    ck_assert_rc(tine_future_cancel(future, TINE_CANCEL_RUNNING), 1);
    tine_future_close(future);
}

/* After another job, with which what was still in use of the one before is freed. */
static uint64_t blocks_after_another(tine_pool *pool)
{
    struct gate *none = NULL;
    tine_job_options options = {.context = &none, .context_size = sizeof none};
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, fill_and_hang, &options, ""), 0);
    tine_results_close(results);
    return heap_blocks();
}

/* Its nursery sees to it; but not to what it shares itself with who has had it executed. */
TEST(the_pool_of_a_killed_worker_leaves_no_memory)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    /* with what the family keeps from its second pool on */
    uint64_t before = blocks_after_another(pool);

    for (uint32_t i = 0; i < 3; i++) {
        fill_and_kill(pool, gate, 2 * i);
        before += pools_with() != WITH_FORK;
        ck_assert_eventually(blocks_after_another(pool) <= before);
    }
    tine_pool_close(pool);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *open_pools(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        tine_pool *pool = pool_of(1);
        tine_results *results;

        ck_assert_rc(tine_pool_apply(&results, pool, open_and_close, NULL, ""), 0);
        tine_results_close(results);
        tine_pool_close(pool);
    }
    return NULL;
}

/* Each is forked while others open and close theirs, whose locks are none of its. */
TEST(workers_of_a_threaded_program_open_pools)
{
    pthread_t threads[4];

    if (is_instrumented())
        SKIP("the sanitizer's malloc, unlike glibc's, may be locked for ever in a fork");
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, open_pools, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

SUITE_OF_POOLS("pool/nested")
