/* SPDX-License-Identifier: MIT */
/*
 * Verification and figures: one walk over all pages under the heap lock. The check believes nothing
 * derived: it compares lists, bins and counters with what the pages themselves say.
 */
#include <tine/error.h>
#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "shm/heap_slab.h"

/* What a walk has seen so far. */
struct walk {
    tine_heap_report report;
    uint64_t committed, used_pages, lost_pages, warm, cold; /* pages */
    uint64_t listed;                                        /* slabs that should be in a list */
};

static void finding(struct walk *walk, uint64_t page, const char *text)
{
    if (walk->report.broken++ == 0) {
        walk->report.first_page = page;
        walk->report.first = text;
    }
}

static void expect(struct walk *walk, bool right, uint64_t page, const char *text)
{
    if (!right)
        finding(walk, page, text);
}

/* What holds for every page: nothing stale is left in the words that it does not use. */
static void walk_record(struct walk *walk, uint32_t index, uint64_t state, bool linked)
{
    struct heap_page_shm *page = heap_page(index);
    bool owned = heap_kind(state) == HEAP_SLAB && heap_mode(index) == HEAP_OWNED;

    expect(walk, heap_state_valid(state, index), index, "state word");
    expect(walk, heap_use_valid(index), index, "use word");
    expect(walk, linked || (page->next == 0 && page->prev == 0), index,
           "links of a page in no list");
    expect(walk, owned || atomic_load_explicit(&page->hand, memory_order_acquire) == 0, index,
           "hand of a page that nobody owns");
    expect(walk,
           (page->reserved[0] | page->reserved[1] | page->reserved[2] | page->reserved[3]) == 0,
           index, "reserved word");
}

static void walk_tails(struct walk *walk, uint32_t index, uint32_t length, bool any_cold)
{
    for (uint32_t i = 1; i < length; i++) {
        uint64_t state = heap_load(index + i);

        walk_record(walk, index + i, state, false);
        expect(walk, heap_kind(state) == HEAP_TAIL && heap_length(state) == i, index + i,
               "tail of another head");
        expect(walk, any_cold || !heap_cold(state), index + i, "cold page in use");
        walk->committed += !heap_cold(state);
    }
}

static bool owner_is_known(uint32_t index)
{
    struct tine__owner owner;
    uint32_t row = heap_owner(index);

    return row < tine__heap.shared->owner_count &&
           tine__owner_read(&tine__heap.owners[row], &owner);
}

static void walk_slab(struct walk *walk, uint32_t index, uint64_t state, uint32_t end)
{
    unsigned c = heap_class(state), mode = heap_mode(index);
    const struct heap_class *class;
    uint32_t used;

    if (c >= HEAP_CLASSES || heap_length(state) != tine__heap_classes[c].pages ||
        heap_length(state) > end - index) {
        finding(walk, index, "slab of no class");
        return;
    }
    class = &tine__heap_classes[c];
    expect(walk, mode >= HEAP_OWNED && mode <= HEAP_FULL, index, "mode of slab");
    expect(walk, mode != HEAP_OWNED || owner_is_known(index), index, "owner of slab");
    expect(walk, tine__heap_slab_sound(index, class), index, "allocation bits");
    used = tine__heap_slab_used(index, class);
    walk->report.used_blocks += used;
    walk->report.used_bytes += (uint64_t)used * class->size;
    walk->listed += mode == HEAP_PARTIAL;
    walk->committed++;
    walk_tails(walk, index, class->pages, false);
}

static void walk_large(struct walk *walk, uint32_t index, uint64_t state, uint32_t end)
{
    uint32_t length = heap_length(state);

    if (length == 0 || length > end - index) {
        finding(walk, index, "block beyond the heap");
        return;
    }
    if (heap_kind(state) == HEAP_LARGE) {
        walk->report.used_blocks++;
        walk->report.used_bytes += (uint64_t)length << HEAP_PAGE_SHIFT;
        expect(walk, !heap_cold(state), index, "cold page in use");
    }
    walk->committed += !heap_cold(state);
    walk_tails(walk, index, length, heap_kind(state) == HEAP_TRANSIT);
}

