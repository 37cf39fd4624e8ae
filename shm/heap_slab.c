/* SPDX-License-Identifier: MIT */
/*
 * Slabs: one or eight pages cut into blocks of one class, a bit a block (set = not available).
 *
 * A slab is OWNED by one thread, which alone sets bits in it; anybody clears them by freeing. The
 * owner claims up to 32 blocks at a time into the slab's `hand` word, the bits first noted there
 * and then set, and gives them out with plain stores; so a block is live when its bit is set and it
 * is not in hand. A death leaves the hand behind, and the sweeper clears its bits: at most the one
 * block that was just being given out is lost.
 *
 * Full slabs are in no list. The owner stores FULL and then looks at the bits once more; a freer
 * clears its bit and then looks for FULL (both sequentially consistent), so one of them lists it.
 * Lists and modes change under the heap lock only.
 */
#include "shm/heap_slab.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/fork.h"
#include "shm/heap.h"

#define CLASS(bytes, count)                                                                        \
    {                                                                                              \
        (bytes), ((count) << HEAP_PAGE_SHIFT) / (bytes),                                           \
            (((count) << HEAP_PAGE_SHIFT) / (bytes) + 63) / 64, (count),                           \
            ((uint64_t)1 << 40) / (bytes) + 1                                                      \
    }
#define FOUR(bytes, pages)                                                                         \
    CLASS((bytes)*5 / 4, pages), CLASS((bytes)*6 / 4, pages), CLASS((bytes)*7 / 4, pages),         \
        CLASS((bytes)*2, pages)

const struct heap_class tine__heap_classes[HEAP_CLASSES] = {
    CLASS(16, 1),
    CLASS(32, 1),
    CLASS(48, 1),
    CLASS(64, 1),
    CLASS(80, 1),
    CLASS(96, 1),
    CLASS(112, 1),
    CLASS(128, 1),
    FOUR(128, 1),
    FOUR(256, 1),
    FOUR(512, 1),
    FOUR(1024, 1),
    FOUR(2048, 1),
    FOUR(4096, 1),
    FOUR(8192, HEAP_SLAB_PAGES),
    FOUR(16384, HEAP_SLAB_PAGES),
    FOUR(32768, HEAP_SLAB_PAGES),
};

_Thread_local struct heap_cache *tine__heap_thread __attribute__((tls_model("initial-exec")));

static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static bool have_exit_key;

/* The bits of the last word that stand for no block are always set. */
static uint64_t padding(const struct heap_class *class, uint32_t word)
{
    uint32_t used = class->blocks - word * 64;

    return used >= 64 ? 0 : UINT64_MAX << used;
}

static bool has_room(uint32_t index, const struct heap_class *class)
{
    struct heap_page_shm *page = heap_page(index);

    for (uint32_t i = 0; i < class->words; i++)
        if (atomic_load_explicit(&page->bits[i], memory_order_seq_cst) != UINT64_MAX)
            return true;
    return false;
}

static bool is_empty(uint32_t index, const struct heap_class *class)
{
    struct heap_page_shm *page = heap_page(index);

    for (uint32_t i = 0; i < class->words; i++)
        if (atomic_load_explicit(&page->bits[i], memory_order_acquire) != padding(class, i))
            return false;
    return true;
}

bool tine__heap_slab_sound(uint32_t index, const struct heap_class *class)
{
    struct heap_page_shm *page = heap_page(index);
    uint32_t last = class->words - 1;
    uint64_t pad = padding(class, last);

    return (atomic_load_explicit(&page->bits[last], memory_order_acquire) & pad) == pad &&
           hand_word(atomic_load_explicit(&page->hand, memory_order_acquire)) <= last;
}

uint32_t tine__heap_slab_used(uint32_t index, const struct heap_class *class)
{
    struct heap_page_shm *page = heap_page(index);
    uint64_t hand = atomic_load_explicit(&page->hand, memory_order_acquire);
    uint32_t used = 0;

    for (uint32_t i = 0; i < class->words; i++) {
        uint64_t bits = atomic_load_explicit(&page->bits[i], memory_order_acquire);

        bits &= ~padding(class, i);
        if (hand_word(hand) == i)
            bits &= ~hand_bits(hand);
        used += (uint32_t)__builtin_popcountll(bits);
    }
    return used;
}

