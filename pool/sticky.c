/* SPDX-License-Identifier: MIT */
/*
 * Calls with a key: those of one key run one after the other, in order, in one worker.
 *
 * The program puts the calls of a key into a track: a queue with one reader. A key belongs to a
 * track for good, found by a table of buckets of its hash and chosen at first use, the one with the
 * fewest buckets; a track belongs to a worker for that worker's life. Only the nursery gives a
 * track to a worker, and only one that belongs to nobody; it takes it back when the worker has
 * exited, for whatever reason. In a pool of threads the program gives each thread one, once.
 *
 * A call stays in front of its track until it is over: head moves behind that. So nothing needs to
 * be put up anew when its worker dies; the next owner finds it where it was, and those behind it
 * have not overtaken it. worker.keyed names the track in hand from before the announcement until
 * head has moved, so the nursery looks nowhere else.
 *
 * The reader may meet the job of a call that is over only after a death: then the nursery announces
 * it and reads the entry again, as with tickets (pool/stream.c), and the program, which has retired
 * it, looks at the settlements.
 *
 * Wake-ups: the program enters the call, then reads the owner; the nursery takes the owner away,
 * then looks for calls (both seq_cst): either the nursery sees the call or the program that it has
 * to be asked. Rings are replaced by larger ones and kept till the end, for the reader may be in
 * the old one, which has all that it may look for.
 */
#include "pool/sticky.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/heap.h>
#include <tine/time.h>

#include "lib/clock.h"
#include "pool/job.h"
#include "pool/pool_impl.h"
#include "pool/remains.h"
#include "pool/resize.h"
#include "pool/stream.h"

#define BUCKETS_BITS 12
#define ROOM_MIN     16
#define LOOK_NS      TINE_MS(50) /* whether a call that waits was stopped */

/* Which track has the keys of a bucket. The program's own. */
struct tine__sticky {
    uint32_t buckets[1 << BUCKETS_BITS]; /* track + 1; 0: none yet */
    uint32_t counts[];                   /* buckets of each track */
};

/* Where calls stand: number n at n & mask. */
struct tine__track_ring_shm {
    uint64_t older; /* the ring that this one has replaced */
    uint64_t mask;
    _Atomic uint64_t jobs[]; /* 0: retired */
};

static struct tine__track_shm *track_at(const struct tine__pool_shm *pool, uint32_t index)
{
    /* acquire: made before it was entered */
    return &TINE__AT(struct tine__track_shm,
                     atomic_load_explicit(&pool->tracks, memory_order_acquire))[index];
}

static uint64_t head_of(const struct tine__track_shm *track)
{
    /* acquire: the reader is through with what is before it */
    return atomic_load_explicit(&track->head, memory_order_acquire);
}

static bool is_empty(const struct tine__track_shm *track)
{
    return head_of(track) == atomic_load_explicit(&track->tail, memory_order_seq_cst);
}

/* Of a number between head and tail: who has seen that tail sees a ring that has it. */
static _Atomic uint64_t *entry_at(const struct tine__track_shm *track, uint64_t number)
{
    struct tine__track_ring_shm *ring = TINE__AT(
        struct tine__track_ring_shm, atomic_load_explicit(&track->ring, memory_order_acquire));

    return &ring->jobs[number & ring->mask];
}

static struct tine__job_shm *first_of(const struct tine__track_shm *track)
{
    return TINE__AT(struct tine__job_shm,
                    atomic_load_explicit(entry_at(track, head_of(track)), memory_order_acquire));
}

/*
 * By the reader. Nobody else has a track in hand, so what it writes waits for the next reader
 * only.
 */
static void move_on(struct tine__track_shm *track)
{
    atomic_store_explicit(&track->due, 0, memory_order_relaxed);
    atomic_store_explicit(&track->head, head_of(track) + 1, memory_order_release);
}

static void give(const struct tine__pool_shm *pool, uint32_t index, uint32_t place)
{
    struct tine__track_shm *track = track_at(pool, index);
    struct tine__worker_shm *worker = tine__worker_at(pool, place);

    track->next = atomic_load_explicit(&worker->tracks, memory_order_relaxed);
    /* seq_cst: pairs with first_track; and a thread, which nobody rings for this, sees it in its
       last look before it sleeps (tine__sticky_is_used) or is seen asleep by who enters a call */
    atomic_store_explicit(&worker->tracks, index + 1, memory_order_seq_cst);
    atomic_store_explicit(&track->owner, place + 1, memory_order_seq_cst);
}

/* ---- the program's side ---------------------------------------------------------------------- */

