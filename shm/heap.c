/* SPDX-License-Identifier: MIT */
/*
 * The public calls of the family heap: find the class or the block, then small blocks take the fast
 * path of heap_slab.h and the rest goes to heap_large.c. A pointer is judged by the
 * state words alone, which lie outside the blocks, so no program error inside a block can mislead
 * us.
 */
#include <tine/heap.h>

#include <string.h>

#include "lib/checked.h"
#include "lib/log.h"
#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "shm/heap_slab.h"

#define ALIGNMENT_MAX ((size_t)1 << 30)

/* Where a pointer points. */
struct place {
    const struct heap_class *class; /* NULL: a block of whole pages */
    uint32_t index;                 /* head page */
    uint32_t block;                 /* number in the slab */
};

static inline unsigned class_of(size_t size)
{
    unsigned log;

    if (size <= 128)
        return size == 0 ? 0 : (unsigned)(size - 1) / 16;
    /* four classes to a doubling: the two bits below the leading one of size - 1 */
    log = 63u - (unsigned)__builtin_clzll(size - 1);
    return 8 + (log - 7) * 4 + (unsigned)((size - 1) >> (log - 2) & 3);
}

/* The head of the slab or block that page `index` belongs to. */
static inline bool find_head(uint32_t *index, uint64_t *state)
{
    *state = heap_load(*index);
    if (heap_kind(*state) != HEAP_TAIL)
        return true;
    if (heap_length(*state) > *index)
        return false;
    *index -= heap_length(*state);
    *state = heap_load(*index);
    return true;
}

/* false: no block begins there. Whether the block is in use is not looked at. */
static inline bool locate(const void *pointer, struct place *place)
{
    size_t offset = (size_t)((uintptr_t)pointer - (uintptr_t)tine__heap.data);
    uint64_t state;

    if (tine__heap.shared == NULL || offset >> HEAP_PAGE_SHIFT >= heap_page_count())
        return false;
    place->index = (uint32_t)(offset >> HEAP_PAGE_SHIFT);
    if (!find_head(&place->index, &state))
        return false;
    offset -= (size_t)place->index << HEAP_PAGE_SHIFT;
    if (heap_kind(state) == HEAP_SLAB) {
        place->class = &tine__heap_classes[heap_class(state)];
        place->block = (uint32_t)(offset * place->class->inverse >> 40);
        return place->block < place->class->blocks && place->block * place->class->size == offset;
    }
    place->class = NULL;
    return heap_kind(state) == HEAP_LARGE && offset == 0;
}

static inline bool bit_set(const struct place *place)
{
    uint64_t bits = atomic_load_explicit(&heap_page(place->index)->bits[place->block / 64],
                                         memory_order_relaxed);

    return (bits >> (place->block % 64) & 1) != 0;
}

/* Is the block given out? (Its bit is set, and it is not in its owner's hand.) */
static inline bool in_use(const struct place *place)
{
    uint64_t hand = atomic_load_explicit(&heap_page(place->index)->hand, memory_order_acquire);

    if (hand >> 32 == place->block / 32 && (hand >> (place->block % 32) & 1) != 0)
        return false;
    return bit_set(place);
}

static __attribute__((cold, noinline)) void bad_free(const void *pointer)
{
    tine__log_warning("heap: free of %p, which is no block in use", pointer);
    if (tine__heap.shared != NULL)
        atomic_fetch_add_explicit(&tine__heap.shared->bad_frees, 1, memory_order_relaxed);
}

/*
 * A block of the thread's own slab, from the half word that is in its hand: back into the hand with
 * a plain store, for only this thread writes the hand.
 */
static inline bool free_to_hand(const struct place *place)
{
    struct heap_cache *cache = tine__heap_thread;
    struct heap_page_shm *page = heap_page(place->index);
    uint64_t hand = atomic_load_explicit(&page->hand, memory_order_relaxed);
    uint64_t bit = (uint64_t)1 << (place->block % 32);

    if (cache == NULL || hand >> 32 != place->block / 32 || (hand & bit) != 0 ||
        cache->current[place->class - tine__heap_classes].page != page ||
        cache->generation != tine__fork_generation_fast() || !bit_set(place))
        return false;
    atomic_store_explicit(&page->hand, hand | bit, memory_order_release);
    return true;
}

