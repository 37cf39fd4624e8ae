/* SPDX-License-Identifier: MIT */
/* Descriptors as arguments: how they reach a task, whose they are, and when the last copy is
   closed. */
#include <tine/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/pipe.h>
#include <tine/queue.h>

#include "shm/keepalive.h"
#include "tests/pool/descriptors.h"
#include "tests/pool/pools.h"
#include "tests/support/hunt.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- tasks ----------------------------------------------------------------------------------- */

static int count_files(tine_call *call)
{
    return tine_return(call, "i", proc_files(getpid()));
}

/* ---- and their callers ----------------------------------------------------------------------- */

static int32_t files_of_worker(tine_pool *pool)
{
    tine_results *results;
    int32_t count;

    ck_assert_rc(tine_pool_apply(&results, pool, count_files, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "i", &count), 0);
    tine_results_close(results);
    return count;
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

/* Blocks, when what nobody holds any more has been swept: the last one may have been the
   nursery. */
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

static int take_it_and_fail(tine_call *call)
{
    int rc = take_it(call);

    return rc < 0 ? rc : -EDOM;
}

TEST(nothing_stays_open_whatever_the_task_does)
{
    tine_function *tasks[] = {take_it, take_it_and_fail, leave_it};
    tine_pool *pool = pool_of(1);
    int32_t in_worker = files_of_worker(pool);
    pid_t nursery = nursery_of_mine();
    int in_nursery;

    ck_assert_eventually(pool_counts(pool).started == 1); /* the nursery has done its part */
    in_nursery = proc_files(nursery);
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
    ck_assert_eventually(proc_files(nursery) == in_nursery);
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

SUITE_OF_POOLS("pool/descriptor")
