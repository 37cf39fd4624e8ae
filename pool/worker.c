/* SPDX-License-Identifier: MIT */
/*
 * A worker: takes what the dead left, then tickets, the most urgent first; has them run
 * (pool/runner.c); spins a little, then sleeps.
 *
 * What a worker has in hand is always written down before it has it (pool/claim.h, pool/redo.h),
 * so the nursery can settle its account exactly whenever it dies. The order at the end of a unit
 * is: results, then done, then at = 0, so that a unit is never finished twice.
 *
 * A process, or a thread of the program: the loop has one thread, and all that it has is its own.
 */
#include "pool/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "pool/budget.h"
#include "pool/claim.h"
#include "pool/environment.h"
#include "pool/initialize.h"
#include "pool/job.h"
#include "pool/limit.h"
#include "pool/place.h"
#include "pool/redo.h"
#include "pool/resize.h"
#include "pool/runner.h"
#include "pool/sticky.h"
#include "pool/stream.h"

#define SPIN_LOOKS_A_CLOCK 16
#define FULL_SPIN_EVERY    64 /* sleeps: now and then see whether spinning pays again */

struct self {
    struct tine__runner runner;
    uint32_t redo_seen;
    int64_t spin_ns; /* the present budget */
    uint32_t sleeps;
    bool idles;                       /* and has said so */
    bool was_keyed;                   /* it looked for a call with a key first, the last time */
    const struct tine__job_shm *loop; /* worked on */
    struct tine__token token;
    bool limited; /* its environment says how many threads it may start, or is the program's */
};

/* ---- loops ----------------------------------------------------------------------------------- */

/* A process is killed then. */
static bool is_to_drop_all(const struct self *self)
{
    return self->runner.call.fetched.threads != NULL &&
           atomic_load_explicit(&self->runner.pool->state, memory_order_acquire) ==
               TINE__POOL_ENDING;
}

static bool is_dismissed(const struct self *self)
{
    return atomic_load_explicit(&self->runner.shared->leave, memory_order_relaxed) >=
           TINE__DISMISSED;
}

static bool wants_unit(void *context)
{
    const struct self *self = context;

    return !tine__job_stopped(self->loop) && !is_dismissed(self) &&
           !tine__claims_exhausted(tine__job_claims(self->loop), self->loop->units);
}

/* Before a claim. */
static inline void await_token(struct self *self, bool (*wanted)(void *context))
{
    if (tine__budget_in_force(self->token.root))
        tine__token_await(&self->token, wanted, self);
}

/* Of the loop that is worked on. */
static bool claim_unit(struct self *self, uint64_t *unit)
{
    const struct tine__job_shm *job = self->loop;

    await_token(self, wants_unit);
    return !tine__job_stopped(job) && !tine__resize_leaves(self->runner.shared) &&
           tine__claim(tine__job_claims(job), self->runner.index, job->units, unit);
}

/* What led to a loop, and leads back to it. */
struct held {
    const struct tine__lane_shm *lane;
    uint64_t ticket;
};

static bool work_on_lanes(struct self *self, uint32_t lanes);
/*
 * Between two units: leaves the loop for what is more urgent, with its ticket in hand. The loop may
 * be over, and freed, when that is done: false then. It is false, too, when this worker leaves.
 */
static bool give_way(struct self *self, struct tine__job_shm *job, const struct held *held,
                     uint32_t lanes)
{
    if (!tine__stream_has_any(self->runner.pool, lanes))
        return true;
    tine__job_check(self->runner.pool,
                    job); /* it may be complete, and this worker be away for long */
    tine__stream_leave(self->runner.shared);
    while (!tine__resize_leaves(self->runner.shared) && work_on_lanes(self, lanes))
        continue;
    if (tine__resize_leaves(self->runner.shared) ||
        tine__stream_enter(self->runner.pool, held->lane, self->runner.shared, held->ticket) ==
            NULL)
        return false;
    tine__runner_count_on(&self->runner, job);
    self->loop = job;
    return true;
}

/*
 * Claims and runs units until none is left, then says so if it was the last to notice. True: this
 * worker leaves, and units are left. Then it keeps what led it here, so that the nursery, settling
 * its account, finds the job.
 * held is NULL where that was no ticket: then nothing is more urgent.
 */
