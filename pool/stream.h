/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_STREAM_H
#define TINE_POOL_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/claim.h"
#include "pool/layout.h"

static inline struct tine__claims_shm *tine__stream_claims(const struct tine__lane_shm *lane)
{
    return TINE__AT(struct tine__claims_shm, lane->claims);
}

/* ---- the program's side: under the pool's mutex ---------------------------------------------- */

struct tine__stream {
    struct tine__lane_shm *lane;
    uint64_t tail;                  /* tickets published */
    uint32_t live[TINE__SEGMENTS];  /* tickets in each segment that are not retired */
    uint64_t spare[TINE__SEGMENTS]; /* segments whose tickets are all retired, for use again */
    uint32_t spares;
};

/* Can `count` tickets be published? 0, -ENOMEM, -EAGAIN (every segment has a ticket left). */
int tine__stream_reserve(struct tine__stream *stream, uint32_t count);
/* Publishes tickets for a job, after tine__stream_reserve(); their numbers follow from the first.
 */
uint64_t tine__stream_publish(struct tine__stream *stream, struct tine__job_shm *job,
                              uint32_t count);
/* After this no worker begins to look at the job through these tickets. */
void tine__stream_retire(struct tine__stream *stream, uint64_t first, uint32_t count);
void tine__stream_fini(struct tine__stream *stream);

/* The job to which an entry of a segment leads; 0: it is retired. */
uint64_t tine__ticket_job(uint64_t entry);

/* ---- a worker's or the nursery's side -------------------------------------------------------- */

/*
 * The job of a claimed ticket, or NULL when it was retired. It is announced in self->job, so that
 * the program does not free it; the caller takes that back with tine__stream_leave().
 */
struct tine__job_shm *tine__stream_enter(const struct tine__pool_shm *pool,
                                         const struct tine__lane_shm *lane,
                                         struct tine__worker_shm *self, uint64_t ticket);
/* Announces a job that is known to be alive. */
void tine__stream_announce(struct tine__worker_shm *self, struct tine__job_shm *job);
void tine__stream_leave(struct tine__worker_shm *self);

/* Are there tickets that nobody has claimed? */
static inline bool tine__lane_has_unclaimed(const struct tine__lane_shm *lane)
{
    return !tine__claims_exhausted(tine__stream_claims(lane),
                                   atomic_load_explicit(&lane->tail, memory_order_seq_cst));
}
/* A bit for each that there is. */
static inline uint32_t tine__stream_lanes(const struct tine__pool_shm *pool)
{
    return atomic_load_explicit(&pool->lane_mask, memory_order_seq_cst) | 1u << TINE__LANE_USUAL;
}
/* In one of these lanes? */
bool tine__stream_has_any(const struct tine__pool_shm *pool, uint32_t lanes);
static inline bool tine__stream_has_unclaimed(const struct tine__pool_shm *pool)
{
    uint32_t others = atomic_load_explicit(&pool->lane_mask, memory_order_seq_cst);

    return tine__lane_has_unclaimed(&pool->usual) ||
           (others != 0 && tine__stream_has_any(pool, others));
}
/* Those of them that are more urgent than this one; nearly always none. */
static inline uint32_t tine__stream_more_urgent(const struct tine__pool_shm *pool, uint32_t lane)
{
    uint32_t others = atomic_load_explicit(&pool->lane_mask, memory_order_relaxed);

    return others == 0 ? 0 : (others | 1u << TINE__LANE_USUAL) & ((1u << lane) - 1);
}
/* Of jobs in a list in order of their tickets, those from this one on are not begun. */
static inline uint64_t tine__stream_claimed(const struct tine__pool_shm *pool)
{
    /* the tickets of several lanes are in no order */
    return atomic_load_explicit(&pool->lane_mask, memory_order_relaxed) != 0
               ? UINT64_MAX
               : tine__claims_count(tine__stream_claims(&pool->usual));
}

/*
 * Must the claimer of this ticket wake another worker for those behind it? Not for the last ticket
 * of the same job: who publishes a job wakes two, at once or soon (tine__future_publish), and each
 * claimer but the last two one more.
 */
bool tine__stream_wants_help(const struct tine__lane_shm *lane, uint64_t ticket, uint64_t tail);
/* Wakes up to `count` sleeping workers; those that spin see new work by themselves. */
void tine__stream_wake(struct tine__pool_shm *pool, uint32_t count);
/* Wakes this worker, asleep or about to be. */
void tine__stream_ring(struct tine__worker_shm *worker);
/* Wakes every worker, asleep or about to be. */
void tine__stream_wake_all(struct tine__pool_shm *pool);

#endif
