/* SPDX-License-Identifier: MIT */
/*
 * The shared dictionary: calls by key. Every change is a decision about the entry that is found and
 * one CAS that publishes what became of it; when the cell has changed meanwhile, the decision is
 * taken again. Reading takes no CAS but that of the seat, allocates nothing and waits for nobody.
 *
 * All state lies in the family heap; a handle is a pointer to it, good in every process of the
 * family. There is no lock: shm/dict_table.c argues for the tables, shm/dict_seat.c for what is
 * freed when and for the dead. A forked child uses the dictionary as any other process does; one
 * that was forked inside an updater's callback leaves the call of its parent alone.
 */
#include "shm/dict_impl.h"

#include <tine/codec.h>
#include <tine/error.h>
#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "lib/codec.h"
#include "lib/random.h"
#include "lib/reserved.h"
#include "shm/heap.h"

_Static_assert(sizeof(struct dict_entry_shm) == 16, "doc/shm-layout.md");
_Static_assert(sizeof(struct dict_table_shm) == 128, "doc/shm-layout.md");
_Static_assert(sizeof(struct dict_seat_shm) == 128, "doc/shm-layout.md");
_Static_assert(offsetof(tine_dict, seats) == 128, "doc/shm-layout.md");
_Static_assert(sizeof(tine_dict_options) == 64, "released size");

enum {
    FIRST_EPOCH = 3, /* more than any that an empty limbo may seem to be of */
    BIG_VALUE = 256, /* bytes; a larger one is not kept for its key when it is removed */
    KEYS_MAX_LOG = 40,
};

#define LEN_MAX ((size_t)UINT32_MAX)

/* What a call decides about the entry that it finds, NULL for none; perhaps several times. */
enum decision { KEEP = 0, PUT = 1, REMOVE = 2 };

struct change {
    int (*decide)(struct change *change, const struct dict_entry_shm *found);
    bool insert;       /* may decide to PUT where nothing is */
    const void *value; /* for PUT */
    size_t value_len;
};

/* ---- changing -------------------------------------------------------------------------------- */

static int put_value(const struct dict_call *call, const struct dict_key *key,
                     const struct dict_place *place, const struct change *change)
{
    struct dict_entry_shm *entry;

    if (change->value_len > LEN_MAX)
        return -EMSGSIZE;
    entry = tine__dict_make(call, key, change->value, change->value_len);
    if (entry == NULL)
        return -ENOMEM;
    if (!tine__dict_publish(call, place, dict_word(entry, key->hash)))
        return -EAGAIN;
    if (place->word == 0)
        atomic_fetch_add_explicit(&place->table->used, 1, memory_order_relaxed);
    else if ((place->word & CELL_DEAD) != 0)
        atomic_fetch_sub_explicit(&place->table->dead, 1, memory_order_relaxed);
    return PUT;
}

/* Marks the entry dead, or puts its key alone in its place. */
static bool bury_value(const struct dict_call *call, const struct dict_key *key,
                       const struct dict_place *place)
{
    struct dict_entry_shm *stone = NULL;
    uint64_t expected = place->word;

    if (dict_entry(place->word)->value_len >= BIG_VALUE)
        stone = tine__dict_make(call, key, NULL, 0);
    if (stone != NULL)
        return tine__dict_publish(call, place, dict_word(stone, key->hash) | CELL_DEAD);
    return atomic_compare_exchange_strong(place->cell, &expected, expected | CELL_DEAD);
}

static int remove_value(const struct dict_call *call, const struct dict_key *key,
                        const struct dict_place *place)
{
    struct dict_table_shm *table = place->table;
    uint32_t nobody = 0;
    int64_t dead;

    if (!bury_value(call, key, place))
        return -EAGAIN;
    dead = atomic_fetch_add_explicit(&table->dead, 1, memory_order_relaxed) + 1;
    /* Half of it removed: a new table, and the memory comes back. No matter if it cannot be had. */
    if (dead >= (int64_t)(table->capacity / 2) &&
        atomic_compare_exchange_strong_explicit(&table->growing, &nobody, 1, memory_order_relaxed,
                                                memory_order_relaxed) &&
        tine__dict_grow(call, table))
        (void)tine__dict_current(call);
    return REMOVE;
}

