/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs we use, and how busy others keep them.
 *
 * Everything runs on the first BENCH_WORKERS CPUs that this process may use, as the reference
 * figures did; on those, no process or thread of either side is bound any further.
 */
#include "bench/bench.h"

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define FOREIGN_MAX     0.06 /* of a core; above, figures and their ratios are doubtful */
#define FOREIGN_SLACK_S 0.03 /* /proc/stat counts in ticks of 10 ms, on each CPU */

void bench_load_confine(void)
{
    cpu_set_t usable, chosen;
    size_t count = 0;

    if (sched_getaffinity(0, sizeof usable, &usable) != 0)
        return;
    CPU_ZERO(&chosen);
    for (size_t cpu = 0; cpu < CPU_SETSIZE && count < BENCH_WORKERS; cpu++) {
        if (!CPU_ISSET(cpu, &usable))
            continue;
        CPU_SET(cpu, &chosen);
        count++;
    }
    sched_setaffinity(0, sizeof chosen, &chosen);
}

/* Ticks on our CPUs that were neither idle nor waiting for a disk, from the cpuN lines of
 * /proc/stat. */
static unsigned long long busy_ticks(void)
{
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal, sum = 0;
    char line[512];
    cpu_set_t ours;
    FILE *stat = fopen("/proc/stat", "re");
    size_t cpu;

    if (!stat)
        return 0;
    sched_getaffinity(0, sizeof ours, &ours);
    while (fgets(line, sizeof line, stat)) {
        if (sscanf(line, "cpu%zu %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &user, &nice,
                   &system, &idle, &iowait, &irq, &softirq, &steal) != 9)
            continue;
        if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &ours))
            sum += user + nice + system + irq + softirq + steal;
    }
    fclose(stat);
    return sum;
}

static double used_seconds(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void bench_load_read(struct bench_load *load)
{
    load->wall_s = bench_now();
    load->busy_s = (double)busy_ticks() / (double)sysconf(_SC_CLK_TCK);
    load->own_s = used_seconds(RUSAGE_SELF) + used_seconds(RUSAGE_CHILDREN);
}

bool bench_load_foreign(const struct bench_load *from, const struct bench_load *to)
{
    double foreign = (to->busy_s - from->busy_s) - (to->own_s - from->own_s);

    return foreign > FOREIGN_MAX * (to->wall_s - from->wall_s) + FOREIGN_SLACK_S;
}
