/* SPDX-License-Identifier: MIT */
/*
 * The nursery's one wait, which may not fail: while it is blind, no death is seen, nor the
 * program's end.
 *
 * More entries than RLIMIT_NOFILE are refused. So only descriptors that are open are entries, and
 * there are too many only if somebody lowers the limit from outside; the system may have no memory
 * for the wait as well. State is the caller's; no locks.
 */
#include "pool/polled.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include <tine/time.h>

#define LOOK_NS TINE_MS(50)

void tine__polled_add(struct tine__polled *polled, int fd, short events)
{
    polled->entries[polled->count++] = (struct pollfd){.fd = fd, .events = events};
}

/* False: it cannot be waited for so many. No entry has something to tell then. */
static bool wait_for(struct tine__polled *polled, size_t count, tine__deadline due,
                     const sigset_t *mask)
{
    struct timespec left = tine__timespec(tine__deadline_left(due));
    int rc = ppoll(polled->entries, count, due == TINE__NEVER ? NULL : &left, mask);

    for (size_t i = 0; rc < 0 && i < polled->count; i++)
        polled->entries[i].revents = 0;
    return rc >= 0 || errno == EINTR;
}

void tine__polled_wait(struct tine__polled *polled, tine__deadline due, const sigset_t *mask)
{
    tine__deadline look = tine__deadline_after(LOOK_NS);

    if (wait_for(polled, polled->count, due, mask))
        return;
    look = look < due ? look : due;
    if (!wait_for(polled, TINE__POLLED_FIRST, look, mask))
        (void)wait_for(polled, 0, look, mask); /* not even those: at least it does not spin */
    for (size_t i = TINE__POLLED_FIRST; i < polled->count; i++)
        polled->entries[i].revents = POLLIN;
}
