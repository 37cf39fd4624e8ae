/* SPDX-License-Identifier: MIT */
/*
 * Connections: whole messages between processes, both ways.
 *
 *     tine_pipe ──► a, b: one handle an end      send / recv / poll …      tine_connection_close
 *
 *     tine_connection *here, *there;
 *     int rc = tine_pipe(&here, &there, NULL);
 *     if (rc == 0 && fork() == 0) {
 *         int64_t base;
 *         tine_connection_close(here);
 *         rc = tine_connection_recv(there, TINE_FOREVER, "q", &base);
 *         if (rc == 0)
 *             rc = tine_connection_send(there, TINE_FOREVER, "q", base * base);
 *         _exit(rc < 0);
 *     }
 *     tine_connection_close(there);
 *     rc = tine_connection_send(here, TINE_SEC(1), "q", INT64_C(12));
 *     rc = tine_connection_recv(here, TINE_SEC(1), "q", &square);
 *     tine_connection_close(here);
 *
 * A message is 0 bytes to 4 GiB, and arrives whole, once, and with its boundaries, or not at all.
 * Any number of processes and threads may use either end at once: each message goes to exactly one
 * of those that receive at the other end, and what one sends, one receiver gets in that order.
 *
 * Handles are inherited: a forked child may use its copy at once, and closes it by itself. An end
 * is gone when the last process that has it closed it or died. Then the others receive what was
 * sent before, and TINE_EEOF; sending gives -EPIPE, and never a signal. So every process closes the
 * ends that it does not use, or nobody is ever told. A pool that is opened while a program has both
 * ends forks workers that have both, too: the end does not come before the pool is closed. One that
 * was opened before the pipe was made has neither.
 *
 * Who is killed while sending has sent the message or has not. Who is killed while receiving may
 * take the message in hand along, never another's; queues with leases (tine/queue.h) deliver it
 * again. Nobody waits for the dead longer than 100 ms, and nothing that they used is lost to
 * others. A process that executes another program has closed its ends with that, but is not dead:
 * views and loans that it has not released before are given back when the program ends.
 *
 * .transport = TINE_RING: the same in shared memory. A sender needs the kernel only where somebody
 * sleeps; up to 256 KiB wait for each thread that sends (at most 1024 threads, -ENOLCK beyond); who
 * waits spins for up to 5 us first, as long as that has paid lately. A sender that has room does
 * not learn from the death of the others' last process with the next message, but looks after each
 * 64, if nobody has looked for 20 ms. An end has no descriptor to be polled
 * (tine_connection_fileno); an event loop gets one of tine_waitable_fd(), which costs nothing where
 * nobody asks for it. A message with descriptors or handles (`F`, `o`) goes through a socket beside
 * the ring, in its turn among the others, and at the socket's price; a receiver that is stopped
 * (SIGSTOP), not killed, in the instant in which it takes one keeps the others at that end waiting
 * until it goes on.
 */
#ifndef TINE_PIPE_H
#define TINE_PIPE_H

#include <tine/base.h>
#include <tine/codec.h>
#include <tine/time.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_connection tine_connection;

/*
 * How much of a message is checked when it is received. Always: its header, length and, over a
 * socket, number.
 */
enum {
    TINE_CHECK_DEFAULT = 0, /* the bytes of messages up to 4 KiB */
    TINE_CHECK_HEADER = 1,  /* no further bytes */
    TINE_CHECK_FULL = 2,    /* all bytes, at about 1 GB/s */
};

/* What carries the messages. */
enum {
    TINE_SOCKET = 1, /* the default: a socket pair, that the kernel wakes and any loop can poll */
    TINE_RING = 2,   /* shared memory: some twenty times faster while both ends run */
};

typedef struct tine_pipe_options {
    uint32_t simplex;           /* 1: the first end only receives, the second only sends */
    int32_t check;              /* TINE_CHECK_... */
    uint64_t message_bytes_max; /* 4 GiB, which is also the most */
    int32_t transport;          /* TINE_SOCKET or TINE_RING */
    uint32_t reserved32;        /* 0 */
    uint64_t reserved[5];       /* 0 */
} tine_pipe_options;

/* A received message where it lies. The last field is the library's. */
typedef struct tine_message {
    const void *data;
    size_t size;
    uint64_t opaque[6];
} tine_message;

