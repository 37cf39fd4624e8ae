/* SPDX-License-Identifier: MIT */
/*
 * What the files of the heap share: layout of the mapping, state words, and the functions that the
 * heap lock protects. Nobody else includes this; doc/shm-layout.md is normative for the layout.
 *
 *     base                 struct heap_shm, alone in its first pages
 *     + HEAP_OWNERS_AT     table of processes, committed as far as it is used
 *     + HEAP_RECORDS_AT    one record of 576 bytes a page: 64 of header, 512 of allocation bits
 *     + data_offset        the pages, 64 KiB each
 *
 * Truth and derivation. Only `state`, `use`, `hand` and `bits` of the records, `page_count` and the
 * owner table are authoritative; each changes in single atomic stores whose order makes every
 * prefix meaningful. The lists, the bins, `run` and the counters are derived: tine__heap_rebuild()
 * makes them anew from the authoritative words after a death under the heap lock.
 */
#ifndef TINE_SHM_HEAP_IMPL_H
#define TINE_SHM_HEAP_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/owner.h"
#include "shm/robust.h"

#define HEAP_PAGE_SHIFT 16
#define HEAP_PAGE       ((size_t)1 << HEAP_PAGE_SHIFT)
#define HEAP_MAGIC      UINT64_C(0x70616568656e6974) /* "tineheap" */
#define HEAP_FORMAT     1u
#define HEAP_OWNERS     4096u
#define HEAP_OWNERS_AT  ((size_t)8192)
#define HEAP_RECORDS_AT ((size_t)0x30000)
#define HEAP_SMALL_MAX  ((size_t)65536)

enum {
    HEAP_CLASSES = 44,
    HEAP_BINS = 32,       /* free runs by the logarithm of their length */
    HEAP_WORDS = 64,      /* words of allocation bits a page */
    HEAP_SLAB_PAGES = 8,  /* pages of a slab of blocks above 8 KiB */
    HEAP_WARM_MAX = 1024, /* free committed pages that are kept: 64 MiB */
    HEAP_PIECE_MAX = 128, /* pages committed at a time: 8 MiB */
    HEAP_ROOTS = 4,
};

/* ---- state word ------------------------------------------------------------------------------- *
 * bits 0-3 kind, 4 cold, 8-15 class, 16-47 length in pages (heads) or distance to the head (tails),
 * 48-63 check. One word, so that a page changes what it is in one store. */
enum heap_kind {
    HEAP_FREE = 1,    /* in no use; cold: not committed, reads as zero */
    HEAP_SLAB = 2,    /* head of a slab; class valid */
    HEAP_LARGE = 3,   /* head of a block of whole pages */
    HEAP_TAIL = 4,    /* further page of a slab, block or run in transit */
    HEAP_TRANSIT = 5, /* head of a run whose owner is committing or returning it */
    HEAP_LOST = 6,    /* the system would not take it back and its content is unknown */
};

#define HEAP_COLD ((uint64_t)1 << 4)

/* `use` of a slab's head: what its allocation bits serve, and for OWNED and TRANSIT whose it is. */
enum heap_mode {
    HEAP_OWNED = 1,   /* a thread of that owner takes blocks from it */
    HEAP_PARTIAL = 2, /* in the list of its class: has room */
    HEAP_FULL = 3,    /* in no list; the first free puts it into one */
};

/*
 * field            written by                      read by          order
 * state            heap lock                       any              release / acquire
 * use              heap lock                       freers           seq_cst, against bits
 *                                                                   (see shm/heap_slab.c)
 * hand             the owning thread; sweeper of   freers, walkers  release / acquire
 *                  the dead
 * bits             set by the owning thread,       any              acquire when set,
 *                  cleared by whoever frees                         seq_cst when cleared
 * run, next, prev  heap lock                       heap lock        none needed
 */
struct heap_page_shm {
    _Atomic uint64_t state;
    _Atomic uint64_t hand; /* claimed, not yet given out: 0-31 bits, 32-63 which half word */
    _Atomic uint32_t use;  /* 0-3 mode, 4-19 owner row + 1, 20-31 check (heap_use_word) */
    uint32_t run;         /* length of a free run, at its first and its last page */
    uint32_t next;        /* list links: page + 1, 0 for none */
    uint32_t prev;
    uint64_t reserved[4];
    _Atomic uint64_t bits[HEAP_WORDS];
};

