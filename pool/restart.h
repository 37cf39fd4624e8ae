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
    uint32_t barren;  /* deaths in a row of workers without a finished unit */
    bool begun;       /* the first worker has been, or is being, born */
    uint32_t failed;  /* starts, in a row */
    uint32_t storm;   /* deaths, in a row, that may be a storm */
    int64_t death_ns; /* when the last of these was seen */
    uint64_t done;    /* what all workers had finished then */
};

/* A worker could not be started. True: none can be, it seems, and none is alive. */
bool tine__restart_failed(struct tine__restart *restart, uint32_t alive);
/* One has been, from `begun` on until now. */
void tine__restart_done(struct tine__restart *restart, int64_t begun);
/* A worker that has died unasked. */
struct tine__victim {
    bool finished;   /* it got something done */
    uint64_t done;   /* units that all workers of the pool have finished so far */
    int64_t born_ns; /* when it was started */
};
/* True: workers die and die, and nothing gets done. */
bool tine__restart_died(struct tine__restart *restart, const struct tine__victim *victim);
/* One has left its place to the next. */
void tine__restart_left(struct tine__restart *restart);

#endif
