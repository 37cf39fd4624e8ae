/* SPDX-License-Identifier: MIT */
/*
 * A queue without memory: allocations that fail, the k-th for every k until all goes well. What
 * failed has done nothing, and goes through when there is memory again. The program is linked so
 * that allocations come here first (ld --wrap).
 */
#include <tine/queue.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/keepalive.h"
#include "tests/ipc/queue_help.h"
#include "tests/support/failing.h"

FAILING(tine_alloc, (size_t size), (size))
FAILING(tine_calloc, (size_t count, size_t size), (count, size))
FAILING(tine_aligned_alloc, (size_t alignment, size_t size), (alignment, size))
FAILING(malloc, (size_t size), (size))
FAILING(calloc, (size_t count, size_t size), (count, size))
FAILING(realloc, (void *block, size_t size), (block, size))

enum { ITEMS = 100 };

/* Fails until the call has what it needs; then it must succeed. */
#define PERSIST(call)                                                                              \
    do {                                                                                           \
        int result;                                                                                \
                                                                                                   \
        failing.resting = false;                                                                   \
        result = (call);                                                                           \
        failing.resting = true;                                                                    \
        if (result >= 0)                                                                           \
            break;                                                                                 \
        ck_assert_rc(result, -ENOMEM);                                                             \
        failing.until = 0;                                                                         \
    } while (true)

static void use(const tine_queue_options *options)
{
    static const char large[1000];
    tine_queue *queue = NULL;
    tine_queue_item *item = NULL;
    char *text = NULL, back[1000];
    size_t size = 0;

    PERSIST(tine_queue_open(&queue, options));
    PERSIST(tine_queue_put(queue, 0, "s", "text"));
    PERSIST(tine_queue_put_bytes(queue, large, sizeof large, 1, 0));
    for (int i = 0; i < ITEMS; i++)
        PERSIST(tine_queue_put_bytes(queue, &i, sizeof i, 2, 0));
    ck_assert_int_eq(tine_queue_qsize(queue), 2 + ITEMS);
    if (options->order != TINE_LIFO) {
        PERSIST(tine_queue_get(queue, 0, "s", &text));
        ck_assert_str_eq(text, "text");
        free(text);
        PERSIST(tine_queue_get_item(queue, 0, &item));
        (void)!tine_queue_item_bytes(item, &size);
        ck_assert_uint_eq(size, sizeof large);
        tine_queue_item_free(item);
    }
    while (tine_queue_qsize(queue) > 0)
        PERSIST(tine_queue_get_bytes(queue, back, sizeof back, 0, &size));
    while (options->joinable && tine_queue_task_done(queue) == 0)
        ;
    if (options->joinable)
        ck_assert_ok(tine_queue_join(queue, 0, NULL));
    failing.until = 0;
    tine_queue_close(queue);
}

static void fail_each(const tine_queue_options *options, bool all_later)
{
    uint64_t blocks;

    use(options);
    blocks = heap_blocks();
    failing.stays = all_later;
    for (int k = 1; k < 2000; k++) {
        failing.until = k;
        failing.failed = 0;
        use(options);
        failing.until = 0;
        ck_assert_uint_eq(heap_blocks(), blocks);
        if (failing.failed == 0)
            return;
    }
    ck_abort_msg("it never went well");
}

static const tine_queue_options kinds[] = {
    {.order = TINE_FIFO},
    {.order = TINE_FIFO, .joinable = 1},
    {.order = TINE_LIFO},
    {.order = TINE_PRIORITY, .joinable = 1},
};
#define KINDS ((int)(sizeof kinds / sizeof kinds[0]))

TEST(one_allocation_fails, .loop_end = KINDS)
{
    fail_each(&kinds[loop_index], false);
}

TEST(allocations_fail_from_one_on, .loop_end = KINDS)
{
    fail_each(&kinds[loop_index], true);
}

static int put_without_memory(tine_queue *queue, int64_t number)
{
    int rc;

    failing.stays = true;
    failing.resting = false;
    failing.until = 1;
    rc = tine_queue_put_bytes(queue, &number, sizeof number, 0, 0);
    failing.resting = true;
    return rc;
}

/* Where the table cannot grow, its last free slots are found. */
TEST(the_table_is_used_up_before_a_put_fails)
{
    tine_queue *queue = queue_new((tine_queue_options){.order = TINE_FIFO});

    for (int64_t i = 0; i < TINE__SLOTS_FIRST - 1; i++)
        put(queue, i);
    ck_assert_int_eq(get(queue), 0);
    put(queue, TINE__SLOTS_FIRST - 1);
    ck_assert_ok(put_without_memory(queue, TINE__SLOTS_FIRST));
    ck_assert_rc(put_without_memory(queue, 0), -ENOMEM);
    ck_assert_int_eq(tine_queue_qsize(queue), TINE__SLOTS_FIRST);
    put(queue, TINE__SLOTS_FIRST + 1);
    for (int64_t i = 1; i < TINE__SLOTS_FIRST; i++)
        ck_assert_int_eq(get(queue), i);
    tine_queue_close(queue);
}

int __real_tine__keepalive_make(struct tine__keepalive *hold, void *object,
                                const struct tine__kept_kind *kind);
int __wrap_tine__keepalive_make(struct tine__keepalive *hold, void *object,
                                const struct tine__kept_kind *kind);
static bool no_descriptors;

int __wrap_tine__keepalive_make(struct tine__keepalive *hold, void *object,
                                const struct tine__kept_kind *kind)
{
    return no_descriptors ? -EMFILE : __real_tine__keepalive_make(hold, object, kind);
}

TEST(without_a_descriptor_there_is_no_queue)
{
    tine_queue *queue = NULL;
    uint64_t blocks;

    tine_queue_close(queue_new(kinds[0]));
    blocks = heap_blocks();
    no_descriptors = true;
    ck_assert_rc(tine_queue_open(&queue, NULL), -EMFILE);
    no_descriptors = false;
    ck_assert_ptr_null(queue);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

int __real_tine__heap_open(void);
int __wrap_tine__heap_open(void);
static bool no_heap;

int __wrap_tine__heap_open(void)
{
    return no_heap ? -EADDRINUSE : __real_tine__heap_open();
}

TEST(without_a_heap_it_is_said_why)
{
    tine_queue *queue = NULL;

    no_heap = true;
    ck_assert_rc(tine_queue_open(&queue, NULL), -EADDRINUSE);
    no_heap = false;
    ck_assert_ptr_null(queue);
}

SUITE("ipc/queue_faults")
