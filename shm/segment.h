/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_SEGMENT_H
#define TINE_SHM_SEGMENT_H

#include <stdatomic.h>
#include <sys/types.h>
#include <tine/shm.h>

#include "shm/mapping.h"

#define TINE__NAME_BYTES 256

/*
 * A segment in this process, named or not. `data` and `size` are what other threads may read while
 * one grows: a new size is stored after its bytes are mapped (release; acquire in tine_shm_size).
 */
struct tine_shm {
    struct tine__mapping mapping;
    void *_Atomic data;
    _Atomic size_t size;
    int fd;
    dev_t device; /* of the file; a named one's identity */
    ino_t inode;
    char name[TINE__NAME_BYTES];           /* "": a memfd */
    char temporary[TINE__NAME_BYTES + 16]; /* the path of a file that is not yet published, or "" */
};

/* How it is to be mapped. */
struct tine__segment_wish {
    size_t reserve;
    bool read_only;
    bool copy_on_write;
    bool huge;
};

/* A handle for fd, which it owns from now on, also on failure; size bytes of it mapped. */
int tine__segment_open(tine_shm **shm, int fd, size_t size, const struct tine__segment_wish *wish);
void tine__segment_close(tine_shm *shm);
/* Memory for bytes from … size-1 of the file, or its length alone; -ENOMEM before it is too late */
int tine__segment_allocate(int fd, size_t from, size_t size, bool sparse);

#endif
