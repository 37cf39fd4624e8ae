/* SPDX-License-Identifier: MIT */
/*
 * Tables of a dictionary: open addressing, linear probing, growing without a lock.
 *
 * A cell changes from empty to a key and then keeps that key: later words of it are other entries
 * of the same key, or the same entry DEAD. So whoever looks for a key meets it before the first
 * empty cell or not at all, and two who insert the same key meet at that cell.
 *
 * Migration. One CAS of `next` starts it. Every cell is FROZEN (no CAS of a writer succeeds any
 * more; empty ones too, so no key can come behind our back), its live entry is inserted into the
 * next table unless its key is there, then it is COPIED. Writers who meet a table with a next take
 * part until all cells are COPIED, and only then write to the next: `done` says so. Whoever takes
 * part looks at all cells himself before he says it, so the share of one who is dead or stopped is
 * done by the others. One who comes late harms nothing: his key is in the next table since before
 * it was done, and a key never leaves a table. Readers go on to the next table from a COPIED cell
 * of their key, or from a FROZEN empty one; a FROZEN cell that is not COPIED still holds
 * the truth, for nobody has written to the next table yet.
 *
 * DEAD cells are not copied; their entries go when the old table goes. Tables never shrink: the
 * next one must hold whatever comes before the last cell is frozen.
 */
#include "shm/dict_impl.h"

#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "lib/checked.h"

enum {
    SHARE = 256,    /* cells that a helper migrates at a time */
    LOOK_AHEAD = 8, /* cells whose entries are fetched into the cache before their turn */
};

enum probe { FOUND, ROOM, FULL };

static inline uint64_t read_cell(const _Atomic uint64_t *cell)
{
    /* seq_cst: after the pin of the call, see retire() in shm/dict_seat.c */
    return atomic_load_explicit(cell, memory_order_seq_cst);
}

static inline struct dict_table_shm *next_of(const struct dict_table_shm *table)
{
    return atomic_load_explicit(&table->next, memory_order_seq_cst);
}

struct dict_key tine__dict_key(const tine_dict *dict, const void *bytes, size_t len)
{
    return (struct dict_key){bytes, tine__hash(bytes, len, &dict->seed), (uint32_t)len};
}

struct dict_table_shm *tine__dict_table_new(uint64_t capacity)
{
    struct dict_table_shm *table;
    size_t bytes;

    if (!tine__mul_size(capacity, sizeof table->cells[0], &bytes) ||
        !tine__add_size(bytes, sizeof *table, &bytes))
        return NULL;
    table = tine_calloc(1, bytes);
    if (table != NULL)
        table->capacity = capacity;
    return table;
}

static inline bool is_key(uint64_t word, const struct dict_key *key)
{
    const struct dict_entry_shm *entry = dict_entry(word);

    return ((word ^ key->hash) & CELL_TAG) == 0 && entry->key_len == key->len &&
           memcmp(entry->bytes, key->bytes, key->len) == 0;
}

/* The cell of the key, or the first that is empty. */
static inline enum probe probe(struct dict_table_shm *table, const struct dict_key *key,
                               struct dict_place *place)
{
    uint64_t mask = table->capacity - 1, at = key->hash & mask;

    place->table = table;
    for (uint64_t looks = 0; looks <= mask; looks++, at = (at + 1) & mask) {
        place->cell = &table->cells[at];
        place->word = read_cell(place->cell);
        if ((place->word & CELL_ADDRESS) == 0)
            return ROOM;
        if (is_key(place->word, key))
            return FOUND;
    }
    return FULL;
}

struct dict_entry_shm *tine__dict_find(const tine_dict *dict, struct dict_table_shm *table,
                                       const struct dict_key *key)
{
    struct dict_place place;

    if (table == NULL)
        table = atomic_load_explicit(&dict->root, memory_order_seq_cst);
    for (; table != NULL; table = next_of(table)) {
        enum probe outcome = probe(table, key, &place);

        if (outcome == FOUND && (place.word & CELL_COPIED) == 0)
            return dict_live(place.word);
        if (outcome == ROOM && place.word == 0)
            return NULL;
    }
    return NULL;
}

/* ---- migration ------------------------------------------------------------------------------- */

/* Into a table that is not yet done, unless the key is there. */
static void insert_absent(const tine_dict *dict, struct dict_table_shm *table,
                          struct dict_entry_shm *entry)
{
    struct dict_key key = tine__dict_key(dict, entry->bytes, entry->key_len);
    struct dict_place place;

    /* An empty cell that is frozen: the table is being left, so it was done, so the key is in it,
     * before this cell; that was found then. */
    while (probe(table, &key, &place) == ROOM && place.word == 0)
        if (atomic_compare_exchange_strong(place.cell, &place.word, dict_word(entry, key.hash)))
            return;
}

/* True if a key lives there. The word is final but for COPIED when this returns. */
static bool migrate_cell(const tine_dict *dict, struct dict_table_shm *next, _Atomic uint64_t *cell)
{
    uint64_t word = 0;

    if (atomic_compare_exchange_strong(cell, &word, CELL_FROZEN | CELL_COPIED))
        return false;
    if ((word & CELL_FROZEN) == 0)
        word = atomic_fetch_or_explicit(cell, CELL_FROZEN, memory_order_seq_cst) | CELL_FROZEN;
    if ((word & CELL_COPIED) == 0) {
        if (dict_live(word) != NULL)
            insert_absent(dict, next, dict_entry(word));
        /* pairs with read_cell(): who goes on to the next table finds the key there */
        atomic_store_explicit(cell, word | CELL_COPIED, memory_order_seq_cst);
    }
    return dict_live(word) != NULL;
}

