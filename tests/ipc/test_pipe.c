/* SPDX-License-Identifier: MIT */
/* Connections: what each call promises, over each way of making a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ipc/connection.h"
#include "lib/clock.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"

HEAP_BEFORE_TESTS

#define KI ((size_t)1024)
#define MI (KI * KI)

/* ---- options --------------------------------------------------------------------------------- */

TEST(bad_options_are_refused)
{
    tine_connection *a = NULL, *b = NULL;

    ck_assert_rc(tine_pipe(NULL, &b, NULL), -EINVAL);
    ck_assert_rc(tine_pipe(&a, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.simplex = 2}), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.check = 3}), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.check = -1}), -EINVAL);
    ck_assert_rc(
        tine_pipe(&a, &b, &(tine_pipe_options){.message_bytes_max = (UINT64_C(1) << 32) + 1}),
        -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.transport = 3}), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.transport = -1}), -EINVAL);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.reserved32 = 1}), -E2BIG);
    ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.reserved = {0, 0, 0, 0, 1}}), -E2BIG);
    ck_assert(a == NULL && b == NULL);
    tine_connection_close(NULL);
    tine_message_release(NULL);
    tine_message_release(&(tine_message){.data = NULL});
}

TEST(no_handle_is_no_connection)
{
    tine_message message;
    tine_reader reader;
    void *bytes;
    size_t size;

    ck_assert_rc(tine_connection_send(NULL, 0, "n"), -EINVAL);
    ck_assert_rc(tine_connection_recv(NULL, 0, "n"), -EINVAL);
    ck_assert_rc(tine_connection_send_bytes(NULL, "", 0, 0), -EINVAL);
    ck_assert_rc(tine_connection_recv_bytes(NULL, 0, &bytes, &size), -EINVAL);
    ck_assert_rc(tine_connection_recv_bytes_into(NULL, NULL, 0, 0, &size), -EINVAL);
    ck_assert_rc(tine_connection_recv_view(NULL, 0, &message), -EINVAL);
    ck_assert_rc(tine_connection_recv_reader(NULL, NULL, 0, &message, &reader), -EINVAL);
    ck_assert_rc(tine_connection_poll(NULL, 0), -EINVAL);
    ck_assert_rc(tine_connection_fileno(NULL), -EINVAL);
    ck_assert(!tine_connection_readable(NULL) && !tine_connection_writable(NULL));
}

TEST(missing_arguments_take_no_message)
{
    struct ends ends = pipe_with(NULL);
    size_t size;

    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(5)), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, NULL, 1, 0), -EINVAL);
    ck_assert_rc(tine_connection_recv(ends.b, 0, NULL), -EINVAL);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, NULL, &size), -EINVAL);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 1, 0, &size), -EINVAL);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, NULL), -EINVAL);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, NULL), -EINVAL);
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", NULL), 0);
    pipe_end(&ends);
}

TEST(a_simplex_pipe_goes_from_the_second_to_the_first)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.simplex = 1});
    tine_message message;
    int64_t number = 0;

    ck_assert(tine_connection_readable(ends.a) && !tine_connection_writable(ends.a));
    ck_assert(!tine_connection_readable(ends.b) && tine_connection_writable(ends.b));
    ck_assert_rc(tine_connection_send(ends.b, 0, "q", INT64_C(5)), 0);
    ck_assert_rc(tine_connection_recv(ends.a, 0, "q", &number), 0);
    ck_assert_int_eq(number, 5);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(5)), -EBADF);
    ck_assert_rc(tine_connection_send_bytes(ends.a, "", 0, 0), -EBADF);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), -EBADF);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), -EBADF);
    ck_assert_rc(tine_connection_poll(ends.b, 0), -EBADF);
    pipe_end(&ends);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static const size_t sizes[] = {
    0,    1,    8,           63,      64,          256,     257,    1023,       1024,   1025,
    4096, 4097, 64 * KI - 1, 64 * KI, 64 * KI + 1, 65 * KI, 1 * MI, 3 * MI + 1, 64 * MI};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static uint32_t some_sizes; /* how many of them; the last one is large */

static void send_all_sizes(void *context)
{
    struct ends *ends = context;
    tine_connection *a = keep_a(ends);

    for (uint32_t i = 0; i < some_sizes; i++) {
        uint8_t *bytes = malloc(sizes[i] + 1);

        stamp_fill(bytes, sizes[i], (struct stamp){1, i});
        ck_assert_rc(tine_connection_send_bytes(a, bytes, sizes[i], TINE_SEC(20)), 0);
        free(bytes);
    }
    tine_connection_close(a);
}

static void receive_all_sizes(tine_connection *b, int way)
{
    static uint8_t room[64 * 1024 * 1024];

    for (uint32_t i = 0; i < some_sizes; i++) {
        size_t size = 0;
        void *bytes = room;
        tine_message message;

        if (way == 0)
            ck_assert_rc(tine_connection_recv_bytes_into(b, room, sizeof room, TINE_SEC(20), &size),
                         0);
        else if (way == 1)
            ck_assert_rc(tine_connection_recv_bytes(b, TINE_SEC(20), &bytes, &size), 0);
        else
            ck_assert_rc(tine_connection_recv_view(b, TINE_SEC(20), &message), 0);
        ck_assert_uint_eq(way == 2 ? message.size : size, sizes[i]);
        stamp_check(way == 2 ? message.data : bytes, sizes[i]);
        if (way == 1)
            free(bytes);
        if (way == 2)
            tine_message_release(&message);
    }
}

TEST(every_size_arrives_in_every_way_of_receiving, .loop_end = 9, .timeout_s = 60)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.check = loop_index / 3});
    struct child sender;
    size_t size;

    some_sizes = loop_index == 0 ? SIZES : SIZES - 1;
    sender = child_start(send_all_sizes, &ends);
    receive_all_sizes(keep_b(&ends), loop_index % 3);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, TINE_FOREVER, &size), TINE_EEOF);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, TINE_FOREVER, &size), TINE_EEOF);
    child_join(&sender);
    pipe_end(&ends);
}

