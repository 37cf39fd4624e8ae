/* SPDX-License-Identifier: MIT */
#include "tests/support/random.h"

#include <stdlib.h>
#include <sys/random.h>

static uint64_t seed;
static _Thread_local uint64_t state;

uint64_t random_seed(void)
{
    const char *given = getenv("TINE_SEED");

    if (seed != 0)
        return seed;
    if (given != NULL)
        seed = strtoull(given, NULL, 0);
    else if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        abort();
    seed = seed == 0 ? 1 : seed;
    return seed;
}

void random_restart(const char *name)
{
    state = random_seed();
    for (; *name != '\0'; name++)
        state = (state ^ (unsigned char)*name) * 0x100000001b3U;
}

void random_fork(uint64_t index)
{
    state ^= (index + 1) * 0x9e3779b97f4a7c15U;
}

/* splitmix64: every state is a good one, and neighbouring seeds give unrelated sequences. */
uint64_t random_u64(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t limit)
{
    return random_u64() % limit;
}
