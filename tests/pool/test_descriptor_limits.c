/* SPDX-License-Identifier: MIT */
/* Descriptors as arguments: what is refused, shortage, and the ends of workers, nurseries and
   pools. */
#include <tine/pool.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tine/codec.h>

#include "tests/pool/descriptors.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- what is refused ------------------------------------------------------------------------- */

static int return_it(tine_call *call)
{
    ck_assert_rc(tine_return(call, "F", STDERR_FILENO), -EINVAL);
    return 0;
}

TEST(outside_of_arguments_there_are_no_descriptors)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;
    tine_job_options options = {.failure = &failure};
    tine_results *results = NULL;
    tine_buffer buffer = {0};
    int fd = -7;

    ck_assert_rc(tine_pack(&buffer, "F", STDERR_FILENO), -EINVAL);
    ck_assert_rc(tine_pack(&buffer, "n"), 0);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "F", &fd), -EINVAL);
    ck_assert_rc(tine_pool_apply(&results, pool, return_it, &options, ""), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EINVAL);
    ck_assert_int_eq(fd, -7);
    tine_buffer_free(&buffer);
    tine_pool_close(pool);
}

TEST(what_is_no_descriptor_is_refused_at_submission)
{
    tine_pool *pool = pool_of(1);
    tine_future *future = NULL;
    int closed = dup(STDERR_FILENO);

    close(closed);
    ck_assert_rc(tine_pool_submit(&future, pool, take_it, NULL, "F", closed), -EBADF);
    ck_assert_rc(tine_pool_submit(&future, pool, take_it, NULL, "F", -1), -EBADF);
    ck_assert_rc(tine_pool_submit(&future, pool, take_it, NULL, "F]", STDERR_FILENO), -EINVAL);
    ck_assert_ptr_null(future);
    for (int i = 0; i < KEPT_MAX; i++) /* none of those that failed has kept its place */
        ck_assert_rc(tine_pool_submit(&future, pool, take_it, NULL, "F!", STDERR_FILENO), -EINVAL);
    apply(pool, take_it, STDERR_FILENO);
    tine_pool_close(pool);
}

/* Sixteen of them, or one number and fifteen. */
static int submit_many(tine_future **future, tine_pool *pool, const char *format)
{
    return tine_pool_submit(future, pool, leave_it, NULL, format, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
                            2, 2, 2, 2, 2, 2);
}

TEST(a_call_has_sixteen_at_most)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;

    ck_assert_rc(submit_many(&future, pool, "FFFFFFFFFFFFFFFFF"), -EMFILE);
    ck_assert_rc(submit_many(&future, pool, "FFFFFFFFFFFFFFFF"), 0);
    await(future);
    tine_pool_close(pool);
}

TEST(too_many_in_waiting_calls_are_refused_until_some_have_run)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = occupy(pool, gate), *futures[KEPT_MAX / ARGUMENTS_MAX], *refused = NULL;
    size_t n = sizeof futures / sizeof futures[0];

    for (size_t i = 0; i < n; i++)
        ck_assert_rc(submit_many(&futures[i], pool, "FFFFFFFFFFFFFFFF"), 0);
    ck_assert_rc(submit_many(&refused, pool, "F"), -EAGAIN);
    ck_assert_ptr_null(refused);
    gate_raise(gate);
    await(first);
    for (size_t i = 0; i < n; i++)
        await(futures[i]);
    apply(pool, take_it, STDERR_FILENO);
    tine_pool_close(pool);
}

static int ask_for_another_shape(tine_call *call)
{
    int64_t number;
    int fd = -7;

    ck_assert_rc(tine_args(call, "q", &number), TINE_EFORMAT);
    ck_assert_rc(tine_args(call, "Fq", &fd, &number), TINE_EFORMAT);
    ck_assert_rc(tine_args(call, "p", &call), TINE_EFORMAT);
    ck_assert_int_eq(fd, -7);
    return 0;
}

static int ask_for_a_descriptor(tine_call *call)
{
    int fd;

    ck_assert_rc(tine_args(call, "F", &fd), TINE_EFORMAT);
    return 0;
}