TEST(boundaries_are_kept)
{
    struct ends ends = pipe_with(NULL);
    const char *parts[] = {"a", "b", "cd", "", "e"};
    char room[8];
    size_t size;

    for (int i = 0; i < 5; i++)
        ck_assert_rc(tine_connection_send_bytes(ends.a, parts[i], strlen(parts[i]), 0), 0);
    for (int i = 0; i < 5; i++) {
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1); /* also for the empty one */
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
        ck_assert_uint_eq(size, strlen(parts[i]));
        ck_assert_mem_eq(room, parts[i], size);
    }
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

/* What travels in a message may be wrong. */
TEST(an_end_is_not_taken_for_more_than_it_is)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.simplex = 1});
    tine_connection *all[2] = {ends.a, ends.b};
    bool both_ways = PIPE_TRANSPORT != TINE_RING; /* of a socket, that is a way of speaking */

    for (int i = 0; i < 2; i++) {
        struct tine__handle_parts parts = {.words = {0}};
        void *taken;

        ck_assert_rc(tine__connection_kind.give(all[i], &parts), 0);
        parts.words[3] = 3;
        ck_assert_rc(tine__connection_kind.take(&parts, &taken), both_ways ? 0 : TINE_EFORMAT);
        if (both_ways)
            tine_connection_close(taken);
    }
    pipe_end(&ends);
}

TEST(both_directions_are_independent)
{
    struct ends ends = pipe_with(NULL);
    static uint8_t large[MI], room[MI];
    size_t size;

    stamp_fill(large, sizeof large, (struct stamp){1, 2});
    for (int i = 0; i < 4; i++) {
        ck_assert_rc(tine_connection_send_bytes(ends.a, large, sizeof large, 0), 0);
        ck_assert_rc(tine_connection_send_bytes(ends.b, large, sizeof large - 1, 0), 0);
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_rc(tine_connection_recv_bytes_into(ends.a, room, MI, 0, &size), 0);
        ck_assert_uint_eq(size, MI - 1);
        stamp_check(room, size);
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, MI, 0, &size), 0);
        ck_assert_uint_eq(size, MI);
        stamp_check(room, size);
    }
    pipe_end(&ends);
}

TEST(a_message_above_the_limit_is_refused)
{
    struct ends ends = pipe_with(&(tine_pipe_options){.message_bytes_max = 100});
    char room[101] = "";
    size_t size;

    ck_assert_rc(tine_connection_send_bytes(ends.a, room, 101, 0), -EMSGSIZE);
    ck_assert_rc(tine_connection_send_bytes(ends.a, room, 100, 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
    ck_assert_uint_eq(size, 100);
    pipe_end(&ends);
}

static void send_most(void *context)
{
    struct ends *ends = context;
    tine_connection *a = keep_a(ends);
    size_t most = (size_t)4 << 30;
    char *bytes = calloc(1, most + 1); /* nearly all of it is the kernel's one page of zeros */

    ck_assert_ptr_nonnull(bytes);
    bytes[0] = 1;
    bytes[most / 2] = 2;
    bytes[most - 1] = 3;
    ck_assert_rc(tine_connection_send_bytes(a, bytes, most + 1, TINE_FOREVER), -EMSGSIZE);
    ck_assert_rc(tine_connection_send_bytes(a, bytes, most, TINE_FOREVER), 0);
    free(bytes);
    tine_connection_close(a);
}

TEST(four_gibibytes_arrive, .timeout_s = 120)
{
    size_t most = (size_t)4 << 30;
    tine_message message;
    struct child child;
    struct ends ends;

    if (getenv("TINE_TEST_HUGE") == NULL)
        SKIP("needs 4 GiB of memory: TINE_TEST_HUGE=1");
    ends = pipe_with(NULL);
    child = child_start(send_most, &ends);
    keep_b(&ends);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), 0);
    ck_assert_uint_eq(message.size, most);
    ck_assert_int_eq(((const char *)message.data)[0], 1);
    ck_assert_int_eq(((const char *)message.data)[most / 2], 2);
    ck_assert_int_eq(((const char *)message.data)[most - 1], 3);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), TINE_EEOF);
    child_join(&child);
    pipe_end(&ends);
}

/* ---- too little room ------------------------------------------------------------------------- */

TEST(a_message_that_does_not_fit_is_kept, .loop_end = 3)
{
    static const size_t lengths[] = {100, 60000, 300000};
    size_t length = lengths[loop_index], size = 0;
    struct ends ends = pipe_with(NULL);
    uint8_t *bytes = malloc(length), *room = malloc(length);
    tine_message message;

    for (uint32_t i = 0; i < 3; i++) {
        stamp_fill(bytes, length, (struct stamp){1, i});
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, length, 0), 0);
    }
    for (int i = 0; i < 3; i++) {
        size = 0;
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, length - 1, 0, &size),
                     -EMSGSIZE);
        ck_assert_uint_eq(size, length);
    }
    ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, size, 0, &size), 0);
    ck_assert_uint_eq(stamp_check(room, size).number, 0);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0);
    ck_assert_uint_eq(stamp_check(message.data, message.size).number, 1);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    free(bytes);
    free(room);
    pipe_end(&ends); /* with one still kept */
}