static void walk_free(struct walk *walk, uint64_t state)
{
    walk->cold += heap_cold(state);
    walk->warm += !heap_cold(state);
    walk->committed += !heap_cold(state);
}

/* Is it the first page of a free run? Then it is in a bin. */
static bool begins_run(uint32_t index)
{
    uint64_t before;

    if (index == 0)
        return true;
    before = heap_load(index - 1);
    return heap_kind(before) != HEAP_FREE || heap_cold(before) != heap_cold(heap_load(index));
}

/* Looks at one page and all that belong to it; how many. */
static uint32_t walk_page(struct walk *walk, uint32_t index, uint32_t end)
{
    uint64_t state = heap_load(index);
    uint32_t span = heap_span(state);
    bool linked = false;

    switch ((enum heap_kind)heap_kind(state)) {
    case HEAP_FREE:
        walk_free(walk, state);
        linked = begins_run(index);
        break;
    case HEAP_SLAB:
        walk_slab(walk, index, state, end);
        linked = heap_mode(index) == HEAP_PARTIAL;
        break;
    case HEAP_LARGE:
    case HEAP_TRANSIT:
        walk_large(walk, index, state, end);
        break;
    case HEAP_LOST:
        walk->lost_pages++;
        walk->committed++;
        break;
    case HEAP_TAIL:
    default:
        finding(walk, index, "tail without head, or no kind of page");
        break;
    }
    walk_record(walk, index, state, linked);
    return span > 0 && span <= end - index ? span : 1;
}

/* Follows a list; how many links. Stops at the first that is wrong. */
static uint64_t follow(struct walk *walk, uint32_t link, uint32_t end,
                       bool (*belongs)(uint32_t index, unsigned key), unsigned key)
{
    uint64_t count = 0;
    uint32_t before = 0;

    for (; link != 0; count++) {
        if (link > end || heap_page(link - 1)->prev != before || count > end) {
            finding(walk, link - 1, "link of list");
            return count;
        }
        if (!belongs(link - 1, key)) {
            finding(walk, link - 1, "page in the wrong list");
            return count;
        }
        before = link;
        link = heap_page(link - 1)->next;
    }
    return count;
}

static bool is_partial(uint32_t index, unsigned class)
{
    uint64_t state = heap_load(index);

    return heap_kind(state) == HEAP_SLAB && heap_class(state) == class &&
           heap_mode(index) == HEAP_PARTIAL;
}

/* key: bin, with HEAP_BINS added for cold */
static bool is_run(uint32_t index, unsigned key)
{
    uint32_t length = heap_page(index)->run, end = heap_page_count();
    bool cold = key >= HEAP_BINS;

    if (length == 0 || length > end - index || heap_page(index + length - 1)->run != length ||
        31u - (unsigned)__builtin_clz(length) != key % HEAP_BINS)
        return false;
    for (uint32_t i = index; i < index + length; i++)
        if (heap_kind(heap_load(i)) != HEAP_FREE || heap_cold(heap_load(i)) != cold)
            return false;
    return true;
}

static uint64_t run_pages(uint32_t link, uint32_t end)
{
    uint64_t pages = 0, looks = 0;

    for (; link != 0 && link <= end && looks < end; looks++) {
        pages += heap_page(link - 1)->run;
        link = heap_page(link - 1)->next;
    }
    return pages;
}

static void check_lists(struct walk *walk, uint32_t end)
{
    struct heap_shm *shared = tine__heap.shared;
    uint64_t listed = 0, warm = 0, cold = 0;

    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        listed += follow(walk, shared->partial[i], end, is_partial, i);
    for (unsigned i = 0; i < HEAP_BINS; i++) {
        follow(walk, shared->bins[0][i], end, is_run, i);
        follow(walk, shared->bins[1][i], end, is_run, HEAP_BINS + i);
        warm += run_pages(shared->bins[0][i], end);
        cold += run_pages(shared->bins[1][i], end);
    }
    expect(walk, listed == walk->listed, UINT64_MAX, "slab with room in no list");
    expect(walk, warm == walk->warm && cold == walk->cold, UINT64_MAX, "free page in no bin");
}

