/* SPDX-License-Identifier: MIT */
/*
 * Request and reply: named functions of one program, called by others.
 *
 *     tine_rpc_server_open ──► add … ──► run, run, …        ──► close      (has the listener)
 *     tine_rpc_open ──► call, or submit ──► tine_rpc_future ──► close      (has the connection)
 *
 *     static int power(tine_rpc_request *request, void *context)
 *     {
 *         int64_t base, exponent;
 *         int rc = tine_rpc_args(request, "qq", &base, &exponent);
 *
 *         if (rc < 0)
 *             return rc;
 *         if (exponent < 0)
 *             return tine_rpc_fail(request, -EDOM, "exponent %" PRId64 " is negative", exponent);
 *         return tine_rpc_reply(request, "q", ipow(base, exponent));
 *     }
 *
 *     rc = tine_listener_open(&listener, "unix:/run/user/1000/power", NULL);
 *     rc = tine_rpc_server_open(&server, listener, NULL);
 *     rc = tine_rpc_server_add(server, "power", power, NULL);
 *     rc = tine_rpc_server_run(server, TINE_FOREVER);
 *
 * and in the other program:
 *
 *     rc = tine_dial(&connection, "unix:/run/user/1000/power", NULL);
 *     rc = tine_rpc_open(&rpc, connection);
 *     rc = tine_rpc_call(rpc, TINE_SEC(1), "power", &failure, "qq>q", INT64_C(2), INT64_C(10),
 *                        &result);
 *
 * A function answers in place, or keeps the request and answers later, from any thread: when a
 * future of a pool is done, say. It runs in the thread that is in tine_rpc_server_run(); there are
 * no others. A failure is data: the client gets TINE_EREMOTE, and the code and the sentence in a
 * tine_failure. Many calls may be under way on one client; their answers come in any order.
 *
 * What crosses is msgpack. The letters `p c F o` (heap pointers, functions, descriptors, handles)
 * are refused on both sides, and never taken from bytes. Other implementations of msgpack-rpc can
 * be the peer, over a native connection or with TINE_PROTOCOL_PYTHON; doc/wire.md has the messages.
 *
 * A server that dies ends all calls under way with TINE_EEOF: they may have run or not. A client
 * that dies, or talks nonsense, or takes nothing of its answers, costs its own connection; a slow
 * or greedy one is read no further until it has taken what it is owed. Nobody else notices.
 */
#ifndef TINE_RPC_H
#define TINE_RPC_H

#include <tine/base.h>
#include <tine/listener.h>
#include <tine/pipe.h>
#include <tine/task.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_rpc tine_rpc;
typedef struct tine_rpc_future tine_rpc_future;
typedef struct tine_rpc_request tine_rpc_request;
typedef struct tine_rpc_server tine_rpc_server;

/*
 * A function that clients call: 0 = it has answered, or somebody will who has kept the request;
 * negative = it fails with this code, unless it has answered.
 */
typedef int tine_rpc_function(tine_rpc_request *request, void *context);

/* Options of a server; zero in a field means its default. */
typedef struct tine_rpc_server_options {
    uint32_t clients_max;    /* at a time, others wait in the listener; default 256 */
    uint32_t requests_max;   /* of one client, not answered yet; default 1024 */
    uint64_t bytes_max;      /* of one client's requests and answers on their way; default 64 MiB */
    int64_t send_timeout_ns; /* how long a client may take nothing of its answers; default 30 s */
    uint64_t reserved[5];    /* must be zero */
} tine_rpc_server_options;

