/* SPDX-License-Identifier: MIT */
/* Arguments of processes: numbers, texts, pointers, functions, descriptors, connections, queues. */
#include <tine/process.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/lock.h>
#include <tine/pipe.h>
#include <tine/queue.h>

#include "tests/pool/processes.h"
#include "tests/support/suite.h"

static tine_process_options way(int loop_index)
{
    return (tine_process_options){.start = start_method(loop_index)};
}

static int check_plain(tine_call *call)
{
    int64_t number;
    const char *text;
    double real;

    ck_assert_rc(tine_args(call, "qsd", &number, &text, &real), 0);
    ck_assert_int_eq(number, -3);
    ck_assert_str_eq(text, "three");
    ck_assert(real > 2.9 && real < 3.1);
    ck_assert_rc(tine_args(call, "q", &number), TINE_EFORMAT);
    ck_assert_ptr_null(tine_call_context(call));
    ck_assert_uint_eq(tine_call_index(call), 0);
    return 0;
}

TEST(numbers_and_texts_arrive, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    tine_process *process;

    ck_assert_rc(
        tine_process_start(&process, check_plain, &options, "qsd", INT64_C(-3), "three", 3.0), 0);
    ck_assert_int_eq(process_end(process), 0);
}

static int sum_bytes(tine_call *call)
{
    const void *bytes;
    size_t size;
    uint64_t sum = 0, *result;

    ck_assert_rc(tine_args(call, "yp", &bytes, &size, &result), 0);
    for (size_t i = 0; i < size; i++)
        sum += ((const uint8_t *)bytes)[i];
    *result = sum;
    return 0;
}

TEST(large_arguments_arrive, .loop_end = START_METHODS)
{
    enum { SIZE = 3 << 20 };
    tine_process_options options = way(loop_index);
    uint64_t *sum = tine_calloc(1, sizeof *sum), blocks = heap_blocks();
    char *bytes = malloc(SIZE);
    tine_process *process;

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 2, SIZE);
    ck_assert_rc(tine_process_start(&process, sum_bytes, &options, "yp", bytes, (size_t)SIZE, sum),
                 0);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_uint_eq(*sum, 2 * SIZE);
    ck_assert_uint_le(heap_blocks(), blocks);
    free(bytes);
    tine_free(sum);
}

struct counter {
    tine_lock lock;
    int count;
};

static int count_up(tine_call *call)
{
    struct counter *counter;

    ck_assert_rc(tine_args(call, "p", &counter), 0);
    for (int i = 0; i < 1000; i++) {
        ck_assert_rc(tine_lock_acquire(&counter->lock, TINE_FOREVER), 0);
        counter->count++;
        ck_assert_rc(tine_lock_release(&counter->lock), 0);
    }
    return 0;
}

TEST(pointers_to_locks_work, .loop_end = START_METHODS)
{
    struct counter *counter = tine_calloc(1, sizeof *counter);
    tine_process *processes[4];

    ck_assert_rc(tine_lock_init(&counter->lock, NULL), 0);
    for (int i = 0; i < 4; i++)
        processes[i] = process_with(count_up, start_method(loop_index), counter);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(process_end(processes[i]), 0);
    ck_assert_int_eq(counter->count, 4000);
    tine_lock_fini(&counter->lock);
    tine_free(counter);
}

static int64_t square(int64_t n)
{
    return n * n;
}

static int call_function(tine_call *call)
{
    tine_any_function *function;
    int64_t n, *result;

    ck_assert_rc(tine_args(call, "cqp", &function, &n, &result), 0);
    *result = ((int64_t(*)(int64_t))function)(n);
    return 0;
}

TEST(functions_arrive, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    int64_t *result = tine_calloc(1, sizeof *result);
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, call_function, &options, "cqp",
                                    (tine_any_function *)square, INT64_C(12), result),
                 0);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_int_eq(*result, 144);
    tine_free(result);
}

