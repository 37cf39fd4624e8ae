/* SPDX-License-Identifier: MIT */
/*
 * Timeouts: every blocking call takes `int64_t timeout_ns`, directly before its outputs.
 *
 *     TINE_FOREVER   wait without limit (any negative value does)
 *     0              do not wait
 *     TINE_MS(250)   at most 250 milliseconds, counted on CLOCK_MONOTONIC from entry
 *
 * A timeout inside an options struct follows the rule that zero means default: there 0 is "for
 * ever".
 */
#ifndef TINE_TIME_H
#define TINE_TIME_H

#include <tine/base.h>

#define TINE_FOREVER ((int64_t)-1)
#define TINE_NS(n)   ((int64_t)(n))
#define TINE_US(n)   ((int64_t)(n) * 1000)
#define TINE_MS(n)   ((int64_t)(n) * 1000000)
#define TINE_SEC(n)  ((int64_t)(n) * 1000000000)

#endif
