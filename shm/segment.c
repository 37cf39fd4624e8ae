/* SPDX-License-Identifier: MIT */
/*
 * Segments of shared memory: the handle that named ones and memfds have in common, and names.
 *
 * A named segment is a file in /dev/shm and nothing else: no header, no registry. It is made
 * without a name, gets its memory and its content, and is then linked under the name in one step
 * that fails when the name exists. So whoever finds a name finds a complete segment, and a creator
 * that is killed before that step leaves nothing, since the kernel drops a file without name and
 * holder.
 *
 * Unlinking compares the file under the name with the handle's, under a lock of that file (flock),
 * which all of tine's unlinkers take: between comparison and unlink the name can change only by
 * somebody who had to take the same lock. The lock is the kernel's, and goes with its holder.
 *
 * Nothing here is in shared memory. A handle is private: a forked child has a copy, whose mapping
 * and descriptor are its own.
 */
#include "shm/segment.h"

#include <tine/time.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/auto.h"
#include "lib/clock.h"
#include "lib/random.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "shm/held.h"
#include "shm/memory_left.h"

#define DIRECTORY         "/dev/shm"
#define PATH_BYTES        (sizeof DIRECTORY + TINE__NAME_BYTES)
#define MODE_DEFAULT      0600
#define MODES             0666
#define LOOK_BYTES        ((size_t)1 << 20) /* more than this only after a look at what is left */
#define UNLINK_PATIENCE   TINE_SEC(1)
#define UNLINK_PAUSE_NS   1000000
#define GENERATED_PREFIX  "tine-"
#define TEMPORARY_PREFIX  ".tine-"
#define RANDOM_NAME_BYTES 16

_Static_assert(sizeof(tine_shm_options) == 112, "its size never changes");

/* ---- the handle ------------------------------------------------------------------------------ */

int tine__segment_allocate(int fd, size_t from, size_t size, bool sparse)
{
    if (sparse)
        return tine__sys_resize(fd, size);
    if (size - from > LOOK_BYTES && size - from > tine__memory_left())
        return -ENOMEM;
    return tine__sys_extend(fd, from, size);
}

static void set_access(struct tine__mapping *mapping, const struct tine__segment_wish *wish)
{
    mapping->prot = wish->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    mapping->flags = wish->copy_on_write ? MAP_PRIVATE : MAP_SHARED;
    mapping->huge = wish->huge;
}

/* Tells other threads; the size last, for what it counts must be there. */
static void show(tine_shm *shm, size_t size)
{
    atomic_store_explicit(&shm->data, shm->mapping.data, memory_order_relaxed);
    /* pairs with the acquire in tine_shm_size */
    atomic_store_explicit(&shm->size, size, memory_order_release);
}

int tine__segment_open(tine_shm **shm, int fd, size_t size, const struct tine__segment_wish *wish)
{
    tine_shm *made = calloc(1, sizeof *made);
    struct stat status;
    int rc;

    if (made == NULL) {
        close(fd);
        return -ENOMEM;
    }
    made->fd = fd;
    set_access(&made->mapping, wish);
    rc = fstat(fd, &status) < 0 ? -errno : 0;
    if (rc == 0)
        rc = tine__mapping_open(&made->mapping, fd, size, wish->reserve);
    if (rc < 0) {
        tine__segment_close(made);
        return rc;
    }
    made->device = status.st_dev;
    made->inode = status.st_ino;
    show(made, size);
    *shm = made;
    return 0;
}

void tine__segment_close(tine_shm *shm)
{
    if (shm->temporary[0] != '\0')
        (void)tine__sys_unlink(shm->temporary);
    tine__mapping_close(&shm->mapping);
    close(shm->fd);
    free(shm);
}

void *tine_shm_data(const tine_shm *shm)
{
    return shm == NULL ? NULL : atomic_load_explicit(&shm->data, memory_order_relaxed);
}

size_t tine_shm_size(const tine_shm *shm)
{
    /* pairs with the release in show() */
    return shm == NULL ? 0 : atomic_load_explicit(&shm->size, memory_order_acquire);
}

const char *tine_shm_name(const tine_shm *shm)
{
    return shm == NULL || shm->name[0] == '\0' ? NULL : shm->name;
}

