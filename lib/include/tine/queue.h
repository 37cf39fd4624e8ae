/* SPDX-License-Identifier: MIT */
/*
 * Queues: items from any number of producers to any number of consumers, threads or processes.
 *
 *     tine_queue *queue;
 *     tine_queue_open(&queue, &(tine_queue_options){.maxsize = 100, .joinable = 1});
 *     … fork, or a pool's workers …
 *     tine_queue_put(queue, TINE_FOREVER, "[qs]", (int64_t)7, "seven");     the producer
 *
 *     while (tine_queue_get(queue, TINE_FOREVER, "[qs]", &number, &text) == 0) {
 *         … work …                                                          the consumers
 *         free(text);
 *         tine_queue_task_done(queue);
 *     }
 *
 *     tine_queue_join(queue, TINE_FOREVER, NULL);     all that was put is done
 *     tine_queue_shutdown(queue, 0);                  gets return -ESHUTDOWN once it is empty
 *     tine_queue_close(queue);                        in each process
 *
 * First in, first out, or last in, first out, or smallest priority first: .order. A put is visible
 * when it returns; there is no feeder thread. Items are values packed as tine_pack() does it, or
 * any bytes. They lie in the family heap and are copied once on the way in and once on the way out;
 * a tine_queue_item is read where it lies. Who opens a queue can use it, and whoever is forked from
 * then on. It lives until the last process has closed it or died.
 *
 * Without .joinable an item is gone once a get has returned it. With .joinable it is leased to the
 * process that got it until task_done: if that dies first, closes the queue, or lets .lease_ns go
 * by, the item is delivered again, before all others (LIFO and PRIORITY: in its old place); so each
 * item is done at least once, and join never waits for the dead. With .lose it is counted lost
 * instead. What comes back takes no room: there may be as many more than .maxsize or .maxbytes.
 * A process that execs another program without having closed the queue keeps its leases while it
 * lives.
 *
 * Whoever is killed in any of these calls holds nobody up. Nor does who is stopped, but for this:
 * - In the middle of a put or get by LIFO or PRIORITY he holds up puts and gets, until their
 *   timeouts; with timeout 0 for 40 ms, after which they say -EAGAIN. Nothing else: neither
 *   task_done nor join, shutdown, qsize, wait, close. What an immediate shutdown could not drop
 *   because of him, joins do.
 * - In the middle of tine_alloc() or tine_free(), anybody's, he may hold up whoever needs the heap,
 *   and no timeout ends that: a put, get or task_done of an item of more than 64 bytes, a put for
 *   which the queue must grow, open, the last close, and a process's first call. Smaller items in a
 *   queue that has been as full before need no heap.
 * - With .maxbytes he keeps the room of his item.
 * - What he has leased stays his; .lease_ns ends that.
 * A producer killed in a put loses at most that item, a consumer killed in a get at most the one it
 * was given, and with .joinable none.
 *
 * Items carry no checksum, as those of pipes do: they are not sent, but lie in the heap from put to
 * get, which is trusted as all memory that processes share. Nor do descriptors and tine objects go
 * through queues (the letters `F` and `o…` are -EINVAL): an item may outlive its producer and be
 * delivered again to another consumer, and the kernel keeps no descriptor for that. Send these
 * through a pipe.
 */
#ifndef TINE_QUEUE_H
#define TINE_QUEUE_H

#include <tine/base.h>
#include <tine/time.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_queue tine_queue;
typedef struct tine_queue_item tine_queue_item;

/* For .order. */
enum {
    TINE_FIFO = 1,
    TINE_LIFO = 2,
    TINE_PRIORITY = 3, /* smallest first; FIFO among equals */
};

/* Zero in a field means its default. */
typedef struct tine_queue_options {
    uint64_t maxsize;        /* items; 0: no limit */
    uint64_t maxbytes;       /* of all items together, at most 1 TiB; 0: no limit */
    int64_t lease_ns;        /* how long a consumer may take for an item; 0: as long as it lives */
    int32_t order;           /* 0: TINE_FIFO */
    int32_t joinable;        /* 1: leases, tine_queue_task_done(), tine_queue_join() */
    int32_t lose;            /* 1: what a dead consumer had is lost, not delivered again */
    uint32_t deliveries_max; /* then it is a dead letter; at most 255, 0: no limit */
    uint32_t flags;          /* 0 */
    uint32_t reserved32;     /* 0 */
    uint64_t reserved[8];    /* 0 */
} tine_queue_options;