/* One attempt. A decision that is carried out, -EAGAIN (the cell has changed), or a failure. */
static int attempt(const struct dict_call *call, const struct dict_key *key, struct change *change)
{
    struct dict_place place;
    int rc = tine__dict_locate(call, key, change->insert, &place);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    rc = change->decide(change, rc == 0 ? dict_live(place.word) : NULL);
    if (tine__dict_forked(call))
        return TINE_EFORKED;
    if (rc == PUT)
        return put_value(call, key, &place, change);
    return rc == REMOVE ? remove_value(call, key, &place) : rc;
}

/* Negative: a failure, or what decide returned. */
static int apply(tine_dict *dict, const struct dict_key *key, struct change *change)
{
    struct dict_call call;
    bool reclaimed = false;
    int rc = tine__dict_enter(&call, dict);

    if (rc < 0)
        return rc;
    for (;;) {
        rc = attempt(&call, key, change);
        if (rc == TINE_EFORKED)
            return rc;
        if (rc == -ENOMEM && !reclaimed)
            tine__dict_reclaim(&call);
        else if (rc != -EAGAIN)
            break;
        reclaimed = rc == -ENOMEM;
    }
    tine__dict_tidy(&call);
    tine__dict_leave(&call);
    return rc;
}

/* 0, -EINVAL, -EBADF, -EMSGSIZE */
static int take_key(const tine_dict *dict, const void *bytes, size_t len, struct dict_key *key)
{
    if (dict == NULL || (bytes == NULL && len != 0))
        return -EINVAL;
    if (dict->magic != DICT_MAGIC)
        return -EBADF;
    if (len == TINE_KEY_STRING)
        len = strlen(bytes);
    if (len > LEN_MAX)
        return -EMSGSIZE;
    *key = tine__dict_key(dict, bytes == NULL ? "" : bytes, len);
    return 0;
}

/* Any number of packed values, also none. */
static int check_values(const void *value, size_t value_len)
{
    static const tine_limits limits = {
        .depth = TINE_DEPTH_MAX, .elements = UINT64_MAX, .bytes = UINT64_MAX};
    size_t values;

    if (value == NULL && value_len > 0)
        return -EINVAL;
    return tine__prescan(value, value_len, &limits, &values);
}

/* ---- put, setdefault ------------------------------------------------------------------------- */

static int decide_put(struct change *change, const struct dict_entry_shm *found)
{
    (void)change;
    (void)found;
    return PUT;
}

static int decide_default(struct change *change, const struct dict_entry_shm *found)
{
    (void)change;
    return found == NULL ? PUT : KEEP;
}

static int put_bytes(tine_dict *dict, const struct dict_key *key, const void *value,
                     size_t value_len)
{
    struct change change = {decide_put, true, value, value_len};
    int rc = apply(dict, key, &change);

    return rc < 0 ? rc : 0;
}

static int default_bytes(tine_dict *dict, const struct dict_key *key, const void *value,
                         size_t value_len)
{
    struct change change = {decide_default, true, value, value_len};
    int rc = apply(dict, key, &change);

    return rc < 0 ? rc : rc == PUT;
}

typedef int putter(tine_dict *dict, const struct dict_key *key, const void *value, size_t len);

static int pack_and_put(putter *put, tine_dict *dict, const char *text, const char *format,
                        va_list args)
{
    tine_buffer buffer = {0};
    struct dict_key key;
    int rc = text == NULL ? -EINVAL : take_key(dict, text, TINE_KEY_STRING, &key);

    if (rc == 0)
        rc = tine_vpack(&buffer, format, args);
    if (rc == 0)
        rc = put(dict, &key, buffer.data, buffer.size);
    tine_buffer_free(&buffer);
    return rc;
}

int tine_dict_put(tine_dict *dict, const char *key, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = pack_and_put(put_bytes, dict, key, format, args);
    va_end(args);
    return rc;
}

int tine_dict_setdefault(tine_dict *dict, const char *key, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = pack_and_put(default_bytes, dict, key, format, args);
    va_end(args);
    return rc;
}

static int check_and_put(putter *put, tine_dict *dict, struct dict_key *key, const void *value,
                         size_t value_len)
{
    int rc = check_values(value, value_len);

    return rc < 0 ? rc : put(dict, key, value, value_len);
}

int tine_dict_put_packed(tine_dict *dict, const void *key, size_t key_len, const void *value,
                         size_t value_len)
{
    struct dict_key taken;
    int rc = take_key(dict, key, key_len, &taken);

    return rc < 0 ? rc : check_and_put(put_bytes, dict, &taken, value, value_len);
}

