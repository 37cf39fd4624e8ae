/* SPDX-License-Identifier: MIT */
/*
 * Random bytes for identities, keys and names.
 *
 * libsodium's default source asks the kernel each time (getrandom) and keeps no pool in memory, so
 * a fork cannot make two processes draw the same. Without sodium_init it chooses that source at the
 * first call, and it ends the program where the kernel has no randomness to give.
 */
#include "lib/random.h"

#include <sodium.h>

void tine__random_bytes(void *bytes, size_t size)
{
    randombytes_buf(bytes, size);
}

uint64_t tine__random_u64(void)
{
    uint64_t number;

    tine__random_bytes(&number, sizeof number);
    return number;
}
