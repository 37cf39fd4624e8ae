/* SPDX-License-Identifier: MIT */
/* What workers do first and last, what becomes of a pool where that fails, and their ends. */
#include <tine/worker.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* What the workers of a test leave behind. */
struct traces {
    _Atomic int begun, ended;
    _Atomic pid_t first;
    struct gate gate;
};

/* A worker's state. */
struct state {
    pid_t pid;
    int index;
    struct traces *traces;
};

static struct traces *traces_new(void)
{
    struct traces *traces = tine_calloc(1, sizeof *traces);

    ck_assert_ptr_nonnull(traces);
    return traces;
}

static int begin(void *context, void **state)
{
    struct state *made = malloc(sizeof *made);

    ck_assert_ptr_nonnull(made);
    *made = (struct state){
        .pid = getpid(), .index = tine_worker_index(), .traces = *(struct traces **)context};
    ck_assert_int_ge(made->index, 0);
    atomic_fetch_add(&made->traces->begun, 1);
    *state = made;
    return 0;
}

static void end(void *context, void *state)
{
    struct state *made = state;

    ck_assert_ptr_eq(made->traces, *(struct traces **)context);
    ck_assert_int_eq(made->pid, getpid());
    ck_assert_int_eq(made->index, tine_worker_index());
    atomic_fetch_add(&made->traces->ended, 1);
    free(made);
}

static tine_pool *open_with(int32_t workers, tine_initializer *initializer,
                            tine_finalizer *finalizer, struct traces *traces)
{
    tine_pool_options options = {.workers = workers,
                                 .initializer = initializer,
                                 .finalizer = finalizer,
                                 .context = &traces,
                                 .context_size = sizeof traces};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    return pool;
}

static int64_t call(tine_pool *pool, tine_function *function)
{
    tine_results *results;
    int64_t number = -1;

    ck_assert_rc(tine_pool_apply(&results, pool, function, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "q", &number), 0);
    tine_results_close(results);
    return number;
}

static int return_nil(tine_call *call)
{
    (void)call;
    return 0;
}

static int return_pid(tine_call *call)
{
    return tine_return(call, "q", (int64_t)getpid());
}

static int apply(tine_pool *pool, tine_function *function, tine_failure *failure)
{
    tine_job_options options = {.failure = failure};
    tine_results *results;
    int rc = tine_pool_apply(&results, pool, function, &options, "");

    if (rc == 0)
        tine_results_close(results);
    return rc;
}

/* ---- state ----------------------------------------------------------------------------------- */

static int return_state_pid(tine_call *call)
{
    const struct state *state = tine_worker_state();

    return tine_return(call, "q", state->pid == getpid() ? (int64_t)state->pid : -1);
}

static int look_at_state(size_t first, size_t last, void *context)
{
    const struct state *state = tine_worker_state();

    (void)first, (void)last, (void)context;
    return state->pid == getpid() ? 0 : -EBADF;
}

TEST(each_worker_has_a_state_of_its_own)
{
    struct traces *traces = traces_new();
    tine_pool *pool = open_with(2, begin, end, traces);

    ck_assert_int_gt(call(pool, return_state_pid), 0);
    ck_assert_rc(tine_pool_for(pool, 1000, look_at_state, NULL), 0);
    ck_assert_ptr_null(tine_worker_state());
    tine_pool_close(pool);
    tine_free(traces);
}

static int return_no_state(tine_call *call)
{
    return tine_return(call, "q", (int64_t)(tine_worker_state() == NULL));
}

TEST(without_an_initializer_there_is_no_state)
{
    tine_pool *pool = pool_of(1);

    ck_assert_int_eq(call(pool, return_no_state), 1);
    tine_pool_close(pool);
}

