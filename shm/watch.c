/* SPDX-License-Identifier: MIT */
/*
 * The table of watches: which bells are to be rung for which words of the family heap.
 *
 * An entry is one word in a hash table of lines: offset of the point / 4 in bits 24-63, number of
 * the bell in bits 8-23, its generation modulo 256 in bits 0-7; 0 is free. So it is entered and
 * left in one step, and read without a lock. Lines and bells are never given back; both are used
 * again.
 *
 * A watcher enters, sets the word's "watched", tests; who changes the word takes "watched", and if
 * it was set reads the entries: all sequentially consistent, so either the test sees the change or
 * the change sees the entry. `rung` keeps many changes from sending many datagrams: the watcher
 * sets it to 0 before it tests, so who finds it 1 has made its change before that, or there is a
 * ring on its way. Where he who should ring is killed or stopped, the watcher's look, after 50 ms
 * at most, finds the change.
 *
 * What a death leaves: bells and entries of a process that is no more. They cost who rings a system
 * call in vain, which says so (`suspect`), and the next look sweeps: marks all bells of the dead,
 * takes out all entries of marked bells (and of generations that are over), then frees the bells.
 * There is one sweeper at a time; if it dies, another does it all again, which is the same. A
 * stopped one keeps nobody from anything but sweeping.
 *
 * A process keeps one idle bell, for taking and leaving one costs more than ringing it.
 *
 * A bell may be used by another while somebody still goes by an old entry: that one is rung in
 * vain, and an entry is only taken out if it bears the generation that was found. (256 reuses in
 * between, and a watcher is told by its look from then on.)
 */
#include "shm/watch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/random.h"
#include "lib/sys_poll.h"
#include "shm/heap.h"
#include "shm/owner.h"
#include "shm/waiters.h"

#define LINES       960 /* with the rest of the table just below 64 KiB */
#define LINE_SLOTS  7   /* and the address of the next line */
#define CHUNKS      256
#define CHUNK_BELLS 256
#define KEY_SHIFT   24
#define TAG_MASK    UINT64_C(0xffffff)
#define SWEPT       ((uint64_t)1) /* mark in a bell's owner: dead, being swept */
#define ADDRESSES   4             /* tried before giving up */

/*
 * field     written by                         read by  order
 * sweeper   0 or a dead one's → own by CAS     all      acq_rel
 * looked    see tine__look_due()
 * suspect   who rang in vain: 1; a look: 0     looks    relaxed
 * secret    the maker, random                  all      published with the table
 * chunks    0 → address by CAS                 all      acq_rel / acquire
 * lines     see above; the last word of a line:         seq_cst
 *           0 → address of the next one by CAS
 */
struct table_shm {
    _Atomic uint64_t sweeper;
    _Atomic uint64_t looked;
    _Atomic uint32_t suspect;
    uint32_t reserved[9];
    uint64_t secret;                 /* of all bells: see lib/sys_poll.h */
    _Atomic uint64_t chunks[CHUNKS]; /* struct tine__bell_shm[CHUNK_BELLS] each */
    _Atomic uint64_t lines[LINES][LINE_SLOTS + 1];
};

_Static_assert(sizeof(struct tine__bell_shm) == 64, "a line of the cache each");
_Static_assert(sizeof(struct table_shm) <= 65536, "one block of the largest class");

static _Atomic uint32_t hint; /* number of a bell that was free of late; private */

static void *zeroed(size_t size)
{
    void *block = tine_aligned_alloc(64, size);

    return block == NULL ? NULL : memset(block, 0, size);
}

static void *pointer_in(const _Atomic uint64_t *link)
{
    /* acquire: pairs with the CAS in link_or_free */
    return (void *)(uintptr_t)atomic_load_explicit(link, memory_order_acquire);
}

/* Links the block, unless another has been faster: what is linked then. */
static void *link_or_free(_Atomic uint64_t *link, void *block)
{
    uint64_t expected = 0;

    if (atomic_compare_exchange_strong_explicit(link, &expected, (uint64_t)(uintptr_t)block,
                                                memory_order_seq_cst, memory_order_acquire))
        return block;
    tine_free(block);
    return (void *)(uintptr_t)expected;
}

/* The heap is open. NULL: there is no table yet, so nobody watches. */
static struct table_shm *table(void)
{
    return pointer_in(tine__heap_root(TINE__ROOT_WATCHES));
}

static struct table_shm *table_or_new(void)
{
    struct table_shm *made;

    if (tine__heap_open() < 0)
        return NULL;
    if (table() != NULL)
        return table();
    made = zeroed(sizeof *made);
    if (made == NULL)
        return NULL;
    made->secret = tine__random_u64();
    return link_or_free(tine__heap_root(TINE__ROOT_WATCHES), made);
}

