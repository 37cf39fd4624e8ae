/* SPDX-License-Identifier: MIT */
/*
 * The family heap: memory that every process of a program's family sees at the same address.
 *
 * A family is the program and all that tine or a plain fork made from it. Whatever one of
 * them allocates here, each of them can read, write and free; a plain pointer into the heap can be
 * stored in it, sent through a queue, or handed to a task, and means the same everywhere.
 *
 *     struct stats { uint64_t hits; double histogram[256]; };
 *     struct stats *stats = tine_calloc(1, sizeof *stats);
 *     ... every worker of a pool adds to *stats ...
 *     tine_free(stats);
 *
 * The heap is made at its first use, before the first child: a sparse reservation (256 GiB of
 * addresses, or TINE_HEAP_SIZE from the environment: bytes, or a number with K, M, G or T), of
 * which only what is used costs memory. Where a limit allows less, the reservation shrinks by
 * itself.
 *
 * Blocks belong to the family until somebody frees them, whoever dies. A process that is killed
 * inside one of these calls leaks at most the block that it had in hand; what it had set aside is
 * swept up by the others. Memory that is not there is a NULL, never a signal. Core dumps leave the
 * heap out.
 */
#ifndef TINE_HEAP_H
#define TINE_HEAP_H

#include <tine/base.h>

TINE_BEGIN_DECLS

typedef struct tine_heap_counts {
    uint64_t reserved_bytes;  /* addresses set aside: the heap can grow up to about this */
    uint64_t mapped_bytes;    /* committed memory of pages, used or kept for use */
    uint64_t used_bytes;      /* blocks given out, with their rounding */
    uint64_t used_blocks;     /* how many */
    uint64_t free_bytes;      /* mapped and neither used nor lost */
    uint64_t lost_bytes;      /* pages that the system neither gave nor took back cleanly */
    uint64_t metadata_bytes;  /* committed beside the pages */
    uint64_t bad_frees;       /* frees of what was no block, all of them ignored */
    uint64_t growths;         /* times that pages were committed for small blocks */
    uint64_t recoveries;      /* deaths inside the heap's lock that were repaired */
    uint32_t processes;       /* registered with the heap */
    uint32_t reserved32;
    uint64_t reserved[5];
} tine_heap_counts;

typedef struct tine_heap_report {
    uint64_t pages;           /* looked at, 64 KiB each */
    uint64_t mapped_bytes;
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t lost_bytes;      /* used + free + lost = mapped */
    uint64_t used_blocks;
    uint64_t broken;          /* findings */
    uint64_t first_page;      /* number of the page of the first finding, or UINT64_MAX: the
                                 header */
    const char *first;        /* what it was, NULL for none */
} tine_heap_report;

/**
 * tine_alloc - allocate memory that the whole family shares
 *
 * In:      size  bytes; 0 gives a block of its own that must be freed as well
 * Out:     none
 * Shape:   one block of at least size bytes, aligned to 16; content undefined
 * Units:   size bytes
 * Returns: the block, given to the family until tine_free(), or NULL
 * Handle:  NULL: no memory (a limit, the system, or the reservation), or no heap
 * Give up: none
 * Blocks:  only for the heap's own short lock, never for a dead holder
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most this block
 * Source:  shm/heap.c; follows malloc(3); differs: errno is not set
 * Since:   0.1
 */
TINE_API TINE_CHECKED void *tine_alloc(size_t size);

/**
 * tine_calloc - allocate a zeroed array that the whole family shares
 *
 * In:      count  number of elements
 *          size   bytes of each
 * Out:     none
 * Shape:   one block of count * size bytes, aligned to 16, all zero
 * Units:   size bytes
 * Returns: the block, given to the family until tine_free(), or NULL
 * Handle:  NULL: no memory, no heap, or the product does not fit a size_t
 * Give up: none
 * Blocks:  only for the heap's own short lock, never for a dead holder
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most this block
 * Source:  shm/heap.c; follows calloc(3); differs: errno is not set
 * Since:   0.1
 */
TINE_API TINE_CHECKED void *tine_calloc(size_t count, size_t size);

/**
 * tine_aligned_alloc - allocate shared memory at a multiple of a power of two
 *
 * In:      alignment  a power of two, at most 1 GiB
 *          size       bytes, any number
 * Out:     none
 * Shape:   one block of at least size bytes; content undefined
 * Units:   alignment, size bytes
 * Returns: the block, given to the family until tine_free(), or NULL
 * Handle:  NULL: no memory, no heap, or not such an alignment
 * Give up: none
 * Blocks:  only for the heap's own short lock, never for a dead holder
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most this block
 * Source:  shm/heap.c; follows aligned_alloc(3); differs: any size
 * Since:   0.1
 */
TINE_API TINE_CHECKED void *tine_aligned_alloc(size_t alignment, size_t size);

/**
 * tine_realloc - change the size of a shared block
 *
 * In:      block  from this heap, or NULL to allocate
 *          size   bytes wanted; 0 gives a block of its own, it does not free
 * Out:     none
 * Shape:   content kept up to the smaller size; alignment 16
 * Units:   size bytes
 * Returns: the block, perhaps elsewhere (then the old one is freed), or NULL: the old one stays
 * Handle:  NULL: no memory, or block is none of this heap's (counted as a bad free)
 * Give up: none
 * Blocks:  only for the heap's own short lock, never for a dead holder
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most one of the two blocks
 * Source:  shm/heap.c; follows realloc(3); differs: size 0 never frees
 * Since:   0.1
 */
TINE_API TINE_CHECKED void *tine_realloc(void *block, size_t size);

/**
 * tine_free - give a shared block back, from any process or thread of the family
 *
 * In:      block  from this heap, given; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; a pointer that is foreign, points inside a block, or whose block is free already
 *          is logged and counted in tine_heap_stats(), and nothing changes
 * Handle:  none
 * Give up: none
 * Blocks:  only for the heap's own short lock, never for a dead holder
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most this block
 * Source:  shm/heap.c; follows free(3); differs: bad pointers are found out
 * Since:   0.1
 */
TINE_API void tine_free(void *block);

/**
 * tine_heap_stats - how much of the family heap is used
 *
 * In:      none
 * Out:     stats  the figures, at one instant for pages, within one walk for blocks
 * Shape:   none
 * Units:   fields ending in _bytes: bytes; others: counts
 * Returns: 0, or a negative code; *stats is set only for 0
 * Handle:  -EINVAL (stats is NULL, or TINE_HEAP_SIZE is no size)
 * Give up: -ENOMEM, -EADDRINUSE, -EMFILE, -ENFILE (no heap)
 * Blocks:  for a walk over all pages under the heap's lock (about 10 ns each)
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/heap_check.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_heap_stats(tine_heap_counts *stats);

/**
 * tine_heap_check - walk every page of the family heap and verify it
 *
 * In:      none
 * Out:     report  what was found, also for TINE_EBROKEN; NULL if not wanted
 * Shape:   used + free + lost = mapped
 * Units:   fields ending in _bytes: bytes; others: counts
 * Returns: 0 consistent, or a negative code
 * Handle:  TINE_EBROKEN: a header word, a list or a sum is wrong, report says which first
 * Give up: -EINVAL (TINE_HEAP_SIZE is no size), -ENOMEM, -EADDRINUSE, -EMFILE, -ENFILE (no heap)
 * Blocks:  for a walk over all pages under the heap's lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what the dead still hold counts as what it is: used or free
 * Source:  shm/heap_check.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_heap_check(tine_heap_report *report);

TINE_END_DECLS

#endif
