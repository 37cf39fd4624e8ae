/* SPDX-License-Identifier: MIT */
/*
 * What the kernel lets a thread do: its user, groups and capabilities, what it has given up for
 * ever, its root directory and namespaces. To tell whether two moments differ in it.
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
#include <sys/types.h>

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

/*
 * Of another thread, as /proc shows it: groups and namespaces as hashes to be compared with what
 * this gives for others, seccomp as the number of filters; no securebits. 0; -errno, -EPROTO: it
 * cannot be seen.
 */
int tine__credentials_of(pid_t pid, pid_t tid, struct tine__credentials *credentials);
/* Can its root directory and namespaces be seen? Not of whom one may not trace. */
bool tine__credentials_has_place(const struct tine__credentials *credentials);
void tine__credentials_take_place(struct tine__credentials *credentials,
                                  const struct tine__credentials *from);
/* Of two of those: may the first do nothing that the second may not? */
bool tine__credentials_within(const struct tine__credentials *less,
                              const struct tine__credentials *more);

/* Of the calling thread: 0 or -errno. */
int tine__capabilities_read(struct tine__capabilities *capabilities);
/* Gives up what is not among these: 0 or -errno. */
int tine__capabilities_lower(const struct tine__capabilities *most);

#endif