/**
 * tine_rpc_server_open - serve the clients of a listener
 *
 * In:      listener  given: closed with the server; after a failure it is still the caller's
 *          options   NULL: all defaults
 * Out:     server    the server, the caller's, for tine_rpc_server_close()
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EMFILE, -ENFILE
 * Give up: -EINVAL (NULL, negative timeout), -E2BIG (reserved fields), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_server.c; the role of a server of multiprocessing.managers;
 *          differs: no thread a client, data only
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_server_open(tine_rpc_server **server, tine_listener *listener,
                                               const tine_rpc_server_options *options);

/**
 * tine_rpc_server_add - give a function a name that clients call
 *
 * In:      server    open server
 *          name      1 to 255 bytes, copied; names that begin "tine." are kept
 *          function  called in the thread that is in tine_rpc_server_run(), with no lock held; it
 *                    may call anything but run and close of this server
 *          context   for it; kept until the server is closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EEXIST (the name has a function)
 * Give up: -EINVAL (NULL, name), -ENOMEM
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_server.c; follows BaseManager.register of Python
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_server_add(tine_rpc_server *server, const char *name,
                                              tine_rpc_function *function, void *context);

/**
 * tine_rpc_server_run - serve for a while
 *
 * In:      server      open server
 *          timeout_ns  for how long
 * Out:     none
 * Shape:   a few messages of each client in turn
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: what is there now, for loops that watch the
 *          fileno)
 * Returns: how many requests were handed to functions, at most INT32_MAX, when the time is over or
 *          tine_rpc_server_stop() was called; or a negative code
 * Handle:  -EBUSY (another thread, or a function of this server, is in run)
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  yes, at most timeout_ns and as long as a function takes; not interrupted by signals
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a client that dies is forgotten; answers to it are dropped
 * Source:  ipc/rpc_server.c; follows serve_forever of Python's servers
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_server_run(tine_rpc_server *server, int64_t timeout_ns);

/**
 * tine_rpc_server_stop - let the run under way, or the next one, return
 *
 * In:      server  open server, or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call (nothing happens) | signal yes
 * Death:   none
 * Source:  ipc/rpc_server.c; follows shutdown of Python's servers; differs: does not wait
 * Since:   0.1
 */
TINE_API void tine_rpc_server_stop(tine_rpc_server *server);

/**
 * tine_rpc_server_fileno - the descriptor to be watched by an outside loop
 *
 * In:      server  open server
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: a descriptor, which stays the server's: readable when tine_rpc_server_run() with timeout
 *          0 has something to do; poll it only; or a negative code
 * Handle:  none
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   none
 * Source:  ipc/rpc_server.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_server_fileno(const tine_rpc_server *server);

/**
 * tine_rpc_server_waitable - an entry for tine_wait(): ready when the server has something to do
 *
 * In:      server  open server
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the server is closed. Ready says that tine_rpc_server_run() with
 *          timeout 0 has something to do
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   none
 * Source:  ipc/rpc_server.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_rpc_server_waitable(tine_rpc_server *server);

/**
 * tine_rpc_server_close - end a server and its connections
 *
 * In:      server  the server, which is gone afterwards, and not in run; NULL is allowed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  as tine_listener_close()
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   clients with unanswered calls get TINE_EEOF. Requests that somebody still has are to be
 *          answered or dropped all the same; nobody gets the answer. A forked child closes only its
 *          copy, and as long as it has not, the clients see no end
 * Source:  ipc/rpc_server.c
 * Since:   0.1
 */
TINE_API void tine_rpc_server_close(tine_rpc_server *server);

/**
 * tine_rpc_args - unpack the arguments of a request
 *
 * In:      request  a request that is not answered yet
 *          format   one letter an argument, as tine_unpack() has them, without the outer brackets;
 *                   not `p c F o`
 * Out:     ...      one pointer (or pair) a letter; strings and arrays are borrowed until the
 *                   request is answered, and at least until the function returns
 * Shape:   all arguments, in order: a format that names fewer or more does not match
 * Units:   none
 * Returns: 0, or a negative code; nothing is written through the pointers on failure
 * Handle:  TINE_EFORMAT (the arguments have another shape), -ERANGE (a number does not fit its
 *          letter): return the code from the function
 * Give up: -EINVAL (NULL, bad format), -ENOMEM
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_request.c; as tine_args()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_args(tine_rpc_request *request, const char *format, ...);

/**
 * tine_rpc_args_packed - the arguments of a request as msgpack bytes
 *
 * In:      request  a request that is not answered yet
 * Out:     bytes    one msgpack array, borrowed until the request is answered
 *          size     its length
 * Shape:   one value: an array with one element an argument, well-formed, of any depth up to
 *          TINE_DEPTH_MAX
 * Units:   size bytes
 * Returns: 0, or -EINVAL when a pointer is NULL
 * Handle:  none
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_request.c; as tine_args_packed()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_args_packed(tine_rpc_request *request, const void **bytes,
                                               size_t *size);

/**
 * tine_rpc_cancelled - does nobody want the answer any more?
 *
 * In:      request  a request that is not answered yet
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true once the client has cancelled it or is gone. It is to be answered or dropped all
 *          the same; the answer is not sent
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a client that dies cancels its requests, as soon as the server runs
 * Source:  ipc/rpc_request.c
 * Since:   0.1
 */
