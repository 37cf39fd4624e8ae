/* SPDX-License-Identifier: MIT */
/* What loops refuse: options, sizes and missing arguments, and that nothing is kept then. */
#include <tine/pool.h>

#include <errno.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

static int never(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    ck_abort_msg("was run");
    return 0;
}

static int never_map(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    ck_abort_msg("was run");
    return 0;
}

static int never_reduce(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)begin, (void)end, (void)accumulator, (void)context;
    ck_abort_msg("was run");
    return 0;
}

static void combine_nothing(void *into, const void *from, void *context)
{
    (void)into, (void)from, (void)context;
}

struct bad_options {
    tine_job_options options;
    int code;
};

static const struct bad_options bad_options[] = {
    {{.context_size = 1}, -EINVAL},
    {{.context = "x"}, -EINVAL},
    {{.retries = -2}, -EINVAL},
    {{.fail_fast = -1}, -EINVAL},
    {{.fail_fast = 2}, -EINVAL},
    {{.timeout_ns = -1}, -EINVAL},
    {{.flags = 1u << 31}, -EINVAL},
    {{.flags = UINT32_MAX}, -EINVAL},
    {{.priority = TINE_PRIORITY_MIN - 1}, -EINVAL}, {{.priority = TINE_PRIORITY_MAX + 1}, -EINVAL},
    {{.reserved = {[7] = 1}}, -E2BIG},
    {{.context = "x", .context_size = SIZE_MAX}, -EOVERFLOW},
    {{.context = "x", .context_size = SIZE_MAX / 2}, -ENOMEM},
};

TEST(bad_job_options_are_refused, .loop_end = sizeof bad_options / sizeof bad_options[0])
{
    const tine_job_options *options = &bad_options[loop_index].options;
    int code = bad_options[loop_index].code;
    tine_map map = {.item = never_map, .n = 1};
    tine_pool *pool = pool_of(1);
    uint64_t blocks = heap_blocks();
    tine_future *future = NULL;
    double sum = 0;

    ck_assert_rc(tine_pool_for(pool, 1, never, options), code);
    ck_assert_rc(tine_pool_map(pool, &map, options), code);
    ck_assert_rc(tine_pool_reduce(pool, 1, never_reduce, combine_nothing, &sum, 8, options), code);
    if (options->timeout_ns == 0)
        ck_assert_rc(tine_pool_for_async(&future, pool, 1, never, options), code);
    ck_assert_ptr_null(future);
    ck_assert_uint_eq(heap_blocks(), blocks);
    tine_pool_close(pool);
}

TEST(async_forms_take_no_timeout)
{
    tine_pool *pool = pool_of(1);
    tine_job_options options = {.timeout_ns = 1};
    tine_map map = {.item = never_map, .n = 1};
    tine_future *future = NULL;
    double sum = 0;

    ck_assert_rc(tine_pool_for_async(&future, pool, 1, never, &options), -EINVAL);
    ck_assert_rc(tine_pool_map_async(&future, pool, &map, &options), -EINVAL);
    ck_assert_rc(
        tine_pool_reduce_async(&future, pool, 1, never_reduce, combine_nothing, &sum, 8, &options),
        -EINVAL);
    ck_assert_ptr_null(future);
    tine_pool_close(pool);
}

TEST(null_arguments_are_refused)
{
    tine_pool *pool = pool_of(1);
    tine_map map = {.item = never_map, .n = 1};
    tine_future *future = NULL;

    ck_assert_rc(tine_pool_for(NULL, 1, never, NULL), -EINVAL);
    ck_assert_rc(tine_pool_for(pool, 1, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_for(pool, 0, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_for_async(NULL, pool, 1, never, NULL), -EINVAL);
    ck_assert_rc(tine_pool_for_async(&future, NULL, 1, never, NULL), -EINVAL);
    ck_assert_rc(tine_pool_for_async(&future, pool, 1, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_map(NULL, &map, NULL), -EINVAL);
    ck_assert_rc(tine_pool_map(pool, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_pool_map_async(NULL, pool, &map, NULL), -EINVAL);
    ck_assert_ptr_null(future);
    tine_pool_close(pool);
}

TEST(a_reduction_needs_all_its_parts)
{
    tine_pool *pool = pool_of(1);
    double sum = 0;

    for (size_t n = 0; n < 2; n++) {
        ck_assert_rc(tine_pool_reduce(NULL, n, never_reduce, combine_nothing, &sum, 8, NULL),
                     -EINVAL);
        ck_assert_rc(tine_pool_reduce(pool, n, NULL, combine_nothing, &sum, 8, NULL), -EINVAL);
        ck_assert_rc(tine_pool_reduce(pool, n, never_reduce, NULL, &sum, 8, NULL), -EINVAL);
        ck_assert_rc(tine_pool_reduce(pool, n, never_reduce, combine_nothing, NULL, 8, NULL),
                     -EINVAL);
        ck_assert_rc(tine_pool_reduce(pool, n, never_reduce, combine_nothing, &sum, 0, NULL),
                     -EINVAL);
    }
    ck_assert_rc(
        tine_pool_reduce_async(NULL, pool, 1, never_reduce, combine_nothing, &sum, 8, NULL),
        -EINVAL);
    ck_assert_rc(tine_pool_reduce(pool, 1, never_reduce, combine_nothing, &sum, SIZE_MAX - 5, NULL),
                 -EOVERFLOW);
    tine_pool_close(pool);
}

static char some_bytes[16];

static const struct bad_map {
    tine_map map;
    int code;
} bad_maps[] = {
    {{.n = 1}, -EINVAL},
    {{.item = never_map, .in = some_bytes, .n = 1}, -EINVAL},
    {{.item = never_map, .in_size = 1, .n = 1}, -EINVAL},
    {{.item = never_map, .out = some_bytes, .n = 1}, -EINVAL},
    {{.item = never_map, .out_size = 1, .n = 1}, -EINVAL},
    {{.item = never_map, .in = some_bytes, .in_size = 2, .n = SIZE_MAX}, -EOVERFLOW},
    {{.item = never_map, .out = some_bytes, .out_size = SIZE_MAX, .n = 2}, -EOVERFLOW},
    {{.item = never_map, .n = SIZE_MAX}, -EOVERFLOW},
    {{.item = never_map, .in = some_bytes, .in_size = SIZE_MAX / 2, .n = 1}, -ENOMEM},
};

TEST(bad_maps_are_refused, .loop_end = sizeof bad_maps / sizeof bad_maps[0])
{
    uint64_t blocks = heap_blocks();
    tine_pool *pool = pool_of(1);

    ck_assert_rc(tine_pool_map(pool, &bad_maps[loop_index].map, NULL), bad_maps[loop_index].code);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

SUITE_OF_POOLS("pool/loop_errors")