/* For tine_queue_put_many(). */
typedef struct tine_queue_message {
    const void *bytes;
    size_t size;
    int64_t priority;
    uint64_t reserved; /* 0 */
} tine_queue_message;

/**
 * tine_queue_open - make a queue in the family heap
 *
 * In:      options  NULL for defaults
 * Out:     queue    a handle, good in this process and in all that are forked from now on
 * Shape:   none
 * Units:   as the fields say
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, an option out of its range, .lose, .lease_ns or .deliveries_max without
 *          .joinable), -E2BIG, -ENOMEM, -EMFILE, -ENFILE, -EADDRINUSE (no heap), -EPERM,
 *          -EACCES … (memfd_create() is forbidden), -ENOTSUP (there is no /proc), -EBADF, -ENOENT
 *          (the program has closed the heap's file)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   in the call: what it has made is given back by whoever opens the next one
 * Source:  ipc/queue.c; follows Python's multiprocessing.Queue and JoinableQueue, queue.LifoQueue
 *          and queue.PriorityQueue; differs: one type, also across processes
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_open(tine_queue **queue, const tine_queue_options *options);

/**
 * tine_queue_close - close this process's handle; the last one ends the queue
 *
 * In:      queue  that no thread of this process uses any more, all its items freed; or NULL
 * Out:     none
 * Shape:   items that this process has got and not said done for are delivered to others
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   as a close
 * Source:  ipc/queue.c; follows Queue.close; differs: the others can go on
 * Since:   0.1
 */
TINE_API void tine_queue_close(tine_queue *queue);