static void find_nothing_kept(void *context)
{
    struct ends *ends = context;
    char room[64];
    size_t size;

    ck_assert_rc(tine_connection_poll(ends->b, 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(ends->b, room, sizeof room, 0, &size), -EAGAIN);
    tine_connection_close(ends->a);
    tine_connection_close(ends->b);
}

TEST(a_forked_child_does_not_get_what_its_parent_keeps)
{
    struct ends ends = pipe_with(NULL);
    struct child child;
    static uint8_t large[100000];
    size_t size;

    ck_assert_rc(tine_connection_send_bytes(ends.a, large, sizeof large, 0), 0);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    child = child_start(find_nothing_kept, &ends);
    child_join(&child);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, large, sizeof large, 0, &size), 0);
    pipe_end(&ends);
}

/* ---- in place -------------------------------------------------------------------------------- */

TEST(many_messages_can_be_read_in_place_at_once)
{
    enum { MANY = 32 };
    struct ends ends = pipe_with(NULL);
    tine_message messages[MANY];
    static uint8_t bytes[100000];

    for (uint32_t i = 0; i < MANY; i++) {
        stamp_fill(bytes, sizeof bytes, (struct stamp){1, i});
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0), 0);
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &messages[i]), 0);
        ck_assert_uint_eq((uintptr_t)messages[i].data % 8, 0);
    }
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0), -EAGAIN);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, 1000, 0), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert_uint_eq(stamp_check(messages[i].data, messages[i].size).number, i);
        tine_message_release(&messages[i]);
        tine_message_release(&messages[i]);
    }
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0), 0);
    pipe_end(&ends);
}

TEST(small_messages_in_place_do_not_disturb_each_other)
{
    struct ends ends = pipe_with(NULL);
    tine_message messages[10];
    uint8_t bytes[2000];

    for (uint32_t i = 0; i < 10; i++) {
        stamp_fill(bytes, sizeof bytes, (struct stamp){1, i});
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0), 0);
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &messages[i]), 0);
        ck_assert_uint_eq((uintptr_t)messages[i].data % 8, 0);
    }
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(stamp_check(messages[i].data, messages[i].size).number, i);
        tine_message_release(&messages[i]);
    }
    pipe_end(&ends);
}

/* ---- values ---------------------------------------------------------------------------------- */

TEST(values_go_through)
{
    struct ends ends = pipe_with(NULL);
    double numbers[3] = {1, 2.5, -3};
    const void *bytes, *array;
    size_t size, count;
    int64_t q;
    char *text;

    ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "qsyad", INT64_C(-7), "seven", "\0\1",
                                      (size_t)2, numbers, (size_t)3),
                 0);
    ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, ""), 0);
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, "qsyad", &q, &text, &bytes, &size,
                                      &array, &count),
                 0);
    ck_assert_int_eq(q, -7);
    ck_assert_str_eq(text, "seven");
    ck_assert_uint_eq(size, 2);
    ck_assert_mem_eq(bytes, "\0\1", 2); /* still there */
    ck_assert_uint_eq(count, 3);
    ck_assert_mem_eq(array, numbers, sizeof numbers);
    free(text);
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, ""), 0);
    pipe_end(&ends);
}

TEST(a_large_value_is_lent_until_the_next)
{
    struct ends ends = pipe_with(NULL);
    static double numbers[100000];
    const void *array;
    size_t count;

    numbers[99999] = 4;
    for (int i = 0; i < 100; i++) {
        ck_assert_rc(tine_connection_send(ends.a, 0, "ad", numbers, (size_t)100000), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "ad", &array, &count), 0);
        ck_assert_mem_eq(array, numbers, sizeof numbers);
    }
    ck_assert_rc(tine_connection_send(ends.a, 0, "ad", numbers, (size_t)100000), 0);
    pipe_end(&ends);
}

TEST(another_shape_is_said_and_the_message_is_gone)
{
    struct ends ends = pipe_with(NULL);
    int64_t q = 1;
    int8_t narrow = 1;

    ck_assert_rc(tine_connection_send(ends.a, 0, "s", "text"), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(1000)), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, "\xc1", 1, 0), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(8)), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &q), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "b", &narrow), -ERANGE);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &q), TINE_EFORMAT);
    ck_assert(q == 1 && narrow == 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &q), 0);
    ck_assert_int_eq(q, 8);
    ck_assert_rc(tine_connection_send(ends.a, 0, "?]", true), -EINVAL);
    ck_assert_rc(tine_connection_send(ends.a, 0, NULL), -EINVAL);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

TEST(a_reader_walks_what_came)
{
    struct ends ends = pipe_with(NULL);
    tine_message message;
    tine_reader reader;
    int64_t number;
    size_t count;

    ck_assert_rc(tine_connection_send(ends.a, 0, "[qq]", INT64_C(1), INT64_C(2)), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, "\x92\x01", 2, 0), 0); /* cut short */
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, &message, &reader), 0);
    ck_assert_rc(tine_reader_array(&reader, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    ck_assert_int_eq(number, 2);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, &message, &reader), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, &message, &reader), -EAGAIN);
    pipe_end(&ends);
}

/* ---- descriptors, pointers, functions ---------------------------------------------------------- */

static int a_file(const char *text)
{
    int fd = memfd_create("sent", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static void expect_file(int fd, const char *text)
{
    char room[64] = "";

    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(pread(fd, room, sizeof room, 0), (ssize_t)strlen(text));
    ck_assert_str_eq(room, text);
    close(fd);
}

TEST(descriptors_go_through_with_messages_of_all_sizes, .loop_end = 3)
{
    static const size_t lengths[] = {10, 10000, 1000000};
    static uint8_t bytes[1000000];
    struct ends ends = pipe_with(NULL);
    int one = a_file("one"), two = a_file("two"), got[2] = {-1, -1};
    const void *came;
    size_t size;

    for (int i = 0; i < 50; i++) {
        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "Fy[F]", one, bytes,
                                          lengths[loop_index], two),
                     0);
        ck_assert_rc(
            tine_connection_recv(ends.b, TINE_FOREVER, "Fy[F]", &got[0], &came, &size, &got[1]), 0);
        ck_assert_uint_eq(size, lengths[loop_index]);
        expect_file(got[0], "one");
        expect_file(got[1], "two");
    }
    close(one);
    close(two);
    pipe_end(&ends);
}