static bool work_on_loop(struct self *self, struct tine__job_shm *job, const struct held *held)
{
    struct tine__claims_shm *claims = tine__job_claims(job);
    uint64_t unit;

    tine__runner_count_on(&self->runner, job);
    self->loop = job;
    while (claim_unit(self, &unit)) {
        uint32_t urgent;

        if (!tine__runner_unit(&self->runner, job,
                               &(struct tine__rest){.begin = tine__unit_begin(job, unit),
                                                    .end = tine__unit_end(job, unit),
                                                    .unit = unit}))
            return true;
        tine__claim_done(claims, self->runner.index, unit);
        tine__runner_at_nothing(&self->runner);
        urgent = held == NULL ? 0 : tine__stream_more_urgent(self->runner.pool, job->lane);
        if (urgent != 0 && !give_way(self, job, held, urgent))
            return tine__resize_leaves(self->runner.shared);
    }
    tine__job_check(self->runner.pool, job);
    return tine__resize_leaves(self->runner.shared) && !tine__claims_exhausted(claims, job->units);
}

/* ---- taking work ----------------------------------------------------------------------------- */

/* Before it is run: the nursery lets those go who idle. */
static inline void be_busy(struct self *self)
{
    if (!self->idles)
        return;
    self->idles = false;
    (void)tine__resize_change(self->runner.shared, TINE__IDLES, TINE__STAYS);
}

/* At the first ticket, for the program counts its CPUs while its workers are born. */
static void limit_threads(struct self *self)
{
    self->limited = true;
    tine__environment_share(self->runner.pool);
}

/*
 * What it takes now is no ticket, but it may be a ticket that it was woken for, or counted on for
 * while it spun: then the next one is woken.
 */
static void hand_on(const struct self *self)
{
    if (tine__stream_has_unclaimed(self->runner.pool))
        tine__stream_wake(self->runner.pool, 1);
}

static bool work_on_rest(struct self *self)
{
    struct tine__redo_shm *redo =
        tine__redo_take(self->runner.pool, self->runner.index, &self->redo_seen);
    struct tine__job_shm *job;

    if (redo == NULL)
        return false;
    be_busy(self);
    hand_on(self);
    job = tine__redo_job(redo); /* not complete while the entry is taken */
    tine__stream_announce(self->runner.shared, job);
    if (job->kind == TINE__JOB_CALL) {
        tine__runner_call(&self->runner, job);
        tine__redo_free(redo);
        tine__runner_at_nothing(&self->runner);
    } else {
        tine__runner_count_on(&self->runner, job);
        if (!tine__runner_unit(
                &self->runner, job,
                &(struct tine__rest){.begin = redo->begin, .end = redo->end, .unit = redo->unit}))
            return true;
        tine__redo_free(redo);
        tine__runner_at_nothing(&self->runner);
        if (work_on_loop(self, job, NULL))
            return true;
    }
    tine__stream_leave(self->runner.shared);
    return true;
}

static bool work_on_lane(struct self *self, uint32_t index)
{
    struct tine__pool_shm *pool = self->runner.pool;
    const struct tine__lane_shm *lane = tine__lane_at(pool, index);
    struct tine__claims_shm *stream = tine__stream_claims(lane);
    /* seq_cst: not before this worker's spinning bit was cleared; a publisher that still saw it
       wakes nobody, so its ticket is to be seen here */
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_seq_cst), ticket;
    struct tine__job_shm *job;

    if (!tine__claim(stream, self->runner.index, tail, &ticket))
        return false;
    be_busy(self);
    if (!self->limited)
        limit_threads(self);
    if (tine__stream_wants_help(lane, ticket, tail)) /* wake-ups spread from worker to worker */
        tine__stream_wake(pool, 1);
    job = tine__stream_enter(pool, lane, self->runner.shared, ticket);
    if (job != NULL) {
        if (job->kind == TINE__JOB_CALL) {
            tine__runner_call(&self->runner, job);
            tine__runner_at_nothing(&self->runner);
        } else if (work_on_loop(self, job, &(struct held){.lane = lane, .ticket = ticket})) {
            return true;
        }
        tine__stream_leave(self->runner.shared);
    }
    tine__claim_done(stream, self->runner.index, ticket);
    return true;
}

