/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_AUTH_NATIVE_H
#define TINE_IPC_AUTH_NATIVE_H

#include <stdint.h>

/* The first bytes of either side, as doc/wire.md has them; little-endian. */
struct tine__hello_wire {
    uint8_t magic[4];
    uint8_t role;
    uint8_t wishes;
    uint16_t version;
    uint64_t limit;
    uint8_t nonce[16];
    uint8_t
        exchange[32]; /* X25519, public, of this connection alone; 0: it is not to be encrypted */
};

#define TINE__HELLO_MAGIC   "\x8bth\n"
#define TINE__HELLO_VERSION 2

#endif