struct heap_shm {
    uint64_t magic;
    uint32_t format;
    uint32_t page_limit;
    uint64_t size;
    uint64_t data_offset;
    _Atomic uint64_t roots[HEAP_ROOTS]; /* of what others keep for the family; see shm/heap.h */
    _Atomic uint32_t page_count; /* pages that have a record; grows only */
    uint32_t record_pages;       /* derived: pages for whose records memory is committed */
    uint32_t owner_count;        /* owner rows that are committed */
    uint32_t piece;              /* next growth, in pages */
    uint32_t committed;          /* derived: pages not cold */
    uint32_t warm;               /* derived: free pages not cold */
    _Atomic uint64_t bad_frees;
    _Atomic uint64_t recoveries; /* deaths under the heap lock that were repaired */
    _Atomic uint64_t growths;
    uint32_t partial[HEAP_CLASSES]; /* derived: lists of slabs with room */
    uint32_t bins[2][HEAP_BINS];    /* derived: free runs, [0] warm, [1] cold */
    struct tine__robust lock;
};

/* The heap as this process sees it. */
struct heap_local {
    struct heap_shm *shared;
    struct heap_page_shm *pages;
    struct tine__owner_shm *owners;
    char *data;
    int fd;
    size_t size; /* of the mapping; with the limit, what the header must still say */
    uint32_t page_limit;
    dev_t device; /* of fd: programs close descriptors that they do not know */
    ino_t inode;
};

extern struct heap_local tine__heap;

static inline struct heap_page_shm *heap_page(uint32_t index)
{
    return &tine__heap.pages[index];
}

static inline char *heap_address(uint32_t index)
{
    return tine__heap.data + ((size_t)index << HEAP_PAGE_SHIFT);
}

static inline uint32_t heap_page_count(void)
{
    /* pairs with the release in tine__heap_extend: the records below the count are written */
    return atomic_load_explicit(&tine__heap.shared->page_count, memory_order_acquire);
}

/* The check bits: every change of a single bit of the other 48 changes them. */
static inline uint64_t heap_check_bits(uint64_t payload, uint32_t index)
{
    return ((payload + index) * UINT64_C(0x9e3779b97f4a7c15)) & UINT64_C(0xffff000000000000);
}

static inline uint64_t heap_state(enum heap_kind kind, unsigned class, uint32_t length,
                                  uint32_t index)
{
    uint64_t payload = (uint64_t)kind | ((uint64_t) class << 8) | ((uint64_t)length << 16);

    return payload | heap_check_bits(payload, index);
}

static inline uint64_t heap_state_cold(uint64_t state, bool cold, uint32_t index)
{
    uint64_t payload = state & UINT64_C(0x0000ffffffffffff);

    payload = cold ? payload | HEAP_COLD : payload & ~HEAP_COLD;
    return payload | heap_check_bits(payload, index);
}

static inline bool heap_state_valid(uint64_t state, uint32_t index)
{
    uint64_t payload = state & UINT64_C(0x0000ffffffffffff);

    return (state & ~payload) == heap_check_bits(payload, index);
}

static inline unsigned heap_kind(uint64_t state)
{
    return (unsigned)(state & 15);
}

static inline bool heap_cold(uint64_t state)
{
    return (state & HEAP_COLD) != 0;
}

static inline unsigned heap_class(uint64_t state)
{
    return (unsigned)(state >> 8) & 255;
}

static inline uint32_t heap_length(uint64_t state)
{
    return (uint32_t)(state >> 16);
}

static inline uint64_t heap_load(uint32_t index)
{
    /* pairs with heap_store: what the page was before is seen as well */
    return atomic_load_explicit(&heap_page(index)->state, memory_order_acquire);
}

static inline void heap_store(uint32_t index, uint64_t state)
{
    atomic_store_explicit(&heap_page(index)->state, state, memory_order_release);
}

/* `use`: 0-3 mode, 4-19 owner row + 1 or 0 for none, 20-31 check. 0: never used. */
static inline uint32_t heap_use_word(enum heap_mode mode, uint32_t owner, uint32_t index)
{
    uint32_t payload = (uint32_t)mode | owner << 4;

    return payload | (((payload + index) * 0x9e3779b1u) & 0xfff00000u);
}

static inline void heap_set_use(uint32_t index, enum heap_mode mode, uint32_t owner)
{
    /* The store comes before our next look at the bits; pairs with heap_mode in shm/heap.c. */
    atomic_store_explicit(&heap_page(index)->use, heap_use_word(mode, owner, index),
                          memory_order_seq_cst);
}

static inline unsigned heap_mode(uint32_t index)
{
    return atomic_load_explicit(&heap_page(index)->use, memory_order_seq_cst) & 15;
}

