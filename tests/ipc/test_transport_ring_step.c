/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of sending and receiving a message that lies in a block, or has a
 * descriptor with it, over a ring: it comes whole or not at all, once, and its slot is free again
 * afterwards.
 */
#include <errno.h>
#include <signal.h>
#include <sys/uio.h>

#include "ipc/handles.h"
#include "ipc/transport_ring.h"
#include "shm/owner.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/step.h"

#define POINTS 20

HEAP_BEFORE_TESTS

/* As in test_ring_step.c. */
bool __wrap_tine__owner_word_lives(uint64_t word);
bool __wrap_tine__owner_word_lives(uint64_t word)
{
    return kill(tine__owner_word_pid(word), 0) == 0;
}

enum { LARGE = 65537 };

/* Instead of memcpy() of a whole message, which is one instruction for each byte: a single step. */
void *__real_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memcpy(void *to, const void *from, size_t size)
{
    struct iovec here = {to, size}, there = {(void *)(uintptr_t)from, size};

    if (size < LARGE || process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)size)
        return __real_memcpy(to, from, size);
    return to;
}

static struct ends ends;
static struct tine__ring_pair_shm *shared;
static uint8_t bytes[LARGE], room[LARGE];
static bool gone; /* by an earlier victim, after … */
static long after;

static void open_ends(void)
{
    struct tine__handle_parts parts;

    ends = pipe_with(NULL);
    ck_assert_rc(tine__handle_kinds[0]->give(ends.a, &parts), 0);
    shared = (struct tine__ring_pair_shm *)(uintptr_t)parts.words[0];
}

static void send_large(void *context)
{
    (void)context;
    ck_assert_rc(tine_connection_send_bytes(ends.a, bytes, LARGE, TINE_FOREVER), 0);
}

static void have_lane(void *context)
{
    (void)context;
    ck_assert_rc(tine_connection_send_bytes(ends.a, "", 0, TINE_FOREVER), 0);
}

static void receive_large(void *context)
{
    size_t size;

    (void)context;
    ck_assert_rc(tine_connection_recv_bytes_into(ends.b, room, LARGE, 0, &size), 0);
}

static void read_large_in_place(void *context)
{
    tine_message message;

    (void)context;
    ck_assert_rc(tine_connection_recv_view(ends.b, 0, &message), 0);
    tine_message_release(&message);
}

/* How many large messages are there. */
static int take_all(void)
{
    tine_message message;
    int count = 0, rc;

    while ((rc = tine_connection_recv_view(ends.b, 0, &message)) == 0) {
        count += message.size == LARGE;
        if (message.size > 0)
            stamp_check(message.data, message.size);
        tine_message_release(&message);
    }
    ck_assert_rc(rc, -EAGAIN);
    return count;
}

/* Whoever looks sweeps. */
static bool all_slots_are_free(void)
{
    ck_assert_rc(tine_connection_poll(ends.b, 0), 0);
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        if (shared->blocks[0].slots[i].word != 0)
            return false;
    return true;
}

static void go_on(void)
{
    ck_assert_eventually(all_slots_are_free());
    for (int i = 0; i < 3; i++) {
        send_large(NULL);
        ck_assert_int_eq(take_all(), 1);
    }
}

/* One that is sent, or received, after some steps is so after more. */
static void check_monotonic(long steps, bool done)
{
    if (steps > after)
        ck_assert_msg(done || !gone, "after %ld steps, not after %ld", after, steps);
    gone = done;
    after = steps;
}

static void check_sent(long steps, pid_t victim, void *context)
{
    int count = take_all();

    (void)victim, (void)context;
    ck_assert_int_le(count, 1);
    check_monotonic(steps, count == 1);
    go_on();
}

static void check_received(long steps, pid_t victim, void *context)
{
    int count = take_all();

    (void)victim, (void)context;
    ck_assert_int_le(count, 1);
    check_monotonic(steps, count == 0);
    go_on();
}

static void run(const struct step *step)
{
    open_ends();
    stamp_fill(bytes, LARGE, (struct stamp){1, 1});
    step_kill_everywhere(step, POINTS);
    tine_connection_close(ends.a);
    tine_connection_close(ends.b);
    /* Each may have lost the block that it was getting from, or giving back to, the heap. */
    ck_assert_uint_le(heap_blocks(), ends.blocks + 2 * POINTS);
}

TEST(a_sender_is_killed_anywhere, .timeout_s = 60)
{
    run(&(struct step){.prepare = have_lane, .run = send_large, .check = check_sent});
}

TEST(a_receiver_is_killed_anywhere, .timeout_s = 60, .loop_end = 2)
{
    run(&(struct step){.before = send_large,
                       .run = loop_index == 0 ? receive_large : read_large_in_place,
                       .check = check_received});
}

/* ---- beside the ring ------------------------------------------------------------------------- */

static void send_file(void *context)
{
    (void)context;
    ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "F", STDIN_FILENO), 0);
}

static void receive_file(void *context)
{
    int fd = -1;

    (void)context;
    ck_assert_rc(tine_connection_recv(ends.b, 0, "F", &fd), 0);
    ck_assert_int_eq(close(fd), 0);
}

/* How many have come but for one more, which brings along what no note stands for. */
static int take_files(void)
{
    int64_t end;
    size_t size;
    int count = 0;

    send_file(NULL);
    ck_assert_rc(tine_connection_send(ends.a, TINE_FOREVER, "q", INT64_C(7)), 0);
    for (;;) {
        int rc = tine_connection_recv_bytes_into(ends.b, NULL, 0, TINE_FOREVER, &size);

        if (rc == 0) /* what have_lane() sends */
            continue;
        ck_assert_rc(rc, -EMSGSIZE);
        if (size == 1)
            break;
        receive_file(NULL);
        count++;
    }
    ck_assert_rc(tine_connection_recv(ends.b, 0, "q", &end), 0);
    return count - 1;
}

static void check_files(long steps, bool done, int count)
{
    ck_assert_int_le(count, 1);
    check_monotonic(steps, done);
    for (int i = 0; i < 2; i++) {
        send_file(NULL);
        receive_file(NULL);
    }
}

static void check_file_sent(long steps, pid_t victim, void *context)
{
    int count = take_files();

    (void)victim, (void)context;
    check_files(steps, count == 1, count);
}

static void check_file_received(long steps, pid_t victim, void *context)
{
    int count = take_files();

    (void)victim, (void)context;
    check_files(steps, count == 0, count);
}

TEST(a_sender_of_descriptors_is_killed_anywhere, .timeout_s = 60)
{
    run(&(struct step){.prepare = have_lane, .run = send_file, .check = check_file_sent});
}

TEST(a_receiver_of_descriptors_is_killed_anywhere, .timeout_s = 60)
{
    run(&(struct step){.before = send_file, .run = receive_file, .check = check_file_received});
}

SUITE("ipc/transport_ring_step")
