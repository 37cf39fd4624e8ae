/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_CLOCK_H
#define TINE_LIB_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct timespec;

/* A point on CLOCK_MONOTONIC in ns, or TINE__NEVER. Made once, at the entry of a blocking call. */
typedef int64_t tine__deadline;

#define TINE__NEVER INT64_MAX

int64_t tine__now_ns(void);
int64_t tine__now_coarse_ns(void); /* at the last tick, 1 to 10 ms ago; five times cheaper */
tine__deadline tine__deadline_in(int64_t ns); /* not negative */

static inline tine__deadline tine__deadline_after(int64_t timeout_ns)
{
    return timeout_ns < 0 ? TINE__NEVER : tine__deadline_in(timeout_ns);
}

/* ns until the deadline: 0 when it has passed, INT64_MAX for TINE__NEVER */
int64_t tine__deadline_left(tine__deadline deadline);
/* The same for epoll_wait(): milliseconds, rounded up, -1 for TINE__NEVER */
int tine__deadline_left_ms(tine__deadline deadline);
bool tine__deadline_passed(tine__deadline deadline);
struct timespec tine__timespec(int64_t ns);

#endif
