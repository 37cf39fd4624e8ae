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
#include <sys/stat.h>
#include <unistd.h>

#include "lib/auto.h"
#include "lib/fork.h"
#include "lib/random.h"
#include "lib/sys.h"

/* tine__owner_word: see owner.h */
#define PID_SHIFT       2
#define PID_MASK        (((uint64_t)1 << 22) - 1) /* the kernel's PID_MAX_LIMIT */
#define START_SHIFT     24
#define START_MASK      (((uint64_t)1 << 28) - 1)
#define NAMESPACE_SHIFT 52
#define NAMESPACE_BITS  12

#define EXITING 4 /* PF_EXITING: the kernel shows a task's flags as they are */

struct stat_line {
    char state;
    unsigned flags;
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
               " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
               &line->state, &line->flags, &line->threads, &start) != 4)
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

/* For who has no descriptor left to read with: a zombie has no program and one thread. */
static bool is_zombie(pid_t pid)
{
    char path[32], link[1];
    struct stat status;

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    if (readlink(path, link, sizeof link) >= 0 || errno != ENOENT)
        return false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    return stat(path, &status) == 0 && status.st_nlink == 3; /* with "." and ".." */
}

/* The start time is compared in the bits of mask; 0: it is not known. */
static bool lives(pid_t pid, uint64_t start, uint64_t mask)
{
    struct stat_line line;
    int rc;

    if (pid <= 0)
        return false;
    rc = read_stat(pid, &line);
    if (rc == -ESRCH)
        return false;
    if (rc < 0)
        return (kill(pid, 0) == 0 || errno != ESRCH) && !is_zombie(pid);
    if (start != 0 && (line.start & mask) != start)
        return false;
    return (line.state != 'Z' && line.state != 'X') || line.threads > 1;
}

bool tine__owner_lives(const struct tine__owner *owner)
{
    return lives(owner->pid, owner->start, UINT64_MAX);
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

/* The word of this process, void once the generation differs. */
static _Atomic uint64_t self_generation;
static _Atomic uint64_t self_word;

/* 0: there is no such namespace. */
static uint64_t namespace_number(const char *path)
{
    struct stat status;

    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_ino;
}

/* Of the pid namespace, and of the time namespace, which shifts the start times that /proc
   shows. */
static uint64_t namespace_hash(void)
{
    uint64_t pid = namespace_number("/proc/self/ns/pid");
    uint64_t time = namespace_number("/proc/self/ns/time");
    uint64_t hash = (pid + (time << 32)) * 0x9e3779b97f4a7c15u >> (64 - NAMESPACE_BITS);

    if (pid == 0)
        return 0;
    return hash != 0 ? hash : 1;
}

static uint64_t make_word(pid_t pid, uint64_t namespace)
{
    struct stat_line line = {.start = 0};

    (void)read_stat(pid, &line);
    return (uint64_t)pid << PID_SHIFT | (line.start & START_MASK) << START_SHIFT |
           namespace << NAMESPACE_SHIFT;
}

uint64_t tine__owner_word(void)
{
    uint64_t generation = tine__fork_generation_fast(), word;

    /* pairs with the release below: the word is of that generation */
    if (generation != 0 &&
        atomic_load_explicit(&self_generation, memory_order_acquire) == generation)
        return atomic_load_explicit(&self_word, memory_order_relaxed);
    word = make_word(getpid(), namespace_hash());
    atomic_store_explicit(&self_word, word, memory_order_relaxed);
    atomic_store_explicit(&self_generation, generation, memory_order_release);
    return word;
}

uint64_t tine__owner_word_thread(void)
{
    uint64_t process = tine__owner_word();
    pid_t tid = tine__sys_gettid();

    /* What is known of the process may not be read any more: in a sandbox there is no /proc. A word
       without its namespace would be another namespace's, whose dead nobody can tell. */
    return tid == getpid() ? process : make_word(tid, process >> NAMESPACE_SHIFT);
}

uint64_t tine__owner_word_of(pid_t pid)
{
    uint64_t word = make_word(pid, tine__owner_word() >> NAMESPACE_SHIFT);

    return tine__owner_word_lives(word) ? word : 0;
}

bool tine__owner_word_lives(uint64_t word)
{
    if (tine__owner_word_same(word, tine__owner_word()))
        return true;
    if (!tine__owner_word_near(word))
        return tine__owner_word_pid(word) != 0;
    return lives(tine__owner_word_pid(word), word >> START_SHIFT & START_MASK, START_MASK);
}

bool tine__owner_word_runs(uint64_t word)
{
    struct stat_line line;
    int rc;

    if (!tine__owner_word_near(word))
        return tine__owner_word_pid(word) != 0;
    rc = read_stat(tine__owner_word_pid(word), &line);
    if (rc < 0)
        return rc != -ESRCH && tine__owner_word_lives(word);
    return line.state == 'R' && (line.start & START_MASK) == (word >> START_SHIFT & START_MASK);
}

bool tine__owner_word_exits(uint64_t word)
{
    struct stat_line line;
    int rc;

    if (!tine__owner_word_near(word))
        return false;
    rc = read_stat(tine__owner_word_pid(word), &line);
    if (rc < 0)
        return rc == -ESRCH;
    return (line.flags & EXITING) != 0 ||
           (line.start & START_MASK) != (word >> START_SHIFT & START_MASK);
}

bool tine__owner_word_near(uint64_t word)
{
    return word >> NAMESPACE_SHIFT == tine__owner_word() >> NAMESPACE_SHIFT;
}

bool tine__owner_word_same(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~TINE__OWNER_MARKS) == 0;
}

pid_t tine__owner_word_pid(uint64_t word)
{
    return (pid_t)(word >> PID_SHIFT & PID_MASK);
}
