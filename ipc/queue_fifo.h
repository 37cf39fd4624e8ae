/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_FIFO_H
#define TINE_IPC_QUEUE_FIFO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/queue_slots.h"

/*
 * First in, first out: rings of cells that name slots, for any number of producers and consumers.
 * Lock-free: whoever is killed or stopped between any two instructions holds nobody up. See
 * ipc/queue_fifo.c for the argument.
 *
 * A cell is one word: the round in which it was last written (bits 32-63; 0: never) and what it
 * names (0-31): slot + 1, or one of these.
 */
#define TINE__CELL_NEXT ((uint32_t)0xffffffff) /* the ring is full: it goes on in the next ring */
#define TINE__CELL_END  ((uint32_t)0xfffffffe) /* the queue is shut down */

#define TINE__FIFO_RINGS 26

#define TINE__NO_TICKET UINT64_MAX /* of a slot that is PUT and has not been tried anywhere yet */

/*
 * field  written by                        read by  order
 * head   CAS + 1: whoever saw the item     any      seq_cst; never beyond the first that waits
 *        there taken
 * tail   CAS + 1: whoever saw the cell     any      seq_cst; never beyond the first that is not
 *        there written in its round                 written yet
 * cells  CAS, in the order of positions    any      seq_cst CAS, acquire load
 *
 * Both are free-running positions; they lag behind the cells by a step for each who was
 * interrupted, until the next comes.
 */
struct tine__fifo_ring_shm {
    _Atomic uint64_t head;
    uint64_t pad1[15];
    _Atomic uint64_t tail;
    uint64_t pad2[15];
    uint64_t size; /* a power of two */
    uint64_t pad3[15];
    _Atomic uint64_t cells[];
};

/*
 * field      written by                     read by  order
 * rings      CAS from 0: whoever makes it   any      acq_rel / acquire
 * head_ring  CAS + 1: who saw NEXT there    any      acq_rel / acquire
 * tail_ring  CAS + 1: who saw NEXT there    any      acq_rel / acquire
 */
struct tine__fifo_shm {
    _Atomic uint64_t rings[TINE__FIFO_RINGS]; /* each twice as large as the one before */
    _Atomic uint32_t head_ring;
    _Atomic uint32_t tail_ring;
};

int tine__fifo_init(struct tine__fifo_shm *fifo);   /* 0, -ENOMEM */
void tine__fifo_empty(struct tine__fifo_shm *fifo); /* nobody uses it; may be called again */
/* To be called before the table of slots grows to that many chunks. 0, -ENOMEM, -ESHUTDOWN. */
int tine__fifo_grow(struct tine__fifo_shm *fifo, uint32_t chunks);

/* What a producer remembers of the head, so that it need not look at it each time. 0 at first. */
struct tine__fifo_view {
    _Atomic uint64_t head; /* ticket of it */
};

/*
 * Puts the caller's slot, in state PUT, behind all others. maxsize 0: no limit. 0, -EAGAIN (that
 * many are there already), -ESHUTDOWN. After a failure the slot is in no cell.
 */
int tine__fifo_put(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots, uint32_t index,
                   uint64_t maxsize, struct tine__fifo_view *view);
/*
 * Takes the first item: one CAS of its word makes it the party's, in the given state. 0, -EAGAIN
 * (none is there), -ESHUTDOWN (nor will be).
 */
int tine__fifo_take(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots,
                    uint32_t party, uint64_t state, uint32_t *index, uint64_t *word);
/* No more after those that are there. Again: nothing happens. */
void tine__fifo_shut(struct tine__fifo_shm *fifo);
bool tine__fifo_is_shut(const struct tine__fifo_shm *fifo);
/* The ticket of the next item: another one after each put. */
uint64_t tine__fifo_tail(struct tine__fifo_shm *fifo);
/* How many are there. */
uint64_t tine__fifo_count(struct tine__fifo_shm *fifo, const struct tine__slots_shm *slots);
/* Does a cell name a slot, of whose word the caller knows that it was PUT, by a dead party? */
bool tine__fifo_names(const struct tine__fifo_shm *fifo, uint64_t ticket, uint32_t index);

#endif
