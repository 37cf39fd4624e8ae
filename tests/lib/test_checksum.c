/* SPDX-License-Identifier: MIT */
#include "lib/checksum.h"

#include <string.h>
#include <sys/uio.h>

#include "tests/support/suite.h"

/* From another implementation: Python's hashlib.blake2b(…, digest_size=32). */
TEST(the_digest_is_blake2b_256)
{
    uint8_t digest[TINE__DIGEST_BYTES];

    tine__digest("", 0, "", 0, digest);
    ck_assert_mem_eq(digest,
                     "\x0e\x57\x51\xc0\x26\xe5\x43\xb2\xe8\xab\x2e\xb0\x60\x99\xda\xa1"
                     "\xd1\xe5\xdf\x47\x77\x8f\x77\x87\xfa\xab\x45\xcd\xf1\x2f\xe3\xa8",
                     32);
    tine__digest("a", 1, "bc", 2, digest);
    ck_assert_mem_eq(digest,
                     "\xbd\xdd\x81\x3c\x63\x42\x39\x72\x31\x71\xef\x3f\xee\x98\x57\x9b"
                     "\x94\x96\x4e\x3b\xb1\xcb\x3e\x42\x72\x62\xc8\xc0\x68\xd5\x23\x19",
                     32);
}

TEST(the_digest_of_many_blocks_is_right)
{
    static uint8_t bytes[256 * 512];
    uint8_t digest[TINE__DIGEST_BYTES];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (size_t cut = 0; cut < sizeof bytes; cut += 9973) {
        tine__digest(bytes, cut, bytes + cut, sizeof bytes - cut, digest);
        ck_assert_mem_eq(digest,
                         "\xba\x31\x1b\xc2\x35\x17\xae\x74\xd6\x78\x7e\xfc\x1a\xbf\xa3\xc7"
                         "\x86\x54\xdd\x54\xd9\x8c\x93\xb8\xf1\x23\xb3\x59\x9c\xbb\xb9\xe2",
                         32);
    }
}

TEST(digests_that_differ_in_any_bit_are_not_equal)
{
    uint8_t a[TINE__DIGEST_BYTES] = {0}, b[TINE__DIGEST_BYTES] = {0};

    ck_assert(tine__digest_equal(a, b));
    for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert(!tine__digest_equal(a, b));
        b[bit / 8] = 0;
    }
}

/* The vectors of the SipHash paper: key 00 01 … 0f, message 00 01 … 0e. */
TEST(the_small_mac_is_siphash_2_4)
{
    struct tine__mac_key key;
    uint8_t message[15];

    for (uint8_t i = 0; i < 16; i++)
        key.small[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        message[i] = i;
    ck_assert_uint_eq(tine__mac_small(&key, message, 15), UINT64_C(0xa129ca6149be45e5));
}

TEST(the_large_mac_depends_on_all_but_the_cut_into_parts)
{
    static uint8_t bytes[10000];
    struct iovec whole = {bytes, sizeof bytes},
                 parts[3] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, sizeof bytes - 1}};
    struct tine__mac_key key, other;
    uint64_t mac;

    tine__mac_key_make(&key);
    tine__mac_key_make(&other);
    mac = tine__mac_large(&key, 7, &whole, 1);
    ck_assert_uint_eq(tine__mac_large(&key, 7, parts, 3), mac);
    ck_assert_uint_ne(tine__mac_large(&key, 8, &whole, 1), mac);
    ck_assert_uint_ne(tine__mac_large(&other, 7, &whole, 1), mac);
    for (size_t i = 0; i < sizeof bytes; i += 97) {
        bytes[i] ^= 0x40;
        ck_assert_uint_ne(tine__mac_large(&key, 7, &whole, 1), mac);
        bytes[i] ^= 0x40;
    }
}

SUITE("lib/checksum")
