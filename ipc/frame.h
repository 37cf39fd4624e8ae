/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_FRAME_H
#define TINE_IPC_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/checksum.h"
#include "lib/hash.h"

/*
 * What stands before the payload of each record, as doc/wire.md has it; little-endian. The tag is
 * over the bytes behind it, and over as much of the payload as the rules say.
 */
struct tine__frame_wire {
    uint64_t tag;
    uint32_t magic;
    uint8_t version;
    uint8_t type;
    uint8_t descriptors;
    uint8_t reserved8; /* 0 */
    uint64_t length;
    uint64_t sequence;
    uint32_t epoch;
    uint32_t reserved32; /* 0 */
};

/* What the payload of a record of type BLOCK is. */
struct tine__frame_block_wire {
    uint32_t slot;
    uint32_t generation;
    uint64_t tag; /* of the message: tine__frame_block_tag */
};

#define TINE__FRAME_MAGIC       0x67736d74u /* "tmsg" */
#define TINE__FRAME_VERSION     1
#define TINE__FRAME_BYTES       40
#define TINE__FRAME_DESCRIPTORS 16 /* at most, with one record */

#define TINE__FRAME_STREAM SIZE_MAX

enum { TINE__FRAME_INLINE = 1, TINE__FRAME_BLOCK = 2 };

/* The same in the machine's order, without what is constant. */
struct tine__frame {
    uint64_t tag;
    uint64_t length; /* bytes of the message; INLINE: of the payload */
    uint64_t sequence;
    uint32_t epoch;
    uint8_t type;
    uint8_t descriptors;
};

struct tine__frame_block {
    uint32_t slot;
    uint32_t generation;
    uint64_t tag;
};

/* What both sides agree upon. */
struct tine__frame_rules {
    struct tine__mac_key key;
    struct tine__hash_seed seed; /* for quick */
    uint64_t length_max;         /* of a message */
    int32_t check;               /* TINE_CHECK_… */
    uint32_t quick; /* 1: by a hash that is private to a build, unless all is checked */
    uint64_t reserved[6];
};

/* Both ends are in the family. Seed and key are chosen. */
void tine__frame_rules_make(struct tine__frame_rules *rules, int32_t check, uint64_t length_max);

/*
 * Writes the header for that payload, which is in that many parts; the first one has to hold 4096
 * bytes or all.
 */
void tine__frame_encode(void *header, const struct tine__frame *frame,
                        const struct tine__frame_rules *rules, const struct iovec *payload,
                        int parts);
/*
 * Reads the header of a record of `size` bytes in all, or of a stream (TINE__FRAME_STREAM), where
 * the length tells how many follow. 0; TINE_EFORMAT (no header, too long, or
 * the length does not fit), -EPROTO (another version). Nothing but the header's form is checked
 * yet.
 */
int tine__frame_decode(const void *header, size_t size, const struct tine__frame_rules *rules,
                       struct tine__frame *frame);
/* Does the tag fit? To be asked before anything of the frame is used. 0 or TINE_ECHECKSUM. */
int tine__frame_verify(const void *header, const struct tine__frame *frame,
                       const struct tine__frame_rules *rules, const struct iovec *payload,
                       int parts);

/* The payload of a record of type BLOCK: sizeof(struct tine__frame_block_wire) bytes. */
void tine__frame_put_block(void *payload, const struct tine__frame_block *block);
void tine__frame_get_block(const void *payload, struct tine__frame_block *block);

/* The tag of a message that lies in a block: 0 unless the rules want all to be checked. */
uint64_t tine__frame_block_tag(const struct tine__frame_rules *rules, uint64_t sequence,
                               const void *message, size_t size);

#endif
