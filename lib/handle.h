/* SPDX-License-Identifier: MIT */
/*
 * Handles as values: the letters `oX`, for objects that a process has by a handle with descriptors,
 * as connections and queues. What the handle consists of travels as words and descriptors, and
 * becomes a handle of the receiver's own. Objects that are plain memory of the family heap need
 * none of this: `p` carries them.
 */
#ifndef TINE_LIB_HANDLE_H
#define TINE_LIB_HANDLE_H

#include <stddef.h>
#include <stdint.h>

enum { TINE__HANDLE_WORDS = 4, TINE__HANDLE_FDS = 4 };

struct tine__handle_parts {
    uint64_t words[TINE__HANDLE_WORDS];
    int fds[TINE__HANDLE_FDS];
    uint32_t fd_count; /* at least 1 */
};

/*
 * give   what the handle consists of; the descriptors stay its own
 * take   a new handle, of descriptors that stay the caller's: to be duplicated. The words come from
 *        the family, but may be wrong: TINE_EFORMAT
 * close  a handle that take has made
 */
struct tine__handle_kind {
    char letter;
    int (*give)(const void *handle, struct tine__handle_parts *parts);
    int (*take)(const struct tine__handle_parts *parts, void **handle);
    void (*close)(void *handle);
};

/* As on the wire. The numbers are those that the context gave the descriptors. */
struct tine__handle_wire {
    uint8_t letter;
    uint8_t fd_count;
    uint8_t unused[6];
    uint64_t words[TINE__HANDLE_WORDS];
    uint64_t numbers[TINE__HANDLE_FDS];
};

struct tine__descriptors;

/* 0, -EINVAL (no handle can travel here, or none of this letter), what give and keep return. */
int tine__handle_pack(struct tine__descriptors *descriptors, char letter, const void *handle,
                      struct tine__handle_wire *wire);
/*
 * The handle that the bytes name, the same if repeated: it is the context's until one of the two
 * below. 0, -EINVAL (as above), TINE_EFORMAT, -ENOMEM, what fetch and take return.
 */
int tine__handle_unpack(struct tine__descriptors *descriptors, char letter, const void *bytes,
                        size_t size, void **handle);
/* All that were unpacked are their user's from now on. */
void tine__handles_hand_over(struct tine__descriptors *descriptors);
void tine__handles_close(struct tine__descriptors *descriptors);

#endif