TEST(a_descriptor_is_nothing_else_and_nothing_else_is_one)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;

    apply(pool, ask_for_another_shape, STDERR_FILENO);
    ck_assert_rc(tine_pool_apply(&results, pool, ask_for_a_descriptor, NULL, "i", 2), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* A number that nobody keeps, as bytes of another program may have it. */
TEST(a_number_that_is_not_kept_is_no_descriptor)
{
    static const uint8_t forged[] = {0xd7, 2, 99, 0, 0, 0, 0, 0, 0, 0};
    tine_pool *pool = pool_of(1);
    tine_failure failure;
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_apply(&results, pool, take_it, &(tine_job_options){.failure = &failure},
                                 "v", forged, sizeof forged),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EBADF);
    tine_pool_close(pool);
}

/* ---- shortage -------------------------------------------------------------------------------- */

static void limit_files(int soft, int hard)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)soft;
    if (hard > 0)
        limit.rlim_max = (rlim_t)hard;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int take_it_without_room(tine_call *call)
{
    struct rlimit before;
    int fd, rc;

    getrlimit(RLIMIT_NOFILE, &before);
    limit_files(3, 0);
    rc = tine_args(call, "F", &fd);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_rc(rc, -EMFILE);
    return tine_args(call, "F", &fd); /* it may ask again */
}

TEST(a_worker_without_room_for_it_is_told)
{
    tine_pool *pool = pool_of(1);

    apply(pool, take_it_without_room, STDERR_FILENO);
    tine_pool_close(pool);
}

/* More calls than the nursery has room for: those whose descriptor it could not take fail. */
static void flood_small_nursery(void *unused)
{
    struct gate *gate = gate_new();
    tine_future *first, *futures[60];
    int failed = 0, fds = proc_files(getpid());
    tine_pool *pool;

    (void)unused;
    limit_files(fds + 30, fds + 30);
    pool = pool_of(1);
    first = occupy(pool, gate);
    for (int i = 0; i < 60; i++)
        ck_assert_rc(tine_pool_submit(&futures[i], pool, take_it, NULL, "F", STDERR_FILENO), 0);
    gate_raise(gate);
    await(first);
    for (int i = 0; i < 60; i++) {
        int rc = tine_future_result(futures[i], TINE_FOREVER, "n");

        ck_assert_msg(rc == 0 || rc == TINE_EREMOTE, "call %d: %s", i, tine_errname(rc));
        failed += rc != 0;
        tine_future_close(futures[i]);
    }
    ck_assert_int_gt(failed, 0);
    ck_assert_int_lt(failed, 60);
    apply(pool, take_it, STDERR_FILENO);
    tine_pool_close(pool);
}

TEST(a_nursery_without_room_for_it_says_so_to_the_task)
{
    struct child child = child_start(flood_small_nursery, NULL);

    child_join(&child);
}

static int return_limit(tine_call *call)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    return tine_return(call, "Q", (uint64_t)limit.rlim_cur);
}

TEST(workers_have_the_programs_limit_of_descriptors)
{
    struct rlimit before;
    tine_results *results;
    tine_pool *pool;
    uint64_t limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit_files(200, 0);
    pool = pool_of(1);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, return_limit, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "Q", &limit), 0);
    ck_assert_uint_eq(limit, 200);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int die(tine_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

static int answer(tine_call *call)
{
    return tine_return(call, "q", INT64_C(42));
}

static void assert_deaths_are_seen(tine_pool *pool)
{
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, die, NULL, ""), TINE_EWORKER);
    ck_assert_rc(tine_pool_apply(&results, pool, answer, NULL, ""), 0);
    tine_results_close(results);
}

/* Polls only what it has open, however many places for workers there are. */
static void lose_worker_among_many_places(void *unused)
{
    int files = proc_files(getpid()) + 30;
    tine_pool *pool;

    (void)unused;
    limit_files(files, files);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2, .workers_max = 200}), 0);
    assert_deaths_are_seen(pool);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    tine_pool_close(pool);
}

TEST(with_more_places_than_descriptors_deaths_of_workers_are_seen)
{
    struct child child = child_start(lose_worker_among_many_places, NULL);

    child_join(&child);
}