static int write_twice(tine_call *call)
{
    int first, second, again;

    ck_assert_rc(tine_args(call, "FF", &first, &second), 0);
    ck_assert_rc(tine_args(call, "FF", &again, NULL), 0);
    ck_assert_int_eq(first, again);
    ck_assert_int_eq(fcntl(first, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(write(first, "one ", 4), 4);
    ck_assert_int_eq(write(second, "two", 3), 3);
    return 0;
}

static void assert_comes(int fd, const char *text)
{
    char got[64] = "";
    size_t size = 0;
    ssize_t n;

    while ((n = read(fd, got + size, sizeof got - 1 - size)) > 0)
        size += (size_t)n;
    ck_assert_str_eq(got, text);
}

TEST(descriptors_arrive, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    tine_process *process;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_rc(tine_process_start(&process, write_twice, &options, "FF", ends[1], ends[1]), 0);
    close(ends[1]);
    ck_assert_int_eq(process_end(process), 0);
    assert_comes(ends[0], "one two");
    close(ends[0]);
}

static int send_text(tine_call *call)
{
    tine_connection *connection;

    ck_assert_rc(tine_args(call, "oc", &connection), 0);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "s", "text"), 0);
    return 0;
}

TEST(connections_arrive, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    tine_connection *here, *there;
    tine_process *process;
    char *text;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    ck_assert_rc(tine_process_start(&process, send_text, &options, "oc", there), 0);
    tine_connection_close(there);
    ck_assert_rc(tine_connection_recv(here, TINE_FOREVER, "s", &text), 0);
    ck_assert_str_eq(text, "text");
    free(text);
    ck_assert_rc(tine_connection_recv(here, TINE_FOREVER, "s", &text), TINE_EEOF);
    tine_connection_close(here);
    ck_assert_int_eq(process_end(process), 0);
}

static int double_all(tine_call *call)
{
    tine_queue *in, *out;
    int64_t n;

    ck_assert_rc(tine_args(call, "oqoq", &in, &out), 0);
    while (tine_queue_get(in, TINE_FOREVER, "q", &n) == 0)
        ck_assert_rc(tine_queue_put(out, TINE_FOREVER, "q", n * 2), 0);
    return 0;
}

TEST(queues_arrive, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    tine_process *process;
    tine_queue *in, *out;
    int64_t n;

    ck_assert_rc(tine_queue_open(&in, NULL), 0);
    ck_assert_rc(tine_queue_open(&out, NULL), 0);
    ck_assert_rc(tine_process_start(&process, double_all, &options, "oqoq", in, out), 0);
    for (int64_t i = 0; i < 100; i++)
        ck_assert_rc(tine_queue_put(in, TINE_FOREVER, "q", i), 0);
    for (int64_t i = 0; i < 100; i++) {
        ck_assert_rc(tine_queue_get(out, TINE_FOREVER, "q", &n), 0);
        ck_assert_int_eq(n, 2 * i);
    }
    ck_assert_rc(tine_queue_shutdown(in, false), 0);
    ck_assert_int_eq(process_end(process), 0);
    tine_queue_close(in);
    tine_queue_close(out);
}

static int do_nothing(tine_call *call)
{
    (void)call;
    return 0;
}

TEST(too_many_or_bad_descriptors_are_refused, .loop_end = START_METHODS)
{
    tine_process_options options = way(loop_index);
    tine_process *process = NULL;
    uint64_t blocks = heap_blocks();

    ck_assert_rc(tine_process_start(&process, do_nothing, &options, "F", -1), -EBADF);
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, "FFFFFFFFFFFFFFFFF", 2, 2, 2, 2,
                                    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
                 -EMFILE);
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, "Fp", 2, &process), -EINVAL);
    ck_assert_ptr_null(process);
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, "FFFFFFFFFFFFFFFF", 2, 2, 2, 2,
                                    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
                 0);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_uint_le(heap_blocks(), blocks);
}

SUITE_WITH_INIT("pool/process_args")
