/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a ring: a call spins, then sleeps, and attempts what it is for in between.
 *
 * Each look at what the other side writes takes that cache line away from it. A consumer looks at
 * the place of the next record, which its producer writes once, and at many messages a second it
 * lets some of them gather (shm/spin.h). A producer looks at the head, which
 * changes with each record that is taken: where it is the faster side, both would meet there at
 * every record, and the consumer's CAS would wait for the line each time. So it looks seldom, and
 * goes on when there is room for many records. Nobody waits for it meanwhile, since its lane is
 * nearly full; and after the spinning any room will do.
 *
 * Consumers sleep on the ring's `readable`, a producer on its lane's `writable`. A producer does
 * not fence between publishing and its look for sleepers; a consumer that is about to sleep does it
 * for both (shm/fence.h), or, where the kernel does not offer that, tells the producers to fence.
 *
 * The dead: a wake-up that went with one is made good by the others' looks, each by itself, so that
 * no two of them have to follow each other.
 */
#include "ipc/ring_impl.h"

#include <errno.h>

#include "shm/fence.h"

enum {
    POLL_TURNS = 8, /* of a producer's spinning, between two looks at the head */
    GATHERED_BYTES = 1024,
    GATHERED_PART = 16, /* of a lane */
};

void tine__ring_arm(struct tine__ring_shm *shared)
{
    if (!tine__fence_heavy())
        atomic_fetch_or_explicit(&shared->state, TINE__RING_FENCES, memory_order_relaxed);
}

void tine__ring_look(struct tine__ring *ring, int peer)
{
    if (ring->alive == NULL || tine__ring_ended(ring->shared, peer) ||
        !tine__look_due(&ring->shared->looked[peer]))
        return;
    if (!ring->alive(ring->context, peer))
        tine__ring_end(ring->shared, peer);
}

/* Not where a few large records gather. */
static void judge_patience(struct tine__ring *ring)
{
    uint64_t used = tine__ring_used(ring->shared);

    tine__patience_end(&ring->patience,
                       used >= GATHERED_BYTES && used <= ring->shared->capacity / GATHERED_PART);
}

static bool is_patient(struct tine__ring_call *call, struct tine__spinning *spinning)
{
    return call->peer == TINE__RING_WRITERS &&
           tine__patience_begin(&call->ring->patience, spinning);
}

static ssize_t spin(struct tine__ring_call *call)
{
    struct tine__spinning spinning;
    bool patient;

    call->roomy = true;
    tine__spin_begin(call->spin, &spinning, call->peer_cpu);
    patient = is_patient(call, &spinning);
    while (tine__spin_on(&spinning)) {
        ssize_t rc;

        if (call->peer == TINE__RING_READERS && spinning.turns % POLL_TURNS != 0)
            continue;
        if (patient && tine__spin_too_soon(&spinning))
            continue;
        rc = call->attempt(call);
        if (rc == -EAGAIN)
            continue;
        tine__spin_hit(call->spin, &spinning);
        if (patient)
            judge_patience(call->ring);
        return rc;
    }
    tine__spin_missed(call->spin, &spinning);
    call->roomy = false;
    return call->attempt(call);
}

/*
 * 0: awake again; -ETIMEDOUT. *others: may others be asleep who have been there before the wake-up?
 * A process that dies here leaves them one too many, which costs them no more than what follows.
 */
static int sleep_once(struct tine__ring_call *call, uint32_t turn, tine__deadline deadline,
                      bool *others)
{
    _Atomic uint32_t *asleep = &call->ring->shared->asleep;
    int rc;

    if (call->peer == TINE__RING_READERS) {
        *others = false; /* a lane has one producer */
        return tine__waiters_sleep(call->waiters, turn, deadline);
    }
    atomic_fetch_add_explicit(asleep, 1, memory_order_seq_cst);
    rc = tine__waiters_sleep(call->waiters, turn, deadline);
    *others = atomic_fetch_sub_explicit(asleep, 1, memory_order_seq_cst) > 1;
    return rc;
}

/*
 * Whoever was woken stands for all that still sleep: it announces them again before it attempts
 * anything, and if there is more than it takes, wakes the next. Where nobody else sleeps it
 * attempts at once.
 */
static ssize_t sleep_for(struct tine__ring_call *call, tine__deadline deadline)
{
    bool others = false;

    for (;;) {
        uint32_t turn = tine__waiters_join(call->waiters);
        ssize_t rc;

        if (call->peer == TINE__RING_WRITERS)
            tine__ring_arm(call->ring->shared);
        rc = call->attempt(call);
        if (rc != -EAGAIN) {
            if (others && tine__ring_may_read(call->ring))
                tine__waiters_wake(call->waiters, 1);
            return rc;
        }
        if (sleep_once(call, turn, deadline, &others) < 0)
            return -ETIMEDOUT;
        tine__ring_look(call->ring, call->peer);
        rc = others ? -EAGAIN : call->attempt(call);
        if (rc != -EAGAIN)
            return rc;
    }
}

ssize_t tine__ring_wait(struct tine__ring_call *call, tine__deadline deadline)
{
    ssize_t rc;

    if (deadline == TINE__RING_AT_ONCE) {
        tine__ring_look(call->ring, call->peer);
        return call->attempt(call);
    }
    rc = spin(call);
    return rc != -EAGAIN ? rc : sleep_for(call, deadline);
}
