/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_RESERVED_H
#define TINE_LIB_RESERVED_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Fields of options that later versions will give a meaning. Whoever has set one wants what this
 * version does not know: -E2BIG.
 */
#define TINE__RESERVED_SET(field) (!tine__is_zero(&(field), sizeof(field)))

static inline bool tine__is_zero(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const unsigned char *)bytes)[i] != 0)
            return false;
    return true;
}

#endif
