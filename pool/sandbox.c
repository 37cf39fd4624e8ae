/* SPDX-License-Identifier: MIT */
/*
 * Sandboxes of workers: checked and copied when the pool is opened, entered by each worker.
 *
 * What the kernel must have is asked before anything is started: Landlock of version 3, before
 * which files could be cut to nothing, and seccomp with actions that kill. A worker enters in an
 * order in which no step forbids the next: CPUs, niceness, limits, privileges, files, system calls.
 * What it fails in breaks the pool (pool/initialize.c). Written by the program, read by the
 * workers, never changed.
 */
#include "pool/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/auto.h"
#include "lib/checked.h"
#include "lib/confine.h"
#include "lib/reserved.h"
#include "pool/compute.h"

#define FILES                (TINE_SANDBOX_READ_ONLY | TINE_SANDBOX_LISTED)
#define ALL                  (TINE_SANDBOX_NO_NEW_PRIVS | FILES | TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL)
#define NICE_MAX             39 /* from the best to the worst */
#define LANDLOCK_VERSION_MIN 3

#define READING (TINE__LANDLOCK_EXECUTE | TINE__LANDLOCK_READ_FILE | TINE__LANDLOCK_READ_DIR)
#define CHANGING                                                                                   \
    (TINE__LANDLOCK_WRITE_FILE | TINE__LANDLOCK_NAMES | TINE__LANDLOCK_REFER |                     \
     TINE__LANDLOCK_TRUNCATE)
#define OF_FILES /* others make sense for directories only */                                      \
    (TINE__LANDLOCK_EXECUTE | TINE__LANDLOCK_WRITE_FILE | TINE__LANDLOCK_READ_FILE |               \
     TINE__LANDLOCK_TRUNCATE | TINE__LANDLOCK_IOCTL_DEV)

/* ---- when the pool is opened ----------------------------------------------------------------- */

static bool is_list(const void *items, size_t count)
{
    return (items == NULL) == (count == 0);
}

static int check_shape(const tine_sandbox *sandbox)
{
    uint32_t files = sandbox->flags & FILES;

    if (TINE__RESERVED_SET(sandbox->reserved))
        return -E2BIG;
    if ((sandbox->flags & ~(uint32_t)ALL) != 0 || files == FILES || sandbox->nice < 0 ||
        sandbox->nice > NICE_MAX)
        return -EINVAL;
    if ((sandbox->flags & TINE_SANDBOX_KILL) != 0 &&
        (sandbox->flags & TINE_SANDBOX_COMPUTE_ONLY) == 0)
        return -EINVAL;
    if (!is_list(sandbox->limits, sandbox->limit_count) ||
        !is_list(sandbox->cpus, sandbox->cpu_count) ||
        !is_list(sandbox->readable, sandbox->readable_count) ||
        !is_list(sandbox->writable, sandbox->writable_count))
        return -EINVAL;
    return (sandbox->readable_count > 0 && files != TINE_SANDBOX_LISTED) ||
                   (sandbox->writable_count > 0 && files == 0)
               ? -EINVAL
               : 0;
}

static int check_limits(const tine_sandbox *sandbox)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < sandbox->limit_count; i++) {
        const tine_sandbox_limit *limit = &sandbox->limits[i];

        if (limit->reserved0 != 0)
            return -E2BIG;
        if (limit->resource < 0 || limit->resource >= TINE__SANDBOX_LIMITS ||
            limit->soft > limit->hard || (seen >> limit->resource & 1) != 0)
            return -EINVAL;
        seen |= UINT64_C(1) << limit->resource;
    }
    return 0;
}

/* Those that the program may use itself. */
static int check_cpus(const tine_sandbox *sandbox)
{
    cpu_set_t usable;

    if (sandbox->cpu_count == 0)
        return 0;
    if (sched_getaffinity(0, sizeof usable, &usable) < 0)
        return -ENOTSUP;
    for (size_t i = 0; i < sandbox->cpu_count; i++)
        if (sandbox->cpus[i] < 0 || sandbox->cpus[i] >= CPU_SETSIZE ||
            !CPU_ISSET((size_t)sandbox->cpus[i], &usable))
            return -EINVAL;
    return 0;
}

/* Adds the paths, each with its end. */
static int check_paths(const char *const *paths, size_t count, size_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        TINE__AUTO_FD fd = -1;

        if (paths[i] == NULL)
            return -EINVAL;
        fd = open(paths[i], O_PATH | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        if (!tine__add_size(*bytes, strlen(paths[i]) + 1, bytes))
            return -EOVERFLOW;
    }
    return 0;
}

static int probe(uint32_t flags)
{
    if ((flags & FILES) != 0 && tine__landlock_version() < LANDLOCK_VERSION_MIN)
        return -ENOTSUP;
    return (flags & TINE_SANDBOX_COMPUTE_ONLY) != 0 ? tine__compute_probe() : 0;
}

static char *copy_paths(char *to, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to = stpcpy(to, paths[i]) + 1;
    return to;
}

