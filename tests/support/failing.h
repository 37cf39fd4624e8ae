/* SPDX-License-Identifier: MIT */
/*
 * Calls that fail, the k-th that a thread makes for every k until all goes well. For one source
 * file of a program that is linked so that they come here first (ld --wrap=tine_alloc …):
 *
 *     FAILING(tine_alloc, (size_t size), (size))
 *     FAILING_AS(int, tine__sys_dup, -EMFILE, (int fd), (fd))
 *     …
 *     for (failing.until = 1; call() == -ENOMEM; failing.until = ++k)
 *         failing.failed = 0;
 *     failing.until = 0;
 */
#ifndef TINE_TESTS_SUPPORT_FAILING_H
#define TINE_TESTS_SUPPORT_FAILING_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/support/wrap.h"

static _Thread_local struct failing {
    int until;    /* which one from now on fails, 1 the next; 0: none */
    bool stays;   /* and all later ones, too */
    bool resting; /* the test is running, not the library: none fails, none is counted */
    int failed;   /* how many have */
} failing;

static inline bool failing_now(void)
{
    if (failing.resting || failing.until == 0 ||
        (--failing.until > 0 && !(failing.stays && failing.failed > 0)))
        return false;
    failing.until = failing.stays ? 1 : 0;
    failing.failed++;
    return true;
}

#define FAILING_AS(type, name, failure, parameters, arguments)                                     \
    WRAP(failing_now(), type, name, failure, parameters, arguments)
#define FAILING(name, parameters, arguments) FAILING_AS(void *, name, NULL, parameters, arguments)

#endif
