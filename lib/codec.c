/* SPDX-License-Identifier: MIT */
/* What pack and unpack share: the letters of C arrays, the heap's hooks for `p`. */
#include "lib/codec.h"

#include <stdatomic.h>

static _Atomic(const struct tine__pointers *) pointers; /* written once, when the heap is made */

void tine__codec_set_pointers(const struct tine__pointers *hooks)
{
    /* pairs with the acquire in tine__codec_pointers: the hooks' content is seen with them */
    atomic_store_explicit(&pointers, hooks, memory_order_release);
}

const struct tine__pointers *tine__codec_pointers(void)
{
    return atomic_load_explicit(&pointers, memory_order_acquire);
}

size_t tine__letter_width(char letter)
{
    switch (letter) {
    case 'b':
    case 'B':
        return 1;
    case 'h':
    case 'H':
        return 2;
    case 'i':
    case 'I':
    case 'f':
        return 4;
    case 'q':
    case 'Q':
    case 'd':
        return 8;
    default:
        return 0;
    }
}