static bool work_on_lanes(struct self *self, uint32_t lanes)
{
    for (; lanes != 0; lanes &= lanes - 1)
        if (work_on_lane(self, (uint32_t)__builtin_ctz(lanes)))
            return true;
    return false;
}

static bool work_on_track(struct self *self)
{
    struct tine__job_shm *job = tine__sticky_take(self->runner.pool, self->runner.shared);

    if (job == NULL)
        return false;
    be_busy(self);
    hand_on(self);
    if (!self->limited)
        limit_threads(self);
    tine__runner_call(&self->runner, job);
    tine__runner_at_nothing(&self->runner);
    tine__stream_leave(self->runner.shared);
    tine__sticky_pass(self->runner.pool, self->runner.shared);
    return true;
}

/* Calls with keys and all else take turns, where there are both. */
static bool work_on_next(struct self *self)
{
    uint32_t lanes = tine__stream_lanes(self->runner.pool);

    if (!tine__sticky_is_used(self->runner.shared))
        return work_on_lanes(self, lanes);
    self->was_keyed = !self->was_keyed;
    if (self->was_keyed)
        return work_on_track(self) || work_on_lanes(self, lanes);
    return work_on_lanes(self, lanes) || work_on_track(self);
}

/* ---- waiting for work ------------------------------------------------------------------------ */

static bool has_work(const struct self *self)
{
    return tine__stream_has_unclaimed(self->runner.pool) ||
           atomic_load_explicit(&self->runner.pool->redo_sequence, memory_order_seq_cst) !=
               self->redo_seen ||
           (tine__sticky_is_used(self->runner.shared) &&
            tine__sticky_has_work(self->runner.pool, self->runner.shared));
}

static bool wants_ticket(void *context)
{
    const struct self *self = context;

    return has_work(self) && !is_dismissed(self) && !is_to_drop_all(self);
}

/* Work, or a reason to leave. */
static bool sees_work(const struct self *self)
{
    const struct tine__pool_shm *pool = self->runner.pool;

    return has_work(self) || is_dismissed(self) ||
           atomic_load_explicit(&pool->state, memory_order_seq_cst) != TINE__POOL_RUNNING;
}

static bool spin(struct self *self)
{
    _Atomic uint64_t *word = &self->runner.pool->spinning[self->runner.index / 64];
    uint64_t bit = UINT64_C(1) << self->runner.index % 64;
    int64_t end;
    bool seen = false;

    if (self->spin_ns == 0)
        return false;
    atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    end = tine__now_ns() + self->spin_ns;
    do
        for (int i = 0; i < SPIN_LOOKS_A_CLOCK && !seen; i++) {
            seen = sees_work(self);
            tine__cpu_relax();
        }
    while (!seen && tine__now_ns() < end);
    /* seq_cst: no longer counted on before the last look, in sleep_once, at what there is */
    atomic_fetch_and_explicit(word, ~bit, memory_order_seq_cst);
    return seen;
}

/* How long to sleep before the nursery is told: again, when it has dismissed this worker and taken
   that back. */
static int64_t patience(const struct self *self)
{
    bool told =
        atomic_load_explicit(&self->runner.shared->leave, memory_order_relaxed) == TINE__IDLES;

    return self->runner.pool->idle_ns == 0 || told ? -1 : self->runner.pool->idle_ns;
}

