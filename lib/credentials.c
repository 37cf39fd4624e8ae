/* SPDX-License-Identifier: MIT */
/*
 * Credentials of the calling thread, and of others; see lib/credentials.h. No state.
 *
 * By system calls, and by /proc for the namespaces alone, which take most of the time: some
 * microseconds. A namespace of pids or of time is none of the thread's own, only of its children to
 * come, and is left out. Seccomp shows whether there is a filter, not which one; Landlock shows
 * nothing, but mostly comes with no_new_privs.
 */
#include "lib/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/hash.h"
#include "lib/sys.h"

#define FEW_GROUPS   64
#define MANY_GROUPS  65536 /* NGROUPS_MAX */
#define STATUS_BYTES 3072  /* of a process with up to some hundred groups */

_Static_assert(sizeof(struct tine__credentials) ==
                   6 * 4 + 8 + 3 * 8 + 8 + 4 * 4 + 2 * 8 + TINE__NAMESPACES * 8,
               "there are no gaps");

/* Who could choose what is hashed here need not. */
static const struct tine__hash_seed seed = {.start = UINT64_C(0x7469006e65637264),
                                            .factor = UINT64_C(0x9e3779b97f4a7c15)};

/* ---- capabilities ---------------------------------------------------------------------------- */

static uint64_t both(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

int tine__capabilities_read(struct tine__capabilities *capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}}; /* valgrind 3.19 takes one to be written */
    int rc = tine__sys_capget(&header, data);

    if (rc < 0)
        return rc;
    capabilities->effective = both(data[0].effective, data[1].effective);
    capabilities->permitted = both(data[0].permitted, data[1].permitted);
    capabilities->inheritable = both(data[0].inheritable, data[1].inheritable);
    return 0;
}

int tine__capabilities_lower(const struct tine__capabilities *most)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    struct tine__capabilities own, left;
    int rc = tine__capabilities_read(&own);

    if (rc < 0)
        return rc;
    left.permitted = own.permitted & most->permitted;
    left.effective = own.effective & most->effective & left.permitted;
    left.inheritable = own.inheritable & most->inheritable;
    if (memcmp(&own, &left, sizeof own) == 0)
        return 0;
    for (int i = 0; i < 2; i++) {
        data[i].effective = (uint32_t)(left.effective >> 32 * i);
        data[i].permitted = (uint32_t)(left.permitted >> 32 * i);
        data[i].inheritable = (uint32_t)(left.inheritable >> 32 * i);
    }
    return tine__sys_capset(&header, data);
}

static uint64_t read_bounding(void)
{
    uint64_t bounding = 0;

    for (unsigned i = 0; i < 64; i++) {
        int rc = prctl(PR_CAPBSET_READ, i);

        if (rc < 0)
            break; /* the kernel has no more */
        bounding |= (uint64_t)rc << i;
    }
    return bounding;
}

/* ---- users and groups ------------------------------------------------------------------------ */

static void hash_groups(struct tine__credentials *credentials, const gid_t *groups, int count)
{
    credentials->group_count = count < 0 ? -errno : count;
    if (count > 0)
        credentials->groups = tine__hash(groups, (size_t)count * sizeof *groups, &seed);
}

