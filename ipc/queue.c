/* SPDX-License-Identifier: MIT */
/*
 * tine_queue: making, entering, asking, shutting down, closing. See ipc/queue_put.c and
 * ipc/queue_get.c for what it is made for.
 *
 * Items lie in the slots (ipc/queue_slots.h); the fifo or the ranking says which comes next;
 * ipc/queue_lease.c and ipc/queue_sweep.c know who has what. Whoever changes something that others
 * may wait for (an item, room, shutdown) does so with a sequentially consistent step and then
 * wakes; see shm/waiters.h.
 *
 * There is no transport by socket: the words of the slots must be the truth for leases and for what
 * is killed in between, so a token in a socket would say nothing that its cell does not say, and
 * cost two system calls.
 *
 * Fork: the handle is inherited as it is; what belongs to the process (its number, its leases)
 * begins anew in the child at its first call.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/fork.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "shm/heap.h"

#define BYTES_MAX   ((uint64_t)1 << 40)
#define TAKING_OVER ((uint64_t)1 << 63)

_Static_assert(sizeof(tine_queue_options) == 112, "released size");

/* ---- entering -------------------------------------------------------------------------------- */

/* In a forked child: what was the parent's is not the child's. */
static void take_over(tine_queue *queue, uint64_t generation)
{
    uint64_t seen = atomic_load_explicit(&queue->generation, memory_order_acquire);

    while (seen != generation) {
        uint64_t marked = generation | TAKING_OVER;

        if (seen == marked) {
            tine__cpu_relax();
            seen = atomic_load_explicit(&queue->generation, memory_order_acquire);
        } else if (atomic_compare_exchange_weak_explicit(&queue->generation, &seen, marked,
                                                         memory_order_acquire,
                                                         memory_order_acquire)) {
            tine__leases_reset(&queue->leases);
            atomic_store_explicit(&queue->party, 0, memory_order_relaxed);
            /* pairs with the acquires above and in tine__queue_enter */
            atomic_store_explicit(&queue->generation, generation, memory_order_release);
            return;
        }
    }
}

static int enter_first(tine_queue *queue)
{
    uint64_t generation = tine__fork_generation();
    int party;

    if (generation == 0)
        return -ENOMEM;
    take_over(queue, generation & ~TAKING_OVER);
    party = (int)atomic_load_explicit(&queue->party, memory_order_relaxed);
    if (party != 0)
        return party;
    party = tine__parties_join(&queue->shm->parties);
    if (party == -ENOLCK && tine__queue_look(queue, true)) /* all may have died together */
        party = tine__parties_join(&queue->shm->parties);
    if (party < 0)
        return party;
    atomic_store_explicit(&queue->party, (uint32_t)party, memory_order_relaxed);
    if (party > TINE__PARTIES_CHUNK)
        tine__queue_look(queue, false); /* most of them may be dead, and nobody has slept here */
    return party;
}

int tine__queue_enter(tine_queue *queue)
{
    uint64_t generation = tine__fork_generation_fast() & ~TAKING_OVER;
    uint32_t party;

    if (atomic_load_explicit(&queue->generation, memory_order_acquire) == generation) {
        party = atomic_load_explicit(&queue->party, memory_order_relaxed);
        if (party != 0)
            return (int)party;
    }
    return enter_first(queue);
}

/* ---- looking --------------------------------------------------------------------------------- */

uint64_t tine__queue_count(struct tine__queue_shm *shm)
{
    if (shm->order == TINE_FIFO)
        return tine__fifo_count(&shm->fifo, &shm->slots);
    return atomic_load_explicit(&shm->ranking.count, memory_order_seq_cst);
}

bool tine__queue_is_shut(const struct tine__queue_shm *shm)
{
    if (atomic_load_explicit(&shm->immediate, memory_order_seq_cst))
        return true;
    return shm->order == TINE_FIFO
               ? tine__fifo_is_shut(&shm->fifo)
               : atomic_load_explicit(&shm->ranking.shut, memory_order_seq_cst) != 0;
}

int64_t tine_queue_qsize(tine_queue *queue)
{
    uint64_t count;

    if (queue == NULL)
        return -EINVAL;
    count = tine__queue_count(queue->shm);
    if (tine__queue_has_returned(queue->shm))
        count += tine__lease_count_returned(queue);
    return (int64_t)count;
}

int tine_queue_empty(tine_queue *queue)
{
    int64_t count = tine_queue_qsize(queue);

    return count < 0 ? (int)count : count == 0;
}

int tine_queue_full(tine_queue *queue)
{
    int64_t count = tine_queue_qsize(queue);

    if (count < 0)
        return (int)count;
    return queue->shm->maxsize != 0 && (uint64_t)count >= queue->shm->maxsize;
}

/* ---- shutting down --------------------------------------------------------------------------- */

