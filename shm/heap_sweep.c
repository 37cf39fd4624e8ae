/* SPDX-License-Identifier: MIT */
/*
 * Deaths: the table of the family's processes, the sweep of what a dead one held, and the
 * rebuilding of everything derived after a death under the heap lock. Every step may itself be cut
 * short by a death and begun again by the next.
 */
#include <errno.h>
#include <string.h>

#include "lib/fork.h"
#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "shm/heap_slab.h"

struct dead_set {
    uint64_t words[HEAP_OWNERS / 64];
};

/* This process's row; written under the heap lock, void once the generation differs. */
static _Atomic uint64_t self_generation;
static _Atomic uint32_t self_row;

static int known_row(void)
{
    uint64_t generation = tine__fork_generation_fast();

    /* pairs with the release in owner_locked: the row is of that generation */
    if (generation == 0 ||
        atomic_load_explicit(&self_generation, memory_order_acquire) != generation)
        return -ENOENT;
    return (int)atomic_load_explicit(&self_row, memory_order_relaxed);
}

static bool in_set(const struct dead_set *set, uint32_t row)
{
    return row < HEAP_OWNERS && (set->words[row / 64] >> (row % 64) & 1) != 0;
}

/* The rows of the dead, or of those with that pid alone; how many. */
static uint32_t find_dead(struct dead_set *set, pid_t pid)
{
    uint32_t count = 0, rows = tine__heap.shared->owner_count;
    int self = known_row();

    memset(set, 0, sizeof *set);
    for (uint32_t row = 0; row < rows; row++) {
        struct tine__owner owner;

        if ((int)row == self || !tine__owner_read(&tine__heap.owners[row], &owner))
            continue;
        if ((pid != 0 && owner.pid != pid) || tine__owner_lives(&owner))
            continue;
        set->words[row / 64] |= (uint64_t)1 << (row % 64);
        count++;
    }
    return count;
}

static void release(const struct dead_set *set)
{
    uint32_t end = heap_page_count(), rows = tine__heap.shared->owner_count;

    for (uint32_t i = 0; i < end;) {
        uint64_t state = heap_load(i);
        unsigned kind = heap_kind(state);
        bool held = (kind == HEAP_SLAB || kind == HEAP_TRANSIT) && heap_mode(i) == HEAP_OWNED &&
                    in_set(set, heap_owner(i));

        if (held && kind == HEAP_SLAB)
            tine__heap_disown(i);
        else if (held)
            tine__heap_end_transit(i, heap_length(state),
                                   tine__heap_punch_pages(i, heap_length(state)));
        i += heap_span(state);
    }
    /* Last: a row that is free again says that nothing is held under it. */
    for (uint32_t row = 0; row < rows; row++)
        if (in_set(set, row))
            atomic_store_explicit(&tine__heap.owners[row].state, TINE__OWNER_FREE,
                                  memory_order_release);
}

static bool sweep_locked(pid_t pid)
{
    struct dead_set dead;

    if (find_dead(&dead, pid) == 0)
        return false;
    release(&dead);
    return true;
}

bool tine__heap_sweep_locked(void)
{
    return sweep_locked(0);
}

/* A free row; when all are taken, more are committed, then the dead are swept. */
static int free_row(void)
{
    struct heap_shm *shared = tine__heap.shared;
    const uint32_t more = 4096 / sizeof(struct tine__owner_shm);

    for (int attempt = 0; attempt < 2; attempt++) {
        for (uint32_t row = 0; row < shared->owner_count; row++)
            if (atomic_load_explicit(&tine__heap.owners[row].state, memory_order_acquire) ==
                TINE__OWNER_FREE)
                return (int)row;
        if (sweep_locked(0))
            continue;
        if (shared->owner_count + more > HEAP_OWNERS)
            return -ENOLCK;
        if (tine__heap_commit(HEAP_OWNERS_AT + shared->owner_count * sizeof(struct tine__owner_shm),
                              4096) < 0)
            return -ENOMEM;
        shared->owner_count += more;
    }
    return -ENOLCK;
}