/* Plain ones are not overtaken, nor do they overtake. */
TEST(messages_with_descriptors_come_in_their_turn, .loop_end = 2)
{
    static uint8_t bytes[100000];
    struct ends ends = pipe_with(NULL);
    size_t length = loop_index == 0 ? 10 : sizeof bytes;
    int fd = a_file("x"), got = -1;
    int64_t number;

    for (int64_t i = 0; i < 40; i++)
        if (i % 4 < 2)
            ck_assert_rc(tine_connection_send(ends.a, 0, "q", i), 0);
        else
            ck_assert_rc(tine_connection_send(ends.a, 0, "qFy", i, fd, bytes, length), 0);
    for (int64_t i = 0; i < 40; i++) {
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
        if (i % 4 < 2) {
            ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &number), 0);
        } else {
            ck_assert_rc(tine_connection_recv(ends.b, 0, "qFy", &number, &got, NULL, NULL), 0);
            expect_file(got, "x");
        }
        ck_assert_int_eq(number, i);
    }
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    close(fd);
    pipe_end(&ends);
}

TEST(no_more_descriptors_are_sent_than_fit, .loop_end = 2)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1, sent = 0, rc;

    while ((rc = tine_connection_send(ends.a, loop_index * TINE_MS(1), "F", fd)) == 0)
        sent++;
    ck_assert_rc(rc, loop_index == 0 ? -EAGAIN : -ETIMEDOUT);
    ck_assert_int_gt(sent, 10);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
    expect_file(got, "x");
    for (int i = 1; i < sent; i++)
        ck_assert_rc(tine_connection_recv(ends.b, 0, "F", NULL), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", NULL), -EAGAIN);
    close(fd);
    pipe_end(&ends);
}

TEST(descriptors_come_before_the_end)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;

    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_send(ends.b, 0, "F", fd), 0);
    close(fd);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, "F", &got), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv(ends.b, TINE_FOREVER, "F", &got), TINE_EEOF);
    ck_assert_rc(tine_connection_send(ends.b, TINE_FOREVER, "F", STDIN_FILENO), -EPIPE);
    pipe_end(&ends);
}

/* Whatever does not take them closes them: the suite looks for what is left open. */
TEST(descriptors_that_nobody_takes_are_closed)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;
    int64_t q;
    void *bytes;
    size_t size;

    for (int i = 0; i < 7; i++)
        ck_assert_rc(tine_connection_send(ends.a, 0, "FF", fd, fd), 0);
    close(fd);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FF", &got, NULL), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv(ends.b, 0, "Fq", &got, &q), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &bytes, &size), 0);
    free(bytes);
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FF", NULL, &got), 0); /* kept with the message */
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, NULL, 0, 0, &size), -EMSGSIZE);
    pipe_end(&ends);
}

/* A view has no place for them. */
TEST(a_message_with_descriptors_is_not_read_in_place_but_kept)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got = -1;
    tine_message message;
    tine_reader reader;
    int64_t number;

    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "q", INT64_C(2)), 0);
    close(fd);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), -EOPNOTSUPP);
        ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, TINE_FOREVER, &message, &reader),
                     -EOPNOTSUPP);
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
    }
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), 0);
    expect_file(got, "x");
    ck_assert_rc(tine_connection_recv_reader(ends.b, NULL, 0, &message, &reader), 0);
    ck_assert_rc(tine_reader_int(&reader, &number), 0);
    tine_message_release(&message);
    pipe_end(&ends);
}

TEST(at_most_sixteen_descriptors_go_with_a_message)
{
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got[16];

#define FOUR(x) x, x, x, x
    ck_assert_rc(tine_connection_send(ends.a, 0, "FFFFFFFFFFFFFFFFF", FOUR(fd), FOUR(fd), FOUR(fd),
                                      FOUR(fd), fd),
                 -EMFILE);
    ck_assert_rc(
        tine_connection_send(ends.a, 0, "FFFFFFFFFFFFFFFF", FOUR(fd), FOUR(fd), FOUR(fd), FOUR(fd)),
        0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "FFFFFFFFFFFFFFFF", &got[0], &got[1], &got[2],
                                      &got[3], &got[4], &got[5], &got[6], &got[7], &got[8], &got[9],
                                      &got[10], &got[11], &got[12], &got[13], &got[14], &got[15]),
                 0);
    for (int i = 0; i < 16; i++)
        expect_file(got[i], "x");
    close(fd);
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), -EBADF);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    pipe_end(&ends);
}

/* A number for a descriptor that is not beside it. */
TEST(descriptors_that_did_not_come_are_no_descriptors)
{
    struct ends ends = pipe_with(NULL);
    int got = -1;

    ck_assert_rc(tine_connection_send_bytes(ends.a, "\xd7\x02\0\0\0\0\0\0\0\0", 10, 0), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got), TINE_EFORMAT);
    ck_assert_int_eq(got, -1);
    pipe_end(&ends);
}

TEST(a_receiver_without_room_for_descriptors_says_so, .loop_end = 2)
{
    static uint8_t bytes[100000];
    struct rlimit before, limit;
    struct ends ends = pipe_with(NULL);
    int fd = a_file("x"), got[2] = {-1, -1};

    for (int i = 0; i < 40; i++) {
        ck_assert_rc(tine_connection_send(ends.a, 0, "FFy", fd, fd, bytes,
                                          loop_index == 0 ? (size_t)10 : sizeof bytes),
                     0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        limit = before;
        limit.rlim_cur = (rlim_t)fd + 2; /* room for one */
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "FFy", &got[0], &got[1], NULL, NULL), -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    }
    ck_assert_rc(tine_connection_send(ends.a, 0, "F", fd), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &got[0]), 0);
    expect_file(got[0], "x");
    close(fd);
    pipe_end(&ends);
}

