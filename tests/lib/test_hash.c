/* SPDX-License-Identifier: MIT */
#include "lib/hash.h"

#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

static const struct tine__hash_seed seed = {0x123456789abcdef1, 0xfedcba9876543211};

TEST(every_byte_and_the_length_count)
{
    uint8_t bytes[160] = {0};

    for (size_t size = 0; size < sizeof bytes; size++) {
        uint64_t plain = tine__hash(bytes, size, &seed);

        ck_assert_uint_ne(plain, tine__hash(bytes, size + 1, &seed));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            ck_assert_uint_ne(plain, tine__hash(bytes, size, &seed));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

TEST(blocks_have_their_places)
{
    uint8_t bytes[160], other[16];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_u64();
    for (size_t i = 0; i < sizeof bytes; i += 16)
        for (size_t k = 0; k < i; k += 16) {
            uint64_t plain = tine__hash(bytes, sizeof bytes, &seed);

            memcpy(other, bytes + i, 16);
            memcpy(bytes + i, bytes + k, 16);
            memcpy(bytes + k, other, 16);
            ck_assert_uint_ne(plain, tine__hash(bytes, sizeof bytes, &seed));
        }
}

TEST(another_seed_gives_other_hashes)
{
    struct tine__hash_seed other = seed;

    other.start ^= 1;
    ck_assert_uint_ne(tine__hash("key", 3, &seed), tine__hash("key", 3, &other));
    other = seed;
    other.factor ^= 1;
    ck_assert_uint_ne(tine__hash("key", 3, &seed), tine__hash("key", 3, &other));
}

/* Low bits choose the cell, high ones are its tag: both must be spread, for keys that count up. */
TEST(counting_keys_are_spread_in_low_and_high_bits)
{
    static unsigned low[256], high[256];
    uint64_t keys = 256 * 400;

    for (uint64_t i = 0; i < keys; i++) {
        uint64_t hash = tine__hash(&i, sizeof i, &seed);

        low[hash & 255]++;
        high[hash >> 56]++;
    }
    for (int i = 0; i < 256; i++) {
        ck_assert_uint_ge(low[i], 280); /* 400, and six standard deviations of 20 */
        ck_assert_uint_le(low[i], 520);
        ck_assert_uint_ge(high[i], 280);
        ck_assert_uint_le(high[i], 520);
    }
}

SUITE("lib/hash")