static void leave_workers_among_many_places(void *fd)
{
    int files = proc_files(getpid()) + 30;
    tine_pool *pool;
    tine_results *results;

    limit_files(files, files);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2, .workers_max = 200}), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, answer, NULL, ""), 0);
    close(*(int *)fd);
    raise(SIGKILL);
}

TEST(with_more_places_than_descriptors_the_death_of_the_program_is_seen)
{
    struct child child;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    child = child_start(leave_workers_among_many_places, &ends[1]);
    close(ends[1]);
    child_wait(&child);
    assert_comes(ends[0], ""); /* when all have closed it, the last one by its end */
}

TEST(a_nursery_that_may_not_poll_them_all_sees_deaths_of_workers)
{
    struct rlimit none = {.rlim_max = 2, .rlim_cur = 2};
    tine_pool *pool = pool_of(2);

    ck_assert_eventually(pool_counts(pool).alive == 2); /* the second has a late start */
    ck_assert_int_eq(prlimit(nursery_of_mine(), RLIMIT_NOFILE, &none, NULL), 0);
    assert_deaths_are_seen(pool);
    tine_pool_close(pool);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Dies with it the first two times. */
static int die_with_it(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);
    int fd, rc = tine_args(call, "F", &fd);

    if (rc < 0)
        return rc;
    ck_assert_int_eq(write(fd, "x", 1), 1);
    gate_raise(gate);
    if (atomic_load(&gate->raised) <= 2)
        _exit(1);
    return 0;
}

TEST(who_runs_the_call_again_gets_it_again, .loop_end = 2)
{
    struct gate *gate = gate_new();
    tine_job_options options = {
        .context = &gate, .context_size = sizeof gate, .retries = loop_index + 1};
    tine_pool *pool = pool_of(2);
    tine_future *future;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, die_with_it, &options, "F", ends[1]), 0);
    close(ends[1]);
    assert_comes(ends[0], loop_index == 0 ? "xx" : "xxx");
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, NULL),
                 loop_index == 0 ? TINE_EWORKER : 0);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_call_that_never_runs_lets_go_of_it_with_its_pool)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = occupy(pool, gate), *second;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_rc(tine_pool_submit(&second, pool, write_text, NULL, "Fs", ends[1], "text"), 0);
    close(ends[1]);
    ck_assert_rc(tine_pool_terminate(pool), 0);
    assert_comes(ends[0], "");
    tine_future_close(first);
    tine_future_close(second);
    tine_pool_close(pool);
}

TEST(whoever_waits_for_a_stopped_nursery_hears_of_its_death)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = occupy(pool, gate), *future, *refused = NULL;
    pid_t nursery = nursery_of_mine();
    tine_failure failure;
    tine_job_options options = {.failure = &failure};
    int rc;

    ck_assert_int_eq(kill(nursery, SIGSTOP), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, take_it, &options, "F", STDERR_FILENO), 0);
    gate_raise(gate);
    await(first);
    ck_assert_rc(tine_future_wait(future, TINE_MS(20)), -ETIMEDOUT); /* it asks, and waits */
    ck_assert_int_eq(kill(nursery, SIGKILL), 0);
    rc = tine_future_result(future, TINE_FOREVER, NULL);
    ck_assert(rc == TINE_EWORKER || (rc == TINE_EREMOTE && failure.error == TINE_EBROKEN));
    ck_assert_rc(tine_pool_submit(&refused, pool, take_it, NULL, "F", STDERR_FILENO), TINE_EBROKEN);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(a_nursery_that_takes_nothing_more_refuses_the_call_in_a_second)
{
    tine_pool *pool = pool_of(1);
    tine_future *futures[KEPT_MAX];
    pid_t nursery = nursery_of_mine();
    int rc = 0, n = 0;

    ck_assert_int_eq(kill(nursery, SIGSTOP), 0);
    while (n < KEPT_MAX && rc == 0) {
        rc = tine_pool_submit(&futures[n], pool, leave_it, NULL, "F", STDERR_FILENO);
        n += rc == 0;
    }
    ck_assert(rc == 0 || rc == -EAGAIN);
    ck_assert_int_eq(kill(nursery, SIGCONT), 0);
    while (n > 0)
        await(futures[--n]);
    apply(pool, take_it, STDERR_FILENO);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/descriptor_limits")
