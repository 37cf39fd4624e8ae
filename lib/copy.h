/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_COPY_H
#define TINE_LIB_COPY_H

#include <stddef.h>

/* memcpy, faster where both are larger than the caches. */
void tine__copy(void *to, const void *from, size_t size);

#endif
