/* SPDX-License-Identifier: MIT */
/* The dynamic loader's lock, held; see loader.h. */
#include "tests/support/loader.h"

#include <link.h>
#include <stdatomic.h>

#include "lib/sys.h"
#include "tests/support/suite.h"

static int dwell(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info;
    (void)size;
    (void)data;
    for (int i = 0; i < 1000; i++)
        tine__cpu_relax();
    return 0;
}

static void *keep_busy(void *context)
{
    struct loader *loader = context;

    while (!atomic_load(&loader->may_rest))
        dl_iterate_phdr(dwell, NULL);
    return NULL;
}

void loader_keep_busy(struct loader *loader)
{
    atomic_init(&loader->may_rest, false);
    ck_assert_int_eq(pthread_create(&loader->thread, NULL, keep_busy, loader), 0);
}

void loader_rest(struct loader *loader)
{
    atomic_store(&loader->may_rest, true);
    ck_assert_int_eq(pthread_join(loader->thread, NULL), 0);
}
