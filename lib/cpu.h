/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_CPU_H
#define TINE_LIB_CPU_H

/*
 * CPUs that control groups allow, rounded up; INT_MAX without a limit. `membership` is a file like
 * /proc/self/cgroup, `root` the directory where the hierarchies are mounted, /sys/fs/cgroup.
 */
int tine__cpu_quota(const char *membership, const char *root);

#endif
