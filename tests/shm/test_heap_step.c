/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction: a victim is single-stepped n instructions into a call of the
 * heap and killed there; then the survivor must be served, the heap be sound, and at most the
 * victim's one block be lost. By default some forty points of each call, spread evenly over it;
 * TINE_STEPS=all takes every one.
 */
#include <tine/heap.h>

#include <unistd.h>

#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "tests/shm/heap_help.h"
#include "tests/support/step.h"

HEAP_BEFORE_TESTS

#define POINTS 40

static void *block;
static void *blocks[3000];

static void have_cache(void *context)
{
    (void)context;
    tine_free(tine_alloc(64));
}

static void alloc_small(void *context)
{
    (void)context;
    block = tine_alloc(64);
}

static void have_block(void *context)
{
    (void)context;
    block = tine_alloc(64);
}

static void free_block(void *context)
{
    (void)context;
    tine_free(block);
}

static void use_up_slab(void *context)
{
    (void)context;
    /* 13 blocks to a slab: the last of a slab is given out, the next call needs another one */
    for (int i = 0; i < 13; i++)
        blocks[i] = tine_alloc(5000);
}

static void alloc_from_new_slab(void *context)
{
    (void)context;
    block = tine_alloc(5000);
}

static void fill_two_slabs(void *context)
{
    (void)context;
    for (int i = 0; i < 26; i++)
        blocks[i] = tine_alloc(5000);
}

static void free_into_full_slab(void *context)
{
    (void)context;
    tine_free(blocks[0]);
}

static void nothing(void *context)
{
    (void)context;
}

static void first_alloc(void *context)
{
    (void)context;
    block = tine_alloc(20000);
}

static void alloc_large(void *context)
{
    (void)context;
    block = tine_alloc(500000);
}

static void have_large(void *context)
{
    (void)context;
    block = tine_alloc(500000);
}

static void have_huge(void *context)
{
    (void)context;
    block = tine_alloc((size_t)66 << 20);
}

static void have_cold_pages_only(void *context)
{
    (void)context;
    have_cache(context);
    ck_assert_rc(tine__heap_lock(), 0);
    tine__heap_reclaim();
    tine__heap_trim();
    tine__heap_unlock();
}

static uint64_t used_before;

static uint64_t used_blocks(void)
{
    return heap_counts().used_blocks;
}

static void note_used(void *context)
{
    (void)context;
    used_before = used_blocks();
}

/* What the victim had before the call stays in use, as it should. */
static void check(long steps, pid_t victim, void *context)
{
    uint64_t held = *(uint64_t *)context, after;
    void *mine = tine_alloc(64);

    ck_assert_ptr_nonnull(mine);
    tine_free(mine);
    ck_assert_rc(tine__heap_sweep_process(victim), 0);
    assert_heap_sound();
    after = used_blocks();
    ck_assert_msg(after <= used_before + held + 1 && after + 1 >= used_before + held,
                  "killed after %ld instructions: %jd blocks more than the %ju that were held",
                  steps, (intmax_t)(after - used_before) - (intmax_t)held, (uintmax_t)held);
}

#define STEP_TEST(name, first, call, held, points)                                                 \
    TEST(name, .timeout_s = 300)                                                                   \
    {                                                                                              \
        uint64_t held_blocks = held;                                                               \
                                                                                                   \
        step_kill_everywhere(&(struct step){.before = note_used,                                   \
                                            .prepare = first,                                      \
                                            .run = call,                                           \
                                            .check = check,                                        \
                                            .context = &held_blocks},                              \
                             points);                                                              \
    }

STEP_TEST(killed_in_a_small_allocation, have_cache, alloc_small, 0, POINTS)
STEP_TEST(killed_in_the_first_allocation_of_a_process, nothing, first_alloc, 0, POINTS)
STEP_TEST(killed_in_an_allocation_that_needs_a_slab, use_up_slab, alloc_from_new_slab, 13, POINTS)
STEP_TEST(killed_in_a_small_free, have_block, free_block, 1, POINTS)
STEP_TEST(killed_in_a_free_into_a_full_slab, fill_two_slabs, free_into_full_slab, 26, POINTS)
STEP_TEST(killed_in_a_large_allocation, have_cache, alloc_large, 0, POINTS)
STEP_TEST(killed_in_a_large_free, have_large, free_block, 1, POINTS)
STEP_TEST(killed_in_an_allocation_that_commits, have_cold_pages_only, alloc_large, 0, POINTS)
STEP_TEST(killed_in_a_free_that_returns_memory, have_huge, free_block, 1, POINTS / 3)

SUITE("shm/heap_step")
