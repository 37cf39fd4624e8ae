/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_SEMAPHORE_H
#define TINE_SHM_SEMAPHORE_H

#include <tine/semaphore.h>

#include "shm/ledger.h"
#include "shm/waiters.h"

/*
 * What a tine_semaphore is. 64 bytes, then the ledger's accounts.
 *
 * field          written by                read by   order
 * magic          init last, fini           all       release/acquire
 * flags initial  init                      all       plain
 * waiters        those who wait and wake   the same  shm/waiters.h
 * ledger         all                       all       shm/ledger.h
 *
 * Of a signalling semaphore ledger.word is nothing but the number of permits.
 */
struct tine__semaphore_shm {
    _Atomic uint32_t magic;
    uint32_t flags;
    uint32_t initial;
    uint32_t reserved0;
    struct tine__waiters_shm waiters;
    uint64_t reserved;
    struct tine__ledger_shm ledger;
};

#define TINE__SEMAPHORE_MAGIC 0x6d657374u /* "tsem" */

enum { TINE__SEMAPHORE_BOUNDED = 1, TINE__SEMAPHORE_SIGNALLING = 2 };

#endif
