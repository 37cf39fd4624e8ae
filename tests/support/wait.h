/* SPDX-License-Identifier: MIT */
/*
 * Waiting for events, never for time. A gate is a counter in memory shared with all processes that
 * the test forks: one raises it, others wait until it has been raised often enough. Where no event
 * can be had (a process that shall have vanished, a line in /proc), ck_assert_eventually looks at
 * the condition again and again until the patience of the suite is exhausted.
 */
#ifndef TINE_TESTS_WAIT_H
#define TINE_TESTS_WAIT_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/suite.h"

struct gate {
    _Atomic uint32_t raised;
};

/* Zeroed memory shared with the processes that the test forks; it goes with the test process. */
void *shared_memory(size_t size);
/* From now on it comes from here, where processes see it that are no forks, too. */
void shared_memory_in(void *arena, size_t size);
struct gate *gate_new(void);
void gate_raise(struct gate *gate);
void gate_await(struct gate *gate, uint32_t times); /* waits until raised at least so often */

struct patience {
    int64_t deadline;
};

struct patience patience_begin(void); /* TINE_TEST_PATIENCE seconds (30), times suite_slowness() */
/* A millisecond; false when exhausted, which says nothing of what came in it: look once more. */
bool patience_pause(struct patience *patience);

#define ck_assert_eventually(condition)                                                            \
    do {                                                                                           \
        struct patience patience_ = patience_begin();                                              \
        bool came_, goes_on_ = true;                                                               \
                                                                                                   \
        while (!(came_ = (condition)) && goes_on_)                                                 \
            goes_on_ = patience_pause(&patience_);                                                 \
        ck_assert_msg(came_, "never came true: %s", #condition);                                   \
    } while (0)

#endif
