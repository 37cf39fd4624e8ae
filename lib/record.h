/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_RECORD_H
#define TINE_LIB_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lib/rights.h"

/*
 * Records of AF_UNIX SOCK_SEQPACKET sockets: raw calls as in lib/sys.h, which return -errno.
 */
#define TINE__RECORD_FDS TINE__RIGHTS_MAX /* with one record, at most */

/*
 * Sends the parts as one record, with descriptors beside it. Never SIGPIPE. 0; -EAGAIN (full, now
 * or for as long as tine__record_slices says, or until a signal came), -ETOOMANYREFS (too many
 * descriptors are under way), -EPIPE, -ECONNRESET, -ENOBUFS, -ENOMEM, -EBADF.
 */
int tine__record_send(int fd, const struct iovec *parts, int count, const int *fds,
                      uint32_t fd_count, int flags);
/*
 * The size of the next record, 0 at the end, or of an empty record. *fd_count: room in, descriptors
 * received out; those for which this process had no room are lost. -EAGAIN (as above); -ECONNRESET
 * (once, when the others have closed without having read all); -EBADMSG: the record was larger than
 * the parts, and is lost.
 */
ssize_t tine__record_recv(int fd, const struct iovec *parts, int count, int *fds,
                          uint32_t *fd_count, int flags);
/* The beginning of the next record, which stays. Its whole size, 0 at the end; -EAGAIN. */
ssize_t tine__record_peek(int fd, void *bytes, size_t room);
/* 1: ready or hung up, 0: timed out. */
int tine__record_poll(int fd, short events, int64_t timeout_ns);
bool tine__record_hung_up(int fd);   /* no other end is open any more */
bool tine__record_at_end(int fd);    /* nobody can send any more, and nothing is left */
bool tine__record_is_empty(int fd);  /* nothing waits to be received by this end */
bool tine__record_is_unsent(int fd); /* something that this end has sent waits to be received */
/* Blocking calls return -EAGAIN after that time. */
int tine__record_slices(int fd, int64_t slice_ns);
/* Room for records under way, as far as the system grants it. */
void tine__record_room(int fd, int bytes);

#endif