/* ---- bells ----------------------------------------------------------------------------------- */

struct tine__bell_shm *tine__bell_at(uint32_t number)
{
    struct table_shm *watches = table();
    struct tine__bell_shm *chunk;

    if (watches == NULL || number >= CHUNKS * CHUNK_BELLS)
        return NULL;
    chunk = pointer_in(&watches->chunks[number / CHUNK_BELLS]);
    return chunk == NULL ? NULL : &chunk[number % CHUNK_BELLS];
}

/* How many bells there are, free ones included. */
static uint32_t bell_count(struct table_shm *watches)
{
    uint32_t chunks = 0;

    while (chunks < CHUNKS && pointer_in(&watches->chunks[chunks]) != NULL)
        chunks++;
    return chunks * CHUNK_BELLS;
}

/* True when there is now a chunk more than the caller has seen. */
static bool add_chunk(struct table_shm *watches, uint32_t bells)
{
    void *chunk;

    if (bells >= CHUNKS * CHUNK_BELLS)
        return false;
    chunk = zeroed(CHUNK_BELLS * sizeof(struct tine__bell_shm));
    return chunk != NULL && link_or_free(&watches->chunks[bells / CHUNK_BELLS], chunk) != NULL;
}

/* -1: none of the first `count` is free */
static int64_t take_free(uint32_t count)
{
    uint32_t first = atomic_load_explicit(&hint, memory_order_relaxed);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = (first + i) % count;
        struct tine__bell_shm *bell = tine__bell_at(number);
        uint64_t expected = 0;

        if (atomic_load_explicit(&bell->owner, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&bell->owner, &expected, tine__owner_word(),
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            atomic_store_explicit(&hint, number + 1, memory_order_relaxed);
            return number;
        }
    }
    return -1;
}

static void sweep(struct table_shm *watches);

static int64_t take_bell(void)
{
    struct table_shm *watches = table_or_new();

    if (watches == NULL)
        return -ENOMEM;
    for (;;) {
        uint32_t count = bell_count(watches);
        int64_t number = take_free(count);

        if (number >= 0)
            return number;
        if (count > 0 && tine__look_due(&watches->looked))
            sweep(watches);
        else if (!add_chunk(watches, count))
            return count < CHUNKS * CHUNK_BELLS ? -ENOMEM : -ENOLCK;
    }
}

static int hang_up(struct tine__bell_shm *bell)
{
    int fd = -EADDRINUSE;

    for (int i = 0; i < ADDRESSES && fd == -EADDRINUSE; i++) {
        uint64_t address = tine__random_u64();

        atomic_store_explicit(&bell->address, address, memory_order_relaxed);
        fd = tine__sys_bell(address, table()->secret);
    }
    return fd;
}

/* ---- the idle bell --------------------------------------------------------------------------- */

/*
 * One bell that is not in use stays open for the next that is wanted in this process, and to ring
 * others with: descriptor + 1 in the upper half, tag in the lower; 0: none. Programs close
 * descriptors that they do not know, and a forked child inherits it, so it is looked at before it
 * is used.
 */
static _Atomic uint64_t idle;

static bool take_idle(struct tine__bell *bell)
{
    uint64_t kept = atomic_exchange_explicit(&idle, 0, memory_order_acquire);
    uint64_t owner;
    bool is_open;

    if (kept == 0)
        return false;
    *bell = (struct tine__bell){tine__bell_at((uint32_t)kept >> 8), (uint32_t)kept,
                                (int)(kept >> 32) - 1};
    owner = atomic_load_explicit(&bell->shared->owner, memory_order_acquire);
    is_open = tine__sys_is_bell(bell->fd,
                                atomic_load_explicit(&bell->shared->address, memory_order_relaxed));
    if (owner == tine__owner_word() && is_open)
        return true;
    if (owner == tine__owner_word())
        atomic_store_explicit(&bell->shared->owner, 0, memory_order_release);
    else if (is_open)
        close(bell->fd);
    return false;
}

static bool keep_idle(const struct tine__bell *bell)
{
    uint64_t none = 0;

    return atomic_compare_exchange_strong_explicit(&idle, &none,
                                                   (uint64_t)(bell->fd + 1) << 32 | bell->tag,
                                                   memory_order_release, memory_order_relaxed);
}

static void shut(struct tine__bell *bell)
{
    close(bell->fd);
    atomic_store_explicit(&hint, bell->tag >> 8, memory_order_relaxed);
    /* release: pairs with the CAS in take_free */
    atomic_store_explicit(&bell->shared->owner, 0, memory_order_release);
}

