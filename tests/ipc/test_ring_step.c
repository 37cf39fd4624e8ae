/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of sending to a ring and receiving from it: a record is there as
 * a whole or not at all, it is taken once or not at all, and the survivor sends and receives as
 * before.
 */
#include "tests/ipc/ring_help.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/wait.h"

#define POINTS 25

HEAP_BEFORE_TESTS

/*
 * Instead of tine__owner_word_lives(): what it reads from /proc takes thousands of instructions
 * that concern no shared memory. The dead of these tests are reaped.
 */
bool __wrap_tine__owner_word_lives(uint64_t word);
bool __wrap_tine__owner_word_lives(uint64_t word)
{
    return kill(tine__owner_word_pid(word), 0) == 0;
}

enum { CAPACITY = 1024, RECORD = 300, VICTIM = 9 };

struct scene {
    struct tine__ring ring;
    uint64_t in, out; /* of the survivor */
    uint32_t standing;
    bool done;  /* an earlier victim had done it already … */
    long steps; /* … after so many steps */
    char buffer[RECORD];
};

static struct scene *scene_new(uint32_t standing)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->ring =
        ring_new(&(struct tine__ring_options){.capacity = CAPACITY, .record_max = RECORD});
    scene->standing = standing;
    return scene;
}

static int send_mark(struct scene *scene, uint32_t producer, uint64_t number, int64_t timeout_ns)
{
    build(scene->buffer, (struct mark){.producer = producer, .number = number, .size = RECORD});
    return send_whole(&scene->ring, scene->buffer, RECORD, timeout_ns);
}

/* The next record, if there is one. */
static bool next_mark(struct scene *scene, struct mark *mark)
{
    size_t needed;
    ssize_t size = recv_whole(&scene->ring, scene->buffer, RECORD, 0, &needed);

    if (size == -EAGAIN)
        return false;
    ck_assert_rc(size, RECORD);
    *mark = check_built(scene->buffer, RECORD);
    return true;
}

/* ---- before ---------------------------------------------------------------------------------- */

static void make_standing(void *context)
{
    struct scene *scene = context;

    for (uint32_t i = 0; i < scene->standing; i++)
        ck_assert_rc(send_mark(scene, 0, scene->in++, 0), 0);
}

static void send_and_end(void *context)
{
    ck_assert_rc(send_mark(context, 1, 0, 0), 0);
}

/* From two producers, of which the other is the older one. */
static void make_standing_in_two_lanes(void *context)
{
    struct child child = child_start(send_and_end, context);

    child_join(&child);
    make_standing(context);
}

/* ---- the victim ------------------------------------------------------------------------------ */

static void use_another(void *context)
{
    struct tine__ring ring = ring_new(NULL);

    (void)context;
    ck_assert_rc(send_number(&ring, 1, 0), 0);
    ck_assert_uint_eq(recv_number(&ring), 1);
    ring_free(&ring);
}

/* Has a lane, from which nothing is to be received any more. */
static void have_lane(void *context)
{
    struct scene *scene = context;
    struct mark mark;

    ck_assert_rc(send_mark(scene, VICTIM, 0, 0), 0);
    while (next_mark(scene, &mark))
        ck_assert(mark.producer == VICTIM || mark.number == scene->out++);
}

static void have_full_lane(void *context)
{
    have_lane(context);
    while (send_mark(context, VICTIM, 0, 0) == 0)
        ;
}

static void send(void *context)
{
    ck_assert_rc(send_mark(context, VICTIM, 1, TINE_FOREVER), 0);
}

static void leave(void *context)
{
    struct scene *scene = context;

    tine__ring_leave(&scene->ring);
}

static void recv(void *context)
{
    struct scene *scene = context;
    struct mark mark;

    ck_assert(next_mark(scene, &mark));
}

static void recv_for_ever(void *context)
{
    struct scene *scene = context;
    size_t needed;
    ssize_t rc = recv_whole(&scene->ring, scene->buffer, RECORD, TINE_FOREVER, &needed);

    ck_abort_msg("received: %zd", rc);
}

/* ---- the survivor ---------------------------------------------------------------------------- */

static void go_on(struct scene *scene)
{
    struct mark mark;

    for (int i = 0; i < 5; i++) {
        ck_assert_rc(send_mark(scene, 0, scene->in, 0), 0);
        ck_assert_rc(tine__ring_poll(&scene->ring, 0), 0);
        ck_assert(next_mark(scene, &mark));
        ck_assert_uint_eq(mark.producer, 0);
        ck_assert_uint_eq(mark.number, scene->in++);
    }
    scene->out = scene->in;
    ck_assert(!next_mark(scene, &mark));
    ck_assert_uint_eq(tine__ring_used(scene->ring.shared), 0);
}

