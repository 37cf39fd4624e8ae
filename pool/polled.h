/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_POLLED_H
#define TINE_POOL_POLLED_H

#include <poll.h>
#include <signal.h>
#include <stddef.h>

#include "lib/clock.h"

/* What the nursery polls: the first entries, and then whatever is open of each worker. */
#define TINE__POLLED_FIRST 2

struct tine__polled {
    struct pollfd *entries; /* there is always room */
    size_t count;
};

void tine__polled_add(struct tine__polled *polled, int fd, short events);
/*
 * Waits until there is something to tell, a signal has come, or the deadline has. Where the kernel
 * refuses to poll so many, all but the first entries are said to have something to tell, each 50
 * ms: whoever believes that may not wait for what they tell.
 */
void tine__polled_wait(struct tine__polled *polled, tine__deadline due, const sigset_t *mask);

#endif