static int answer(void)
{
    return 42;
}

TEST(pointers_and_functions_go_through_within_the_family)
{
    struct ends ends = pipe_with(NULL);
    int64_t *number = tine_alloc(sizeof *number);
    tine_any_function *function = NULL;
    void *pointer = NULL;

    ck_assert_rc(tine_connection_send(ends.a, 0, "pc", number, (tine_any_function *)answer), 0);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "pc", &pointer, &function), 0);
    ck_assert_ptr_eq(pointer, number);
    ck_assert_int_eq(((int (*)(void))function)(), 42);
    tine_free(number);
    pipe_end(&ends);
}

static void serve_what_comes(void *context)
{
    struct ends *ends = context;
    tine_connection *b = keep_b(ends), *client;
    int64_t number;

    while (tine_connection_recv(b, TINE_FOREVER, "oc", &client) == 0) {
        ck_assert_rc(tine_connection_recv(client, TINE_FOREVER, "q", &number), 0);
        ck_assert_rc(tine_connection_send(client, TINE_FOREVER, "q", number + 1), 0);
        tine_connection_close(client);
    }
    tine_connection_close(b);
}

/* A pipe that is younger than the process it goes to. */
TEST(connections_go_through_connections)
{
    struct ends ends = pipe_with(NULL);
    struct child server = child_start(serve_what_comes, &ends);
    int64_t number;

    keep_a(&ends);
    for (int64_t i = 0; i < 50; i++) {
        struct ends young = pipe_with(NULL);

        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "oc", young.b), 0);
        tine_connection_close(young.b);
        ck_assert_rc(tine_connection_send(young.a, TINE_FOREVER, "q", i), 0);
        ck_assert_rc(tine_connection_recv(young.a, TINE_FOREVER, "q", &number), 0);
        ck_assert_int_eq(number, i + 1);
        ck_assert_rc(tine_connection_recv(young.a, TINE_FOREVER, "q", &number), TINE_EEOF);
        tine_connection_close(young.a);
    }
    tine_connection_close(ends.a);
    child_join(&server);
}

/* The kernel looks for what is in flight in its own queue when a socket is closed, and soon after. */
static bool nothing_is_left(const tine_pipe_options *options, uint64_t blocks)
{
    tine_connection *a, *b;

    ck_assert_rc(tine_pipe(&a, &b, options), 0);
    tine_connection_close(a);
    tine_connection_close(b);
    tine__keepalive_sweep();
    return heap_blocks() == blocks;
}

/* Nobody can ever receive it. */
TEST(an_end_may_be_sent_to_itself)
{
    tine_pipe_options options = {.transport = PIPE_TRANSPORT};
    struct ends ends = pipe_with(NULL);

    pipe_end(&ends);
    for (int i = 0; i < 100; i++) {
        struct ends both = pipe_with(NULL);

        ck_assert_rc(tine_connection_send(both.a, 0, "oc", both.b), 0);
        ck_assert_rc(tine_connection_send(both.b, 0, "oc", both.a), 0);
        tine_connection_close(both.a);
        tine_connection_close(both.b);
    }
    ck_assert_eventually(nothing_is_left(&options, ends.blocks));
}

TEST(connections_that_nobody_takes_are_closed)
{
    struct ends ends = pipe_with(NULL), sent = pipe_with(NULL);
    tine_connection *got = NULL;
    int64_t number;
    void *bytes;
    size_t size;

    ck_assert_rc(tine_connection_send(ends.a, 0, "ocq", sent.b, INT64_C(3)), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", sent.b), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", sent.b), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "oc", NULL), 0);
    tine_connection_close(sent.b);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "ocs", &got, NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "oc", NULL), 0);
    ck_assert_rc(tine_connection_recv_bytes(ends.b, 0, &bytes, &size), 0);
    free(bytes);
    ck_assert_rc(tine_connection_recv(sent.a, 0, "q", &number), TINE_EEOF);
    tine_connection_close(sent.a);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "oc", &got), 0);
    ck_assert_ptr_null(got);
    pipe_end(&ends);
}

TEST(pipes_leave_no_descriptors_open, .timeout_s = 60)
{
    for (int i = 0; i < 10000; i++) {
        tine_connection *a, *b;

        ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.simplex = i & 1}), 0);
        tine_connection_close(i & 2 ? a : b);
        tine_connection_close(i & 2 ? b : a);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

TEST(receiving_waits_no_longer_than_asked)
{
    struct ends ends = pipe_with(NULL);
    static const int64_t timeouts[] = {1, TINE_US(300), TINE_MS(3), TINE_MS(70), TINE_MS(130)};
    tine_message message;

    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), -EAGAIN);
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        int64_t begin = tine__now_ns();

        ck_assert_rc(tine_connection_recv_view(ends.b, timeouts[i], &message), -ETIMEDOUT);
        ck_assert_int_ge(tine__now_ns() - begin, timeouts[i]);
        begin = tine__now_ns();
        ck_assert_rc(tine_connection_poll(ends.b, timeouts[i]), 0);
        ck_assert_int_ge(tine__now_ns() - begin, timeouts[i]);
    }
    pipe_end(&ends);
}

TEST(sending_waits_no_longer_than_asked, .loop_end = 3)
{
    static const size_t lengths[] = {500, 50000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    int64_t begin;
    int sent = 0, received = 0;
    tine_message message;

    while (tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0) == 0)
        sent++;
    ck_assert_int_gt(sent, 1);
    begin = tine__now_ns();
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_MS(60)),
                 -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_US(200)),
                 -ETIMEDOUT);
    while (tine_connection_recv_view(ends.b, 0, &message) == 0) {
        ck_assert_uint_eq(message.size, lengths[loop_index]);
        tine_message_release(&message);
        received++;
    }
    ck_assert_int_eq(received, sent);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], 0), 0);
    pipe_end(&ends);
}

