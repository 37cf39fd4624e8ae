/* SPDX-License-Identifier: MIT */
/*
 * Segments without a name: memfds that travel as descriptors, and their seals.
 *
 * A seal binds everybody and for good, so a receiver can rely on it whoever sent the memfd. Without
 * the seal against shrinking its sender could make any access of ours a SIGBUS: attaching insists
 * on it. TINE_SEAL_WRITE needs that no mapping can write, so this process's own is first replaced,
 * in one step and at its address, by a private one that cannot; when another process still has one,
 * it is put back. The bytes are the same throughout.
 *
 * The handle, its mapping and what a fork means are those of shm/segment.c.
 */
#include <tine/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/auto.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "shm/held.h"
#include "shm/segment.h"

#define ALL_SEALS                                                                                  \
    (TINE_SEAL_SHRINK | TINE_SEAL_GROW | TINE_SEAL_WRITE | TINE_SEAL_FUTURE_WRITE | TINE_SEAL_SEAL)

_Static_assert(sizeof(tine_memfd_options) == 96, "its size never changes");

static struct tine__segment_wish wish_of(const tine_memfd_options *options)
{
    return (struct tine__segment_wish){.reserve = options->reserve,
                                       .read_only = options->read_only,
                                       .copy_on_write = options->copy_on_write,
                                       .huge = options->huge_pages};
}

static int make_file(size_t size, const tine_memfd_options *options)
{
    TINE__AUTO_FD fd = tine__sys_memfd(options->label == NULL ? "tine" : options->label);
    int rc;

    if (fd < 0)
        return fd;
    rc = tine__segment_allocate(fd, 0, size, options->sparse);
    if (rc == 0)
        rc = tine__sys_seal(fd, F_SEAL_SHRINK | (options->growable ? 0 : F_SEAL_GROW));
    return rc < 0 ? rc : tine__take_fd(&fd);
}

int tine_memfd_create(tine_shm **shm, size_t size, const tine_memfd_options *options)
{
    static const tine_memfd_options defaults;
    struct tine__segment_wish wish;
    int rc;

    if (options == NULL)
        options = &defaults;
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (shm == NULL || size == 0 || options->size_min != 0 || options->read_only ||
        options->copy_on_write || options->allow_unsealed)
        return -EINVAL;
    wish = wish_of(options);
    rc = make_file(size, options);
    return rc < 0 ? rc : tine__segment_open(shm, rc, size, &wish);
}

static int check_file(int fd, const tine_memfd_options *options, size_t *size)
{
    struct stat status;
    int seals;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    seals = tine__sys_seals(fd);
    if (!options->allow_unsealed && (seals < 0 || (seals & F_SEAL_SHRINK) == 0))
        return -EPERM;
    if (status.st_size == 0 || (size_t)status.st_size < options->size_min)
        return -EPROTO;
    *size = (size_t)status.st_size;
    return 0;
}

/*
 * Before Linux 6.7 even a read-only mapping of what is sealed against writing is refused when it is
 * shared. A private one that never writes shows the same bytes.
 */
static int open_for_reading(tine_shm **shm, int fd, size_t size,
                            const struct tine__segment_wish *wish)
{
    struct tine__segment_wish private = *wish;
    int copy = tine__sys_dup(fd), rc;

    if (copy < 0)
        return copy;
    rc = tine__segment_open(shm, copy, size, wish);
    if (rc != -EPERM || !wish->read_only)
        return rc;
    private.copy_on_write = true;
    copy = tine__sys_dup(fd);
    return copy < 0 ? copy : tine__segment_open(shm, copy, size, &private);
}

int tine_memfd_attach(tine_shm **shm, int fd, const tine_memfd_options *options)
{
    static const tine_memfd_options defaults;
    struct tine__segment_wish wish;
    size_t size = 0;
    int rc;

    if (options == NULL)
        options = &defaults;
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    if (shm == NULL || options->label != NULL || options->growable || options->sparse ||
        (options->read_only && options->copy_on_write))
        return -EINVAL;
    rc = check_file(fd, options, &size);
    if (rc < 0)
        return rc;
    wish = wish_of(options);
    return open_for_reading(shm, fd, size, &wish);
}

static int kernel_seals(uint32_t seals)
{
    return (seals & TINE_SEAL_SHRINK ? F_SEAL_SHRINK : 0) |
           (seals & TINE_SEAL_GROW ? F_SEAL_GROW : 0) |
           (seals & TINE_SEAL_WRITE ? F_SEAL_WRITE : 0) |
           (seals & TINE_SEAL_FUTURE_WRITE ? F_SEAL_FUTURE_WRITE : 0) |
           (seals & TINE_SEAL_SEAL ? F_SEAL_SEAL : 0);
}

static int seal_against_writing(tine_shm *shm, int seals)
{
    struct tine__mapping *mapping = &shm->mapping;
    const int prot = mapping->prot, flags = mapping->flags;
    int rc;

    if (flags != MAP_SHARED || (prot & PROT_WRITE) == 0)
        return tine__sys_seal(shm->fd, seals);
    if (tine__held_within(mapping->data, mapping->mapped))
        return -EBUSY;
    rc = tine__mapping_change(mapping, shm->fd, PROT_READ, MAP_PRIVATE);
    if (rc < 0)
        return rc;
    rc = tine__sys_seal(shm->fd, seals);
    if (rc < 0 && tine__mapping_change(mapping, shm->fd, prot, flags) < 0)
        return -ENOMEM; /* still mapped, but for reading only */
    return rc;
}

int tine_memfd_seal(tine_shm *shm, uint32_t seals)
{
    if (shm == NULL || shm->name[0] != '\0' || seals == 0 || (seals & ~(uint32_t)ALL_SEALS) != 0)
        return -EINVAL;
    if ((seals & TINE_SEAL_WRITE) != 0)
        return seal_against_writing(shm, kernel_seals(seals));
    return tine__sys_seal(shm->fd, kernel_seals(seals));
}
