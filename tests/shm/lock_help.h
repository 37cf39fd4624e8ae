/* SPDX-License-Identifier: MIT */
/* What the tests of locks share: one lock in shared memory, and who waits for it. */
#ifndef TINE_TESTS_SHM_LOCK_HELP_H
#define TINE_TESTS_SHM_LOCK_HELP_H

#include <tine/lock.h>

#include "tests/support/suite.h"
#include "tests/support/wait.h"

struct scene {
    tine_lock lock;
    uint64_t count;
    struct gate *held;
    struct gate *waits;
    struct gate *end;
    _Atomic int result;
    _Atomic int tid;
};

static inline struct scene *scene_with(const tine_lock_options *options)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->held = gate_new();
    scene->waits = gate_new();
    scene->end = gate_new();
    ck_assert_rc(tine_lock_init(&scene->lock, options), 0);
    return scene;
}

static inline void acquire_and_report(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->waits);
    scene->result = tine_lock_acquire(&scene->lock, TINE_SEC(600));
}

#endif
