/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_TERMS_H
#define TINE_IPC_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tine/pipe.h>

#include "ipc/address.h"
#include "ipc/auth.h"

/* What a listener or a dialler asks of a connection, from its options. */
struct tine__terms {
    struct tine__secret *key; /* the user's, to be closed */
    uint64_t message_bytes_max;
    int32_t protocol, encryption, check;
    bool any_user;
};

/* Do they fit to each other, to that key and to that address? 0 or -EINVAL */
int tine__terms_check(const struct tine__terms *terms, const void *key, size_t key_size,
                      const struct tine__address *address);
/* Copies the key, if there is one, and sets defaults. -ENOMEM */
int tine__terms_take_key(struct tine__terms *terms, const void *key, size_t key_size);

/* Is the other end's user one that may be there? 0, -EACCES, or why it cannot be told. */
int tine__terms_check_user(const struct tine__terms *terms, int fd);
/* A connected socket: what tine__auth_begin() says. */
int tine__terms_begin(struct tine__auth *auth, const struct tine__terms *terms, int fd,
                      bool listener);
/* The handshake is over, and ends here: the socket is given, also on failure. */
int tine__terms_connect(tine_connection **connection, const struct tine__terms *terms, int fd,
                        struct tine__auth *auth);

#endif