/**
 * tine_pipe - make two connected ends
 *
 * In:      options  NULL: all defaults
 * Out:     a        the first end
 *          b        the second end
 * Shape:   duplex: what is sent to either end is received from the other; simplex: sent to b,
 *          received from a
 * Units:   message_bytes_max bytes
 * Returns: 0, or a negative code
 * Handle:  -EMFILE, -ENFILE (two descriptors an end)
 * Give up: -EINVAL (NULL, bad option), -E2BIG (options newer than this library), -ENOMEM,
 *          -EADDRINUSE (no family heap), -EPERM, -EACCES … (memfd_create() is forbidden),
 *          -ENOTSUP (there is no /proc), -EBADF, -ENOENT (the program has closed the heap's file)
 * Blocks:  only for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what belongs to the pipe goes with the last process that has an end of it
 * Source:  ipc/pipe.c; follows multiprocessing.Pipe; differs: message-atomic for any number of
 *          processes at either end, -EPIPE without SIGPIPE, large messages by shared memory
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pipe(tine_connection **a, tine_connection **b,
                                    const tine_pipe_options *options);

/**
 * tine_connection_close - give up this process's handle of an end
 *
 * In:      connection  given, with no call of it in progress and no message of it unreleased; NULL
 *                      is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  ipc/connection.c; follows Connection.close; differs: once a handle; a message kept by
 *          tine_connection_recv_bytes_into() is lost with the handle
 * Since:   0.1
 */
TINE_API void tine_connection_close(tine_connection *connection);

