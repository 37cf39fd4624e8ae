/* SPDX-License-Identifier: MIT */
#include "tests/support/proc.h"
#include "tests/support/suite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool proc_read(int tid, struct proc *proc)
{
    char path[64], line[512];
    const char *open_paren,
        *close_paren; /* the name between them may hold blanks and parentheses */
    FILE *file;
    bool read;

    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (!read || (open_paren = strchr(line, '(')) == NULL ||
        (close_paren = strrchr(line, ')')) == NULL)
        return false;
    snprintf(proc->name, sizeof proc->name, "%.*s", (int)(close_paren - open_paren - 1),
             open_paren + 1);
    return sscanf(close_paren + 1, " %c %d %d", &proc->state, &proc->parent, &proc->group) == 3;
}

bool proc_asleep(int tid)
{
    struct proc proc;

    return proc_read(tid, &proc) && proc.state == 'S';
}

uint64_t proc_delay_ns(int tid)
{
    char path[64];
    uint64_t ran, waited;
    FILE *file;
    bool read;

    snprintf(path, sizeof path, "/proc/%d/schedstat", tid);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    read = fscanf(file, "%" SCNu64 " %" SCNu64, &ran, &waited) == 2;
    fclose(file);
    return read ? waited : 0;
}

int proc_next(DIR *directory)
{
    struct dirent *entry;

    while ((entry = readdir(directory)) != NULL)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            return atoi(entry->d_name);
    return -1;
}

int proc_threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    int count = 0;

    if (directory == NULL)
        return -1;
    while (proc_next(directory) >= 0)
        count++;
    closedir(directory);
    return count;
}

int proc_files(pid_t pid)
{
    char path[32];
    DIR *directory;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    while (proc_next(directory) >= 0)
        count++;
    closedir(directory);
    return count;
}
