/* SPDX-License-Identifier: MIT */
/*
 * The ring; see ipc/ring.h, and ipc/lane.c for what happens inside a lane.
 *
 * Producers never meet: each thread that sends has a lane, found through a cache of the thread. The
 * first lane is made with the ring; a lane whose producer is dead or has left goes to the next one
 * who needs a lane, with what still stands in it. One producer and one consumer thus share one
 * lane, and no step of a send is more than a store. The table of lanes only grows.
 *
 * Order among lanes: as soon as there are two, each record bears a ticket from a counter. A
 * consumer looks at the heads of all lanes and takes the lowest ticket; having chosen, it looks
 * once more, for only after it has seen the chosen record is everything visible that its sender
 * knew of. Records without a ticket are older than the second lane.
 *
 * Sleeping: ipc/ring_wait.c.
 *
 * The dead: nothing has to be swept. What a dead producer has published is there, what it has not
 * is invisible, its lane is taken over. A consumer holds nothing before its taking CAS. Only a lane
 * that a producer has allocated and not yet entered in the table is lost with it.
 */
#include "ipc/ring_impl.h"

#include <tine/error.h>
#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "lib/fork.h"
#include "lib/random.h"
#include "shm/fence.h"
#include "shm/owner.h"

enum {
    CAPACITY = 256 << 10,
    CACHED = 4,      /* rings whose lane a thread remembers */
    LOOK_SENDS = 64, /* who never has to wait looks for the readers after so many */
    ROOMY_PART = 32, /* of a lane: the room that a producer spins for */
};

/* The lane of a thread. Void once the ring's id or the process's generation differs. */
struct cached_lane {
    const struct tine__ring_shm *shared;
    struct tine__lane_shm *lane;
    uint64_t id;
    uint64_t generation;
    uint32_t sends;
    bool registered; /* with shm/fence.h */
};

struct self {
    uint64_t generation;
    uint64_t word;
};

#define INLINE  static inline __attribute__((always_inline)) /* of a send */
#define PRIVATE static _Thread_local __attribute__((tls_model("initial-exec")))
PRIVATE struct cached_lane cache[CACHED];
PRIVATE struct self self;

/* ---- making and ending ----------------------------------------------------------------------- */

static struct tine__lane_shm *make_lane(const struct tine__ring_shm *shared, uint64_t holder)
{
    struct tine__lane_shm *lane = tine_aligned_alloc(64, sizeof *lane + shared->capacity);

    if (lane != NULL)
        tine__lane_init(lane, shared->capacity, shared->start, holder);
    return lane;
}

static int check_options(const struct tine__ring_options *options)
{
    if (options->capacity < 256 || (options->capacity & (options->capacity - 1)) != 0)
        return -EINVAL;
    if (options->record_max > options->capacity / 2 - 64 || options->capacity > 1u << 30)
        return -EINVAL;
    return options->start % TINE__LANE_RECORD != 0 ? -EINVAL : 0;
}

