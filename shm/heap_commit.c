/* SPDX-License-Identifier: MIT */
/*
 * Memory behind the heap's pages: taken with fallocate, so that a page that was given out cannot
 * fail later, and given back by punching holes.
 *
 * A full file system is told exactly by fallocate. Control groups and the machine are not: the
 * kernel would rather kill a process than refuse a page of shared memory. So before each piece we
 * look at what is left along the memory cgroups' hierarchy (v1 and v2) and in MemAvailable.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/fork.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/heap_impl.h"
#include "shm/memory_left.h"

#define PIECE_BYTES ((size_t)HEAP_PIECE_MAX << HEAP_PAGE_SHIFT)

/* A program may have closed all descriptors that it did not know, and opened others. */
TINE__EARLY bool tine__heap_is_file(int fd)
{
    struct stat status;

    return fstat(fd, &status) == 0 && status.st_dev == tine__heap.device &&
           status.st_ino == tine__heap.inode;
}

static bool have_file(void)
{
    return tine__heap_is_file(tine__heap.fd);
}

int tine__heap_file(void)
{
    return have_file() ? tine__heap.fd : -EBADF;
}

static char *at(size_t offset)
{
    return (char *)tine__heap.shared + offset;
}

static int take(size_t offset, size_t size)
{
    if (have_file())
        return tine__sys_commit(tine__heap.fd, offset, size);
    return tine__sys_populate(at(offset), size);
}

int tine__heap_commit(size_t offset, size_t size)
{
    while (size > 0) {
        size_t piece = size < PIECE_BYTES ? size : PIECE_BYTES;

        if (tine__memory_left() < piece || take(offset, piece) < 0)
            return -ENOMEM;
        offset += piece;
        size -= piece;
    }
    return 0;
}

static size_t page_offset(uint32_t index)
{
    return (size_t)(heap_address(index) - (char *)tine__heap.shared);
}

int tine__heap_commit_pages(uint32_t index, uint32_t count)
{
    return tine__heap_commit(page_offset(index), (size_t)count << HEAP_PAGE_SHIFT);
}

int tine__heap_punch_pages(uint32_t index, uint32_t count)
{
    size_t size = (size_t)count << HEAP_PAGE_SHIFT;

    if (have_file())
        return tine__sys_punch(tine__heap.fd, page_offset(index), size);
    return madvise(heap_address(index), size, MADV_REMOVE) < 0 ? -errno : 0;
}