/**
 * tine_queue_put - pack values and put them into a queue as one item
 *
 * In:      queue       open
 *          timeout_ns  how long to wait for room
 *          format      letters as for tine_pack(), and `c`; not `F` and `o…`
 *          ...         what the letters take
 * Out:     none
 * Shape:   one item; any number of values in it; priority 0
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code: nothing was put
 * Handle:  -EAGAIN (timeout 0: full), -ETIMEDOUT, -ESHUTDOWN, -ERANGE (a number too large for its
 *          letter)
 * Give up: -EINVAL, -EOVERFLOW, TINE_EFORMAT, -ELOOP (see tine_pack), -EMSGSIZE (larger than
 *          .maxbytes), -ENOMEM, -ENOLCK (4095 living processes use it)
 * Blocks:  only while there are .maxsize items or .maxbytes bytes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   killed in the call: the item is in the queue or nowhere
 * Source:  ipc/queue_put.c; follows Queue.put; differs: visible to all when it returns
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_put(tine_queue *queue, int64_t timeout_ns, const char *format,
                                         ...);

/**
 * tine_queue_put_nowait - tine_queue_put with timeout 0
 *
 * In:      queue   open
 *          format  letters as for tine_pack()
 *          ...     what the letters take
 * Out:     none
 * Shape:   as tine_queue_put
 * Units:   none
 * Returns: 0, or a negative code: nothing was put
 * Handle:  -EAGAIN (full), -ESHUTDOWN, -ERANGE
 * Give up: as tine_queue_put
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_put
 * Source:  ipc/queue_put.c; follows Queue.put_nowait
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_put_nowait(tine_queue *queue, const char *format, ...);

/**
 * tine_queue_put_priority - tine_queue_put with a priority
 *
 * In:      queue       open
 *          priority    for TINE_PRIORITY: the smallest is got first; else only passed along
 *          timeout_ns  how long to wait for room
 *          format      letters as for tine_pack()
 *          ...         what the letters take
 * Out:     none
 * Shape:   as tine_queue_put
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code: nothing was put
 * Handle:  -EAGAIN, -ETIMEDOUT, -ESHUTDOWN, -ERANGE
 * Give up: as tine_queue_put
 * Blocks:  as tine_queue_put
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_put
 * Source:  ipc/queue_put.c; follows queue.PriorityQueue.put of a tuple; differs: equals stay in
 *          order
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_put_priority(tine_queue *queue, int64_t priority,
                                                  int64_t timeout_ns, const char *format, ...);

/**
 * tine_queue_put_bytes - put any bytes into a queue as one item
 *
 * In:      queue       open
 *          bytes       copied; NULL if there are none
 *          size        how many
 *          priority    as for tine_queue_put_priority()
 *          timeout_ns  how long to wait for room
 * Out:     none
 * Shape:   one item of exactly these bytes; where others shall get() it by a format, packed values
 * Units:   size bytes, timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code: nothing was put
 * Handle:  -EAGAIN, -ETIMEDOUT, -ESHUTDOWN
 * Give up: -EINVAL (NULL), -EMSGSIZE (larger than .maxbytes), -ENOMEM, -ENOLCK
 * Blocks:  as tine_queue_put
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_put
 * Source:  ipc/queue_put.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_put_bytes(tine_queue *queue, const void *bytes, size_t size,
                                               int64_t priority, int64_t timeout_ns);

/**
 * tine_queue_put_many - put many items
 *
 * In:      queue       open
 *          messages    their bytes and priorities; copied
 *          count       how many items, at most INT_MAX
 *          timeout_ns  how long to wait for room, for all of them together
 * Out:     none
 * Shape:   count messages, in this order; those of others may come between them
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: how many were put, the first ones, or a negative code: none
 * Handle:  -EAGAIN, -ETIMEDOUT, -ESHUTDOWN
 * Give up: as tine_queue_put_bytes
 * Blocks:  as tine_queue_put
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   killed in the call: some first ones are in the queue
 * Source:  ipc/queue_put.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_put_many(tine_queue *queue, const tine_queue_message *messages,
                                              size_t count, int64_t timeout_ns);

/**
 * tine_queue_get - take the next item and unpack it
 *
 * In:      queue       open
 *          timeout_ns  how long to wait for an item
 *          format      letters as for tine_unpack(), and `c`, but not `y`, `v` and `a`: what those
 *                      borrow would be gone when the call returns; see tine_queue_get_item()
 * Out:     ...         pointers that the letters name, or NULL; written only when it returns 0
 * Shape:   `s` the caller's to free()
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code: the item stays, as the next one
 * Handle:  -EAGAIN (timeout 0: empty), -ETIMEDOUT, -ESHUTDOWN (shut down and empty), TINE_EFORMAT,
 *          -ERANGE (the item has another shape), -ENOENT (a `c` that is not loaded here)
 * Give up: -EINVAL (NULL, `y v a`, bad format), -ENOMEM, -ENOLCK (4095 living processes use it)
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   killed in the call: the item stays, or is gone; with .joinable it is delivered again
 * Source:  ipc/queue_get.c; follows Queue.get; differs: an item that does not fit stays
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_get(tine_queue *queue, int64_t timeout_ns, const char *format,
                                         ...);

/**
 * tine_queue_get_nowait - tine_queue_get with timeout 0
 *
 * In:      queue   open
 *          format  as for tine_queue_get()
 * Out:     ...     pointers that the letters name, or NULL; written only when it returns 0
 * Shape:   as tine_queue_get
 * Units:   none
 * Returns: 0, or a negative code: the item stays, as the next one
 * Handle:  -EAGAIN (empty), -ESHUTDOWN, TINE_EFORMAT, -ERANGE
 * Give up: as tine_queue_get
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_get
 * Source:  ipc/queue_get.c; follows Queue.get_nowait
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_get_nowait(tine_queue *queue, const char *format, ...);

/**
 * tine_queue_get_bytes - take the next item's bytes
 *
 * In:      queue       open
 *          room        bytes that there is room for
 *          timeout_ns  how long to wait for an item
 * Out:     buffer      the bytes; NULL only if room is 0
 *          size        how many; with -EMSGSIZE how many there are
 * Shape:   one whole item
 * Units:   room, size bytes; timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code: the item stays, as the next one
 * Handle:  -EMSGSIZE (too little room), -EAGAIN, -ETIMEDOUT, -ESHUTDOWN
 * Give up: -EINVAL (NULL), -ENOMEM, -ENOLCK
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_get
 * Source:  ipc/queue_get.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_get_bytes(tine_queue *queue, void *buffer, size_t room,
                                               int64_t timeout_ns, size_t *size);

/**
 * tine_queue_get_item - take the next item, to be read where it lies
 *
 * In:      queue       open
 *          timeout_ns  how long to wait for an item
 * Out:     item        given; for tine_queue_item_bytes(), tine_queue_item_unpack(),
 *                      tine_queue_item_free()
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code
 * Handle:  -EAGAIN, -ETIMEDOUT, -ESHUTDOWN
 * Give up: -EINVAL (NULL), -ENOMEM, -ENOLCK
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_get
 * Source:  ipc/queue_get.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_get_item(tine_queue *queue, int64_t timeout_ns,
                                              tine_queue_item **item);

/**
 * tine_queue_get_many - take as many items as there are, but wait only for the first
 *
 * In:      queue       open
 *          room        how many at most, 1 … INT_MAX
 *          timeout_ns  how long to wait for the first
 * Out:     items       given, as by tine_queue_get_item(), in the order of the queue
 * Shape:   room places
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: how many were taken, 1 or more, or a negative code
 * Handle:  -EAGAIN, -ETIMEDOUT, -ESHUTDOWN
 * Give up: -EINVAL (NULL, no room), -ENOMEM, -ENOLCK
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   as tine_queue_get, for all of them
 * Source:  ipc/queue_get.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_get_many(tine_queue *queue, tine_queue_item **items,
                                              size_t room, int64_t timeout_ns);

/**
 * tine_queue_task_done - say that an item which was got is done
 *
 * In:      queue  open, made with .joinable
 * Out:     none
 * Shape:   the item that the calling thread got first and has not said done for; if there is none,
 *          one of another thread; if there is none, one of another process
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EOVERFLOW (nobody has one), -ECANCELED (its lease had ended: its time was over, or
 *          another process has said done for it)
 * Give up: -EINVAL (NULL, not joinable), -ENOMEM, -ENOLCK
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free for FIFO
 * Death:   killed in the call: the item is done, or delivered again
 * Source:  ipc/queue_lease.c; follows JoinableQueue.task_done; differs: at most as often as items
 *          were got
 * Since:   0.1
 */
