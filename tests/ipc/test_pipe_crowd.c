/* SPDX-License-Identifier: MIT */
/* Pipes: many processes and threads at either end. */
#include <errno.h>
#include <pthread.h>

#include "tests/ipc/pipe_help.h"

HEAP_BEFORE_TESTS

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

SUITE(PIPE_TRANSPORT == TINE_RING ? "ipc/pipe_crowd_ring" : "ipc/pipe_crowd")
