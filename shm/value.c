/* SPDX-License-Identifier: MIT */
/*
 * One number or one struct in the family heap.
 *
 * The block holds the head, 64 bytes and a cache line of its own, then two slots (of a struct),
 * then the rlock (unless it has none or was given one). The head never changes but for `cell`: of a
 * number that is the number, changed in one step; of a struct how often it was written, whose
 * lowest bit says which slot holds it.
 *
 * A writer of a struct fills the other slot and then counts; killed before that, it leaves the
 * struct as it was, and the next writer fills the same slot again. A reader copies the slot of the
 * count that it saw, and again if the count has changed: only then may a writer have begun to fill
 * that slot. Writers exclude each other by the lock, whose death codes they pass on.
 *
 * Fork: nothing private. The pointers in the head are good in the whole family.
 */
#include <tine/heap.h>
#include <tine/value.h>

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "lib/checked.h"
#include "lib/reserved.h"
#include "shm/cell.h"
#include "shm/lock.h"

#define KIND_OF(letter)  ((TINE_VALUE_KIND_Q & ~(uint64_t)0xff) | (uint8_t)(letter))
#define KIND_OF_A_STRUCT KIND_OF(0)
#define LINE             64

/* What a tine_value is. Written before it is given out, but for cell. */
struct value {
    _Atomic uint64_t kind; /* KIND_OF(type) */
    _Atomic uint64_t cell; /* a number; or writes of a struct: release, acquired by readers */
    tine_rlock *lock;      /* NULL: none */
    uint64_t size;         /* bytes of a struct */
    uint64_t slot_bytes;   /* size, rounded up */
    uint64_t own_lock;     /* 1: lock lies in this block */
    uint64_t reserved[2];
};

_Static_assert(sizeof(struct value) == sizeof(tine_value), "one cache line");
_Static_assert(offsetof(struct value, cell) == offsetof(tine_value, cell), "tine_value_add_int");

static struct value *inside(tine_value *value)
{
    return (struct value *)(void *)value;
}

static const struct value *inside_const(const tine_value *value)
{
    return (const struct value *)(const void *)value;
}

static bool is_value(const tine_value *value)
{
    return value != NULL && (value->kind & ~(uint64_t)0xff) == KIND_OF_A_STRUCT;
}

static bool is_struct(const tine_value *value)
{
    return value != NULL && value->kind == KIND_OF_A_STRUCT;
}

/* NULL: no value, or no number. */
static const struct tine__cell_type *type_of(const tine_value *value)
{
    return is_value(value) ? tine__cell_type((int)(value->kind & 0xff)) : NULL;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int check_options(int type, const tine_value_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || TINE__RESERVED_SET(options->reserved0))
        return -E2BIG;
    if (type == 0 ? options->size == 0 : options->size != 0 || tine__cell_type(type) == NULL)
        return -EINVAL;
    if (options->lock != NULL && options->no_lock)
        return -EINVAL;
    return 0;
}

static struct value *allocate(size_t size, size_t *slot_bytes)
{
    size_t bytes;
    void *block;

    if (!tine__round_up(size, 16, slot_bytes) || !tine__mul_size(*slot_bytes, 2, &bytes) ||
        !tine__add_size(bytes, sizeof(struct value) + sizeof(tine_rlock), &bytes))
        return NULL;
    block = tine_aligned_alloc(LINE, bytes);
    if (block != NULL)
        memset(block, 0, bytes);
    return block;
}

static char *slot(const struct value *value, uint64_t writes)
{
    return (char *)(uintptr_t)value + sizeof *value + (writes & 1) * value->slot_bytes;
}

static int give_lock(struct value *value, tine_rlock *lock, bool no_lock)
{
    value->lock = lock;
    if (lock != NULL || no_lock)
        return 0;
    value->lock = (tine_rlock *)(void *)(slot(value, 0) + 2 * value->slot_bytes);
    value->own_lock = 1;
    return tine_rlock_init(value->lock, NULL);
}

