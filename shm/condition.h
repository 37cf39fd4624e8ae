/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_CONDITION_H
#define TINE_SHM_CONDITION_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <tine/condition.h>

/*
 * One waiting thread. `word` alone says what the slot is; it is also what its thread sleeps on.
 *
 * field        written by                      read by    order
 * word         see shm/condition.c             any        acquire, acq_rel
 * owner        its claimer, while FREE,        sweepers   release/acquire: who sees it sees that word was
 *              under the lock                             FREE before
 * ticket tid   the same                        notifiers  relaxed: published by word
 */
struct tine__condition_slot_shm {
    _Atomic uint64_t owner;  /* tine__owner_word() */
    _Atomic uint64_t ticket; /* the smaller, the longer it waits */
    _Atomic uint32_t word;   /* TINE__SLOT_…, and above it the generation: one a claim */
    _Atomic int32_t tid;     /* for those who look from outside */
    uint64_t reserved;
};

#define TINE__SLOT_FREE       ((uint32_t)0)
#define TINE__SLOT_WAITING    ((uint32_t)1)
#define TINE__SLOT_NOTIFIED   ((uint32_t)2)
#define TINE__SLOT_ASLEEP     ((uint32_t)3) /* waits too, and must be woken */
#define TINE__SLOT_WAITS      ((uint32_t)1) /* the bit that says so */
#define TINE__SLOT_STATES     ((uint32_t)3)
#define TINE__SLOT_GENERATION ((uint32_t)4) /* the next one */

/*
 * field               written by               read by              order
 * magic               init, fini               any                  release/acquire
 * slot_count,         init                     any                  published by magic
 * lock_distance
 * next_ticket         holder of the lock       the same             the lock's
 * top                 holder of the lock       any                  relaxed; too small a value without the
 *                                                                   lock: a look that finds nothing
 */
struct tine__condition_shm {
    _Atomic uint32_t magic;
    uint32_t slot_count;
    int64_t lock_distance; /* address of the lock - address of the condition */
    _Atomic uint64_t next_ticket;
    _Atomic uint32_t top; /* all slots from here on are FREE */
    uint32_t reserved32;
    uint64_t reserved[4];
    struct tine__condition_slot_shm slots[];
};

#define TINE__CONDITION_MAGIC ((uint32_t)0x646e6f63) /* "cond" */

#endif