static int die(tine_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

TEST(a_worker_that_replaces_a_dead_one_is_initialized)
{
    struct traces *traces = traces_new();
    tine_pool *pool = open_with(1, begin, NULL, traces);
    int64_t first = call(pool, return_state_pid);
    tine_failure failure;

    ck_assert_rc(apply(pool, die, NULL), TINE_EWORKER);
    ck_assert_int_ne(call(pool, return_state_pid), first);
    ck_assert_int_eq(traces->begun, 2);
    ck_assert_rc(tine_pool_failure(pool, &failure), 0);
    tine_pool_close(pool);
    tine_free(traces);
}

static int read_context(void *context, void **state)
{
    *state = context;
    return strcmp(context, "as it was") == 0 ? 0 : -EBADMSG;
}

static int return_context(tine_call *call)
{
    return tine_return(call, "s", (const char *)tine_worker_state());
}

TEST(the_context_is_copied_by_value)
{
    char text[] = "as it was";
    tine_pool_options options = {
        .workers = 1, .initializer = read_context, .context = text, .context_size = sizeof text};
    tine_results *results;
    const char *seen;
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    memset(text, 'x', sizeof text - 1);
    ck_assert_rc(tine_pool_apply(&results, pool, return_context, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "s", &seen), 0);
    ck_assert_str_eq(seen, "as it was");
    tine_results_close(results);
    tine_pool_close(pool);
}

static void nothing_to_end(void *context, void *state)
{
    (void)context, (void)state;
}

TEST(bad_options_are_refused)
{
    tine_pool *pool = NULL;
    char byte = 0;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.context = &byte, .context_size = 1}),
                 -EINVAL);
    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.finalizer = nothing_to_end, .context = &byte}),
        -EINVAL);
    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.initializer = begin, .context_size = 1}),
        -EINVAL);
    ck_assert_ptr_null(pool);
}

TEST(nothing_is_left_in_the_heap)
{
    struct traces *traces = traces_new();
    uint64_t blocks = heap_blocks();
    tine_pool *pool = open_with(2, begin, end, traces);

    (void)call(pool, return_pid);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
    tine_free(traces);
}

/* ---- the finalizer --------------------------------------------------------------------------- */

