/* SPDX-License-Identifier: MIT */
/*
 * Listeners: where programs that are no relatives meet, and get a connection to each other.
 *
 *     tine_listener_open ──► accept ──► tine_connection, one a client
 *            │                 ▲
 *            └── close         └── tine_dial, in the other program
 *
 *     tine_listener *listener;                              tine_connection *connection;
 *     int rc = tine_listener_open(&listener,                int rc = tine_dial(&connection,
 *         "unix:/run/user/1000/prices", NULL);                  "unix:/run/user/1000/prices", NULL);
 *     …                                                     …
 *     rc = tine_listener_accept(listener, TINE_FOREVER,     rc = tine_connection_send(connection,
 *         &connection);                                         TINE_SEC(1), "qd", n, x);
 *
 * Addresses:
 *     unix:PATH           a socket file, for its owner only (.mode). It goes when the listener is
 *                         closed; one that a killed listener has left is replaced.
 *     unix:@NAME          abstract: no file, gone with its last holder
 *     tcp://HOST:PORT     IPv4 address or a name; port 0: any that is free
 *     tcp://[ADDRESS]:PORT  IPv6
 *
 * Who may connect: on unix addresses the same user only, as the kernel says it, unless .any_user;
 * everywhere whoever has the .key, if one is given. TCP, and .any_user, need a key. Both sides
 * prove theirs to each other without showing it. A key shared by programs should be 32 random
 * bytes; one of no bytes (.key not NULL, .key_size 0) is allowed and keeps nobody out.
 *
 * TCP that leaves the machine is encrypted, unless both sides say TINE_ENCRYPT_NEVER; then whole
 * messages are checked. On the machine itself they are up to 4 KiB, as those of a pipe: .check says
 * otherwise, TINE_CHECK_FULL on either side, TINE_CHECK_HEADER on both. What was said on an
 * encrypted connection stays secret when the key is learned later; encryption makes a dial some 0.1
 * ms longer.
 *
 * Python: with .protocol = TINE_PROTOCOL_PYTHON the other end is a Client or Listener of
 * multiprocessing.connection, of Python 3.12 or later, with the same authkey; messages are then
 * bytes (send_bytes, recv_bytes) that hold msgpack. Nothing after the handshake is authenticated
 * there, so this is for paths that one trusts.
 *
 * A client that dies, says nothing or talks nonsense is dropped within .handshake_timeout_ns, and
 * the log says why (TINE_LOG=warning); it delays no other. Of a listener that dies, dial and the
 * connections notice at once.
 *
 * What differs from the connections of tine_pipe(): messages are streams of bytes, so one process
 * at a time sends and one receives. After a fork, whoever sends (receives) first goes on, in all
 * others it is TINE_EFORKED there; likewise after the connection was sent to another process (`oc`,
 * in this family; -EBUSY in the middle of a message), so a worker can serve what its parent has
 * accepted. A message whose send comes to its timeout in the middle has been sent: the rest goes
 * out with the next calls on that connection. Bytes that make no sense end the connection
 * (TINE_EFORMAT, TINE_ECHECKSUM, -EBADMSG); a peer that dies in the middle of a message does so,
 * too (-EBADMSG). Messages are up to 64 MiB, unless .message_bytes_max says otherwise. They carry
 * no handles or functions; up to 16 descriptors (`F`) on unix addresses, in the native protocol. A
 * descriptor comes from a stranger: look at what it is before reading from it, for it may block,
 * and the stranger may still have it. Those that one did not ask for are closed.
 */
#ifndef TINE_LISTENER_H
#define TINE_LISTENER_H

#include <tine/base.h>
#include <tine/pipe.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_listener tine_listener;

enum {
    TINE_PROTOCOL_NATIVE = 0,
    TINE_PROTOCOL_PYTHON = 1, /* multiprocessing.connection of CPython 3.12 and later */
};

enum {
    TINE_ENCRYPT_AUTO = 0,   /* TCP, unless to this machine itself */
    TINE_ENCRYPT_ALWAYS = 1, /* unix, too */
    TINE_ENCRYPT_NEVER = 2,  /* unless the other side asks for it */
};

/* Options of a listener; zero in a field means its default. */
typedef struct tine_listener_options {
    const void *key;              /* copied; default: none */
    size_t key_size;              /* bytes */
    int32_t protocol;             /* TINE_PROTOCOL_… */
    int32_t encryption;           /* TINE_ENCRYPT_… */
    uint32_t backlog;             /* clients that the kernel lets wait; default 128 */
    uint32_t mode;                /* of a socket file, less the umask; default 0600 */
    uint64_t message_bytes_max;   /* longest message that it receives; default 64 MiB */
    int64_t handshake_timeout_ns; /* how long a client may take; default 5 s */
    int32_t check;                /* TINE_CHECK_… (tine/pipe.h), where it is not encrypted */
    bool any_user;                /* unix: clients of other users, too; needs a key */
    uint8_t reserved8[3];         /* must be zero */
    uint64_t reserved[8];         /* must be zero */
} tine_listener_options;

