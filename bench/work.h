/* SPDX-License-Identifier: MIT */
/*
 * The work itself, where tine and a peer in C do the same: compiled from one text for both.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdbool.h>
#include <stddef.h>

/* Number of primes below n; the cases use only these n. */
#define WORK_PRIMES_N           5000000
#define WORK_PRIMES_COUNT       348513
#define WORK_PRIMES_QUICK_N     1000
#define WORK_PRIMES_QUICK_COUNT 168

/* The empty body of a loop: no instruction, but the compiler must run through every index. */
static inline void work_nothing(size_t i)
{
    __asm__ volatile("" : : "r"(i));
}

/* As above for a pointer; what it points to counts as read and written. */
static inline void work_use(void *pointer)
{
    __asm__ volatile("" : : "r"(pointer) : "memory");
}

static inline bool work_is_prime(size_t n)
{
    if (n < 4)
        return n >= 2;
    if (n % 2 == 0)
        return false;
    for (size_t d = 3; d * d <= n; d += 2)
        if (n % d == 0)
            return false;
    return true;
}

static inline bool work_primes_right(size_t n, size_t count)
{
    return count == (n == WORK_PRIMES_N ? WORK_PRIMES_COUNT : WORK_PRIMES_QUICK_COUNT);
}

#endif
