/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_ENCRYPT_H
#define TINE_IPC_ENCRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/auth.h"

/*
 * Both directions of an encrypted stream, as boxes: each takes bytes, and comes out TINE__BOX_EXTRA
 * longer. A direction begins with TINE__BOX_START bytes in clear, which its sender makes. The order
 * of the boxes is authenticated with them. The two directions may be used at once.
 */
enum { TINE__BOX_START = 24, TINE__BOX_EXTRA = 17 };

struct tine__encryption;

int tine__encryption_open(struct tine__encryption **encryption,
                          const struct tine__session *session);
void tine__encryption_close(struct tine__encryption *encryption); /* NULL: nothing to do */

/* Everything about it, for another process that goes on with it in place of this one. */
enum { TINE__ENCRYPTION_BYTES = 256 };
void tine__encryption_save(const struct tine__encryption *encryption,
                           uint8_t bytes[TINE__ENCRYPTION_BYTES]);
int tine__encryption_restore(struct tine__encryption **encryption,
                             const uint8_t bytes[TINE__ENCRYPTION_BYTES]);

/* The start of what we send; once. */
void tine__encrypt_start(struct tine__encryption *encryption, uint8_t start[TINE__BOX_START]);
/* box has room for size + TINE__BOX_EXTRA and does not overlap. last: of a message */
void tine__encrypt(struct tine__encryption *encryption, uint8_t *box, const void *bytes,
                   size_t size, bool last);
/* The start of what the peer sends; once. TINE_ECHECKSUM: no such start can be */
int tine__decrypt_start(struct tine__encryption *encryption, const uint8_t start[TINE__BOX_START]);
/* size is that of the box, at least TINE__BOX_EXTRA. TINE_ECHECKSUM: not the peer's next box. */
int tine__decrypt(struct tine__encryption *encryption, void *bytes, const uint8_t *box, size_t size,
                  bool *last);

#endif
