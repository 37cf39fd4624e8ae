/* SPDX-License-Identifier: MIT */
/*
 * Leaving shared memory, for processes that are trusted with none: a fork keeps all shared mappings
 * of its parent, and may write to them. Which there are stands in /proc/self/maps; private ones,
 * copied on write, stay.
 *
 * For a process with one thread that is about to lose all that leads to more of them.
 */
#include "lib/shared.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

/* The kernel gives whole lines, by address, so what is unmapped meanwhile makes it miss none. */
int tine__shared_leave(void)
{
    static const char form[] = "%" SCNxPTR "-%" SCNxPTR " %4s%*[^\n]";
    FILE *maps = fopen("/proc/self/maps", "re");
    uintptr_t begin, end;
    char access[5];
    int rc = 0;

    if (maps == NULL)
        return -errno;
    while (rc == 0 && fscanf(maps, form, &begin, &end, access) == 3)
        if (access[3] == 's' && munmap((void *)begin, end - begin) < 0)
            rc = -errno;
    if (rc == 0 && (ferror(maps) || !feof(maps)))
        rc = -EIO;
    fclose(maps);
    return rc;
}
