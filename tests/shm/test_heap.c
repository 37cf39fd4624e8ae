/* SPDX-License-Identifier: MIT */
/* The heap's calls in one process and between processes and threads; nobody dies here. */
#include <tine/heap.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

/* Plain comparisons: each ck_assert is a system call. */
static void assert_filled(const void *block, unsigned char byte, size_t size)
{
    const unsigned char *bytes = block;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            ck_abort_msg("byte %zu of %zu is %u, not %u", i, size, bytes[i], byte);
}

static void assert_counting(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != i % 256)
            ck_abort_msg("byte %zu of %zu is %u", i, size, bytes[i]);
}

TEST(every_size_gives_an_aligned_block_of_at_least_that_size)
{
    uint64_t before = heap_counts().used_blocks;

    for (size_t size = 0; size < 300000; size += size < 1100 ? 1 : size / 13) {
        char *block = tine_alloc(size);

        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 16, 0);
        memset(block, 0xa5, size);
        tine_free(block);
    }
    assert_heap_sound();
    ck_assert_uint_eq(heap_counts().used_blocks, before);
}

TEST(the_edges_of_all_classes_fit)
{
    for (size_t step = 16; step <= 16384; step *= 2)
        for (size_t size = step * 4 - 1; size <= step * 8 + 1; size += step - 1) {
            char *one = tine_alloc(size), *two = tine_alloc(size);

            ck_assert(one != NULL && two != NULL);
            memset(one, 1, size);
            memset(two, 2, size);
            ck_assert_int_eq(one[0] + one[size - 1], 2);
            tine_free(one);
            tine_free(two);
        }
    assert_heap_sound();
}

TEST(nothing_asked_for_is_still_a_block_of_its_own)
{
    void *one = tine_alloc(0), *two = tine_alloc(0);

    ck_assert(one != NULL && two != NULL && one != two);
    tine_free(one);
    tine_free(two);
}