TINE_API int tine_queue_task_done(tine_queue *queue);

/**
 * tine_queue_join - wait until every item that was put is done
 *
 * In:      queue       open, made with .joinable
 *          timeout_ns  how long to wait
 * Out:     lost        how many have been lost by now (.lose), also for -ETIMEDOUT; may be NULL
 * Shape:   dead letters count as done
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: don't wait)
 * Returns: 0, or a negative code
 * Handle:  -EAGAIN (timeout 0: not all are done), -ETIMEDOUT
 * Give up: -EINVAL (NULL, not joinable), -ENOMEM, -ENOLCK
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what a dead consumer had goes back into the queue within 100 ms, or is counted lost
 * Source:  ipc/queue_join.c; follows JoinableQueue.join; differs: never hangs on the dead
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_join(tine_queue *queue, int64_t timeout_ns, uint64_t *lost);

/**
 * tine_queue_dead_letters - take items that were delivered too often
 *
 * In:      queue  open, made with .deliveries_max
 *          room   how many at most, up to INT_MAX
 * Out:     items  given, as by tine_queue_get_item(), but without a lease
 * Shape:   room places; no order
 * Units:   none
 * Returns: how many were taken, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, no room), -ENOMEM, -ENOLCK
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   killed with one: it is gone
 * Source:  ipc/queue_join.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_dead_letters(tine_queue *queue, tine_queue_item **items,
                                                  size_t room);

/**
 * tine_queue_qsize - how many items are in the queue just now
 *
 * In:      queue  open
 * Out:     none
 * Shape:   without those that are leased
 * Units:   items
 * Returns: 0 or more, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  ipc/queue.c; follows Queue.qsize
 * Since:   0.1
 */
TINE_API TINE_CHECKED int64_t tine_queue_qsize(tine_queue *queue);

