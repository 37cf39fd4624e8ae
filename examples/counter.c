/* SPDX-License-Identifier: MIT */
/*
 * counter: how long the Collatz sequences of 1 … 300,000 are. All workers of a pool add to one
 * value, count into one histogram, and keep one record under a lock.
 */
#include <tine.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define NUMBERS 300000
#define BINS    9 /* none has 450 steps */

static struct shared {
    tine_value *total;
    tine_array *histogram; /* lengths below 50, 100, 150 … */
    tine_lock lock;        /* of the two below, which belong together */
    uint64_t longest, steps;
} * shared; /* in the family heap: the same in every worker */

static uint64_t steps_of(uint64_t n)
{
    return n < 2 ? 0 : 1 + steps_of(n % 2 ? 3 * n + 1 : n / 2);
}

static int keep_longest(uint64_t number, uint64_t steps)
{
    int rc = tine_lock_acquire(&shared->lock, TINE_FOREVER);

    if (rc == -EOWNERDEAD) { /* a worker was killed here, perhaps between the two stores below */
        shared->steps = steps_of(shared->longest);
        rc = tine_lock_recover(&shared->lock);
    }
    if (rc == 0 && steps > shared->steps) {
        shared->longest = number;
        shared->steps = steps;
    }
    return rc < 0 ? rc : tine_lock_release(&shared->lock);
}

static int count(size_t begin, size_t end, void *context)
{
    uint64_t *bins = tine_array_data(shared->histogram);
    int rc = 0;

    (void)context;
    for (size_t i = begin; i < end && rc == 0; i++) {
        uint64_t steps = steps_of(i + 1);

        __atomic_fetch_add(&bins[steps / 50], 1, __ATOMIC_RELAXED);
        rc = tine_value_add_int(shared->total, (int64_t)steps, NULL);
        if (rc == 0)
            rc = keep_longest(i + 1, steps);
    }
    return rc;
}

int main(void)
{
    int64_t total;
    uint64_t bin;
    tine_pool *pool;

    shared = tine_calloc(1, sizeof *shared);
    if (!shared || tine_lock_init(&shared->lock, NULL) < 0 ||
        tine_value_open(&shared->total, 'q', NULL) < 0 ||
        tine_array_open(&shared->histogram, 'Q', BINS, NULL) < 0 || tine_pool_open(&pool, NULL) < 0)
        return 1;
    if (tine_pool_for(pool, NUMBERS, count, NULL) < 0 ||
        tine_value_load_int(shared->total, &total) < 0)
        return 1;
    printf("%" PRId64 " steps, %" PRIu64 " of them from %" PRIu64 "\n", total, shared->steps,
           shared->longest);
    for (size_t i = 0; tine_array_get_uint(shared->histogram, i, &bin) == 0; i++)
        printf("%4zu+ %" PRIu64 "\n", i * 50, bin);
    tine_pool_close(pool);
    return 0;
}
