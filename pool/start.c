/* SPDX-License-Identifier: MIT */
/* What the ways to start a process have in common; see pool/start.h. No state. */
#include "pool/start.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/futex_lock.h"
#include "lib/log.h"
#include "lib/sys.h"

/* Where nothing is pending the stream is not touched: after a fork each page that is written to
   costs as much as 20 system calls. */
static bool flush(FILE *stream)
{
    if (__fpending(stream) == 0)
        return true;
    if (ftrylockfile(stream) != 0)
        return false;
    fflush(stream);
    funlockfile(stream);
    return __fpending(stream) == 0;
}

bool tine__start_flush(void)
{
    bool done = flush(stdout);

    return flush(stderr) && done && TINE__ALONE;
}

void tine__start_warn_of_threads(const char *who)
{
    struct stat tasks;

    if (TINE__ALONE)
        return;
    if (tine__log_wanted(TINE_LOG_WARNING) && stat("/proc/self/task", &tasks) == 0 &&
        tasks.st_nlink > 3)
        tine__log_warning("%s: forking a program with %u threads", who,
                          (unsigned)tasks.st_nlink - 2);
}

void tine__start_without_stdin(void)
{
    int null = tine__sys_above_standard(open("/dev/null", O_RDONLY | O_CLOEXEC));

    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        close(STDIN_FILENO);
    if (null >= 0)
        close(null);
}