static int make_tracks(struct tine_pool *pool)
{
    struct tine__pool_shm *shared = pool->shared;
    size_t size = shared->workers * sizeof(struct tine__track_shm);
    void *tracks = tine_aligned_alloc(TINE__LINE, size);

    pool->sticky =
        calloc(1, sizeof *pool->sticky + shared->workers * sizeof pool->sticky->counts[0]);
    if (tracks == NULL || pool->sticky == NULL) {
        tine_free(tracks);
        free(pool->sticky);
        pool->sticky = NULL;
        return -ENOMEM;
    }
    memset(tracks, 0, size);
    atomic_store_explicit(&shared->tracks, TINE__ADDRESS(tracks), memory_order_seq_cst);
    for (uint32_t i = 0; pool->kind != TINE_PROCESSES && i < shared->workers; i++)
        give(shared, i, i);
    return 0;
}

/* New keys go to as many tracks as there may be workers at present. */
static uint32_t choose_track(const struct tine_pool *pool)
{
    uint32_t size = atomic_load_explicit(&pool->shared->size, memory_order_relaxed), best = 0;

    for (uint32_t i = 1; i < size; i++)
        if (pool->sticky->counts[i] < pool->sticky->counts[best])
            best = i;
    return best;
}

static uint32_t find_track(const struct tine_pool *pool, uint64_t key)
{
    uint32_t *bucket =
        &pool->sticky->buckets[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKETS_BITS)];

    if (*bucket == 0) {
        *bucket = choose_track(pool) + 1;
        pool->sticky->counts[*bucket - 1]++;
    }
    return *bucket - 1;
}

static int make_room(struct tine__track_shm *track)
{
    uint64_t head = head_of(track), tail = atomic_load_explicit(&track->tail, memory_order_relaxed),
             room = ROOM_MIN;
    struct tine__track_ring_shm *old = TINE__AT(
        struct tine__track_ring_shm, atomic_load_explicit(&track->ring, memory_order_relaxed));
    struct tine__track_ring_shm *ring;

    if (old != NULL && tail - head <= old->mask)
        return 0;
    if (old != NULL)
        room = 2 * (old->mask + 1);
    ring = tine_calloc(1, sizeof *ring + room * sizeof ring->jobs[0]);
    if (ring == NULL)
        return -ENOMEM;
    ring->older = TINE__ADDRESS(old);
    ring->mask = room - 1;
    for (uint64_t i = head; i < tail; i++)
        atomic_init(&ring->jobs[i & ring->mask],
                    atomic_load_explicit(&old->jobs[i & old->mask], memory_order_relaxed));
    atomic_store_explicit(&track->ring, TINE__ADDRESS(ring), memory_order_release);
    return 0;
}

int tine__sticky_reserve(struct tine_pool *pool, struct tine_future *future)
{
    int rc = pool->sticky == NULL ? make_tracks(pool) : 0;
    uint32_t index;

    if (rc < 0)
        return rc;
    index = find_track(pool, future->key);
    rc = make_room(track_at(pool->shared, index));
    if (rc == 0)
        future->track = index + 1;
    return rc;
}

void tine__sticky_publish(struct tine_pool *pool, struct tine_future *future)
{
    struct tine__track_shm *track = track_at(pool->shared, future->track - 1);
    uint64_t number = atomic_load_explicit(&track->tail, memory_order_relaxed);

    future->first_ticket = number;
    atomic_store_explicit(entry_at(track, number), TINE__ADDRESS(future->job),
                          memory_order_relaxed);
    /* seq_cst: before the owner and the sleepers are looked at; releases the job and its entry */
    atomic_store_explicit(&track->tail, number + 1, memory_order_seq_cst);
}

void tine__sticky_wake(struct tine_pool *pool, const struct tine_future *future)
{
    const struct tine__track_shm *track = track_at(pool->shared, future->track - 1);
    uint32_t owner = atomic_load_explicit(&track->owner, memory_order_seq_cst), place = owner - 1;
    uint64_t bit = UINT64_C(1) << place % 64;

    if (owner == 0) {
        tine__nursery_nudge(&pool->nursery);
        return;
    }
    if ((atomic_load_explicit(&pool->shared->sleeping[place / 64], memory_order_seq_cst) & bit) !=
            0 &&
        (atomic_fetch_and_explicit(&pool->shared->sleeping[place / 64], ~bit,
                                   memory_order_acq_rel) &
         bit) != 0)
        tine__stream_ring(tine__worker_at(pool->shared, place));
}

void tine__sticky_retire(struct tine_pool *pool, const struct tine_future *future)
{
    _Atomic uint64_t *entry;

    if (future->track == 0)
        return;
    entry = entry_at(track_at(pool->shared, future->track - 1), future->first_ticket);
    /* Another call may have its place since. */
    if (atomic_load_explicit(entry, memory_order_relaxed) == TINE__ADDRESS(future->job))
        atomic_store_explicit(entry, 0, memory_order_relaxed);
}

