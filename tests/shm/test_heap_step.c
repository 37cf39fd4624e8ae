/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL after every instruction: a victim is single-stepped n instructions into a call of the heap
 * and killed there; then the survivor must be served, the heap be sound, and at most the
 * victim's one block be lost. By default some forty points of each call, spread evenly over it;
 * TINE_STEPS=all takes every one.
 */
#include <tine/heap.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "tests/shm/heap_help.h"

HEAP_BEFORE_TESTS

#define POINTS 40

/* A call, and what the victim does before it so that it takes a certain path. */
struct operation {
    void (*prepare)(void);
    void (*run)(void);
};

static void *block;
static void *blocks[3000];

static void have_cache(void)
{
    tine_free(tine_alloc(64));
}

static void alloc_small(void)
{
    block = tine_alloc(64);
}

static void have_block(void)
{
    block = tine_alloc(64);
}

static void free_block(void)
{
    tine_free(block);
}

static void use_up_slab(void)
{
    /* 13 blocks to a slab: the last of a slab is given out, the next call needs another one */
    for (int i = 0; i < 13; i++)
        blocks[i] = tine_alloc(5000);
}

static void alloc_from_new_slab(void)
{
    block = tine_alloc(5000);
}

static void fill_two_slabs(void)
{
    for (int i = 0; i < 26; i++)
        blocks[i] = tine_alloc(5000);
}

static void free_into_full_slab(void)
{
    tine_free(blocks[0]);
}

static void nothing(void)
{
}

static void first_alloc(void)
{
    block = tine_alloc(20000);
}

static void alloc_large(void)
{
    block = tine_alloc(500000);
}

static void have_large(void)
{
    block = tine_alloc(500000);
}

static void have_huge(void)
{
    block = tine_alloc((size_t)66 << 20);
}

static void have_cold_pages_only(void)
{
    have_cache();
    ck_assert_rc(tine__heap_lock(), 0);
    tine__heap_reclaim();
    tine__heap_trim();
    tine__heap_unlock();
}

/* The victim: prepares, stops, runs the call, stops again. */
static pid_t start_victim(const struct operation *operation)
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        operation->prepare();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        operation->run();
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    return pid;
}

static void kill_victim(pid_t pid)
{
    int status;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    do
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    while (!WIFSIGNALED(status));
}

/* At most `steps` instructions; how many it made before it had done the call. */
static long step(pid_t pid, long steps)
{
    int status;

    for (long n = 0; n < steps; n++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid ||
            !WIFSTOPPED(status))
            ck_abort_msg("step %ld: %s", n, strerror(errno));
        if (WSTOPSIG(status) == SIGSTOP)
            return n;
    }
    return steps;
}

static uint64_t used_blocks(void)
{
    return heap_counts().used_blocks;
}

/* Kills a victim there; what it had before the call stays in use, as it should. */
static void kill_after(const struct operation *operation, long steps, uint64_t held)
{
    uint64_t before = used_blocks(), after;
    pid_t pid = start_victim(operation);
    void *mine;

    step(pid, steps);
    kill_victim(pid);
    mine = tine_alloc(64);
    ck_assert_ptr_nonnull(mine);
    tine_free(mine);
    ck_assert_rc(tine__heap_sweep_process(pid), 0);
    assert_heap_sound();
    after = used_blocks();
    ck_assert_msg(after <= before + held + 1 && after + 1 >= before + held,
                  "killed after %ld instructions: %jd blocks more than the %ju that were held",
                  steps, (intmax_t)(after - before) - (intmax_t)held, (uintmax_t)held);
}

/* Every point of the call, or points spread over it. */
static void kill_everywhere(const struct operation *operation, uint64_t held, long points)
{
    const char *wish = getenv("TINE_STEPS");
    pid_t pid = start_victim(operation);
    long length = step(pid, 100000000), stride;

    kill_victim(pid);
    ck_assert_rc(tine__heap_sweep_process(pid), 0);
    stride = wish != NULL && strcmp(wish, "all") == 0 ? 1 : length / points + 1;
    for (long n = 1; n <= length; n += stride)
        kill_after(operation, n, held);
}

#define STEP_TEST(name, before, call, held, points)                                                \
    TEST(name, .timeout_s = 300)                                                                   \
    {                                                                                              \
        kill_everywhere(&(struct operation){before, call}, held, points);                          \
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
