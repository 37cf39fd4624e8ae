/* SPDX-License-Identifier: MIT */
/* The check of the heap finds what it should: every flipped bit of every word that means something.
 */
#include <tine/heap.h>

#include <string.h>
#include <unistd.h>

#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "tests/shm/heap_help.h"

HEAP_BEFORE_TESTS

/* A heap with pages of all kinds; the blocks stay, the test process ends soon. */
static void furnish(void)
{
    void *blocks[60];

    for (size_t i = 0; i < 60; i++)
        ck_assert_ptr_nonnull(blocks[i] = tine_alloc(i * i * 40));
    for (size_t i = 0; i < 60; i += 3)
        tine_free(blocks[i]);
    for (size_t i = 0; i < 3000; i++)
        ck_assert_ptr_nonnull(tine_alloc(200)); /* full slabs */
    tine_free(tine_alloc((size_t)80 << 20));    /* cold pages */
    assert_heap_sound();
}

static void assert_found(uint64_t page, const char *word, int bit)
{
    tine_heap_report report;

    ck_assert_msg(tine_heap_check(&report) == TINE_EBROKEN, "bit %d of %s of page %ju (state %#jx)",
                  bit, word, (uintmax_t)page, (uintmax_t)heap_load((uint32_t)page));
    ck_assert_ptr_nonnull(report.first);
    ck_assert_uint_gt(report.broken, 0);
}

TEST(every_flipped_bit_of_a_state_word_is_found, .timeout_s = 60)
{
    furnish();
    for (uint32_t page = 0; page < heap_page_count(); page += page < 150 ? 1 : 97)
        for (int bit = 0; bit < 64; bit++) {
            uint64_t state = heap_load(page);

            heap_store(page, state ^ (uint64_t)1 << bit);
            assert_found(page, "state", bit);
            heap_store(page, state);
        }
    assert_heap_sound();
}

static void flip_use(uint32_t page)
{
    for (int bit = 0; bit < 32; bit++) {
        heap_page(page)->use ^= 1u << bit;
        assert_found(page, "use", bit);
        heap_page(page)->use ^= 1u << bit;
    }
}

static void flip_link(uint32_t page, uint32_t *link, const char *name)
{
    for (int bit = 0; bit < 32; bit++) {
        *link ^= 1u << bit;
        assert_found(page, name, bit);
        *link ^= 1u << bit;
    }
}

TEST(every_flipped_bit_of_use_and_links_is_found, .timeout_s = 60)
{
    furnish();
    for (uint32_t page = 0; page < heap_page_count() && page < 200; page++) {
        if (heap_kind(heap_load(page)) == HEAP_SLAB)
            flip_use(page);
        flip_link(page, &heap_page(page)->next, "next");
        flip_link(page, &heap_page(page)->prev, "prev");
    }
    assert_heap_sound();
}

TEST(every_flipped_bit_of_the_header_is_found)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t *words[] = {&shared->format,
                         &shared->page_limit,
                         &shared->record_pages,
                         &shared->committed,
                         &shared->warm,
                         (uint32_t *)&shared->page_count,
                         (uint32_t *)&shared->magic,
                         (uint32_t *)&shared->magic + 1,
                         (uint32_t *)&shared->size,
                         (uint32_t *)&shared->size + 1,
                         (uint32_t *)&shared->data_offset};

    furnish();
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (int bit = 0; bit < 32; bit++) {
            *words[i] ^= 1u << bit;
            assert_found(0, "header", bit);
            *words[i] ^= 1u << bit;
        }
    assert_heap_sound();
}

TEST(a_slab_taken_out_of_its_list_is_found)
{
    struct heap_shm *shared = tine__heap.shared;

    furnish();
    for (unsigned class = 0; class < HEAP_CLASSES; class ++) {
        uint32_t head = shared->partial[class];

        if (head == 0)
            continue;
        shared->partial[class] = 0;
        assert_found(head - 1, "list", 0);
        shared->partial[class] = head;
    }
    assert_heap_sound();
}

TEST(a_bit_beyond_the_blocks_of_a_slab_is_found)
{
    furnish();
    for (uint32_t page = 0; page < heap_page_count(); page++) {
        uint64_t state = heap_load(page);
        const struct heap_class *class = &tine__heap_classes[heap_class(state) % HEAP_CLASSES];

        if (heap_kind(state) != HEAP_SLAB || class->blocks % 64 == 0)
            continue;
        heap_page(page)->bits[class->words - 1] ^= UINT64_C(1) << 63;
        assert_found(page, "bits", 63);
        heap_page(page)->bits[class->words - 1] ^= UINT64_C(1) << 63;
    }
    assert_heap_sound();
}

/* What a rebuild makes from the authoritative words alone is what was there. */
TEST(a_rebuild_changes_no_figure)
{
    tine_heap_counts before, after;

    furnish();
    before = heap_counts();
    ck_assert_rc(tine__heap_lock(), 0);
    tine__heap_rebuild(NULL);
    tine__heap_unlock();
    assert_heap_sound();
    after = heap_counts();
    ck_assert_uint_eq(after.recoveries, before.recoveries + 1);
    after.recoveries = before.recoveries;
    ck_assert_mem_eq(&before, &after, sizeof before);
}

SUITE("shm/heap_check")
