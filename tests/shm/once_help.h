/* SPDX-License-Identifier: MIT */
/* What the tests of tine_once share: one that somebody may be in for ever. */
#ifndef TINE_TESTS_SHM_ONCE_HELP_H
#define TINE_TESTS_SHM_ONCE_HELP_H

#include <tine/once.h>

#include <unistd.h>

#include <tine/time.h>

#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Shared by all who call. */
struct scene {
    tine_once once;
    _Atomic uint32_t calls;
    _Atomic int32_t fail; /* so many calls fail */
    struct gate *entered, *go, *asked;
};

static inline int stay(void *context)
{
    gate_raise(((struct scene *)context)->entered);
    for (;;)
        pause();
    return 0;
}

static inline void run_and_stay(void *context)
{
    struct scene *scene = context;

    ck_abort_msg("returned %d", tine_once_run(&scene->once, stay, scene, TINE_FOREVER));
}

#endif
