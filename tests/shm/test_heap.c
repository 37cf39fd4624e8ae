/* SPDX-License-Identifier: MIT */
/* The heap's calls in one process and between processes; nobody dies here. */
#include <tine/heap.h>

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Made before the tests, which the runner forks, so that its descriptor is no leak of theirs. */
__attribute__((constructor)) static void open_heap(void)
{
    if (tine__heap_open() < 0)
        _exit(99);
}

static void assert_consistent(void)
{
    tine_heap_report report;
    int rc = tine_heap_check(&report);

    ck_assert_msg(rc == 0, "%s (page %jd)", report.first, (intmax_t)report.first_page);
    ck_assert_uint_eq(report.used_bytes + report.free_bytes + report.lost_bytes,
                      report.mapped_bytes);
    ck_assert_uint_eq(report.lost_bytes, 0);
}

static tine_heap_counts usage(void)
{
    tine_heap_counts stats;

    ck_assert_ok(tine_heap_stats(&stats));
    return stats;
}

TEST(every_size_gives_an_aligned_block_of_at_least_that_size)
{
    uint64_t before = usage().used_blocks;

    for (size_t size = 0; size < 300000; size += size < 1100 ? 1 : size / 13) {
        char *block = tine_alloc(size);

        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 16, 0);
        memset(block, 0xa5, size);
        tine_free(block);
    }
    assert_consistent();
    ck_assert_uint_eq(usage().used_blocks, before);
    ck_assert_uint_eq(usage().bad_frees, 0);
}

SUITE("shm/heap")
