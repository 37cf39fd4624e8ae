/* SPDX-License-Identifier: MIT */
#include "lib/copy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

#define LARGE ((size_t)4 << 20)

/* At odd addresses; the bytes around stay as they were. */
static void expect_copy(size_t size)
{
    uint64_t *words = malloc(size + 64);
    uint8_t *from = (uint8_t *)words + 3, *to = malloc(size + 64);

    for (size_t i = 0; i < (size + 64) / 8; i++)
        words[i] = random_u64();
    memset(to, 0x77, size + 64);
    tine__copy(to + 7, from, size);
    ck_assert_int_eq(memcmp(to + 7, from, size), 0);
    ck_assert(to[6] == 0x77 && to[7 + size] == 0x77);
    free(words);
    free(to);
}

TEST(every_byte_is_copied_and_no_other)
{
    static const size_t sizes[] = {0,         1,     4095,          LARGE - 1,     LARGE,
                                   LARGE + 1, 16383, LARGE + 16383, LARGE + 16384, LARGE + 16385};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        expect_copy(sizes[i]);
}

SUITE("lib/copy")
