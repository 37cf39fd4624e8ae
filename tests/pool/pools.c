/* SPDX-License-Identifier: MIT */
#include "tests/pool/pools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/process.h>

#include "shm/heap.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define GATES_BYTES ((size_t)1 << 20)

static unsigned with = WITH_FORK;

unsigned pools_with(void)
{
    return with;
}

int32_t pools_kind(void)
{
    return with == WITH_THREADS ? TINE_THREADS : with == WITH_INLINE ? TINE_INLINE : TINE_PROCESSES;
}

static void read_kind(void)
{
    static const char *const names[] = {"fork", "spawn", "forkserver", "threads", "inline"};
    const char *wanted = getenv("TINE_TEST_POOL");

    for (unsigned i = 0; wanted != NULL && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(wanted, names[i]) == 0)
            with = 1u << i;
}

static int prepare_start(int argc, char **argv)
{
    int rc;

    if (with != WITH_SPAWN && with != WITH_FORKSERVER)
        return 0;
    rc = tine_init(&argc, &argv);
    return rc < 0 ? rc
                  : tine_set_start_method(with == WITH_SPAWN ? TINE_SPAWN : TINE_FORKSERVER, true);
}

/* Where the tests that the runner forks have their gates, one after the other. */
static int prepare_gates(void)
{
    void *gates = with == WITH_FORK ? NULL : tine_alloc(GATES_BYTES);

    if (with == WITH_FORK)
        return 0;
    shared_memory_in(gates, GATES_BYTES);
    return gates == NULL ? -ENOMEM : 0;
}

/* The heap is made before the tests, which the runner forks, so that its descriptor is no leak of
   theirs. */
int pools_main(const char *title, int argc, char **argv)
{
    read_kind();
    if (prepare_start(argc, argv) < 0 || tine__heap_open() < 0 || prepare_gates() < 0)
        return 99;
    pools_exempt(title, with);
    return suite_main(title, argc, argv);
}

tine_pool *pool_of(int32_t workers)
{
    tine_pool *pool;

    ck_assert_rc(
        tine_pool_open(&pool, &(tine_pool_options){.workers = workers, .kind = pools_kind()}), 0);
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

int hang_at_gate(tine_call *call)
{
    struct gate *gate = *(struct gate **)tine_call_context(call);

    gate_raise(gate);
    gate_await(gate, UINT32_MAX);
    return 0;
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
