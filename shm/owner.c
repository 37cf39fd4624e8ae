/* SPDX-License-Identifier: MIT */
/*
 * Who is that process, and does it still live? The answers come from /proc/PID/stat: state, number
 * of threads, start time. A zombie counts as dead, unless it is only the main thread of a process
 * that goes on. Where /proc is not mounted, existence of the pid has to do.
 */
#include "shm/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/auto.h"
#include "lib/random.h"

struct stat_line {
    char state;
    long threads;
    uint64_t start;
};

/* The fields after the command name, which may itself hold spaces and parentheses. */
static bool parse(const char *text, struct stat_line *line)
{
    const char *end = strrchr(text, ')');
    unsigned long long start;

    if (end == NULL)
        return false;
    if (sscanf(end + 1,
               " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
               &line->state, &line->threads, &start) != 3)
        return false;
    line->start = start;
    return true;
}

/* 0, -ESRCH for no such process, another code when /proc cannot be read */
static int read_stat(pid_t pid, struct stat_line *line)
{
    char path[32], text[1024];
    ssize_t got;
    TINE__AUTO_FD fd = -1;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT && kill(pid, 0) < 0 && errno == ESRCH ? -ESRCH : -EIO;
    do
        got = read(fd, text, sizeof text - 1);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == ESRCH ? -ESRCH : -EIO;
    text[got] = '\0';
    return parse(text, line) ? 0 : -EIO;
}

void tine__owner_identify(struct tine__owner *self)
{
    struct stat_line line = {.start = 0};
    pid_t pid = getpid();

    /* Without /proc the start time stays 0 and is not compared later. */
    (void)read_stat(pid, &line);
    self->pid = pid;
    self->start = line.start;
    self->id = tine__random_u64();
}

bool tine__owner_lives(const struct tine__owner *owner)
{
    struct stat_line line;
    int rc;

    if (owner->pid <= 0)
        return false;
    rc = read_stat(owner->pid, &line);
    if (rc == -ESRCH)
        return false;
    if (rc < 0)
        return kill(owner->pid, 0) == 0 || errno != ESRCH;
    if (owner->start != 0 && line.start != owner->start)
        return false;
    return (line.state != 'Z' && line.state != 'X') || line.threads > 1;
}

void tine__owner_fill(struct tine__owner_shm *row, const struct tine__owner *owner)
{
    atomic_store_explicit(&row->pid, owner->pid, memory_order_relaxed);
    atomic_store_explicit(&row->start, owner->start, memory_order_relaxed);
    atomic_store_explicit(&row->id, owner->id, memory_order_relaxed);
    /* pairs with the acquire in tine__owner_read */
    atomic_store_explicit(&row->state, TINE__OWNER_LIVE, memory_order_release);
}

bool tine__owner_read(const struct tine__owner_shm *row, struct tine__owner *owner)
{
    if (atomic_load_explicit(&row->state, memory_order_acquire) != TINE__OWNER_LIVE)
        return false;
    owner->pid = atomic_load_explicit(&row->pid, memory_order_relaxed);
    owner->start = atomic_load_explicit(&row->start, memory_order_relaxed);
    owner->id = atomic_load_explicit(&row->id, memory_order_relaxed);
    return true;
}