TINE_API bool tine_rpc_cancelled(const tine_rpc_request *request);

/**
 * tine_rpc_reply - answer a request with a result
 *
 * In:      request  given, if the call returns 0
 *          format   exactly one value, as tine_pack() has it: "q", "s", "[qd]", "n" …; not `p c F
 *                   o`
 *          ...      its parts
 * Out:     none
 * Shape:   one msgpack value
 * Units:   none
 * Returns: 0, also when the client is gone or has cancelled; or a negative code: the request is
 *          still to be answered, and if the function returns the code, that is the answer
 * Handle:  -EMSGSIZE (larger than the client receives), -ERANGE
 * Give up: -EINVAL (bad format or not one value), -EALREADY (answered), -ENOMEM, TINE_EFORKED, and
 *          as tine_pack()
 * Blocks:  no: what has no room in the socket goes out while the server runs
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_request.c; as tine_return()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_reply(tine_rpc_request *request, const char *format, ...);

/**
 * tine_rpc_reply_packed - answer a request with msgpack bytes
 *
 * In:      request  given, if the call returns 0
 *          bytes    one msgpack value, made by any implementation; copied
 *          size     its length
 * Out:     none
 * Shape:   one value
 * Units:   size bytes
 * Returns: as tine_rpc_reply()
 * Handle:  -EMSGSIZE
 * Give up: TINE_EFORMAT (not exactly one well-formed value), -EINVAL (NULL), -EALREADY, -ENOMEM,
 *          TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_request.c; as tine_return_packed()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_reply_packed(tine_rpc_request *request, const void *bytes,
                                                size_t size);

/**
 * tine_rpc_fail - answer a request with a failure
 *
 * In:      request  given
 *          code     a negative code, an errno or one of the function's own
 *          format   printf format of a sentence for people, cut to fit tine_failure.message
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: code, so that a function ends with `return tine_rpc_fail(request, -EDOM, "…")`; -EINVAL
 *          for a code >= 0 or NULL: then nothing has happened
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   where no memory is left for the answer the client is dropped, so that it does not wait
 * Source:  ipc/rpc_request.c; as tine_fail()
 * Since:   0.1
 */
TINE_API int tine_rpc_fail(tine_rpc_request *request, int code, const char *format, ...)
    TINE_PRINTF(3, 4);

/**
 * tine_rpc_drop - give up a request without an answer
 *
 * In:      request  given; NULL is allowed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing; the client gets TINE_EREMOTE with the error -ECANCELED
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   in a forked child it only gives memory back
 * Source:  ipc/rpc_request.c
 * Since:   0.1
 */
TINE_API void tine_rpc_drop(tine_rpc_request *request);

