/* SPDX-License-Identifier: MIT */
/*
 * What memory is left; see shm/memory_left.h. Reads /proc/meminfo, /proc/self/cgroup and, for every
 * memory cgroup from ours up to the root, its limit, usage and page cache (which the kernel
 * gives back before it refuses). A file that is missing bounds nothing.
 */
#include "shm/memory_left.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/auto.h"

#define MARGIN    ((size_t)1 << 20) /* page tables and other costs that come with the pages */
#define TEXT_SIZE 2560
#define PATH_SIZE 512

/* The cgroup files of one version. */
struct version {
    const char *mount, *limit, *usage, *inactive, *active;
};

static const struct version v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                  "memory.usage_in_bytes", "\ntotal_inactive_file ",
                                  "\ntotal_active_file "};
static const struct version v2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                  "\ninactive_file ", "\nactive_file "};

/* The file as one string; false when it cannot be read. What does not fit is cut off. */
static bool read_text(const char *path, char *text, size_t size)
{
    TINE__AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t have = 0;

    while (fd >= 0 && have < size - 1) {
        ssize_t got = read(fd, text + have, size - 1 - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    text[have] = '\0';
    return have > 0;
}

/* The number after `key`, or `otherwise`. */
static size_t number_after(const char *text, const char *key, size_t otherwise)
{
    const char *found = strstr(text, key);

    if (found == NULL)
        return otherwise;
    return (size_t)strtoull(found + strlen(key), NULL, 10);
}

static bool read_number(const char *directory, const char *file, size_t *number)
{
    char path[PATH_SIZE], text[64], *end;

    if (snprintf(path, sizeof path, "%s/%s", directory, file) >= (int)sizeof path ||
        !read_text(path, text, sizeof text))
        return false;
    *number = (size_t)strtoull(text, &end, 10);
    return end != text; /* "max" is no number */
}

/* Page cache that the kernel would drop for us: all that is idle, half of what is in use. */
static size_t droppable(const char *directory, const struct version *version)
{
    char path[PATH_SIZE], text[TEXT_SIZE];

    if (snprintf(path, sizeof path, "%s/memory.stat", directory) >= (int)sizeof path ||
        !read_text(path, text, sizeof text))
        return 0;
    return number_after(text, version->inactive, 0) + number_after(text, version->active, 0) / 2;
}

static size_t left_in(const char *directory, const struct version *version)
{
    size_t limit, usage, spare;

    if (!read_number(directory, version->limit, &limit) ||
        !read_number(directory, version->usage, &usage))
        return SIZE_MAX;
    spare = limit > usage ? limit - usage : 0;
    if (spare > SIZE_MAX / 4)
        return SIZE_MAX;
    return spare + droppable(directory, version);
}

/* The least that is left on the way from the group at `path` to the root. */
static size_t left_along(const struct version *version, const char *path)
{
    char directory[PATH_SIZE];
    size_t root = strlen(version->mount), least = SIZE_MAX;

    if (snprintf(directory, sizeof directory, "%s%s", version->mount, path) >=
        (int)sizeof directory)
        return SIZE_MAX;
    for (;;) {
        size_t left = left_in(directory, version);
        char *slash;

        if (left < least)
            least = left;
        slash = strrchr(directory, '/');
        if (slash == NULL || (size_t)(slash - directory) < root)
            return least;
        *slash = '\0';
    }
}

/* One line of /proc/self/cgroup: number:controllers:path */
static size_t left_by_line(char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

    if (path == NULL)
        return SIZE_MAX;
    *path++ = '\0';
    controllers++;
    if (*controllers == '\0')
        return left_along(&v2, path);
    for (char *save = NULL, *name = strtok_r(controllers, ",", &save); name != NULL;
         name = strtok_r(NULL, ",", &save))
        if (strcmp(name, "memory") == 0)
            return left_along(&v1, path);
    return SIZE_MAX;
}

static size_t left_in_groups(void)
{
    char text[TEXT_SIZE];
    size_t least = SIZE_MAX;

    if (!read_text("/proc/self/cgroup", text, sizeof text))
        return SIZE_MAX;
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        size_t left = left_by_line(line);

        if (left < least)
            least = left;
    }
    return least;
}

static size_t left_in_machine(void)
{
    char text[TEXT_SIZE];
    size_t kib;

    if (!read_text("/proc/meminfo", text, sizeof text))
        return SIZE_MAX;
    kib = number_after(text, "\nMemAvailable:", SIZE_MAX);
    return kib > SIZE_MAX / 1024 ? SIZE_MAX : kib * 1024;
}

size_t tine__memory_left(void)
{
    size_t machine = left_in_machine(), groups = left_in_groups();
    size_t left = machine < groups ? machine : groups;

    if (left == SIZE_MAX)
        return left;
    return left > MARGIN ? left - MARGIN : 0;
}
