/* SPDX-License-Identifier: MIT */
/* Connections: what each call promises, over each way of making a pipe. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/connection.h"
#include "tests/ipc/pipe_help.h"

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
        ck_assert_rc(tine_connection_send_bytes(a, bytes, sizes[i], TINE_SEC(600)), 0);
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
            ck_assert_rc(
                tine_connection_recv_bytes_into(b, room, sizeof room, TINE_SEC(600), &size), 0);
        else if (way == 1)
            ck_assert_rc(tine_connection_recv_bytes(b, TINE_SEC(600), &bytes, &size), 0);
        else
            ck_assert_rc(tine_connection_recv_view(b, TINE_SEC(600), &message), 0);
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

SUITE(PIPE_TRANSPORT == TINE_RING ? "ipc/pipe_ring" : "ipc/pipe")
