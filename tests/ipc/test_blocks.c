/* SPDX-License-Identifier: MIT */
/*
 * The table of large messages without a transport: what each state means when its process is dead,
 * and that a message is thought lost only when nobody can have it any more.
 */
#include "ipc/blocks.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>

#include "tests/ipc/pipe_help.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

#define SIZE ((size_t)100000)

/* In shared memory: the table, and a message in it. */
struct world {
    struct tine__blocks_shm *blocks;
    struct tine__block block;
    struct gate *here, *go;
};

static struct world *world_new(uint32_t epoch)
{
    struct world *world = shared_memory(sizeof *world);

    world->blocks = tine_aligned_alloc(64, sizeof *world->blocks);
    ck_assert_ptr_nonnull(world->blocks);
    memset(world->blocks, 0, sizeof *world->blocks);
    tine__blocks_init(world->blocks, epoch);
    world->here = gate_new();
    world->go = gate_new();
    return world;
}

/* Everything is free again, and the heap has no block of the table's left. */
static void world_end(struct world *world)
{
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        ck_assert_uint_eq(world->blocks->slots[i].word, 0);
    tine__blocks_empty(world->blocks);
    tine__blocks_empty(world->blocks); /* as after a death in the first */
    tine_free(world->blocks);
    ck_assert_uint_eq(heap_blocks(), 0);
}

static bool as_told(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return drain->fd != 0;
}

/* How many slots came back; empty: whether the transport says that all is received. */
static uint32_t sweep(struct world *world, bool empty)
{
    return tine__blocks_sweep(world->blocks, &(struct tine__drain){as_told, empty});
}

static void take(struct world *world)
{
    ck_assert_rc(tine__blocks_take(world->blocks, SIZE, &world->block), 0);
    memset(world->block.data, 7, SIZE);
}

static int accept_it(struct world *world, struct tine__block *got)
{
    return tine__blocks_accept(world->blocks, tine__blocks_index(world->blocks, &world->block),
                               world->block.generation, SIZE, got);
}

static void run_and_die(struct world *world, void (*body)(struct world *))
{
    struct child child = child_start((void (*)(void *))body, world);

    child_join(&child);
}

/* ---- the way of a message -------------------------------------------------------------------- */

TEST(a_message_is_accepted_once_and_its_block_used_again)
{
    struct world *world = world_new(1);
    void *data = NULL;

    for (int i = 0; i < 100; i++) {
        struct tine__block got, again;

        take(world);
        ck_assert(data == NULL || data == world->block.data);
        data = world->block.data;
        ck_assert_rc(accept_it(world, &got), TINE_EFORMAT); /* not sent yet */
        tine__blocks_fly(&world->block);
        ck_assert_rc(accept_it(world, &got), 0);
        ck_assert_rc(accept_it(world, &again), TINE_EFORMAT);
        tine__blocks_sent(world->blocks, &world->block); /* late */
        ck_assert_ptr_eq(got.data, data);
        tine__blocks_release(world->blocks, &got);
        tine__blocks_release(world->blocks, &got);
    }
    world_end(world);
}

TEST(names_of_other_messages_are_refused)
{
    struct world *world = world_new(1);
    struct tine__blocks_shm *blocks = world->blocks;
    struct tine__block got;
    uint32_t index;

    take(world);
    tine__blocks_fly(&world->block);
    index = tine__blocks_index(blocks, &world->block);
    ck_assert_rc(tine__blocks_accept(blocks, UINT32_MAX, 1, SIZE, &got), TINE_EFORMAT);
    ck_assert_rc(tine__blocks_accept(blocks, index + 1, 1, SIZE, &got), TINE_EFORMAT);
    ck_assert_rc(tine__blocks_accept(blocks, index, 0, SIZE, &got), TINE_EFORMAT);
    ck_assert_rc(tine__blocks_accept(blocks, index, 1, SIZE + 1, &got), TINE_EFORMAT);
    ck_assert_rc(accept_it(world, &got), 0);
    tine__blocks_release(blocks, &got);
    world_end(world);
}

TEST(a_message_that_could_not_be_sent_gives_its_slot_back)
{
    struct world *world = world_new(1);

    take(world);
    tine__blocks_fly(&world->block);
    tine__blocks_drop(world->blocks, &world->block);
    world_end(world);
}

