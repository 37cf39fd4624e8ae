/* SPDX-License-Identifier: MIT */
/* Segments with names of the test. */
#ifndef TINE_TESTS_SHM_SEGMENT_HELP_H
#define TINE_TESTS_SHM_SEGMENT_HELP_H

#include <tine/shm.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/leaks.h"
#include "tests/support/suite.h"

#define MIB ((size_t)1 << 20)

static inline const char *name_of(const char *what)
{
    return leaks_shm_name(what) + 1;
}

static inline const char *path_of(const char *what)
{
    static char path[256];

    snprintf(path, sizeof path, "/dev/shm/%s", name_of(what));
    return path;
}

static inline tine_shm *create(const char *what, size_t size, const tine_shm_options *options)
{
    tine_shm *shm;

    ck_assert_rc(tine_shm_create(&shm, name_of(what), size, options), 0);
    return shm;
}

static inline tine_shm *attach(const char *what, const tine_shm_options *options)
{
    tine_shm *shm;

    ck_assert_rc(tine_shm_attach(&shm, name_of(what), options), 0);
    return shm;
}

static inline void detach(tine_shm *shm)
{
    ck_assert_rc(tine_shm_detach(shm), 0);
}

static inline void end(tine_shm *shm)
{
    ck_assert_rc(tine_shm_unlink(shm), 0);
    detach(shm);
}

static inline bool is_there(const char *what)
{
    return access(path_of(what), F_OK) == 0;
}

static inline void assert_all(const unsigned char *bytes, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            ck_abort_msg("byte %zu is %u, not %u", i, bytes[i], value);
}

#endif
