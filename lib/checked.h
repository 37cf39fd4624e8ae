/* SPDX-License-Identifier: MIT */
/* Size arithmetic on numbers from outside: every function says whether the result fits. */
#ifndef TINE_LIB_CHECKED_H
#define TINE_LIB_CHECKED_H

#include <stdbool.h>
#include <stddef.h>

static inline bool tine__add_size(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool tine__mul_size(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* Rounds up to a multiple of `unit`, a power of two. */
static inline bool tine__round_up(size_t size, size_t unit, size_t *rounded)
{
    if (!tine__add_size(size, unit - 1, rounded))
        return false;
    *rounded &= ~(unit - 1);
    return true;
}

#endif
