/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_CELL_H
#define TINE_SHM_CELL_H

#include <stddef.h>
#include <stdint.h>

/*
 * The numbers that values and arrays hold. A cell is any of them in 64 bits: an integer of signed
 * type as int64_t, a Q as uint64_t, a floating-point number as the bits of a double.
 */
struct tine__cell_type {
    char letter;
    uint8_t size; /* bytes in an array */
    uint8_t form; /* TINE__CELL_… */
    int64_t min;
    uint64_t max;
};

enum { TINE__CELL_INTEGER, TINE__CELL_UNSIGNED_64, TINE__CELL_FLOATING };

const struct tine__cell_type *tine__cell_type(int letter); /* NULL: there is none */

/* To a cell and from one: 0, -EINVAL (the type is of the other sort), -ERANGE. */
int tine__cell_from_int(const struct tine__cell_type *type, int64_t number, uint64_t *cell);
int tine__cell_from_uint(const struct tine__cell_type *type, uint64_t number, uint64_t *cell);
int tine__cell_from_double(const struct tine__cell_type *type, double number, uint64_t *cell);
int tine__cell_to_int(const struct tine__cell_type *type, uint64_t cell, int64_t *number);
int tine__cell_to_uint(const struct tine__cell_type *type, uint64_t cell, uint64_t *number);
int tine__cell_to_double(const struct tine__cell_type *type, uint64_t cell, double *number);

/* cell + delta, by the same rules */
int tine__cell_add(const struct tine__cell_type *type, uint64_t cell, int64_t delta, uint64_t *sum);

/* An element of that type in memory, in one atomic step; relaxed. */
uint64_t tine__cell_load(const struct tine__cell_type *type, const void *element);
void tine__cell_store(const struct tine__cell_type *type, void *element, uint64_t cell);

#endif