/* Once done after some steps, always done after more. */
static void check_monotonic(struct scene *scene, long steps, bool done)
{
    if (steps > scene->steps)
        ck_assert_msg(done || !scene->done, "done after %ld steps, not after %ld", scene->steps,
                      steps);
    scene->done = done;
    scene->steps = steps;
}

static void check_sent(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    struct mark mark;
    int got = 0;

    (void)victim;
    while (next_mark(scene, &mark)) {
        if (mark.producer == VICTIM && mark.number == 1)
            got++;
        else if (mark.producer == 0)
            ck_assert_uint_eq(mark.number, scene->out++);
    }
    ck_assert_int_le(got, 1);
    ck_assert_uint_eq(scene->out, scene->in);
    check_monotonic(scene, steps, got == 1);
    go_on(scene);
}

static void check_received(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    struct mark mark;
    uint32_t got = 0;

    (void)victim;
    while (next_mark(scene, &mark))
        got++;
    ck_assert_uint_le(got, scene->standing);
    ck_assert_uint_ge(got + 1, scene->standing);
    check_monotonic(scene, steps, got < scene->standing);
    go_on(scene);
}

static void check_alive(long steps, pid_t victim, void *context)
{
    struct mark mark;

    (void)steps, (void)victim;
    while (next_mark(context, &mark))
        ;
    go_on(context);
}

static void run(struct scene *scene, struct step step)
{
    step.context = scene;
    step_kill_everywhere(&step, POINTS);
    ck_assert_rc(tine__ring_poll(&scene->ring, 0), -EAGAIN);
    ring_free(&scene->ring);
    assert_heap_sound();
}

/* The place of the record moves with each victim, so the padding before the wrap is met as well. */
TEST(killed_sending, .timeout_s = 600)
{
    run(scene_new(0), (struct step){.prepare = have_lane, .run = send, .check = check_sent});
}

TEST(killed_sending_after_others, .timeout_s = 600)
{
    run(scene_new(2),
        (struct step){
            .before = make_standing, .prepare = have_lane, .run = send, .check = check_sent});
}

/* Takes over the lane of the victim before, or adds one. */
TEST(killed_sending_for_the_first_time, .timeout_s = 600)
{
    run(scene_new(1),
        (struct step){
            .before = make_standing, .prepare = use_another, .run = send, .check = check_sent});
}

TEST(killed_waiting_for_room, .timeout_s = 600)
{
    run(scene_new(0),
        (struct step){
            .prepare = have_full_lane, .run = send, .check = check_alive, .sleeps_ms = 5});
}

TEST(killed_leaving, .timeout_s = 600)
{
    run(scene_new(0), (struct step){.prepare = have_lane, .run = leave, .check = check_alive});
}

TEST(killed_receiving, .timeout_s = 600, .loop_end = 2)
{
    run(scene_new((uint32_t)loop_index + 1),
        (struct step){.before = make_standing, .run = recv, .check = check_received});
}

TEST(killed_receiving_from_two_lanes, .timeout_s = 600)
{
    struct scene *scene = scene_new(1);

    scene->standing = 1;
    run(scene,
        (struct step){.before = make_standing_in_two_lanes, .run = recv, .check = check_alive});
}

TEST(killed_waiting_to_receive, .timeout_s = 600)
{
    run(scene_new(0), (struct step){.run = recv_for_ever, .check = check_alive, .sleeps_ms = 5});
}

/* ---- destruction ----------------------------------------------------------------------------- */

static void empty(void *context)
{
    struct scene *scene = context;

    tine__ring_empty(scene->ring.shared);
}

static void make_ring(void *context)
{
    struct scene *scene = context;

    scene->ring =
        ring_new(&(struct tine__ring_options){.capacity = CAPACITY, .record_max = RECORD});
    make_standing_in_two_lanes(context);
}

static void check_emptied(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;

    (void)steps, (void)victim;
    ring_free(&scene->ring);
    assert_heap_sound();
}

TEST(killed_emptying, .timeout_s = 600)
{
    struct scene *scene = scene_new(1);

    ring_free(&scene->ring);
    step_kill_everywhere(
        &(struct step){.before = make_ring, .run = empty, .check = check_emptied, .context = scene},
        POINTS);
}

SUITE("ipc/ring_step")
