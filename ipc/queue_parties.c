/* SPDX-License-Identifier: MIT */
/*
 * Numbers of processes; see ipc/queue_parties.h.
 *
 * Several may sweep the same dead one at once, or one of them may be stopped over it: before each
 * change of an item it asks whether the number is still the dead one's, the change fails if the
 * item has changed since it was read, and the number is given free by CAS from the dead one's own
 * word. When that succeeds nothing bears the number any more, because its process could take
 * nothing new, and this sweep has seen all there was.
 */
#include "ipc/queue_parties.h"

#include <errno.h>

#include <tine/heap.h>

#include "shm/owner.h"

typedef _Atomic uint64_t owner_word;

static owner_word *chunk_at(const struct tine__parties_shm *parties, uint32_t chunk)
{
    return (void *)(uintptr_t)atomic_load_explicit(&parties->chunks[chunk], memory_order_acquire);
}

/* NULL: no memory. */
static owner_word *chunk_or_new(struct tine__parties_shm *parties, uint32_t chunk)
{
    uint64_t there = 0;
    void *made;

    if (chunk_at(parties, chunk) != NULL)
        return chunk_at(parties, chunk);
    made = tine_calloc(TINE__PARTIES_CHUNK, sizeof(owner_word));
    if (made != NULL && !atomic_compare_exchange_strong_explicit(
                            &parties->chunks[chunk], &there, (uint64_t)(uintptr_t)made,
                            memory_order_acq_rel, memory_order_relaxed))
        tine_free(made);
    return made == NULL ? NULL : chunk_at(parties, chunk);
}

/* NULL: there is no such chunk yet. */
static owner_word *place(const struct tine__parties_shm *parties, uint32_t party)
{
    owner_word *chunk = chunk_at(parties, party / TINE__PARTIES_CHUNK);

    return chunk == NULL ? NULL : &chunk[party % TINE__PARTIES_CHUNK];
}

static uint64_t owner_of(const struct tine__parties_shm *parties, uint32_t party)
{
    return atomic_load_explicit(place(parties, party), memory_order_acquire);
}

static uint32_t find(const struct tine__parties_shm *parties, uint64_t owner)
{
    for (uint32_t p = 1; p <= TINE__PARTIES_MAX && place(parties, p) != NULL; p++)
        if (owner_of(parties, p) == owner)
            return p;
    return 0;
}

int tine__parties_join(struct tine__parties_shm *parties)
{
    uint64_t self = tine__owner_word();
    uint32_t party = find(parties, self);

    if (party != 0)
        return (int)party;
    for (party = 1; party <= TINE__PARTIES_MAX; party++) {
        uint64_t nobody = 0;

        if (chunk_or_new(parties, party / TINE__PARTIES_CHUNK) == NULL)
            return -ENOMEM;
        if (atomic_compare_exchange_strong_explicit(place(parties, party), &nobody, self,
                                                    memory_order_acq_rel, memory_order_relaxed))
            return (int)party;
    }
    return -ENOLCK;
}

void tine__parties_leave(struct tine__parties_shm *parties, uint32_t party)
{
    atomic_store_explicit(place(parties, party), 0, memory_order_release);
}

/* False: none of them is. */
static bool find_dead(const struct tine__parties_shm *parties, struct tine__parties_dead *dead)
{
    bool found = false;

    for (uint32_t i = 0; i < TINE__PARTIES_RUN; i++) {
        uint32_t party = dead->first + i;
        bool is_number = party <= TINE__PARTIES_MAX && place(parties, party) != NULL;
        uint64_t owner = is_number ? owner_of(parties, party) : 0;

        dead->owners[i] = owner != 0 && !tine__owner_word_lives(owner) ? owner : 0;
        found = found || dead->owners[i] != 0;
    }
    return found;
}

bool tine__parties_next_dead(const struct tine__parties_shm *parties,
                             struct tine__parties_dead *dead)
{
    dead->first = dead->first == 0 ? 1 : dead->first + TINE__PARTIES_RUN;
    for (; dead->first <= TINE__PARTIES_MAX; dead->first += TINE__PARTIES_RUN)
        if (place(parties, dead->first) == NULL)
            return false;
        else if (find_dead(parties, dead))
            return true;
    return false;
}

bool tine__parties_is(const struct tine__parties_shm *parties, uint32_t party, uint64_t owner)
{
    return owner_of(parties, party) == owner;
}

void tine__parties_forget(struct tine__parties_shm *parties, uint32_t party, uint64_t owner)
{
    atomic_compare_exchange_strong_explicit(place(parties, party), &owner, 0, memory_order_acq_rel,
                                            memory_order_relaxed);
}

void tine__parties_empty(struct tine__parties_shm *parties)
{
    for (uint32_t c = 0; c < sizeof parties->chunks / sizeof parties->chunks[0]; c++)
        tine_free((void *)(uintptr_t)atomic_exchange(&parties->chunks[c], 0));
}
