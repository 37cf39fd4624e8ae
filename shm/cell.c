/* SPDX-License-Identifier: MIT */
/*
 * Numbers by type letter: ranges, conversions, and access in one step. See shm/cell.h.
 *
 * Nothing here is shared or kept; the memory of an element is its array's.
 */
#include "shm/cell.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static const struct tine__cell_type types[] = {
    {'?', 1, TINE__CELL_INTEGER, 0, 1},
    {'b', 1, TINE__CELL_INTEGER, INT8_MIN, INT8_MAX},
    {'B', 1, TINE__CELL_INTEGER, 0, UINT8_MAX},
    {'h', 2, TINE__CELL_INTEGER, INT16_MIN, INT16_MAX},
    {'H', 2, TINE__CELL_INTEGER, 0, UINT16_MAX},
    {'i', 4, TINE__CELL_INTEGER, INT32_MIN, INT32_MAX},
    {'I', 4, TINE__CELL_INTEGER, 0, UINT32_MAX},
    {'q', 8, TINE__CELL_INTEGER, INT64_MIN, INT64_MAX},
    {'Q', 8, TINE__CELL_UNSIGNED_64, 0, UINT64_MAX},
    {'f', 4, TINE__CELL_FLOATING, 0, 0},
    {'d', 8, TINE__CELL_FLOATING, 0, 0},
};

const struct tine__cell_type *tine__cell_type(int letter)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].letter == letter)
            return &types[i];
    return NULL;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static double number_of(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

int tine__cell_from_int(const struct tine__cell_type *type, int64_t number, uint64_t *cell)
{
    if (type->form == TINE__CELL_FLOATING)
        return -EINVAL;
    if (number < type->min || (number > 0 && (uint64_t)number > type->max))
        return -ERANGE;
    *cell = (uint64_t)number;
    return 0;
}

int tine__cell_from_uint(const struct tine__cell_type *type, uint64_t number, uint64_t *cell)
{
    if (type->form == TINE__CELL_FLOATING)
        return -EINVAL;
    if (number > type->max)
        return -ERANGE;
    *cell = number;
    return 0;
}

int tine__cell_from_double(const struct tine__cell_type *type, double number, uint64_t *cell)
{
    if (type->form != TINE__CELL_FLOATING)
        return -EINVAL;
    if (type->size == sizeof(float)) {
        float narrow = (float)number;

        if (isinf(narrow) && !isinf(number))
            return -ERANGE;
        number = (double)narrow;
    }
    *cell = bits_of(number);
    return 0;
}

int tine__cell_to_int(const struct tine__cell_type *type, uint64_t cell, int64_t *number)
{
    if (type->form == TINE__CELL_FLOATING)
        return -EINVAL;
    if (type->form == TINE__CELL_UNSIGNED_64 && cell > INT64_MAX)
        return -ERANGE;
    *number = (int64_t)cell;
    return 0;
}

int tine__cell_to_uint(const struct tine__cell_type *type, uint64_t cell, uint64_t *number)
{
    if (type->form == TINE__CELL_FLOATING)
        return -EINVAL;
    if (type->form == TINE__CELL_INTEGER && (int64_t)cell < 0)
        return -ERANGE;
    *number = cell;
    return 0;
}

int tine__cell_to_double(const struct tine__cell_type *type, uint64_t cell, double *number)
{
    if (type->form != TINE__CELL_FLOATING)
        return -EINVAL;
    *number = number_of(cell);
    return 0;
}

static int add_unsigned(uint64_t number, int64_t delta, uint64_t *sum)
{
    uint64_t size = delta < 0 ? (uint64_t) - (delta + 1) + 1 : (uint64_t)delta;
    bool failed = delta < 0 ? __builtin_sub_overflow(number, size, sum)
                            : __builtin_add_overflow(number, size, sum);

    return failed ? -ERANGE : 0;
}

int tine__cell_add(const struct tine__cell_type *type, uint64_t cell, int64_t delta, uint64_t *sum)
{
    int64_t after;

    if (type->form == TINE__CELL_FLOATING)
        return -EINVAL;
    if (type->form == TINE__CELL_UNSIGNED_64)
        return add_unsigned(cell, delta, sum);
    if (__builtin_add_overflow((int64_t)cell, delta, &after))
        return -ERANGE;
    return tine__cell_from_int(type, after, sum);
}

static double load_float(const void *element)
{
    return (double)atomic_load_explicit((const _Atomic float *)element, memory_order_relaxed);
}

#define LOAD(type) (atomic_load_explicit((const _Atomic type *)element, memory_order_relaxed))

uint64_t tine__cell_load(const struct tine__cell_type *type, const void *element)
{
    switch (type->letter) {
    case '?':
    case 'B':
        return LOAD(uint8_t);
    case 'b':
        return (uint64_t)LOAD(int8_t);
    case 'h':
        return (uint64_t)LOAD(int16_t);
    case 'H':
        return LOAD(uint16_t);
    case 'i':
        return (uint64_t)LOAD(int32_t);
    case 'I':
        return LOAD(uint32_t);
    case 'f':
        return bits_of(load_float(element));
    default:
        return LOAD(uint64_t);
    }
}

#define STORE(type, value)                                                                         \
    atomic_store_explicit((_Atomic type *)element, (type)(value), memory_order_relaxed)

void tine__cell_store(const struct tine__cell_type *type, void *element, uint64_t cell)
{
    if (type->letter == 'f') {
        STORE(float, number_of(cell));
        return;
    }
    switch (type->size) {
    case 1:
        STORE(uint8_t, cell);
        break;
    case 2:
        STORE(uint16_t, cell);
        break;
    case 4:
        STORE(uint32_t, cell);
        break;
    default:
        STORE(uint64_t, cell);
    }
}
