/* SPDX-License-Identifier: MIT */
/*
 * Locals that own something and give it back when they leave scope. `take` disarms: the value moves
 * to its new owner. The set is closed; a new kind of resource is added here or not at all.
 */
#ifndef TINE_LIB_AUTO_H
#define TINE_LIB_AUTO_H

#include <stdlib.h>
#include <unistd.h>

#define TINE__AUTO_FD   __attribute__((cleanup(tine__auto_close))) int
#define TINE__AUTO_FREE __attribute__((cleanup(tine__auto_free)))

static inline void tine__auto_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void tine__auto_free(void *pointer)
{
    free(*(void **)pointer);
}

static inline int tine__take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
