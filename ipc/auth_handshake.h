/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_AUTH_HANDSHAKE_H
#define TINE_IPC_AUTH_HANDSHAKE_H

#include "ipc/auth.h"
#include "lib/clock.h"

/*
 * Moves bytes between a handshake and its socket as far as that goes without waiting: 1 over,
 * 0 it waits for bytes. Negative: it has failed, and auth->reason says why; -ECONNRESET the peer
 * has left.
 */
int tine__handshake_move(int fd, struct tine__auth *auth);
/* The whole of it: 0, -ETIMEDOUT, or as above. */
int tine__handshake_run(int fd, struct tine__auth *auth, tine__deadline deadline);

#endif
