/* SPDX-License-Identifier: MIT */
/*
 * Kept objects: who still has one is a question for the kernel.
 *
 * A hold is a descriptor of an open file of its own on the heap's memfd, with a shared lock (OFD)
 * of the byte at the object's heap offset + side; blocks are at least 16 bytes long and apart, so
 * these bytes mean nobody else. Copies of the descriptor, by fork or in flight over a socket, are
 * the same open file; the lock goes with the last of them, however its holder ends. So "is it
 * held?" is a query for a conflicting lock, exact at any instant, and needs no record of processes.
 *
 * A hold can only be made by who has one: once there is none, there is never one again, and whoever
 * finds that out may end the object. The register lists all objects, for those whose last holder
 * was killed; entries are used again, chunks of the register never freed.
 *
 * word     0: free entry; else address of the object, kind in bits 0-2, DYING in bit 3
 * sweeper  owner word of who is ending it, 0: nobody
 *
 *     make    lock the byte; word 0 → object                         by CAS, release
 *     end     sweeper 0 or a dead process's → own                     by CAS
 *             word as before, and still no hold: word |= DYING; empty it; word → 0; free it
 *             sweeper → 0
 *
 * Only the sweeper changes a word that is not 0. Killed before DYING or after word → 0, it has done
 * nothing that the next would miss (in the latter case the block is lost, one a kill); killed at
 * DYING, the next takes over and empties again.
 */
#include "shm/keepalive.h"

#include <errno.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define KIND    ((uint64_t)7)
#define DYING   ((uint64_t)8)
#define ADDRESS (~(KIND | DYING))

#define CHUNK_ENTRIES   127
#define SWEPT_AT_MAKING 2 /* entries that each making looks at, so that the dead cannot pile up */

/* Written by whoever appends it, then never changed but for `next` 0 → a further one. */
struct chunk_shm {
    _Atomic uint64_t next;
    _Atomic uint64_t cursor; /* where the next making looks; relaxed */
    struct tine__kept_shm entries[CHUNK_ENTRIES];
};

/* The kinds that this process has used. Set, never cleared; what it points to is constant. */
static const struct tine__kept_kind *_Atomic kinds[TINE__KEPT_KINDS];

_Static_assert(TINE__KEPT_KINDS <= KIND + 1, "kinds fit into a word");

static void *object_of(uint64_t word)
{
    return (void *)(uintptr_t)(word & ADDRESS);
}

static bool is_held(const void *object, uint32_t side, uint32_t sides)
{
    int rc = tine__sys_bytes_shared(tine__heap_file(), tine__heap_offset(object) + side, sides);

    return rc != 0; /* who cannot ask must assume so */
}

/* ---- ending ---------------------------------------------------------------------------------- */

static const struct tine__kept_kind *kind_of(uint64_t word)
{
    return atomic_load_explicit(&kinds[word & KIND], memory_order_acquire);
}

static bool claim(struct tine__kept_shm *entry)
{
    uint64_t sweeper = atomic_load_explicit(&entry->sweeper, memory_order_relaxed);

    if (sweeper != 0 && tine__owner_word_lives(sweeper))
        return false;
    /* acquire: what a dead sweeper did before is seen, by way of the word's store */
    return atomic_compare_exchange_strong_explicit(&entry->sweeper, &sweeper, tine__owner_word(),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* The caller is the entry's sweeper. */
static void end_claimed(struct tine__kept_shm *entry)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
    void *object = object_of(word);

    if (word == 0 || kind_of(word) == NULL ||
        (!(word & DYING) && is_held(object, 0, TINE__KEPT_SIDES)))
        return;
    atomic_store_explicit(&entry->word, word | DYING, memory_order_release);
    kind_of(word)->empty(object);
    atomic_store_explicit(&entry->word, 0, memory_order_release);
    tine_free(object);
}

static void end_if_left(struct tine__kept_shm *entry)
{
    /* acquire: pairs with the maker's CAS, for the object's content */
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);

    if (word == 0 || (!(word & DYING) && is_held(object_of(word), 0, TINE__KEPT_SIDES)))
        return;
    if (!claim(entry))
        return;
    end_claimed(entry);
    atomic_store_explicit(&entry->sweeper, 0, memory_order_release);
}

/* ---- the register ---------------------------------------------------------------------------- */

static struct chunk_shm *chunk_at(_Atomic uint64_t *link)
{
    /* acquire: pairs with the CAS that appended it */
    return (struct chunk_shm *)(uintptr_t)atomic_load_explicit(link, memory_order_acquire);
}

/* What the link refers to, made if need be. A death between leaves a block that nobody refers
   to. */
static struct chunk_shm *chunk_or_new(_Atomic uint64_t *link)
{
    struct chunk_shm *chunk = chunk_at(link), *made;
    uint64_t expected = 0;

    if (chunk != NULL)
        return chunk;
    made = tine_calloc(1, sizeof *made);
    if (made == NULL)
        return NULL;
    if (atomic_compare_exchange_strong_explicit(link, &expected, (uint64_t)(uintptr_t)made,
                                                memory_order_acq_rel, memory_order_acquire))
        return made;
    tine_free(made);
    return (struct chunk_shm *)(uintptr_t)expected;
}

static struct tine__kept_shm *enter(struct chunk_shm *chunk, uint64_t word)
{
    for (int i = 0; i < CHUNK_ENTRIES; i++) {
        struct tine__kept_shm *entry = &chunk->entries[i];
        uint64_t expected = 0;

        if (atomic_load_explicit(&entry->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&entry->word, &expected, word,
                                                    memory_order_release, memory_order_relaxed))
            return entry;
    }
    return NULL;
}

