/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_ONCE_H
#define TINE_SHM_ONCE_H

#include <tine/once.h>

#include "shm/waiters.h"

/*
 * field    written by                     read by  order
 * state    whoever enters and leaves      all      acquire; leaving seq_cst (before waiters)
 * thread   the runner                     all      relaxed: only the runner's own thread finds itself
 */
struct tine__once_shm {
    _Atomic uint64_t state;  /* TINE__ONCE_…; running: tine__owner_word() | TINE__ONCE_RUNNING */
    _Atomic uint64_t thread; /* of the runner: tine__self()->thread */
    struct tine__waiters_shm waiters;
    uint64_t reserved[5];
};

#define TINE__ONCE_READY   ((uint64_t)0)
#define TINE__ONCE_RUNNING ((uint64_t)1) /* mark beside an owner word */
#define TINE__ONCE_DONE    ((uint64_t)2) /* mark beside nobody */

_Static_assert(sizeof(struct tine__once_shm) == sizeof(tine_once), "the public size");

#endif
