/* SPDX-License-Identifier: MIT */
/*
 * What the files of the queue share: ipc/queue.c (making, closing), put.c, get.c, item.c (an item
 * in hand), lease.c (what this process has), sweep.c (what comes back from others), join.c,
 * charge.c (bytes).
 */
#ifndef TINE_IPC_QUEUE_IMPL_H
#define TINE_IPC_QUEUE_IMPL_H

#include <tine/codec.h>
#include <tine/queue.h>

#include "ipc/queue_fifo.h"
#include "ipc/queue_parties.h"
#include "ipc/queue_ranking.h"
#include "ipc/queue_slots.h"
#include "lib/clock.h"
#include "lib/futex_lock.h"
#include "lib/handle.h"
#include "shm/keepalive.h"
#include "shm/spin.h"
#include "shm/waiters.h"

/*
 * A queue in the family heap. It ends with its last keepalive.
 *
 * field          written by                             read by   order
 * options        the maker                              any       before the handle is given out
 * immediate      shutdown: 1                            any       seq_cst
 * returned       + 1: after an item was RETURNED        takers    seq_cst
 * returned_seen  CAS: a taker that found none RETURNED  takers    seq_cst; to what `returned` was
 *                                                                 before it looked
 * charge         CAS                                    any       see ipc/queue_charge.c
 * looked         tine__look_due()                       lookers   relaxed
 * taken_at       takers, while a producer sleeps        takers    relaxed; at which tick, a hint
 * parts          see their headers
 */
struct tine__queue_shm {
    uint64_t maxsize;
    uint64_t maxbytes;
    int64_t lease_ns;
    uint32_t order;
    uint32_t deliveries_max;
    uint32_t joinable;
    uint32_t lose;
    _Atomic uint64_t returned;
    _Atomic uint64_t returned_seen;
    _Atomic uint32_t immediate;
    uint32_t reserved;
    struct tine__slots_shm slots;
    struct tine__fifo_shm fifo;
    uint64_t pad1[14];
    struct tine__waiters_shm readable; /* something to take, or shut down */
    struct tine__waiters_shm writable; /* room, or shut down */
    struct tine__waiters_shm finished; /* a watched slot is done */
    uint64_t pad2[13];
    _Atomic uint64_t charge;
    _Atomic uint64_t looked;
    _Atomic uint64_t taken_at;
    uint64_t pad3[13];
    struct tine__ranking_shm ranking; /* instead of fifo, if order is not TINE_FIFO */
    struct tine__parties_shm parties;
};

/* One item that this process has got and not said done for. */
struct tine__lease {
    uint64_t word; /* of the slot; another word there: the lease has ended */
    uint32_t index;
    int32_t tid;           /* who got it */
    tine_queue_item *item; /* in hand, or NULL */
};

/*
 * Under `lock`. In the order in which they were got; entries with index NONE are void. Behind them
 * there is room for those that are reserved.
 */
struct tine__leases {
    struct tine__futex_lock lock;
    struct tine__lease *all;
    size_t first, end, reserved, room;
};

#define TINE__NO_SLOT UINT32_MAX

/* Private. A forked child's copy begins anew, with no leases: see tine__queue_enter(). */
struct tine_queue {
    struct tine__queue_shm *shm;
    _Atomic uint64_t generation; /* of the process whose state this is; 1: being taken over */
    _Atomic uint32_t party;      /* 0: not yet */
    struct tine__keepalive keepalive;
    _Atomic uint32_t look_at; /* the slot at which the next look begins */
    struct tine__slots_hand hand;
    struct tine__fifo_view view;
    struct tine__spin spin_put, spin_get;
    struct tine__patience patience; /* of gets */
    _Atomic uint64_t charge_seen;   /* for tine__charge_recount() */
    _Atomic uint32_t gets;          /* about how many; relaxed */
    struct tine__leases leases;
    tine_buffer *_Atomic scratch; /* a buffer that nobody is packing into just now */
};

struct tine_queue_item {
    tine_queue *queue;
    uint64_t generation; /* of the process that got it */
    uint64_t word;       /* of the slot */
    uint32_t index;
    uint32_t deliveries;
    const void *data;
    size_t size;
    int64_t priority;
};

#define TINE__QUEUE_PAST TINE__RANKING_AT_ONCE /* the deadline of who does not wait */

static inline struct tine__slot_shm *tine__queue_slot(const tine_queue *queue, uint32_t index)
{
    return tine__slot_at(&queue->shm->slots, index);
}

static inline uint32_t tine__queue_slots(const tine_queue *queue)
{
    return tine__slots_total(&queue->shm->slots);
}

