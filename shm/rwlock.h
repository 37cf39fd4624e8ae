/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_RWLOCK_H
#define TINE_SHM_RWLOCK_H

#include <tine/rwlock.h>

#include "shm/ledger.h"
#include "shm/waiters.h"

/*
 * What a tine_rwlock is. 128 bytes, then the ledger's accounts.
 *
 * field                   written by                    read by   order
 * magic                   init last, fini               all       release/acquire
 * flags                   init                          all       plain
 * writer_id               the writer                    any       relaxed; a hint beside the ledger
 * writes deaths           the writer                    any       relaxed
 * contended               whoever waited                any       relaxed
 * writer_thread           the writer: its own           any       relaxed: equal to one's own only
 *                                                                 if oneself wrote it
 * read_ and write_waiters those who wait and wake       the same  shm/waiters.h
 * ledger                  all                           all       shm/ledger.h
 *
 *     ledger value: bits 0-13 readings, 14-18 writers that wait and are preferred, 19 WRITTEN,
 *                   20 DOUBTFUL, 21 LOST
 */
struct tine__rwlock_shm {
    _Atomic uint32_t magic;
    uint32_t flags;
    _Atomic uint64_t writer_id; /* pid, tid << 32; 0: unknown */
    _Atomic uint64_t writes;
    _Atomic uint64_t contended;
    _Atomic uint64_t deaths;
    uint64_t reserved[3];
    _Atomic uint64_t writer_thread; /* of tine__self(); 0: none */
    struct tine__waiters_shm read_waiters;
    struct tine__waiters_shm write_waiters;
    uint64_t reserved1;
    struct tine__ledger_shm ledger;
};

#define TINE__RWLOCK_MAGIC 0x6c777274u /* "trwl" */

enum { TINE__RWLOCK_PREFER_WRITERS = 1 };

#define TINE__RWLOCK_READERS  ((1u << 14) - 1)
#define TINE__RWLOCK_WAITER   (1u << 14)
#define TINE__RWLOCK_WAITERS  (31u << 14)
#define TINE__RWLOCK_WRITTEN  (1u << 19)
#define TINE__RWLOCK_DOUBTFUL (1u << 20)
#define TINE__RWLOCK_LOST     (1u << 21)

#endif
