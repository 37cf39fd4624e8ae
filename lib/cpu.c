/* SPDX-License-Identifier: MIT */
/*
 * Usable CPUs: affinity and control group quota. No state; whatever cannot be read or understood is
 * no limit.
 *
 * A line of /proc/self/cgroup is "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers. PATH
 * begins at the hierarchy's mount point, except in a container without a cgroup namespace: there it
 * is the host's path, and the mount point shows only the container's own group. Walking from PATH
 * upwards and passing over what does not exist is right in both cases.
 */
#include "lib/cpu.h"

#include <tine/cpu.h>

#include "lib/auto.h"
#include "lib/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_LIMIT INT_MAX

/* Above the most CPUs that Linux can be configured for (8192), and above any sensible override. */
#define CPUS_MAX 65536

/* A directory of a hierarchy; names of files are appended in place. */
struct group {
    char path[2048];
    size_t root_length; /* of the mount point, which ends the walk upwards */
};

/* Reads up to `room` numbers of the group's file. How many came: 0 for "max" and for no file. */
static int read_numbers(struct group *group, const char *name, int64_t *numbers, int room)
{
    size_t length = strlen(group->path);
    FILE *file;
    int count = 0;

    if (snprintf(group->path + length, sizeof group->path - length, "/%s", name) >=
        (int)(sizeof group->path - length)) {
        group->path[length] = '\0';
        return 0;
    }
    file = fopen(group->path, "re");
    group->path[length] = '\0';
    if (file == NULL)
        return 0;
    while (count < room && fscanf(file, "%" SCNd64, &numbers[count]) == 1)
        count++;
    fclose(file);
    return count;
}

static int ceil_ratio(int64_t quota, int64_t period)
{
    int64_t cpus;

    if (quota <= 0 || period <= 0)
        return NO_LIMIT;
    cpus = quota / period + (quota % period != 0);
    return cpus > CPUS_MAX ? NO_LIMIT : (int)cpus;
}

static int quota_v2(struct group *group)
{
    int64_t numbers[2];

    if (read_numbers(group, "cpu.max", numbers, 2) != 2)
        return NO_LIMIT;
    return ceil_ratio(numbers[0], numbers[1]);
}

static int quota_v1(struct group *group)
{
    int64_t quota, period;

    if (read_numbers(group, "cpu.cfs_quota_us", &quota, 1) != 1 ||
        read_numbers(group, "cpu.cfs_period_us", &period, 1) != 1)
        return NO_LIMIT;
    return ceil_ratio(quota, period);
}

/* The least quota on the way from a group up to the mount point of its hierarchy. */
static int least_quota(const char *root, const char *mount, const char *path,
                       int (*quota)(struct group *group))
{
    struct group group;
    int least = NO_LIMIT;

    /* "/../x" is a group outside of this cgroup namespace: only the mount point can be seen. */
    if (strncmp(path, "/..", 3) == 0)
        path = "";
    group.root_length = strlen(root) + strlen(mount);
    if ((size_t)snprintf(group.path, sizeof group.path, "%s%s%s", root, mount, path) >=
        sizeof group.path)
        return NO_LIMIT;
    for (;;) {
        int here = quota(&group);
        char *slash;

        least = here < least ? here : least;
        slash = strrchr(group.path + group.root_length, '/');
        if (slash == NULL)
            return least;
        *slash = '\0';
    }
}

static bool exists(const char *root, const char *name)
{
    char path[512];

    return (size_t)snprintf(path, sizeof path, "%s%s", root, name) < sizeof path &&
           access(path, F_OK) == 0;
}

static bool lists_cpu(const char *controllers)
{
    for (const char *word = controllers; word != NULL; word = strchr(word, ',')) {
        word += *word == ',';
        if (strncmp(word, "cpu", 3) == 0 && (word[3] == ',' || word[3] == '\0'))
            return true;
    }
    return false;
}

static int line_quota(char *line, const char *root)
{
    char mount[64], *controllers = strchr(line, ':'), *path;

    line[strcspn(line, "\n")] = '\0';
    if (controllers == NULL || (path = strchr(++controllers, ':')) == NULL)
        return NO_LIMIT;
    *path++ = '\0';
    if (controllers[0] == '\0') /* version 2, alone or beside version 1 */
        return least_quota(root, exists(root, "/cgroup.controllers") ? "" : "/unified", path,
                           quota_v2);
    if (!lists_cpu(controllers))
        return NO_LIMIT;
    snprintf(mount, sizeof mount, "/%s", controllers);
    return least_quota(root, exists(root, mount) ? mount : "/cpu", path, quota_v1);
}

int tine__cpu_quota(const char *membership, const char *root)
{
    FILE *file = fopen(membership, "re");
    TINE__AUTO_FREE char *line = NULL;
    size_t room = 0;
    int least = NO_LIMIT;

    if (file == NULL)
        return NO_LIMIT;
    while (getline(&line, &room, file) > 0) {
        int quota = line_quota(line, root);

        least = quota < least ? quota : least;
    }
    fclose(file);
    return least;
}

/* A mask smaller than the kernel's is refused with EINVAL, so it grows until it is large enough. */
static int affinity_count(pid_t pid)
{
    for (size_t cpus = 1024; cpus <= CPUS_MAX; cpus *= 2) {
        size_t size = CPU_ALLOC_SIZE(cpus);
        TINE__AUTO_FREE cpu_set_t *set = CPU_ALLOC(cpus);

        if (set == NULL)
            return -ENOMEM;
        if (sched_getaffinity(pid, size, set) == 0)
            return CPU_COUNT_S(size, set);
        if (errno != EINVAL)
            return -errno;
    }
    return -EIO;
}

int tine__cpu_count_of(pid_t pid)
{
    char membership[32];
    int count = affinity_count(pid), quota;

    if (count < 0)
        return count;
    snprintf(membership, sizeof membership, "/proc/%d/cgroup", (int)pid);
    if (access(membership, R_OK) < 0) /* in a sandbox: no quota is not what it means */
        return -errno;
    quota = tine__cpu_quota(membership, "/sys/fs/cgroup");
    count = quota < count ? quota : count;
    return count > 0 ? count : 1;
}

int tine__cpu_count_given(void)
{
    const char *text = getenv("TINE_CPU_COUNT");
    char *end;
    long count;

    if (text == NULL || text[0] == '\0')
        return 0;
    count = strtol(text, &end, 10);
    if (*end == '\0' && count > 0 && count <= CPUS_MAX)
        return (int)count;
    tine__log_warning("TINE_CPU_COUNT=%.32s is no number from 1 to %d: ignored", text, CPUS_MAX);
    return 0;
}

int tine_cpu_count(void)
{
    int count = tine__cpu_count_given(), quota;

    if (count > 0)
        return count;
    count = affinity_count(0);
    if (count < 0)
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    quota = tine__cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    count = quota < count ? quota : count;
    return count > 0 ? count : 1;
}