static void read_groups(struct tine__credentials *credentials)
{
    gid_t few[FEW_GROUPS], *many;
    int count = getgroups(FEW_GROUPS, few);

    if (count >= 0 || errno != EINVAL) {
        hash_groups(credentials, few, count);
        return;
    }
    many = malloc(MANY_GROUPS * sizeof *many);
    if (many == NULL) {
        credentials->group_count = -ENOMEM; /* clang does not expect malloc to set errno */
        return;
    }
    hash_groups(credentials, many, getgroups(MANY_GROUPS, many));
    free(many);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Of a thread, by its directory below /proc. */
static void read_namespaces(const char *thread, uint64_t *namespaces)
{
    static const char *const names[TINE__NAMESPACES] = {"user", "mnt", "net",
                                                        "ipc",  "uts", "cgroup"};

    for (int i = 0; i < TINE__NAMESPACES; i++) {
        char path[64], target[64]; /* net:[4026531840]; half as long as stat() */
        ssize_t size;

        snprintf(path, sizeof path, "%s/ns/%s", thread, names[i]);
        size = readlink(path, target, sizeof target);
        if (size > 0)
            namespaces[i] = tine__hash(target, (size_t)size, &seed);
    }
}

static void take_root(struct tine__credentials *credentials, const struct stat *root)
{
    credentials->root[0] = root->st_dev;
    credentials->root[1] = root->st_ino;
}

/* 0 where there is no such thing. */
static uint32_t ask(int option)
{
    int rc = prctl(option, 0, 0, 0, 0);

    return rc < 0 ? 0 : (uint32_t)rc;
}

int tine__credentials_read(struct tine__credentials *credentials)
{
    uint32_t *user = credentials->user, *group = credentials->group;
    struct stat root;
    int rc;

    *credentials = (struct tine__credentials){.group_count = 0};
    (void)getresuid(&user[0], &user[1], &user[2]);
    (void)getresgid(&group[0], &group[1], &group[2]);
    read_groups(credentials);
    rc = tine__capabilities_read(&credentials->capabilities);
    if ((credentials->capabilities.permitted >> CAP_SETPCAP & 1) != 0) /* else it cannot change */
        credentials->bounding = read_bounding();
    credentials->secure_bits = ask(PR_GET_SECUREBITS);
    credentials->no_new_privs = ask(PR_GET_NO_NEW_PRIVS);
    credentials->seccomp = ask(PR_GET_SECCOMP);
    if (stat("/", &root) == 0)
        take_root(credentials, &root);
    read_namespaces("/proc/thread-self", credentials->namespaces);
    return credentials->group_count < 0 ? credentials->group_count : rc;
}

bool tine__credentials_same(const struct tine__credentials *a, const struct tine__credentials *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* ---- of others ------------------------------------------------------------------------------- */

/* The whole of a small file, as text. */
static int read_text(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t got;

    if (fd < 0)
        return -errno;
    do {
        got = read(fd, text + size, room - 1 - size);
        size += got > 0 ? (size_t)got : 0;
    } while (got > 0 && size < room - 1);
    got = got < 0 ? -errno : 0;
    close(fd);
    text[size] = '\0';
    return (int)got;
}

/* What stands behind "\nName:"; NULL: there is no such line. */
static const char *value_of(const char *text, const char *name)
{
    const char *line = strstr(text, name);

    return line == NULL ? NULL : line + strlen(name);
}

static uint64_t number_of(const char *text, const char *name, int base)
{
    const char *value = value_of(text, name);

    return value == NULL ? 0 : strtoull(value, NULL, base);
}

static bool parse_ids(const char *text, const char *name, uint32_t *ids)
{
    const char *value = value_of(text, name);

    return value != NULL &&
           sscanf(value, "%" SCNu32 "%" SCNu32 "%" SCNu32, &ids[0], &ids[1], &ids[2]) == 3;
}

static int parse(const char *text, struct tine__credentials *credentials)
{
    const char *groups = value_of(text, "\nGroups:");

    if (groups == NULL || value_of(text, "\nCapBnd:") == NULL ||
        !parse_ids(text, "\nUid:", credentials->user) ||
        !parse_ids(text, "\nGid:", credentials->group))
        return -EPROTO;
    credentials->groups = tine__hash(groups, strcspn(groups, "\n"), &seed);
    credentials->capabilities.inheritable = number_of(text, "\nCapInh:", 16);
    credentials->capabilities.permitted = number_of(text, "\nCapPrm:", 16);
    credentials->capabilities.effective = number_of(text, "\nCapEff:", 16);
    credentials->bounding = number_of(text, "\nCapBnd:", 16);
    credentials->no_new_privs = (uint32_t)number_of(text, "\nNoNewPrivs:", 10);
    credentials->seccomp = (uint32_t)number_of(text, "\nSeccomp_filters:", 10);
    return 0;
}

int tine__credentials_of(pid_t pid, pid_t tid, struct tine__credentials *credentials)
{
    char thread[48], path[64], text[STATUS_BYTES];
    struct stat root;
    int rc;

    snprintf(thread, sizeof thread, "/proc/%d/task/%d", (int)pid, (int)tid);
    snprintf(path, sizeof path, "%s/status", thread);
    *credentials = (struct tine__credentials){.group_count = 0};
    rc = read_text(path, text, sizeof text);
    if (rc == 0)
        rc = parse(text, credentials);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/root/", thread);
    if (stat(path, &root) == 0)
        take_root(credentials, &root);
    read_namespaces(thread, credentials->namespaces);
    return 0;
}

bool tine__credentials_has_place(const struct tine__credentials *credentials)
{
    return credentials->root[1] != 0 && credentials->namespaces[0] != 0;
}

void tine__credentials_take_place(struct tine__credentials *credentials,
                                  const struct tine__credentials *from)
{
    memcpy(credentials->root, from->root, sizeof from->root);
    memcpy(credentials->namespaces, from->namespaces, sizeof from->namespaces);
}

/* The last of them may be one that the others can become again. */
static bool are_within(const uint32_t *less, const uint32_t *more)
{
    return less[0] == more[0] && less[1] == more[1] &&
           (less[2] == more[0] || less[2] == more[1] || less[2] == more[2]);
}

bool tine__credentials_within(const struct tine__credentials *less,
                              const struct tine__credentials *more)
{
    const struct tine__capabilities *a = &less->capabilities, *b = &more->capabilities;

    return are_within(less->user, more->user) && are_within(less->group, more->group) &&
           less->groups == more->groups && ((a->permitted | a->effective) & ~b->permitted) == 0 &&
           (a->inheritable & ~b->inheritable) == 0 && (less->bounding & ~more->bounding) == 0 &&
           less->no_new_privs >= more->no_new_privs && less->seccomp >= more->seccomp &&
           memcmp(less->root, more->root, sizeof less->root) == 0 &&
           memcmp(less->namespaces, more->namespaces, sizeof less->namespaces) == 0;
}