TEST(the_finalizer_runs_in_every_worker_that_leaves)
{
    struct traces *traces = traces_new();
    tine_pool *pool = open_with(3, begin, end, traces);

    ck_assert_eventually(atomic_load(&traces->begun) == 3);
    ck_assert_int_eq(traces->ended, 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(traces->ended, 3);
    tine_pool_close(pool);
    ck_assert_int_eq(traces->ended, 3);
    tine_free(traces);
}

TEST(it_does_not_run_in_workers_that_are_killed)
{
    struct traces *traces = traces_new();
    tine_pool *pool = open_with(2, begin, end, traces);

    (void)call(pool, return_pid);
    ck_assert_rc(apply(pool, die, NULL), TINE_EWORKER);
    (void)tine_pool_terminate(pool);
    tine_pool_close(pool);
    ck_assert_int_eq(traces->ended, 0);
    tine_free(traces);
}

static void end_of_state(void *context, void *state)
{
    (void)context, (void)state;
    printf("and last");
}

static int print_first(void *context, void **state)
{
    (void)context, (void)state;
    printf("first ");
    return 0;
}

TEST(what_it_prints_is_flushed)
{
    char text[64] = "";
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    tine_pool *pool;

    ck_assert_ptr_nonnull(file);
    fflush(stdout);
    ck_assert_int_ge(dup2(fileno(file), STDOUT_FILENO), 0);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1,
                                                            .initializer = print_first,
                                                            .finalizer = end_of_state}),
                 0);
    ck_assert_rc(apply(pool, return_nil, NULL), 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    rewind(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
    ck_assert_str_eq(text, "first and last");
    fclose(file);
}

/* ---- initializers that fail ------------------------------------------------------------------ */

static int fail_with_words(void *context, void **state)
{
    (void)context, (void)state;
    return tine_worker_fail(-ENOENT, "no model number %d", 7);
}

static int fail_silently(void *context, void **state)
{
    (void)context, (void)state;
    return -EDOM;
}

static int be_killed(void *context, void **state)
{
    (void)context, (void)state;
    raise(SIGKILL);
    return 0;
}

/* What its child returns is no word of the worker's. */
static int be_killed_beside_a_fork(void *context, void **state)
{
    pid_t child = fork();

    if (child == 0)
        return -EDOM;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue;
    return be_killed(context, state);
}

static int exit_early(void *context, void **state)
{
    (void)context, (void)state;
    exit(3);
}

static const struct bad_start {
    tine_initializer *initializer;
    const char *words;
    int error, signal, exit_status;
} bad_starts[] = {
    {fail_with_words, "no model number 7", -ENOENT, 0, 1},
    {fail_silently, "the initializer failed: ", -EDOM, 0, 1},
    {be_killed, "was killed by signal 9", 0, SIGKILL, -1},
    {be_killed_beside_a_fork, "was killed by signal 9", 0, SIGKILL, -1},
    {exit_early, "exited with status 3", 0, 0, 3},
};

static void assert_says(const tine_failure *failure, const struct bad_start *start)
{
    ck_assert_int_eq(failure->code, TINE_EBROKEN);
    ck_assert_int_eq(failure->error, start->error);
    ck_assert_int_eq(failure->signal, start->signal);
    ck_assert_int_eq(failure->exit_status, start->exit_status);
    ck_assert_int_gt(failure->pid, 0);
    ck_assert_int_ge(failure->worker, 0);
    ck_assert_msg(strstr(failure->message, start->words) != NULL, "%s", failure->message);
}

TEST(one_that_fails_breaks_the_pool_once, .loop_end = sizeof bad_starts / sizeof bad_starts[0])
{
    const struct bad_start *start = &bad_starts[loop_index];
    uint64_t blocks = heap_blocks();
    tine_failure failure = {0}, again = {0};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(
                     &pool, &(tine_pool_options){.workers = 2, .initializer = start->initializer}),
                 0);
    ck_assert_rc(apply(pool, return_nil, &failure), TINE_EBROKEN);
    assert_says(&failure, start);
    ck_assert_rc(apply(pool, return_nil, &again), TINE_EBROKEN);
    assert_says(&again, start);
    ck_assert_int_eq(again.pid, failure.pid);
    ck_assert_rc(tine_pool_failure(pool, &again), 1);
    assert_says(&again, start);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), TINE_EBROKEN);
    ck_assert_uint_le(pool_counts(pool).started, 2);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(all_that_waits_fails_with_its_message)
{
    struct traces *traces = traces_new();
    tine_future *futures[3];
    tine_failure failure;
    tine_pool *pool;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.workers = 1, .initializer = fail_with_words}),
        0);
    for (int i = 0; i < 3; i++)
        if (tine_pool_submit(&futures[i], pool, return_nil, NULL, "") < 0)
            futures[i] = NULL; /* it had failed already */
    for (int i = 0; i < 3; i++) {
        if (futures[i] == NULL)
            continue;
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, NULL), TINE_EBROKEN);
        ck_assert_rc(tine_future_exception(futures[i], 0, &failure), 1);
        ck_assert_str_eq(failure.message, "no model number 7");
        tine_future_close(futures[i]);
    }
    tine_pool_close(pool);
    tine_free(traces);
}

TEST(loops_say_why_as_well)
{
    struct tally *tally = tally_new(10);
    tine_failure failure = {0};
    tine_job_options options = {
        .context = &tally, .context_size = sizeof tally, .failure = &failure};
    tine_pool *pool;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.workers = 1, .initializer = fail_with_words}),
        0);
    for (int i = 0; i < 2; i++) {
        memset(&failure, 0, sizeof failure);
        ck_assert_rc(tine_pool_for(pool, 10, tally_count, &options), TINE_EBROKEN);
        ck_assert_str_eq(failure.message, "no model number 7");
    }
    tine_pool_close(pool);
    tine_free(tally);
}

/* The first worker gets ready, those after it do not. */
static int only_the_first(void *context, void **state)
{
    struct traces *traces = *(struct traces **)context;
    pid_t none = 0;

    (void)state;
    if (atomic_compare_exchange_strong(&traces->first, &none, getpid()))
        return 0;
    gate_await(&traces->gate, 1);
    return tine_worker_fail(-EBUSY, "there is room for one");
}

