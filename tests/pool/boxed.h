/* SPDX-License-Identifier: MIT */
/*
 * Tasks that try what a sandbox may forbid. Attempts are known by their place in the program's
 * table `tries`: functions lie elsewhere in workers that are no forks.
 */
#ifndef TINE_TESTS_BOXED_H
#define TINE_TESTS_BOXED_H

#include <tine/pool.h>
#include <tine/sandbox.h>

/* An attempt: 0, or errno. */
typedef int try_function(const char *path);

/* All of the program, and NULL. */
extern try_function *const tries[];

/* A pool in this sandbox; the test is skipped where the kernel has none. */
tine_pool *open_boxed(int32_t workers, const tine_sandbox *sandbox);
/* What the attempt gives in a worker; or the negative code of the job. path, failure: may be
   NULL. */
int try_in(tine_pool *pool, try_function *function, const char *path, tine_failure *failure);
/* errno of what failed, else 0. */
int error_of(long rc);
/* Opens a file and closes it again. */
int open_with(const char *path, int flags);

#endif
