/* SPDX-License-Identifier: MIT */
/*
 * CPUs: how many this process can really use, which is the default number of workers.
 *
 * That is the least of
 *     the CPUs of its affinity mask (taskset, cpusets, sched_setaffinity), and
 *     the CPU time that its control groups allow, rounded up to whole CPUs; every level of the
 *     hierarchy counts, in version 1 (cpu.cfs_quota_us) and version 2 (cpu.max) alike.
 * The environment's TINE_CPU_COUNT=N, a positive number, replaces all that.
 *
 *     printf("%d workers\n", tine_cpu_count());
 *
 * A container with half a CPU has one; a machine of 64 CPUs and a quota of 250 % has three.
 */
#ifndef TINE_CPU_H
#define TINE_CPU_H

#include <tine/base.h>

TINE_BEGIN_DECLS

/**
 * tine_cpu_count - how many CPUs this process can use
 *
 * In:      none
 * Out:     none
 * Shape:   none
 * Units:   CPUs as the kernel schedules them (hardware threads)
 * Returns: 1 or more; read anew at each call, as limits may change while a program runs
 * Handle:  none
 * Give up: none
 * Blocks:  no, but reads a few small files
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  lib/cpu.c; follows os.process_cpu_count of Python 3.13 and cpu_count of loky;
 *          differs: the quotas of all parent groups count, in mixed hierarchies too
 * Since:   0.1
 */
TINE_API int tine_cpu_count(void);

TINE_END_DECLS

#endif
