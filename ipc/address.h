/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_ADDRESS_H
#define TINE_IPC_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "lib/clock.h"

enum {
    TINE__ADDRESSES_MAX = 4, /* of one name */
    TINE__ADDRESS_TEXT = 128 /* room for what tine__address_text() says */
};

/* Where a listener is: "unix:PATH", "unix:@NAME" (abstract), "tcp://HOST:PORT",
   "tcp://[IPV6]:PORT". */
struct tine__address {
    const char *path; /* of a socket file, within the text that was parsed; else NULL */
    int family;       /* AF_UNIX, else AF_INET or AF_INET6, as each of sockets[] says */
    uint32_t count;   /* of sockets[]; 0 with a path */
    socklen_t sizes[TINE__ADDRESSES_MAX];
    struct sockaddr_storage sockets[TINE__ADDRESSES_MAX];
};

/* A socket file of ours, to be removed when its listener closes. */
struct tine__address_file {
    int directory; /* where it is; -1: there is no file */
    dev_t device;
    ino_t inode;
    char name[108]; /* within the directory */
};

/* -EINVAL; -ENAMETOOLONG; -ENXIO: a host name that is not known. Asks the resolver for names
   only. */
int tine__address_parse(const char *text, struct tine__address *address);

/*
 * A connected stream socket, not blocking. -ECONNREFUSED and what else connect(2) says, -ETIMEDOUT.
 */
int tine__address_connect(const struct tine__address *address, tine__deadline deadline);

struct tine__address_wish {
    uint32_t mode; /* of a socket file */
    int backlog;
};

/*
 * A listening socket, not blocking. A socket file that nobody listens on any more is replaced; file
 * says what is to be removed. -EADDRINUSE and what else bind(2) says.
 */
int tine__address_listen(const struct tine__address *address, const struct tine__address_wish *wish,
                         struct tine__address_file *file);
/* Unless another file has taken its place. Then file is none. */
void tine__address_file_remove(struct tine__address_file *file);
void tine__address_file_forget(struct tine__address_file *file); /* leaves it there */

/* What every connected TCP socket gets: no delay of small messages, and a look for dead
   machines. */
void tine__address_tune(int fd);

/* "tcp://HOST:PORT" of a socket's own end or its peer's; "" if it is of another family. */
void tine__address_text(int fd, bool peer, char text[TINE__ADDRESS_TEXT]);
/* Of a connected socket: it does not leave this machine. */
bool tine__address_is_local(int fd);
/* The other end's user, on an AF_UNIX socket. -ENOTSUP on others. */
int tine__address_peer_user(int fd, uid_t *user);
/*
 * A number for who is at the other end: of an AF_UNIX socket the process that connected, of TCP the
 * host; of IPv6 its network of 64 bits, within which a host takes any address it likes.
 */
uint64_t tine__address_peer(int fd);

#endif
