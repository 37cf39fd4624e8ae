/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction of a large message's way: of who sends it, of who receives it,
 * and of who sweeps after them. The survivor receives what is there to be received; then all slots
 * are free, and at most one block of the heap is lost for a kill. The transport is a socket pair,
 * and its records are {epoch, slot, generation}.
 */
#include "ipc/blocks.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/record.h"
#include "lib/sys.h"
#include "shm/owner.h"
#include "tests/ipc/pipe_help.h"
#include "tests/support/step.h"

HEAP_BEFORE_TESTS

#define POINTS 40
#define SIZE   ((size_t)100)
#define LARGER ((size_t)100000) /* than the smallest block */

/* The victims are reaped; and reading /proc would be most of what is stepped through. */
bool __wrap_tine__owner_word_lives(uint64_t word);
bool __wrap_tine__owner_word_lives(uint64_t word)
{
    return kill(tine__owner_word_pid(word), 0) == 0;
}

static void know_oneself(void *context)
{
    (void)context;
    (void)tine__owner_word();
}

static struct tine__blocks_shm *blocks;
static int ends[2];
static uint32_t received; /* messages, by the survivor */

struct token {
    uint32_t epoch, slot, generation;
};

static bool is_empty(const struct tine__drain *drain, uint32_t slot, uint32_t generation)
{
    (void)slot, (void)generation;
    return tine__record_is_empty(drain->fd);
}

static uint32_t sweep(void)
{
    return tine__blocks_sweep(blocks, &(struct tine__drain){is_empty, ends[1]});
}

static void send_one(void *context)
{
    struct tine__block block;
    struct token token;

    (void)context;
    if (tine__blocks_take(blocks, SIZE, &block) != 0)
        abort();
    memset(block.data, 7, SIZE);
    token = (struct token){tine__blocks_epoch(blocks), tine__blocks_index(blocks, &block),
                           block.generation};
    tine__blocks_fly(&block);
    if (send(ends[0], &token, sizeof token, MSG_NOSIGNAL) != (ssize_t)sizeof token)
        abort();
    tine__blocks_sent(blocks, &block);
}

static int receive_one(void)
{
    struct tine__visitor_shm *visitor = NULL;
    struct tine__block block;
    struct token token;
    int rc = -EAGAIN;

    if (tine__blocks_enter(blocks, &visitor) != 0)
        abort();
    if (recv(ends[1], &token, sizeof token, MSG_DONTWAIT) == (ssize_t)sizeof token) {
        tine__blocks_drained(blocks, token.epoch);
        rc = tine__blocks_accept(blocks, token.slot, token.generation, SIZE, &block);
    }
    tine__blocks_leave(visitor);
    if (rc == 0 && memcmp(block.data, "\7\7\7\7", 4) == 0)
        tine__blocks_release(blocks, &block);
    return rc;
}

static void receive_in_victim(void *context)
{
    (void)context;
    if (receive_one() != 0)
        abort();
}

static void sweep_in_victim(void *context)
{
    (void)context;
    sweep();
}

/* Everything that can be received is; then nothing is on its way, and no slot may be left. */
static void check(long steps, pid_t victim, void *context)
{
    int rc;

    (void)victim;
    (void)context;
    while ((rc = receive_one()) == 0)
        received++;
    ck_assert_rc(rc, -EAGAIN);
    sweep();
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        ck_assert_msg(blocks->slots[i].word == 0, "%ld steps: slot %d is %jx", steps, i,
                      (uintmax_t)blocks->slots[i].word);
    ck_assert_uint_eq(blocks->sweeper, 0);
}

static uint64_t blocks_before; /* of the heap, which all tests share */

static void begin(void)
{
    blocks_before = heap_blocks();
    blocks = tine_aligned_alloc(64, sizeof *blocks);
    ck_assert_ptr_nonnull(blocks);
    memset(blocks, 0, sizeof *blocks);
    tine__blocks_init(blocks, UINT32_MAX - 20);
    ck_assert_rc(tine__sys_socketpair(ends), 0);
}

static void end(long kills)
{
    tine__blocks_empty(blocks);
    tine_free(blocks);
    ck_assert_uint_le(heap_blocks(), blocks_before + (uint64_t)kills);
    printf("%ld kills, %u messages received, %ju blocks lost\n", kills, received,
           (uintmax_t)(heap_blocks() - blocks_before));
    close(ends[0]);
    close(ends[1]);
}

static void warm(void *context)
{
    send_one(context);
    if (receive_one() != 0)
        abort();
}

