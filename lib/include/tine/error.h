/* SPDX-License-Identifier: MIT */
/*
 * Errors: one int space for the whole library.
 *
 * A call returns 0 or a useful count, or a negative code: `-Exxx` where an errno names the
 * condition honestly, else one of the private codes below, which lie beyond the kernel's errno
 * range. `errno` itself is neither set nor needed. Outputs are written on success only, unless a
 * call says otherwise.
 *
 *     int rc = tine_pool_open(&pool, NULL);
 *     if (rc < 0)
 *         fprintf(stderr, "pool: %s (%s)\n", tine_strerror(rc), tine_errname(rc));
 */
#ifndef TINE_ERROR_H
#define TINE_ERROR_H

#include <tine/base.h>

TINE_BEGIN_DECLS

enum {
    TINE_EEOF = -4097,      /* peer closed between messages */
    TINE_EFORMAT = -4098,   /* bytes do not decode, or a limit of depth or size was exceeded */
    TINE_ECHECKSUM = -4099, /* checksum mismatch */
    TINE_EWORKER = -4100,   /* the worker died while it had the job; tine_failure says how */
    TINE_EREMOTE = -4101,   /* the task itself reported failure; tine_failure says what */
    TINE_ELIMIT = -4102,    /* a limit set for the task was hit */
    TINE_EBROKEN = -4103,   /* barrier broken, or pool without its nursery */
    TINE_EFORKED = -4104,   /* handle used in a process that may not use it */
};

/**
 * tine_strerror - the sentence for a result code
 *
 * In:      code  any int: a result of a tine call, or an errno value of either sign
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: static text, never NULL; "unknown error" for a code that nothing here returns
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  lib/error.c; follows strerror(3); differs: constant text, private codes known
 * Since:   0.1
 */
TINE_API const char *tine_strerror(int code);

/**
 * tine_errname - the symbol of a result code, such as "ETIMEDOUT" or "TINE_EWORKER"
 *
 * In:      code  any int: a result of a tine call, or an errno value of either sign
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: static text, never NULL; "OK" for results >= 0 that are no errno, "UNKNOWN" otherwise
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  lib/error.c; follows uv_err_name of libuv
 * Since:   0.1
 */
TINE_API const char *tine_errname(int code);

TINE_END_DECLS

#endif
