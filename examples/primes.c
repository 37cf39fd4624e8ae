/* SPDX-License-Identifier: MIT */
/*
 * primes [N]: counts the primes below N (default 5,000,000) by trial division, once with a pool on
 * all cores and once in a plain loop, and compares the two.
 */
#include <tine.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool is_prime(uint64_t n)
{
    if (n < 4)
        return n > 1;
    if (n % 2 == 0 || n % 3 == 0)
        return false;
    for (uint64_t divisor = 5; divisor * divisor <= n; divisor += 6)
        if (n % divisor == 0 || n % (divisor + 2) == 0)
            return false;
    return true;
}

static int count_primes(size_t begin, size_t end, void *accumulator, void *context)
{
    uint64_t *count = accumulator;

    (void)context;
    for (size_t n = begin; n < end; n++)
        *count += is_prime(n);
    return 0;
}

static void add(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    char *end = "";
    uint64_t limit = argc > 1 ? strtoull(argv[1], &end, 10) : 5000000;
    uint64_t parallel = 0, serial = 0;
    double start, parallel_seconds, serial_seconds;
    tine_pool_counts counts;
    tine_pool *pool;
    int rc;

    if (argc > 2 || *end) {
        fputs("usage: primes [N]\n", stderr);
        return 2;
    }
    rc = tine_pool_open(&pool, NULL);
    if (rc == 0)
        rc = tine_pool_stats(pool, &counts);
    start = now();
    if (rc == 0)
        rc = tine_pool_reduce(pool, limit, count_primes, add, &parallel, sizeof parallel, NULL);
    parallel_seconds = now() - start;
    if (rc < 0) {
        fprintf(stderr, "primes: %s\n", tine_strerror(rc));
        return EXIT_FAILURE;
    }
    tine_pool_close(pool);

    start = now();
    count_primes(0, limit, &serial, NULL);
    serial_seconds = now() - start;

    printf("%" PRIu64 " primes below %" PRIu64 "\n", parallel, limit);
    fflush(stdout);
    fprintf(stderr, "%d workers %.3f s, plain loop %.3f s: %.2f times as fast\n", counts.workers,
            parallel_seconds, serial_seconds, serial_seconds / parallel_seconds);
    return parallel == serial ? EXIT_SUCCESS : EXIT_FAILURE;
}