static void on_alarm(int number)
{
    (void)number;
}

static void ring_alarms(bool on)
{
    struct itimerval every = {{0, on ? 1000 : 0}, {0, on ? 1000 : 0}};
    struct sigaction action = {.sa_handler = on ? on_alarm : SIG_IGN, .sa_flags = SA_RESTART};

    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    if (!on)
        ck_assert(signal(SIGALRM, SIG_DFL) != SIG_ERR);
}

/* Each of them interrupts the call before its slice is over. */
TEST(signals_prolong_no_wait)
{
    struct ends ends = pipe_with(NULL);
    static const uint8_t bytes[50000];
    tine_message message;

    while (tine_connection_send_bytes(ends.a, bytes, sizeof bytes, 0) == 0)
        ;
    ring_alarms(true);
    ck_assert_rc(tine_connection_recv_view(ends.a, TINE_MS(150), &message), -ETIMEDOUT);
    ck_assert_rc(tine_connection_poll(ends.a, TINE_MS(150)), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, sizeof bytes, TINE_MS(150)), -ETIMEDOUT);
    ring_alarms(false);
    pipe_end(&ends);
}

static void receive_when_told(void *context)
{
    struct ends *ends = context;
    tine_connection *b = keep_b(ends);
    static uint8_t room[500000];
    int64_t timeout = TINE_FOREVER;
    size_t size;

    for (int rc = 0; rc == 0; timeout = TINE_SEC(20)) {
        rc = tine_connection_recv_bytes_into(b, room, sizeof room, timeout, &size);
        ck_assert(rc == 0 || rc == TINE_EEOF);
    }
    tine_connection_close(b);
}

TEST(sleepers_at_both_ends_are_woken, .loop_end = 2)
{
    static const size_t lengths[] = {500, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    struct child receiver = child_start(receive_when_told, &ends);
    tine_connection *a = keep_a(&ends);

    ck_assert_eventually(proc_asleep(receiver.pid));
    for (int i = 0; i < 300; i++)
        ck_assert_rc(tine_connection_send_bytes(a, bytes, lengths[loop_index], TINE_FOREVER), 0);
    child_stop(&receiver);
    while (tine_connection_send_bytes(a, bytes, lengths[loop_index], 0) == 0)
        ;
    child_continue(&receiver);
    for (int i = 0; i < 300; i++)
        ck_assert_rc(tine_connection_send_bytes(a, bytes, lengths[loop_index], TINE_SEC(20)), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    child_join(&receiver);
    pipe_end(&ends);
}

/* Rings have none. */
static bool has_descriptor(const struct ends *ends)
{
    if (PIPE_TRANSPORT != TINE_RING)
        return true;
    ck_assert_rc(tine_connection_fileno(ends->b), -ENOTSUP);
    return false;
}

/* Who owns an event loop may do this to the descriptor. */
TEST(a_socket_made_non_blocking_by_others_is_still_waited_for)
{
    struct ends ends = pipe_with(NULL);
    int64_t begin = tine__now_ns();
    struct child receiver;
    tine_message message;
    int fd = tine_connection_fileno(ends.b);

    if (has_descriptor(&ends))
        ck_assert_int_eq(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_MS(150), &message), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(150));
    receiver = child_start(receive_when_told, &ends);
    tine_connection_close(ends.b);
    ends.b = NULL;
    for (int i = 0; i < 3000; i++)
        ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "q", INT64_C(1)), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    child_join(&receiver);
    pipe_end(&ends);
}

/* Whoever got the descriptor can write to it; the others lose no more than what that was. */
TEST(records_that_are_no_messages_are_refused)
{
    struct ends ends = pipe_with(NULL);
    static const uint8_t bytes[80000];
    static const size_t lengths[] = {0, 1, 40, 65536, sizeof bytes, 0};
    tine_message message;
    int fd = tine_connection_fileno(ends.a);

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        ck_assert_int_eq(send(fd, bytes, lengths[i], 0), (ssize_t)lengths[i]);
        ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
        ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EFORMAT);
        ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    }
    ck_assert_int_eq(send(fd, NULL, 0, 0), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), TINE_EEOF);
    pipe_end(&ends);
}

TEST(a_record_that_is_sent_back_is_refused, .loop_end = 2)
{
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[100000], record[1000];
    tine_message message;
    int fd = tine_connection_fileno(ends.b);
    ssize_t size;

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    /* slot and generation of the large ones are the same in both directions */
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, loop_index ? sizeof bytes : 5, 0), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.b, bytes, sizeof bytes, 0), 0);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), 0);
    tine_message_release(&message);
    size = recv(fd, record, sizeof record, 0);
    ck_assert_int_gt(size, 0);
    ck_assert_rc(tine_connection_send_bytes(ends.b, bytes, sizeof bytes, 0), 0);
    ck_assert_int_eq(send(fd, record, (size_t)size, 0), size);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), 0);
    tine_message_release(&message);
    ck_assert_rc(tine_connection_recv_view(ends.a, 0, &message), TINE_EFORMAT);
    pipe_end(&ends);
}

