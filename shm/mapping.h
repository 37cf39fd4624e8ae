/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_MAPPING_H
#define TINE_SHM_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A file's bytes in this process, from offset 0, with addresses kept free behind them so that the
 * mapping of a file that grows can grow in place.
 *
 * Region: [data, data + reserved), all of it this mapping's. [data, data + mapped) shows the file;
 * what is behind has no access. Private to the process; the caller serialises.
 */
struct tine__mapping {
    char *data; /* NULL: nothing mapped */
    size_t mapped;
    size_t reserved;
    int prot, flags; /* as of mmap */
    bool huge;
};

/* prot, flags and huge are set by the caller before. reserve: addresses to keep, 0 for none. */
int tine__mapping_open(struct tine__mapping *mapping, int fd, size_t size, size_t reserve);
/* Shows `size` bytes. Where the reserve ends it moves, or -ENOMEM when it may not. */
int tine__mapping_extend(struct tine__mapping *mapping, int fd, size_t size, bool may_move);
/* Another access to the same bytes at the same address, in one step. */
int tine__mapping_change(struct tine__mapping *mapping, int fd, int prot, int flags);
void tine__mapping_close(struct tine__mapping *mapping);

#endif
