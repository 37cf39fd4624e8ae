/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_LANE_H
#define TINE_IPC_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "shm/waiters.h"

/*
 * A lane of a ring: records from one producer at a time to any number of consumers, in a ring of
 * bytes. Positions are free-running counters of bytes; a record stands at its position modulo the
 * capacity, in one piece. See ipc/lane.c for the algorithm and why it survives deaths.
 *
 * 128 bytes, then `capacity` bytes of records. Lies in the family heap.
 *
 * field      written by                     read by    order
 * head       consumers, by CAS: they take   any        seq_cst CAS, acquire
 * writable   the producer that sleeps       consumers  shm/waiters.h
 * taker_cpu  consumers                      producer   relaxed, a hint for its spinning
 * mask       tine__lane_init                any        published with the lane; twice, for a line
 *                                                      that the other side writes costs to be read
 * holder     who becomes the producer,      any        acq_rel: the last one's stores are seen
 *            or ends being it
 * tail       the producer                   it         relaxed
 * head_seen  the producer                   it         relaxed
 * records    the producer: word and bytes   consumers  word release/acquire, bytes relaxed
 */
struct tine__lane_shm {
    _Atomic uint64_t head;
    uint64_t mask; /* capacity - 1 */
    struct tine__waiters_shm writable;
    _Atomic uint32_t taker_cpu; /* tine__spin_cpu() */
    uint32_t reserved[9];
    _Atomic uint64_t holder;    /* tine__owner_word_thread(); 0: nobody */
    _Atomic uint64_t tail;      /* where the next record goes, or some that came after it */
    _Atomic uint64_t head_seen; /* not beyond head */
    uint64_t mask_again;
    uint64_t reserved_again[4];
};

#define TINE__LANE_RECORD 16u /* bytes before those of the message, and what all is rounded up to */

/* The first record of a lane: as it was while `head` was at `at`. */
struct tine__record {
    uint64_t at;
    uint64_t word;
    uint64_t ticket;
};

static inline uint32_t tine__record_size(uint64_t word)
{
    return (uint32_t)word;
}

static inline uint32_t tine__record_cpu(uint64_t word)
{
    return (uint32_t)(word >> 32) & 0xffff;
}

/* capacity: a power of two. start: the first position, a multiple of TINE__LANE_RECORD. */
void tine__lane_init(struct tine__lane_shm *lane, uint32_t capacity, uint64_t start,
                     uint64_t holder);
/* Makes the caller the producer in the place of `old`, who is dead or has left. */
bool tine__lane_adopt(struct tine__lane_shm *lane, uint64_t old, uint64_t holder);
void tine__lane_leave(struct tine__lane_shm *lane);

/* By the producer. */
struct tine__place {
    uint64_t at, end;
};
/* spare: so many bytes shall be free behind it, too */
bool tine__lane_reserve(struct tine__lane_shm *lane, uint32_t size, uint32_t spare,
                        struct tine__place *place);
/* The fastest if all parts but the last are multiples of 8 bytes. */
void tine__lane_fill(struct tine__lane_shm *lane, const struct tine__place *place,
                     const struct iovec *parts, int count);
void tine__lane_publish(struct tine__lane_shm *lane, const struct tine__place *place, uint32_t size,
                        uint64_t ticket, uint32_t cpu);

/* By any consumer. False: empty. */
bool tine__lane_peek(struct tine__lane_shm *lane, struct tine__record *record);
/* Where a record's bytes go: the first ones, a multiple of 8, and the rest. */
struct tine__parts {
    void *head;
    void *rest;
    uint32_t head_size;
};
/* Of no worth unless the record is then taken. */
void tine__lane_copy(struct tine__lane_shm *lane, const struct tine__record *record,
                     const struct tine__parts *to);
/* False: another was faster. */
bool tine__lane_take(struct tine__lane_shm *lane, const struct tine__record *record);

/*
 * Does a record that has been published and not been taken fit? Sure of all that were published
 * before the call. The function sees the first words of each, of those that have so many.
 */
enum { TINE__LANE_SHOWN = 4 };
typedef bool tine__lane_fits(const void *context, const uint64_t words[TINE__LANE_SHOWN]);
bool tine__lane_holds(struct tine__lane_shm *lane, tine__lane_fits *fits, const void *context);
/* Bytes of records, but for one that is just being published, or whose producer was killed then. */
uint64_t tine__lane_used(struct tine__lane_shm *lane);

#endif
