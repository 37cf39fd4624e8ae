/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_CONNECTION_H
#define TINE_IPC_CONNECTION_H

#include <tine/pipe.h>

#include <stdbool.h>

#include "ipc/transport.h"

/* A connection over that transport, which is given: closed with it, also on failure. -ENOMEM. */
int tine__connection_open(tine_connection **connection, struct tine__transport *transport,
                          bool readable, bool writable);

/*
 * Does the handle itself keep a message, so that it can be received although the descriptor is
 * quiet?
 */
bool tine__connection_keeps(tine_connection *connection);

/*
 * Is a part of what was sent still here, for want of room? It goes out with the next calls, so
 * somebody has to make one when the descriptor is writable.
 */
bool tine__connection_unsent(tine_connection *connection);

/* `oc` */
extern const struct tine__handle_kind tine__connection_kind;

#endif