/* A few large ones, or some megabytes, may be on their way; what is being read does not count. */
TEST(the_window_is_bounded_by_what_is_under_way)
{
    struct world *world = world_new(1);
    struct tine__block under_way[3], got;
    size_t large = (size_t)5 << 20;

    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine__blocks_take(world->blocks, large, &under_way[i]), 0);
        tine__blocks_fly(&under_way[i]);
    }
    ck_assert_rc(tine__blocks_take(world->blocks, large, &under_way[2]), -EAGAIN);
    ck_assert_rc(tine__blocks_accept(world->blocks, 0, under_way[0].generation, large, &got), 0);
    ck_assert_rc(tine__blocks_take(world->blocks, large, &under_way[2]), 0);
    tine__blocks_release(world->blocks, &got);
    tine__blocks_drop(world->blocks, &under_way[1]);
    tine__blocks_drop(world->blocks, &under_way[2]);
    world_end(world);
}

TEST(all_slots_can_be_read_at_once)
{
    struct world *world = world_new(1);
    struct tine__block got[TINE__BLOCKS_SLOTS];

    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++) {
        take(world);
        tine__blocks_fly(&world->block);
        ck_assert_rc(accept_it(world, &got[i]), 0);
    }
    ck_assert_rc(tine__blocks_take(world->blocks, SIZE, &world->block), -EAGAIN);
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        tine__blocks_release(world->blocks, &got[i]);
    world_end(world);
}

TEST(free_slots_keep_no_more_than_a_little_memory)
{
    struct world *world = world_new(1);
    tine_heap_report report;

    for (size_t size = (size_t)1 << 20; size <= (size_t)128 << 20; size *= 2) {
        struct tine__block block;

        ck_assert_rc(tine__blocks_take(world->blocks, size, &block), 0);
        tine__blocks_drop(world->blocks, &block);
        ck_assert_rc(tine_heap_check(&report), 0);
        ck_assert_uint_le(report.used_bytes, (size_t)65 << 20);
    }
    world_end(world);
}

/* ---- the dead -------------------------------------------------------------------------------- */

static void fill(struct world *world)
{
    take(world);
}

TEST(what_a_dead_sender_was_filling_is_swept)
{
    struct world *world = world_new(1);

    run_and_die(world, fill);
    ck_assert_uint_eq(sweep(world, false), 1);
    world_end(world);
}

static void fill_and_take_in(struct world *world)
{
    struct tine__block got;

    take(world);
    tine__blocks_fly(&world->block);
    ck_assert_rc(accept_it(world, &got), 0);
}

TEST(what_a_dead_receiver_was_reading_is_swept)
{
    struct world *world = world_new(1);

    run_and_die(world, fill_and_take_in);
    ck_assert_uint_eq(sweep(world, false), 1);
    world_end(world);
}

static void fly(struct world *world)
{
    take(world);
    tine__blocks_fly(&world->block);
}

/* Its record may wait in the socket; then somebody accepts it. */
TEST(a_message_of_a_dead_sender_can_be_received)
{
    struct world *world = world_new(1);
    struct tine__block got;

    run_and_die(world, fly);
    ck_assert_uint_eq(sweep(world, false), 0);
    ck_assert_uint_eq(sweep(world, false), 0);
    ck_assert_rc(accept_it(world, &got), 0);
    ck_assert_int_eq(((char *)got.data)[SIZE - 1], 7);
    tine__blocks_release(world->blocks, &got);
    world_end(world);
}

TEST(a_message_that_a_dead_sender_never_sent_is_swept)
{
    struct world *world = world_new(UINT32_MAX - 1); /* epochs wrap around */

    run_and_die(world, fly);
    ck_assert_uint_eq(sweep(world, false), 0);
    ck_assert_uint_eq(sweep(world, true), 1);
    world_end(world);
}

/* The sender lives, and has not said that it has sent: it may be about to. */
TEST(a_message_that_is_being_sent_is_left_alone)
{
    struct world *world = world_new(1);

    take(world);
    tine__blocks_fly(&world->block);
    ck_assert_uint_eq(sweep(world, true), 0);
    ck_assert_uint_eq(sweep(world, true), 0);
    tine__blocks_sent(world->blocks, &world->block);
    ck_assert_uint_eq(sweep(world, false), 0);
    ck_assert_uint_eq(sweep(world, true), 1); /* received by somebody who is dead by now */
    world_end(world);
}

