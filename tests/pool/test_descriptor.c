/* SPDX-License-Identifier: MIT */
/* Descriptors as arguments: how they reach a task, whose they are, and when the last copy is closed. */
#include <tine/pool.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/pipe.h>
#include <tine/queue.h>

#include "shm/keepalive.h"
#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define ARGUMENTS_MAX 16  /* `F` in one call */
#define KEPT_MAX      256 /* in all unfinished calls */

/* ---- tasks ----------------------------------------------------------------------------------- */

static int write_text(tine_call *call)
{
    const char *text;
    int fd, rc = tine_args(call, "Fs", &fd, &text);

    if (rc < 0)
        return rc;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int open_files(pid_t pid)
{
    char path[32];
    DIR *directory;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    while (proc_next(directory) >= 0)
        count++;
    closedir(directory);
    return count;
}

static int count_files(tine_call *call)
{
    return tine_return(call, "i", open_files(getpid()));
}

/* Its context is the address of a gate: raised once, it waits for the second time. */
static int pass_gate(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, 2);
    return 0;
}

/* ---- and their callers ----------------------------------------------------------------------- */

static tine_future *occupy(tine_pool *pool, struct gate *gate)
{
    tine_job_options options = {.context = &gate, .context_size = sizeof gate};
    tine_future *future;

    ck_assert_rc(tine_pool_submit(&future, pool, pass_gate, &options, ""), 0);
    gate_await(gate, 1);
    return future;
}

static void await(tine_future *future)
{
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "n"), 0);
    tine_future_close(future);
}

static void apply(tine_pool *pool, tine_function *task, int fd)
{
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, task, NULL, "F", fd), 0);
    tine_results_close(results);
}

static int32_t files_of_worker(tine_pool *pool)
{
    tine_results *results;
    int32_t count;

    ck_assert_rc(tine_pool_apply(&results, pool, count_files, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "i", &count), 0);
    tine_results_close(results);
    return count;
}

/* All that is written until nobody can write any more. */
static void assert_comes(int fd, const char *expected)
{
    char text[100] = "";
    size_t size = 0;
    ssize_t got;

    while ((got = read(fd, text + size, sizeof text - size)) > 0)
        size += (size_t)got;
    ck_assert_int_eq(got, 0);
    ck_assert_str_eq(text, expected);
    close(fd);
}

static pid_t nursery_of_mine(void)
{
    struct hunt hunt = {0};

    hunt_begin(&hunt, getpid());
    return hunt.nursery;
}

/* ---- the way --------------------------------------------------------------------------------- */

TEST(a_task_writes_to_what_was_opened_after_the_pool)
{
    tine_pool *pool = pool_of(2);
    tine_results *results;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, write_text, NULL, "Fs", ends[1], "one, "), 0);
    tine_results_close(results);
    ck_assert_rc(tine_pool_apply(&results, pool, write_text, NULL, "Fs", ends[1], "two"), 0);
    tine_results_close(results);
    close(ends[1]);
    assert_comes(ends[0], "one, two");
    tine_pool_close(pool);
}

/* Without a look at the future: nobody but the task may keep the pipe open. */
TEST(the_reader_sees_the_end_when_the_task_has_returned, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);

    for (int i = 0; i < 100; i++) {
        tine_future *future;
        int ends[2];

        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_rc(tine_pool_submit(&future, pool, write_text, NULL, "Fs", ends[1], "text"), 0);
        close(ends[1]); /* at once: the call has its own */
        if (loop_index == 1)
            tine_future_close(future);
        assert_comes(ends[0], "text");
        if (loop_index == 0)
            await(future);
    }
    tine_pool_close(pool);
}

/* Both ends of a connection, among other arguments and inside an array. */
static int answer_twice(tine_call *call)
{
    int64_t number;
    int in, out;
    char byte;
    int rc = tine_args(call, "q[F{sF}]", &number, &in, NULL, &out);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 2; i++)
        if (read(in, &byte, 1) != 1 || write(out, &byte, 1) != 1)
            return -EIO;
    return tine_return(call, "q", number + 1);
}

