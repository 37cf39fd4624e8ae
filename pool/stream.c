/* SPDX-License-Identifier: MIT */
/*
 * A stream: one unbounded sequence of tickets, published by the program, claimed by the workers
 * (pool/claim.h; the units of its claims table are the tickets). A ticket is an invitation to work
 * on a job: a call has one, a loop as many as workers can be of use. Tickets lie in segments of
 * 1024, found through a directory; a segment whose tickets are all retired is used again in the
 * same pool. Where the directory comes round to one that has a ticket left, its numbers are
 * skipped. What of it is shared is a lane; a pool has one for each priority that was asked for
 * (pool/priority.c).
 *
 * An entry is {round of the segment: 22 bits, job address / 64: 41, single: 1}, or 0 once retired.
 *
 * Freeing jobs: a loop can be complete while tickets of it are still unclaimed, or claimed by a
 * worker that has not looked yet. So a worker first announces the job (worker.job), then reads the
 * entry again; the program first retires the entries, then looks at the announcements. With a full
 * fence on both sides, either the worker sees the entry gone or the program sees the job in use. A
 * stale ticket whose place was given to another job shows another round; a round repeats after 2^32
 * tickets, so a worker would have to be stopped between two instructions for exactly that many to
 * be misled. A call needs no such care: its only ticket is claimed by the worker that is to run it,
 * and without that it is not done.
 */
#include "pool/stream.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/sys.h"

#define ROUND_SHIFT 42
#define ROUND_MASK  ((UINT64_C(1) << 22) - 1)
#define SINGLE      UINT64_C(1)
#define CONDEMNED   UINT64_C(1)

static uint32_t segment_of(uint64_t ticket)
{
    return (uint32_t)(ticket >> TINE__SEGMENT_BITS) % TINE__SEGMENTS;
}

static _Atomic uint64_t *place_of(const struct tine__lane_shm *lane, uint64_t ticket)
{
    /* acquire: the segment's entries were cleared before it was entered (tine__stream_reserve) */
    uint64_t segment =
        atomic_load_explicit(&lane->segments[segment_of(ticket)], memory_order_acquire);

    return &TINE__AT(_Atomic uint64_t, segment)[ticket & TINE__SEGMENT_MASK];
}

static uint64_t round_of(uint64_t ticket)
{
    return (ticket >> TINE__SEGMENT_BITS & ROUND_MASK) << ROUND_SHIFT;
}

static uint64_t entry_for(uint64_t ticket, const struct tine__job_shm *job)
{
    uint64_t single = job->kind == TINE__JOB_CALL ? SINGLE : 0;

    return round_of(ticket) | TINE__ADDRESS(job) >> 6 << 1 | single;
}

uint64_t tine__ticket_job(uint64_t entry)
{
    return (entry & ~(ROUND_MASK << ROUND_SHIFT)) >> 1 << 6;
}

/* ---- the program's side ---------------------------------------------------------------------- */

/* Puts a segment where the ticket will lie. */
static int provide_segment(struct tine__stream *stream, uint64_t ticket)
{
    uint32_t index = segment_of(ticket);
    uint64_t segment;

    if (stream->spares > 0) {
        segment = stream->spare[--stream->spares];
    } else {
        segment = TINE__ADDRESS(tine_calloc(TINE__SEGMENT_MASK + 1, sizeof(uint64_t)));
        if (segment == 0)
            return -ENOMEM;
    }
    atomic_store_explicit(&stream->lane->segments[index], segment, memory_order_release);
    return 0;
}

static void keep_spare(struct tine__stream *stream, uint32_t index)
{
    stream->spare[stream->spares++] =
        atomic_load_explicit(&stream->lane->segments[index], memory_order_relaxed);
}

/* Leaves out the tickets before this one. They are claimed like others, and lead nowhere. */
static void skip_to(struct tine__stream *stream, uint64_t ticket)
{
    uint32_t index = segment_of(stream->tail);

    if ((stream->tail & TINE__SEGMENT_MASK) != 0 && stream->live[index] == 0)
        keep_spare(stream, index);
    stream->tail = ticket;
}

