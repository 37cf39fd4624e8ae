/* SPDX-License-Identifier: MIT */
/* Calls: clients and servers that do harm. */
#include <tine/rpc.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/rpc_message.h"
#include "tests/ipc/meet.h"
#include "tests/ipc/rpc_help.h"
#include "tests/ipc/rpc_served.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- hostile clients ------------------------------------------------------------------------- */

static void expect_end(tine_connection *connection)
{
    void *bytes;
    size_t size;
    int rc;

    do {
        rc = tine_connection_recv_bytes(connection, TINE_SEC(600), &bytes, &size);
        if (rc == 0)
            free(bytes);
    } while (rc == 0);
    ck_assert(rc == TINE_EEOF || rc == -ECONNRESET || rc == -EBADMSG);
    tine_connection_close(connection);
}

TEST(nonsense_costs_the_connection_only)
{
    static const struct {
        const char *bytes;
        size_t size;
    } nonsense[] = {
        {"", 0},                                     /* nothing */
        {"\xc0", 1},                                 /* nil */
        {"\x90", 1},                                 /* [] */
        {"\x94\x00\x01\xa1x", 5},                    /* cut short */
        {"\x94\x00\x01\xa1x\x90\x00", 7},            /* more than one value */
        {"\x94\x00\x01\xa1x\x80", 6},                /* arguments that are a map */
        {"\x94\x00\xff\xa1x\x90", 6},                /* id -1 */
        {"\x94\x00\x01\x01\x90", 5},                 /* a name that is a number */
        {"\x93\x00\x01\xa1x", 5},                    /* no arguments */
        {"\x95\x00\x01\xa1x\x90\xc0", 7},            /* one more */
        {"\x94\x01\x01\xc0\xc0", 5},                 /* an answer */
        {"\x94\x03\x01\xa1x\x90", 6},                /* no such kind */
        {"\x94\xff\x01\xa1x\x90", 6},                /* likewise */
        {"\x93\x02\xabtine.cancel\x90", 15},         /* cancels nothing */
        {"\x93\x02\xabtine.cancel\x92\x01\x02", 17}, /* cancels too much */
        {"\xdd\xff\xff\xff\xff", 5},                 /* four milliards of values */
        {"\x94\x00\x01\xa1x\xdd\xff\xff\xff\xff", 10},
    };
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        tine_connection *stranger = rpc_scene_dial(&scene, NULL);

        ck_assert_rc(
            tine_connection_send_bytes(stranger, nonsense[i].bytes, nonsense[i].size, TINE_FOREVER),
            0);
        expect_end(stranger);
        check_well(rpc);
    }
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(random_bytes_harm_nobody)
{
    struct rpc_scene scene;
    tine_rpc *rpc;

    open_all(&scene, NULL);
    rpc = rpc_scene_client(&scene);
    for (int i = 0; i < 200; i++) {
        tine_connection *stranger = rpc_scene_dial(&scene, NULL);
        uint8_t bytes[64];

        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)random_below(256);
        bytes[0] = (uint8_t)(0x93 + random_below(2));
        bytes[1] = (uint8_t)random_below(3);
        ck_assert_rc(
            tine_connection_send_bytes(stranger, bytes, random_below(sizeof bytes), TINE_FOREVER),
            0);
        tine_connection_close(stranger);
    }
    check_well(rpc);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

/* As many requests as go in without waiting for long. */
static int ask_and_never_read(tine_connection *greedy, const char *name, uint64_t argument,
                              int most)
{
    tine_buffer message = {.data = NULL};
    int asked = 0;

    ck_assert_rc(tine_pack(&message, "[BQs[Q]]", TINE__RPC_REQUEST, UINT64_C(1), name, argument),
                 0);
    while (asked < most &&
           tine_connection_send_bytes(greedy, message.data, message.size, TINE_MS(100)) == 0)
        asked++;
    tine_buffer_free(&message);
    return asked;
}

TEST(who_takes_no_answers_is_read_no_further)
{
    enum { ANSWER = 100000, ANSWERS_MAX = 1000000 / ANSWER + 1 + 3 /* in the sockets */ };
    tine_rpc_server_options options = {.bytes_max = 1000000, .send_timeout_ns = TINE_SEC(1)};
    struct rpc_scene scene;
    tine_connection *greedy;
    _Atomic int calls = 0;
    tine_rpc *rpc;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "fill", fill, &calls);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    rpc = rpc_scene_client(&scene);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "fill", ANSWER, 100), 100);
    ck_assert_eventually(atomic_load(&calls) >= 10);
    check_well(rpc);
    ck_assert_int_le(atomic_load(&calls), ANSWERS_MAX);
    ck_assert_eventually(tine_connection_send_bytes(greedy, "", 0, 0) == -EPIPE);
    ck_assert_int_le(atomic_load(&calls), ANSWERS_MAX);
    check_well(rpc);
    expect_end(greedy);
    tine_rpc_close(rpc);
    rpc_scene_close(&scene);
}

