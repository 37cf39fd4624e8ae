/* SPDX-License-Identifier: MIT */
/*
 * Landlock and seccomp: raw system calls, as in lib/sys.c, for the sandboxes of workers.
 */
#include "lib/confine.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys.h"

/* The same numbers on all architectures; headers of Linux before 5.13 lack them. */
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_ADD_RULE       445
#define LANDLOCK_RESTRICT_SELF  446
#define VERSION_FLAG            1U
#define RULE_PATH_BENEATH       1

struct ruleset {
    uint64_t handled_access_fs;
};

struct path_beneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

static int result_of(long rc)
{
    return rc < 0 ? -errno : (int)rc;
}

int tine__landlock_version(void)
{
    return result_of(syscall(LANDLOCK_CREATE_RULESET, NULL, 0, VERSION_FLAG));
}

int tine__landlock_ruleset(uint64_t handled)
{
    struct ruleset ruleset = {.handled_access_fs = handled};
    int fd = result_of(syscall(LANDLOCK_CREATE_RULESET, &ruleset, sizeof ruleset, 0));

    return fd < 0 ? fd : tine__sys_above_standard(fd); /* it is CLOEXEC */
}

int tine__landlock_allow(int ruleset, int file, uint64_t rights)
{
    struct path_beneath rule = {.allowed_access = rights, .parent_fd = file};

    return result_of(syscall(LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0));
}

int tine__landlock_restrict(int ruleset)
{
    return result_of(syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0));
}

int tine__no_new_privs(void)
{
    return result_of(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

bool tine__seccomp_has(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int tine__seccomp_filter(const struct sock_fprog *program)
{
    return result_of(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program));
}
