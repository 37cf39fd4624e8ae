/* SPDX-License-Identifier: MIT */
/* The tables of doc/shm-layout.md. */
#include <unistd.h>

#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "tests/shm/heap_help.h"

HEAP_BEFORE_TESTS

TEST(the_header_is_as_documented)
{
    ck_assert_uint_eq(offsetof(struct heap_shm, magic), 0);
    ck_assert_uint_eq(offsetof(struct heap_shm, format), 8);
    ck_assert_uint_eq(offsetof(struct heap_shm, page_limit), 12);
    ck_assert_uint_eq(offsetof(struct heap_shm, size), 16);
    ck_assert_uint_eq(offsetof(struct heap_shm, data_offset), 24);
    ck_assert_uint_eq(offsetof(struct heap_shm, page_count), 64);
    ck_assert_uint_eq(tine__heap.shared->magic, UINT64_C(0x70616568656e6974));
    ck_assert_uint_eq(tine__heap.shared->format, 1);
    ck_assert_uint_eq(tine__heap.shared->data_offset % 65536, 0);
}

TEST(a_row_of_the_table_of_processes_is_as_documented)
{
    ck_assert_uint_eq(sizeof(struct tine__owner_shm), 32);
    ck_assert_uint_eq(offsetof(struct tine__owner_shm, state), 0);
    ck_assert_uint_eq(offsetof(struct tine__owner_shm, pid), 4);
    ck_assert_uint_eq(offsetof(struct tine__owner_shm, start), 8);
    ck_assert_uint_eq(offsetof(struct tine__owner_shm, id), 16);
    ck_assert_ptr_eq((char *)tine__heap.owners, (char *)tine__heap.shared + 8192);
}

TEST(a_record_is_as_documented)
{
    ck_assert_uint_eq(sizeof(struct heap_page_shm), 576);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, state), 0);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, hand), 8);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, use), 16);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, run), 20);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, next), 24);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, prev), 28);
    ck_assert_uint_eq(offsetof(struct heap_page_shm, bits), 64);
    ck_assert_ptr_eq((char *)tine__heap.pages, (char *)tine__heap.shared + 0x30000);
}

TEST(a_state_word_is_as_documented)
{
    uint64_t payload = 2 | 7u << 8 | UINT64_C(8) << 16;
    uint64_t check = ((payload + 1000) * UINT64_C(0x9e3779b97f4a7c15)) >> 48 << 48;

    ck_assert_uint_eq(heap_state(HEAP_SLAB, 7, 8, 1000), payload | check);
    ck_assert_uint_eq(heap_state_cold(heap_state(HEAP_TAIL, 0, 3, 5), true, 5) & 31, 4 | 16);
}

TEST(sizes_of_classes_are_as_documented)
{
    unsigned class = 0;

    for (uint32_t size = 16; size <= 128; size += 16)
        ck_assert_uint_eq(tine__heap_classes[class ++].size, size);
    for (uint32_t size = 128; size < 65536; size *= 2)
        for (uint32_t quarter = 1; quarter <= 4; quarter++, class ++) {
            ck_assert_uint_eq(tine__heap_classes[class].size, size + size / 4 * quarter);
            ck_assert_uint_eq(tine__heap_classes[class].pages,
                              tine__heap_classes[class].size > 8192 ? 8 : 1);
        }
    ck_assert_uint_eq(class, HEAP_CLASSES);
}

/* Division by multiplication: exact for every offset in a slab of every class. */
TEST(blocks_are_numbered_exactly)
{
    for (unsigned class = 0; class < HEAP_CLASSES; class ++) {
        const struct heap_class *c = &tine__heap_classes[class];

        for (uint64_t offset = 0; offset < c->pages << 16; offset++)
            if ((offset * c->inverse) >> 40 != offset / c->size)
                ck_abort_msg("offset %ju of class %u", (uintmax_t)offset, class);
    }
}

SUITE("shm/heap_layout")