/* Lists a slab that nobody owns if it has room. Under the lock. */
static void list_if_room(uint32_t index, unsigned class)
{
    heap_set_use(index, HEAP_FULL, 0);
    if (!has_room(index, &tine__heap_classes[class]))
        return;
    heap_set_use(index, HEAP_PARTIAL, 0);
    tine__heap_list_push(&tine__heap.shared->partial[class], index);
}

void tine__heap_disown(uint32_t index)
{
    struct heap_page_shm *page = heap_page(index);
    uint64_t hand = atomic_load_explicit(&page->hand, memory_order_relaxed);

    if (hand_bits(hand) != 0)
        atomic_fetch_and_explicit(&page->bits[hand_word(hand)], ~hand_bits(hand),
                                  memory_order_acq_rel);
    atomic_store_explicit(&page->hand, 0, memory_order_release);
    list_if_room(index, heap_class(heap_load(index)));
}

void tine__heap_slab_relist(uint32_t index)
{
    list_if_room(index, heap_class(heap_load(index)));
}

void tine__heap_slab_freed(uint32_t index)
{
    if (tine__heap_lock() < 0)
        return; /* the slab stays out of the lists until the next rebuild */
    /* Whoever came first has listed it; then it is no longer FULL. */
    if (heap_kind(heap_load(index)) == HEAP_SLAB && heap_mode(index) == HEAP_FULL)
        tine__heap_slab_relist(index);
    tine__heap_unlock();
}

uint32_t tine__heap_reclaim(void)
{
    uint32_t pages = 0;

    for (unsigned c = 0; c < HEAP_CLASSES; c++) {
        const struct heap_class *class = &tine__heap_classes[c];
        uint32_t *head = &tine__heap.shared->partial[c];

        for (uint32_t link = *head; link != 0;) {
            uint32_t index = link - 1;

            link = heap_page(index)->next;
            if (!is_empty(index, class))
                continue;
            tine__heap_list_remove(head, index);
            tine__heap_give_run(index, class->pages, false);
            pages += class->pages;
        }
    }
    return pages;
}

/* Warm pages that are there already. */
static uint32_t recycled(uint32_t count)
{
    uint32_t index = tine__heap_take_run(count, 1, false);

    if (index == HEAP_NONE && tine__heap_reclaim() >= count)
        index = tine__heap_take_run(count, 1, false);
    return index;
}

/* Turns free warm pages into a slab, owned. */
static uint32_t make_slab(uint32_t index, unsigned c, uint32_t owner)
{
    const struct heap_class *class = &tine__heap_classes[c];
    struct heap_page_shm *page = heap_page(index);

    for (uint32_t i = 0; i < class->words; i++)
        atomic_store_explicit(&page->bits[i], padding(class, i), memory_order_relaxed);
    atomic_store_explicit(&page->hand, 0, memory_order_relaxed);
    heap_set_use(index, HEAP_OWNED, owner + 1);
    /* Tails first: without their head they are nobody's, and a rebuild frees them. */
    for (uint32_t i = class->pages - 1; i > 0; i--)
        heap_store(index + i, heap_state(HEAP_TAIL, 0, i, index + i));
    heap_store(index, heap_state(HEAP_SLAB, c, class->pages, index));
    return index;
}

static uint32_t pop_slab(uint32_t *head, uint32_t owner)
{
    uint32_t index = *head - 1;

    tine__heap_list_remove(head, index);
    heap_set_use(index, HEAP_OWNED, owner + 1);
    return index;
}

/* A slab with room, or a new one; what the dead left comes before new memory. */
static uint32_t next_slab(unsigned class, uint32_t owner)
{
    uint32_t *head = &tine__heap.shared->partial[class];
    uint32_t count = tine__heap_classes[class].pages, index;

    if (*head != 0)
        return pop_slab(head, owner);
    index = recycled(count);
    if (index == HEAP_NONE && tine__heap_sweep_locked()) {
        if (*head != 0)
            return pop_slab(head, owner);
        index = recycled(count);
    }
    if (index == HEAP_NONE && tine__heap_grow(count) == 0)
        index = tine__heap_take_run(count, 1, false);
    return index == HEAP_NONE ? index : make_slab(index, class, owner);
}