static struct tine__kept_shm *enter_anywhere(uint64_t word)
{
    _Atomic uint64_t *link = tine__heap_root(TINE__ROOT_KEPT);

    for (;;) {
        struct chunk_shm *chunk = chunk_or_new(link);
        struct tine__kept_shm *entry;

        if (chunk == NULL)
            return NULL;
        for (int i = 0; i < SWEPT_AT_MAKING; i++)
            end_if_left(
                &chunk->entries[atomic_fetch_add_explicit(&chunk->cursor, 1, memory_order_relaxed) %
                                CHUNK_ENTRIES]);
        entry = enter(chunk, word);
        if (entry != NULL)
            return entry;
        link = &chunk->next;
    }
}

void tine__keepalive_sweep(void)
{
    if (tine__heap_open() < 0)
        return;
    for (struct chunk_shm *chunk = chunk_at(tine__heap_root(TINE__ROOT_KEPT)); chunk != NULL;
         chunk = chunk_at(&chunk->next))
        for (int i = 0; i < CHUNK_ENTRIES; i++)
            end_if_left(&chunk->entries[i]);
}

/* ---- holds ----------------------------------------------------------------------------------- */

/* An open file with a lock on that side. */
static int lock_side(const void *object, uint32_t side)
{
    int file = tine__heap_file(), fd, rc;

    if (file < 0)
        return file;
    fd = tine__sys_reopen(file);
    if (fd < 0)
        return fd;
    rc = tine__sys_share_bytes(fd, tine__heap_offset(object) + side, 1);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static void know(const struct tine__kept_kind *kind)
{
    atomic_store_explicit(&kinds[kind->number], kind, memory_order_release);
}

int tine__keepalive_make(struct tine__keepalive *hold, void *object,
                         const struct tine__kept_kind *kind)
{
    uint64_t word = (uint64_t)(uintptr_t)object | kind->number;
    int fd = lock_side(object, 0);

    if (fd < 0)
        return fd;
    know(kind);
    hold->entry = enter_anywhere(word);
    if (hold->entry == NULL) {
        close(fd);
        return -ENOMEM;
    }
    hold->object = object;
    hold->fd = fd;
    return 0;
}

int tine__keepalive_share(struct tine__keepalive *hold, const struct tine__keepalive *other,
                          uint32_t side)
{
    int fd = lock_side(other->object, side);

    if (fd < 0)
        return fd;
    *hold = *other;
    hold->fd = fd;
    return 0;
}

void tine__keepalive_give(const struct tine__keepalive *hold, struct tine__handle_parts *parts)
{
    parts->words[0] = (uint64_t)(uintptr_t)hold->object;
    parts->words[1] = (uint64_t)(uintptr_t)hold->entry;
    parts->fds[0] = hold->fd;
    parts->fd_count = 1;
}

/* Does the entry name that object, and is nobody about to end it? */
static bool is_kept(const struct tine__keepalive *hold, uint64_t number)
{
    uint64_t word = (uint64_t)(uintptr_t)hold->object | number, sweeper;

    if (((uintptr_t)hold->object & ~ADDRESS) != 0 ||
        (uintptr_t)hold->entry % _Alignof(struct tine__kept_shm) != 0 ||
        !tine__heap_contains(hold->entry, sizeof *hold->entry) ||
        !tine__heap_contains(hold->object, TINE__KEPT_SIDES))
        return false;
    sweeper = atomic_load_explicit(&hold->entry->sweeper, memory_order_acquire);
    /* That of a dead one says nothing: the next asks again who holds the object. */
    if (sweeper != 0 && tine__owner_word_lives(sweeper))
        return false;
    return atomic_load_explicit(&hold->entry->word, memory_order_acquire) == word;
}

/*
 * Whether the descriptor holds the object is nothing that the kernel tells, but it does once the
 * lock is taken by it, which changes nothing if it had that. Who ends the object has become its
 * sweeper before asking for locks, and so is seen after this lock, or has seen it.
 */
static int lock_kept(const struct tine__keepalive *hold, uint32_t side, uint64_t number)
{
    uint64_t at;
    int rc;

    if (!tine__heap_is_file(hold->fd) || !is_kept(hold, number))
        return TINE_EFORMAT;
    at = tine__heap_offset(hold->object) + side;
    rc = tine__sys_share_bytes(hold->fd, at, 1);
    if (rc < 0 || is_kept(hold, number))
        return rc;
    tine__sys_unshare_bytes(hold->fd, at, 1);
    return TINE_EFORMAT;
}

int tine__keepalive_take(struct tine__keepalive *hold, const struct tine__handle_parts *parts,
                         uint32_t side, const struct tine__kept_kind *kind)
{
    struct tine__keepalive taken = {
        .entry = (struct tine__kept_shm *)(uintptr_t)parts->words[1],
        .object = (void *)(uintptr_t)parts->words[0],
        .fd = tine__sys_dup(parts->fds[0]),
    };
    int rc;

    if (taken.fd < 0)
        return taken.fd;
    rc = lock_kept(&taken, side, kind->number);
    if (rc < 0) {
        close(taken.fd);
        return rc;
    }
    know(kind);
    *hold = taken;
    return 0;
}

void tine__keepalive_close(struct tine__keepalive *hold)
{
    struct tine__kept_shm *entry = hold->entry;

    if (entry == NULL)
        return;
    if (tine__heap_is_file(hold->fd)) /* else the program has closed it, and opened another */
        close(hold->fd);
    *hold = (struct tine__keepalive){.fd = -1};
    end_if_left(entry);
}

bool tine__keepalive_held(const struct tine__keepalive *hold, uint32_t side)
{
    return is_held(hold->object, side, 1);
}
