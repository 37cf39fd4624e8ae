/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_RING_H
#define TINE_IPC_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "ipc/lane.h"
#include "lib/clock.h"
#include "shm/spin.h"
#include "shm/waiters.h"

/*
 * A ring: a bounded queue of records in the family heap, for any number of producers and consumers
 * in any processes of the family. Each producing thread has a lane of its own (ipc/lane.h) and
 * writes its records in place; consumers take the oldest one of all lanes. A producer or consumer
 * that is killed or stopped between any two instructions loses at most its own record, and blocks
 * nobody.
 *
 *     struct tine__ring_shm *shared;               // in the program, before the fork
 *     struct tine__ring ring;                      // in each process
 *
 *     tine__ring_create(&shared, NULL);
 *     tine__ring_open(&ring, shared, NULL, NULL);
 *     tine__ring_send(&ring, parts, 2, deadline);
 *     size = tine__ring_recv(&ring, buffer, sizeof buffer, deadline, &needed);
 *
 * Order: records of one thread in the order of their sending, and a record before every other one
 * whose sender could know of it.
 */
struct tine__ring_shm;

#define TINE__RING_AT_ONCE ((tine__deadline)0) /* try once, without a look at the clock */

enum { TINE__RING_READERS = 0, TINE__RING_WRITERS = 1 };

/* Does anybody still have that side? Asked by who sleeps, now and then. */
typedef bool tine__ring_alive(void *context, int side);

/* A handle. Private memory; may be copied by fork, used by many threads. */
struct tine__ring {
    struct tine__ring_shm *shared;
    tine__ring_alive *alive;
    void *context;
    struct tine__spin reading, writing;
    struct tine__patience patience; /* of reading */
    _Atomic uint32_t sender_cpu;    /* of the record taken last */
};

struct tine__ring_options {
    uint32_t capacity;   /* bytes of each lane, a power of two; 0: 256 KiB */
    uint32_t record_max; /* bytes; 0: a quarter of the capacity; at most half of it less 64 */
    uint64_t start;      /* for tests: the first position, a multiple of 16 */
};

/* 0, -EINVAL, -ENOMEM. A block of tine_alloc's, given: see tine__ring_empty(). */
int tine__ring_create(struct tine__ring_shm **shared, const struct tine__ring_options *options);
/*
 * Gives back what the ring refers to; then it may be freed. By whoever knows that nobody uses it
 * any more. May be called again after a death in it.
 */
void tine__ring_empty(struct tine__ring_shm *shared);
/* alive: NULL, or who knows whether the two sides still live. */
void tine__ring_open(struct tine__ring *ring, struct tine__ring_shm *shared,
                     tine__ring_alive *alive, void *context);
/* The calling thread produces no more: its lane is for others. Optional, a death does the same. */
void tine__ring_leave(struct tine__ring *ring);

/*
 * 0; -EMSGSIZE (more than record_max), -EPIPE (no reader is left), -EAGAIN (full, and the deadline
 * is TINE__RING_AT_ONCE), -ETIMEDOUT; -ENOLCK (no room for another producer), -ENOMEM. The parts
 * are one record.
 */
int tine__ring_send(struct tine__ring *ring, const struct iovec *parts, int count,
                    tine__deadline deadline);
/*
 * The same with one part of that size, which is made once it has its place, so that nothing but
 * `make` can fail after that: then as it says.
 */
typedef int tine__ring_make(void *context, struct iovec *part);
int tine__ring_send_after(struct tine__ring *ring, size_t size, tine__ring_make *make,
                          void *context, tine__deadline deadline);
/*
 * The record's size; -EMSGSIZE (it has *needed bytes and stays), TINE_EEOF (all is read and no
 * writer is left), -EAGAIN, -ETIMEDOUT. buffer may be changed in any case.
 */
ssize_t tine__ring_recv(struct tine__ring *ring, void *buffer, size_t room, tine__deadline deadline,
                        size_t *needed);
/*
 * The same by hand. peek: 0, -EAGAIN, TINE_EEOF; then tine__lane_copy() and, if what was copied is
 * to be kept, take: false, and all is as if nothing had been copied, if another was faster.
 */
struct tine__ring_record {
    struct tine__lane_shm *lane;
    struct tine__record record;
};
int tine__ring_peek(struct tine__ring *ring, struct tine__ring_record *record);
bool tine__ring_take(struct tine__ring *ring, const struct tine__ring_record *record);
/* Attempts until the result is not -EAGAIN: that, or -ETIMEDOUT. An attempt peeks and takes. */
typedef ssize_t tine__ring_attempt(struct tine__ring *ring, void *context);
ssize_t tine__ring_receive(struct tine__ring *ring, tine__ring_attempt *attempt, void *context,
                           tine__deadline deadline);
/* As tine__lane_holds(), of all lanes. */
bool tine__ring_holds(struct tine__ring_shm *shared, tine__lane_fits *fits, const void *context);
/* Waits until recv or send would not: 0, also if only to fail; -EAGAIN, -ETIMEDOUT. */
int tine__ring_poll(struct tine__ring *ring, tine__deadline deadline);
int tine__ring_poll_writable(struct tine__ring *ring, tine__deadline deadline);

/* That side has ended for ever: wakes whoever waits for it. */
void tine__ring_end(struct tine__ring_shm *shared, int side);
bool tine__ring_ended(struct tine__ring_shm *shared, int side);
/*
 * For who watches from outside, by what sleeps on these: after announcing a watcher of `readable`,
 * tine__ring_arm(), then tine__ring_poll() at once.
 */
struct tine__waiters_shm *tine__ring_readable(struct tine__ring_shm *shared);
/* Of the calling thread's lane; -ENOLCK, -ENOMEM. Without tine__ring_arm(). */
int tine__ring_writable(struct tine__ring_shm *shared, struct tine__waiters_shm **waiters);
void tine__ring_arm(struct tine__ring_shm *shared);
/* Bytes that stand in it, an upper bound. */
uint64_t tine__ring_used(struct tine__ring_shm *shared);
uint32_t tine__ring_record_max(const struct tine__ring_shm *shared);

#endif