TEST(blocks_do_not_overlap)
{
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = i % 50 == 0 ? random_below(200000) : random_below(600);
        blocks[i] = tine_alloc(sizes[i]);
        ck_assert_ptr_nonnull(blocks[i]);
        memset(blocks[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_filled(blocks[i], (unsigned char)(i % 251), sizes[i]);
        tine_free(blocks[i]);
    }
    assert_heap_sound();
}

TEST(calloc_clears_recycled_blocks_and_refuses_products_that_overflow)
{
    static const size_t sizes[] = {1, 64, 5000, 40000, 70000, 3000000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int round = 0; round < 3; round++) {
            char *block = tine_calloc(1, sizes[i]);

            ck_assert_ptr_nonnull(block);
            assert_filled(block, 0, sizes[i]);
            memset(block, 0x77, sizes[i]);
            tine_free(block);
        }
    ck_assert_ptr_null(tine_calloc(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(tine_calloc((size_t)1 << 33, (size_t)1 << 33));
}

TEST(sizes_that_no_machine_has_give_null)
{
    ck_assert_ptr_null(tine_alloc(SIZE_MAX));
    ck_assert_ptr_null(tine_alloc(SIZE_MAX - 4096));
    ck_assert_ptr_null(tine_alloc((size_t)1 << 62));
    ck_assert_ptr_null(tine_aligned_alloc((size_t)1 << 30, SIZE_MAX - 1));
    assert_heap_sound();
}

TEST(aligned_blocks_lie_at_multiples)
{
    for (size_t alignment = 1; alignment <= (size_t)1 << 24; alignment *= 2)
        for (size_t size = 0; size < 200000; size = size * 3 + 7) {
            char *block = tine_aligned_alloc(alignment, size);

            ck_assert_ptr_nonnull(block);
            ck_assert_uint_eq((uintptr_t)block % alignment, 0);
            memset(block, 1, size);
            tine_free(block);
        }
    assert_heap_sound();
}

TEST(alignments_that_are_no_power_of_two_give_null)
{
    ck_assert_ptr_null(tine_aligned_alloc(0, 10));
    ck_assert_ptr_null(tine_aligned_alloc(48, 10));
    ck_assert_ptr_null(tine_aligned_alloc((size_t)1 << 31, 10));
}

TEST(realloc_keeps_the_content_while_growing_and_shrinking)
{
    unsigned char *block = tine_realloc(NULL, 1);
    size_t size = 1;

    ck_assert_ptr_nonnull(block);
    block[0] = 0;
    for (; size < 1000000; size = size * 3 / 2 + 1) {
        block = tine_realloc(block, size * 3 / 2 + 1);
        ck_assert_ptr_nonnull(block);
        assert_counting(block, size);
        for (size_t i = size; i < size * 3 / 2 + 1; i++)
            block[i] = (unsigned char)i;
    }
    for (; size > 1; size /= 5) {
        block = tine_realloc(block, size / 5);
        ck_assert_ptr_nonnull(block);
        assert_counting(block, size / 5);
    }
    block = tine_realloc(block, 0);
    ck_assert_ptr_nonnull(block);
    tine_free(block);
    assert_heap_sound();
}

TEST(realloc_that_cannot_be_leaves_the_block)
{
    char *block = tine_alloc(100);

    strcpy(block, "kept");
    ck_assert_ptr_null(tine_realloc(block, (size_t)1 << 60));
    ck_assert_str_eq(block, "kept");
    tine_free(block);
    ck_assert_ptr_null(tine_realloc((char *)&block, 10));
    ck_assert_ptr_null(tine_realloc(block, 10)); /* freed */
}

/* ---- frees that are none --------------------------------------------------------------------- */

static void assert_bad(void *pointer)
{
    tine_heap_counts before = heap_counts(), after;

    tine_free(pointer);
    after = heap_counts();
    ck_assert_uint_eq(after.bad_frees, before.bad_frees + 1);
    ck_assert_uint_eq(after.used_blocks, before.used_blocks);
    ck_assert_uint_eq(after.mapped_bytes, before.mapped_bytes);
    assert_heap_sound();
}

TEST(a_free_of_null_is_nothing)
{
    uint64_t before = heap_counts().bad_frees;

    tine_free(NULL);
    ck_assert_uint_eq(heap_counts().bad_frees, before);
}

TEST(foreign_pointers_are_not_freed)
{
    static int variable;
    int local;
    char *base = (char *)tine_alloc(1) - tine__heap_offset(tine_alloc(1));

    assert_bad(&variable);
    assert_bad(&local);
    assert_bad((void *)1);
    assert_bad((void *)UINTPTR_MAX);
    assert_bad(base);                                    /* the heap's own header */
    assert_bad(base + 0x30000);                          /* a page's record */
    assert_bad(base + heap_counts().reserved_bytes - 1); /* never given out */
}

TEST(pointers_into_a_block_are_not_freed, .loop_end = 6)
{
    static const size_t sizes[] = {16, 48, 1000, 8192, 50000, 1000000};
    size_t size = sizes[loop_index];
    char *block = tine_alloc(size);

    ck_assert_ptr_nonnull(block);
    for (size_t i = 1; i < size; i += 1 + size / 37)
        assert_bad(block + i);
    assert_bad(block + size - 1);
    assert_bad(block - 1);
    tine_free(block);
}

TEST(pages_inside_a_large_block_are_not_freed)
{
    char *old = tine_alloc(65536 * 3), *block;

    tine_free(old);
    block = tine_alloc(65536 * 20);
    ck_assert_ptr_nonnull(block);
    for (size_t page = 1; page < 20; page++)
        assert_bad(block + page * 65536);
    tine_free(block);
}

TEST(a_second_free_is_found_out, .loop_end = 6)
{
    static const size_t sizes[] = {16, 48, 1000, 8192, 50000, 1000000};
    char *first = tine_alloc(sizes[loop_index]), *second = tine_alloc(sizes[loop_index]);

    tine_free(first);
    assert_bad(first);
    tine_free(second);
    assert_bad(second);
    assert_bad(first);
}

static void free_it(void *block)
{
    tine_free(block);
}

TEST(a_second_free_by_another_process_is_found_out, .loop_end = 2)
{
    char *block = tine_alloc(loop_index == 0 ? 64 : 100000);
    struct child child = child_start(free_it, block);

    child_join(&child);
    assert_bad(block);
    block = tine_alloc(loop_index == 0 ? 64 : 100000);
    tine_free(block);
    uint64_t before = heap_counts().bad_frees;
    child = child_start(free_it, block);
    child_join(&child);
    ck_assert_uint_eq(heap_counts().bad_frees, before + 1);
}

/* Every class, filled beyond a slab: each block that is next to a freed one is judged alone. */
TEST(every_block_of_every_class_is_found_by_its_address, .timeout_s = 60)
{
    for (size_t size = 16; size <= 65536; size += size < 128 ? 16 : size / 4) {
        size_t count = 600000 / size + 10;
        char **blocks = tine_alloc(count * sizeof *blocks);
        uint64_t before = heap_counts().used_blocks, bad = heap_counts().bad_frees;

        ck_assert_ptr_nonnull(blocks);
        for (size_t i = 0; i < count; i++)
            ck_assert_ptr_nonnull(blocks[i] = tine_alloc(size));
        ck_assert_uint_eq(heap_counts().used_blocks, before + count);
        for (size_t i = 0; i < count; i += 2)
            tine_free(blocks[i]);
        for (size_t i = 0; i < count; i += 2)
            tine_free(blocks[i]);
        ck_assert_uint_eq(heap_counts().bad_frees, bad + (count + 1) / 2);
        ck_assert_uint_eq(heap_counts().used_blocks, before + count / 2);
        for (size_t i = 1; i < count; i += 2)
            tine_free(blocks[i]);
        tine_free(blocks);
    }
    assert_heap_sound();
}

/* ---- several processes and threads ----------------------------------------------------------- */

struct box {
    struct gate *ready;
    char *_Atomic block;
};

static void put_into(void *context)
{
    struct box *box = context;
    char *block = tine_alloc(1000);

    ck_assert_ptr_nonnull(block);
    strcpy(block, "from the child");
    box->block = block;
}

TEST(a_block_of_a_child_is_read_and_freed_by_the_parent)
{
    struct box *box = tine_calloc(1, sizeof *box);
    struct child child = child_start(put_into, box);

    child_join(&child);
    ck_assert_str_eq(box->block, "from the child");
    tine_free(box->block);
    assert_bad(box->block);
    tine_free(box);
}

static void take_and_give(void *unused)
{
    char *blocks[64] = {NULL};

    (void)unused;
    random_fork((uint64_t)getpid());
    for (int i = 0; i < 20000; i++) {
        size_t k = random_below(64);
        size_t size = 1 + random_below(700);

        if (blocks[k] != NULL) {
            assert_filled(blocks[k], (unsigned char)getpid(), 8);
            tine_free(blocks[k]);
        }
        blocks[k] = tine_alloc(size + 8);
        ck_assert_ptr_nonnull(blocks[k]);
        memset(blocks[k], getpid(), size + 8);
    }
    for (int i = 0; i < 64; i++)
        tine_free(blocks[i]);
}

/* A fork copies the caches of the parent's threads; child and parent must not give out the same. */
TEST(parent_and_forked_children_never_get_the_same_block)
{
    struct child children[4];

    for (int i = 0; i < 4; i++) {
        tine_free(tine_alloc(100)); /* something in hand at the fork */
        children[i] = child_start(take_and_give, NULL);
    }
    take_and_give(NULL);
    for (int i = 0; i < 4; i++)
        child_join(&children[i]);
    ck_assert_rc(tine__owner_sweep_dead(), 0);
    assert_heap_sound();
}

static void *use_heap(void *unused)
{
    void *blocks[100];

    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 100; i++)
            blocks[i] = tine_alloc(i * 7);
        for (size_t i = 0; i < 100; i++)
            tine_free(blocks[i]);
    }
    return unused;
}

TEST(threads_that_end_leave_nothing_behind)
{
    uint64_t before = heap_counts().used_blocks, mapped = 0;

    for (int round = 0; round < 20; round++) {
        pthread_t threads[4];

        for (int i = 0; i < 4; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, use_heap, NULL), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        if (round == 10)
            mapped = heap_counts().mapped_bytes;
    }
    ck_assert_uint_eq(heap_counts().used_blocks, before);
    /* The slabs of earlier threads serve the later ones: at most a growth more by chance of timing.
     */
    ck_assert_uint_le(heap_counts().mapped_bytes, mapped + ((size_t)8 << 20));
    assert_heap_sound();
}

static void *free_all(void *context)
{
    char **blocks = context;

    for (size_t i = 0; i < 5000; i++)
        tine_free(blocks[i]);
    return NULL;
}

TEST(one_thread_frees_what_another_allocated)
{
    static char *blocks[5000];
    uint64_t before = heap_counts().used_blocks;
    pthread_t thread;

    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < 5000; i++)
            ck_assert_ptr_nonnull(blocks[i] = tine_alloc(96));
        ck_assert_int_eq(pthread_create(&thread, NULL, free_all, blocks), 0);
        pthread_join(thread, NULL);
        ck_assert_uint_eq(heap_counts().used_blocks, before);
    }
    assert_heap_sound();
}