/* Any other small block. */
static __attribute__((noinline)) void free_shared(const void *block, struct place place)
{
    struct heap_page_shm *page = heap_page(place.index);
    uint64_t mask = (uint64_t)1 << (place.block % 64), before;

    if (!in_use(&place)) {
        bad_free(block);
        return;
    }
    /* pairs with the claim in heap_slab.c; ordered before the look at the mode */
    before = atomic_fetch_and_explicit(&page->bits[place.block / 64], ~mask, memory_order_seq_cst);
    if ((before & mask) == 0)
        bad_free(block);
    else if (heap_mode(place.index) == HEAP_FULL)
        tine__heap_slab_freed(place.index);
}

static __attribute__((noinline)) void free_large(const void *block, uint32_t index)
{
    if (!tine__heap_large_free(index))
        bad_free(block);
}

static inline void *small_alloc(unsigned class)
{
    struct heap_cache *cache = tine__heap_thread;

    if (cache != NULL && cache->generation == tine__fork_generation_fast()) {
        void *block = tine__heap_small_take(&cache->current[class], &tine__heap_classes[class]);

        if (block != NULL)
            return block;
    }
    return tine__heap_small_slow(class);
}

static void *large_alloc(size_t size, size_t alignment, bool *zero)
{
    *zero = false;
    return tine__heap_open() < 0 ? NULL : tine__heap_large_alloc(size, alignment, zero);
}

void *tine_alloc(size_t size)
{
    bool zero;

    if (size <= HEAP_SMALL_MAX)
        return small_alloc(class_of(size));
    return large_alloc(size, 1, &zero);
}

void *tine_calloc(size_t count, size_t size)
{
    size_t total;
    bool zero = false;
    void *block;

    if (!tine__mul_size(count, size, &total))
        return NULL;
    block = total <= HEAP_SMALL_MAX ? tine_alloc(total) : large_alloc(total, 1, &zero);
    if (block != NULL && !zero)
        memset(block, 0, total);
    return block;
}

void *tine_aligned_alloc(size_t alignment, size_t size)
{
    bool zero;

    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX)
        return NULL;
    if (alignment <= 16)
        return tine_alloc(size);
    if (size > HEAP_SMALL_MAX || alignment > HEAP_SMALL_MAX)
        return large_alloc(size == 0 ? 1 : size, alignment, &zero);
    /* The first class whose size is a multiple of the alignment: its blocks are all aligned. */
    for (unsigned class = class_of(size > alignment ? size : alignment); class < HEAP_CLASSES;
         class ++)
        if ((tine__heap_classes[class].size & (alignment - 1)) == 0)
            return small_alloc(class);
    return NULL;
}

static size_t capacity(const struct place *place)
{
    if (place->class != NULL)
        return place->class->size;
    return (size_t)heap_length(heap_load(place->index)) << HEAP_PAGE_SHIFT;
}

void *tine_realloc(void *block, size_t size)
{
    struct place place;
    size_t old;
    void *moved;

    if (block == NULL)
        return tine_alloc(size);
    if (!locate(block, &place) || (place.class != NULL && !in_use(&place))) {
        bad_free(block);
        return NULL;
    }
    old = capacity(&place);
    if (size <= old && (size > old / 2 || place.class == &tine__heap_classes[0]))
        return block;
    moved = tine_alloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, size < old ? size : old);
    tine_free(block);
    return moved;
}

void tine_free(void *block)
{
    struct place place;

    if (block == NULL)
        return;
    if (!locate(block, &place))
        bad_free(block);
    else if (place.class == NULL)
        free_large(block, place.index);
    else if (!free_to_hand(&place))
        free_shared(block, place);
}
