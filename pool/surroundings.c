/* SPDX-License-Identifier: MIT */
/*
 * Surroundings of a process of the forkserver's; see pool/surroundings.h. No state.
 *
 * They travel in the shared block, and descriptors beside it. What the process has already, because
 * nothing has changed since the server began, it leaves alone.
 */
#include "pool/surroundings.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fork.h"
#include "lib/sig.h"
#include "lib/sys.h"

_Static_assert(sizeof(cpu_set_t) == TINE__CPU_WORDS * sizeof(uint64_t), "it is copied");
_Static_assert(RLIM_NLIMITS <= TINE__LIMITS_MAX, "there is room for all");

/* ---- the starter's side ---------------------------------------------------------------------- */

int tine__environment_pack(tine_buffer *buffer)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        size_t size = strlen(*at) + 1;
        int rc = tine__buffer_reserve(buffer, size);

        if (rc < 0)
            return rc;
        memcpy(buffer->data + buffer->size, *at, size);
        buffer->size += size;
    }
    return 0;
}

/* umask() would change it for the other threads to tell it. */
static uint32_t read_umask(void)
{
    char text[256];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    const char *line;

    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return TINE__NO_UMASK;
    text[size] = '\0';
    line = strstr(text, "\nUmask:");
    return line == NULL ? TINE__NO_UMASK : (uint32_t)strtoul(line + 7, NULL, 8);
}

static void pack_limits(struct tine__surroundings_shm *surroundings)
{
    for (uint32_t i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit limit;

        if (getrlimit(i, &limit) < 0)
            break;
        surroundings->limits[i].soft = limit.rlim_cur;
        surroundings->limits[i].hard = limit.rlim_max;
        surroundings->limit_count = i + 1;
    }
}

/* What the kernel keeps of a thread for its scheduler, and its signals. */
static void pack_thread(struct tine__surroundings_shm *surroundings)
{
    cpu_set_t cpus;

    surroundings->blocked = tine__sig_blocked();
    surroundings->niceness = getpriority(PRIO_PROCESS, 0);
    surroundings->cpus_known = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
    if (surroundings->cpus_known)
        memcpy(surroundings->cpus, &cpus, sizeof cpus);
}

int tine__surroundings_pack(struct tine__luggage *luggage, struct tine__process_shm *shared)
{
    struct tine__surroundings_shm *surroundings = &shared->surroundings;
    int here = tine__sys_above_standard(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));

    if (here < 0)
        return here;
    luggage->fds[luggage->count++] = here;
    surroundings->fd_count = 1;
    surroundings->streams = 0;
    for (int stream = 0; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) >= 0) {
            luggage->fds[luggage->count++] = stream;
            surroundings->streams |= 1u << stream;
            surroundings->fd_count++;
        }
    surroundings->umask = read_umask();
    pack_limits(surroundings);
    pack_thread(surroundings);
    return here;
}

/* ---- the process's side ---------------------------------------------------------------------- */

TINE__EARLY static int take_descriptors(const struct tine__surroundings_shm *surroundings,
                                        const int *fds)
{
    if (fchdir(*fds) < 0)
        return -errno;
    close(*fds++);
    for (int stream = 0; stream <= STDERR_FILENO; stream++) {
        if ((surroundings->streams >> stream & 1) == 0) {
            close(stream);
            continue;
        }
        if (dup2(*fds, stream) < 0)
            return -errno;
        close(*fds++);
    }
    return 0;
}

/* How many strings; -1: this process has exactly these. */
TINE__EARLY static long count_strings(const char *text, const char *end)
{
    char **at = environ;
    bool same = at != NULL || text == end;
    long count = 0;

    for (; text < end; text += strlen(text) + 1, count++)
        same = same && *at != NULL && strcmp(*at++, text) == 0;
    return same && (at == NULL || *at == NULL) ? -1 : count;
}

/* Copied, for forks of the process may outlive the shared block. */
TINE__EARLY static int take_environment(const char *text, size_t size)
{
    long count = count_strings(text, text + size);
    char **strings, *copy;

    if (count < 0)
        return 0;
    strings = malloc(((size_t)count + 1) * sizeof *strings + size);
    if (strings == NULL)
        return -ENOMEM;
    copy = memcpy(strings + count + 1, text, size);
    for (long i = 0; i < count; i++, copy += strlen(copy) + 1)
        strings[i] = copy;
    strings[count] = NULL;
    environ = strings; /* what was there before may still be pointed to */
    return 0;
}

TINE__EARLY int tine__surroundings_take(const struct tine__process_shm *shared, const int *fds)
{
    const struct tine__surroundings_shm *surroundings = &shared->surroundings;
    int rc;

    if (surroundings->fd_count == 0)
        return 0;
    rc = take_descriptors(surroundings, fds);
    if (rc < 0)
        return rc;
    if (surroundings->umask != TINE__NO_UMASK)
        umask((mode_t)surroundings->umask);
    return take_environment(tine__process_environment(shared), shared->environment_size);
}

/* As near as the process may: somebody else may have favoured the starter, or moved it. */
TINE__EARLY static void take_thread(const struct tine__surroundings_shm *surroundings)
{
    cpu_set_t cpus;
    sigset_t blocked;

    if (getpriority(PRIO_PROCESS, 0) != surroundings->niceness)
        (void)setpriority(PRIO_PROCESS, 0, surroundings->niceness);
    if (surroundings->cpus_known && sched_getaffinity(0, sizeof cpus, &cpus) == 0 &&
        memcmp(&cpus, surroundings->cpus, sizeof cpus) != 0) {
        memcpy(&cpus, surroundings->cpus, sizeof cpus);
        (void)sched_setaffinity(0, sizeof cpus, &cpus);
    }
    tine__sig_unpack(surroundings->blocked, &blocked);
    tine__sig_restore(&blocked);
}

TINE__EARLY int tine__surroundings_limit(const struct tine__process_shm *shared)
{
    const struct tine__surroundings_shm *surroundings = &shared->surroundings;

    if (surroundings->fd_count == 0)
        return 0;
    take_thread(surroundings);
    for (uint32_t i = 0; i < surroundings->limit_count; i++) {
        struct rlimit now, wanted = {.rlim_cur = surroundings->limits[i].soft,
                                     .rlim_max = surroundings->limits[i].hard};

        if (getrlimit(i, &now) == 0 && now.rlim_cur == wanted.rlim_cur &&
            now.rlim_max == wanted.rlim_max)
            continue;
        if (setrlimit(i, &wanted) < 0)
            return -errno;
    }
    return 0;
}
