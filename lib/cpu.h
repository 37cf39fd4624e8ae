/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_CPU_H
#define TINE_LIB_CPU_H

#include <sys/types.h>

/*
 * CPUs that control groups allow, rounded up; INT_MAX without a limit. `membership` is a file like
 * /proc/self/cgroup, `root` the directory where the hierarchies are mounted, /sys/fs/cgroup.
 */
int tine__cpu_quota(const char *membership, const char *root);

/* What TINE_CPU_COUNT says; 0: nothing. */
int tine__cpu_count_given(void);
/* What that process can use, whatever it says: 1 or more; -errno, or -EIO where it cannot be
   told. */
int tine__cpu_count_of(pid_t pid);

#endif
