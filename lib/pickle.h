/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_PICKLE_H
#define TINE_LIB_PICKLE_H

#include "lib/checksum.h"

#include <stdint.h>

/*
 * The envelope, as doc/wire.md has it; little-endian. The digest is over the 16 bytes before it and
 * the value behind it.
 */
struct tine__pickle_wire {
    uint8_t magic[4];
    uint16_t version;
    uint16_t flags;
    uint64_t length; /* bytes of the value */
    uint8_t digest[TINE__DIGEST_BYTES];
    uint8_t value[];
};

#define TINE__PICKLE_MAGIC   "\x8btn\n"
#define TINE__PICKLE_VERSION 1

#endif