int tine__stream_reserve(struct tine__stream *stream, uint32_t count)
{
    /* Only a ticket that is the first of its segment needs a new one: at most one, as count <=
     * 1024. */
    uint64_t first = (stream->tail + TINE__SEGMENT_MASK) & ~TINE__SEGMENT_MASK, end;

    if (first >= stream->tail + count)
        return 0;
    end = first + (TINE__SEGMENTS << TINE__SEGMENT_BITS);
    if (stream->live[segment_of(first)] == 0)
        return provide_segment(stream, first);
    /* A job that was submitted millions of tickets ago is not over: go around its segment. */
    do
        first += TINE__SEGMENT_MASK + 1;
    while (first < end && stream->live[segment_of(first)] > 0);
    if (first == end)
        return -EAGAIN;
    skip_to(stream, first);
    return provide_segment(stream, first);
}

uint64_t tine__stream_publish(struct tine__stream *stream, struct tine__job_shm *job,
                              uint32_t count)
{
    uint64_t first = stream->tail;

    for (uint32_t i = 0; i < count; i++) {
        stream->live[segment_of(first + i)]++;
        atomic_store_explicit(place_of(stream->lane, first + i), entry_for(first + i, job),
                              memory_order_relaxed);
    }
    stream->tail += count;
    /* seq_cst: published before the sleepers are looked at (tine__stream_wake); the worker sets its
       sleeping bit before it looks at the tail. Releases the job and its entries. */
    atomic_store_explicit(&stream->lane->tail, stream->tail, memory_order_seq_cst);
    return first;
}

void tine__stream_retire(struct tine__stream *stream, uint64_t first, uint32_t count)
{
    for (uint64_t ticket = first; ticket < first + count; ticket++) {
        uint32_t segment = segment_of(ticket);

        atomic_store_explicit(place_of(stream->lane, ticket), 0, memory_order_relaxed);
        stream->live[segment]--;
        if (stream->live[segment] == 0 && (stream->tail & ~TINE__SEGMENT_MASK) > ticket)
            keep_spare(stream, segment);
    }
    /* pairs with the fence in tine__stream_announce */
    atomic_thread_fence(memory_order_seq_cst);
}

static bool is_spare(const struct tine__stream *stream, uint64_t segment)
{
    for (uint32_t i = 0; i < stream->spares; i++)
        if (stream->spare[i] == segment)
            return true;
    return false;
}

/* The directory may name a spare segment, or one twice: each is freed where it is current. */
void tine__stream_fini(struct tine__stream *stream)
{
    for (uint32_t i = 0; i < TINE__SEGMENTS; i++) {
        uint64_t segment =
            atomic_exchange_explicit(&stream->lane->segments[i], 0, memory_order_relaxed);

        if (segment == 0 || is_spare(stream, segment))
            continue;
        stream->spare[stream->spares++] = segment;
    }
    while (stream->spares > 0)
        tine_free(TINE__AT(void, stream->spare[--stream->spares]));
}

/* ---- a worker's side ------------------------------------------------------------------------- */

void tine__stream_announce(struct tine__worker_shm *self, struct tine__job_shm *job)
{
    /* release: whatever it has noted before, of where the job comes from, stands when it dies
       here */
    atomic_store_explicit(&self->job, TINE__ADDRESS(job), memory_order_release);
    /* Announced before anything of it is looked at again; pairs with the fence in
       tine__stream_retire. (A seq_cst exchange alone does not order a later acquire load.) */
    atomic_thread_fence(memory_order_seq_cst);
}

struct tine__job_shm *tine__stream_enter(const struct tine__pool_shm *pool,
                                         const struct tine__lane_shm *lane,
                                         struct tine__worker_shm *self, uint64_t ticket)
{
    _Atomic uint64_t *place = place_of(lane, ticket);
    uint64_t entry = atomic_load_explicit(place, memory_order_acquire);
    uint64_t address = tine__ticket_job(entry);