/* No word of the transport is needed where a later record has come. */
TEST(a_later_record_shows_that_an_earlier_one_is_out)
{
    struct world *world = world_new(UINT32_MAX - 2);
    uint32_t before, after;

    take(world);
    tine__blocks_fly(&world->block);
    before = tine__blocks_epoch(world->blocks); /* of a record that may have been sent before */
    tine__blocks_sent(world->blocks, &world->block);
    after = tine__blocks_epoch(world->blocks);
    tine__blocks_drained(world->blocks, before);
    ck_assert_uint_eq(sweep(world, false), 0);
    tine__blocks_drained(world->blocks, after);
    tine__blocks_drained(world->blocks, before); /* out of order, by a slow one */
    ck_assert_uint_eq(sweep(world, false), 1);
    world_end(world);
}

/* ---- visitors -------------------------------------------------------------------------------- */

static void visit_for_a_while(struct world *world)
{
    struct tine__visitor_shm *visitor = NULL;

    ck_assert_rc(tine__blocks_enter(world->blocks, &visitor), 0);
    gate_raise(world->here);
    gate_await(world->go, 1);
    tine__blocks_renew(world->blocks, visitor);
    gate_raise(world->here);
    gate_await(world->go, 2);
    tine__blocks_leave(visitor);
}

TEST(a_message_is_not_lost_while_somebody_may_have_it_in_hand)
{
    struct world *world = world_new(UINT32_MAX);
    struct child visitor = child_start((void (*)(void *))visit_for_a_while, world);

    gate_await(world->here, 1);
    take(world);
    tine__blocks_fly(&world->block);
    tine__blocks_sent(world->blocks, &world->block);
    for (int i = 0; i < 5; i++)
        ck_assert_uint_eq(sweep(world, true), 0);
    gate_raise(world->go);
    gate_await(world->here, 2);
    ck_assert_uint_eq(sweep(world, true), 1); /* renewed: it begins a new attempt */
    gate_raise(world->go);
    child_join(&visitor);
    world_end(world);
}

TEST(a_dead_visitor_has_nothing_in_hand)
{
    struct world *world = world_new(1);
    struct child visitor = child_start((void (*)(void *))visit_for_a_while, world);

    gate_await(world->here, 1);
    take(world);
    tine__blocks_fly(&world->block);
    tine__blocks_sent(world->blocks, &world->block);
    child_stop(&visitor);
    ck_assert_uint_eq(sweep(world, true), 0);
    child_kill(&visitor);
    ck_assert_uint_eq(sweep(world, true), 1);
    world_end(world);
}

TEST(there_is_a_place_for_any_number_of_visitors)
{
    enum { MANY = 4 * TINE__BLOCKS_VISITORS };
    struct world *world = world_new(1);
    struct tine__visitor_shm *visitors[MANY] = {NULL};

    for (int i = 0; i < MANY; i++) {
        visitors[i] = visitors[i > 0 ? i - 1 : 0];
        ck_assert_rc(tine__blocks_enter(world->blocks, &visitors[i]), 0);
        for (int j = 0; j < i; j++)
            ck_assert_ptr_ne(visitors[i], visitors[j]);
    }
    for (int i = 0; i < MANY; i++)
        tine__blocks_leave(visitors[i]);
    world_end(world);
}

static void visit_and_die(struct world *world)
{
    for (int i = 0; i < TINE__BLOCKS_VISITORS; i++) {
        struct tine__visitor_shm *visitor = NULL;

        ck_assert_rc(tine__blocks_enter(world->blocks, &visitor), 0);
    }
}

TEST(places_of_dead_visitors_are_taken_before_new_ones_are_made)
{
    struct world *world = world_new(1);
    struct tine__visitor_shm *visitor = NULL;

    run_and_die(world, visit_and_die);
    ck_assert_rc(tine__blocks_enter(world->blocks, &visitor), 0);
    ck_assert(visitor >= world->blocks->visitors.at &&
              visitor < world->blocks->visitors.at + TINE__BLOCKS_VISITORS);
    tine__blocks_leave(visitor);
    world_end(world);
}

/* ---- sweepers -------------------------------------------------------------------------------- */

static void seize_the_sweep(struct world *world)
{
    struct tine__visitor_shm *visitor = NULL;

    /* An owner word of this process, by way of a visit. */
    ck_assert_rc(tine__blocks_enter(world->blocks, &visitor), 0);
    world->blocks->sweeper = visitor->word;
    fly(world);
}

TEST(a_dead_sweeper_is_succeeded)
{
    struct world *world = world_new(1);

    run_and_die(world, seize_the_sweep);
    ck_assert_uint_eq(sweep(world, true), 1);
    ck_assert_uint_eq(world->blocks->sweeper, 0);
    world_end(world);
}

SUITE("ipc/blocks")