TEST(the_descriptor_tells_of_messages)
{
    struct ends ends = pipe_with(NULL);
    struct pollfd set = {.fd = tine_connection_fileno(ends.b), .events = POLLIN};

    if (!has_descriptor(&ends)) {
        pipe_end(&ends);
        return;
    }
    ck_assert_int_ge(set.fd, 0);
    ck_assert_int_eq(fcntl(set.fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(poll(&set, 1, 0), 0);
    ck_assert_rc(tine_connection_send(ends.a, 0, "n"), 0);
    ck_assert_int_eq(poll(&set, 1, -1), 1);
    ck_assert_rc(tine_connection_recv(ends.b, 0, "n"), 0);
    ck_assert_int_eq(poll(&set, 1, 0), 0);
    tine_connection_close(ends.a);
    ends.a = NULL;
    ck_assert_int_eq(poll(&set, 1, -1), 1);
    pipe_end(&ends);
}

/* ---- among other things ------------------------------------------------------------------------ */

enum { TOLD = 2000 };

static void send_with_pauses(void *context)
{
    struct ends *ends = context;
    tine_connection *a = keep_a(ends);

    for (int64_t i = 0; i < TOLD; i++) {
        if (random_below(20) == 0)
            sched_yield();
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", i), 0);
    }
    tine_connection_close(a);
}

/* A loop that is not ours: readable means that trying is worth it. */
TEST(a_descriptor_for_other_loops_tells_of_each_message)
{
    struct ends ends = pipe_with(NULL);
    struct child sender = child_start(send_with_pauses, &ends);
    tine_connection *b = keep_b(&ends);
    tine_waitable on = tine_connection_waitable(b);
    struct pollfd set = {.fd = tine_waitable_fd(&on), .events = POLLIN};
    int64_t expected = 0, number;
    int rc = 0;

    ck_assert_int_ge(set.fd, 0);
    while (rc != TINE_EEOF) {
        ck_assert_int_eq(poll(&set, 1, -1), 1);
        while ((rc = tine_connection_recv(b, 0, "q", &number)) == 0)
            ck_assert_int_eq(number, expected++);
        ck_assert(rc == -EAGAIN || rc == TINE_EEOF);
    }
    ck_assert_int_eq(expected, TOLD);
    tine_waitable_close(set.fd);
    child_join(&sender);
    tine_connection_close(b); /* what rings stays in the heap */
}

TEST(connections_are_waited_for_together)
{
    struct ends ends[3];
    struct child senders[3];
    tine_waitable on[3];
    int64_t got[3] = {0}, number;

    for (int i = 0; i < 3; i++) {
        ends[i] = pipe_with(NULL);
        senders[i] = child_start(send_with_pauses, &ends[i]);
        on[i] = tine_connection_waitable(keep_b(&ends[i]));
    }
    while (got[0] + got[1] + got[2] < 3 * TOLD) {
        ck_assert_int_ge(tine_wait(on, 3, TINE_FOREVER), 1);
        for (int i = 0; i < 3; i++)
            if (on[i].ready != 0 && got[i] < TOLD) {
                ck_assert_rc(tine_connection_recv(ends[i].b, 0, "q", &number), 0);
                ck_assert_int_eq(number, got[i]++);
            }
    }
    for (int i = 0; i < 3; i++) {
        child_join(&senders[i]);
        ck_assert_rc(tine_connection_recv(ends[i].b, TINE_FOREVER, "q", &number), TINE_EEOF);
        tine_connection_close(ends[i].b);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

TEST(what_was_sent_is_received_before_the_end)
{
    struct ends ends = pipe_with(NULL);
    static uint8_t large[200000], room[200000];
    size_t size;

    ck_assert_rc(tine_connection_send_bytes(ends.b, "unread", 6, 0),
                 0); /* a reset, for the kernel */
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_send_bytes(ends.a, large, sizeof large, 0), 0);
        ck_assert_rc(tine_connection_send_bytes(ends.a, "small", 5, 0), 0);
    }
    tine_connection_close(ends.a);
    ends.a = NULL;
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
        ck_assert_uint_eq(size, sizeof large);
        ck_assert_rc(tine_connection_poll(ends.b, 0), 1);
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, sizeof room, 0, &size), 0);
        ck_assert_uint_eq(size, 5);
    }
    ck_assert_rc(tine_connection_poll(ends.b, TINE_FOREVER), 1);
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, 1, TINE_FOREVER, &size),
                     TINE_EEOF);
    pipe_end(&ends);
}

TEST(sending_to_nobody_is_an_error_and_no_signal, .loop_end = 3)
{
    static const size_t lengths[] = {5, 5000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];

    ck_assert_rc(tine_connection_send_bytes(ends.b, "unread", 6, 0), 0);
    ck_assert_rc(tine_connection_send_bytes(ends.a, "unread", 6, 0), 0);
    tine_connection_close(ends.b);
    ends.b = NULL;
    for (int i = 0; i < 40; i++)
        ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_FOREVER),
                     -EPIPE);
    pipe_end(&ends);
}

static void take_one_and_leave(void *context)
{
    struct ends *ends = context;
    tine_message message;

    ck_assert_rc(tine_connection_recv_view(keep_b(ends), TINE_FOREVER, &message), 0);
    raise(SIGKILL);
}

/* The sender sleeps for room when its only receiver dies. */
TEST(the_end_wakes_a_sleeping_sender, .loop_end = 2)
{
    static const size_t lengths[] = {5000, 500000};
    struct ends ends = pipe_with(NULL);
    static uint8_t bytes[500000];
    struct child receiver;
    int rc;

    receiver = child_start(take_one_and_leave, &ends);
    keep_a(&ends);
    do
        rc = tine_connection_send_bytes(ends.a, bytes, lengths[loop_index], TINE_FOREVER);
    while (rc == 0);
    ck_assert_rc(rc, -EPIPE);
    child_wait(&receiver);
    pipe_end(&ends);
}

static void die_with_the_end(void *context)
{
    struct ends *ends = context;

    keep_a(ends);
    pause();
}

TEST(the_end_wakes_a_sleeping_receiver)
{
    struct ends ends = pipe_with(NULL);
    struct child holder = child_start(die_with_the_end, &ends);
    tine_message message;

    keep_b(&ends);
    ck_assert_eventually(proc_asleep(holder.pid));
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_MS(5), &message), -ETIMEDOUT);
    child_kill(&holder);
    ck_assert_rc(tine_connection_recv_view(ends.b, TINE_FOREVER, &message), TINE_EEOF);
    pipe_end(&ends);
}

