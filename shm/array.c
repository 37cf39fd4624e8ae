/* SPDX-License-Identifier: MIT */
/*
 * Elements of one type in the family heap.
 *
 * The block holds the head, 64 bytes, the elements, and the rlock (unless it has none or was given
 * one). The head does not change once the array is given out. One element is loaded and stored in
 * one step, without the lock; copies of many are made under it, and pass its death codes on.
 *
 * Fork: nothing private. The pointers in the head are good in the whole family.
 */
#include <tine/array.h>
#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "lib/checked.h"
#include "lib/reserved.h"
#include "shm/cell.h"

#define KIND  UINT64_C(0x0000007961727261) /* "array" */
#define LINE  64
#define LARGE 65536 /* above, the heap gives whole pages */

struct tine_array {
    uint64_t kind;
    uint64_t count;
    uint64_t size; /* bytes of an element */
    tine_rlock *lock;
    char *data;
    uint32_t letter;   /* 0: structs */
    uint32_t own_lock; /* 1: lock lies in this block */
    uint64_t reserved[2];
};

_Static_assert(sizeof(struct tine_array) == LINE, "the elements are aligned");

static bool is_array(const tine_array *array)
{
    return array != NULL && array->kind == KIND;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int check_options(int type, const tine_array_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || TINE__RESERVED_SET(options->reserved0))
        return -E2BIG;
    if (type == 0 ? options->size == 0 : options->size != 0 || tine__cell_type(type) == NULL)
        return -EINVAL;
    if (options->lock != NULL && options->no_lock)
        return -EINVAL;
    return 0;
}

/* Large blocks begin at a page, and tine_calloc() knows whether their pages are zero already. */
static void *allocate_zeroed(size_t size)
{
    void *block = size > LARGE ? tine_calloc(1, size) : tine_aligned_alloc(LINE, size);

    if (block != NULL && size <= LARGE)
        memset(block, 0, size);
    return block;
}

/* Head, elements, room for a lock; all zero. */
static int allocate(tine_array **array, size_t count, size_t size)
{
    size_t bytes, total;

    if (!tine__mul_size(count, size, &bytes) || !tine__round_up(bytes, 16, &bytes) ||
        !tine__add_size(bytes, sizeof **array + sizeof(tine_rlock), &total))
        return -EOVERFLOW;
    *array = allocate_zeroed(total);
    if (*array == NULL)
        return -ENOMEM;
    (*array)->data = (char *)*array + sizeof **array;
    (*array)->lock = (tine_rlock *)(void *)((*array)->data + bytes);
    return 0;
}

static int give_lock(tine_array *array, tine_rlock *lock, bool no_lock)
{
    if (lock == NULL && !no_lock) {
        array->own_lock = 1;
        return tine_rlock_init(array->lock, NULL);
    }
    array->lock = lock;
    return 0;
}

int tine_array_open(tine_array **array, int type, size_t count, const tine_array_options *options)
{
    static const tine_array_options defaults;
    const tine_array_options *o = options != NULL ? options : &defaults;
    size_t size;
    tine_array *made;
    int rc;

    if (array == NULL)
        return -EINVAL;
    rc = check_options(type, o);
    if (rc < 0)
        return rc;
    size = type == 0 ? o->size : tine__cell_type(type)->size;
    rc = allocate(&made, count, size);
    if (rc < 0)
        return rc;
    made->count = count;
    made->size = size;
    made->letter = (uint32_t)type;
    rc = give_lock(made, o->lock, o->no_lock);
    if (rc < 0) {
        tine_free(made);
        return rc;
    }
    made->kind = KIND;
    *array = made;
    return 0;
}

void tine_array_close(tine_array *array)
{
    if (!is_array(array))
        return;
    if (array->own_lock != 0)
        tine_rlock_fini(array->lock);
    array->kind = 0;
    tine_free(array);
}

void *tine_array_data(tine_array *array)
{
    return is_array(array) ? array->data : NULL;
}

size_t tine_array_count(const tine_array *array)
{
    return is_array(array) ? array->count : 0;
}

tine_rlock *tine_array_lock(tine_array *array)
{
    return is_array(array) ? array->lock : NULL;
}

/* ---- one element ----------------------------------------------------------------------------- */

static int find(const tine_array *array, size_t index, const struct tine__cell_type **type)
{
    *type = is_array(array) ? tine__cell_type((int)array->letter) : NULL;
    if (*type == NULL)
        return -EINVAL;
    return index < array->count ? 0 : -ERANGE;
}

#define GET(suffix, number_type)                                                                   \
    int tine_array_get_##suffix(const tine_array *array, size_t index, number_type *number)        \
    {                                                                                              \
        const struct tine__cell_type *type;                                                        \
        int rc = number != NULL ? find(array, index, &type) : -EINVAL;                             \
                                                                                                   \
        if (rc < 0)                                                                                \
            return rc;                                                                             \
        return tine__cell_to_##suffix(                                                             \
            type, tine__cell_load(type, array->data + index * array->size), number);               \
    }

#define SET(suffix, number_type)                                                                   \
    int tine_array_set_##suffix(tine_array *array, size_t index, number_type number)               \
    {                                                                                              \
        const struct tine__cell_type *type;                                                        \
        uint64_t cell;                                                                             \
        int rc = find(array, index, &type);                                                        \
                                                                                                   \
        if (rc == 0)                                                                               \
            rc = tine__cell_from_##suffix(type, number, &cell);                                    \
        if (rc == 0)                                                                               \
            tine__cell_store(type, array->data + index * array->size, cell);                       \
        return rc;                                                                                 \
    }

GET(int, int64_t)
GET(uint, uint64_t)
GET(double, double)
SET(int, int64_t)
SET(uint, uint64_t)
SET(double, double)

/* ---- many ------------------------------------------------------------------------------------ */

static int begin(tine_array *array, size_t first, size_t count, int64_t timeout_ns)
{
    if (!is_array(array))
        return -EINVAL;
    if (first > array->count || count > array->count - first)
        return -ERANGE;
    return array->lock != NULL ? tine_rlock_acquire(array->lock, timeout_ns) : 0;
}

static int end(tine_array *array)
{
    return array->lock != NULL ? tine_rlock_release(array->lock) : 0;
}

int tine_array_read(tine_array *array, size_t first, size_t count, int64_t timeout_ns, void *data)
{
    int rc = data != NULL ? begin(array, first, count, timeout_ns) : -EINVAL;

    if (rc < 0)
        return rc;
    memcpy(data, array->data + first * array->size, count * array->size);
    return end(array);
}

int tine_array_write(tine_array *array, size_t first, size_t count, const void *data,
                     int64_t timeout_ns)
{
    int rc = data != NULL ? begin(array, first, count, timeout_ns) : -EINVAL;

    if (rc < 0)
        return rc;
    memcpy(array->data + first * array->size, data, count * array->size);
    return end(array);
}

int tine_array_copy(tine_array *source, int64_t timeout_ns, tine_array **copy)
{
    tine_array_options options = {.size = 0};
    tine_array *made;
    int rc;

    if (copy == NULL || !is_array(source))
        return -EINVAL;
    options.size = source->letter == 0 ? source->size : 0;
    options.no_lock = source->lock == NULL;
    rc = tine_array_open(&made, (int)source->letter, source->count, &options);
    if (rc < 0)
        return rc;
    rc = tine_array_read(source, 0, source->count, timeout_ns, made->data);
    if (rc < 0)
        tine_array_close(made);
    else
        *copy = made;
    return rc;
}
