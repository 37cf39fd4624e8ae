/* SPDX-License-Identifier: MIT */
/* What the tests of barriers share: one barrier in shared memory, and parties that sleep at it. */
#ifndef TINE_TESTS_SHM_BARRIER_HELP_H
#define TINE_TESTS_SHM_BARRIER_HELP_H

#include <tine/barrier.h>

#include <tine/time.h>

#include "shm/barrier.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define PARTIES 4

struct field {
    tine_barrier barrier;
    struct gate *begun, *go;
    int64_t timeout_ns;
    int expected; /* of wait, unless an index is */
    uint32_t rounds;
    _Atomic uint32_t arrived, acted;
    _Atomic uint64_t indices; /* one bit each */
    _Atomic int64_t told_ns;  /* when the last one learnt how its wait ended */
};

static inline struct field *field_new(int parties, const tine_barrier_options *options)
{
    struct field *field = shared_memory(sizeof *field);

    ck_assert_rc(tine_barrier_init(&field->barrier, parties, options), 0);
    field->begun = gate_new();
    field->go = gate_new();
    field->timeout_ns = TINE_FOREVER;
    return field;
}

static inline struct tine__barrier_shm *inside(struct field *field)
{
    return (struct tine__barrier_shm *)&field->barrier;
}

/* Starts them and waits until they sleep at the barrier. */
static inline void start_parked(struct field *field, void (*body)(void *), struct child *children,
                                int count)
{
    int already = tine_barrier_n_waiting(&field->barrier);

    for (int i = 0; i < count; i++) {
        children[i] = child_start(body, field);
        ck_assert_eventually(tine_barrier_n_waiting(&field->barrier) == already + i + 1 &&
                             proc_asleep(children[i].pid));
    }
}

static inline void join_all(struct child *children, int count)
{
    for (int i = 0; i < count; i++)
        child_join(&children[i]);
}

#endif
