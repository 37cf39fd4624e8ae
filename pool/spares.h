/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_SPARES_H
#define TINE_POOL_SPARES_H

#include <tine/pool.h>

/* A zeroed handle, or NULL: no memory. */
tine_pool *tine__spares_take(void);
/* A handle that is in use no more: its magic number is not there from here on. */
void tine__spares_put(tine_pool *pool);

#endif
