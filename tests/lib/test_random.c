/* SPDX-License-Identifier: MIT */
#include "lib/random.h"

#include <string.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

TEST(every_byte_is_filled)
{
    uint8_t seen[33] = {0}, bytes[33];

    for (int round = 0; round < 64; round++) {
        memset(bytes, 0, sizeof bytes);
        tine__random_bytes(bytes, 32);
        ck_assert_uint_eq(bytes[32], 0);
        for (size_t i = 0; i < sizeof bytes; i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < 32; i++)
        ck_assert_uint_ne(seen[i], 0);
    tine__random_bytes(bytes, 0);
}

TEST(numbers_do_not_repeat)
{
    uint64_t numbers[256];

    for (size_t i = 0; i < 256; i++) {
        numbers[i] = tine__random_u64();
        for (size_t j = 0; j < i; j++)
            ck_assert(numbers[i] != numbers[j]);
    }
}

static void draw(void *place)
{
    *(uint64_t *)place = tine__random_u64();
}

TEST(a_forked_child_draws_its_own_numbers)
{
    uint64_t *numbers = shared_memory(9 * sizeof *numbers);
    struct child children[8];

    tine__random_u64(); /* whatever is set up at the first call is inherited */
    for (size_t i = 0; i < 8; i++)
        children[i] = child_start(draw, &numbers[i]);
    draw(&numbers[8]);
    for (size_t i = 0; i < 8; i++)
        child_join(&children[i]);
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < i; j++)
            ck_assert(numbers[i] != numbers[j]);
}

SUITE("lib/random")
