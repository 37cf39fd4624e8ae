/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_EXIT_H
#define TINE_POOL_EXIT_H

#include "pool/layout.h"

/* By the nursery: makes room for the end of a worker before it is started, if anybody wants to
   know. -ENOMEM. */
int tine__exit_prepare(const struct tine__pool_shm *pool, uint32_t index);
/* By the nursery: exit->worker has ended, and the program is told. */
void tine__exit_tell(struct tine__pool_shm *pool, const tine_worker_exit *exit);

#endif