int tine__ring_create(struct tine__ring_shm **shared, const struct tine__ring_options *options)
{
    struct tine__ring_options all = options != NULL ? *options : (struct tine__ring_options){0};
    struct tine__ring_shm *made;
    struct tine__lane_shm *lane;

    if (all.capacity == 0)
        all.capacity = CAPACITY;
    if (all.record_max == 0)
        all.record_max = all.capacity / 4;
    if (check_options(&all) < 0)
        return -EINVAL;
    made = tine_aligned_alloc(64, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    memset(made, 0, sizeof *made);
    made->id = tine__random_u64();
    made->capacity = all.capacity;
    made->record_max = all.record_max;
    made->start = all.start;
    lane = make_lane(made, 0);
    if (lane == NULL) {
        tine_free(made);
        return -ENOMEM;
    }
    atomic_store_explicit(&made->lanes[0], (uint64_t)(uintptr_t)lane, memory_order_relaxed);
    atomic_store_explicit(&made->lane_count, 1, memory_order_relaxed);
    *shared = made;
    return 0;
}

void tine__ring_empty(struct tine__ring_shm *shared)
{
    for (uint32_t i = 0; i < TINE__RING_LANES_MAX; i++) {
        /* Out of the table first: if the caller dies here, another may empty the rest. */
        uint64_t lane = atomic_exchange_explicit(&shared->lanes[i], 0, memory_order_acq_rel);

        tine_free((void *)(uintptr_t)lane);
    }
}

void tine__ring_open(struct tine__ring *ring, struct tine__ring_shm *shared,
                     tine__ring_alive *alive, void *context)
{
    *ring = (struct tine__ring){.shared = shared, .alive = alive, .context = context};
}

void tine__ring_end(struct tine__ring_shm *shared, int side)
{
    /* seq_cst: before the look for sleepers; pairs with the acquire of who finds nothing to read */
    atomic_fetch_or_explicit(&shared->state, TINE__RING_ENDED(side), memory_order_seq_cst);
    tine__waiters_wake_all(&shared->readable);
    for (uint32_t i = 0; i < atomic_load_explicit(&shared->lane_count, memory_order_acquire); i++)
        tine__waiters_wake_all(&tine__ring_lane(shared, i)->writable);
}

bool tine__ring_ended(struct tine__ring_shm *shared, int side)
{
    return (atomic_load_explicit(&shared->state, memory_order_acquire) & TINE__RING_ENDED(side)) !=
           0;
}

/* ---- the lane of the calling thread ---------------------------------------------------------- */

static uint64_t own_word(uint64_t generation)
{
    if (self.generation != generation || self.word == 0) {
        self.word = tine__owner_word_thread();
        self.generation = generation;
    }
    return self.word;
}

/* A lane of the table that the thread has already, or that nobody has. */
static struct tine__lane_shm *find_lane(struct tine__ring_shm *shared, uint64_t word)
{
    uint32_t count = atomic_load_explicit(&shared->lane_count, memory_order_acquire);
    struct tine__lane_shm *lane;

    for (uint32_t i = 0; i < count; i++) {
        lane = tine__ring_lane(shared, i);
        if (atomic_load_explicit(&lane->holder, memory_order_relaxed) == word)
            return lane;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t holder;

        lane = tine__ring_lane(shared, i);
        holder = atomic_load_explicit(&lane->holder, memory_order_relaxed);
        if ((holder == 0 || !tine__owner_word_lives(holder)) &&
            tine__lane_adopt(lane, holder, word))
            return lane;
    }
    return NULL;
}

/* Counts a lane that stands in the table; whoever sees it may do so for one who died before. */
static void count_lane(struct tine__ring_shm *shared, uint32_t i)
{
    uint32_t count = i;

    /* release: pairs with the acquire of who reads the table */
    atomic_compare_exchange_strong_explicit(&shared->lane_count, &count, i + 1,
                                            memory_order_release, memory_order_relaxed);
}

static int add_lane(struct tine__ring_shm *shared, uint64_t word, struct tine__lane_shm **lane)
{
    struct tine__lane_shm *made = make_lane(shared, word);
    uint64_t address = (uint64_t)(uintptr_t)made;
    uint32_t i = atomic_load_explicit(&shared->lane_count, memory_order_acquire);

    if (made == NULL)
        return -ENOMEM;
    for (; i < TINE__RING_LANES_MAX; i++) {
        uint64_t none = 0;
        bool added = atomic_compare_exchange_strong_explicit(
            &shared->lanes[i], &none, address, memory_order_release, memory_order_relaxed);

        count_lane(shared, i);
        if (!added)
            continue;
        *lane = made;
        return 0;
    }
    tine_free(made);
    return -ENOLCK;
}

static struct cached_lane *cached(const struct tine__ring_shm *shared)
{
    return &cache[(uintptr_t)shared / 64 % CACHED];
}

static int claim_lane(struct tine__ring_shm *shared, uint64_t generation)
{
    struct cached_lane *entry = cached(shared);
    uint64_t word = own_word(generation);
    struct tine__lane_shm *lane = find_lane(shared, word);
    int rc = lane == NULL ? add_lane(shared, word, &lane) : 0;

    if (rc == 0)
        *entry = (struct cached_lane){shared, lane, shared->id, generation,
                                      .registered = tine__fence_register()};
    return rc;
}

/* Negative: there is none. */
static inline int own_lane(struct tine__ring_shm *shared, struct cached_lane **found)
{
    struct cached_lane *entry = cached(shared);
    uint64_t generation = tine__fork_generation_fast();

    *found = entry;
    if (entry->shared == shared && entry->id == shared->id && entry->generation == generation)
        return 0;
    return generation != 0 ? claim_lane(shared, generation) : -ENOMEM;
}

void tine__ring_leave(struct tine__ring *ring)
{
    struct cached_lane *entry = cached(ring->shared);

    if (entry->shared != ring->shared || entry->id != ring->shared->id ||
        entry->generation != tine__fork_generation_fast())
        return;
    tine__lane_leave(entry->lane);
    *entry = (struct cached_lane){.shared = NULL};
}

/* ---- consuming ------------------------------------------------------------------------------- */

/* Of those lanes, the one with the oldest first record; NULL: all are empty. */
static struct tine__lane_shm *scan(struct tine__ring_shm *shared, struct tine__record *oldest)
{
    uint32_t count = atomic_load_explicit(&shared->lane_count, memory_order_acquire);
    struct tine__lane_shm *best = NULL;

    for (uint32_t i = 0; i < count; i++) {
        struct tine__lane_shm *lane = tine__ring_lane(shared, i);
        struct tine__record record;

        if (!tine__lane_peek(lane, &record))
            continue;
        if (best != NULL && record.ticket >= oldest->ticket)
            continue;
        best = lane;
        *oldest = record;
    }
    return best;
}

/* The lane of the record that is next, as its head stands. */
static struct tine__lane_shm *choose(struct tine__ring_shm *shared, struct tine__record *record)
{
    struct tine__lane_shm *lane, *before;
    struct tine__record again;

    if (atomic_load_explicit(&shared->lane_count, memory_order_acquire) == 1) {
        lane = tine__ring_lane(shared, 0);
        return tine__lane_peek(lane, record) ? lane : NULL;
    }
    lane = scan(shared, record);
    while (lane != NULL) {
        before = lane;
        lane = scan(shared, &again);
        if (lane == before && again.at == record->at)
            break;
        *record = again;
    }
    return lane;
}

static void note_cpu(_Atomic uint32_t *where, uint32_t cpu)
{
    if (atomic_load_explicit(where, memory_order_relaxed) != cpu)
        atomic_store_explicit(where, cpu, memory_order_relaxed);
}

int tine__ring_peek(struct tine__ring *ring, struct tine__ring_record *record)
{
    /* acquire: what was sent before the end of the writers is seen after it */
    uint32_t state = atomic_load_explicit(&ring->shared->state, memory_order_acquire);

    record->lane = choose(ring->shared, &record->record);
    if (record->lane != NULL)
        return 0;
    return (state & TINE__RING_ENDED(TINE__RING_WRITERS)) != 0 ? TINE_EEOF : -EAGAIN;
}

/*
 * A sleeping producer is woken when half of its lane is free: for each single record, the two would
 * wake each other in turns. It sees smaller places when it looks.
 */
static void wake_producer(const struct tine__ring_shm *shared, struct tine__lane_shm *lane)
{
    if (atomic_load_explicit(&lane->writable.waiting, memory_order_seq_cst) != 0 &&
        tine__lane_used(lane) <= shared->capacity / 2)
        tine__waiters_wake(&lane->writable, 1);
}

bool tine__ring_take(struct tine__ring *ring, const struct tine__ring_record *record)
{
    if (!tine__lane_take(record->lane, &record->record))
        return false;
    note_cpu(&ring->sender_cpu, tine__record_cpu(record->record.word));
    note_cpu(&record->lane->taker_cpu, tine__spin_cpu());
    wake_producer(ring->shared, record->lane);
    return true;
}

bool tine__ring_may_read(struct tine__ring *ring)
{
    struct tine__ring_record record;

    return tine__ring_peek(ring, &record) != -EAGAIN;
}

bool tine__ring_holds(struct tine__ring_shm *shared, tine__lane_fits *fits, const void *context)
{
    uint32_t count = atomic_load_explicit(&shared->lane_count, memory_order_acquire);

    for (uint32_t i = 0; i < count; i++)
        if (tine__lane_holds(tine__ring_lane(shared, i), fits, context))
            return true;
    return false;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static ssize_t attempt_receive(struct tine__ring_call *call)
{
    return call->receive(call->ring, call->context);
}

static ssize_t attempt_poll(struct tine__ring_call *call)
{
    return tine__ring_may_read(call->ring) ? 0 : -EAGAIN;
}

static struct tine__ring_call reading(struct tine__ring *ring,
                                      ssize_t (*attempt)(struct tine__ring_call *call))
{
    return (struct tine__ring_call){
        .attempt = attempt,
        .ring = ring,
        .waiters = &ring->shared->readable,
        .spin = &ring->reading,
        .peer = TINE__RING_WRITERS,
        .peer_cpu = atomic_load_explicit(&ring->sender_cpu, memory_order_relaxed),
    };
}

ssize_t tine__ring_receive(struct tine__ring *ring, tine__ring_attempt *attempt, void *context,
                           tine__deadline deadline)
{
    ssize_t rc = attempt(ring, context);
    struct tine__ring_call call;

    if (rc != -EAGAIN)
        return rc;
    call = reading(ring, attempt_receive);
    call.receive = attempt;
    call.context = context;
    return tine__ring_wait(&call, deadline);
}

/* The whole record into one buffer. */
struct whole {
    void *buffer;
    size_t room;
    size_t *needed;
};

static ssize_t take_whole(struct tine__ring *ring, void *context)
{
    struct whole *whole = context;
    struct tine__parts to = {.rest = whole->buffer};
    struct tine__ring_record record;
    int rc;

    while ((rc = tine__ring_peek(ring, &record)) == 0) {
        uint32_t size = tine__record_size(record.record.word);

        if (size > whole->room) {
            *whole->needed = size;
            return -EMSGSIZE;
        }
        tine__lane_copy(record.lane, &record.record, &to);
        if (tine__ring_take(ring, &record))
            return (ssize_t)size;
    }
    return rc;
}

ssize_t tine__ring_recv(struct tine__ring *ring, void *buffer, size_t room, tine__deadline deadline,
                        size_t *needed)
{
    struct whole whole = {.buffer = buffer, .room = room, .needed = needed};

    return tine__ring_receive(ring, take_whole, &whole, deadline);
}

int tine__ring_poll(struct tine__ring *ring, tine__deadline deadline)
{
    struct tine__ring_call call;

    if (tine__ring_may_read(ring))
        return 0;
    call = reading(ring, attempt_poll);
    return (int)tine__ring_wait(&call, deadline);
}

static bool any_ended(const struct tine__ring_shm *shared)
{
    /* acquire: pairs with tine__ring_end */
    uint32_t state = atomic_load_explicit(&shared->state, memory_order_acquire);

    return (state &
            (TINE__RING_ENDED(TINE__RING_READERS) | TINE__RING_ENDED(TINE__RING_WRITERS))) != 0;
}

static ssize_t attempt_reserve(struct tine__ring_call *call)
{
    uint32_t many = call->ring->shared->capacity / ROOMY_PART;
    uint32_t spare = call->roomy && call->size < many ? many - call->size : 0;

    if (any_ended(call->ring->shared))
        return -EPIPE;
    return tine__lane_reserve(call->lane, call->size, spare, &call->place) ? 0 : -EAGAIN;
}

static __attribute__((noinline)) int
wait_for_place(struct tine__ring *ring, struct tine__ring_call *call, tine__deadline deadline)
{
    call->attempt = attempt_reserve;
    call->ring = ring;
    call->roomy = false;
    call->waiters = &call->lane->writable;
    call->spin = &ring->writing;
    call->peer = TINE__RING_READERS;
    call->peer_cpu = atomic_load_explicit(&call->lane->taker_cpu, memory_order_relaxed);
    return (int)tine__ring_wait(call, deadline);
}

/* The caller's next record, of which lane and size are set, gets its place. */
INLINE int reserve(struct tine__ring *ring, struct tine__ring_call *call, tine__deadline deadline)
{
    if (any_ended(ring->shared))
        return -EPIPE;
    if (tine__lane_reserve(call->lane, call->size, 0, &call->place))
        return 0;
    return wait_for_place(ring, call, deadline);
}

static uint64_t take_ticket(struct tine__ring_shm *shared)
{
    if (atomic_load_explicit(&shared->lane_count, memory_order_relaxed) == 1)
        return 0;
    return atomic_fetch_add_explicit(&shared->ticket, 1, memory_order_relaxed) + 1;
}

/* The rest of a send, once the record has its place. Has somebody been asleep? */
static bool publish(struct tine__ring_shm *shared, const struct tine__ring_call *call,
                    bool registered)
{
    tine__lane_publish(call->lane, &call->place, call->size, take_ticket(shared), tine__spin_cpu());
    if ((atomic_load_explicit(&shared->state, memory_order_relaxed) & TINE__RING_FENCES) != 0)
        registered = false;
    tine__fence_light(registered);
    /* against tine__waiters_join and the fence after it: one of the two sees the other */
    if (atomic_load_explicit(&shared->readable.waiting, memory_order_seq_cst) == 0)
        return false;
    tine__waiters_wake(&shared->readable, 1);
    return true;
}

/* Finds a place in the thread's lane. */
INLINE int begin(struct tine__ring *ring, size_t size, tine__deadline deadline,
                 struct tine__ring_call *call, struct cached_lane **own)
{
    int rc = own_lane(ring->shared, own);

    if (rc < 0)
        return rc;
    call->lane = (*own)->lane;
    call->size = (uint32_t)size;
    return reserve(ring, call, deadline);
}

INLINE int finish(struct tine__ring *ring, const struct tine__ring_call *call,
                  struct cached_lane *own, const struct iovec *parts, int count)
{
    tine__lane_fill(call->lane, &call->place, parts, count);
    if (publish(ring->shared, call, own->registered) || own->sends++ % LOOK_SENDS == 0)
        tine__ring_look(ring, TINE__RING_READERS);
    return 0;
}

int tine__ring_send(struct tine__ring *ring, const struct iovec *parts, int count,
                    tine__deadline deadline)
{
    struct cached_lane *own;
    struct tine__ring_call call;
    size_t size = 0;
    int rc;

    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > ring->shared->record_max - size)
            return -EMSGSIZE;
        size += parts[i].iov_len;
    }
    rc = begin(ring, size, deadline, &call, &own);
    return rc < 0 ? rc : finish(ring, &call, own, parts, count);
}

