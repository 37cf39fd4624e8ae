/* SPDX-License-Identifier: MIT */
/*
 * Once: one word says who runs the function, or that it is done.
 *
 *     READY --CAS--> owner | RUNNING --store--> DONE          the function succeeded
 *                                    --store--> READY         it failed
 *     dead owner | RUNNING --CAS--> owner | RUNNING           taken over, the function starts again
 *
 * The word is the whole truth: a death before or after any of these steps leaves one of the three
 * states. Only the runner leaves RUNNING, and only a word whose process is dead is taken over; the
 * word of that process cannot come back, so the CAS meets no ABA. A runner that dies between its
 * store and its wake-up delays the sleepers to their next look.
 *
 * `thread` tells a recursion from a thread beside the runner. It is stored after the word, and is
 * 0 before the word says READY again, so no thread ever finds its own number there but the runner:
 * numbers of dead runners are nobody else's.
 *
 * A forked child has another owner word: to it, its parent's run is one to wait for.
 */
#include "shm/once.h"

#include <errno.h>

#include <tine/error.h>

#include "lib/clock.h"
#include "shm/held.h"
#include "shm/owner.h"

static struct tine__once_shm *shared(tine_once *once)
{
    return (struct tine__once_shm *)once;
}

/* 1 this thread is the runner now, 0 done, -EAGAIN another one runs, or why it cannot be. */
static int try_enter(struct tine__once_shm *shm, const struct tine__self *self)
{
    /* acquire: pairs with the store in leave, and with that of a runner before us */
    uint64_t state = atomic_load_explicit(&shm->state, memory_order_acquire);
    uint64_t mine = self->process | TINE__ONCE_RUNNING;

    if (state == TINE__ONCE_DONE)
        return 0;
    if (state != TINE__ONCE_READY) {
        if ((state & TINE__OWNER_MARKS) != TINE__ONCE_RUNNING)
            return -EINVAL;
        if (state == mine)
            return atomic_load_explicit(&shm->thread, memory_order_relaxed) == self->thread
                       ? -EDEADLK
                       : -EAGAIN;
        if (tine__owner_word_lives(state))
            return -EAGAIN;
    }
    if (!atomic_compare_exchange_strong_explicit(&shm->state, &state, mine, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return -EAGAIN;
    atomic_store_explicit(&shm->thread, self->thread, memory_order_relaxed);
    return 1;
}

static int enter(struct tine__once_shm *shm, const struct tine__self *self, int64_t timeout_ns)
{
    int rc = try_enter(shm, self);
    tine__deadline deadline;

    if (rc != -EAGAIN || timeout_ns == 0)
        return rc;
    deadline = tine__deadline_after(timeout_ns);
    for (;;) {
        uint32_t turn = tine__waiters_join(&shm->waiters);
        int slept;

        rc = try_enter(shm, self);
        if (rc != -EAGAIN)
            return rc;
        slept = tine__waiters_sleep(&shm->waiters, turn, deadline);
        if (slept < 0)
            return slept;
    }
}

static void leave(struct tine__once_shm *shm, bool done)
{
    atomic_store_explicit(&shm->thread, 0, memory_order_relaxed);
    /* seq_cst for the sleepers; as a release it pairs with the acquire in try_enter */
    atomic_store_explicit(&shm->state, done ? TINE__ONCE_DONE : TINE__ONCE_READY,
                          memory_order_seq_cst);
    tine__waiters_wake_all(&shm->waiters);
}

static int run(struct tine__once_shm *shm, tine_once_function *function, void *argument,
               int64_t timeout_ns)
{
    const struct tine__self *self = tine__self();
    int rc;

    if (self == NULL)
        return -ENOMEM;
    rc = enter(shm, self, timeout_ns);
    if (rc <= 0)
        return rc;
    rc = function(argument);
    if (!tine__owner_word_same(atomic_load_explicit(&shm->state, memory_order_relaxed),
                               tine__owner_word()))
        return TINE_EFORKED;
    leave(shm, rc >= 0);
    return rc < 0 ? rc : 0;
}

int tine_once_run(tine_once *once, tine_once_function *function, void *argument, int64_t timeout_ns)
{
    if (once == NULL || function == NULL)
        return -EINVAL;
    /* acquire: pairs with the store in leave */
    if (atomic_load_explicit(&shared(once)->state, memory_order_acquire) == TINE__ONCE_DONE)
        return 0;
    return run(shared(once), function, argument, timeout_ns);
}