int tine__heap_owner_locked(void)
{
    struct tine__owner self;
    uint64_t generation = tine__fork_generation();
    int row = known_row();

    if (row >= 0 || generation == 0)
        return row >= 0 ? row : -ENOMEM;
    row = free_row();
    if (row < 0)
        return row;
    tine__owner_identify(&self);
    tine__owner_fill(&tine__heap.owners[row], &self);
    atomic_store_explicit(&self_row, (uint32_t)row, memory_order_relaxed);
    atomic_store_explicit(&self_generation, generation, memory_order_release);
    return row;
}

/* ---- rebuilding ------------------------------------------------------------------------------ */

static uint32_t rebuild_free(uint32_t index, uint32_t end)
{
    bool cold = heap_cold(heap_load(index));
    uint32_t length = 1;

    while (index + length < end) {
        uint64_t next = heap_load(index + length);

        heap_page(index + length)->next = heap_page(index + length)->prev = 0;
        if (heap_kind(next) != HEAP_FREE || heap_cold(next) != cold)
            break;
        length++;
    }
    tine__heap_run_insert(index, length, cold);
    return length;
}

/* A tail that is met here has no head: its run was being taken or given up. */
static void free_orphans(uint32_t end)
{
    for (uint32_t i = 0; i < end;) {
        uint64_t state = heap_load(i);

        if (heap_kind(state) == HEAP_TAIL)
            heap_store(i, heap_state_cold(heap_state(HEAP_FREE, 0, 0, i), heap_cold(state), i));
        i += heap_span(state);
    }
}

void tine__heap_rebuild(void *unused)
{
    struct heap_shm *shared = tine__heap.shared;
    uint32_t end = heap_page_count(), span;

    (void)unused;
    atomic_fetch_add_explicit(&shared->recoveries, 1, memory_order_relaxed);
    memset(shared->partial, 0, sizeof shared->partial);
    memset(shared->bins, 0, sizeof shared->bins);
    shared->warm = 0;
    shared->record_pages = end;
    free_orphans(end);
    shared->committed = end - tine__heap_count_cold(0, end);
    for (uint32_t i = 0; i < end; i += span) {
        uint64_t state = heap_load(i);

        span = heap_span(state);
        heap_page(i)->next = heap_page(i)->prev = 0;
        if (heap_kind(state) == HEAP_FREE)
            span = rebuild_free(i, end);
        else if (heap_kind(state) == HEAP_SLAB && heap_mode(i) != HEAP_OWNED)
            tine__heap_slab_relist(i);
    }
    tine__heap_sweep_locked();
}

/* ---- for the rest of the library ------------------------------------------------------------- */

int tine__owner_self(void)
{
    int row = tine__heap_open();

    if (row < 0)
        return row;
    row = known_row();
    if (row >= 0)
        return row;
    row = tine__heap_lock();
    if (row < 0)
        return row;
    row = tine__heap_owner_locked();
    tine__heap_unlock();
    return row;
}

bool tine__owner_alive(uint32_t row)
{
    struct tine__owner owner;

    return tine__heap_open() == 0 && row < tine__heap.shared->owner_count &&
           tine__owner_read(&tine__heap.owners[row], &owner) && tine__owner_lives(&owner);
}

/* Without the lock: for a process that is dead, whose row is as it left it. */
static bool has_row(pid_t pid)
{
    uint32_t rows = __atomic_load_n(&tine__heap.shared->owner_count, __ATOMIC_RELAXED);
    struct tine__owner owner;

    for (uint32_t row = 0; row < rows; row++)
        if (tine__owner_read(&tine__heap.owners[row], &owner) && owner.pid == pid)
            return true;
    return false;
}

int tine__heap_sweep_process(pid_t pid)
{
    int rc = tine__heap_open();

    if (rc == 0 && pid != 0 && !has_row(pid))
        return 0; /* most never used the heap; a lock that it died with is the next one's to mend */
    if (rc == 0)
        rc = tine__heap_lock();
    if (rc < 0)
        return rc;
    sweep_locked(pid);
    tine__heap_unlock();
    return 0;
}

int tine__owner_sweep_dead(void)
{
    return tine__heap_sweep_process(0);
}