TEST(several_descriptors_among_other_arguments)
{
    tine_pool *pool = pool_of(1);
    tine_future *future;
    int in[2], out[2];
    int64_t number;
    char bytes[3] = "";

    ck_assert_int_eq(pipe(in), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, answer_twice, NULL, "q[F{sF}]", (int64_t)41, in[0],
                                  "key", out[1]),
                 0);
    close(in[0]);
    close(out[1]);
    ck_assert_int_eq(write(in[1], "ab", 2), 2);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 42);
    ck_assert_int_eq(read(out[0], bytes, 2), 2);
    ck_assert_str_eq(bytes, "ab");
    tine_future_close(future);
    close(in[1]);
    close(out[0]);
    tine_pool_close(pool);
}

/* ---- connections and queues ------------------------------------------------------------------ */

/* Answers numbers with their squares until nobody asks any more. */
static int answer_squares(tine_call *call)
{
    tine_connection *connection, *same;
    int64_t number, answered = 0;
    int rc = tine_args(call, "oc", &connection);

    if (rc < 0)
        return rc;
    ck_assert_rc(tine_args(call, "oc", &same), 0);
    ck_assert_ptr_eq(same, connection);
    for (; (rc = tine_connection_recv(connection, TINE_FOREVER, "q", &number)) == 0; answered++)
        ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number * number), 0);
    return rc == TINE_EEOF ? tine_return(call, "q", answered) : rc;
}

TEST(a_connection_that_was_made_after_the_pool_reaches_the_task)
{
    tine_pool *pool = pool_of(2);
    tine_connection *here, *there;
    tine_future *future;
    int64_t square = 0, answered = 0;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, answer_squares, NULL, "oc", there), 0);
    tine_connection_close(there); /* at once: the call has its own */
    for (int64_t i = 0; i < 10; i++) {
        ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "q", i), 0);
        ck_assert_rc(tine_connection_recv(here, TINE_FOREVER, "q", &square), 0);
        ck_assert_int_eq(square, i * i);
    }
    tine_connection_close(here);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "q", &answered), 0);
    ck_assert_int_eq(answered, 10);
    tine_future_close(future);
    tine_pool_close(pool);
}

/* A producer, into a queue that the pool has not inherited. */
static int put_squares(tine_call *call)
{
    tine_queue *queue;
    int64_t count;
    int rc = tine_args(call, "oqq", &queue, &count);

    for (int64_t i = 0; i < count && rc == 0; i++)
        rc = tine_queue_put(queue, TINE_FOREVER, "q", i * i);
    return rc;
}

TEST(a_queue_that_was_made_after_the_pool_reaches_the_task)
{
    tine_pool *pool = pool_of(2);
    tine_queue *queue;
    tine_future *future;
    int64_t square = 0;

    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.maxsize = 10}), 0);
    ck_assert_rc(tine_pool_submit(&future, pool, put_squares, NULL, "oqq", queue, (int64_t)100), 0);
    for (int64_t i = 0; i < 100; i++) {
        ck_assert_rc(tine_queue_get(queue, TINE_FOREVER, "q", &square), 0);
        ck_assert_int_eq(square, i * i);
    }
    await(future);
    tine_queue_close(queue);
    tine_pool_close(pool);
}

static int send_and_leave(tine_call *call)
{
    tine_connection *connection;
    int rc = tine_args(call, "oc", &connection);

    return rc < 0 ? rc : tine_connection_send(connection, TINE_FOREVER, "s", "text");
}

static int die_with_connection(tine_call *call)
{
    tine_connection *connection;

    ck_assert_rc(tine_args(call, "oc", &connection), 0);
    return raise(SIGKILL);
}

/* Blocks, when what nobody holds any more has been swept: the last one may have been the nursery. */
static uint64_t blocks_left(void)
{
    tine__keepalive_sweep();
    return heap_blocks();
}

