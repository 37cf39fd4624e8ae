/* SPDX-License-Identifier: MIT */
#include "tests/pool/pools.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>

#include "shm/heap.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

HEAP_BEFORE_TESTS

tine_pool *pool_of(int32_t workers)
{
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = workers}), 0);
    return pool;
}

tine_pool_counts pool_counts(tine_pool *pool)
{
    tine_pool_counts counts;

    ck_assert_rc(tine_pool_stats(pool, &counts), 0);
    return counts;
}

struct tally *tally_new(size_t n)
{
    struct tally *tally = tine_calloc(1, sizeof *tally + n);

    ck_assert_ptr_nonnull(tally);
    tally->n = n;
    return tally;
}

int tally_count(size_t begin, size_t end, void *context)
{
    struct tally *tally = *(struct tally **)context;

    ck_assert_uint_lt(begin, end);
    ck_assert_uint_le(end, tally->n);
    for (size_t i = begin; i < end; i++)
        atomic_fetch_add_explicit(&tally->times[i], 1, memory_order_relaxed);
    atomic_fetch_add(&tally->calls, 1);
    atomic_fetch_add(&tally->indices, end - begin);
    if (end - begin > atomic_load(&tally->longest))
        atomic_store(&tally->longest, end - begin);
    return 0;
}

void tally_assert_once(const struct tally *tally)
{
    for (size_t i = 0; i < tally->n; i++)
        if (tally->times[i] != 1) /* an assertion costs a system call even where it holds */
            ck_abort_msg("index %zu was run %d times", i, tally->times[i]);
}

static tine_heap_counts usage(void)
{
    tine_heap_counts counts;

    ck_assert_rc(tine_heap_stats(&counts), 0);
    return counts;
}

uint64_t heap_blocks(void)
{
    return usage().used_blocks;
}

uint64_t heap_bytes(void)
{
    return usage().used_bytes;
}

#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

/* Slowness is how the runs under valgrind announce themselves; sanitizers show at compile time. */
bool is_instrumented(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#endif
    return HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer) || suite_slowness() > 1;
}

bool has_memory(uint64_t bytes)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    fclose(file);
    return kib * 1024 >= bytes;
}