/* The row of an OWNED page's owner. */
static inline uint32_t heap_owner(uint32_t index)
{
    return (atomic_load_explicit(&heap_page(index)->use, memory_order_acquire) >> 4 & 0xffff) - 1;
}

static inline bool heap_use_valid(uint32_t index)
{
    uint32_t use = atomic_load_explicit(&heap_page(index)->use, memory_order_acquire);

    return use == 0 || use == heap_use_word((enum heap_mode)(use & 15), use >> 4 & 0xffff, index);
}

/* How many pages a page's state speaks for: a walk from head to head adds these. */
static inline uint32_t heap_span(uint64_t state)
{
    unsigned kind = heap_kind(state);

    return kind == HEAP_SLAB || kind == HEAP_LARGE || kind == HEAP_TRANSIT ? heap_length(state) : 1;
}

/* ---- classes of small blocks (heap_slab.c) --------------------------------------------------- */
struct heap_class {
    uint32_t size;    /* bytes a block */
    uint32_t blocks;  /* a slab */
    uint32_t words;   /* of allocation bits in use */
    uint32_t pages;   /* a slab */
    uint64_t inverse; /* 2^40 / size + 1: offset * inverse >> 40 == offset / size */
};

extern const struct heap_class tine__heap_classes[HEAP_CLASSES];

/* ---- the heap lock (heap_map.c) -------------------------------------------------------------- */
int tine__heap_lock(void);
void tine__heap_unlock(void);

/* ---- page runs, under the heap lock (heap_pages.c) ------------------------------------------- */
#define HEAP_NONE UINT32_MAX

/* Takes `count` free pages, warm or cold, starting at a multiple of `align` pages, out of the bins.
 * Their state stays FREE until the caller writes it, before any other run is given back. */
uint32_t tine__heap_take_run(uint32_t count, uint32_t align, bool cold);
/* The same from anywhere: warm, reclaimed, cold, of the dead, mixed. */
uint32_t tine__heap_find_run(uint32_t count, uint32_t align);
/* Marks pages free, head first, and puts them into the bins, joined with their neighbours. */
void tine__heap_give_run(uint32_t index, uint32_t count, bool cold);
/* Marks pages that are in no bin as in transit: from now a sweeper would punch and free them. */
void tine__heap_transit(uint32_t index, uint32_t count, uint32_t owner);
/* Ends it after the attempt to punch them: free and cold, or lost. */
void tine__heap_end_transit(uint32_t index, uint32_t count, int punched);
/* Puts a run whose states are right into its bin. */
void tine__heap_run_insert(uint32_t index, uint32_t length, bool cold);
/* Makes more warm pages, at least `count` in one run, and gives them to the bins. 0, -ENOMEM */
int tine__heap_grow(uint32_t count);
uint32_t tine__heap_trim(void); /* returns all warm free pages to the system; how many */
uint32_t tine__heap_count_cold(uint32_t index, uint32_t count);
void tine__heap_list_push(uint32_t *head, uint32_t index);
void tine__heap_list_remove(uint32_t *head, uint32_t index);

/* ---- blocks of whole pages (heap_large.c), without the lock ---------------------------------- */
void *tine__heap_large_alloc(size_t size, size_t alignment, bool *zero); /* *zero: reads as zero */
bool tine__heap_large_free(uint32_t index);                              /* false: no such block */

/* ---- memory of pages (heap_commit.c) --------------------------------------------------------- */
int tine__heap_commit(size_t offset, size_t size); /* offset into the mapping; 0 or -ENOMEM */
int tine__heap_commit_pages(uint32_t index, uint32_t count);
int tine__heap_punch_pages(uint32_t index, uint32_t count);

/* ---- slabs (heap_slab.c) --------------------------------------------------------------------- */
/* Gives empty listed slabs back to the bins; how many pages. */
uint32_t tine__heap_reclaim(void);
/* Settles a slab whose owner is gone: listed, or full. Under the lock. */
void tine__heap_disown(uint32_t index);
uint32_t tine__heap_slab_used(uint32_t index, const struct heap_class *class);
bool tine__heap_slab_sound(uint32_t index, const struct heap_class *class);

/* ---- deaths (heap_sweep.c), under the heap lock ---------------------------------------------- */
void tine__heap_rebuild(void *unused);
bool tine__heap_sweep_locked(void); /* true: somebody dead was found */
int tine__heap_owner_locked(void);  /* this process's row; -ENOLCK, -ENOMEM */

#endif
