/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_COMPUTE_H
#define TINE_POOL_COMPUTE_H

#include <stdbool.h>

/* Can this machine have TINE_SANDBOX_COMPUTE_ONLY? 0, -ENOTSUP. */
int tine__compute_probe(void);
/* The calling thread, and all that come from it, compute only from here on; after
   tine__no_new_privs(). alone: a guest, without the family and its descriptors. */
int tine__compute_only(bool kill, bool alone);

#endif
