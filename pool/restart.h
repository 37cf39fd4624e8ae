/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_RESTART_H
#define TINE_POOL_RESTART_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"

/* When the nursery may start the next worker: private to it. */
struct tine__restart {
    tine__deadline next;
    int64_t delay_ns; /* between failed or barren starts; 0: none */
    uint32_t barren;  /* deaths in a row without a finished unit */
    bool begun;       /* the first worker has been, or is being, born */
};

/* A worker could not be started. */
void tine__restart_failed(struct tine__restart *restart);
/* One has been, from `begun` on until now. */
void tine__restart_done(struct tine__restart *restart, int64_t begun);
/* One has died unasked; did it get anything done? */
void tine__restart_died(struct tine__restart *restart, bool finished);
/* One has left its place to the next. */
void tine__restart_left(struct tine__restart *restart);

#endif