/* ---- memory comes and goes ------------------------------------------------------------------- */

TEST(a_big_freed_block_goes_back_to_the_system)
{
    uint64_t before = heap_counts().mapped_bytes;
    char *block = tine_alloc((size_t)200 << 20);

    ck_assert_ptr_nonnull(block);
    block[0] = block[((size_t)200 << 20) - 1] = 1;
    ck_assert_uint_ge(heap_counts().mapped_bytes, before + ((size_t)200 << 20));
    tine_free(block);
    ck_assert_uint_lt(heap_counts().mapped_bytes, before + ((size_t)100 << 20));
    assert_heap_sound();
}

TEST(freed_blocks_of_one_size_become_blocks_of_another)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    uint64_t mapped = 0;

    for (size_t round = 0; round < 12; round++) {
        for (size_t i = 0; i < COUNT; i++)
            ck_assert_ptr_nonnull(blocks[i] = tine_alloc(100 + round * 16));
        for (size_t i = 0; i < COUNT; i++)
            tine_free(blocks[i]);
        if (round == 3)
            mapped = heap_counts().mapped_bytes;
    }
    ck_assert_uint_le(heap_counts().mapped_bytes, mapped * 2);
    assert_heap_sound();
}

TEST(offsets_and_pointers_translate_and_strays_are_refused)
{
    char *block = tine_alloc(100);

    ck_assert(tine__heap_contains(block, 100));
    ck_assert_ptr_eq(tine__heap_pointer(tine__heap_offset(block)), block);
    ck_assert(!tine__heap_contains(&block, 1));
    ck_assert(!tine__heap_contains(NULL, 1));
    ck_assert(!tine__heap_contains(block, SIZE_MAX));
    ck_assert(!tine__heap_contains(block, heap_counts().reserved_bytes));
    ck_assert_ptr_null(tine__heap_pointer(0));
    ck_assert_ptr_null(tine__heap_pointer(UINT64_MAX));
    ck_assert_ptr_null(tine__heap_pointer(heap_counts().reserved_bytes));
    tine_free(block);
}

TEST(the_figures_want_a_place)
{
    ck_assert_rc(tine_heap_stats(NULL), -EINVAL);
    ck_assert_ok(tine_heap_check(NULL));
}

SUITE("shm/heap")
