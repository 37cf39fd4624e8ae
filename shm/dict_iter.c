/* SPDX-License-Identifier: MIT */
/*
 * Walks over a whole dictionary. An iteration stays pinned at the table that held every key when it
 * began; a key never changes its cell there, so each key that is there all the time is met exactly
 * once, also when others grow the dictionary meanwhile. What a COPIED cell stands for is looked up
 * in the next table.
 */
#include "shm/dict_impl.h"

#include <tine/error.h>

#include <errno.h>
#include <string.h>

#include "lib/fork.h"

/* What lies in tine_dict_iter. */
struct walk {
    struct dict_call call;
    struct dict_table_shm *table;
    uint64_t at;
};

_Static_assert(sizeof(struct walk) <= sizeof(tine_dict_iter), "the public struct holds it");

static struct walk *walk_of(tine_dict_iter *iter)
{
    return (struct walk *)(void *)iter->opaque;
}

int tine_dict_iter_init(tine_dict_iter *iter, tine_dict *dict)
{
    struct walk walk = {.at = 0};
    int rc = iter == NULL ? -EINVAL : tine__dict_enter(&walk.call, dict);

    if (rc < 0)
        return rc;
    walk.table = tine__dict_whole(dict);
    *walk_of(iter) = walk;
    return 0;
}

/* What a cell stands for now; NULL: nothing. */
static const struct dict_entry_shm *entry_at(const struct walk *walk, const _Atomic uint64_t *cell)
{
    uint64_t word = atomic_load_explicit(cell, memory_order_seq_cst);
    const struct dict_entry_shm *entry = dict_live(word);
    struct dict_key key;

    if (entry == NULL || (word & CELL_COPIED) == 0)
        return entry;
    key = tine__dict_key(walk->call.dict, entry->bytes, entry->key_len);
    return tine__dict_find(walk->call.dict,
                           atomic_load_explicit(&walk->table->next, memory_order_seq_cst), &key);
}

int tine_dict_iter_next(tine_dict_iter *iter, tine_dict_item *item)
{
    const struct dict_entry_shm *entry = NULL;
    struct walk *walk;

    if (iter == NULL || item == NULL)
        return -EINVAL;
    walk = walk_of(iter);
    if (walk->table == NULL)
        return -EINVAL;
    if (tine__dict_forked(&walk->call))
        return TINE_EFORKED;
    while (entry == NULL && walk->at < walk->table->capacity)
        entry = entry_at(walk, &walk->table->cells[walk->at++]);
    if (entry == NULL)
        return 0;
    *item = (tine_dict_item){entry->bytes, entry->key_len, dict_value(entry), entry->value_len};
    return 1;
}

void tine_dict_iter_fini(tine_dict_iter *iter)
{
    struct walk *walk = iter == NULL ? NULL : walk_of(iter);

    if (walk == NULL || walk->table == NULL)
        return;
    walk->table = NULL;
    if (!tine__dict_forked(&walk->call))
        tine__dict_leave(&walk->call);
}

int tine_dict_clear(tine_dict *dict)
{
    tine_dict_iter iter;
    tine_dict_item item;
    int rc = tine_dict_iter_init(&iter, dict);

    if (rc < 0)
        return rc;
    while (rc == 0 && tine_dict_iter_next(&iter, &item) == 1) {
        rc = tine_dict_remove(dict, item.key, item.key_len);
        if (rc == -ENOENT) /* somebody else was quicker */
            rc = 0;
    }
    tine_dict_iter_fini(&iter);
    return rc;
}

ssize_t tine_dict_count(tine_dict *dict)
{
    struct dict_call call;
    ssize_t count = tine__dict_enter(&call, dict);

    if (count < 0)
        return count;
    count = (ssize_t)tine__dict_count_live(tine__dict_whole(dict));
    tine__dict_leave(&call);
    return count;
}

static uint32_t count_seats(const tine_dict *dict)
{
    uint32_t taken = 0;

    for (const struct dict_seats_shm *block = &dict->seats; block != NULL;
         block = atomic_load_explicit(&block->next, memory_order_acquire))
        for (int i = 0; i < DICT_SEATS; i++)
            taken += atomic_load_explicit(&block->seat[i].owner, memory_order_relaxed) != 0;
    return taken;
}

int tine_dict_stats(tine_dict *dict, tine_dict_counts *stats)
{
    struct dict_table_shm *table;
    struct dict_call call;
    int rc = stats == NULL ? -EINVAL : tine__dict_enter(&call, dict);

    if (rc < 0)
        return rc;
    table = tine__dict_whole(dict);
    *stats = (tine_dict_counts){
        .keys = tine__dict_count_live(table),
        .cells = table->capacity,
        .cells_used = atomic_load_explicit(&table->used, memory_order_relaxed),
        .resizes = atomic_load_explicit(&dict->resizes, memory_order_relaxed),
        .epoch = atomic_load_explicit(&dict->epoch, memory_order_relaxed),
        .swept = atomic_load_explicit(&dict->swept, memory_order_relaxed),
        .seats = count_seats(dict),
    };
    tine__dict_leave(&call);
    return 0;
}
