/* SPDX-License-Identifier: MIT */
/*
 * Event: a flag that threads and processes wait for.
 *
 * A tine_event lies in memory that all of them share: the family heap, a named segment mapped
 * anywhere, or a shared mapping of the caller's own.
 *
 *     tine_event *ready = tine_alloc(sizeof *ready);
 *     rc = tine_event_init(ready, NULL);
 *
 *     in one process:   prepare(); rc = tine_event_set(ready);
 *     in the others:    rc = tine_event_wait(ready, TINE_SEC(5)); if (rc == 0) work();
 *
 *     init → clear ──set──→ set ──clear──→ clear … → fini
 *
 * A set releases everyone who waits, even when a clear follows at once. It makes no system call
 * when nobody sleeps, and may be called in a signal handler.
 *
 * Nobody owns an event, so a death leaves nothing to repair: a killed waiter takes no wake-up
 * along, and where a setter is killed between setting and waking, the sleepers see the flag within
 * 50 ms.
 */
#ifndef TINE_EVENT_H
#define TINE_EVENT_H

#include <tine/base.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_event {
    uint64_t opaque[8];
} tine_event;

typedef struct tine_event_options {
    uint64_t reserved[8];
} tine_event_options;

/**
 * tine_event_init - make an event, not set
 *
 * In:      options  NULL, or zeroed
 * Out:     event    memory shared by all who are to use it, aligned to 8, of any content
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (event is NULL), -E2BIG (reserved not zero)
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal yes
 * Death:   a death within leaves memory that is no event: -EINVAL for all calls
 * Source:  shm/event.c; follows Python 3.13 multiprocessing.Event
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_event_init(tine_event *event, const tine_event_options *options);

/**
 * tine_event_fini - make an event plain memory again; nobody may be waiting
 *
 * In:      event  NULL and what is no event are ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; later calls on the memory are -EINVAL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/event.c
 * Since:   0.1
 */
TINE_API void tine_event_fini(tine_event *event);

/**
 * tine_event_set - set the flag and release all who wait
 *
 * In:      event  made by tine_event_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, whether it was set before or not; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no event)
 * Blocks:  no; a system call only when somebody may sleep
 * Safety:  thread any | process shared | fork child may call | signal yes; lock-free
 * Death:   killed within: the flag is set or not, and if set, those who wait see it within 50 ms
 * Source:  shm/event.c; follows Python 3.13 Event.set;
 *          differs: never waits for a waiter, so neither a dead waiter nor a signal handler blocks
 *          it
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_event_set(tine_event *event);

/**
 * tine_event_clear - take the flag back
 *
 * In:      event  made by tine_event_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, whether it was set or not; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no event)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; lock-free
 * Death:   none
 * Source:  shm/event.c; follows Python 3.13 Event.clear;
 *          differs: who waited when the flag was set returns, however soon it is cleared
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_event_clear(tine_event *event);

/**
 * tine_event_is_set - look at the flag
 *
 * In:      event  made by tine_event_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 set, 0 not set, or a negative code
 * Handle:  none
 * Give up: -EINVAL (no event)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; wait-free
 * Death:   none
 * Source:  shm/event.c; follows Python 3.13 Event.is_set
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_event_is_set(const tine_event *event);

/**
 * tine_event_wait - wait until the flag is set
 *
 * In:      event       made by tine_event_init()
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: 0: the flag is set, or was since the call began; or a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (not set, timeout 0)
 * Give up: -EINVAL (no event)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a killed waiter leaves nothing; nobody is recorded as a future setter, so the death of
 *          the only process that would have set the flag is for the timeout to find
 * Source:  shm/event.c; follows Python 3.13 Event.wait;
 *          differs: a set followed by a clear is not missed
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_event_wait(tine_event *event, int64_t timeout_ns);

/**
 * tine_event_waitable - an entry for tine_wait(): ready while the flag is set
 *
 * In:      event  made by tine_event_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good as long as the event
 * Handle:  none
 * Give up: none: tine_wait() refuses what is no event
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/event.c;
 *          differs: a set followed by a clear may be missed here, unlike in tine_event_wait()
 * Since:   0.1
 */
TINE_API tine_waitable tine_event_waitable(tine_event *event);

TINE_END_DECLS

#endif