int tine_value_open(tine_value **value, int type, const tine_value_options *options)
{
    static const tine_value_options defaults;
    const tine_value_options *o = options != NULL ? options : &defaults;
    struct value *made;
    size_t slot_bytes;
    int rc;

    if (value == NULL)
        return -EINVAL;
    rc = check_options(type, o);
    if (rc < 0)
        return rc;
    made = allocate(o->size, &slot_bytes);
    if (made == NULL)
        return -ENOMEM;
    made->size = o->size;
    made->slot_bytes = slot_bytes;
    rc = give_lock(made, o->lock, o->no_lock);
    if (rc < 0) {
        tine_free(made);
        return rc;
    }
    atomic_store_explicit(&made->kind, KIND_OF(type), memory_order_release);
    *value = (tine_value *)(void *)made;
    return 0;
}

void tine_value_close(tine_value *value)
{
    if (!is_value(value))
        return;
    if (inside(value)->own_lock != 0)
        tine_rlock_fini(inside(value)->lock);
    atomic_store_explicit(&inside(value)->kind, 0, memory_order_release);
    tine_free(value);
}

tine_rlock *tine_value_lock(tine_value *value)
{
    return is_value(value) ? inside(value)->lock : NULL;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t load(const tine_value *value)
{
    return atomic_load_explicit(&inside_const(value)->cell, memory_order_seq_cst);
}

static void store(tine_value *value, uint64_t cell)
{
    atomic_store_explicit(&inside(value)->cell, cell, memory_order_seq_cst);
}

static bool replace(tine_value *value, uint64_t *expected, uint64_t cell)
{
    return atomic_compare_exchange_strong_explicit(&inside(value)->cell, expected, cell,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

int tine_value_load_int(const tine_value *value, int64_t *number)
{
    const struct tine__cell_type *type = type_of(value);

    return type != NULL && number != NULL ? tine__cell_to_int(type, load(value), number) : -EINVAL;
}

int tine_value_load_uint(const tine_value *value, uint64_t *number)
{
    const struct tine__cell_type *type = type_of(value);

    return type != NULL && number != NULL ? tine__cell_to_uint(type, load(value), number) : -EINVAL;
}

int tine_value_load_double(const tine_value *value, double *number)
{
    const struct tine__cell_type *type = type_of(value);

    return type != NULL && number != NULL ? tine__cell_to_double(type, load(value), number)
                                          : -EINVAL;
}

int tine_value_store_int(tine_value *value, int64_t number)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell;
    int rc = type != NULL ? tine__cell_from_int(type, number, &cell) : -EINVAL;

    if (rc == 0)
        store(value, cell);
    return rc;
}

int tine_value_store_uint(tine_value *value, uint64_t number)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell;
    int rc = type != NULL ? tine__cell_from_uint(type, number, &cell) : -EINVAL;

    if (rc == 0)
        store(value, cell);
    return rc;
}

int tine_value_store_double(tine_value *value, double number)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell;
    int rc = type != NULL ? tine__cell_from_double(type, number, &cell) : -EINVAL;

    if (rc == 0)
        store(value, cell);
    return rc;
}

int tine_value_exchange_int(tine_value *value, int64_t number, int64_t *before)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell, old;
    int64_t was;
    int rc;

    if (type == NULL || before == NULL)
        return -EINVAL;
    rc = tine__cell_from_int(type, number, &cell);
    if (rc < 0)
        return rc;
    old = load(value);
    do {
        rc = tine__cell_to_int(type, old, &was);
        if (rc < 0)
            return rc;
    } while (!replace(value, &old, cell));
    *before = was;
    return 0;
}

int tine_value_exchange_double(tine_value *value, double number, double *before)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell;
    int rc;

    if (type == NULL || before == NULL)
        return -EINVAL;
    rc = tine__cell_from_double(type, number, &cell);
    if (rc < 0)
        return rc;
    return tine__cell_to_double(
        type, atomic_exchange_explicit(&inside(value)->cell, cell, memory_order_seq_cst), before);
}

int tine_value_compare_exchange_int(tine_value *value, int64_t *expected, int64_t number)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell, old;
    int64_t is;
    int rc;

    if (type == NULL || expected == NULL)
        return -EINVAL;
    rc = tine__cell_from_int(type, number, &cell);
    if (rc < 0)
        return rc;
    old = load(value);
    do {
        rc = tine__cell_to_int(type, old, &is);
        if (rc < 0)
            return rc;
        if (is != *expected) {
            *expected = is;
            return 0;
        }
    } while (!replace(value, &old, cell));
    return 1;
}

