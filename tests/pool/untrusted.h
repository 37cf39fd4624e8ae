/* SPDX-License-Identifier: MIT */
/* What the tests of untrusted workers share. */
#ifndef TINE_TESTS_UNTRUSTED_H
#define TINE_TESTS_UNTRUSTED_H

#include <tine/pool.h>

/* A pool of untrusted workers; the test is skipped where the kernel has no such box. */
tine_pool *open_untrusted(int32_t workers);
/* Likewise, with more options. */
tine_pool *open_untrusted_with(tine_pool_options options);
/* One call with one number, which gives another; it may take what time it likes. */
int apply(tine_pool *pool, tine_function *function, int64_t argument, tine_failure *failure,
          int64_t *result);
int increment(tine_call *call);
void assert_works(tine_pool *pool);

#endif
