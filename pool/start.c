/* SPDX-License-Identifier: MIT */
/* What the ways to start a process have in common; see pool/start.h. No state. */
#include "pool/start.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"

void tine__start_flush(void)
{
    FILE *streams[] = {stdout, stderr};

    for (size_t i = 0; i < 2; i++)
        if (ftrylockfile(streams[i]) == 0) {
            fflush(streams[i]);
            funlockfile(streams[i]);
        }
}

void tine__start_warn_of_threads(const char *who)
{
    struct stat tasks;

    if (tine__log_wanted(TINE_LOG_WARNING) && stat("/proc/self/task", &tasks) == 0 &&
        tasks.st_nlink > 3)
        tine__log_warning("%s: forking a program with %u threads", who,
                          (unsigned)tasks.st_nlink - 2);
}

void tine__start_without_stdin(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    if (null != STDIN_FILENO)
        close(null);
}
