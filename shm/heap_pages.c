/* SPDX-License-Identifier: MIT */
/*
 * Runs of free pages: bins by length, warm (committed) and cold apart, so that warm memory is used
 * first; splitting, joining, growing. Everything here runs under the heap lock.
 *
 * A page's own state word says whether it is free and cold; lengths and bins are derived from that.
 * The length of a run stands at its first and last page, by which neighbours find it.
 */
#include <errno.h>

#include "shm/heap_impl.h"

/* How many runs of a bin are looked at before the next, where all are longer, is taken. */
#define LOOKS_MAX 64

void tine__heap_list_push(uint32_t *head, uint32_t index)
{
    struct heap_page_shm *page = heap_page(index);

    page->prev = 0;
    page->next = *head;
    if (*head != 0)
        heap_page(*head - 1)->prev = index + 1;
    *head = index + 1;
}

void tine__heap_list_remove(uint32_t *head, uint32_t index)
{
    struct heap_page_shm *page = heap_page(index);

    if (page->prev != 0)
        heap_page(page->prev - 1)->next = page->next;
    else
        *head = page->next;
    if (page->next != 0)
        heap_page(page->next - 1)->prev = page->prev;
    page->next = page->prev = 0;
}

static uint32_t *bin_of(uint32_t length, bool cold)
{
    return &tine__heap.shared->bins[cold][31 - __builtin_clz(length)];
}

void tine__heap_run_insert(uint32_t index, uint32_t length, bool cold)
{
    if (length == 0)
        return;
    heap_page(index)->run = length;
    heap_page(index + length - 1)->run = length;
    tine__heap_list_push(bin_of(length, cold), index);
    if (!cold)
        tine__heap.shared->warm += length;
}

/* Takes the run out of its bin; its length. */
static uint32_t run_remove(uint32_t index, bool cold)
{
    uint32_t length = heap_page(index)->run;

    tine__heap_list_remove(bin_of(length, cold), index);
    if (!cold)
        tine__heap.shared->warm -= length;
    return length;
}

/* The first page at or after `index` whose address is a multiple of `align` pages. */
static uint32_t align_up(uint32_t index, uint32_t align)
{
    uintptr_t number = (uintptr_t)heap_address(index) >> HEAP_PAGE_SHIFT;

    return index + (uint32_t)((0 - number) & (align - 1));
}

/* Takes [start, start + count) out of the adjacent runs that begin at `first`. */
static uint32_t carve(uint32_t first, uint32_t start, uint32_t count)
{
    for (uint32_t run = first, length; run < start + count; run += length) {
        bool cold = heap_cold(heap_load(run));
        uint32_t end = start + count;

        length = run_remove(run, cold);
        if (run < start)
            tine__heap_run_insert(run, run + length < start ? length : start - run, cold);
        if (run + length > end)
            tine__heap_run_insert(end, run + length - end, cold);
    }
    return start;
}

uint32_t tine__heap_take_run(uint32_t count, uint32_t align, bool cold)
{
    uint32_t *bins = tine__heap.shared->bins[cold];

    for (int bin = 31 - __builtin_clz(count); bin < HEAP_BINS; bin++) {
        uint32_t link = bins[bin];

        for (int looks = 0; link != 0 && looks < LOOKS_MAX; looks++) {
            uint32_t index = link - 1, start = align_up(index, align);

            if ((uint64_t)start + count <= (uint64_t)index + heap_page(index)->run)
                return carve(index, start, count);
            link = heap_page(index)->next;
        }
    }
    return HEAP_NONE;
}

void tine__heap_give_run(uint32_t index, uint32_t count, bool cold)
{
    uint64_t flag = cold ? HEAP_COLD : 0;

    /* Head first: until the head is free, the tails belong to it. */
    for (uint32_t i = index; i < index + count; i++)
        heap_store(i, heap_state_cold(heap_state(HEAP_FREE, 0, 0, i), cold, i));
    if (index > 0) {
        uint64_t left = heap_load(index - 1);

        if (heap_kind(left) == HEAP_FREE && (left & HEAP_COLD) == flag) {
            uint32_t length = heap_page(index - 1)->run;

            index -= length;
            count += length;
            run_remove(index, cold);
        }
    }
    if (index + count < heap_page_count()) {
        uint64_t right = heap_load(index + count);

        if (heap_kind(right) == HEAP_FREE && (right & HEAP_COLD) == flag)
            count += run_remove(index + count, cold);
    }
    tine__heap_run_insert(index, count, cold);
}

/* Gives `count` further pages their records and puts them, cold, into the bins. */
static int extend(uint32_t count)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t first = heap_page_count(), end;

    if (count > shared->page_limit - first)
        return -ENOMEM;
    end = first + count;
    if (end > shared->record_pages) {
        size_t from = HEAP_RECORDS_AT + shared->record_pages * sizeof(struct heap_page_shm);

        if (tine__heap_commit(from, (end - shared->record_pages) * sizeof(struct heap_page_shm)) <
            0)
            return -ENOMEM;
        shared->record_pages = end;
    }
    for (uint32_t i = first; i < end; i++)
        heap_store(i, heap_state_cold(heap_state(HEAP_FREE, 0, 0, i), true, i));
    /* pairs with the acquire in heap_page_count */
    atomic_store_explicit(&shared->page_count, end, memory_order_release);
    tine__heap_give_run(first, count, true);
    return 0;
}