TEST(who_takes_answers_slowly_gets_them_all)
{
    enum { ANSWERS = 60, ANSWER = 100000 };
    tine_rpc_server_options options = {.bytes_max = 300000};
    struct rpc_scene scene;
    tine_connection *slow;
    _Atomic int calls = 0;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "fill", fill, &calls);
    rpc_scene_start(&scene);
    slow = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(slow, "fill", ANSWER, ANSWERS), ANSWERS);
    for (int i = 0; i < ANSWERS; i++) {
        tine_message message;

        ck_assert_rc(tine_connection_recv_view(slow, TINE_FOREVER, &message), 0);
        ck_assert_uint_ge(message.size, ANSWER);
        tine_message_release(&message);
    }
    ck_assert_int_eq(atomic_load(&calls), ANSWERS);
    tine_connection_close(slow);
    rpc_scene_close(&scene);
}

/* Answers of another thread's, while the server sleeps: it has to send the rest of them. */
TEST(late_answers_that_have_no_room_follow)
{
    enum { CALLS = 8, ANSWER = 1000000 };
    struct keeper *keeper = keeper_new();
    void *bytes = calloc(1, ANSWER);
    struct rpc_scene scene;
    tine_connection *slow;

    open_all(&scene, keeper);
    slow = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(slow, "keep", 1, CALLS), CALLS);
    ck_assert_eventually(atomic_load(&keeper->seen) == CALLS);
    for (size_t i = 0; i < CALLS; i++)
        ck_assert_rc(tine_rpc_reply(keeper->kept[i], "y", bytes, (size_t)ANSWER), 0);
    for (size_t i = 0; i < CALLS; i++) {
        tine_message message;

        ck_assert_rc(tine_connection_recv_view(slow, TINE_FOREVER, &message), 0);
        ck_assert_uint_ge(message.size, ANSWER);
        tine_message_release(&message);
    }
    free(bytes);
    tine_connection_close(slow);
    rpc_scene_close(&scene);
}

static void open_keeping(struct rpc_scene *scene, const tine_rpc_server_options *options,
                         struct keeper *keeper)
{
    rpc_scene_open(scene, options);
    rpc_scene_add(scene, "keep", keep, keeper);
    rpc_scene_add(scene, "add", add, NULL);
    rpc_scene_start(scene);
}

TEST(who_takes_no_late_answers_is_dropped)
{
    tine_rpc_server_options options = {.send_timeout_ns = TINE_MS(50)};
    struct keeper *keeper = keeper_new();
    void *bytes = calloc(1, 1000000);
    struct rpc_scene scene;
    tine_connection *greedy;

    open_keeping(&scene, &options, keeper);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "keep", 1, 2), 2);
    ck_assert_eventually(atomic_load(&keeper->seen) == 2);
    ck_assert_rc(tine_rpc_reply(keeper->kept[0], "y", bytes, (size_t)1000000), 0);
    ck_assert_eventually(tine_rpc_cancelled(keeper->kept[1]));
    tine_rpc_drop(keeper->kept[1]);
    expect_end(greedy);
    check_server_well(&scene);
    free(bytes);
    rpc_scene_close(&scene);
}

TEST(no_more_requests_are_taken_than_allowed)
{
    tine_rpc_server_options options = {.requests_max = 5};
    struct keeper *keeper = keeper_new();
    tine_rpc_future *futures[12];
    struct rpc_scene scene;
    tine_rpc *rpc, *other;

    open_keeping(&scene, &options, keeper);
    rpc = rpc_scene_client(&scene);
    other = rpc_scene_client(&scene);
    for (int64_t i = 0; i < 12; i++)
        ck_assert_rc(tine_rpc_submit(&futures[i], rpc, TINE_FOREVER, "keep", "q", i), 0);
    ck_assert_eventually(atomic_load(&keeper->seen) == 5);
    check_well(other);
    ck_assert_uint_eq(atomic_load(&keeper->seen), 5);
    for (size_t i = 0; i < 12; i++) {
        ck_assert_eventually(atomic_load(&keeper->seen) > i);
        keeper_answer(keeper, i);
        ck_assert_rc(tine_rpc_future_wait(futures[i], TINE_FOREVER), 0);
        tine_rpc_future_close(futures[i]);
    }
    tine_rpc_close(rpc);
    tine_rpc_close(other);
    rpc_scene_close(&scene);
}

