/* SPDX-License-Identifier: MIT */
/*
 * Times measured by a test that kills: p50, p99 and maximum are printed beside the promised bound.
 * A loaded machine may miss the bound, and let one process wait for seconds. The test fails if half
 * of them are 20 times beyond it, or one of them 10 seconds as well: that is a hang.
 */
#ifndef TINE_TESTS_SAMPLES_H
#define TINE_TESTS_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
    const char *name; /* "pool.worker_killed" */
    uint64_t bound_ns;
    uint64_t *ns;
    size_t count, room;
};

void samples_add(struct samples *samples, uint64_t ns);
void samples_end(struct samples *samples); /* prints, checks, frees */

/* How many kills a death test makes: TINE_KILLS (make check-long sets it), else what is usual. */
size_t kills_wanted(size_t usual);

#endif
