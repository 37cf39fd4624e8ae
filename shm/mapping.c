/* SPDX-License-Identifier: MIT */
/*
 * Mappings of files that may grow; see shm/mapping.h.
 *
 * The addresses come first, as a reservation without access, and the file is mapped over their
 * beginning. Growing maps the further part of the file over the next addresses and touches nothing
 * that is mapped already, so threads that use it notice nothing. Only a mapping without room moves.
 *
 * A forked child inherits the mapping and its own copy of the struct. When another thread of the
 * parent was in here at the fork, the child's struct says less than is mapped: some addresses too
 * few in use, none of them anybody else's.
 */
#include "shm/mapping.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/checked.h"
#include "lib/sys.h"

#define HUGE_PAGE ((size_t)2 << 20)

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Maps the file's bytes from … to-1, both multiples of the page, over the region. */
static int map_part(struct tine__mapping *mapping, int fd, size_t from, size_t to)
{
    int rc = tine__sys_map_over(mapping->data + from, to - from, mapping->prot, mapping->flags, fd,
                                from);

    if (rc == 0 && mapping->huge)
        tine__sys_huge(mapping->data + from, to - from);
    return rc;
}

int tine__mapping_open(struct tine__mapping *mapping, int fd, size_t size, size_t reserve)
{
    size_t mapped, reserved, unit = mapping->huge ? HUGE_PAGE : page_bytes();
    void *region;
    int rc;

    if (!tine__round_up(size, page_bytes(), &mapped) ||
        !tine__round_up(reserve > size ? reserve : size, page_bytes(), &reserved))
        return -ENOMEM;
    rc = tine__sys_reserve(reserved, unit, &region);
    if (rc < 0)
        return rc;
    mapping->data = region;
    mapping->reserved = reserved;
    rc = map_part(mapping, fd, 0, mapped);
    if (rc < 0)
        tine__mapping_close(mapping);
    else
        mapping->mapped = mapped;
    return rc;
}

static int move(struct tine__mapping *mapping, int fd, size_t size)
{
    struct tine__mapping moved = {
        .prot = mapping->prot, .flags = mapping->flags, .huge = mapping->huge};
    int rc = tine__mapping_open(&moved, fd, size, 0);

    if (rc < 0)
        return rc;
    tine__mapping_close(mapping);
    *mapping = moved;
    return 0;
}

int tine__mapping_extend(struct tine__mapping *mapping, int fd, size_t size, bool may_move)
{
    size_t wanted;
    int rc;

    if (!tine__round_up(size, page_bytes(), &wanted))
        return -ENOMEM;
    if (wanted <= mapping->mapped)
        return 0;
    if (wanted > mapping->reserved)
        return may_move ? move(mapping, fd, size) : -ENOMEM;
    rc = map_part(mapping, fd, mapping->mapped, wanted);
    if (rc == 0)
        mapping->mapped = wanted;
    return rc;
}

int tine__mapping_change(struct tine__mapping *mapping, int fd, int prot, int flags)
{
    int rc = tine__sys_map_over(mapping->data, mapping->mapped, prot, flags, fd, 0);

    if (rc == 0) {
        mapping->prot = prot;
        mapping->flags = flags;
    }
    return rc;
}

void tine__mapping_close(struct tine__mapping *mapping)
{
    if (mapping->data != NULL)
        munmap(mapping->data, mapping->reserved);
    mapping->data = NULL;
    mapping->mapped = mapping->reserved = 0;
}