int tine_value_compare_exchange_double(tine_value *value, double *expected, double number)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t cell, old;
    int rc;

    if (type == NULL || expected == NULL)
        return -EINVAL;
    rc = tine__cell_from_double(type, number, &cell);
    if (rc < 0)
        return rc;
    memcpy(&old, expected, sizeof old);
    if (replace(value, &old, cell))
        return 1;
    memcpy(expected, &old, sizeof old);
    return 0;
}

int tine_value_add_checked(tine_value *value, int64_t delta, int64_t *sum)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t old, cell;
    int64_t after = 0;
    int rc;

    if (type == NULL)
        return -EINVAL;
    old = load(value);
    do {
        rc = tine__cell_add(type, old, delta, &cell);
        if (rc == 0 && sum != NULL)
            rc = tine__cell_to_int(type, cell, &after);
        if (rc < 0)
            return rc;
    } while (!replace(value, &old, cell));
    if (sum != NULL)
        *sum = after;
    return 0;
}

int tine_value_add_double(tine_value *value, double delta, double *sum)
{
    const struct tine__cell_type *type = type_of(value);
    uint64_t old, cell;
    double number;
    int rc;

    if (type == NULL)
        return -EINVAL;
    old = load(value);
    do {
        rc = tine__cell_to_double(type, old, &number);
        if (rc == 0)
            rc = tine__cell_from_double(type, number + delta, &cell);
        if (rc < 0)
            return rc;
    } while (!replace(value, &old, cell));
    return sum != NULL ? tine__cell_to_double(type, cell, sum) : 0;
}

/* ---- structs --------------------------------------------------------------------------------- */

/* Word by word, for a reader may look on: a torn copy is thrown away, but is no undefined value. */
static void fill(char *to, const char *data, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        size_t part = size - at < sizeof(uint64_t) ? size - at : sizeof(uint64_t);
        uint64_t word = 0;

        memcpy(&word, data + at, part);
        atomic_store_explicit((_Atomic uint64_t *)(void *)(to + at), word, memory_order_relaxed);
    }
}

static void copy_out(char *data, const char *from, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        size_t part = size - at < sizeof(uint64_t) ? size - at : sizeof(uint64_t);
        uint64_t word = atomic_load_explicit((const _Atomic uint64_t *)(const void *)(from + at),
                                             memory_order_relaxed);

        memcpy(data + at, &word, part);
    }
}

int tine_value_read(const tine_value *value, void *data)
{
    const struct value *v = inside_const(value);
    uint64_t writes, after;

    if (!is_struct(value) || data == NULL)
        return -EINVAL;
    /* acquire: pairs with the release in publish */
    writes = atomic_load_explicit(&v->cell, memory_order_acquire);
    for (;; writes = after) {
        copy_out(data, slot(v, writes), v->size);
        /* pairs with the fence in publish: words of a later write are seen with its count */
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(&v->cell, memory_order_acquire);
        if (after == writes)
            return 0;
    }
}

/* The caller is the only writer. */
static void publish(struct value *v, const void *data)
{
    uint64_t writes = atomic_load_explicit(&v->cell, memory_order_relaxed) + 1;

    /* the count of the last write before any word of this one */
    atomic_thread_fence(memory_order_release);
    fill(slot(v, writes), data, v->size);
    /* pairs with the acquires in tine_value_read */
    atomic_store_explicit(&v->cell, writes, memory_order_release);
}

int tine_value_write(tine_value *value, const void *data, int64_t timeout_ns)
{
    tine_rlock *lock;
    int rc = 0;

    if (!is_struct(value) || data == NULL)
        return -EINVAL;
    lock = inside(value)->lock;
    if (lock != NULL)
        rc = tine_rlock_acquire(lock, timeout_ns);
    if (rc < 0)
        return rc;
    publish(inside(value), data);
    return lock != NULL ? tine_rlock_release(lock) : 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

int tine_value_copy(tine_value **copy, const tine_value *source)
{
    tine_value_options options = {.size = 0};
    tine_value *made;
    int rc;

    if (copy == NULL || !is_value(source))
        return -EINVAL;
    options.size = inside_const(source)->size;
    options.no_lock = inside_const(source)->lock == NULL;
    rc = tine_value_open(&made, (int)(source->kind & 0xff), &options);
    if (rc < 0)
        return rc;
    if (is_struct(source))
        rc = tine_value_read(source, slot(inside(made), 0));
    else
        store(made, load(source));
    *copy = made;
    return rc;
}