int tine__ring_send_after(struct tine__ring *ring, size_t size, tine__ring_make *make,
                          void *context, tine__deadline deadline)
{
    struct cached_lane *own;
    struct tine__ring_call call;
    struct iovec part;
    int rc = begin(ring, size, deadline, &call, &own);

    if (rc == 0)
        rc = make(context, &part);
    return rc < 0 ? rc : finish(ring, &call, own, &part, 1);
}

int tine__ring_poll_writable(struct tine__ring *ring, tine__deadline deadline)
{
    struct cached_lane *own;
    struct tine__ring_call call;
    int rc = own_lane(ring->shared, &own);

    if (rc < 0)
        return rc;
    call.lane = own->lane;
    call.size = ring->shared->record_max;
    rc = reserve(ring, &call, deadline);
    return rc == -EPIPE ? 0 : rc;
}

struct tine__waiters_shm *tine__ring_readable(struct tine__ring_shm *shared)
{
    return &shared->readable;
}

int tine__ring_writable(struct tine__ring_shm *shared, struct tine__waiters_shm **waiters)
{
    struct cached_lane *own;
    int rc = own_lane(shared, &own);

    if (rc == 0)
        *waiters = &own->lane->writable;
    return rc;
}

uint64_t tine__ring_used(struct tine__ring_shm *shared)
{
    uint32_t count = atomic_load_explicit(&shared->lane_count, memory_order_acquire);
    uint64_t used = 0;

    for (uint32_t i = 0; i < count; i++)
        used += tine__lane_used(tine__ring_lane(shared, i));
    return used;
}

uint32_t tine__ring_record_max(const struct tine__ring_shm *shared)
{
    return shared->record_max;
}
