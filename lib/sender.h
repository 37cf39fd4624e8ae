/* SPDX-License-Identifier: MIT */
/*
 * A record with one descriptor, and with who has sent it, by the kernel's word: a process can claim
 * the user and the group that it has or may have at that moment, and no others.
 */
#ifndef TINE_LIB_SENDER_H
#define TINE_LIB_SENDER_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Once, by who will receive. 0 or -errno. */
int tine__sender_ask(int socket);
/* As the effective user and group of the calling thread. Does not wait: bytes, -EAGAIN, -EPIPE … */
ssize_t tine__sender_send(int socket, const void *record, size_t size, int fd);
/*
 * Does not wait: bytes; 0: hung up; -EAGAIN; -EPROTO: cut, or not with both: nothing is left open.
 */
ssize_t tine__sender_recv(int socket, void *record, size_t size, int *fd, struct ucred *sender);

#endif
