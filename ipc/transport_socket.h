/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TRANSPORT_SOCKET_H
#define TINE_IPC_TRANSPORT_SOCKET_H

#include "ipc/blocks.h"
#include "ipc/frame.h"
#include "ipc/transport.h"

#define TINE__RECORD_MAX 65536 /* bytes of payload in one record; larger ones lie in a block */

/*
 * What the two ends of a pipe share, in the family heap, as long as anybody holds either.
 *
 * field   written by           read by  order
 * rules   the maker            any      plain
 * blocks  see ipc/blocks.h     any      likewise; [i]: what end i sends
 */
struct tine__pair_shm {
    struct tine__frame_rules rules;
    struct tine__blocks_shm blocks[2];
};

/* Zeroed memory becomes it, and what it refers to is freed, again after a death in that. */
void tine__pair_init(struct tine__pair_shm *pair, int32_t check, uint64_t length_max);
void tine__pair_empty(struct tine__pair_shm *pair);

/*
 * Two ends of a SOCK_SEQPACKET socket pair, each as a transport. check and length_max as of
 * tine_pipe_options, with no zeros. -ENOMEM, -EMFILE, -ENFILE, and what the heap needs.
 */
int tine__transport_socket_pair(struct tine__transport *ends[2], int32_t check,
                                uint64_t length_max);
/* A handle of the end that another process gave. TINE_EFORMAT (of none), -ENOMEM, -EMFILE. */
int tine__transport_socket_take(const struct tine__handle_parts *parts,
                                struct tine__transport **end);

/* ---- beside something else: ipc/transport_ring_beside.c -------------------------------------- */

/* For those pairs: SOCK_SEQPACKET, with room and slices. */
int tine__transport_socket_fds(int fds[2]);
/*
 * An end whose pair somebody else keeps, and for longer. The descriptor is given, also on failure:
 * -ENOMEM.
 */
int tine__transport_socket_beside(struct tine__transport **end, int fd, uint32_t side,
                                  struct tine__pair_shm *pair);
/* As the transport's send, under a number that the caller chooses. */
int tine__transport_socket_send_as(struct tine__transport *transport,
                                   const struct tine__outgoing *message, uint64_t number,
                                   tine__deadline deadline);
/* The number of the message that is next. -EAGAIN: there is none; else a code: it is damaged. */
int tine__transport_socket_next(struct tine__transport *transport, uint64_t *number);
int tine__transport_socket_file(const struct tine__transport *transport);

#endif