static void fill(struct tine__sandbox_shm *made, const tine_sandbox *sandbox)
{
    made->flags = sandbox->flags;
    made->nice = sandbox->nice;
    made->limit_count = (uint32_t)sandbox->limit_count;
    made->readable = sandbox->readable_count;
    made->writable = sandbox->writable_count;
    for (size_t i = 0; i < sandbox->limit_count; i++)
        made->limits[i] = sandbox->limits[i];
    for (size_t i = 0; i < sandbox->cpu_count; i++)
        made->cpus[sandbox->cpus[i] / 64] |= UINT64_C(1) << sandbox->cpus[i] % 64;
    made->has_cpus = sandbox->cpu_count > 0;
    copy_paths(copy_paths(made->paths, sandbox->readable, sandbox->readable_count),
               sandbox->writable, sandbox->writable_count);
}

static int check(const tine_sandbox *sandbox, size_t *path_bytes)
{
    int rc = check_shape(sandbox);

    if (rc == 0)
        rc = check_limits(sandbox);
    if (rc == 0)
        rc = check_cpus(sandbox);
    if (rc == 0)
        rc = check_paths(sandbox->readable, sandbox->readable_count, path_bytes);
    if (rc == 0)
        rc = check_paths(sandbox->writable, sandbox->writable_count, path_bytes);
    return rc == 0 ? probe(sandbox->flags) : rc;
}

int tine__sandbox_make(struct tine__sandbox_shm **made, const tine_sandbox *sandbox)
{
    size_t size = sizeof **made;
    int rc = check(sandbox, &size);

    if (rc < 0)
        return rc;
    *made = tine_calloc(1, size);
    if (*made == NULL)
        return -ENOMEM;
    (*made)->size = size;
    fill(*made, sandbox);
    return 0;
}

/* ---- in a worker ----------------------------------------------------------------------------- */

static int enter_cpus(const struct tine__sandbox_shm *sandbox)
{
    cpu_set_t set;

    if (!sandbox->has_cpus)
        return 0;
    CPU_ZERO(&set);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if ((sandbox->cpus[cpu / 64] >> cpu % 64 & 1) != 0)
            CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}

static int enter_niceness(const struct tine__sandbox_shm *sandbox)
{
    errno = 0;
    return sandbox->nice != 0 && nice(sandbox->nice) == -1 && errno != 0 ? -errno : 0;
}

static int enter_limits(const struct tine__sandbox_shm *sandbox)
{
    for (uint32_t i = 0; i < sandbox->limit_count; i++) {
        const tine_sandbox_limit *limit = &sandbox->limits[i];
        /* UINT64_MAX is RLIM_INFINITY */
        struct rlimit64 wanted = {.rlim_cur = limit->soft, .rlim_max = limit->hard};

        if (setrlimit64((__rlimit_resource_t)limit->resource, &wanted) < 0)
            return -errno;
    }
    return 0;
}

static int allow_path(int ruleset, const char *path, uint64_t rights)
{
    TINE__AUTO_FD fd = open(path, O_PATH | O_CLOEXEC);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    return tine__landlock_allow(ruleset, fd, S_ISDIR(status.st_mode) ? rights : rights & OF_FILES);
}

static int allow_paths(int ruleset, const struct tine__sandbox_shm *sandbox, uint64_t handled)
{
    const char *path = sandbox->paths;
    int rc = 0;

    for (uint64_t i = 0; i < sandbox->readable + sandbox->writable && rc == 0; i++) {
        rc = allow_path(ruleset, path, i < sandbox->readable ? READING : handled);
        path += strlen(path) + 1;
    }
    return rc;
}

static int enter_files(const struct tine__sandbox_shm *sandbox)
{
    uint64_t handled = CHANGING;
    TINE__AUTO_FD ruleset = -1;
    int rc;

    if ((sandbox->flags & FILES) == 0)
        return 0;
    if ((sandbox->flags & TINE_SANDBOX_LISTED) != 0)
        handled |= READING;
    if (tine__landlock_version() >= 5)
        handled |= TINE__LANDLOCK_IOCTL_DEV;
    ruleset = tine__landlock_ruleset(handled);
    if (ruleset < 0)
        return ruleset;
    rc = allow_paths(ruleset, sandbox, handled);
    return rc == 0 ? tine__landlock_restrict(ruleset) : rc;
}

static int enter_privileges(const struct tine__sandbox_shm *sandbox)
{
    return sandbox->flags != 0 ? tine__no_new_privs() : 0;
}

static int enter_calls(const struct tine__sandbox_shm *sandbox)
{
    if ((sandbox->flags & TINE_SANDBOX_COMPUTE_ONLY) == 0)
        return 0;
    return tine__compute_only((sandbox->flags & TINE_SANDBOX_KILL) != 0, sandbox->alone != 0);
}

static const struct step {
    int (*enter)(const struct tine__sandbox_shm *sandbox);
    const char *name;
} steps[] = {
    {enter_cpus, "CPUs"},     {enter_niceness, "niceness"},
    {enter_limits, "limits"}, {enter_privileges, "no new privileges"},
    {enter_files, "files"},   {enter_calls, "system calls"},
};

int tine__sandbox_enter(const struct tine__sandbox_shm *sandbox, char *message, size_t size)
{
    int rc = 0;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && rc == 0; i++) {
        rc = steps[i].enter(sandbox);
        if (rc < 0)
            snprintf(message, size, "the sandbox cannot be entered: %s: %s", steps[i].name,
                     tine_strerror(rc));
    }
    return rc;
}