/* Calls wait, and their worker, if there is one, is not at one of them. */
static bool is_waiting(const struct tine__pool_shm *pool, const struct tine__track_shm *track)
{
    uint32_t owner = atomic_load_explicit(&track->owner, memory_order_seq_cst);

    return !is_empty(track) &&
           (owner == 0 || atomic_load_explicit(&tine__worker_at(pool, owner - 1)->keyed,
                                               memory_order_relaxed) == 0);
}

bool tine__sticky_look_after(struct tine_pool *pool)
{
    bool waiting = false;

    if (pool->sticky == NULL)
        return false;
    for (uint32_t i = 0; i < pool->shared->workers && !waiting; i++)
        waiting = is_waiting(pool->shared, track_at(pool->shared, i));
    if (waiting && tine__sticky_waiting(pool->shared) > 0)
        tine__nursery_nudge(&pool->nursery);
    return waiting;
}

void tine__sticky_free(const struct tine__pool_shm *pool)
{
    uint64_t tracks = atomic_load_explicit(&pool->tracks, memory_order_relaxed);

    for (uint32_t i = 0; tracks != 0 && i < pool->workers; i++) {
        uint64_t older, ring = atomic_load_explicit(&track_at(pool, i)->ring, memory_order_relaxed);

        for (; ring != 0; ring = older) {
            older = TINE__AT(const struct tine__track_ring_shm, ring)->older;
            tine_free(TINE__AT(void, ring));
        }
    }
    tine_free(TINE__AT(void, tracks));
}

void tine__sticky_fini(struct tine_pool *pool)
{
    tine__sticky_free(pool->shared);
    free(pool->sticky);
    pool->sticky = NULL;
}

void tine__sticky_find(const struct tine__pool_shm *pool, struct tine__found *found)
{
    for (uint32_t i = 0;
         atomic_load_explicit(&pool->tracks, memory_order_relaxed) != 0 && i < pool->workers; i++) {
        const struct tine__track_ring_shm *ring =
            TINE__AT(const struct tine__track_ring_shm,
                     atomic_load_explicit(&track_at(pool, i)->ring, memory_order_relaxed));

        for (uint64_t entry = 0; ring != NULL && entry <= ring->mask; entry++)
            tine__found_add(found, atomic_load_explicit(&ring->jobs[entry], memory_order_relaxed));
    }
}

/* ---- a worker's side ------------------------------------------------------------------------- */

static uint32_t first_track(const struct tine__worker_shm *self)
{
    /* acquire: the track's link was written before */
    return atomic_load_explicit(&self->tracks, memory_order_acquire);
}

/* How long until its first call can be begun: 0: now; -1: it has none. */
static int64_t delay_of(const struct tine__track_shm *track)
{
    int64_t due, left;

    if (is_empty(track))
        return -1;
    due = atomic_load_explicit(&track->due, memory_order_relaxed);
    if (due == 0)
        return 0;
    left = tine__deadline_left(due);
    if (left == 0 || first_of(track) == NULL || tine__job_stopped(first_of(track)))
        return 0;
    return left < LOOK_NS ? left : LOOK_NS;
}

static uint32_t find_ready(const struct tine__pool_shm *pool, uint32_t from)
{
    while (from != 0 && delay_of(track_at(pool, from - 1)) != 0)
        from = track_at(pool, from - 1)->next;
    return from;
}

bool tine__sticky_has_work(const struct tine__pool_shm *pool, const struct tine__worker_shm *self)
{
    return find_ready(pool, first_track(self)) != 0;
}

struct tine__job_shm *tine__sticky_take(const struct tine__pool_shm *pool,
                                        struct tine__worker_shm *self)
{
    uint32_t ready = 0;

    if (self->turn != 0)
        ready = find_ready(pool, track_at(pool, self->turn - 1)->next);
    if (ready == 0)
        ready = find_ready(pool, first_track(self));
    for (self->turn = ready; ready != 0; ready = find_ready(pool, first_track(self))) {
        struct tine__track_shm *track = track_at(pool, ready - 1);
        struct tine__job_shm *job = first_of(track);

        /* before the announcement (a release): what is announced and not noted here came by a rest
           (pool/settle.c) */
        atomic_store_explicit(&self->keyed, ready, memory_order_relaxed);
        if (job != NULL) {
            tine__stream_announce(self, job);
            return job;
        }
        tine__sticky_pass(pool, self); /* retired */
    }
    return NULL;
}

void tine__sticky_pass(const struct tine__pool_shm *pool, struct tine__worker_shm *self)
{
    uint32_t keyed = atomic_load_explicit(&self->keyed, memory_order_relaxed);

    move_on(track_at(pool, keyed - 1));
    atomic_store_explicit(&self->keyed, 0, memory_order_release);
}