static void say_idle(struct self *self)
{
    self->idles = true;
    if (tine__resize_change(self->runner.shared, TINE__STAYS, TINE__IDLES))
        send(self->runner.call.fetched.control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void sleep_once(struct self *self)
{
    _Atomic uint64_t *word = &self->runner.pool->sleeping[self->runner.index / 64];
    uint64_t bit = UINT64_C(1) << self->runner.index % 64;
    uint32_t bell = atomic_load_explicit(&self->runner.shared->doorbell, memory_order_acquire);
    int64_t delay = tine__sticky_delay(self->runner.pool, self->runner.shared);

    /* seq_cst: the bit is set before the last look; a publisher publishes before reading it */
    atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    tine__token_release(&self->token);
    if (!sees_work(self) &&
        tine__sys_futex_wait(&self->runner.shared->doorbell, bell,
                             delay > 0 ? delay : patience(self)) == -ETIMEDOUT &&
        delay <= 0)
        say_idle(self);
    /* acquire: what was published by who cleared it (tine__stream_wake) is seen in hand_on */
    atomic_fetch_and_explicit(word, ~bit, memory_order_acquire);
}

/* Spins while that has paid lately; every 64th time tries again whether it does. */
static void wait_for_work(struct self *self)
{
    uint32_t full = atomic_load_explicit(&self->runner.pool->spin_ns, memory_order_relaxed);

    if (self->sleeps % FULL_SPIN_EVERY == 0)
        self->spin_ns = full;
    if (spin(self)) {
        self->spin_ns = full;
        return;
    }
    self->spin_ns = self->spin_ns < 200 ? 0 : self->spin_ns * 3 / 4;
    self->sleeps++;
    sleep_once(self);
}

static void begin(struct self *self, struct tine__pool_shm *pool, struct tine__worker_shm *shared,
                  uint32_t index, int control)
{
    *self = (struct self){.limited = pool->unbudgeted != 0 || control < 0};
    tine__runner_init(&self->runner, pool, shared, index, control);
    /* before anything is announced: see tine__pool_kill_job */
    atomic_store_explicit(&shared->pid, (uint32_t)getpid(), memory_order_release);
    tine__token_none(&self->token);
}

static void work(struct self *self)
{
    while (!tine__resize_leaves(self->runner.shared)) {
        await_token(self, wants_ticket);
        if (!is_to_drop_all(self) && (work_on_rest(self) || work_on_next(self)))
            continue;
        if (atomic_load_explicit(&self->runner.pool->state, memory_order_acquire) !=
            TINE__POOL_RUNNING)
            break;
        wait_for_work(self);
    }
    tine__call_fini(&self->runner.call);
}

void tine__worker_loop(struct tine__pool_shm *pool, uint32_t index, int control)
{
    struct self self;

    begin(&self, pool, tine__worker_at(pool, index), index, control);
    tine__token_init(&self.token, pool, self.runner.shared, pool->unbudgeted == 0);
    work(&self);
    tine__token_fini(&self.token);
}

/* pthread_exit() in a task: what of it is not in shared memory. */
static void drop(void *context)
{
    struct self *self = context;

    tine__token_fini(&self->token);
    tine__fetched_close(&self->runner.call.fetched);
    tine__call_fini(&self->runner.call);
}

void tine__worker_thread(struct tine__pool_shm *pool, uint32_t index, struct tine__threads *threads)
{
    struct self self;

    begin(&self, pool, tine__worker_at(pool, index), index, -1);
    self.runner.call.fetched.threads = threads;
    (void)tine__place_of_thread((struct tine__place){.index = (int)index, .pool = pool});
    (void)tine__limit_thread(self.runner.shared);
    tine__token_init(&self.token, pool, self.runner.shared, pool->unbudgeted == 0);
    pthread_cleanup_push(drop, &self);
    work(&self);
    pthread_cleanup_pop(0);
    tine__token_fini(&self.token);
}

/* Jobs may run in several callers at once, and in jobs: what a worker has for itself is on the
   stack. */
void tine__worker_run_here(struct tine__pool_shm *pool, struct tine__threads *threads,
                           struct tine__job_shm *job)
{
    const struct tine__worker_shm *limited;
    struct tine__place outer;
    void *state = tine__worker_change_state(tine__threads_state(threads));
    struct tine__worker_shm place = {.job = 0};
    struct self self;

    begin(&self, pool, &place, 0, -1);
    self.runner.call.fetched.threads = threads;
    outer = tine__place_of_thread((struct tine__place){.index = 0, .pool = pool});
    limited = tine__limit_thread(&place);
    if (job->kind == TINE__JOB_CALL)
        tine__runner_call(&self.runner, job);
    else
        (void)work_on_loop(&self, job, NULL);
    (void)tine__limit_thread(limited);
    (void)tine__place_of_thread(outer);
    (void)tine__worker_change_state(state);
    tine__call_fini(&self.runner.call);
}
