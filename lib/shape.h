/* SPDX-License-Identifier: MIT */
/*
 * Shapes: measuring many small values of which most look alike.
 *
 * Where the heads of a value stand and what they say is its shape. A value of the same shape as one
 * that was measured is well-formed as well, and of the same size, whatever its numbers are; it is
 * recognised by four words under a mask, where a walk over its heads takes ten times as long.
 */
#ifndef TINE_LIB_SHAPE_H
#define TINE_LIB_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TINE__SHAPE_BYTES 32 /* of the largest value that has one */

struct tine__shape {
    uint64_t
        mask[TINE__SHAPE_BYTES / 8]; /* what of a value is heads: all of that kind but numbers */
    uint64_t heads[TINE__SHAPE_BYTES / 8];
    size_t size; /* of a value of this shape */
    uint32_t misses;
    bool has_fitted; /* since it was learnt */
};

/* Knows nothing yet. */
void tine__shape_init(struct tine__shape *shape);

/* The long way: the size of the array at `at`, from which the shape may be learnt. 0,
   TINE_EFORMAT. */
int tine__shape_measure(struct tine__shape *shape, const uint8_t *at, size_t left, size_t *size);

/* The size of the array at `at`, of which `left` bytes and perhaps others behind it are there. */
static inline int tine__shape_size(struct tine__shape *shape, const uint8_t *at, size_t left,
                                   size_t *size)
{
    uint64_t words[TINE__SHAPE_BYTES / 8], differ = 0;

    if (left >= sizeof words) {
        memcpy(words, at, sizeof words);
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            differ |= (words[i] & shape->mask[i]) ^ shape->heads[i];
        if (differ == 0) {
            shape->has_fitted = true;
            *size = shape->size;
            return 0;
        }
    }
    return tine__shape_measure(shape, at, left, size);
}

#endif
