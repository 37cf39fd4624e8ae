/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL at random instants of processes that use the heap. Whoever dies has at most one block in
 * hand; all others keep their content, and the heap stays sound.
 */
#include <tine/heap.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

enum { WORKERS = 4, PLACES = 4096, ROUND = 512 };

/* What the processes share: places where anyone puts blocks and from where anyone takes and
   frees. */
struct table {
    struct gate *rounds; /* raised by each worker after so many pairs */
    _Atomic bool stop;
    _Atomic uint64_t pairs;
    _Atomic uint64_t seed;
    void *_Atomic places[PLACES];
};

/* A block says in itself how long it is and what it must contain. */
struct block {
    uint32_t size;
    uint32_t pattern;
    unsigned char bytes[];
};

static struct block *make_block(void)
{
    uint64_t kind = random_below(1000);
    size_t size = sizeof(struct block) + (kind == 0   ? random_below(3000000)
                                          : kind < 10 ? random_below(100000)
                                                      : random_below(300));
    struct block *block = tine_alloc(size);

    if (block == NULL)
        return NULL;
    block->size = (uint32_t)(size - sizeof *block);
    block->pattern = (uint32_t)random_u64();
    memset(block->bytes, (int)(block->pattern & 255), block->size);
    return block;
}

/* Plain comparisons: each ck_assert is a system call. */
static void verify(const struct block *block)
{
    for (uint32_t i = 0; i < block->size; i += block->size < 4096 ? 1 : 509)
        if (block->bytes[i] != (block->pattern & 255))
            ck_abort_msg("byte %u of %u changed", i, block->size);
}

static void work(void *context)
{
    struct table *table = context;

    random_fork(atomic_fetch_add(&table->seed, 1));
    for (uint64_t n = 1; !table->stop; n++) {
        void *_Atomic *place = &table->places[random_below(PLACES)];
        void *block = make_block();

        if (block == NULL)
            ck_abort_msg("no memory");
        block = atomic_exchange(place, block);
        if (block != NULL) {
            verify(block);
            tine_free(block);
        }
        if (n % ROUND == 0) {
            atomic_fetch_add(&table->pairs, ROUND);
            gate_raise(table->rounds);
        }
    }
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* Frees what lies in the places; how many blocks there were. */
static uint64_t empty(struct table *table)
{
    uint64_t live = 0;

    for (size_t i = 0; i < PLACES; i++)
        if (table->places[i] != NULL) {
            verify(table->places[i]);
            tine_free(table->places[i]);
            live++;
        }
    return live;
}

TEST(ten_million_pairs_by_four_processes_that_are_killed, .timeout_s = 300)
{
    uint64_t pairs = (uint64_t)(1e7 / (suite_slowness() * suite_slowness()));
    uint64_t kills = number_from("TINE_KILLS", 200), base = heap_counts().used_blocks, live;
    uint32_t rounds = 0;
    struct table *table = shared_memory(sizeof *table);
    struct child workers[WORKERS];
    tine_heap_counts counts;

    table->rounds = gate_new();
    for (int i = 0; i < WORKERS; i++)
        workers[i] = child_start(work, table);
    for (uint64_t k = 0; k < kills; k++) {
        struct child *victim = &workers[random_below(WORKERS)];

        rounds += 1 + (uint32_t)random_below(2 * pairs / kills / ROUND + 1);
        gate_await(table->rounds, rounds);
        child_kill(victim);
        *victim = child_start(work, table);
    }
    gate_await(table->rounds, (uint32_t)(pairs / ROUND));
    table->stop = true;
    for (int i = 0; i < WORKERS; i++)
        child_join(&workers[i]);
    ck_assert_rc(tine__owner_sweep_dead(), 0);
    assert_heap_sound();
    counts = heap_counts();
    ck_assert_uint_eq(counts.bad_frees, 0);
    live = empty(table);
    printf("heap: %" PRIu64 " pairs, %" PRIu64 " kills, %" PRIu64
           " under the lock, lost blocks %" PRIu64 "\n",
           table->pairs, kills, counts.recoveries, counts.used_blocks - base - live);
    ck_assert_uint_le(counts.used_blocks - base - live, kills);
    ck_assert_uint_eq(heap_counts().used_blocks, counts.used_blocks - live);
    assert_heap_sound();
}

static void hold_slabs(void *context)
{
    struct gate *ready = context;

    for (size_t size = 1; size < 60000; size *= 2)
        ck_assert_ptr_nonnull(tine_alloc(size));
    gate_raise(ready);
    pause();
}

TEST(the_slabs_of_a_killed_process_serve_the_living)
{
    uint64_t mapped = 0;

    for (int round = 0; round < 40; round++) {
        struct gate *ready = gate_new();
        struct child child = child_start(hold_slabs, ready);

        gate_await(ready, 1);
        child_kill(&child);
        ck_assert_rc(tine__heap_sweep_process(child.pid), 0);
        assert_heap_sound();
        if (round == 4)
            mapped = heap_counts().mapped_bytes;
    }
    ck_assert_uint_le(heap_counts().mapped_bytes, mapped + ((size_t)8 << 20));
}

TEST(rows_of_the_dead_are_taken_again)
{
    for (int round = 0; round < 300; round++) {
        struct gate *ready = gate_new();
        struct child child = child_start(hold_slabs, ready);

        gate_await(ready, 1);
        child_kill(&child);
    }
    ck_assert_uint_le(heap_counts().processes, 130);
    ck_assert_rc(tine__owner_sweep_dead(), 0);
    ck_assert_uint_le(heap_counts().processes, 2);
    assert_heap_sound();
}

SUITE("shm/heap_death")
