/* SPDX-License-Identifier: MIT */
/*
 * What a thread can forbid itself for ever: the system calls of Landlock and seccomp, which have no
 * functions in the C library. All return -errno.
 */
#ifndef TINE_LIB_CONFINE_H
#define TINE_LIB_CONFINE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

/* Rights on files, by the version that brought them (UAPI linux/landlock.h). */
#define TINE__LANDLOCK_EXECUTE    (UINT64_C(1) << 0)
#define TINE__LANDLOCK_WRITE_FILE (UINT64_C(1) << 1)
#define TINE__LANDLOCK_READ_FILE  (UINT64_C(1) << 2)
#define TINE__LANDLOCK_READ_DIR   (UINT64_C(1) << 3)
#define TINE__LANDLOCK_NAMES      (UINT64_C(0x1ff) << 4) /* making and removing them */
#define TINE__LANDLOCK_REFER      (UINT64_C(1) << 13)    /* 2 */
#define TINE__LANDLOCK_TRUNCATE   (UINT64_C(1) << 14)    /* 3 */
#define TINE__LANDLOCK_IOCTL_DEV  (UINT64_C(1) << 15)    /* 5 */

int tine__landlock_version(void);             /* 1 …; -ENOSYS, -EOPNOTSUPP (switched off) */
int tine__landlock_ruleset(uint64_t handled); /* a descriptor */
/* What lies at or beneath that descriptor may be used so. */
int tine__landlock_allow(int ruleset, int file, uint64_t rights);
int tine__landlock_restrict(int ruleset); /* after tine__no_new_privs() */

int tine__no_new_privs(void);
bool tine__seccomp_has(uint32_t action); /* SECCOMP_RET_… */
int tine__seccomp_filter(const struct sock_fprog *program);

#endif