/* Whoever is left sees the end, and nothing stays: no descriptor, no memory. */
TEST(a_connection_ends_with_the_task_that_had_it, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    uint64_t blocks = heap_blocks();

    for (int i = 0; i < 20; i++) {
        tine_connection *here, *there;
        tine_future *future;
        char *text = NULL;

        ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
        ck_assert_rc(tine_pool_submit(&future, pool,
                                      loop_index == 0 ? send_and_leave : die_with_connection, NULL,
                                      "oc", there),
                     0);
        tine_connection_close(there);
        if (loop_index == 0) {
            ck_assert_rc(tine_connection_recv(here, TINE_FOREVER, "s", &text), 0);
            ck_assert_str_eq(text, "text");
            free(text);
        }
        ck_assert_rc(tine_connection_recv(here, TINE_FOREVER, "s", &text), TINE_EEOF);
        ck_assert_rc(tine_future_result(future, TINE_FOREVER, "n"),
                     loop_index == 0 ? 0 : TINE_EWORKER);
        tine_future_close(future);
        tine_connection_close(here);
    }
    ck_assert_eventually(blocks_left() <= blocks + 3); /* a task, tickets, the register of pipes */
    tine_pool_close(pool);
}

/* ---- whose it is ----------------------------------------------------------------------------- */

static int kept_back = -1;

static int look_twice(tine_call *call)
{
    int first, second;

    ck_assert_rc(tine_args(call, "F", NULL), 0);
    ck_assert_rc(tine_args(call, "F", &first), 0);
    ck_assert_rc(tine_args(call, "F", &second), 0);
    ck_assert_int_eq(first, second);
    ck_assert_int_eq(fcntl(first, F_GETFD), FD_CLOEXEC);
    kept_back = dup(first);
    return 0;
}

static int write_to_kept(tine_call *call)
{
    (void)call;
    ck_assert_int_eq(write(kept_back, "kept", 4), 4);
    close(kept_back);
    return 0;
}

TEST(a_task_has_it_until_it_returns_and_its_copy_for_longer)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    apply(pool, look_twice, ends[1]);
    close(ends[1]);
    ck_assert_rc(tine_pool_apply(&results, pool, write_to_kept, NULL, ""), 0);
    tine_results_close(results);
    assert_comes(ends[0], "kept");
    tine_pool_close(pool);
}

static int take_it(tine_call *call)
{
    int fd;

    return tine_args(call, "F", &fd);
}

static int take_it_and_fail(tine_call *call)
{
    int rc = take_it(call);

    return rc < 0 ? rc : -EDOM;
}

static int leave_it(tine_call *call)
{
    (void)call;
    return 0;
}

TEST(nothing_stays_open_whatever_the_task_does)
{
    tine_function *tasks[] = {take_it, take_it_and_fail, leave_it};
    tine_pool *pool = pool_of(1);
    int32_t in_worker = files_of_worker(pool);
    pid_t nursery = nursery_of_mine();
    int in_nursery;

    ck_assert_eventually(pool_counts(pool).started == 1); /* the nursery has done its part */
    in_nursery = open_files(nursery);
    for (int i = 0; i < 300; i++) {
        tine_function *task = tasks[i % 3];
        const char *format = i % 2 == 0 ? "F" : "FF"; /* two are more than it asks for */
        int expected = task == leave_it  ? 0
                       : i % 2 != 0      ? TINE_EFORMAT
                       : task == take_it ? 0
                                         : TINE_EREMOTE;
        tine_results *results = NULL;

        ck_assert_rc(tine_pool_apply(&results, pool, task, NULL, format, 2, 2), expected);
        tine_results_close(results);
    }
    ck_assert_int_eq(files_of_worker(pool), in_worker);
    ck_assert_eventually(open_files(nursery) == in_nursery);
    tine_pool_close(pool);
}

/* A worker that is forked while descriptors are kept has none of them. */
TEST(a_new_worker_does_not_keep_it_open)
{
    struct gate *gate = gate_new();
    tine_pool *pool = pool_of(1);
    tine_future *first = occupy(pool, gate), *second;
    struct hunt hunt = {0};
    int ends[2];

    hunt_begin(&hunt, getpid());
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_rc(tine_pool_submit(&second, pool, write_text, NULL, "Fs", ends[1], "text"), 0);
    close(ends[1]);
    ck_assert_int_ne(hunt_kill(&hunt, 0), 0);
    assert_comes(ends[0], "text");
    await(second);
    ck_assert_rc(tine_future_result(first, TINE_FOREVER, NULL), TINE_EWORKER);
    tine_future_close(first);
    tine_pool_close(pool);
}

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
    int failed = 0, fds = open_files(getpid());
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

SUITE("pool/descriptor")
