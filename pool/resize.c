/* SPDX-License-Identifier: MIT */
/*
 * How many workers a pool has: asked for by tine_pool_resize(), or between two bounds by what there
 * is to do.
 *
 * A pool has places for its most workers from the start; tables have a slot for each. pool.size
 * says how many there may be, pool.wanted how many there are to be: the same, unless idle workers
 * leave (.idle_timeout_ns). The nursery, which has one thread, starts workers in free places and
 * dismisses those too many: a word in the worker's own line, set and taken back by
 * compare-and-swap, until the worker takes it at its word. That it does only with no unit in hand,
 * so leaving is a death that has nothing to lose: its account is settled as a dead one's is, and a
 * loop that it leaves in the middle is put up for others. Whom to dismiss is found anew each time,
 * from what is: those that idle, those that sleep, those dismissed before, the others. Those that
 * are to stay after all are told so before others are dismissed, for one of them may be on its way.
 * A choice that a worker has overtaken otherwise costs a start or a departure too many, and no
 * work.
 *
 * More workers than are wanted now are asked for by whoever submits work that nobody is free for;
 * one word keeps a burst of submissions from making more than one system call.
 */
#include "pool/resize.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <string.h>

#include <tine/error.h>

#include "pool/job.h"
#include "pool/pool_impl.h"
#include "pool/sticky.h"
#include "pool/stream.h"

#define DISMISSED_LOOK_NS TINE_MS(50) /* perhaps another can leave sooner */

/* Tickets that were added to a loop when the pool grew. */
struct tine__invitation {
    struct tine__invitation *next;
    uint64_t first;
    uint32_t count;
};