/**
 * tine_rpc_open - call the functions of a server
 *
 * In:      connection  both ways, of tine_dial(); given: closed with the client; after a failure it
 *                      is still the caller's
 * Out:     rpc         the client, for tine_rpc_close()
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF (one way only), -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_client.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_open(tine_rpc **rpc, tine_connection *connection);

/**
 * tine_rpc_call - call a function and wait for its result
 *
 * In:      rpc         open client
 *          timeout_ns  how long to wait, for room and for the answer
 *          name        of the function, 1 to 255 bytes
 *          format      "qs>d": one letter an argument, as tine_pack() has them, then > and the
 *                      result as tine_unpack() has it. Without >, or with nothing behind it, the
 *                      result is dropped. Not `p c F o`, and behind > not `y v a`, which would lie
 *                      in the answer: see tine_rpc_submit()
 *          ...         the arguments, then pointers for the result
 * Out:     failure     NULL, or written if the call fails, but for -EINVAL and TINE_EFORKED
 *          ...         the result; `s` is the caller's to free()
 * Shape:   the result is one value
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  TINE_EREMOTE (the function failed: failure.error and .message say how; -ENOSYS: there is
 *          none of this name), -ETIMEDOUT, -EAGAIN (the call is cancelled then; it may have run),
 *          TINE_EEOF (the server is gone), -EMSGSIZE (more than the server receives), -ERANGE
 * Give up: TINE_EFORMAT (the result has another shape, or the server talks nonsense), -EINVAL,
 *          -ENOMEM, TINE_EFORKED, and as tine_pack() and tine_connection_recv_bytes()
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a server that dies gives TINE_EEOF at once; the function may have run
 * Source:  ipc/rpc_client.c; the role of a proxy's method of multiprocessing.managers
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_call(tine_rpc *rpc, int64_t timeout_ns, const char *name,
                                        tine_failure *failure, const char *format, ...);

/**
 * tine_rpc_submit - call a function without waiting for its result
 *
 * In:      rpc         open client
 *          timeout_ns  how long to wait for room
 *          name        of the function, 1 to 255 bytes
 *          format      one letter an argument, as tine_pack() has them; not `p c F o`
 *          ...         the arguments
 * Out:     future      for tine_rpc_future_close()
 * Shape:   any number under way at once; answers come in any order
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0, or a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (no room: the server has not read what was sent before), TINE_EEOF,
 *          -EMSGSIZE, -ERANGE
 * Give up: -EINVAL, -ENOMEM, TINE_EFORKED, and as tine_pack()
 * Blocks:  yes, at most timeout_ns; takes answers to other calls meanwhile
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  ipc/rpc_client.c; as tine_pool_submit()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_submit(tine_rpc_future **future, tine_rpc *rpc,
                                          int64_t timeout_ns, const char *name,
                                          const char *format, ...);

/**
 * tine_rpc_notify - call a function that does not answer
 *
 * In:      rpc, timeout_ns, name, format, ...  as tine_rpc_submit()
 * Out:     none
 * Shape:   calls of one thread, of all kinds, arrive in order
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = don't wait)
 * Returns: 0 when it is on its way, or a negative code; whether it ran nobody says
 * Handle:  as tine_rpc_submit()
 * Give up: as tine_rpc_submit()
 * Blocks:  as tine_rpc_submit()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   lost with the server
 * Source:  ipc/rpc_client.c; the notification of msgpack-rpc
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_notify(tine_rpc *rpc, int64_t timeout_ns, const char *name,
                                          const char *format, ...);

/**
 * tine_rpc_fileno - the descriptor to be watched for answers
 *
 * In:      rpc  open client
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: a descriptor, which stays the client's: while calls are not answered it is readable when
 *          tine_rpc_future_wait() with timeout 0 of any of them has something to do, and then all
 *          may be done; for one thread; or a negative code. A request that was sent in part, with a
 *          timeout too short for all of it, goes on with these calls only
 * Handle:  none
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   it is readable at the end as well
 * Source:  ipc/rpc_client.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_fileno(const tine_rpc *rpc);

/**
 * tine_rpc_close - end a client
 *
 * In:      rpc  the client, which is gone afterwards, with no call of it in progress; NULL is
 *               allowed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing; futures that are not done end with -ECANCELED, and are to be closed all the
 *          same
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  ipc/rpc_client.c
 * Since:   0.1
 */
TINE_API void tine_rpc_close(tine_rpc *rpc);