/**
 * tine_connection_send - pack values and send them as one message
 *
 * In:      connection  a handle
 *          timeout_ns  how long to wait for room
 *          format      letters as for tine_pack(), see tine/codec.h; and `F` for a descriptor,
 *                      in the family and over unix sockets; `oc` for a connection, in the family
 *          ...         what the letters take; descriptors are borrowed
 * Out:     none
 * Shape:   the values behind one another, as tine_connection_recv() takes them; at most 16
 *          descriptors, of which a connection has two
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code: then nothing was sent
 * Handle:  -EPIPE (nobody has the other end), -ETIMEDOUT, -EAGAIN (timeout 0 and no room),
 *          -ERANGE, -EMSGSIZE (more than message_bytes_max), -EMFILE (more than 16
 *          descriptors)
 * Give up: -EBADF (this end only receives, or `F` is no descriptor), -EINVAL, -ENOMEM,
 *          TINE_EFORMAT, -ELOOP, -EOVERFLOW (see tine_pack)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   sent whole or not at all
 * Source:  ipc/connection_values.c; follows Connection.send; differs: msgpack, never pickle
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_send(tine_connection *connection, int64_t timeout_ns,
                                               const char *format, ...);

/**
 * tine_connection_recv - receive a message and unpack it
 *
 * In:      connection  a handle
 *          timeout_ns  how long to wait for a message
 *          format      letters as for tine_unpack(); they have to use up the message
 * Out:     ...         pointers that the letters name, or NULL; `y v a` borrowed until the next
 *                      call of this function with this handle or its close, `s` the caller's to
 *                      free()
 * Shape:   as tine_unpack
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  TINE_EEOF (nobody has the other end, and everything is received), -ETIMEDOUT, -EAGAIN
 *          (timeout 0 and no message); TINE_EFORMAT, -ERANGE (another shape: the message is gone);
 *          -EMFILE (no room here for its descriptors: it is gone)
 * Give up: TINE_ECHECKSUM, -EPROTO (it came damaged: it is gone), -EBADF (this end only sends),
 *          -EINVAL (also `p`, `c` and `o` from outside of the family, and `F` where none can come),
 *          -ENOMEM, -ELOOP
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a receiver that is killed takes at most the message in hand along
 * Source:  ipc/connection_values.c; follows Connection.recv; differs: data only, never code
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_recv(tine_connection *connection, int64_t timeout_ns,
                                               const char *format, ...);

/**
 * tine_connection_send_bytes - send bytes as one message
 *
 * In:      connection  a handle
 *          bytes       the message; NULL if it is empty
 *          size        how many
 *          timeout_ns  how long to wait for room
 * Out:     none
 * Shape:   0 bytes to message_bytes_max; above 64 KiB it lies in the family heap until received
 * Units:   size in bytes, timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code: then nothing was sent
 * Handle:  -EPIPE (nobody has the other end), -ETIMEDOUT, -EAGAIN (timeout 0 and no room),
 *          -EMSGSIZE (more than message_bytes_max)
 * Give up: -EBADF (this end only receives), -EINVAL (NULL), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   sent whole or not at all
 * Source:  ipc/connection.c; follows Connection.send_bytes; differs: no limit of 2 GiB, no offset
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_send_bytes(tine_connection *connection,
                                                     const void *bytes, size_t size,
                                                     int64_t timeout_ns);

/**
 * tine_connection_recv_bytes - receive a message into new memory
 *
 * In:      connection  a handle
 *          timeout_ns  how long to wait for a message
 * Out:     bytes       the message, the caller's to free(), also an empty one
 *          size        its size
 * Shape:   one message; descriptors that came with it are closed
 * Units:   size in bytes, timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  TINE_EEOF (nobody has the other end, and everything is received), -ETIMEDOUT, -EAGAIN
 *          (timeout 0 and no message), -ENOMEM (the message is kept for this handle)
 * Give up: TINE_ECHECKSUM, TINE_EFORMAT, -EPROTO (it came damaged: it is gone), -EBADF (this end
 *          only sends), -EINVAL
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a receiver that is killed takes at most the message in hand along
 * Source:  ipc/connection.c; follows Connection.recv_bytes; differs: no maxlength: the pipe has one
 *          for all its messages
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_recv_bytes(tine_connection *connection,
                                                     int64_t timeout_ns, void **bytes,
                                                     size_t *size);

/**
 * tine_connection_recv_bytes_into - receive a message into the caller's memory
 *
 * In:      connection  a handle
 *          buffer      room for it; NULL if room is 0
 *          room        how much
 *          timeout_ns  how long to wait for a message
 * Out:     size        the size of the message; written for -EMSGSIZE, too
 * Shape:   one message; descriptors that came with it are closed. What lies behind it in the
 *          buffer, and all of it after a failure, is undefined
 * Units:   room and size in bytes, timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  -EMSGSIZE (too little room: the message is kept for this handle and is its next one),
 *          TINE_EEOF (nobody has the other end, and everything is received), -ETIMEDOUT, -EAGAIN
 *          (timeout 0 and no message)
 * Give up: TINE_ECHECKSUM, TINE_EFORMAT, -EPROTO (it came damaged: it is gone), -EBADF (this end
 *          only sends), -EINVAL, -ENOMEM (no memory to keep it: it is gone)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a receiver that is killed takes the message in hand, and those that it keeps, along
 * Source:  ipc/connection.c; follows Connection.recv_bytes_into; differs: too small a buffer does
 *          not consume the message. A kept message belongs to this handle in this process alone: it
 *          does not make tine_connection_fileno() readable, wakes no other thread, and a forked
 *          child has none; there is no offset
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_recv_bytes_into(tine_connection *connection,
                                                          void *buffer, size_t room,
                                                          int64_t timeout_ns, size_t *size);

/**
 * tine_connection_recv_view - receive a message and read it where it lies
 *
 * In:      connection  a handle
 *          timeout_ns  how long to wait for a message
 * Out:     message     data and size; to be given to tine_message_release(), before the handle is
 *          closed
 * Shape:   one message, aligned to 8 bytes; read-only. A sender waits when 32 messages above 64 KiB
 *          are on their way to this end or unreleased
 * Units:   size in bytes, timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  TINE_EEOF (nobody has the other end, and everything is received), -ETIMEDOUT, -EAGAIN
 *          (timeout 0 and no message); -EOPNOTSUPP (descriptors came with it, which only
 *          tine_connection_recv() takes: it is kept for this handle and is its next one)
 * Give up: TINE_ECHECKSUM, TINE_EFORMAT, -EPROTO (it came damaged: it is gone), -EBADF (this end
 *          only sends), -EINVAL, -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what a dead process has not released is given back for it
 * Source:  ipc/connection_place.c; Python has no such call
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_recv_view(tine_connection *connection,
                                                    int64_t timeout_ns, tine_message *message);

/**
 * tine_connection_recv_reader - receive a message and start to read its values
 *
 * In:      connection  a handle
 *          limits      for the values, or NULL for the defaults
 *          timeout_ns  how long to wait for a message
 * Out:     message     as of tine_connection_recv_view(); to be released when the reader is done
 *          reader      before the first value
 * Shape:   as tine_reader_init
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code: then there is nothing to release
 * Handle:  TINE_EEOF (nobody has the other end, and everything is received), -ETIMEDOUT, -EAGAIN
 *          (timeout 0 and no message); -EOPNOTSUPP (as tine_connection_recv_view());
 *          TINE_EFORMAT (no msgpack, or beyond a limit: it is gone)
 * Give up: TINE_ECHECKSUM, -EPROTO (it came damaged: it is gone), -EBADF (this end only sends),
 *          -EINVAL, -E2BIG (limits newer than this library), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what a dead process has not released is given back for it
 * Source:  ipc/connection_place.c; the place of Connection.recv where the shape is not known
 *          beforehand
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_recv_reader(tine_connection *connection,
                                                      const tine_limits *limits,
                                                      int64_t timeout_ns, tine_message *message,
                                                      tine_reader *reader);

/**
 * tine_connection_loan - memory to build a message in, where its receiver will read it
 *
 * In:      connection  a handle
 *          size        of the message
 *          timeout_ns  how long to wait for room
 * Out:     message     to be given to tine_connection_send_loan() or tine_message_release(), before
 *                      the handle is closed; its size may be made smaller until it is sent
 *          data        the memory; its content is undefined
 * Shape:   aligned to 8 bytes. Up to 64 KiB it is copied when it is sent
 * Units:   size in bytes, timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  -EPIPE (nobody has the other end), -ETIMEDOUT, -EAGAIN (timeout 0 and no room),
 *          -EMSGSIZE (more than message_bytes_max)
 * Give up: -EBADF (this end only receives), -EINVAL, -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what a dead process has not sent is given back for it
 * Source:  ipc/connection_place.c; Python has no such call
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_loan(tine_connection *connection, size_t size,
                                               int64_t timeout_ns, tine_message *message,
                                               void **data);

/**
 * tine_connection_send_loan - send a message that was built in place
 *
 * In:      connection  the handle that the loan is of
 *          message     of tine_connection_loan(), in the process that called it
 *          timeout_ns  how long to wait for room
 * Out:     message     zeroed when it is sent; else as before, to be sent again or released
 * Shape:   the first message->size bytes
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code: then nothing was sent
 * Handle:  -EPIPE (nobody has the other end), -ETIMEDOUT, -EAGAIN (timeout 0 and no room),
 *          -EMSGSIZE (more than message_bytes_max)
 * Give up: -EBADF (this end only receives), -EINVAL (no loan of this handle and process, or larger
 *          than that), -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   sent whole or not at all
 * Source:  ipc/connection_place.c; Python has no such call
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_send_loan(tine_connection *connection,
                                                    tine_message *message, int64_t timeout_ns);

/**
 * tine_message_release - give a message back that was read where it lies, or not sent
 *
 * In:      message  of tine_connection_recv_view() or loan(), in the process that got it; zeroed,
 *                   or released already: nothing happens
 * Out:     message  zeroed
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  only for the heap's own short lock
 * Safety:  thread one | process owner | fork child may call (nothing happens) | signal no
 * Death:   see tine_connection_recv_view()
 * Source:  ipc/connection_place.c
 * Since:   0.1
 */
