/* SPDX-License-Identifier: MIT */
/* What several tests of the heap ask it. */
#ifndef TINE_TESTS_SHM_HEAP_HELP_H
#define TINE_TESTS_SHM_HEAP_HELP_H

#include <tine/heap.h>

#include <unistd.h>

#include "shm/heap.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

static inline tine_heap_counts heap_counts(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts;
}

static inline void assert_heap_sound(void)
{
    tine_heap_report report;
    int rc = tine_heap_check(&report);

    ck_assert_msg(rc == 0, "%s (page %jd)", report.first, (intmax_t)report.first_page);
    ck_assert_uint_eq(report.used_bytes + report.free_bytes + report.lost_bytes,
                      report.mapped_bytes);
    ck_assert_uint_eq(report.lost_bytes, 0);
}

#endif
