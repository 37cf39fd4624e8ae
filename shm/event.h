/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_EVENT_H
#define TINE_SHM_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

#include "shm/waiters.h"

#define TINE__EVENT_KIND 0x746e7665u /* "evnt" */

/*
 * What a tine_event is.
 *
 * field    written by           read by  order
 * changes  set, clear           all      seq_cst: against the sleepers, see shm/waiters.c
 * waiters  set, wait            them     see shm/waiters.h
 * kind     init (last), fini    all      release/acquire
 *
 * changes counts how often the flag has changed, so it is set while the count is odd.
 */
struct tine__event_shm {
    _Atomic uint64_t changes;
    struct tine__waiters_shm waiters;
    _Atomic uint32_t kind;
    uint32_t reserved32;
};

#endif