/* How long a producer may sleep beside room that nobody has woken it for. */
#define TINE__QUEUE_NAP_NS 1000000

/* Places that must be free before a producer is woken for them. */
static inline uint64_t tine__queue_room_worth_waking(const struct tine__queue_shm *shm)
{
    return shm->maxsize < 16 ? 1 : shm->maxsize / 2;
}

/* After an item with that word was finished. */
static inline void tine__queue_finished(tine_queue *queue, uint64_t word)
{
    if (word & TINE__WORD_WATCHED)
        tine__waiters_wake_all(&queue->shm->finished);
}

static inline bool tine__queue_has_returned(const struct tine__queue_shm *shm)
{
    return atomic_load_explicit(&shm->returned, memory_order_seq_cst) !=
           atomic_load_explicit(&shm->returned_seen, memory_order_relaxed);
}

/* ---- ipc/queue.c ----------------------------------------------------------------------------- */

/* `oq`. Leases do not travel. */
extern const struct tine__handle_kind tine__queue_kind;

/* The caller's party; to be called first in each call. Negative: -ENOLCK, -ENOMEM. */
int tine__queue_enter(tine_queue *queue);
/* How many items are there, but for those that were returned. */
uint64_t tine__queue_count(struct tine__queue_shm *shm);
bool tine__queue_is_shut(const struct tine__queue_shm *shm);

/* ---- ipc/queue_get.c ------------------------------------------------------------------------- */

/* Which item the caller has from now on: the slot's index and its word. 0, -EAGAIN, -ESHUTDOWN,
   … */
int tine__queue_take(tine_queue *queue, uint32_t party, tine__deadline deadline, uint32_t *index,
                     uint64_t *word);

/* Drops all that is there, or what can be had until the deadline. */
void tine__queue_drain(tine_queue *queue, uint32_t party, tine__deadline deadline);

/* ---- ipc/queue_item.c ------------------------------------------------------------------------ */

/* An item that the caller has by that word. */
void tine__item_begin(tine_queue_item *item, tine_queue *queue, uint32_t index, uint64_t word);

/* ---- ipc/queue_lease.c ----------------------------------------------------------------------- */

/* A place in the list for one that will be noted, or the place is given back. 0, -ENOMEM. */
int tine__lease_reserve(tine_queue *queue);
void tine__lease_unreserve(tine_queue *queue);
/*
 * Notes what was taken, in a place that was reserved. item NULL: it is not in hand, and any thread
 * may finish it from now on.
 */
void tine__lease_note(tine_queue *queue, uint32_t index, uint64_t word, tine_queue_item *item);
/* After its content was read: was it that item's? Always, unless leases have an end by time. */
bool tine__lease_lasts(const tine_queue *queue, uint32_t index, uint64_t word);
void tine__leases_reset(struct tine__leases *leases); /* in a forked child */
/* All leases of this process go back into the queue. */
void tine__leases_return(tine_queue *queue);
/* task_done for the item in hand: as tine_queue_item_done(). */
int tine__lease_done(tine_queue *queue, const tine_queue_item *item);
/* The item in hand is freed; true: the lease goes on. */
bool tine__lease_let_go(tine_queue *queue, const tine_queue_item *item);
/* Frees the slot of an item that the caller has by that word. False: the lease had ended. */
bool tine__lease_finish(tine_queue *queue, uint32_t index, uint64_t word);

/* ---- ipc/queue_sweep.c ----------------------------------------------------------------------- */

/* After the item was TAKEN, if leases have an end by time. */
void tine__lease_begin(tine_queue *queue, uint32_t index, uint64_t word);
/* A lease whose holder is dead, or late, or leaves. */
void tine__lease_give_back(tine_queue *queue, uint32_t index, uint64_t word);
/* Gives an item back that the caller has by that word, as if it had not been delivered this
   time. */
void tine__lease_refuse(tine_queue *queue, uint32_t index, uint64_t word);
/* Anybody may, who sees a word that says LOST. */
void tine__lease_finish_loss(tine_queue *queue, struct tine__slot_shm *slot, uint64_t word);
uint64_t tine__lease_count_lost(const tine_queue *queue);
/* A returned item, if there is one. As tine__queue_take(). */
int tine__lease_take_returned(tine_queue *queue, uint32_t party, uint32_t *index, uint64_t *word);
uint64_t tine__lease_count_returned(tine_queue *queue);
/*
 * Sweeps what dead processes had, and the leases whose time is over; at most every 20 ms unless
 * `always`. True: it has looked.
 */
bool tine__queue_look(tine_queue *queue, bool always);

#endif