static void migrate_share(const tine_dict *dict, struct dict_table_shm *table, uint64_t from)
{
    uint64_t mask = table->capacity - 1;
    uint64_t count = table->capacity < SHARE ? table->capacity : SHARE;
    struct dict_table_shm *next = next_of(table);

    for (uint64_t i = from; i < from + count; i++) {
        uint64_t ahead = read_cell(&table->cells[(i + LOOK_AHEAD) & mask]);

        __builtin_prefetch(dict_entry(ahead));
        migrate_cell(dict, next, &table->cells[i]);
    }
}

/* Until every cell is COPIED, whoever else takes part. */
static void migrate(const tine_dict *dict, struct dict_table_shm *table)
{
    struct dict_table_shm *next = next_of(table);
    uint64_t from, live = 0, none = 0;

    while (atomic_load_explicit(&table->done, memory_order_acquire) == 0) {
        from = atomic_fetch_add_explicit(&table->cursor, SHARE, memory_order_relaxed);
        if (from >= table->capacity)
            break;
        migrate_share(dict, table, from);
    }
    if (atomic_load_explicit(&table->done, memory_order_acquire) != 0)
        return;
    for (uint64_t i = 0; i < table->capacity; i++)
        live += migrate_cell(dict, next, &table->cells[i]);
    /* All helpers count the same. From 0 alone, for a late one would take back what came since. */
    atomic_compare_exchange_strong(&next->used, &none, live);
    /* pairs with the loads of done: whoever sees it finds every key in the next table */
    atomic_store_explicit(&table->done, 1, memory_order_release);
}

struct dict_table_shm *tine__dict_current(const struct dict_call *call)
{
    for (;;) {
        struct dict_table_shm *table =
            atomic_load_explicit(&call->dict->root, memory_order_seq_cst);

        if (next_of(table) == NULL)
            return table;
        migrate(call->dict, table);
        tine__dict_retire_table(call, table);
    }
}

struct dict_table_shm *tine__dict_whole(const tine_dict *dict)
{
    struct dict_table_shm *table = atomic_load_explicit(&dict->root, memory_order_seq_cst);

    while (atomic_load_explicit(&table->done, memory_order_acquire) != 0)
        table = next_of(table);
    return table;
}

/* ---- growing --------------------------------------------------------------------------------- */

uint64_t tine__dict_count_live(const struct dict_table_shm *table)
{
    uint64_t live = 0;

    for (uint64_t i = 0; i < table->capacity; i++)
        live += dict_live(atomic_load_explicit(&table->cells[i], memory_order_acquire)) != NULL;
    return live;
}

bool tine__dict_grow(const struct dict_call *call, struct dict_table_shm *table)
{
    struct dict_seat_shm *seat = call->seat;
    struct dict_table_shm *fresh, *none = NULL;
    uint64_t capacity = table->capacity;

    if (next_of(table) != NULL)
        return true;
    /* The same size again when most cells are of removed keys. */
    if (tine__dict_count_live(table) >= capacity / 8 * 3)
        capacity *= 2;
    fresh = tine__dict_table_new(capacity);
    if (fresh == NULL)
        return false;
    atomic_store_explicit(&seat->source, (uint64_t)(uintptr_t)table, memory_order_release);
    atomic_store_explicit(&seat->fresh, (uint64_t)(uintptr_t)fresh, memory_order_release);
    if (atomic_compare_exchange_strong(&table->next, &none, fresh)) {
        atomic_fetch_add_explicit(&call->dict->resizes, 1, memory_order_relaxed);
        fresh = NULL;
    }
    atomic_store_explicit(&seat->fresh, 0, memory_order_release);
    tine_free(fresh);
    return true;
}

/*
 * Makes sure of room, as far as it can: at 3/4 one of all callers makes the next table while the
 * others go on; at 15/16 everybody tries, for that one may be dead or stopped.
 */
static bool want_room(const struct dict_call *call, struct dict_table_shm *table)
{
    uint64_t used = atomic_load_explicit(&table->used, memory_order_relaxed);
    uint32_t nobody = 0;

    if (used < table->capacity / 4 * 3)
        return true;
    if (used >= table->capacity / 16 * 15)
        return tine__dict_grow(call, table);
    if (atomic_compare_exchange_strong_explicit(&table->growing, &nobody, 1, memory_order_relaxed,
                                                memory_order_relaxed))
        (void)tine__dict_grow(call, table);
    return true;
}

int tine__dict_locate(const struct dict_call *call, const struct dict_key *key, bool insert,
                      struct dict_place *place)
{
    for (;;) {
        struct dict_table_shm *table = tine__dict_current(call);
        enum probe outcome = probe(table, key, place);

        if (outcome == FOUND && (place->word & CELL_FROZEN) == 0)
            return 0;
        if (!insert && outcome != FOUND && next_of(table) == NULL)
            return -ENOENT;
        if (outcome == ROOM && place->word == 0) {
            if (!want_room(call, table))
                return -ENOMEM;
            if (next_of(table) == NULL)
                return 0;
        }
        if (outcome == FULL && !tine__dict_grow(call, table))
            return -ENOMEM;
    }
}
