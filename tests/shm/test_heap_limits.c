/* SPDX-License-Identifier: MIT */
/*
 * The heap of fresh programs under limits of every kind: a limit gives NULL, never a signal, and
 * work goes on after relief. The scenarios are in heap_probe.c, which each test executes.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/suite.h"

#define FRESH_PROGRAMS 1000

static char probe[512];

__attribute__((constructor)) static void find_probe(void)
{
    char self[400];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    self[length < 0 ? 0 : length] = '\0';
    snprintf(probe, sizeof probe, "%s/heap_probe", dirname(self));
}

/* Runs the probe, in a control group if one is given; its wait status. */
static int run(const char *scenario, const char *group, const char *limit)
{
    pid_t pid = fork();
    int status;

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        if (group != NULL) {
            char path[512];
            int fd;

            snprintf(path, sizeof path, "%s/cgroup.procs", group);
            fd = open(path, O_WRONLY | O_CLOEXEC);
            if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(3);
        }
        execl(probe, probe, scenario, group, limit, (char *)NULL);
        _exit(4);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void play(const char *scenario)
{
    int status = run(scenario, NULL, NULL);

    ck_assert_msg(status == 0, "%s: wait status %#x", scenario, (unsigned)status);
}

/* Each has another layout of its address space; the heap's address must be free in all. */
TEST(a_thousand_fresh_programs_map_the_same_address, .timeout_s = 120)
{
    for (int i = 0; i < FRESH_PROGRAMS; i++)
        play("map");
}

TEST(a_size_that_is_none_is_refused)
{
    play("bad_sizes");
}

TEST(a_full_heap_gives_null_and_room_again, .timeout_s = 60)
{
    play("small_heap");
}

TEST(an_address_space_limit_shrinks_the_heap)
{
    play("address_limit");
}

TEST(a_file_size_limit_shrinks_the_heap_without_a_signal)
{
    play("file_limit");
}

TEST(the_heap_leaves_standard_files_alone)
{
    play("closed_standard_files");
}

TEST(the_heap_lives_without_its_descriptor)
{
    play("closed_descriptor");
}

/* The directory of this process's group below a mount, "" if it cannot be known. */
static void own_group(const char *mount, const char *controllers, char *path, size_t size)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512];

    path[0] = '\0';
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *name = strchr(line, ':');

        line[strcspn(line, "\n")] = '\0';
        if (name != NULL && strncmp(name, controllers, strlen(controllers)) == 0)
            snprintf(path, size, "%s%s", mount, name + strlen(controllers));
    }
    if (file != NULL)
        fclose(file);
}

static bool write_limit(const char *group, const char *name)
{
    char path[600];
    int fd;
    bool written;

    snprintf(path, sizeof path, "%s/%s", group, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    written = fd >= 0 && write(fd, "268435456", 9) == 9;
    if (fd >= 0)
        close(fd);
    return written;
}

static void try_group(const char *mount, const char *controllers, const char *limit)
{
    char parent[400], group[500];
    int status;

    own_group(mount, controllers, parent, sizeof parent);
    snprintf(group, sizeof group, "%s/tine-heap-%d", parent, (int)getpid());
    if (parent[0] == '\0' || mkdir(group, 0755) < 0)
        SKIP("no control group can be made below '%s': %s", parent, strerror(errno));
    if (!write_limit(group, limit)) {
        rmdir(group);
        SKIP("%s/%s cannot be set", group, limit);
    }
    status = run("in_cgroup", group, limit);
    ck_assert_int_eq(rmdir(group), 0);
    ck_assert_msg(status == 0, "wait status %#x", (unsigned)status);
}

TEST(a_memory_cgroup_of_version_1_gives_null_and_nobody_is_killed, .timeout_s = 60)
{
    try_group("/sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes");
}

TEST(a_memory_cgroup_of_version_2_gives_null_and_nobody_is_killed, .timeout_s = 60)
{
    try_group("/sys/fs/cgroup", "::", "memory.max");
}

SUITE("shm/heap_limits")