TEST(a_client_at_its_limit_may_die)
{
    tine_rpc_server_options options = {.requests_max = 2};
    struct keeper *keeper = keeper_new();
    struct rpc_scene scene;
    tine_connection *greedy;

    open_keeping(&scene, &options, keeper);
    greedy = rpc_scene_dial(&scene, NULL);
    ck_assert_int_eq(ask_and_never_read(greedy, "keep", 1, 5), 5);
    ck_assert_eventually(atomic_load(&keeper->seen) == 2);
    tine_connection_close(greedy);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_eventually(tine_rpc_cancelled(keeper->kept[i]));
        keeper_answer(keeper, i);
    }
    check_server_well(&scene);
    rpc_scene_close(&scene);
}

TEST(more_clients_than_allowed_wait)
{
    tine_rpc_server_options options = {.clients_max = 2};
    struct dialling third;
    struct rpc_scene scene;
    tine_rpc *a, *b, *c;

    rpc_scene_open(&scene, &options);
    rpc_scene_add(&scene, "add", add, NULL);
    rpc_scene_start(&scene);
    a = rpc_scene_client(&scene);
    check_well(a);
    b = rpc_scene_client(&scene);
    check_well(b);
    dialling_start(&third, scene.listener, NULL);
    check_well(a);
    tine_rpc_close(a);
    ck_assert_rc(dialling_end(&third), 0);
    ck_assert_rc(tine_rpc_open(&c, third.connection), 0);
    check_well(c);
    check_well(b);
    tine_rpc_close(b);
    tine_rpc_close(c);
    rpc_scene_close(&scene);
}

/* ---- hostile servers ------------------------------------------------------------------------- */

TEST(a_server_that_talks_nonsense_ends_the_calls)
{
    static const char *const nonsense[] = {"\x91\x01", "\x93\x01\x01\xc0", "\xc1"};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_rpc *rpc;

    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
        ck_assert_rc(tine_rpc_open(&rpc, end), 0);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
        ck_assert_rc(tine_connection_send_bytes(server, nonsense[i], strlen(nonsense[i]), 0), 0);
        ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), TINE_EFORMAT);
        tine_rpc_future_close(future);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), TINE_EFORMAT);
        tine_rpc_close(rpc);
        tine_connection_close(server);
    }
}

/* What the answer with these letters is taken for. */
static void answer_raw(tine_connection *server, tine_rpc_future *future, const char *format,
                       tine_failure *failure)
{
    tine_buffer message = {.data = NULL};

    ck_assert_rc(tine_pack(&message, format, 1, UINT32_C(1), "trouble", 3), 0);
    ck_assert_rc(tine_connection_send_bytes(server, message.data, message.size, 0), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), TINE_EREMOTE);
    ck_assert_rc(tine_rpc_future_failure(future, failure), 1);
    tine_rpc_future_close(future);
    tine_buffer_free(&message);
}

TEST(errors_of_other_implementations_are_understood)
{
    static const char *const formats[] = {"[BIsB]", "[BI[s]B]", "[BI{sB}n]", "[BI[[sB]]n]"};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_failure failure;
    tine_rpc *rpc;

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
        ck_assert_rc(tine_rpc_open(&rpc, end), 0);
        ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
        answer_raw(server, future, formats[i], &failure);
        ck_assert_int_eq(failure.error, 0);
        ck_assert_str_eq(failure.message, i < 2 ? "trouble" : "");
        tine_rpc_close(rpc);
        tine_connection_close(server);
    }
}

TEST(answers_to_nothing_and_questions_are_passed_over)
{
    static const char others[] = "\x94\x01\x07\xc0\x01"                 /* another id */
                                 "\x94\x01\xcf\1\0\0\0\0\0\0\1\xc0\x01" /* a longer one */
                                 "\x94\x00\x01\xa1x\x90"                /* a request */
                                 "\x93\x02\xa1x\x90";                   /* a notice */
    static const size_t ends[] = {5, 18, 24, 29};
    tine_connection *server, *end;
    tine_rpc_future *future;
    tine_rpc *rpc;
    size_t from = 0;

    ck_assert_rc(tine_pipe(&server, &end, NULL), 0);
    ck_assert_rc(tine_rpc_open(&rpc, end), 0);
    ck_assert_rc(tine_rpc_submit(&future, rpc, 0, "x", ""), 0);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        ck_assert_rc(tine_connection_send_bytes(server, others + from, ends[i] - from, 0), 0);
        from = ends[i];
    }
    ck_assert_rc(tine_rpc_future_wait(future, 0), -EAGAIN);
    ck_assert_rc(tine_connection_send(server, 0, "[BBnB]", 1, 1, 5), 0);
    ck_assert_rc(tine_rpc_future_result(future, TINE_FOREVER, NULL), 0);
    tine_rpc_future_close(future);
    tine_rpc_close(rpc);
    tine_connection_close(server);
}

SUITE("ipc/rpc_hostile")