TEST(a_sender_is_killed_anywhere, .timeout_s = 60)
{
    begin();
    warm(NULL);
    step_kill_everywhere(&(struct step){.prepare = know_oneself, .run = send_one, .check = check},
                         POINTS);
    ck_assert_uint_gt(received, 0);
    end(0);
}

/* It has no block yet, and gets one from the heap. */
static void cool(void *context)
{
    (void)context;
    tine__blocks_empty(blocks);
}

TEST(a_sender_is_killed_anywhere_while_it_gets_a_block, .timeout_s = 60)
{
    long kills;

    begin();
    kills = step_kill_everywhere(
        &(struct step){.before = cool, .prepare = know_oneself, .run = send_one, .check = check},
        POINTS);
    end(kills);
}

/*
 * All slots have blocks that are too small, so one is given back for a larger one. Between that and
 * whatever says so lie a few instructions: killed right then, nobody may take the slot for one that
 * still has its block.
 */
static void warm_all(void *context)
{
    struct tine__block all[TINE__BLOCKS_SLOTS];

    cool(context);
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        ck_assert_rc(tine__blocks_take(blocks, SIZE, &all[i]), 0);
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        tine__blocks_drop(blocks, &all[i]);
}

static void exchange_block(void *context)
{
    struct tine__block block;

    (void)context;
    if (tine__blocks_take(blocks, LARGER, &block) != 0)
        abort();
}

static bool one_has_no_block(void *context)
{
    (void)context;
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        if (blocks->slots[i].block == 0)
            return true;
    return false;
}

static void check_blocks(long steps, pid_t victim, void *context)
{
    struct tine__block all[TINE__BLOCKS_SLOTS];

    check(steps, victim, context);
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++) {
        ck_assert_rc(tine__blocks_take(blocks, SIZE, &all[i]), 0);
        ck_assert_msg(all[i].data != NULL, "%ld steps: slot %u has no block", steps,
                      tine__blocks_index(blocks, &all[i]));
    }
    for (int i = 0; i < TINE__BLOCKS_SLOTS; i++)
        tine__blocks_drop(blocks, &all[i]);
}

TEST(a_sender_is_killed_as_it_gives_its_block_back, .timeout_s = 60)
{
    long kills;

    begin();
    kills = step_kill_everywhere(&(struct step){.before = warm_all,
                                                .prepare = know_oneself,
                                                .run = exchange_block,
                                                .check = check_blocks,
                                                .until = one_has_no_block},
                                 POINTS);
    end(kills);
}

TEST(a_receiver_is_killed_anywhere, .timeout_s = 60)
{
    begin();
    warm(NULL);
    step_kill_everywhere(
        &(struct step){
            .before = send_one, .prepare = know_oneself, .run = receive_in_victim, .check = check},
        POINTS);
    end(0);
}

/* A process is killed with a message in hand, another one while it sweeps that. */
static void lose_one(void *context)
{
    struct token token;
    struct child child;

    send_one(context);
    child = child_start(receive_in_victim, NULL);
    child_join(&child);
    send_one(context);
    ck_assert_int_eq(recv(ends[1], &token, sizeof token, 0), sizeof token);
}

TEST(a_sweeper_is_killed_anywhere, .timeout_s = 60)
{
    begin();
    warm(NULL);
    step_kill_everywhere(
        &(struct step){
            .before = lose_one, .prepare = know_oneself, .run = sweep_in_victim, .check = check},
        POINTS);
    end(0);
}

/* Of many chunks of visitors, the first is just taken out. */
static uint64_t first_chunk;

static void sit_down_often(void *context)
{
    struct tine__visitor_shm *visitors[4 * TINE__BLOCKS_VISITORS] = {NULL};

    cool(context);
    for (int i = 0; i < 4 * TINE__BLOCKS_VISITORS; i++)
        ck_assert_rc(tine__blocks_enter(blocks, &visitors[i]), 0);
    for (int i = 0; i < 4 * TINE__BLOCKS_VISITORS; i++)
        tine__blocks_leave(visitors[i]);
    first_chunk = blocks->visitors.next;
    ck_assert_uint_ne(first_chunk, 0);
}

static bool first_is_out(void *context)
{
    (void)context;
    return blocks->visitors.next != first_chunk;
}

TEST(whoever_empties_it_is_killed_with_one_chunk_in_hand, .timeout_s = 60)
{
    long kills;

    begin();
    kills = step_kill_everywhere(&(struct step){.before = sit_down_often,
                                                .prepare = know_oneself,
                                                .run = cool,
                                                .check = check,
                                                .until = first_is_out},
                                 1);
    end(kills);
}

SUITE("ipc/blocks_step")
