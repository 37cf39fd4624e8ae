/* SPDX-License-Identifier: MIT */
/* The fast path of small blocks, inline; the rest is in shm/heap_slab.c. */
#ifndef TINE_SHM_HEAP_SLAB_H
#define TINE_SHM_HEAP_SLAB_H

#include "lib/fork.h"
#include "shm/heap_impl.h"

/* A slab that the thread takes blocks from. */
struct heap_current {
    struct heap_page_shm *page; /* tine__heap_nothing when there is none */
    char *blocks;
    uint32_t index; /* HEAP_NONE */
    uint32_t word;  /* where the last room was found */
};

/* Private to a thread, and to a process: a forked child's copy is out of date by its generation. */
struct heap_cache {
    uint64_t generation;
    struct heap_current current[HEAP_CLASSES];
};

extern _Thread_local struct heap_cache *tine__heap_thread
    __attribute__((tls_model("initial-exec")));
extern struct heap_page_shm tine__heap_nothing; /* its hand is always empty */

/* The hand: blocks claimed and not yet given out, as bits of one half of a word of `bits`. */
static inline uint32_t hand_word(uint64_t hand)
{
    return (uint32_t)(hand >> 33);
}

static inline uint64_t hand_bits(uint64_t hand)
{
    return (hand & UINT32_MAX) << (hand >> 32 & 1) * 32;
}

void *tine__heap_small_slow(unsigned class); /* when this thread has nothing in hand */
void tine__heap_slab_freed(uint32_t index);  /* a block of a full slab was freed */
void tine__heap_slab_relist(uint32_t index); /* under the lock, for one that is in no list */

/* Gives out the next block in hand; NULL when the hand is empty. */
static inline void *tine__heap_small_take(struct heap_current *current,
                                          const struct heap_class *class)
{
    uint64_t hand = atomic_load_explicit(&current->page->hand, memory_order_relaxed);
    uint32_t bits = (uint32_t)hand;
    size_t block;

    if (bits == 0)
        return NULL;
    block = (size_t)(hand >> 32) * 32 + (size_t)__builtin_ctz(bits);
    atomic_store_explicit(&current->page->hand, hand & (hand - 1), memory_order_relaxed);
    return current->blocks + block * class->size;
}

#endif
