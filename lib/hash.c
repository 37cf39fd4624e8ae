/* SPDX-License-Identifier: MIT */
/*
 * A hash for tables in memory, about 3 ns for short keys: products of 64 by 64 bits folded to 64,
 * 16 bytes a step (the construction of wyhash). Nothing that it gives is stored or leaves the
 * family.
 *
 * A factor of zero would swallow everything before it. That takes bytes equal to the seed's words,
 * which nobody outside knows; wyhash's own constants would be known to all.
 */
#include "lib/hash.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t read_8(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t read_4(const uint8_t *at)
{
    uint32_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint64_t turned(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

/*
 * Rounds of 48 bytes, until at most as many are left: three chains, for a product waits four cycles
 * for the one before. Each has a state and a factor of its own, so that blocks cannot change
 * places.
 */
static uint64_t fold_rounds(const uint8_t **from, const uint8_t *last, uint64_t state,
                            uint64_t factor)
{
    uint64_t second = turned(state, 21), third = turned(state, 42);
    uint64_t second_factor = turned(factor, 21), third_factor = turned(factor, 42);
    const uint8_t *at = *from;

    for (; last - at > 32; at += 48) {
        state = fold(read_8(at) ^ factor, read_8(at + 8) ^ state);
        second = fold(read_8(at + 16) ^ second_factor, read_8(at + 24) ^ second);
        third = fold(read_8(at + 32) ^ third_factor, read_8(at + 40) ^ third);
    }
    *from = at;
    return state ^ second ^ third;
}

/* Up to 16 bytes as two words; reads overlap instead of branching on each length. */
static inline void read_short(const uint8_t *at, size_t size, uint64_t *a, uint64_t *b)
{
    size_t skip = size >> 3 << 2;

    if (size >= 4) {
        *a = read_4(at) << 32 | read_4(at + skip);
        *b = read_4(at + size - 4) << 32 | read_4(at + size - 4 - skip);
        return;
    }
    *a = size == 0 ? 0 : (uint64_t)at[0] << 16 | (uint64_t)at[size >> 1] << 8 | at[size - 1];
    *b = 0;
}

uint64_t tine__hash(const void *bytes, size_t size, const struct tine__hash_seed *seed)
{
    const uint8_t *at = bytes;
    uint64_t state = seed->start, factor = seed->factor, a, b;

    if (size > 16) {
        const uint8_t *last = at + size - 16;

        if (size > 96) /* one round alone is not worth its beginning */
            state = fold_rounds(&at, last, state, factor);
        for (; at < last; at += 16)
            state = fold(read_8(at) ^ factor, read_8(at + 8) ^ state);
        a = read_8(last);
        b = read_8(last + 8);
    } else {
        read_short(at, size, &a, &b);
    }
    return fold(factor ^ size, fold(a ^ factor, b ^ state));
}
