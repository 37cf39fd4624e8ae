/* SPDX-License-Identifier: MIT */
/*
 * Time: CLOCK_MONOTONIC only. A timeout becomes one absolute deadline at the entry of a public call
 * and only that travels down, so retries and nested waits cannot stretch it.
 */
#include "lib/clock.h"

#include <time.h>

#define NS_PER_SEC 1000000000
#define NS_PER_MS  1000000

int64_t tine__now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

int64_t tine__now_coarse_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

tine__deadline tine__deadline_in(int64_t ns)
{
    int64_t deadline;

    if (__builtin_add_overflow(tine__now_ns(), ns, &deadline))
        return TINE__NEVER;
    return deadline;
}

int64_t tine__deadline_left(tine__deadline deadline)
{
    int64_t now;

    if (deadline == TINE__NEVER)
        return INT64_MAX;
    now = tine__now_ns();
    return deadline > now ? deadline - now : 0;
}

int tine__deadline_left_ms(tine__deadline deadline)
{
    int64_t left = tine__deadline_left(deadline);

    if (deadline == TINE__NEVER)
        return -1;
    left = left / NS_PER_MS + (left % NS_PER_MS != 0);
    return left < INT32_MAX ? (int)left : INT32_MAX;
}

bool tine__deadline_passed(tine__deadline deadline)
{
    return deadline != TINE__NEVER && tine__now_ns() >= deadline;
}

struct timespec tine__timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
}