/* ---- many at either end ---------------------------------------------------------------------- */

enum { SENDERS = 3, RECEIVERS = 3, MESSAGES = 400 };

static struct ends crowded; /* private to each process, as handles are */
static uint32_t me;         /* which one is forked next */

/* In shared memory: how often each message was received. */
struct crowd {
    _Atomic uint32_t seen[SENDERS][MESSAGES];
};

static size_t length_of(uint32_t number)
{
    static const size_t lengths[] = {8, 9, 64, 1000, 2000, 20000, 65536, 65537, 200000};

    return lengths[number * 7 % (sizeof lengths / sizeof lengths[0])];
}

static void send_many(void *context)
{
    tine_connection *a = keep_a(&crowded);
    static uint8_t bytes[200000];

    (void)context;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        stamp_fill(bytes, length_of(i), (struct stamp){me, i});
        ck_assert_rc(tine_connection_send_bytes(a, bytes, length_of(i), TINE_FOREVER), 0);
    }
    tine_connection_close(a);
}

static void receive_many(void *context)
{
    struct crowd *crowd = context;
    tine_connection *b = keep_b(&crowded);
    int64_t last[SENDERS] = {-1, -1, -1};
    tine_message message;
    int rc;

    while ((rc = tine_connection_recv_view(b, TINE_FOREVER, &message)) == 0) {
        struct stamp stamp = stamp_check(message.data, message.size);

        ck_assert_uint_eq(message.size, length_of(stamp.number));
        ck_assert_uint_lt(stamp.sender, SENDERS);
        ck_assert_int_gt(stamp.number, last[stamp.sender]);
        last[stamp.sender] = stamp.number;
        crowd->seen[stamp.sender][stamp.number]++;
        tine_message_release(&message);
    }
    ck_assert_rc(rc, TINE_EEOF);
    tine_connection_close(b);
}

static void expect_each_once(struct crowd *crowd)
{
    for (int s = 0; s < SENDERS; s++)
        for (int i = 0; i < MESSAGES; i++)
            ck_assert_uint_eq(crowd->seen[s][i], 1);
}

TEST(many_processes_at_both_ends_get_each_message_once, .timeout_s = 60)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);
    struct child senders[SENDERS], receivers[RECEIVERS];

    crowded = pipe_with(NULL);
    for (int i = 0; i < RECEIVERS; i++)
        receivers[i] = child_start(receive_many, crowd);
    for (me = 0; me < SENDERS; me++)
        senders[me] = child_start(send_many, NULL);
    keep_a(&crowded);
    tine_connection_close(crowded.a);
    crowded.a = NULL;
    for (int i = 0; i < SENDERS; i++)
        child_join(&senders[i]);
    for (int i = 0; i < RECEIVERS; i++)
        child_join(&receivers[i]);
    expect_each_once(crowd);
    pipe_end(&crowded);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* All of them use the same two handles. */
struct threads {
    struct ends ends;
    _Atomic uint32_t next_sender, received;
    _Atomic uint32_t seen[SENDERS][MESSAGES];
};

static void *send_in_thread(void *context)
{
    struct threads *threads = context;
    uint32_t number = threads->next_sender++;
    uint8_t *bytes = malloc(200000);

    for (uint32_t i = 0; i < MESSAGES; i++) {
        stamp_fill(bytes, length_of(i), (struct stamp){number, i});
        ck_assert_rc(tine_connection_send_bytes(threads->ends.a, bytes, length_of(i), TINE_FOREVER),
                     0);
    }
    free(bytes);
    return NULL;
}

/* Each in its own way; some messages do not fit at first, and are kept for whoever comes next. */
static void receive_somehow(struct threads *threads, uint8_t *room, uint32_t turn)
{
    tine_connection *b = threads->ends.b;
    tine_message message = {.data = room};
    struct stamp stamp;
    int rc;

    if (turn % 3 == 0)
        rc = tine_connection_recv_view(b, TINE_MS(20), &message);
    else
        rc = tine_connection_recv_bytes_into(b, room, turn % 3 == 1 ? 5000 : 200000, TINE_MS(20),
                                             &message.size);
    if (rc == -ETIMEDOUT || rc == -EMSGSIZE)
        return;
    ck_assert_rc(rc, 0);
    stamp = stamp_check(message.data, message.size);
    ck_assert_uint_lt(stamp.sender, SENDERS);
    threads->seen[stamp.sender][stamp.number]++;
    if (turn % 3 == 0)
        tine_message_release(&message);
    threads->received++;
}

static void *receive_in_thread(void *context)
{
    struct threads *threads = context;
    uint8_t *room = malloc(200000);

    for (uint32_t turn = 0; threads->received < SENDERS * MESSAGES; turn++)
        receive_somehow(threads, room, turn);
    free(room);
    return NULL;
}

TEST(many_threads_share_a_handle, .timeout_s = 60)
{
    struct threads *threads = shared_memory(sizeof *threads);
    pthread_t all[SENDERS + RECEIVERS];

    threads->ends = pipe_with(NULL);
    for (int i = 0; i < SENDERS + RECEIVERS; i++)
        ck_assert_int_eq(pthread_create(&all[i], NULL,
                                        i < SENDERS ? send_in_thread : receive_in_thread, threads),
                         0);
    for (int i = 0; i < SENDERS + RECEIVERS; i++)
        ck_assert_int_eq(pthread_join(all[i], NULL), 0);
    for (int s = 0; s < SENDERS; s++)
        for (int i = 0; i < MESSAGES; i++)
            ck_assert_uint_eq(threads->seen[s][i], 1);
    pipe_end(&threads->ends);
}

SUITE(PIPE_TRANSPORT == TINE_RING ? "ipc/pipe_ring" : "ipc/pipe")
