/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_ASLEEP_H
#define TINE_LIB_ASLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Who wants to know when a thread of this process is about to sleep in a call of the library
 * (true), and when it goes on (false); NULL: nobody. Set once, before the process has other
 * threads. It is called in whatever thread sleeps, in signal handlers too, and leaves errno alone.
 */
typedef void tine__asleep_hook(bool begins);
extern tine__asleep_hook *_Atomic tine__asleep;

static inline void tine__asleep_say(bool begins)
{
    tine__asleep_hook *hook = atomic_load_explicit(&tine__asleep, memory_order_relaxed);

    if (hook != NULL)
        hook(begins);
}

#endif