int tine_dict_setdefault_packed(tine_dict *dict, const void *key, size_t key_len, const void *value,
                                size_t value_len)
{
    struct dict_key taken;
    int rc = take_key(dict, key, key_len, &taken);

    return rc < 0 ? rc : check_and_put(default_bytes, dict, &taken, value, value_len);
}

/* ---- update, add ----------------------------------------------------------------------------- */

struct update {
    struct change change;
    tine_dict_updater *updater;
    void *context;
    tine_buffer out;
};

static int decide_update(struct change *change, const struct dict_entry_shm *found)
{
    struct update *update = (struct update *)change;
    int rc;

    tine_buffer_clear(&update->out);
    rc = update->updater(found == NULL ? NULL : dict_value(found),
                         found == NULL ? 0 : found->value_len, &update->out, update->context);
    if (rc == 0)
        rc = check_values(update->out.data, update->out.size);
    if (rc != 0)
        return rc < 0 ? rc : -EINVAL;
    change->value = update->out.data;
    change->value_len = update->out.size;
    return PUT;
}

int tine_dict_update(tine_dict *dict, const void *key, size_t key_len, tine_dict_updater *updater,
                     void *context)
{
    struct update update = {{decide_update, true, NULL, 0}, updater, context, {0}};
    struct dict_key taken;
    int rc = updater == NULL ? -EINVAL : take_key(dict, key, key_len, &taken);

    if (rc == 0)
        rc = apply(dict, &taken, &update.change);
    tine_buffer_free(&update.out);
    return rc < 0 ? rc : 0;
}

struct sum {
    int64_t delta;
    int64_t total;
};

static int add_delta(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    struct sum *sum = context;
    int64_t before = 0;
    int rc = value == NULL ? 0 : tine_unpack(value, value_len, "q", &before);

    if (rc < 0)
        return rc;
    if (__builtin_add_overflow(before, sum->delta, &sum->total))
        return -EOVERFLOW;
    return tine_pack(out, "q", sum->total);
}

int tine_dict_add(tine_dict *dict, const char *key, int64_t delta, int64_t *total)
{
    struct sum sum = {delta, 0};
    int rc = key == NULL ? -EINVAL : tine_dict_update(dict, key, TINE_KEY_STRING, add_delta, &sum);

    if (rc == 0 && total != NULL)
        *total = sum.total;
    return rc;
}

/* ---- remove, pop ----------------------------------------------------------------------------- */

static int decide_remove(struct change *change, const struct dict_entry_shm *found)
{
    (void)change;
    return found == NULL ? -ENOENT : REMOVE;
}

int tine_dict_remove(tine_dict *dict, const void *key, size_t key_len)
{
    struct change change = {decide_remove, false, NULL, 0};
    struct dict_key taken;
    int rc = take_key(dict, key, key_len, &taken);

    if (rc == 0)
        rc = apply(dict, &taken, &change);
    return rc < 0 ? rc : 0;
}

static int append(tine_buffer *buffer, const struct dict_entry_shm *entry)
{
    int rc = tine__buffer_reserve(buffer, entry->value_len);

    if (rc < 0)
        return rc;
    if (entry->value_len > 0)
        memcpy(buffer->data + buffer->size, dict_value(entry), entry->value_len);
    buffer->size += entry->value_len;
    return 0;
}

struct pop {
    struct change change;
    tine_buffer *out;
    size_t size; /* of it, before */
};

static int decide_pop(struct change *change, const struct dict_entry_shm *found)
{
    struct pop *pop = (struct pop *)change;
    int rc;

    pop->out->size = pop->size;
    if (found == NULL)
        return -ENOENT;
    rc = append(pop->out, found);
    return rc < 0 ? rc : REMOVE;
}

int tine_dict_pop(tine_dict *dict, const void *key, size_t key_len, tine_buffer *value)
{
    struct pop pop = {{decide_pop, false, NULL, 0}, value, value == NULL ? 0 : value->size};
    struct dict_key taken;
    int rc = value == NULL ? -EINVAL : take_key(dict, key, key_len, &taken);

    if (rc == 0)
        rc = apply(dict, &taken, &pop.change);
    if (rc < 0 && value != NULL)
        value->size = pop.size;
    return rc < 0 ? rc : 0;
}

/* ---- get, contains --------------------------------------------------------------------------- */

