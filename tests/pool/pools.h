/* SPDX-License-Identifier: MIT */
/*
 * What the tests of pools share: the heap is there before the first test, and what it holds.
 *
 * TINE_TEST_POOL says what the workers are: fork (the default), spawn, forkserver, threads, inline.
 * tests/pool/exempt.c lists the tests that make no sense with one of them.
 */
#ifndef TINE_TESTS_POOLS_H
#define TINE_TESTS_POOLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tine/pool.h>

enum {
    WITH_FORK = 1,
    WITH_SPAWN = 2,
    WITH_FORKSERVER = 4,
    WITH_THREADS = 8,
    WITH_INLINE = 16,
};

/* Which of these is tested; and the .kind of it. */
unsigned pools_with(void);
int32_t pools_kind(void);

/* The main function of a program that tests pools. */
#define SUITE_OF_POOLS(title)                                                                      \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return pools_main(title, argc, argv);                                                      \
    }
int pools_main(const char *title, int argc, char **argv);
/* exempt.c: what is not run with these workers. */
void pools_exempt(const char *title, unsigned with);

/* A pool of this many workers. */
tine_pool *pool_of(int32_t workers);
tine_pool_counts pool_counts(tine_pool *pool);

/* Where the bodies leave what they did; in the heap. */
struct tally {
    size_t n;
    _Atomic uint64_t calls, indices, longest;
    _Atomic uint8_t times[]; /* that each index was run */
};

struct tally *tally_new(size_t n);
/* A body whose context is the address of a tally. */
int tally_count(size_t begin, size_t end, void *context);
void tally_assert_once(const struct tally *tally);

/* A task whose context is the address of a gate: raises it and waits there for ever. */
int hang_at_gate(tine_call *call);

/* Blocks that are given out in the family heap. */
uint64_t heap_blocks(void);
uint64_t heap_bytes(void);

/* Instrumented or under valgrind: no large memory, no tight limits of memory or processes. */
bool is_instrumented(void);
/* Is there room for so much more memory? */
bool has_memory(uint64_t bytes);

#endif