int tine_queue_shutdown(tine_queue *queue, int immediate)
{
    int party = queue == NULL || (immediate & ~1) != 0 ? -EINVAL : tine__queue_enter(queue);
    struct tine__queue_shm *shm;

    if (party < 0)
        return party;
    shm = queue->shm;
    if (shm->order == TINE_FIFO)
        tine__fifo_shut(&shm->fifo);
    else
        tine__ranking_shut(&shm->ranking);
    if (immediate) {
        atomic_store_explicit(&shm->immediate, 1, memory_order_seq_cst);
        tine__queue_drain(queue, (uint32_t)party, TINE__QUEUE_PAST);
    }
    tine__waiters_wake_all(&shm->readable);
    tine__waiters_wake_all(&shm->writable);
    tine__waiters_wake_all(&shm->finished);
    return 0;
}

/* ---- open, close ----------------------------------------------------------------------------- */

/* The last holder is gone. May be called again after the death of who did so. */
static void empty(void *object)
{
    struct tine__queue_shm *shm = object;

    tine__slots_empty(&shm->slots);
    tine__fifo_empty(&shm->fifo);
    tine__ranking_empty(&shm->ranking);
    tine__parties_empty(&shm->parties);
}

static const struct tine__kept_kind kind = {.number = TINE__KEPT_QUEUE, .empty = empty};

static int check_options(const tine_queue_options *options)
{
    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (options->flags != 0 || options->reserved32 != 0 || (options->joinable & ~1) != 0 ||
        (options->lose & ~1) != 0 || options->order < 0 || options->order > TINE_PRIORITY ||
        options->lease_ns < 0 || options->deliveries_max > 255 || options->maxsize > INT64_MAX ||
        options->maxbytes > BYTES_MAX)
        return -EINVAL;
    if (!options->joinable &&
        (options->lose || options->lease_ns != 0 || options->deliveries_max != 0))
        return -EINVAL;
    return 0;
}

/* 0, -ENOMEM; what there is of the parts is for empty(). */
static int make_parts(struct tine__queue_shm *shm, const tine_queue_options *options)
{
    int rc = tine__slots_init(&shm->slots);

    shm->maxsize = options->maxsize;
    shm->maxbytes = options->maxbytes;
    shm->lease_ns = options->lease_ns;
    shm->order = options->order == 0 ? TINE_FIFO : (uint32_t)options->order;
    shm->deliveries_max = options->deliveries_max;
    shm->joinable = (uint32_t)options->joinable;
    shm->lose = (uint32_t)options->lose;
    if (rc < 0)
        return rc;
    if (shm->order == TINE_FIFO)
        return tine__fifo_init(&shm->fifo);
    return tine__ranking_init(&shm->ranking, &shm->slots, shm->order == TINE_LIFO);
}

/* A block that is kept from here on; on failure nothing is left. */
static int make_shared(struct tine__keepalive *hold, const tine_queue_options *options)
{
    struct tine__queue_shm *shm = tine_aligned_alloc(128, sizeof *shm);
    int rc;

    if (shm == NULL)
        return -ENOMEM;
    memset(shm, 0, sizeof *shm);
    rc = tine__keepalive_make(hold, shm, &kind);
    if (rc < 0) {
        tine_free(shm);
        return rc;
    }
    rc = make_parts(shm, options);
    if (rc < 0)
        tine__keepalive_close(hold);
    return rc;
}

int tine_queue_open(tine_queue **queue, const tine_queue_options *options)
{
    static const tine_queue_options defaults;
    tine_queue *made;
    int rc = queue == NULL ? -EINVAL : check_options(options != NULL ? options : &defaults);

    if (rc == 0)
        rc = tine__heap_open();
    if (rc < 0)
        return rc;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    rc = make_shared(&made->keepalive, options != NULL ? options : &defaults);
    if (rc < 0) {
        free(made);
        return rc;
    }
    made->shm = made->keepalive.object;
    *queue = made;
    return 0;
}

void tine_queue_close(tine_queue *queue)
{
    tine_buffer *buffer;

    if (queue == NULL)
        return;
    tine__leases_return(queue);
    tine__keepalive_close(&queue->keepalive);
    buffer = atomic_load_explicit(&queue->scratch, memory_order_acquire);
    tine_buffer_free(buffer);
    free(buffer);
    tine__leases_reset(&queue->leases);
    free(queue);
}

/* ---- as a value ------------------------------------------------------------------------------ */

/* words: the queue, its entry in the register */
static int give_queue(const void *handle, struct tine__handle_parts *parts)
{
    const tine_queue *queue = handle;

    tine__keepalive_give(&queue->keepalive, parts);
    return 0;
}

static int take_queue(const struct tine__handle_parts *parts, void **handle)
{
    tine_queue *made;
    int rc;

    if (parts->fd_count != 1 || parts->words[2] != 0 || parts->words[3] != 0)
        return TINE_EFORMAT;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    rc = tine__keepalive_take(&made->keepalive, parts, 0, &kind);
    if (rc < 0) {
        free(made);
        return rc;
    }
    made->shm = made->keepalive.object;
    *handle = made;
    return 0;
}

static void close_queue(void *handle)
{
    tine_queue_close(handle);
}

const struct tine__handle_kind tine__queue_kind = {
    .letter = 'q', .give = give_queue, .take = take_queue, .close = close_queue};