/* Options of a dial; zero in a field means its default. */
typedef struct tine_dial_options {
    const void *key;            /* default: none */
    size_t key_size;            /* bytes */
    int32_t protocol;           /* TINE_PROTOCOL_… */
    int32_t encryption;         /* TINE_ENCRYPT_… */
    uint64_t message_bytes_max; /* longest message that it receives; default 64 MiB */
    int64_t timeout_ns;         /* connecting and handshake together; 0: for ever */
    int32_t check;              /* TINE_CHECK_… (tine/pipe.h), where it is not encrypted */
    bool any_user;              /* unix: a listener of another user, too; needs a key */
    uint8_t reserved8[3];       /* must be zero */
    uint64_t reserved[8];       /* must be zero */
} tine_dial_options;

/**
 * tine_listener_open - let other programs connect
 *
 * In:      address  where, see the top of this header; NULL: an abstract address of its own, see
 *                   tine_listener_address
 *          options  NULL: all defaults
 * Out:     listener  the listener, the caller's, for tine_listener_close()
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EADDRINUSE (somebody listens there, or a file that is no dead socket is in the way)
 * Give up: -EINVAL (address, options; TCP or .any_user without a key; encryption in Python's
 *          protocol), -E2BIG (reserved fields), -ENAMETOOLONG, -ENXIO (host unknown),
 *          -EADDRNOTAVAIL, -EACCES, -ENOENT, -EMFILE, -ENFILE, -ENOMEM
 * Blocks:  while another program holds the directory's lock, at most 1 s; a host name as long as
 *          the resolver takes
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   a listener that is killed leaves its socket file; the next one replaces it
 * Source:  ipc/listener.c; follows multiprocessing.connection.Listener of Python; differs: a dead
 *          socket file is replaced, mode 0600, the kernel tells the user on unix addresses
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_listener_open(tine_listener **listener, const char *address,
                                             const tine_listener_options *options);

/**
 * tine_listener_accept - the next client that has shown who it is
 *
 * In:      listener    open listener
 *          timeout_ns  how long to wait
 * Out:     connection  the connection, the caller's, for tine_connection_close()
 * Shape:   one client a call
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: only who is ready)
 * Returns: 0, or a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN
 * Give up: -EINVAL (NULL), -ENOMEM (the client is dropped), TINE_EFORKED
 * Blocks:  at most timeout_ns; handshakes of up to 16 clients go on meanwhile. Of more, one is
 *          dropped of the process (TCP: the host) that has most, rather one that said nothing, the
 *          oldest of these, but none within its first 10 ms. Where descriptors or memory run out it
 *          goes on after 100 ms.
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a client that dies in its handshake is dropped; one that dies later leaves a connection
 *          that ends
 * Source:  ipc/listener_accept.c; follows Listener.accept of Python; differs: no client delays
 *          another, and those who fail are not the caller's concern
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_listener_accept(tine_listener *listener, int64_t timeout_ns,
                                               tine_connection **connection);

/**
 * tine_listener_address - where it listens, for tine_dial()
 *
 * In:      listener  open listener, or NULL
 * Out:     none
 * Shape:   the address as given, but for a port 0 and NULL: those that it got
 * Units:   none
 * Returns: text that lives as long as the listener; NULL for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/listener.c; follows Listener.address of Python
 * Since:   0.1
 */
TINE_API const char *tine_listener_address(const tine_listener *listener);

/**
 * tine_listener_fileno - a descriptor that is readable when accept has something to do
 *
 * In:      listener  open listener
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the descriptor, the listener's own, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   none
 * Source:  ipc/listener.c; differs from Python, which has none: readable says that
 *          tine_listener_accept(listener, 0, …) is worth a call, not that it will find a client
 * Since:   0.1
 */
TINE_API int tine_listener_fileno(const tine_listener *listener);

/**
 * tine_listener_waitable - an entry for tine_wait(): ready when accept has something to do
 *
 * In:      listener  open listener
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the listener is closed. Ready says that
 *          tine_listener_accept(listener, 0, …) is worth a call, not that it will find a client
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   none
 * Source:  ipc/listener.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_listener_waitable(tine_listener *listener);

/**
 * tine_listener_close - stop listening
 *
 * In:      listener  the listener, which is gone afterwards; NULL is allowed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  while another program holds the directory's lock, at most 1 s
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none. Its connections go on; a socket file goes with the process that opened it, if it
 *          is still the same; a forked child closes only its copy
 * Source:  ipc/listener.c; follows Listener.close of Python
 * Since:   0.1
 */
TINE_API void tine_listener_close(tine_listener *listener);

/**
 * tine_dial - connect to a listener
 *
 * In:      address  where, see the top of this header
 *          options  NULL: all defaults
 * Out:     connection  the connection, the caller's, for tine_connection_close()
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ECONNREFUSED and -ENOENT (nobody listens), -ETIMEDOUT, -ECONNRESET (the listener hung
 *          up in the handshake: it has died, or drops us)
 * Give up: -EACCES (another key, or another user), -EPROTO (another version; Python before 3.12),
 *          TINE_EFORMAT (it speaks something else), -EINVAL, -E2BIG, -ENAMETOOLONG, -ENXIO (host
 *          unknown), -EHOSTUNREACH, -ENETUNREACH, -EMFILE, -ENFILE, -ENOMEM
 * Blocks:  at most .timeout_ns; a host name as long as the resolver takes
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   a listener that dies meanwhile: -ECONNREFUSED or -ECONNRESET
 * Source:  ipc/dial.c; follows multiprocessing.connection.Client of Python
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dial(tine_connection **connection, const char *address,
                                    const tine_dial_options *options);

TINE_END_DECLS

#endif
