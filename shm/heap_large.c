/* SPDX-License-Identifier: MIT */
/*
 * Blocks of whole pages. Taking a run and settling its states need the heap lock; the system calls
 * that commit or return much memory do not: meanwhile the run is IN TRANSIT and belongs to this
 * process. Should the process die, a sweeper returns the run to the system.
 *
 * Order of states: tails before the head when a run is taken, head before the tails when it is
 * given up, so that a walk can tell tails without a head. A tail's cold flag says whether its page
 * must be taken for uncommitted.
 */
#include <errno.h>

#include "shm/heap_impl.h"

/* Makes committed pages a block. The tails first: without their head they are nobody's. */
static void make_block(uint32_t index, uint32_t count)
{
    for (uint32_t i = count - 1; i > 0; i--)
        heap_store(index + i, heap_state(HEAP_TAIL, 0, i, index + i));
    heap_store(index, heap_state(HEAP_LARGE, 0, count, index));
}

/* Commits a run in transit and makes it a block. */
static int settle(uint32_t index, uint32_t count)
{
    int rc = tine__heap_commit_pages(index, count);

    if (tine__heap_lock() < 0)
        return -ENOMEM; /* swept when this process has ended */
    if (rc == 0) {
        tine__heap.shared->committed += count;
        make_block(index, count);
    } else {
        tine__heap_end_transit(index, count, tine__heap_punch_pages(index, count));
        if (tine__heap_trim() > 0)
            rc = -EAGAIN;
    }
    tine__heap_unlock();
    return rc;
}

/* One attempt. 0, -ENOMEM, or -EAGAIN: there was no memory, but now some has been returned. */
static int take(uint32_t count, uint32_t align, uint32_t *taken, uint32_t *cold)
{
    int owner;

    if (tine__heap_lock() < 0)
        return -ENOMEM;
    owner = tine__heap_owner_locked();
    *taken = owner < 0 ? HEAP_NONE : tine__heap_find_run(count, align);
    if (*taken != HEAP_NONE) {
        *cold = tine__heap_count_cold(*taken, count);
        if (*cold == 0)
            make_block(*taken, count);
        else
            tine__heap_transit(*taken, count, (uint32_t)owner);
    }
    tine__heap_unlock();
    if (*taken == HEAP_NONE)
        return -ENOMEM;
    return *cold == 0 ? 0 : settle(*taken, count);
}

void *tine__heap_large_alloc(size_t size, size_t alignment, bool *zero)
{
    size_t pages = (size >> HEAP_PAGE_SHIFT) + ((size & (HEAP_PAGE - 1)) != 0);
    size_t align = alignment > HEAP_PAGE ? alignment >> HEAP_PAGE_SHIFT : 1;
    uint32_t index, cold;
    int rc;

    if (pages > tine__heap.shared->page_limit || align > tine__heap.shared->page_limit)
        return NULL;
    rc = take((uint32_t)pages, (uint32_t)align, &index, &cold);
    if (rc == -EAGAIN)
        rc = take((uint32_t)pages, (uint32_t)align, &index, &cold);
    if (rc < 0)
        return NULL;
    *zero = cold == pages;
    return heap_address(index);
}

bool tine__heap_large_free(uint32_t index)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t count;
    int owner, rc;

    if (tine__heap_lock() < 0)
        return true; /* leaked */
    if (heap_kind(heap_load(index)) != HEAP_LARGE) {
        tine__heap_unlock();
        return false;
    }
    count = heap_length(heap_load(index));
    owner = shared->warm + count > HEAP_WARM_MAX ? tine__heap_owner_locked() : -EAGAIN;
    if (owner < 0) {
        tine__heap_give_run(index, count, false);
        tine__heap_unlock();
        return true;
    }
    tine__heap_transit(index, count, (uint32_t)owner);
    tine__heap_unlock();
    rc = tine__heap_punch_pages(index, count);
    if (tine__heap_lock() < 0)
        return true; /* swept when this process has ended */
    tine__heap_end_transit(index, count, rc);
    tine__heap_unlock();
    return true;
}
