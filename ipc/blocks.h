/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_BLOCKS_H
#define TINE_IPC_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/waiters.h"

/*
 * The large messages of one direction of a connection: each lies in a block of the family heap that
 * a slot of this table owns, and its record says {slot, generation}. See ipc/blocks.c for who may
 * do what, and why no death costs a slot.
 */
#define TINE__BLOCKS_SLOTS    32 /* messages on their way, or being read in place */
#define TINE__BLOCKS_VISITORS 15 /* in a chunk */

/*
 * field       written by                                         read by    order
 * word        see ipc/blocks.c                                   any        CAS acq_rel
 * sent doubt  its sender, then the sweeper: epoch, 0 not known;  sweeper    CAS acq_rel
 *             bits 32-63 the generation that it is said of
 * block       who holds the slot, FILLING or TAKEN; 0: none      the same   with word
 * capacity    likewise: bytes of the block                       the same   with word; hint for
 * others
 * size        the sender: bytes of the message                   receivers  with word; hint for
 * others
 * generation  who takes the free slot, one up                    the same   with word
 * uses        likewise, of the block that it has; up to 2        the same   with word
 * claimed     tine__blocks_claim: a generation, upwards          the same   CAS acq_rel
 */
struct tine__block_slot_shm {
    _Atomic uint64_t word;
    _Atomic uint64_t sent;
    _Atomic uint64_t doubt;
    _Atomic uint64_t block; /* address */
    _Atomic uint64_t capacity;
    _Atomic uint64_t size;
    uint32_t generation;
    uint32_t uses;
    _Atomic uint32_t claimed;
    uint32_t reserved;
};

/*
 * A call that is receiving. A cache line each.
 *
 * field  written by                                    read by  order
 * word   who enters, 0 → its owner word, and leaves    sweeper  seq_cst
 * epoch  who is inside, before each receive            sweeper  seq_cst
 */
struct tine__visitor_shm {
    _Atomic uint64_t word;
    _Atomic uint32_t epoch;
    uint32_t reserved32;
    uint64_t reserved[6];
};

/* next: address of a further chunk, written once, release/acquire */
struct tine__visitors_shm {
    _Atomic uint64_t next;
    uint64_t reserved[7];
    struct tine__visitor_shm at[TINE__BLOCKS_VISITORS];
};

/*
 * field    written by                        read by    order
 * sweeper  who sweeps: its owner word, or 0  the same   CAS acq_rel
 * looked   tine__look_due                    the same   relaxed
 * epoch    senders and sweepers, upwards     any        seq_cst
 * drained  receivers, upwards                sweeper    acq_rel
 * room     senders wait                      receivers  shm/waiters.h
 */
struct tine__blocks_shm {
    _Atomic uint64_t sweeper;
    _Atomic uint64_t looked;
    _Atomic uint32_t epoch;
    _Atomic uint32_t drained;
    struct tine__waiters_shm room;
    uint64_t reserved[4];
    struct tine__visitors_shm visitors;
    struct tine__block_slot_shm slots[TINE__BLOCKS_SLOTS];
};

/* Zeroed memory becomes a table whose epochs begin there. */
void tine__blocks_init(struct tine__blocks_shm *blocks, uint32_t epoch);
/* Frees what the table owns. Nobody uses it any more; may be called again after a death in it. */
void tine__blocks_empty(struct tine__blocks_shm *blocks);

/* Asked by a sweep: has the record been received that names the slot, if it was ever sent? */
struct tine__drain {
    bool (*is_received)(const struct tine__drain *drain, uint32_t slot, uint32_t generation);
    int fd;
};

/* ---- sending --------------------------------------------------------------------------------- */

/* A message on its way out, or in. */
struct tine__block {
    struct tine__block_slot_shm *slot;
    void *data;
    uint32_t generation;
};

/* A slot with a block of at least that size, held FILLING. -EAGAIN (wait on `room`), -ENOMEM. */
int tine__blocks_take(struct tine__blocks_shm *blocks, size_t size, struct tine__block *block);
/* Before its record is sent; then one of the next two. */
void tine__blocks_fly(const struct tine__block *block);
void tine__blocks_sent(struct tine__blocks_shm *blocks, const struct tine__block *block);
void tine__blocks_drop(struct tine__blocks_shm *blocks, const struct tine__block *block);
/* Held FILLING again: its record could not be sent. */
void tine__blocks_land(const struct tine__block *block);
/* The block in that slot, if this process holds it FILLING for a message of at least that size. */
bool tine__blocks_held(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation,
                       size_t size, struct tine__block *block);
/* Held FILLING: the message will be smaller. */
void tine__blocks_cut(const struct tine__block *block, size_t size);
uint32_t tine__blocks_index(const struct tine__blocks_shm *blocks, const struct tine__block *block);

/* What each record has to carry: read before it is sent. */
static inline uint32_t tine__blocks_epoch(const struct tine__blocks_shm *blocks)
{
    return atomic_load_explicit(&blocks->epoch, memory_order_seq_cst);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/*
 * Whoever takes records off the transport does it between enter and leave, and renews before each
 * attempt. *visitor is where this caller was the last time, or NULL. -ENOMEM.
 */
int tine__blocks_enter(struct tine__blocks_shm *blocks, struct tine__visitor_shm **visitor);

static inline void tine__blocks_renew(const struct tine__blocks_shm *blocks,
                                      struct tine__visitor_shm *visitor)
{
    atomic_store_explicit(&visitor->epoch, tine__blocks_epoch(blocks), memory_order_seq_cst);
}

static inline void tine__blocks_leave(struct tine__visitor_shm *visitor)
{
    /* release: the slot that this call has taken is TAKEN for whoever sees that it has left */
    atomic_store_explicit(&visitor->word, 0, memory_order_release);
}

void tine__blocks_drained_slow(struct tine__blocks_shm *blocks, uint32_t epoch);

/* A record with that epoch has been received. */
static inline void tine__blocks_drained(struct tine__blocks_shm *blocks, uint32_t epoch)
{
    if (atomic_load_explicit(&blocks->drained, memory_order_relaxed) != epoch)
        tine__blocks_drained_slow(blocks, epoch);
}

/*
 * Inside, where a record can be in several hands at once: who may accept what it names? True for
 * one caller of each generation. No index and generation but those of a record.
 */
bool tine__blocks_claim(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation);
/* Inside: takes what a record names. TINE_EFORMAT: there is no such message. */
int tine__blocks_accept(struct tine__blocks_shm *blocks, uint32_t index, uint32_t generation,
                        size_t size, struct tine__block *block);
/* By the process that has accepted it; by another, as a forked child, nothing happens. */
void tine__blocks_release(struct tine__blocks_shm *blocks, const struct tine__block *block);

/* ---- looking --------------------------------------------------------------------------------- */

/* Gives back what the dead held or have lost, unless somebody did so of late. */
void tine__blocks_look(struct tine__blocks_shm *blocks, const struct tine__drain *drain);
/* The same in any case; how many slots became free. */
uint32_t tine__blocks_sweep(struct tine__blocks_shm *blocks, const struct tine__drain *drain);

#endif