int64_t tine__sticky_delay(const struct tine__pool_shm *pool, const struct tine__worker_shm *self)
{
    int64_t least = -1;

    for (uint32_t i = first_track(self); i != 0; i = track_at(pool, i - 1)->next) {
        int64_t delay = delay_of(track_at(pool, i - 1));

        if (delay >= 0 && (least < 0 || delay < least))
            least = delay;
    }
    return least;
}

/* ---- the nursery's side ---------------------------------------------------------------------- */

struct tine__track_shm *tine__sticky_held(const struct tine__pool_shm *pool,
                                          const struct tine__worker_shm *dead)
{
    uint32_t keyed = atomic_load_explicit(&dead->keyed, memory_order_acquire);

    return keyed == 0 ? NULL : track_at(pool, keyed - 1);
}

struct tine__job_shm *tine__sticky_enter(const struct tine__track_shm *track,
                                         struct tine__worker_shm *nursery)
{
    struct tine__job_shm *job = is_empty(track) ? NULL : first_of(track);

    if (job == NULL)
        return NULL;
    tine__stream_announce(nursery, job);
    return first_of(track) == job ? job : NULL;
}

uint64_t tine__sticky_attempts(const struct tine__track_shm *track)
{
    return track->tried == head_of(track) + 1 ? track->attempts : 0;
}

void tine__sticky_again(struct tine__track_shm *track, uint64_t attempts, int64_t wait_ns)
{
    track->tried = head_of(track) + 1;
    track->attempts = attempts;
    if (wait_ns > 0)
        atomic_store_explicit(&track->due, tine__deadline_after(wait_ns), memory_order_relaxed);
}

void tine__sticky_drop(struct tine__track_shm *track)
{
    move_on(track);
}

void tine__sticky_put_down(struct tine__worker_shm *dead)
{
    atomic_store_explicit(&dead->keyed, 0, memory_order_relaxed);
    dead->turn = 0;
}

void tine__sticky_disown(const struct tine__pool_shm *pool, struct tine__worker_shm *dead)
{
    for (uint32_t i = first_track(dead); i != 0; i = track_at(pool, i - 1)->next)
        /* seq_cst: before calls are looked for */
        atomic_store_explicit(&track_at(pool, i - 1)->owner, 0, memory_order_seq_cst);
    atomic_store_explicit(&dead->tracks, 0, memory_order_relaxed);
    tine__sticky_put_down(dead);
}

static bool is_orphan(const struct tine__track_shm *track)
{
    return atomic_load_explicit(&track->owner, memory_order_relaxed) == 0 && !is_empty(track);
}

static bool has_tracks(const struct tine__pool_shm *pool)
{
    return atomic_load_explicit(&pool->tracks, memory_order_seq_cst) != 0;
}

uint32_t tine__sticky_waiting(const struct tine__pool_shm *pool)
{
    uint32_t count = 0;

    for (uint32_t i = 0; has_tracks(pool) && i < pool->workers; i++)
        count += is_orphan(track_at(pool, i));
    return count;
}

/*
 * What speaks against giving a track to that worker: how many it has, and above all whether it is
 * to leave.
 */
static uint32_t burden_of(const struct tine__pool_shm *pool, uint32_t place)
{
    const struct tine__worker_shm *worker = tine__worker_at(pool, place);
    uint32_t leave = atomic_load_explicit(&worker->leave, memory_order_relaxed), count = 0;

    if (atomic_load_explicit(&worker->pid, memory_order_relaxed) == 0 || leave >= TINE__LEAVES)
        return UINT32_MAX;
    for (uint32_t i = first_track(worker); i != 0; i = track_at(pool, i - 1)->next)
        count++;
    return leave == TINE__DISMISSED ? count + pool->workers : count;
}

void tine__sticky_assign(const struct tine__pool_shm *pool, bool can_start)
{
    /* Calls that came since the nursery counted what waits are counted the next time: who entered
       them nudges. */
    bool coming = can_start && has_tracks(pool) &&
                  (tine__resize_has_coming(pool) || tine__resize_may_grow(pool));

    for (uint32_t i = 0; has_tracks(pool) && i < pool->workers; i++) {
        uint32_t best = 0, least = UINT32_MAX;

        if (!is_orphan(track_at(pool, i)))
            continue;
        for (uint32_t place = 0; place < tine__born(pool); place++) {
            uint32_t burden = burden_of(pool, place);

            if (burden < least) {
                least = burden;
                best = place;
            }
        }
        if (least == UINT32_MAX || (least > 0 && coming))
            return;
        give(pool, i, best);
        tine__stream_ring(tine__worker_at(pool, best));
    }
}
