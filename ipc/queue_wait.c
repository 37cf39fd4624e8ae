/* SPDX-License-Identifier: MIT */
/*
 * A queue among other things that one waits for: readable when a get would not wait, writable when
 * a put would not, both after a shutdown. Each is a point of its own: what those sleep on who get,
 * or put.
 *
 * No state but the queue's own. The count may be one too many for an instant, never too few:
 * whoever looks moves the tail of a killed producer on.
 */
#include "ipc/queue_impl.h"

#include "ipc/queue_charge.h"
#include "lib/waitable.h"

static bool has_room(const struct tine__queue_shm *shm, uint64_t count)
{
    return (shm->maxsize == 0 || count < shm->maxsize) &&
           (shm->maxbytes == 0 || tine__charged(shm) < shm->maxbytes);
}

static void look_for_the_dead(tine_queue *queue)
{
    if (tine__queue_look(queue, false) && queue->shm->maxbytes != 0)
        tine__charge_recount(queue);
}

static int ready(const tine_waitable *waitable, bool look)
{
    tine_queue *queue = waitable->object;
    struct tine__queue_shm *shm = queue->shm;
    int party = tine__queue_enter(queue);
    uint32_t is_so = 0;
    uint64_t count;

    if (party < 0)
        return party;
    if (look)
        look_for_the_dead(queue);
    if (tine__queue_is_shut(shm))
        return (int)waitable->events;
    if (shm->order == TINE_FIFO)
        (void)tine__fifo_tail(&shm->fifo);
    count = (uint64_t)tine_queue_qsize(queue);
    is_so |= count > 0 ? TINE_READABLE : 0;
    is_so |= has_room(shm, count) ? TINE_WRITABLE : 0;
    return (int)(is_so & waitable->events);
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    struct tine__queue_shm *shm = ((const tine_queue *)waitable->object)->shm;
    int count = 0;

    if (waitable->events & TINE_READABLE)
        points_out[count++] = &shm->readable;
    if (waitable->events & TINE_WRITABLE)
        points_out[count++] = &shm->writable;
    return count;
}

static void arm(const tine_waitable *waitable)
{
    struct tine__queue_shm *shm = ((const tine_queue *)waitable->object)->shm;

    if (waitable->events & TINE_READABLE)
        tine__waiters_watch(&shm->readable);
    if (waitable->events & TINE_WRITABLE)
        tine__waiters_watch(&shm->writable);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_queue_waitable(tine_queue *queue, uint32_t events)
{
    return (tine_waitable){.kind = &waitable_kind, .object = queue, .events = events};
}