static void give_back(struct tine__bell *bell)
{
    if (!keep_idle(bell))
        shut(bell);
}

/* ---- open, close, ring ----------------------------------------------------------------------- */

static int make_bell(struct tine__bell *bell)
{
    int64_t number = take_bell();
    struct tine__bell_shm *shared;
    int fd;

    if (number < 0)
        return (int)number;
    shared = tine__bell_at((uint32_t)number);
    atomic_store_explicit(&shared->uses, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->rung, 0, memory_order_relaxed);
    fd = hang_up(shared);
    if (fd < 0) {
        atomic_store_explicit(&shared->owner, 0, memory_order_release);
        return fd;
    }
    *bell = (struct tine__bell){shared, (uint32_t)number << 8, fd};
    return 0;
}

/* Who comes upon an entry of its former use is to see that. */
static void renew(struct tine__bell *bell)
{
    uint32_t generation =
        atomic_fetch_add_explicit(&bell->shared->generation, 1, memory_order_acq_rel) + 1;

    bell->tag = (bell->tag & ~(uint32_t)0xff) | (generation & 0xff);
    bell->shared->tag = bell->tag;
}

int tine__bell_open(struct tine__bell *bell)
{
    int rc = take_idle(bell) ? 0 : make_bell(bell);

    if (rc == 0)
        renew(bell);
    return rc;
}

void tine__bell_close(struct tine__bell *bell)
{
    give_back(bell);
    *bell = (struct tine__bell){.fd = -1};
}

void tine__bell_silence(const struct tine__bell *bell, bool readable)
{
    if (readable)
        tine__sys_bell_silence(bell->fd);
    atomic_store_explicit(&bell->shared->rung, 0, memory_order_seq_cst);
}