TEST(a_later_one_that_fails_breaks_the_pool_as_well)
{
    struct traces *traces = traces_new();
    tine_pool *pool = open_with(2, only_the_first, NULL, traces);
    tine_failure failure;

    ck_assert_int_eq(call(pool, return_pid), traces->first);
    ck_assert_rc(tine_pool_failure(pool, &failure), 0);
    gate_raise(&traces->gate);
    ck_assert_eventually(tine_pool_failure(pool, &failure) == 1);
    ck_assert_str_eq(failure.message, "there is room for one");
    tine_pool_close(pool);
    tine_free(traces);
}

static int fork_and_return(void *context, void **state)
{
    (void)context, (void)state;
    return fork() < 0 ? -errno : 0; /* both return from here */
}

TEST(a_fork_of_the_initializer_is_no_worker)
{
    tine_pool *pool;
    tine_failure failure;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.workers = 1, .initializer = fork_and_return}),
        0);
    for (int i = 0; i < 10; i++)
        ck_assert_rc(apply(pool, return_nil, NULL), 0);
    ck_assert_rc(tine_pool_failure(pool, &failure), 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
}

TEST(words_are_only_for_initializers)
{
    ck_assert_rc(tine_worker_fail(-EIO, "nobody listens"), -EIO);
    ck_assert_rc(tine_worker_fail(1, "no failure"), -EINVAL);
    ck_assert_rc(tine_worker_fail(-EIO, NULL), -EINVAL);
}

TEST(failure_refuses_what_is_no_pool)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(tine_pool_failure(NULL, &failure), -EINVAL);
    ck_assert_rc(tine_pool_failure(pool, NULL), -EINVAL);
    tine_pool_close(pool);
    ck_assert_rc(tine_pool_failure(pool, &failure), -EBADF);
}

static int kill_nursery(tine_call *call)
{
    (void)call;
    kill(getppid(), SIGKILL);
    return 0;
}

TEST(a_pool_whose_nursery_was_killed_says_so)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    (void)apply(pool, kill_nursery, NULL);
    ck_assert_eventually(tine_pool_failure(pool, &failure) == 1);
    ck_assert_str_eq(failure.message, "the pool's nursery died");
    ck_assert_int_eq(failure.code, TINE_EBROKEN);
    tine_pool_close(pool);
}

/* ---- ends of workers ------------------------------------------------------------------------- */

struct ends {
    int count;
    pid_t caller;
    tine_worker_exit exits[16];
};

static void note_end(tine_pool *pool, const tine_worker_exit *exit, void *user)
{
    struct ends *ends = user;

    ck_assert_ptr_nonnull(pool);
    ck_assert_int_eq(getpid(), ends->caller);
    ends->exits[ends->count++] = *exit;
}

static tine_pool *open_noting(int32_t workers, struct ends *ends, tine_worker_exit_cb *callback)
{
    tine_pool *pool;

    *ends = (struct ends){.caller = getpid()};
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = workers,
                                                            .on_worker_exit = callback,
                                                            .on_worker_exit_user = ends}),
                 0);
    return pool;
}

TEST(the_death_of_a_worker_is_told)
{
    struct ends ends;
    tine_pool *pool = open_noting(1, &ends, note_end);
    int64_t first = call(pool, return_pid);

    ck_assert_int_eq(ends.count, 0);
    ck_assert_rc(apply(pool, die, NULL), TINE_EWORKER);
    while (ends.count == 0)
        ck_assert_ok(tine_pool_run(pool, TINE_FOREVER));
    ck_assert_int_eq(ends.count, 1);
    ck_assert_int_eq(ends.exits[0].worker, 0);
    ck_assert_int_eq(ends.exits[0].pid, first);
    ck_assert_int_eq(ends.exits[0].signal, SIGKILL);
    ck_assert_int_eq(ends.exits[0].exit_status, -1);
    ck_assert_int_eq(ends.exits[0].asked, 0);
    tine_pool_close(pool);
}