/* The thread's next slab of the class. false: no memory. */
static bool change_slab(struct heap_cache *cache, unsigned class)
{
    struct heap_current *current = &cache->current[class];
    int owner;

    if (tine__heap_lock() < 0)
        return false;
    if (current->index != HEAP_NONE)
        tine__heap_disown(current->index);
    current->index = HEAP_NONE;
    current->page = &tine__heap_nothing;
    owner = tine__heap_owner_locked();
    if (owner >= 0)
        current->index = next_slab(class, (uint32_t)owner);
    if (current->index != HEAP_NONE) {
        current->page = heap_page(current->index);
        current->blocks = heap_address(current->index);
        current->word = 0;
    }
    tine__heap_unlock();
    return current->index != HEAP_NONE;
}

/* Claims free blocks of the current slab into its hand. false: it is full. */
static bool claim(struct heap_current *current, const struct heap_class *class)
{
    struct heap_page_shm *page = current->page;
    uint32_t word = current->word;

    if (current->index == HEAP_NONE)
        return false;
    for (uint32_t looks = 0; looks < class->words; looks++) {
        uint64_t free = ~atomic_load_explicit(&page->bits[word], memory_order_relaxed);

        if (free != 0) {
            uint32_t upper = (uint32_t)free == 0;
            uint64_t bits = (free >> (32 * upper)) & UINT32_MAX;

            current->word = word;
            atomic_store_explicit(&page->hand, (uint64_t)(word * 2 + upper) << 32 | bits,
                                  memory_order_release);
            /* pairs with the release of whoever freed: the last uses of the blocks are over */
            atomic_fetch_or_explicit(&page->bits[word], bits << (32 * upper), memory_order_acq_rel);
            return true;
        }
        word = word + 1 < class->words ? word + 1 : 0;
    }
    return false;
}

/* ---- caches of threads ----------------------------------------------------------------------- */

struct heap_page_shm tine__heap_nothing;

static void forget_slabs(struct heap_cache *cache)
{
    for (unsigned i = 0; i < HEAP_CLASSES; i++) {
        cache->current[i].index = HEAP_NONE;
        cache->current[i].page = &tine__heap_nothing;
    }
}

static void at_thread_exit(void *argument)
{
    struct heap_cache *cache = argument;

    if (cache->generation == tine__fork_generation() && tine__heap_lock() == 0) {
        for (unsigned i = 0; i < HEAP_CLASSES; i++)
            if (cache->current[i].index != HEAP_NONE)
                tine__heap_disown(cache->current[i].index);
        tine__heap_unlock();
    }
    tine__heap_thread = NULL;
    free(cache);
}

static void make_exit_key(void)
{
    have_exit_key = pthread_key_create(&exit_key, at_thread_exit) == 0;
}

/* This thread's cache, up to date; NULL when there is no heap or no memory. */
static struct heap_cache *own_cache(void)
{
    struct heap_cache *cache = tine__heap_thread;

    if (cache != NULL && cache->generation == tine__fork_generation())
        return cache;
    if (tine__heap_open() < 0)
        return NULL;
    if (cache == NULL) {
        pthread_once(&exit_key_once, make_exit_key);
        cache = malloc(sizeof *cache);
        if (cache == NULL)
            return NULL;
        if (!have_exit_key || pthread_setspecific(exit_key, cache) != 0) {
            free(cache);
            return NULL;
        }
        tine__heap_thread = cache;
    }
    /* New, or inherited through a fork: then the slabs in it are the parent's. */
    forget_slabs(cache);
    cache->generation = tine__fork_generation();
    return cache;
}

void *tine__heap_small_slow(unsigned class)
{
    const struct heap_class *info = &tine__heap_classes[class];
    struct heap_cache *cache = own_cache();

    if (cache == NULL)
        return NULL;
    while (!claim(&cache->current[class], info))
        if (!change_slab(cache, class))
            return NULL;
    return tine__heap_small_take(&cache->current[class], info);
}
