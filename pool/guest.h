/* SPDX-License-Identifier: MIT */
/*
 * Guests: the processes in which untrusted workers run tasks, and what they say to their hosts, the
 * workers.
 *
 *     worker ──request: function, context, arguments──► guest
 *            ◄──reply: code, message, result──
 */
#ifndef TINE_POOL_GUEST_H
#define TINE_POOL_GUEST_H

#include <stdint.h>

#include "lib/function.h"
#include "pool/layout.h"
#include "pool/task.h"

#define TINE__GUEST_SOCKET 3 /* in the guest */
#define TINE__GUEST_MAGIC  UINT64_C(0x65756c2d74736775)

enum { TINE__GUEST_CALL = 1, TINE__GUEST_LEAVE = 2 };

struct tine__guest_request {
    uint64_t magic;
    uint64_t nonce; /* the reply says it, too */
    uint64_t kind;
    uint64_t index, result_bytes_max;
    uint64_t context_size, args_size; /* of what follows */
    struct tine__function_wire function;
};

struct tine__guest_reply {
    uint64_t magic;
    uint64_t nonce; /* 0: the first reply, of the initializer */
    int32_t code;
    uint32_t unused;
    uint64_t size; /* of the result that follows */
    char message[sizeof((tine_failure *)0)->message];
};

/* In a new worker: starts its guest. The code of the initializer, with its words; it dies as the
   guest does. */
int tine__guest_start(struct tine__pool_shm *pool, uint32_t index, struct tine__said_shm *said);
/* In place of the task's function. */
int tine__guest_call(struct tine_call *call);
/* The guest leaves in order. */
void tine__guest_end(void);

#endif