    if (address == 0 || (entry & (ROUND_MASK << ROUND_SHIFT)) != round_of(ticket))
        return NULL;
    if ((entry & SINGLE) != 0 && self != tine__worker_at(pool, pool->workers)) {
        atomic_store_explicit(&self->job, address, memory_order_relaxed);
        return TINE__AT(struct tine__job_shm, address);
    }
    tine__stream_announce(self, TINE__AT(struct tine__job_shm, address));
    if (atomic_load_explicit(place, memory_order_acquire) == entry)
        return TINE__AT(struct tine__job_shm, address);
    tine__stream_leave(self);
    return NULL;
}

void tine__stream_leave(struct tine__worker_shm *self)
{
    uint64_t job = atomic_load_explicit(&self->job, memory_order_relaxed);

    /* release: the job is not touched after this (the program frees it when it reads 0) */
    if ((job & CONDEMNED) == 0 &&
        atomic_compare_exchange_strong_explicit(&self->job, &job, 0, memory_order_release,
                                                memory_order_relaxed))
        return;
    /* The program is about to kill this worker for the job that it has just left; were it to take
       other work now, that work would be lost with it. It does not wait for the signal: the program
       may be unable to send it, for want of a descriptor. */
    raise(SIGKILL); /* in a sandbox that lets nobody be killed, a thread still may end itself */
}

bool tine__stream_has_any(const struct tine__pool_shm *pool, uint32_t lanes)
{
    for (; lanes != 0; lanes &= lanes - 1)
        if (tine__lane_has_unclaimed(tine__lane_at(pool, (uint32_t)__builtin_ctz(lanes))))
            return true;
    return false;
}

/* ---- wake-ups -------------------------------------------------------------------------------- */

static uint64_t job_in(const struct tine__lane_shm *lane, uint64_t ticket)
{
    return atomic_load_explicit(place_of(lane, ticket), memory_order_relaxed) &
           ~(ROUND_MASK << ROUND_SHIFT);
}

bool tine__stream_wants_help(const struct tine__lane_shm *lane, uint64_t ticket, uint64_t tail)
{
    if (ticket + 2 == tail)
        return job_in(lane, ticket) != job_in(lane, ticket + 1);
    return ticket + 2 < tail;
}

void tine__stream_ring(struct tine__worker_shm *worker)
{
    atomic_fetch_add_explicit(&worker->doorbell, 1, memory_order_release);
    tine__sys_futex_wake(&worker->doorbell, 1);
}

static uint32_t spinning_now(const struct tine__pool_shm *pool)
{
    uint32_t count = 0;

    for (uint32_t word = 0; word * 64 < pool->workers; word++)
        count += (uint32_t)__builtin_popcountll(
            atomic_load_explicit(&pool->spinning[word], memory_order_seq_cst));
    return count;
}

void tine__stream_wake(struct tine__pool_shm *pool, uint32_t count)
{
    uint32_t spinning = spinning_now(pool);

    count = count > spinning ? count - spinning : 0;
    for (uint32_t word = 0; word * 64 < pool->workers; word++) {
        uint64_t bits = atomic_load_explicit(&pool->sleeping[word], memory_order_seq_cst);

        while (bits != 0 && count > 0) {
            uint64_t bit = bits & -bits;

            /* Whoever clears the bit wakes the sleeper, so that a burst makes one system call each.
             */
            if ((atomic_fetch_and_explicit(&pool->sleeping[word], ~bit, memory_order_acq_rel) &
                 bit) != 0) {
                tine__stream_ring(
                    tine__worker_at(pool, word * 64 + (uint32_t)__builtin_ctzll(bit)));
                count--;
            }
            bits &= ~bit;
        }
    }
}

void tine__stream_wake_all(struct tine__pool_shm *pool)
{
    for (uint32_t i = 0; i < tine__born(pool); i++)
        tine__stream_ring(tine__worker_at(pool, i));
}