static uint32_t least(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

static uint32_t read(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* ---- a worker's side ------------------------------------------------------------------------- */

/* Nothing else is read by it: relaxed. */
bool tine__resize_change(struct tine__worker_shm *worker, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&worker->leave, &from, to, memory_order_relaxed,
                                                   memory_order_relaxed);
}

bool tine__resize_quit(struct tine__worker_shm *self)
{
    return tine__resize_change(self, TINE__DISMISSED, TINE__LEAVES) ||
           read(&self->leave) == TINE__LEAVES;
}

void tine__resize_hand_over(struct tine__worker_shm *self, int control)
{
    if (read(&self->leave) != TINE__LEAVES)
        return;
    /* release: all that it has done and left in hand is written down */
    atomic_store_explicit(&self->leave, TINE__HANDED, memory_order_release);
    send(control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- what there is to do --------------------------------------------------------------------- */

static uint32_t count_bits(const _Atomic uint64_t *words, uint32_t places)
{
    uint32_t count = 0;

    for (uint32_t word = 0; word * 64 < places; word++)
        count += (uint32_t)__builtin_popcountll(
            atomic_load_explicit(&words[word], memory_order_relaxed));
    return count;
}

/* Tickets beyond those that workers are free for. */
static uint64_t count_waiting(const struct tine__pool_shm *pool)
{
    uint32_t lanes = tine__stream_lanes(pool);
    uint64_t unclaimed = 0;
    uint64_t free_workers = (uint64_t)count_bits(pool->sleeping, pool->workers) +
                            count_bits(pool->spinning, pool->workers);

    for (; lanes != 0; lanes &= lanes - 1) {
        const struct tine__lane_shm *lane = tine__lane_at(pool, (uint32_t)__builtin_ctz(lanes));
        uint64_t claimed = tine__claims_count(tine__stream_claims(lane));

        unclaimed += atomic_load_explicit(&lane->tail, memory_order_seq_cst) - claimed;
    }
    return unclaimed > free_workers ? unclaimed - free_workers : 0;
}

/* ---- the nursery's side ---------------------------------------------------------------------- */

/* Is there a worker in that place that is not leaving for good? (The pid is the nursery's own
   note.) */
static bool is_present(const struct tine__worker_shm *worker)
{
    return read(&worker->pid) != 0 && read(&worker->leave) < TINE__LEAVES;
}

static uint32_t count_in(const struct tine__pool_shm *pool, uint32_t first_state,
                         uint32_t last_state)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tine__born(pool); i++) {
        const struct tine__worker_shm *worker = tine__worker_at(pool, i);
        uint32_t state = read(&worker->leave);

        count += is_present(worker) && state >= first_state && state <= last_state;
    }
    return count;
}

static uint32_t count_present(const struct tine__pool_shm *pool)
{
    return count_in(pool, TINE__STAYS, TINE__DISMISSED);
}

/* Where idle workers leave: one for each waiting ticket is added, and those that idle are left
   out. */
static uint32_t find_wanted(struct tine__pool_shm *pool)
{
    uint32_t size = read(&pool->size), wanted = read(&pool->wanted), idle;
    uint64_t waiting;

    if (pool->idle_ns == 0)
        return size;
    /* before the look: who finds it set then has published before that (tine__resize_demand) */
    atomic_exchange_explicit(&pool->demand, 0, memory_order_seq_cst);
    waiting = count_waiting(pool) + tine__sticky_waiting(pool);
    idle = count_in(pool, TINE__IDLES, TINE__IDLES);
    if (waiting > 0 && wanted < count_present(pool) + waiting)
        wanted = least(count_present(pool) + waiting, size);
    else if (waiting == 0)
        wanted = wanted > pool->least + idle ? wanted - idle : least(wanted, pool->least);
    return least(wanted, size);
}

/* Who leaves before whom. */
enum { IDLING, RESTING, CHOSEN, BUSY, RANKS };

static int rank_of(const struct tine__pool_shm *pool, uint32_t index)
{
    uint64_t rest = atomic_load_explicit(&pool->sleeping[index / 64], memory_order_relaxed) |
                    atomic_load_explicit(&pool->spinning[index / 64], memory_order_relaxed);
    uint32_t state = read(&tine__worker_at(pool, index)->leave);

    if (state == TINE__IDLES)
        return IDLING;
    if ((rest >> index % 64 & 1) != 0)
        return RESTING;
    return state == TINE__DISMISSED ? CHOSEN : BUSY;
}

static void dismiss(struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__worker_shm *worker = tine__worker_at(pool, index);
    uint32_t state = read(&worker->leave);

    while (state < TINE__DISMISSED && !tine__resize_change(worker, state, TINE__DISMISSED))
        state = read(&worker->leave);
    if (state < TINE__DISMISSED)
        tine__stream_ring(worker);
}

/* Who there is, and who of them is to leave. */
struct choice {
    uint8_t ranks[TINE_WORKERS_MAX]; /* RANKS: nobody, or leaves for good */
    bool chosen[TINE_WORKERS_MAX];
    uint32_t born, excess;
};

static void rank_all(const struct tine__pool_shm *pool, struct choice *choice, uint32_t wanted)
{
    uint32_t present = 0;

    choice->born = tine__born(pool);
    for (uint32_t i = 0; i < choice->born; i++) {
        bool there = is_present(tine__worker_at(pool, i));

        choice->ranks[i] = (uint8_t)(there ? rank_of(pool, i) : (int)RANKS);
        present += there;
    }
    choice->excess = present > wanted ? present - wanted : 0;
}

static void choose(struct choice *choice)
{
    uint32_t left = choice->excess;

    memset(choice->chosen, 0, sizeof choice->chosen);
    for (int rank = IDLING; rank < RANKS; rank++)
        for (uint32_t i = choice->born; i-- > 0 && left > 0;)
            if (choice->ranks[i] == rank) {
                choice->chosen[i] = true;
                left--;
            }
}

/* Those not chosen stay. False: one that was dismissed before goes already, so one of the chosen
   need not. */
static bool keep_others(struct tine__pool_shm *pool, struct choice *choice)
{
    for (uint32_t i = 0; i < choice->born; i++) {
        struct tine__worker_shm *worker = tine__worker_at(pool, i);

        if (choice->chosen[i] || choice->ranks[i] == RANKS ||
            read(&worker->leave) < TINE__DISMISSED ||
            tine__resize_change(worker, TINE__DISMISSED, TINE__STAYS))
            continue;
        choice->ranks[i] = RANKS;
        if (choice->excess > 0) {
            choice->excess--;
            return false;
        }
    }
    return true;
}

void tine__resize_settle(struct tine__pool_shm *pool)
{
    uint32_t wanted = find_wanted(pool);
    struct choice choice;

    if (pool->idle_ns != 0)
        atomic_store_explicit(&pool->wanted, wanted, memory_order_relaxed);
    rank_all(pool, &choice, wanted);
    do
        choose(&choice);
    while (!keep_others(pool, &choice));
    for (uint32_t i = 0; i < choice.born; i++)
        if (choice.chosen[i])
            dismiss(pool, i);
}

uint32_t tine__resize_missing(const struct tine__pool_shm *pool)
{
    uint32_t present = count_present(pool), wanted = read(&pool->wanted);

    return wanted > present ? wanted - present : 0;
}

uint32_t tine__resize_places(const struct tine__pool_shm *pool)
{
    return read(&pool->size);
}

static bool has_place(const struct tine__pool_shm *pool)
{
    for (uint32_t i = 0; i < tine__resize_places(pool); i++)
        if (read(&tine__worker_at(pool, i)->pid) == 0)
            return true;
    return false;
}

bool tine__resize_has_coming(const struct tine__pool_shm *pool)
{
    return tine__resize_missing(pool) > 0 && has_place(pool);
}

bool tine__resize_may_grow(const struct tine__pool_shm *pool)
{
    return pool->idle_ns != 0 && read(&pool->wanted) < read(&pool->size);
}

tine__deadline tine__resize_due(const struct tine__pool_shm *pool, tine__deadline next_start)
{
    tine__deadline look = tine__deadline_after(DISMISSED_LOOK_NS);

    if (tine__resize_has_coming(pool))
        return next_start;
    return count_in(pool, TINE__DISMISSED, TINE__DISMISSED) > 0 ? look : TINE__NEVER;
}

void tine__resize_birth(struct tine__pool_shm *pool, uint32_t index)
{
    atomic_store_explicit(&tine__worker_at(pool, index)->leave, TINE__STAYS, memory_order_relaxed);
    if (index >= tine__born(pool))
        atomic_store_explicit(&pool->born, index + 1, memory_order_seq_cst);
}

bool tine__resize_left(const struct tine__pool_shm *pool, uint32_t index)
{
    return read(&tine__worker_at(pool, index)->leave) >= TINE__LEAVES;
}

bool tine__resize_has_left(const struct tine__pool_shm *pool, uint32_t index)
{
    /* acquire: pairs with tine__resize_hand_over */
    return atomic_load_explicit(&tine__worker_at(pool, index)->leave, memory_order_acquire) ==
           TINE__HANDED;
}

/* ---- the program's side ---------------------------------------------------------------------- */

void tine__resize_demand(struct tine_pool *pool)
{
    struct tine__pool_shm *shared = pool->shared;

    /* seq_cst: the work was published before; pairs with the exchange in find_wanted */
    if (count_waiting(shared) > 0 &&
        atomic_exchange_explicit(&shared->demand, 1, memory_order_seq_cst) == 0)
        tine__nursery_nudge(&pool->nursery);
}

/* Tickets for workers that come while the loop runs. If there can be none, it goes on without
   them. */
static void invite(struct tine_future *future, uint32_t grown)
{
    struct tine__stream *stream = future->stream;
    const struct tine__job_shm *job = future->job;
    struct tine__invitation *invitation;
    uint64_t claimed;

    if (job->kind == TINE__JOB_CALL || tine__job_over(job) || tine__job_stopped(job))
        return;
    claimed = tine__claims_count(tine__job_claims(job));
    grown = least(grown, job->units - claimed);
    invitation = grown == 0 ? NULL : malloc(sizeof *invitation);
    if (invitation == NULL)
        return;
    if (tine__stream_reserve(stream, grown) < 0) {
        free(invitation);
        return;
    }
    *invitation = (struct tine__invitation){.next = future->invitations, .count = grown};
    future->invitations = invitation;
    invitation->first = tine__stream_publish(stream, future->job, grown);
}

void tine__resize_retire(struct tine_future *future)
{
    for (struct tine__invitation *invitation = future->invitations; invitation != NULL;
         invitation = invitation->next)
        tine__stream_retire(future->stream, invitation->first, invitation->count);
    tine__resize_forget(future);
}

void tine__resize_forget(struct tine_future *future)
{
    while (future->invitations != NULL) {
        struct tine__invitation *next = future->invitations->next;

        free(future->invitations);
        future->invitations = next;
    }
}

/* Under the mutex. */
static void set_size(struct tine_pool *pool, uint32_t size)
{
    struct tine__pool_shm *shared = pool->shared;
    uint32_t before = read(&shared->size);

    atomic_store_explicit(&shared->size, size, memory_order_relaxed);
    if (shared->idle_ns == 0)
        atomic_store_explicit(&shared->wanted, size, memory_order_relaxed);
    for (struct tine_future *future = pool->jobs; size > before && future != NULL;
         future = future->older)
        invite(future, size - before);
    tine__pool_tune(pool);
}

int tine_pool_resize(tine_pool *pool, int32_t workers)
{
    int rc = tine__pool_check(pool);

    if (rc < 0)
        return rc;
    if (pool->kind != TINE_PROCESSES)
        return -ENOTSUP;
    if (workers < 1 || (uint32_t)workers > pool->shared->workers)
        return -EINVAL;
    if (tine__pool_is_broken(pool))
        return TINE_EBROKEN;
    pthread_mutex_lock(&pool->mutex);
    rc = tine__pool_check(pool);
    if (rc == 0)
        set_size(pool, (uint32_t)workers);
    pthread_mutex_unlock(&pool->mutex);
    if (rc == 0)
        tine__nursery_nudge(&pool->nursery);
    return rc;
}
