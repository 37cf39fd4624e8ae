/* SPDX-License-Identifier: MIT */
/*
 * Inside a pass: repeat the work, take the median.
 *
 * Medians, because now and then a repetition meets an interrupt or another program; the same rule
 * holds for both sides of a case.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPARE_MB 1024 /* stays free beside a ballast */

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double bench_percentile(double *values, size_t count, size_t percent)
{
    qsort(values, count, sizeof *values, ascending);
    return values[(count - 1) * percent / 100];
}

/* One timed repetition. */
static int once(const struct bench_work *work, double *seconds)
{
    double start;
    int rc = work->prepare ? work->prepare(work->arg) : 0;

    if (rc != 0)
        return rc;
    start = bench_now();
    rc = work->run(work->arg);
    *seconds = bench_now() - start;
    return rc;
}

int bench_seconds(const struct bench_pass *pass, const struct bench_work *work, double *seconds)
{
    size_t count = (size_t)pass->repetitions;
    double *times = calloc(count, sizeof *times);
    double warm_up;
    int rc = times ? once(work, &warm_up) : -ENOMEM;

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = once(work, &times[i]);
    if (rc == 0)
        *seconds = bench_median(times, count);
    free(times);
    return rc;
}

int bench_each(const struct bench_pass *pass, const struct bench_work *work, double per_second,
               double *value)
{
    double seconds;
    int rc = bench_seconds(pass, work, &seconds);

    if (rc == 0)
        *value = seconds / (double)pass->n * per_second;
    return rc;
}

int bench_speedup(const struct bench_pass *pass, const struct bench_work *one,
                  const struct bench_work *two, double *speedup)
{
    size_t count = (size_t)pass->repetitions;
    double *ratios = calloc(count, sizeof *ratios);
    double alone = 0, together = 0;
    int rc = ratios ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = once(one, &alone);
        if (rc == 0)
            rc = once(two, &together);
        if (rc == 0)
            ratios[i] = alone / together;
    }
    if (rc == 0)
        *speedup = bench_median(ratios, count);
    free(ratios);
    return rc;
}

/* The state letter follows the name in parentheses, which may itself contain any character. */
static char state_of(pid_t tid)
{
    char path[64], text[512];
    const char *name_end;
    ssize_t length;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = 0;
    name_end = strrchr(text, ')');
    return name_end && name_end[1] ? name_end[2] : 0;
}

int bench_await_sleep(pid_t tid)
{
    char state;

    while ((state = state_of(tid)) == 'R')
        sched_yield();
    return state == 'S' ? 0 : -ESRCH;
}

/* Else the kernel would end somebody for it. Where it cannot be told, there is. */
static bool has_memory(size_t bytes)
{
    unsigned long long kib = ULLONG_MAX;
    FILE *info = fopen("/proc/meminfo", "re");
    char line[128];

    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (info)
        fclose(info);
    return kib / 1024 > bytes / 1024 / 1024 + SPARE_MB;
}

void *bench_ballast(size_t bytes)
{
    void *memory = has_memory(bytes) ? mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                     : MAP_FAILED;

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    memset(memory, 1, bytes);
    return memory;
}