TINE_API void tine_message_release(tine_message *message);

/**
 * tine_connection_poll - is there a message, or the end?
 *
 * In:      connection  a handle
 *          timeout_ns  how long to wait for one
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 1: receiving would not wait, unless another receiver is quicker; 0: not within the time
 * Handle:  none
 * Give up: -EBADF (this end only sends), -EINVAL
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the end of the last process that has the other end wakes it
 * Source:  ipc/connection_wait.c; follows Connection.poll, which is true at the end, too; differs:
 *          negative means for ever, as everywhere in tine
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_poll(tine_connection *connection, int64_t timeout_ns);

/**
 * tine_connection_fileno - the descriptor to be watched for messages
 *
 * In:      connection  a handle
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: a descriptor, which stays the connection's: poll it for POLLIN, neither read, write nor
 *          close it; or a negative code
 * Handle:  none
 * Give up: -EINVAL, -ENOTSUP (TINE_RING: tine_waitable_fd() makes one where one is wanted)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is readable at the end as well
 * Source:  ipc/connection_wait.c; follows Connection.fileno
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_connection_fileno(const tine_connection *connection);

/**
 * tine_connection_waitable - an entry for tine_wait(): ready when a message has come
 *
 * In:      connection  a handle that receives
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the connection is closed; ready at the end as well, and with a
 *          kept message
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL and an end that only sends (-EBADF)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   as tine_connection_poll()
 * Source:  ipc/connection_wait.c; follows the connections of Python 3.13
 *          multiprocessing.connection.wait
 * Since:   0.1
 */
TINE_API tine_waitable tine_connection_waitable(tine_connection *connection);

/**
 * tine_connection_readable - may this end receive?
 *
 * In:      connection  a handle
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true unless it is the sending end of a simplex pipe, or NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/connection.c; follows Connection.readable
 * Since:   0.1
 */
TINE_API bool tine_connection_readable(const tine_connection *connection);

/**
 * tine_connection_writable - may this end send?
 *
 * In:      connection  a handle
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true unless it is the receiving end of a simplex pipe, or NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/connection.c; follows Connection.writable
 * Since:   0.1
 */
TINE_API bool tine_connection_writable(const tine_connection *connection);

TINE_END_DECLS

#endif