/**
 * tine_queue_empty - is there no item just now?
 *
 * In:      queue  open
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 or 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  ipc/queue.c; follows Queue.empty
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_empty(tine_queue *queue);

/**
 * tine_queue_full - are there .maxsize items just now?
 *
 * In:      queue  open
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 or 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  ipc/queue.c; follows Queue.full; differs: .maxbytes is not looked at
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_full(tine_queue *queue);

/**
 * tine_queue_shutdown - let no more items in; for all processes
 *
 * In:      queue      open
 *          immediate  1: drop those that are there, too
 * Out:     none
 * Shape:   puts fail at once, gets when the queue is empty, or with immediate at once; a join
 *          waits for those that are leased. One that comes back after the consumers have left waits
 *          for somebody who gets it: join first, then shut down
 * Units:   none
 * Returns: 0, also when it was shut down before, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, immediate neither 0 nor 1), -ENOMEM, -ENOLCK
 * Blocks:  no; with immediate at most 40 ms, where somebody is stopped (see above)
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   killed in the call: shut down or not; sleepers notice within 100 ms
 * Source:  ipc/queue.c; follows queue.Queue.shutdown of Python 3.13
 * Since:   0.1
 */
TINE_API int tine_queue_shutdown(tine_queue *queue, int immediate);

/**
 * tine_queue_item_bytes - the bytes of an item, where they lie
 *
 * In:      item  from tine_queue_get_item() and its like
 * Out:     size  how many; NULL if not wanted
 * Shape:   borrowed until tine_queue_item_free(); aligned to 8. After .lease_ns they may change:
 *          what was read is the item's only if tine_queue_item_done() then returns 0
 * Units:   size bytes
 * Returns: the bytes; NULL for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED const void *tine_queue_item_bytes(const tine_queue_item *item, size_t *size);

/**
 * tine_queue_item_unpack - unpack an item
 *
 * In:      item    from tine_queue_get_item() and its like
 *          format  letters as for tine_unpack(), and `c`
 * Out:     ...     pointers that the letters name, or NULL; written only when it returns 0
 * Shape:   `y v a` borrowed until tine_queue_item_free(), `s` the caller's to free()
 * Units:   as tine_unpack
 * Returns: 0, or a negative code
 * Handle:  TINE_EFORMAT, -ERANGE; see tine_unpack; -ENOENT (a `c` that is not loaded here)
 * Give up: -EINVAL, -ENOMEM, -ELOOP; see tine_unpack
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_item_unpack(const tine_queue_item *item, const char *format,
                                                 ...);

/**
 * tine_queue_item_priority - the priority that an item was put with
 *
 * In:      item  from tine_queue_get_item() and its like
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the priority; 0 for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int64_t tine_queue_item_priority(const tine_queue_item *item);

/**
 * tine_queue_item_deliveries - how often an item has been delivered, this time included
 *
 * In:      item  from tine_queue_get_item() and its like
 * Out:     none
 * Shape:   none
 * Units:   times; 255 stands for more, too
 * Returns: 1 or more; 0 for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_queue_item_deliveries(const tine_queue_item *item);

/**
 * tine_queue_item_done - tine_queue_task_done for this very item
 *
 * In:      item  from tine_queue_get_item() or tine_queue_get_many() of a joinable queue
 * Out:     none
 * Shape:   the item can still be read until tine_queue_item_free()
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EOVERFLOW (it is done already), -ECANCELED (its lease had ended)
 * Give up: -EINVAL (NULL, not joinable), TINE_EFORKED (another process has got it)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   killed in the call: the item is done, or delivered again
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API int tine_queue_item_done(tine_queue_item *item);

/**
 * tine_queue_item_free - give an item's memory back
 *
 * In:      item  from tine_queue_get_item() and its like, or NULL; its queue is still open
 * Out:     none
 * Shape:   in a joinable queue its lease stays until task_done; it is no task_done itself
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   what a dead process had is given back by others
 * Source:  ipc/queue_item.c
 * Since:   0.1
 */
TINE_API void tine_queue_item_free(tine_queue_item *item);

/**
 * tine_queue_waitable - an entry for tine_wait(): ready when a get, or a put, would not wait
 *
 * In:      queue   open queue
 *          events  TINE_READABLE: there is an item; TINE_WRITABLE: there is room (with .maxbytes
 *                  for one byte at least); or both
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the queue is closed; both are so after a shutdown. Nothing is
 *          taken by waiting: a get with timeout 0 does that, if nobody was faster
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   an item that a consumer's death has returned is seen within 75 ms
 * Source:  ipc/queue_wait.c; differs from Python, whose queues cannot be waited for
 * Since:   0.1
 */
TINE_API tine_waitable tine_queue_waitable(tine_queue *queue, uint32_t events);

TINE_END_DECLS

#endif
