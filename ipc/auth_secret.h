/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_AUTH_SECRET_H
#define TINE_IPC_AUTH_SECRET_H

#include <stddef.h>

/* A key of the caller's, kept for as long as a listener or a dial needs it. */
struct tine__secret;

/* Copies the key; a size of 0 is a key as well. -ENOMEM */
int tine__secret_open(struct tine__secret **secret, const void *key, size_t size);
void tine__secret_close(struct tine__secret *secret); /* NULL is no key */
/* The key; NULL in a forked child, which has no copy of it. */
const void *tine__secret_key(const struct tine__secret *secret, size_t *size);

#endif
