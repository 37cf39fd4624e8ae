/* SPDX-License-Identifier: MIT */
/*
 * Events: one word that counts the changes of the flag.
 *
 * Who waits remembers the (even) count that it found; any other count later means that the flag was
 * set in between, so a clear cannot hide a set. 64 bits do not come round. All in shared memory, no
 * state of the process: a fork changes nothing.
 *
 * What a kill leaves: set is one change, then a wake-up; without the wake-up, sleepers see the
 * change at their next look (shm/waiters.c). Everything else is one atomic step.
 */
#include "shm/event.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <tine/event.h>

#include "lib/reserved.h"
#include "lib/waitable.h"
#include "shm/pollable.h"
#include "shm/watch.h"

_Static_assert(sizeof(struct tine__event_shm) <= sizeof(tine_event), "opaque is large enough");
_Static_assert(_Alignof(struct tine__event_shm) <= _Alignof(tine_event), "opaque is aligned");

static struct tine__event_shm *event_of(const tine_event *event)
{
    struct tine__event_shm *shared = (struct tine__event_shm *)(uintptr_t)event;

    /* acquire: pairs with the release in init */
    if (event == NULL ||
        atomic_load_explicit(&shared->kind, memory_order_acquire) != TINE__EVENT_KIND)
        return NULL;
    return shared;
}

static bool is_set(uint64_t changes)
{
    return changes % 2 != 0;
}

int tine_event_init(tine_event *event, const tine_event_options *options)
{
    struct tine__event_shm *shared = (struct tine__event_shm *)event;

    if (event == NULL)
        return -EINVAL;
    if (options != NULL && TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    *event = (tine_event){.opaque = {0}};
    /* pairs with the acquire in event_of */
    atomic_store_explicit(&shared->kind, TINE__EVENT_KIND, memory_order_release);
    return 0;
}

void tine_event_fini(tine_event *event)
{
    struct tine__event_shm *shared = event_of(event);

    if (shared != NULL)
        atomic_store_explicit(&shared->kind, 0, memory_order_release);
}

int tine_event_set(tine_event *event)
{
    struct tine__event_shm *shared = event_of(event);
    uint64_t changes;

    if (shared == NULL)
        return -EINVAL;
    /* Writes, even if the flag is set: the next clear then reads from here, so that who clears and
       looks for work finds what this caller left before it set. */
    changes = atomic_fetch_add_explicit(&shared->changes, 0, memory_order_seq_cst);
    while (!is_set(changes) &&
           !atomic_compare_exchange_weak_explicit(&shared->changes, &changes, changes + 1,
                                                  memory_order_seq_cst, memory_order_relaxed))
        ;
    /* Also when it was set before: by one, perhaps, who was killed before he woke anybody. */
    tine__waiters_wake_all(&shared->waiters);
    return 0;
}

int tine_event_clear(tine_event *event)
{
    struct tine__event_shm *shared = event_of(event);
    uint64_t changes;

    if (shared == NULL)
        return -EINVAL;
    changes = atomic_load_explicit(&shared->changes, memory_order_relaxed);
    /* acquire: pairs with set; release: who waited and sees only the clear sees what the setter
       wrote */
    while (is_set(changes) &&
           !atomic_compare_exchange_weak_explicit(&shared->changes, &changes, changes + 1,
                                                  memory_order_acq_rel, memory_order_relaxed))
        ;
    return 0;
}

/* A descriptor that this process has for the event is made quiet when the flag is not set. */
static bool look(struct tine__event_shm *shared)
{
    if (is_set(atomic_load_explicit(&shared->changes, memory_order_acquire)))
        return true;
    if (!tine__pollable_missed(&shared->waiters) ||
        !is_set(atomic_load_explicit(&shared->changes, memory_order_seq_cst)))
        return false;
    tine__watch_ring(&shared->waiters);
    return true;
}

int tine_event_is_set(const tine_event *event)
{
    struct tine__event_shm *shared = event_of(event);

    return shared == NULL ? -EINVAL : look(shared);
}

static int await_change(struct tine__event_shm *shared, uint64_t seen, tine__deadline deadline)
{
    for (;;) {
        uint32_t turn = tine__waiters_join(&shared->waiters);
        bool changed = atomic_load_explicit(&shared->changes, memory_order_seq_cst) != seen;

        if (changed)
            return 0;
        if (tine__waiters_sleep(&shared->waiters, turn, deadline) < 0)
            return -ETIMEDOUT;
    }
}

int tine_event_wait(tine_event *event, int64_t timeout_ns)
{
    struct tine__event_shm *shared = event_of(event);
    uint64_t changes;

    if (shared == NULL)
        return -EINVAL;
    changes = atomic_load_explicit(&shared->changes, memory_order_acquire);
    if (is_set(changes))
        return 0;
    if (timeout_ns == 0)
        return look(shared) ? 0 : -EAGAIN;
    return await_change(shared, changes, tine__deadline_after(timeout_ns));
}

/* ---- waiting for many things ----------------------------------------------------------------- */

static int ready(const tine_waitable *waitable, bool look_unused)
{
    struct tine__event_shm *shared = event_of(waitable->object);

    (void)look_unused;
    if (shared == NULL || waitable->events != TINE_READABLE)
        return -EINVAL;
    return is_set(atomic_load_explicit(&shared->changes, memory_order_seq_cst)) ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    points_out[0] = &((struct tine__event_shm *)waitable->object)->waiters;
    return 1;
}

static void arm(const tine_waitable *waitable)
{
    tine__waiters_watch(&((struct tine__event_shm *)waitable->object)->waiters);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_event_waitable(tine_event *event)
{
    return (tine_waitable){.kind = &waitable_kind, .object = event, .events = TINE_READABLE};
}
