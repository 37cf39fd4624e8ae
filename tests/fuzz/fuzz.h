/* SPDX-License-Identifier: MIT */
/*
 * A fuzz target: one function that libFuzzer calls with bytes, or the replay with those of the
 * corpus. What must hold is checked with REQUIRE, in every build.
 */
#ifndef TINE_TESTS_FUZZ_H
#define TINE_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