/**
 * tine_rpc_future_wait - wait until a call has ended
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: 0 when it has ended, however it ended; else a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0)
 * Give up: -EINVAL, TINE_EFORKED, -ENOMEM
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; takes answers to other calls
 *          meanwhile
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   ends at once when the server dies
 * Source:  ipc/rpc_client.c; as tine_future_wait()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_future_wait(tine_rpc_future *future, int64_t timeout_ns);

/**
 * tine_rpc_future_result - wait for a call and unpack its result
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 *          format      as tine_unpack() takes it, for one value, without `p c F o`; NULL reads
 *                      nothing
 * Out:     ...         one pointer (or pair) a letter; strings and arrays are borrowed until the
 *                      future is closed
 * Shape:   one msgpack value
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: 0, or a negative code: of the wait, of the call, or of the unpacking
 * Handle:  -ETIMEDOUT, -EAGAIN; TINE_EREMOTE (see tine_rpc_future_failure()), TINE_EEOF, -ECANCELED
 * Give up: TINE_EFORMAT (another shape, or the server talks nonsense), -ERANGE, -EINVAL, -ENOMEM,
 *          TINE_EFORKED
 * Blocks:  as tine_rpc_future_wait()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   TINE_EEOF: the function may have run
 * Source:  ipc/rpc_client.c; as tine_future_result()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_future_result(tine_rpc_future *future, int64_t timeout_ns,
                                                 const char *format, ...);

/**
 * tine_rpc_future_packed - wait for a call and give its result as msgpack bytes
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 * Out:     bytes       the value, borrowed until the future is closed
 *          size        its length
 * Shape:   one msgpack value
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only), size bytes
 * Returns: as tine_rpc_future_result()
 * Handle:  as tine_rpc_future_result()
 * Give up: -EINVAL, -ENOMEM, TINE_EFORKED
 * Blocks:  as tine_rpc_future_wait()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_rpc_future_result()
 * Source:  ipc/rpc_client.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_future_packed(tine_rpc_future *future, int64_t timeout_ns,
                                                 const void **bytes, size_t *size);

/**
 * tine_rpc_future_failure - how a call failed
 *
 * In:      future   a future that is not closed
 * Out:     failure  if it failed: .code as tine_rpc_future_result() returns it, .error the
 *                   function's code for TINE_EREMOTE (0: the server gives none), .message its
 *                   sentence, .task the name
 * Shape:   none
 * Units:   none
 * Returns: 1: it failed; 0: it has a result; or a negative code
 * Handle:  -EAGAIN (it has not ended)
 * Give up: -EINVAL, TINE_EFORKED, -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_client.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_future_failure(tine_rpc_future *future, tine_failure *failure);

/**
 * tine_rpc_future_waitable - an entry for tine_wait(): ready once the call may have ended
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the future is closed. Ready says that tine_rpc_future_wait() with
 *          timeout 0 is worth a call: it takes the answers that have come, and the next tine_wait()
 *          knows which calls they were for. In the order in which they end: wait for all of them,
 *          try all that are ready, and again
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal yes
 * Death:   ready when the server dies. Where another thread takes the answer, within 50 ms;
 *          tine_waitable_fd() is for one thread
 * Source:  ipc/rpc_client.c; the role of a future in concurrent.futures.wait
 * Since:   0.1
 */
TINE_API tine_waitable tine_rpc_future_waitable(tine_rpc_future *future);

/**
 * tine_rpc_future_cancel - want no answer any more
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0: the call has ended with -ECANCELED, whatever becomes of the function; or a negative
 *          code
 * Handle:  -EALREADY (it had ended)
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  no: the server is told if there is room, and the function sees it in
 *          tine_rpc_cancelled(); others that wait for this future, and read for all, find out
 *          within 40 ms
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  ipc/rpc_client.c; follows concurrent.futures.Future.cancel; differs: also of a call that
 *          runs
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_rpc_future_cancel(tine_rpc_future *future);

/**
 * tine_rpc_future_close - let go of a call
 *
 * In:      future  a future, or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no; a call that has not ended goes on, and its answer is dropped
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  ipc/rpc_client.c; as tine_future_close()
 * Since:   0.1
 */
TINE_API void tine_rpc_future_close(tine_rpc_future *future);

TINE_END_DECLS

#endif