static void check_header(struct walk *walk)
{
    const struct heap_shm *shared = tine__heap.shared;

    expect(walk, shared->magic == HEAP_MAGIC && shared->format == HEAP_FORMAT, UINT64_MAX, "magic");
    expect(walk, shared->size == tine__heap.size && shared->page_limit == tine__heap.page_limit,
           UINT64_MAX, "size");
    expect(walk, (const char *)shared + shared->data_offset == tine__heap.data, UINT64_MAX,
           "offset of the pages");
    expect(walk, shared->owner_count > 0 && shared->owner_count <= HEAP_OWNERS, UINT64_MAX,
           "number of owners");
    expect(walk, shared->piece > 0 && shared->piece <= HEAP_PIECE_MAX, UINT64_MAX, "next growth");
    expect(walk, shared->committed == walk->committed, UINT64_MAX, "number of committed pages");
    expect(walk, shared->warm == walk->warm, UINT64_MAX, "number of warm pages");
}

static void walk_all(struct walk *walk, uint32_t end)
{
    tine_heap_report *report = &walk->report;

    report->first_page = UINT64_MAX;
    report->pages = end;
    if (end > tine__heap.page_limit || end != tine__heap.shared->record_pages) {
        finding(walk, UINT64_MAX, "number of pages");
        return; /* what lies there may not exist */
    }
    for (uint32_t i = 0; i < end;)
        i += walk_page(walk, i, end);
    report->lost_bytes = walk->lost_pages << HEAP_PAGE_SHIFT;
    report->mapped_bytes = (uint64_t)tine__heap.shared->committed << HEAP_PAGE_SHIFT;
    report->free_bytes =
        (walk->committed << HEAP_PAGE_SHIFT) - report->used_bytes - report->lost_bytes;
}

int tine_heap_check(tine_heap_report *report)
{
    struct walk walk = {.listed = 0};
    uint32_t end;
    int rc = tine__heap_open();

    if (rc == 0)
        rc = tine__heap_lock();
    if (rc < 0)
        return rc;
    end = heap_page_count();
    walk_all(&walk, end);
    check_header(&walk);
    if (walk.report.broken == 0) /* lists of broken pages may lead anywhere */
        check_lists(&walk, end);
    tine__heap_unlock();
    if (report != NULL)
        *report = walk.report;
    return walk.report.broken == 0 ? 0 : TINE_EBROKEN;
}

static uint32_t count_processes(void)
{
    uint32_t count = 0;
    struct tine__owner owner;

    for (uint32_t row = 0; row < tine__heap.shared->owner_count; row++)
        count += tine__owner_read(&tine__heap.owners[row], &owner);
    return count;
}

int tine_heap_stats(tine_heap_counts *stats)
{
    struct walk walk = {.listed = 0};
    struct heap_shm *shared;
    int rc = stats == NULL ? -EINVAL : tine__heap_open();

    if (rc == 0)
        rc = tine__heap_lock();
    if (rc < 0)
        return rc;
    shared = tine__heap.shared;
    walk_all(&walk, heap_page_count());
    *stats = (tine_heap_counts){
        .reserved_bytes = shared->size,
        .mapped_bytes = walk.report.mapped_bytes,
        .used_bytes = walk.report.used_bytes,
        .used_blocks = walk.report.used_blocks,
        .free_bytes = walk.report.free_bytes,
        .lost_bytes = walk.report.lost_bytes,
        .metadata_bytes = HEAP_OWNERS_AT + shared->owner_count * sizeof(struct tine__owner_shm) +
                          shared->record_pages * sizeof(struct heap_page_shm),
        .bad_frees = atomic_load_explicit(&shared->bad_frees, memory_order_relaxed),
        .growths = atomic_load_explicit(&shared->growths, memory_order_relaxed),
        .recoveries = atomic_load_explicit(&shared->recoveries, memory_order_relaxed),
        .processes = count_processes(),
    };
    tine__heap_unlock();
    return 0;
}