/* A cold run from the bins, or from beyond the pages in use. */
static uint32_t cold_run(uint32_t count, uint32_t align)
{
    uint32_t index = tine__heap_take_run(count, align, true);
    uint32_t end = heap_page_count(), more = count + align - 1;

    if (index != HEAP_NONE)
        return index;
    if (end > 0 && align == 1) { /* the last pages may be the beginning of it */
        uint64_t last = heap_load(end - 1);

        if (heap_kind(last) == HEAP_FREE && heap_cold(last) && heap_page(end - 1)->run < count)
            more = count - heap_page(end - 1)->run;
    }
    return extend(more) < 0 ? HEAP_NONE : tine__heap_take_run(count, align, true);
}

/* The last resort when addresses run short: neighbouring runs, warm and cold mixed. */
static uint32_t mixed_run(uint32_t count, uint32_t align)
{
    uint32_t first = 0, end = heap_page_count();

    for (uint32_t i = 0; i < end;) {
        uint64_t state = heap_load(i);
        uint32_t start;

        if (heap_kind(state) != HEAP_FREE) {
            i += heap_span(state);
            first = i;
            continue;
        }
        i += heap_page(i)->run;
        start = align_up(first, align);
        if ((uint64_t)start + count <= i) {
            /* runs that end before the start stay in their bins */
            while (first + heap_page(first)->run <= start)
                first += heap_page(first)->run;
            return carve(first, start, count);
        }
    }
    return HEAP_NONE;
}

uint32_t tine__heap_find_run(uint32_t count, uint32_t align)
{
    uint32_t index = tine__heap_take_run(count, align, false);

    if (index == HEAP_NONE && tine__heap_reclaim() > 0)
        index = tine__heap_take_run(count, align, false);
    if (index == HEAP_NONE)
        index = cold_run(count, align);
    if (index == HEAP_NONE && tine__heap_sweep_locked())
        index = tine__heap_take_run(count, align, false);
    return index != HEAP_NONE ? index : mixed_run(count, align);
}

uint32_t tine__heap_count_cold(uint32_t index, uint32_t count)
{
    uint32_t cold = 0;

    for (uint32_t i = index; i < index + count; i++)
        cold += heap_cold(heap_load(i));
    return cold;
}

void tine__heap_transit(uint32_t index, uint32_t count, uint32_t owner)
{
    tine__heap.shared->committed -= count - tine__heap_count_cold(index, count);
    for (uint32_t i = count - 1; i > 0; i--)
        heap_store(index + i, heap_state_cold(heap_state(HEAP_TAIL, 0, i, index + i),
                                              heap_cold(heap_load(index + i)), index + i));
    heap_set_use(index, HEAP_OWNED, owner + 1);
    heap_store(index, heap_state_cold(heap_state(HEAP_TRANSIT, 0, count, index), true, index));
    /* Only now: a tail without its head must not be called cold unless it reads as zero. */
    for (uint32_t i = index + 1; i < index + count; i++)
        heap_store(i, heap_state_cold(heap_load(i), true, i));
}

void tine__heap_end_transit(uint32_t index, uint32_t count, int punched)
{
    /* All cold, unless a death came between the head and its tails. */
    tine__heap.shared->committed -= count - tine__heap_count_cold(index, count);
    if (punched == 0) {
        tine__heap_give_run(index, count, true);
        return;
    }
    tine__heap.shared->committed += count;
    for (uint32_t i = index; i < index + count; i++)
        heap_store(i, heap_state(HEAP_LOST, 0, 0, i));
}

/* Puts free pages that are in no bin back as they are, warm and cold ones. */
static void put_back(uint32_t index, uint32_t count)
{
    uint32_t length;

    for (uint32_t end = index + count; index < end; index += length) {
        bool cold = heap_cold(heap_load(index));

        for (length = 1; index + length < end; length++)
            if (heap_cold(heap_load(index + length)) != cold)
                break;
        tine__heap_give_run(index, length, cold);
    }
}

/* Commits a free run that is in no bin, and gives it to the bins. */
static int warm_up(uint32_t index, uint32_t count)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t cold = tine__heap_count_cold(index, count);

    if (tine__heap_commit_pages(index, count) < 0) {
        if (cold == count) /* what was committed of it is zero: it stays cold either way */
            (void)tine__heap_punch_pages(index, count);
        put_back(index, count);
        return -ENOMEM;
    }
    shared->committed += cold;
    tine__heap_give_run(index, count, false);
    atomic_fetch_add_explicit(&shared->growths, 1, memory_order_relaxed);
    return 0;
}

int tine__heap_grow(uint32_t count)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t piece = shared->piece > count ? shared->piece : count;
    uint32_t index = cold_run(piece, 1);

    if (index != HEAP_NONE && warm_up(index, piece) == 0) {
        shared->piece = piece * 2 < HEAP_PIECE_MAX ? piece * 2 : HEAP_PIECE_MAX;
        return 0;
    }
    shared->piece = 1;
    index = cold_run(count, 1);
    if (index == HEAP_NONE)
        index = mixed_run(count, 1);
    return index == HEAP_NONE ? -ENOMEM : warm_up(index, count);
}

uint32_t tine__heap_trim(void)
{
    int owner = tine__heap_owner_locked();
    uint32_t trimmed = 0;

    for (int bin = HEAP_BINS - 1; bin >= 0 && owner >= 0; bin--) {
        uint32_t *head = &tine__heap.shared->bins[0][bin];

        while (*head != 0) {
            uint32_t index = *head - 1, count = run_remove(index, false);

            tine__heap_transit(index, count, (uint32_t)owner);
            tine__heap_end_transit(index, count, tine__heap_punch_pages(index, count));
            trimmed += count;
        }
    }
    return trimmed;
}