static void ring(struct tine__bell_shm *bell)
{
    struct tine__bell own;
    uint64_t address;
    int rc;

    if (atomic_exchange_explicit(&bell->rung, 1, memory_order_seq_cst) != 0)
        return;
    /* After the exchange: who went by an old entry, and took `rung` from the next owner, rings
       that. */
    address = atomic_load_explicit(&bell->address, memory_order_relaxed);
    if (take_idle(&own)) {
        rc = tine__sys_ring(own.fd, address, table()->secret);
        give_back(&own);
    } else {
        rc = tine__sys_ring(-1, address, table()->secret);
    }
    if (rc < 0)
        atomic_store_explicit(&bell->rung, 0, memory_order_seq_cst);
    if (rc == -ECONNREFUSED)
        atomic_store_explicit(&table()->suspect, 1, memory_order_relaxed);
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint64_t key_of(const void *point)
{
    return tine__heap_offset(point) / 4;
}

static _Atomic uint64_t *first_line(struct table_shm *watches, uint64_t key)
{
    uint64_t hash = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

    return watches->lines[hash * LINES >> 32];
}

static _Atomic uint64_t *next_line(const _Atomic uint64_t *line)
{
    return (_Atomic uint64_t *)(uintptr_t)atomic_load_explicit(&line[LINE_SLOTS],
                                                               memory_order_seq_cst);
}

static _Atomic uint64_t *enter_line(_Atomic uint64_t *line, uint64_t entry)
{
    for (int i = 0; i < LINE_SLOTS; i++) {
        uint64_t expected = 0;

        if (atomic_load_explicit(&line[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&line[i], &expected, entry,
                                                    memory_order_seq_cst, memory_order_relaxed))
            return &line[i];
    }
    return NULL;
}

/* Killed between, a process takes one line along that nobody refers to. */
static _Atomic uint64_t *next_or_new(_Atomic uint64_t *line)
{
    _Atomic uint64_t *next = next_line(line);

    if (next == NULL) {
        next = zeroed((LINE_SLOTS + 1) * sizeof *next);
        next = next == NULL ? NULL : link_or_free(&line[LINE_SLOTS], (void *)(uintptr_t)next);
    }
    return next;
}

int tine__watch_enter(const struct tine__bell *bell, const void *point, _Atomic uint64_t **slot)
{
    uint64_t key = key_of(point);
    _Atomic uint64_t *entered;

    if (!tine__heap_contains(point, sizeof(uint32_t)))
        return -ENOTSUP;
    for (_Atomic uint64_t *line = first_line(table(), key); line != NULL;
         line = next_or_new(line)) {
        entered = enter_line(line, key << KEY_SHIFT | bell->tag);
        if (entered != NULL) {
            *slot = entered;
            return 0;
        }
    }
    return -ENOMEM;
}

void tine__watch_leave(_Atomic uint64_t *slot)
{
    atomic_store_explicit(slot, 0, memory_order_release);
}

struct tine__watch_walk tine__watch_walk(const void *point)
{
    struct tine__watch_walk walk = {.line = NULL};

    if (!tine__heap_contains(point, sizeof(uint32_t)) || table() == NULL)
        return walk;
    walk.key = key_of(point);
    walk.line = first_line(table(), walk.key);
    return walk;
}

struct tine__bell_shm *tine__watch_next(struct tine__watch_walk *walk, uint32_t *tag)
{
    while (walk->line != NULL) {
        while (walk->next < LINE_SLOTS) {
            uint64_t entry = atomic_load_explicit(&walk->line[walk->next++], memory_order_seq_cst);

            if (entry != 0 && entry >> KEY_SHIFT == walk->key) {
                *tag = (uint32_t)(entry & TAG_MASK);
                return tine__bell_at(*tag >> 8);
            }
        }
        walk->line = next_line(walk->line);
        walk->next = 0;
    }
    return NULL;
}

void tine__watch_ring(const void *point)
{
    struct tine__watch_walk walk = tine__watch_walk(point);
    struct tine__bell_shm *bell;
    uint32_t tag;

    while ((bell = tine__watch_next(&walk, &tag)) != NULL)
        ring(bell);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

static bool begin_sweep(struct table_shm *watches)
{
    uint64_t sweeper = atomic_load_explicit(&watches->sweeper, memory_order_relaxed);

    if (sweeper != 0 && tine__owner_word_lives(sweeper))
        return false;
    return atomic_compare_exchange_strong_explicit(&watches->sweeper, &sweeper, tine__owner_word(),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* How many bells are marked now. */
static uint32_t mark_dead(uint32_t count)
{
    uint64_t alive = tine__owner_word();
    uint32_t marked = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct tine__bell_shm *bell = tine__bell_at(i);
        uint64_t owner = atomic_load_explicit(&bell->owner, memory_order_acquire);

        if (owner == 0 || owner == alive)
            continue;
        if (!(owner & SWEPT) && tine__owner_word_lives(owner))
            alive = owner; /* the next ones are often of the same process */
        else if ((owner & SWEPT) || atomic_compare_exchange_strong_explicit(
                                        &bell->owner, &owner, owner | SWEPT, memory_order_acq_rel,
                                        memory_order_relaxed))
            marked++;
    }
    return marked;
}

static bool is_stale(uint64_t entry)
{
    struct tine__bell_shm *bell = tine__bell_at((uint32_t)(entry & TAG_MASK) >> 8);
    uint32_t generation;

    if (bell == NULL)
        return true;
    if (atomic_load_explicit(&bell->owner, memory_order_acquire) & SWEPT)
        return true;
    generation = atomic_load_explicit(&bell->generation, memory_order_acquire);
    return (generation & 0xff) != (entry & 0xff);
}

static void clear_line(_Atomic uint64_t *line)
{
    for (int i = 0; i < LINE_SLOTS; i++) {
        uint64_t entry = atomic_load_explicit(&line[i], memory_order_acquire);

        if (entry != 0 && is_stale(entry))
            atomic_compare_exchange_strong_explicit(&line[i], &entry, 0, memory_order_acq_rel,
                                                    memory_order_relaxed);
    }
}

static void free_marked(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct tine__bell_shm *bell = tine__bell_at(i);

        if (!(atomic_load_explicit(&bell->owner, memory_order_relaxed) & SWEPT))
            continue;
        /* Another thread of the next owner may look for its pollables before that has set it. */
        atomic_store_explicit(&bell->uses, 0, memory_order_relaxed);
        atomic_store_explicit(&bell->owner, 0, memory_order_release);
    }
}

static void sweep(struct table_shm *watches)
{
    uint32_t count = bell_count(watches);

    if (!begin_sweep(watches))
        return;
    if (mark_dead(count) > 0) {
        for (int i = 0; i < LINES; i++)
            for (_Atomic uint64_t *line = watches->lines[i]; line != NULL; line = next_line(line))
                clear_line(line);
        free_marked(count);
    }
    atomic_store_explicit(&watches->sweeper, 0, memory_order_release);
}

void tine__watch_look(void)
{
    struct table_shm *watches = tine__heap_open() == 0 ? table() : NULL;

    if (watches != NULL && atomic_load_explicit(&watches->suspect, memory_order_relaxed) != 0 &&
        tine__look_due(&watches->looked)) {
        atomic_store_explicit(&watches->suspect, 0, memory_order_relaxed);
        sweep(watches);
    }
}
