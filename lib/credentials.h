/* SPDX-License-Identifier: MIT */
/*
 * What the kernel lets a thread do: its user, groups and capabilities, what it has given up for ever, its root
 * directory and namespaces. To tell whether two moments differ in it.
 *
 *     tine__credentials_read(&then);
 *     …
 *     tine__credentials_read(&now);
 *     if (!tine__credentials_same(&then, &now)) …
 */
#ifndef TINE_LIB_CREDENTIALS_H
#define TINE_LIB_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

/* Bit n: capability n. */
struct tine__capabilities {
    uint64_t effective, permitted, inheritable;
};

#define TINE__NAMESPACES 6

/* No gaps: compared as bytes. What cannot be read is 0. */
struct tine__credentials {
    uint32_t user[3], group[3]; /* real, effective, saved */
    uint64_t groups;            /* a hash of the supplementary ones */
    struct tine__capabilities capabilities;
    uint64_t bounding; /* what an execution could give; 0: fixed, for want of CAP_SETPCAP */
    uint32_t secure_bits, no_new_privs, seccomp;
    int32_t group_count;                   /* or -errno */
    uint64_t root[2];                      /* device and inode */
    uint64_t namespaces[TINE__NAMESPACES]; /* hashes of their names */
};

/* Of the calling thread. 0, or -errno: groups or capabilities are not known. */
int tine__credentials_read(struct tine__credentials *credentials);
bool tine__credentials_same(const struct tine__credentials *a, const struct tine__credentials *b);

/* Of the calling thread: 0 or -errno. */
int tine__capabilities_read(struct tine__capabilities *capabilities);
/* Gives up what is not among these: 0 or -errno. */
int tine__capabilities_lower(const struct tine__capabilities *most);

#endif
