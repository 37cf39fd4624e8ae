/* SPDX-License-Identifier: MIT */
/* Rings: the end of either side, and wake-ups that are passed on. */
#include <errno.h>
#include <stdatomic.h>

#include "tests/ipc/ring_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(after_the_writers_all_can_be_read)
{
    struct tine__ring ring = ring_new(NULL);
    uint64_t number;
    size_t needed;

    ck_assert_rc(send_number(&ring, 1, 0), 0);
    tine__ring_end(ring.shared, TINE__RING_WRITERS);
    ck_assert(tine__ring_ended(ring.shared, TINE__RING_WRITERS));
    ck_assert(!tine__ring_ended(ring.shared, TINE__RING_READERS));
    ck_assert_rc(send_number(&ring, 2, 0), -EPIPE);
    ck_assert_uint_eq(recv_number(&ring), 1);
    ck_assert_rc(tine__ring_poll(&ring, 0), 0);
    ck_assert_rc(recv_whole(&ring, &number, 8, TINE_FOREVER, &needed), TINE_EEOF);
    ck_assert_rc(recv_whole(&ring, &number, 8, 0, &needed), TINE_EEOF);
    ring_free(&ring);
}

TEST(without_readers_nothing_is_sent)
{
    struct tine__ring ring = ring_new(NULL);

    tine__ring_end(ring.shared, TINE__RING_READERS);
    ck_assert_rc(send_number(&ring, 1, TINE_FOREVER), -EPIPE);
    ck_assert_rc(tine__ring_poll_writable(&ring, until(TINE_FOREVER)), 0);
    ring_free(&ring);
}

static void recv_end(void *context)
{
    uint64_t number;
    size_t needed;

    ck_assert_rc(recv_whole(context, &number, 8, TINE_FOREVER, &needed), TINE_EEOF);
}

static void send_until_no_reader(void *context)
{
    int rc;

    do
        rc = send_number(context, 1, TINE_FOREVER);
    while (rc == 0);
    ck_assert_rc(rc, -EPIPE);
}

TEST(sleepers_hear_of_the_end, .loop_end = 2)
{
    struct tine__ring ring = ring_new(SMALL);
    struct child children[2];

    for (int i = 0; i < 2; i++)
        children[i] = child_start(loop_index == 0 ? recv_end : send_until_no_reader, &ring);
    for (int i = 0; i < 2; i++)
        ck_assert_eventually(proc_asleep(children[i].pid));
    tine__ring_end(ring.shared, loop_index == 0 ? TINE__RING_WRITERS : TINE__RING_READERS);
    for (int i = 0; i < 2; i++)
        child_join(&children[i]);
    ring_free(&ring);
}

static bool is_alive(void *context, int side)
{
    const _Atomic bool *alive = context;

    return alive[side];
}

struct lives {
    struct tine__ring ring;
    _Atomic bool alive[2];
};

static void recv_all(void *context)
{
    struct lives *lives = context;

    recv_end(&lives->ring);
}

static void send_all(void *context)
{
    struct lives *lives = context;

    send_until_no_reader(&lives->ring);
}

TEST(sleepers_look_whether_the_others_live, .loop_end = 2)
{
    struct lives *lives = shared_memory(sizeof *lives);
    struct tine__ring ring = ring_new(SMALL);
    struct child child;

    lives->alive[0] = lives->alive[1] = true;
    tine__ring_open(&lives->ring, ring.shared, is_alive, lives->alive);
    child = child_start(loop_index == 0 ? recv_all : send_all, lives);
    ck_assert_eventually(proc_asleep(child.pid));
    lives->alive[loop_index == 0 ? TINE__RING_WRITERS : TINE__RING_READERS] = false;
    child_join(&child);
    ring_free(&ring);
}

TEST(who_never_sleeps_learns_it_too)
{
    struct lives *lives = shared_memory(sizeof *lives);
    struct tine__ring ring = ring_new(SMALL);
    uint64_t number;
    size_t needed;

    tine__ring_open(&lives->ring, ring.shared, is_alive, lives->alive);
    ck_assert_eventually(recv_whole(&lives->ring, &number, 8, 0, &needed) == TINE_EEOF);
    ring_free(&ring);
}

/* ---- waking ---------------------------------------------------------------------------------- */

static void poll_once(void *context)
{
    ck_assert_rc(tine__ring_poll(context, until(TINE_FOREVER)), 0);
}

TEST(who_only_looks_wakes_the_next)
{
    struct tine__ring ring = ring_new(NULL);
    struct child children[4];

    for (int i = 0; i < 4; i++)
        children[i] = child_start(i < 3 ? poll_once : recv_one, &ring);
    for (int i = 0; i < 4; i++)
        ck_assert_eventually(proc_asleep(children[i].pid));
    ck_assert_rc(send_number(&ring, 7, 0), 0);
    child_join(&children[3]);
    /* Those who looked too late. */
    ck_assert_rc(send_number(&ring, 7, 0), 0);
    for (int i = 0; i < 3; i++)
        child_join(&children[i]);
    ring_free(&ring);
}

SUITE("ipc/ring_ends")
