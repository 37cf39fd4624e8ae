/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_PLACE_H
#define TINE_POOL_PLACE_H

#include "pool/layout.h"

/* Which worker somebody is, of which pool; NULL: of none. */
struct tine__place {
    int index;
    const struct tine__pool_shm *pool;
};

/* From here on this process is that worker, with all its threads but those that are workers
   themselves. */
void tine__place_of_process(struct tine__place place);
/* From here on this thread is; what it was. */
struct tine__place tine__place_of_thread(struct tine__place place);

#endif