int tine_shm_fd(const tine_shm *shm)
{
    return shm == NULL ? -EINVAL : shm->fd;
}

static bool holds_lock(const tine_shm *shm)
{
    return tine__held_within(shm->mapping.data, shm->mapping.mapped);
}

int tine_shm_detach(tine_shm *shm)
{
    if (shm == NULL)
        return 0;
    if (holds_lock(shm))
        return -EBUSY;
    tine__segment_close(shm);
    return 0;
}

/* What a copy-on-write mapping has changed would be lost if it moved. */
static int map_all(tine_shm *shm, size_t size)
{
    struct tine__mapping *mapping = &shm->mapping;
    int rc;

    if (size > mapping->reserved && holds_lock(shm))
        return -EBUSY;
    rc = tine__mapping_extend(mapping, shm->fd, size, mapping->flags == MAP_SHARED);
    if (rc == 0)
        show(shm, size);
    return rc;
}

int tine_shm_refresh(tine_shm *shm)
{
    struct stat status;

    if (shm == NULL)
        return -EINVAL;
    if (fstat(shm->fd, &status) < 0)
        return -errno;
    if ((size_t)status.st_size <= tine_shm_size(shm))
        return 0;
    return map_all(shm, (size_t)status.st_size);
}

/* Whether this handle may make the file longer, and use what it adds. */
static int may_grow(const tine_shm *shm)
{
    int seals;

    if ((shm->mapping.prot & PROT_WRITE) == 0 || shm->mapping.flags != MAP_SHARED)
        return -EACCES;
    seals = tine__sys_seals(shm->fd);
    if (seals > 0 && (seals & (F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
        return -EPERM;
    return 0;
}

int tine_shm_grow(tine_shm *shm, size_t size)
{
    struct stat status;
    int rc = shm == NULL ? -EINVAL : may_grow(shm);

    if (rc < 0)
        return rc;
    if (size > shm->mapping.reserved && holds_lock(shm))
        return -EBUSY;
    if (fstat(shm->fd, &status) < 0)
        return -errno;
    if ((size_t)status.st_size < size)
        rc = tine__segment_allocate(shm->fd, (size_t)status.st_size, size, false);
    return rc < 0 ? rc : tine_shm_refresh(shm);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int check_name(const char *name, char *checked)
{
    size_t length;

    if (name == NULL)
        return -EINVAL;
    if (*name == '/')
        name++;
    length = strlen(name);
    if (length == 0 || length >= TINE__NAME_BYTES || strchr(name, '/') != NULL ||
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EINVAL;
    memcpy(checked, name, length + 1);
    return 0;
}

static void path_of(const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, DIRECTORY "/%s", name);
}

static void random_name(const char *prefix, char name[TINE__NAME_BYTES])
{
    unsigned char bytes[RANDOM_NAME_BYTES];
    size_t length = (size_t)snprintf(name, TINE__NAME_BYTES, "%s", prefix);

    tine__random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(name + length + 2 * i, 3, "%02x", bytes[i]);
}

static struct tine__segment_wish wish_of(const tine_shm_options *options)
{
    return (struct tine__segment_wish){.reserve = options->reserve,
                                       .read_only = options->read_only,
                                       .copy_on_write = options->copy_on_write,
                                       .huge = options->huge_pages};
}

/* ---- attaching ------------------------------------------------------------------------------- */

/* A hard link to another file of ours would lead us astray, so a segment has one name. */
static int check_file(const struct stat *status, const tine_shm_options *options)
{
    if (!S_ISREG(status->st_mode))
        return -EACCES;
    if (!options->any_owner && (status->st_uid != geteuid() || status->st_nlink != 1 ||
                                (status->st_mode & (S_IWGRP | S_IWOTH)) != 0))
        return -EACCES;
    if (status->st_size == 0)
        return -EAGAIN;
    return (size_t)status->st_size < options->size_min ? -EPROTO : 0;
}

/* A segment that others made sparse gets all its memory, if this user may write to it at all. */
static int fill_holes(const char *path, const struct stat *status)
{
    TINE__AUTO_FD fd = -1;
    struct stat found;

    if (status->st_blocks >= (status->st_size + 511) / 512)
        return 0;
    fd = tine__sys_open(path, true);
    if (fd < 0 || fstat(fd, &found) < 0 || found.st_ino != status->st_ino)
        return 0;
    return tine__segment_allocate(fd, 0, (size_t)status->st_size, false);
}

/* -ESTALE: it was unlinked while we looked, and there may be another one now. */
static int check_and_fill(int fd, const char *path, const tine_shm_options *options, size_t *size)
{
    struct stat status;
    int rc;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (status.st_nlink == 0)
        return -ESTALE;
    rc = check_file(&status, options);
    if (rc == 0 && !options->sparse)
        rc = fill_holes(path, &status);
    *size = (size_t)status.st_size;
    return rc;
}

static int attach_once(tine_shm **shm, const char *name, const tine_shm_options *options)
{
    const struct tine__segment_wish wish = wish_of(options);
    TINE__AUTO_FD fd = -1;
    char path[PATH_BYTES];
    size_t size = 0;
    int rc;

    path_of(name, path);
    fd = tine__sys_open(path, !options->read_only && !options->copy_on_write);
    if (fd < 0)
        return fd == -ELOOP || fd == -EISDIR || fd == -ENXIO ? -EACCES : fd;
    rc = check_and_fill(fd, path, options, &size);
    if (rc == 0)
        rc = tine__segment_open(shm, tine__take_fd(&fd), size, &wish);
    if (rc == 0)
        strcpy((*shm)->name, name);
    return rc;
}

static int attach(tine_shm **shm, const char *name, const tine_shm_options *options)
{
    int rc;

    do
        rc = attach_once(shm, name, options);
    while (rc == -ESTALE);
    return rc;
}

int tine_shm_attach(tine_shm **shm, const char *name, const tine_shm_options *options)
{
    static const tine_shm_options defaults;
    char checked[TINE__NAME_BYTES];
    int rc;

    if (options == NULL)
        options = &defaults;
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    rc = check_name(name, checked);
    if (rc < 0)
        return rc;
    if (shm == NULL || options->init != NULL || options->mode != 0 || options->exist_ok ||
        (options->read_only && options->copy_on_write))
        return -EINVAL;
    return attach(shm, checked, options);
}

/* ---- creating -------------------------------------------------------------------------------- */

/* A file that nobody finds; where it cannot be nameless, under a name that nobody asks for. */
static int hidden_file(uint32_t mode, char temporary[PATH_BYTES])
{
    char name[TINE__NAME_BYTES];
    int fd;

    temporary[0] = '\0';
    fd = tine__sys_tmpfile(DIRECTORY, mode);
    if (fd != -ENOTSUP)
        return fd;
    random_name(TEMPORARY_PREFIX, name);
    path_of(name, temporary);
    fd = tine__sys_create(temporary, mode);
    if (fd < 0)
        temporary[0] = '\0';
    return fd;
}

/* The complete segment, still without its name. */
static int build(tine_shm **shm, size_t size, const tine_shm_options *options)
{
    const struct tine__segment_wish wish = wish_of(options);
    char temporary[PATH_BYTES];
    tine_shm *made;
    int rc, fd = hidden_file(options->mode == 0 ? MODE_DEFAULT : options->mode, temporary);

    if (fd < 0)
        return fd == -ENOENT ? -ENOTSUP : fd;
    rc = tine__segment_allocate(fd, 0, size, options->sparse);
    if (rc < 0)
        close(fd);
    else
        rc = tine__segment_open(&made, fd, size, &wish);
    if (rc < 0) {
        if (temporary[0] != '\0')
            (void)tine__sys_unlink(temporary);
        return rc;
    }
    strcpy(made->temporary, temporary);
    if (options->init != NULL)
        rc = options->init(tine_shm_data(made), size, options->context);
    if (rc < 0)
        tine__segment_close(made);
    else
        *shm = made;
    return rc < 0 ? rc : 0;
}

/* One step: the name did not exist before, and bears the whole segment afterwards. */
static int publish(tine_shm *shm, const char *name)
{
    char path[PATH_BYTES];
    int rc;

    path_of(name, path);
    rc = shm->temporary[0] == '\0' ? tine__sys_link(shm->fd, path)
                                   : tine__sys_rename_new(shm->temporary, path);
    if (rc == 0) {
        shm->temporary[0] = '\0';
        strcpy(shm->name, name);
    }
    return rc;
}

static int publish_generated(tine_shm *shm)
{
    char name[TINE__NAME_BYTES];
    int rc;

    do {
        random_name(GENERATED_PREFIX, name);
        rc = publish(shm, name);
    } while (rc == -EEXIST);
    return rc;
}

static int create(tine_shm **shm, const char *name, size_t size, const tine_shm_options *options)
{
    tine_shm *made;
    int rc = build(&made, size, options);

    if (rc < 0)
        return rc;
    rc = name[0] == '\0' ? publish_generated(made) : publish(made, name);
    if (rc < 0)
        tine__segment_close(made);
    else
        *shm = made;
    return rc;
}

/* Each turn means that another process has made or unlinked it: somebody always gets on. */
static int create_or_attach(tine_shm **shm, const char *name, size_t size,
                            const tine_shm_options *options)
{
    tine_shm_options existing = *options;
    int rc;

    if (existing.size_min < size)
        existing.size_min = size;
    do {
        rc = attach(shm, name, &existing);
        if (rc != -ENOENT)
            return rc == 0 ? 1 : rc;
        rc = create(shm, name, size, options);
    } while (rc == -EEXIST);
    return rc;
}

int tine_shm_create(tine_shm **shm, const char *name, size_t size, const tine_shm_options *options)
{
    static const tine_shm_options defaults;
    char checked[TINE__NAME_BYTES] = "";
    int rc;

    if (options == NULL)
        options = &defaults;
    if (TINE__RESERVED_SET(options->reserved8) || TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    rc = name != NULL ? check_name(name, checked) : 0;
    if (rc < 0)
        return rc;
    if (shm == NULL || size == 0 || (options->mode & ~(uint32_t)MODES) != 0 || options->read_only ||
        options->copy_on_write || (options->exist_ok && name == NULL))
        return -EINVAL;
    if (options->exist_ok)
        return create_or_attach(shm, checked, size, options);
    return create(shm, checked, size, options);
}

/* ---- unlinking ------------------------------------------------------------------------------- */

/* Another unlinker is a few instructions from the end, or has been stopped there. */
static int lock_patiently(int fd)
{
    tine__deadline deadline = tine__deadline_after(UNLINK_PATIENCE);
    const struct timespec pause = {.tv_nsec = UNLINK_PAUSE_NS};
    int rc;

    while ((rc = tine__sys_try_lock(fd)) == -EAGAIN) {
        if (tine__deadline_left(deadline) == 0)
            return -EBUSY;
        nanosleep(&pause, NULL);
    }
    return rc;
}

static bool is_file(const struct stat *status, dev_t device, ino_t inode)
{
    return status->st_dev == device && status->st_ino == inode;
}

/* The file behind fd loses its name, if it still bears it; -ENOENT if not. */
static int unlink_locked(int fd, const char *path)
{
    struct stat mine, named;

    if (fstat(fd, &mine) < 0 || lstat(path, &named) < 0)
        return -errno;
    if (!is_file(&named, mine.st_dev, mine.st_ino))
        return -ENOENT;
    return tine__sys_unlink(path);
}

/* wanted NULL: whatever bears the name. */
static int unlink_once(const char *path, const tine_shm *wanted)
{
    TINE__AUTO_FD fd = tine__sys_open(path, false);
    struct stat status;
    int rc;

    if (fd < 0)
        return fd == -ELOOP || fd == -ENXIO ? -EACCES : fd;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EACCES;
    if (wanted != NULL && !is_file(&status, wanted->device, wanted->inode))
        return -ENOENT;
    rc = lock_patiently(fd);
    if (rc < 0)
        return rc;
    rc = unlink_locked(fd, path);
    tine__sys_unlock(fd);
    return rc;
}

int tine_shm_unlink(const tine_shm *shm)
{
    char path[PATH_BYTES];

    if (tine_shm_name(shm) == NULL)
        return -EINVAL;
    path_of(shm->name, path);
    return unlink_once(path, shm);
}

int tine_shm_unlink_name(const char *name)
{
    char checked[TINE__NAME_BYTES], path[PATH_BYTES];
    int rc = check_name(name, checked);

    if (rc < 0)
        return rc;
    path_of(checked, path);
    return unlink_once(path, NULL);
}