int tine_dict_contains(tine_dict *dict, const void *key, size_t key_len)
{
    struct dict_key taken;
    struct dict_call call;
    int rc = take_key(dict, key, key_len, &taken);

    if (rc == 0)
        rc = tine__dict_enter(&call, dict);
    if (rc < 0)
        return rc;
    rc = tine__dict_find(dict, NULL, &taken) != NULL;
    tine__dict_leave(&call);
    return rc;
}

int tine_dict_get_packed(tine_dict *dict, const void *key, size_t key_len, tine_buffer *value)
{
    const struct dict_entry_shm *entry;
    struct dict_key taken;
    struct dict_call call;
    int rc = value == NULL ? -EINVAL : take_key(dict, key, key_len, &taken);

    if (rc == 0)
        rc = tine__dict_enter(&call, dict);
    if (rc < 0)
        return rc;
    entry = tine__dict_find(dict, NULL, &taken);
    rc = entry == NULL ? -ENOENT : append(value, entry);
    tine__dict_leave(&call);
    return rc;
}

static int get_values(tine_dict *dict, const struct dict_key *key, const char *format, va_list args)
{
    const struct dict_entry_shm *entry;
    struct dict_call call;
    int rc = tine__dict_enter(&call, dict);

    if (rc < 0)
        return rc;
    entry = tine__dict_find(dict, NULL, key);
    rc = entry == NULL ? -ENOENT : tine_vunpack(dict_value(entry), entry->value_len, format, args);
    tine__dict_leave(&call);
    return rc;
}

int tine_dict_get(tine_dict *dict, const char *key, const char *format, ...)
{
    struct dict_key taken;
    va_list args;
    int rc = key == NULL || format == NULL ? -EINVAL : take_key(dict, key, TINE_KEY_STRING, &taken);

    /* What these borrow lives no longer than the pin. */
    if (rc == 0 && strpbrk(format, "yva") != NULL)
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = get_values(dict, &taken, format, args);
    va_end(args);
    return rc;
}

/* ---- open, close ----------------------------------------------------------------------------- */

/* Cells for so many keys without growing. */
static uint64_t cells_for(uint64_t keys)
{
    uint64_t cells = DICT_CELLS_MIN;

    while (cells / 4 * 3 < keys)
        cells *= 2;
    return cells;
}

static int check_options(const tine_dict_options *options)
{
    if (options->flags != 0)
        return -EINVAL;
    if (TINE__RESERVED_SET(options->reserved) || options->reserved32 != 0)
        return -E2BIG;
    return options->capacity > UINT64_C(1) << KEYS_MAX_LOG ? -ENOMEM : 0;
}

int tine_dict_open(tine_dict **dict, const tine_dict_options *options)
{
    static const tine_dict_options defaults;
    struct dict_table_shm *table;
    tine_dict *opened;
    int rc;

    if (options == NULL)
        options = &defaults;
    rc = dict == NULL ? -EINVAL : check_options(options);
    if (rc == 0)
        rc = tine__heap_open();
    if (rc < 0)
        return rc;
    table = tine__dict_table_new(cells_for(options->capacity));
    opened = tine_aligned_alloc(sizeof(struct dict_seat_shm), sizeof *opened);
    if (table == NULL || opened == NULL) {
        tine_free(table);
        tine_free(opened);
        return -ENOMEM;
    }
    memset(opened, 0, sizeof *opened);
    tine__dict_init_seats(&opened->seats);
    tine__random_bytes(&opened->id, sizeof opened->id);
    tine__random_bytes(&opened->seed, sizeof opened->seed);
    opened->magic = DICT_MAGIC;
    opened->root = table;
    opened->epoch = FIRST_EPOCH;
    *dict = opened;
    return 0;
}

void tine_dict_close(tine_dict *dict)
{
    struct dict_call call;
    struct dict_table_shm *table;

    if (dict == NULL || dict->magic != DICT_MAGIC)
        return;
    /* Nobody else is here, so any seat will do, and none has to be had. */
    call = (struct dict_call){dict, &dict->seats.seat[0], 0};
    tine__dict_settle(&call);
    dict->magic = 0;
    table = dict->root;
    for (uint64_t i = 0; i < table->capacity; i++)
        tine_free(dict_entry(table->cells[i]));
    tine_free(table);
    tine__dict_free_seats(dict);
    tine_free(dict);
}
