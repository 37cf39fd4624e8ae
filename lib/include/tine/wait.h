/* SPDX-License-Identifier: MIT */
/*
 * Waiting for many objects of any kind at once: descriptors, connections, queues, events, futures,
 * …
 *
 *     tine_waitable on[] = {
 *         tine_event_waitable(stop),
 *         tine_future_waitable(future),
 *         tine_queue_waitable(queue, TINE_READABLE),
 *         tine_fd_waitable(socket, TINE_READABLE),
 *     };
 *     int n = tine_wait(on, 4, TINE_SEC(1));              // how many are ready, 0: timed out
 *     if (n > 0 && on[0].ready)
 *         return;
 *
 * An entry is made by the function of its kind and is used as often as one likes; one of zeros is
 * passed over. A process is waited for by its pidfd (readable when it has ended). To be ready is to
 * be worth a try, no more: nothing is taken, so of several who wait for a semaphore all see it
 * ready and one gets it.
 *
 * For a loop that is not ours (epoll, libuv, GLib) tine_waitable_fd() gives a descriptor. It is
 * readable when the object may be ready, and every 50 ms; a try that does not wait
 * (tine_event_is_set(), tine_future_done(), tine_queue_get() with timeout 0, …) and gets nothing
 * makes it quiet:
 *
 *     int fd = tine_waitable_fd(&on[0]);
 *     … the loop says that fd is readable: if (tine_event_is_set(stop) == 1) … ; else nothing to do
 *     tine_waitable_close(fd);
 *
 * That costs the loop some 3 us for each such descriptor every 50 ms, so for thousands of objects
 * tine_wait() is the better loop.
 *
 * Objects in the family heap wake who waits at once; those in other shared memory (a named segment)
 * are looked at every 5 ms, and have no descriptor. If the process that makes an object ready is
 * killed before it could wake anybody, those who wait find out within 50 ms. A killed waiter leaves
 * nothing behind. A process that has waited for such objects keeps one descriptor open, a socket,
 * for the next time.
 */
#ifndef TINE_WAIT_H
#define TINE_WAIT_H

#include <tine/base.h>

TINE_BEGIN_DECLS

/* What is waited for, and what is so: */
#define TINE_READABLE 1u /* set, done, a permit, a message, a connection to accept */
#define TINE_WRITABLE 2u
/* Only what is so: */
#define TINE_HUNGUP 4u /* of a descriptor: its peer is gone, or there is an error to be read */
#define TINE_NOFD   8u /* it is no open descriptor */

struct tine__waitable_kind;

typedef struct tine_waitable {
    const struct tine__waitable_kind *kind; /* NULL: an entry to be passed over */
    void *object;
    void *user; /* the caller's own */
    int32_t fd;
    uint32_t events; /* what is waited for: TINE_READABLE | TINE_WRITABLE */
    uint32_t ready;  /* written by tine_wait: what is so, 0: not ready */
    uint32_t reserved32;
    uint64_t reserved; /* 0 */
} tine_waitable;

/**
 * tine_wait - wait until at least one of many objects is ready
 *
 * In:      waitables   n entries; the same object may stand in several
 *          n           how many; 0 only waits until the time is over
 *          timeout_ns  how long to wait
 * Out:     waitables   .ready of each, untouched on failure
 * Shape:   n entries, each marked by itself: all that are ready are
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: how many are ready; 0 when none was in time; or a negative code
 * Handle:  none
 * Give up: -EINVAL (an entry's object or events are none; no entries and no timeout), -EBADF (a
 *          negative descriptor), TINE_EFORKED (an object of another process), -ENOMEM, -ENOLCK (a
 *          queue has no room for another process); -EINVAL also for more descriptors than
 *          RLIMIT_NOFILE
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks of futures
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   what a dead process held or left is found within 50 ms; killed waiters leave nothing
 * Source:  ipc/wait.c; follows Python 3.13 multiprocessing.connection.wait;
 *          differs: a negative timeout is for ever, not a look; the same object may be given twice;
 *          without a descriptor to wait by (none is left) it looks every 5 ms
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_wait(tine_waitable *waitables, size_t n, int64_t timeout_ns);

/**
 * tine_fd_waitable - an entry for a descriptor
 *
 * In:      fd      a descriptor that can be polled: a socket, a pipe, a pidfd, …
 *          events  TINE_READABLE, TINE_WRITABLE or both
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry
 * Handle:  none
 * Give up: none: tine_wait() refuses a bad one
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  ipc/wait.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_fd_waitable(int fd, uint32_t events);

/**
 * tine_waitable_fd - a descriptor for an event loop that is readable when the object may be ready
 *
 * In:      waitable  an entry; the object must live until the descriptor is closed
 * Out:     none
 * Shape:   one descriptor, CLOEXEC; three for objects that have none of their own, of which the
 *          caller sees one
 * Units:   none
 * Returns: the descriptor, for poll and the like only; give it to tine_waitable_close() in the end.
 *          Or a negative code
 * Handle:  -ENOTSUP (an object outside of the family heap), -EMFILE, -ENFILE
 * Give up: -EINVAL, -EBADF, TINE_EFORKED, -ENOMEM, -ENOLCK (65,536 are in use in the family)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   who makes the object ready and is killed before telling is made good after 50 ms: it is
 *          then readable
 * Source:  ipc/wait.c, shm/pollable.c; follows the fileno() of Python's connections, for all kinds;
 *          differs: of an entry for a descriptor of the kernel's it is that descriptor
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_waitable_fd(const tine_waitable *waitable);

/**
 * tine_waitable_close - give a descriptor of tine_waitable_fd() back
 *
 * In:      fd  from tine_waitable_fd(); that of an entry for a descriptor stays open, any other
 *              number is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may close | signal no
 * Death:   none
 * Source:  ipc/wait.c
 * Since:   0.1
 */
TINE_API void tine_waitable_close(int fd);

TINE_END_DECLS

#endif
