/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_NURSERY_H
#define TINE_POOL_NURSERY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/layout.h"

/* The program's hold on the nursery and, through it, on the workers. */
struct tine__nursery {
    int pidfd;
    int socket;
    uint32_t workers;
    struct tine__child {
        pid_t pid;
        int pidfd; /* -1: none known */
    } * children;  /* by worker index, as last told by the nursery */
};

/* Forks the nursery, which starts the pool's workers. */
int tine__nursery_start(struct tine__nursery *nursery, struct tine__pool_shm *pool);
/* Takes in what the nursery has told about started workers. Never blocks. */
void tine__nursery_listen(struct tine__nursery *nursery);
/*
 * Has the nursery keep a copy of the descriptor under this number, which stands in pool->kept. 0,
 * -EBADF, -EAGAIN (it does not listen), TINE_EBROKEN (it has ended).
 */
int tine__nursery_keep(struct tine__nursery *nursery, uint64_t number, int fd);
/* Has it ended? Waits at most timeout_ns. */
bool tine__nursery_ended(struct tine__nursery *nursery, int64_t timeout_ns);
/* Has it look at the state of the pool and at what it keeps. */
void tine__nursery_nudge(struct tine__nursery *nursery);
/* Kills the workers and ends the nursery, waits at most timeout_ns; true when all are known to be gone. */
bool tine__nursery_kill(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                        int64_t timeout_ns);
/* Kills the worker if it is still the process `pid`. */
void tine__nursery_kill_worker(struct tine__nursery *nursery, uint32_t worker, pid_t pid);
/* Reaps an ended nursery and frees what this process holds of it. */
void tine__nursery_fini(struct tine__nursery *nursery);

#endif
