/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_RING_H
#define TINE_IPC_TRANSPORT_RING_H

#include <stdbool.h>

#include "ipc/blocks.h"
#include "ipc/ring.h"
#include "ipc/transport.h"
#include "ipc/transport_socket.h"
#include "lib/hash.h"

/*
 * One direction of the messages beside a ring; ipc/transport_ring_beside.c. A cache line.
 *
 * field    written by                                     read by    order
 * number   senders, who draw one by adding one            receivers  seq_cst
 * fetcher  who looks into the socket: owner word, or 0    the same   CAS acquire, seq_cst
 * looked   tine__look_due                                 the same   relaxed
 */
struct tine__beside_shm {
    _Atomic uint64_t number;
    _Atomic uint64_t fetcher;
    _Atomic uint64_t looked;
    uint64_t reserved[5];
};

/*
 * What the two ends of a pipe over rings share, in the family heap, while anybody holds either.
 *
 * field       written by        read by                order
 * rings       the maker, then   any                    plain
 *             who ends it: 0
 * seed check  the maker         any                    plain
 * length_max  the maker         any                    plain
 * beside      see above         any                    likewise; [i]: what end i sends
 * blocks      see ipc/blocks.h  any                    likewise
 * socket      see above         any                    likewise
 */
struct tine__ring_pair_shm {
    _Atomic uint64_t rings[2]; /* [i]: address of the ring that end i sends to; 0: it never sends */
    struct tine__hash_seed seed;
    uint64_t length_max;
    int32_t check;
    uint32_t reserved32;
    uint64_t reserved[2];
    struct tine__beside_shm beside[2];
    struct tine__blocks_shm blocks[2];
    struct tine__pair_shm socket;
};

/* In front of each message: the tag of all that follows. */
struct tine__ring_head_shm {
    uint64_t tag;
    uint64_t kind; /* TINE__RING_… */
};

/* What follows in a record of kind BLOCK. */
struct tine__ring_name_shm {
    uint32_t slot;
    uint32_t generation;
    uint64_t size;
    uint64_t tag; /* of the message; 0: it is not checked */
};

/* What follows in a record of kind NOTE: drawn before its message was sent, and after. */
struct tine__ring_note_shm {
    uint64_t number;
    uint64_t after;
};

enum { TINE__RING_INLINE = 1, TINE__RING_BLOCK = 2, TINE__RING_NOTE = 3 };

#define TINE__RING_RECORD_MAX 65536 /* bytes of a message in the ring; larger ones lie in a block */

/*
 * Two ends over rings. duplex: both send, else only ends[1]. check and length_max as of
 * tine_pipe_options, with no zeros but TINE_CHECK_DEFAULT. -ENOMEM, -EMFILE, -ENFILE, and what the
 * heap needs.
 */
int tine__transport_ring_pair(struct tine__transport *ends[2], bool duplex, int32_t check,
                              uint64_t length_max);
/*
 * Another handle of an end, from what give gave. TINE_EFORMAT: of none, or of one that cannot do
 * what it shall (readable: receive, writable: send). -ENOMEM, -EMFILE.
 */
bool tine__transport_ring_gave(const struct tine__handle_parts *parts);
int tine__transport_ring_take(const struct tine__handle_parts *parts, bool readable, bool writable,
                              struct tine__transport **end);

#endif
