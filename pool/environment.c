/* SPDX-License-Identifier: MIT */
/*
 * The environment of workers: how many threads OpenMP and the BLAS libraries shall start.
 *
 * They take one a CPU, in each worker; together those would be the square of what there is.
 * Libraries that have read the environment before the worker was forked are not reached.
 *
 * The array is made anew, without setenv(): the lock that it takes may have been copied at a fork
 * while another thread held it.
 */
#include "pool/environment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys.h"

static const char *const names[] = {
    "OMP_NUM_THREADS",  "OPENBLAS_NUM_THREADS",   "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
};
#define NAMES (sizeof names / sizeof names[0])

extern char **environ;

void tine__environment_limit(uint32_t threads)
{
    static char texts[NAMES][40]; /* NAME=N */
    size_t count = 0, added = 0;
    char **made;

    while (environ != NULL && environ[count] != NULL)
        count++;
    made = malloc((count + NAMES + 1) * sizeof *made);
    if (made == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        made[i] = environ[i];
    for (size_t i = 0; i < NAMES; i++) {
        if (getenv(names[i]) != NULL)
            continue;
        snprintf(texts[added], sizeof texts[added], "%s=%" PRIu32, names[i], threads);
        made[count + added] = texts[added];
        added++;
    }
    made[count + added] = NULL;
    environ = made;
}

void tine__environment_share(const struct tine__pool_shm *pool)
{
    uint32_t cpus = atomic_load_explicit(&pool->cpus, memory_order_relaxed);
    uint32_t workers = atomic_load_explicit(&pool->size, memory_order_relaxed);

    if (tine__sys_gettid() == getpid())
        tine__environment_limit(cpus > workers ? cpus / workers : 1);
}