TEST(workers_that_leave_are_told_of_by_the_join)
{
    uint64_t blocks = heap_blocks();
    struct ends ends;
    tine_pool *pool = open_noting(3, &ends, note_end);

    ck_assert_eventually(pool_counts(pool).alive == 3);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_eq(ends.count, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ends.exits[i].asked, 1);
        ck_assert_int_eq(ends.exits[i].signal, 0);
        ck_assert_int_eq(ends.exits[i].exit_status, 0);
        ck_assert_uint_gt(ends.exits[i].peak_rss_bytes, 0);
    }
    tine_pool_close(pool);
    ck_assert_int_eq(ends.count, 3);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(nothing_is_left_of_ends_that_nobody_was_told_of)
{
    uint64_t blocks = heap_blocks();
    struct ends ends;
    tine_pool *pool = open_noting(2, &ends, note_end);

    (void)tine_pool_terminate(pool);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

TEST(those_that_a_smaller_pool_dismisses_end_in_order)
{
    struct traces *traces = traces_new();
    struct ends ends = {.caller = getpid()};
    tine_pool_options options = {.workers = 3,
                                 .initializer = begin,
                                 .finalizer = end,
                                 .context = &traces,
                                 .context_size = sizeof traces,
                                 .on_worker_exit = note_end,
                                 .on_worker_exit_user = &ends};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_eventually(atomic_load(&traces->begun) == 3);
    ck_assert_rc(tine_pool_resize(pool, 1), 0);
    while (ends.count < 2)
        ck_assert_ok(tine_pool_run(pool, TINE_FOREVER));
    ck_assert_int_eq(traces->ended, 2);
    ck_assert_int_eq(ends.exits[0].asked, 1);
    ck_assert_int_eq(ends.exits[1].asked, 1);
    ck_assert_int_gt(call(pool, return_state_pid), 0);
    tine_pool_close(pool);
    tine_free(traces);
}

#define BURNT_NS TINE_MS(20)

static int burn(tine_call *call)
{
    struct timespec used;

    (void)call;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    while (TINE_SEC((int64_t)used.tv_sec) + used.tv_nsec < BURNT_NS);
    return 0;
}

TEST(the_cpu_time_of_a_worker_is_told)
{
    struct ends ends;
    tine_pool *pool = open_noting(1, &ends, note_end);

    ck_assert_rc(apply(pool, burn, NULL), 0);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_int_ge(ends.exits[0].cpu_ns, BURNT_NS - TINE_US(10));
    tine_pool_close(pool);
}

static void end_pool(tine_pool *pool, const tine_worker_exit *exit, void *user)
{
    note_end(pool, exit, user);
    ck_assert_rc(tine_pool_terminate(pool), 0);
}

TEST(the_callback_may_end_the_pool)
{
    struct ends ends;
    tine_pool *pool = open_noting(2, &ends, end_pool);
    int rc;

    (void)apply(pool, die, NULL);
    do
        rc = tine_pool_run(pool, TINE_FOREVER);
    while (rc > 0);
    ck_assert_rc(rc, -ESHUTDOWN);
    ck_assert_int_ge(ends.count, 1);
    ck_assert_rc(apply(pool, return_nil, NULL), -ESHUTDOWN);
    tine_pool_close(pool);
}

TEST(a_worker_that_fails_in_its_initializer_is_told_of)
{
    struct ends ends = {.caller = getpid()};
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1,
                                                            .initializer = fail_with_words,
                                                            .on_worker_exit = note_end,
                                                            .on_worker_exit_user = &ends}),
                 0);
    ck_assert_rc(apply(pool, return_nil, NULL), TINE_EBROKEN);
    tine_pool_close(pool);
    ck_assert_int_eq(ends.count, 1);
    ck_assert_int_eq(ends.exits[0].asked, 0);
    ck_assert_int_eq(ends.exits[0].exit_status, 1);
}

SUITE_OF_POOLS("pool/initialize")
