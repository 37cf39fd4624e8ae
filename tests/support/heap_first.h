/* SPDX-License-Identifier: MIT */
/*
 * The family heap is made before the tests, which the runner forks: so its descriptor is no leak of
 * theirs.
 */
#ifndef TINE_TESTS_SUPPORT_HEAP_FIRST_H
#define TINE_TESTS_SUPPORT_HEAP_FIRST_H

#include <tine/heap.h>

#define HEAP_BEFORE_TESTS                                                                          \
    __attribute__((constructor)) static void open_heap_first(void)                                 \
    {                                                                                              \
        tine_free(tine_alloc(1));                                                                  \
    }

#endif
